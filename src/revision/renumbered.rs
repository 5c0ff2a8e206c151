//! OTLP 1.8 and 1.9: what they say has other field numbers today.
//!
//! `Sample`: values 2 → 4, `attribute_indices` 3 → 2, `link_index` 4 → 3. In 1.8 also `Profile`: 8 to 12 → 7 to 11,
//! after `comment_strindices` (7), and `ValueType.aggregation_temporality` (3).

use super::fields::{Field, message, not_of_it, request, rewrite, rewrite_profiles};
use super::{Dropped, DroppedCounts, Revision, Translated};
use crate::error::Result;
use crate::wire::{Reader, Wire, Writer};

/// Translate a request of 1.8 or 1.9.
///
/// # Errors
/// When it is not one of that revision.
pub(super) fn translate(body: &[u8], revision: Revision) -> Result<Translated> {
    let mut renumbering = Renumbering { body, revision, strings: None, dropped: DroppedCounts::default() };
    let mut out = Writer::with_capacity(body.len());
    rewrite(body, request(body), &mut out, |request, number, wire, out| {
        if number != 1 {
            return Ok(Field::Same);
        }
        let group = request.message(wire, "ExportProfilesServiceRequest.resource_profiles")?;
        message(out, 1, group.rest().len(), |out| {
            rewrite_profiles(body, group, out, &mut |_, profile, out| {
                message(out, 2, profile.rest().len(), |out| renumbering.profile(profile, out))
            })
        })?;
        Ok(Field::Taken)
    })?;
    Ok(Translated { body: out.into_bytes(), dropped: renumbering.dropped, faults: vec![] })
}

struct Renumbering<'a> {
    body: &'a [u8],
    revision: Revision,
    /// How many strings there are, once that was asked for.
    strings: Option<usize>,
    dropped: DroppedCounts,
}

impl<'a> Renumbering<'a> {
    fn profile(&mut self, profile: Reader<'a>, out: &mut Writer) -> Result<()> {
        let is_1_8 = self.revision == Revision::V1_8;
        rewrite(self.body, profile, out, |profile, number, wire, out| {
            match number {
                2 => self.sample(profile.message(wire, "Profile.samples")?, out)?,
                1 | 5 if is_1_8 => {
                    let value_type = profile.message(wire, "Profile.sample_type")?;
                    message(out, number, value_type.rest().len(), |out| self.value_type(value_type, out))?;
                }
                7 if is_1_8 => self.comments(profile, wire)?,
                9 if is_1_8 => out.uint64(8, profile.uint64(wire, "Profile.dropped_attributes_count")?),
                12 if is_1_8 && wire == Wire::Varint => {
                    out.present_uint64(11, profile.uint64(wire, "Profile.attribute_indices")?);
                }
                8 | 10..=12 if is_1_8 => {
                    let content = profile.span(wire, "Profile")?;
                    out.present_bytes(number - 1, content.of(self.body));
                }
                1 | 3..=11 => return Ok(Field::Same),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Taken)
        })
    }

    fn sample(&mut self, sample: Reader<'a>, out: &mut Writer) -> Result<()> {
        let span = sample.remaining();
        let (mut values, mut attributes, mut link) = (vec![], vec![], None);
        let mut others = Writer::default();
        rewrite(self.body, sample, &mut others, |sample, number, wire, _| {
            match number {
                2 => sample.int64s(wire, &mut values, "Sample.values")?,
                3 => sample.indices(wire, &mut attributes, "Sample.attribute_indices")?,
                // Nobody writes a field twice that is not repeated: it is another one.
                4 if link.is_some() => return Ok(Field::Unknown),
                4 => link = Some(sample.index(wire, "Sample.link_index")?),
                1 | 5 => return Ok(Field::Same),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Taken)
        })?;
        out.message(2, span.len as usize, |out| {
            out.raw(&others.into_bytes());
            out.packed(2, attributes.iter().map(|&index| u64::from(index)));
            out.uint64(3, u64::from(link.unwrap_or_default()));
            out.packed(4, values.iter().map(|&value| value as u64));
        });
        Ok(())
    }

    fn value_type(&mut self, value_type: Reader<'a>, out: &mut Writer) -> Result<()> {
        rewrite(self.body, value_type, out, |value_type, number, wire, _| match number {
            1 | 2 => Ok(Field::Same),
            3 => {
                let temporality = value_type.uint64(wire, "ValueType.aggregation_temporality")?;
                self.dropped.add(Dropped::AggregationTemporality, u64::from(temporality > 0));
                Ok(Field::Taken)
            }
            _ => Ok(Field::Unknown),
        })
    }

    fn comments(&mut self, profile: &mut Reader<'a>, wire: Wire) -> Result<()> {
        let at = profile.remaining().start;
        let mut comments = vec![];
        profile.indices(wire, &mut comments, "Profile.comment_strindices")?;
        let strings = self.strings()?;
        if comments.iter().any(|&index| index as usize >= strings) {
            return Err(not_of_it(at));
        }
        self.dropped.add(Dropped::CommentStrindices, comments.len() as u64);
        Ok(())
    }

    fn strings(&mut self) -> Result<usize> {
        if let Some(strings) = self.strings {
            return Ok(strings);
        }
        let (mut strings, mut request) = (0, request(self.body));
        while let Some((number, wire)) = request.next_field()? {
            if number != 2 {
                request.skip(number, wire)?;
                continue;
            }
            let mut tables = request.message(wire, "ExportProfilesServiceRequest.dictionary")?;
            while let Some((number, wire)) = tables.next_field()? {
                tables.skip(number, wire)?;
                strings += usize::from(number == 5);
            }
        }
        self.strings = Some(strings);
        Ok(strings)
    }
}
