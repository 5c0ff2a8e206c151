//! OTLP 1.7: a Sample's stack is a slice of its Profile's `location_indices`, a Profile has several sample types, an
//! attribute's key stands inline and its unit in `attribute_units`, and index 0 is an entry like any other.
//!
//! Every table is written behind a zero entry, so its indices move up by one.

mod tables;

use rustc_hash::FxHashMap;

use self::tables::{Strings, Tables, shifted};
use super::fields::{message, not_of_it, request, rewrite, rewrite_profiles};
use super::{Dropped, DroppedCounts, Translated};
use crate::decode::Place;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::profile_id::{Derived, derived_id};
use crate::refusal::{Checked, Fault, Reason};
use crate::revision::fields::Field;
use crate::wire::{Reader, Wire, Writer};

/// Translate a request of 1.7.
///
/// # Errors
/// When it is not one of that revision, or over a limit in the current one.
pub(super) fn translate(body: &[u8], limits: &Limits) -> Result<Translated> {
    let tables = Tables::find(body)?;
    let mut profiles = ProfileWriter {
        body,
        limits,
        strings: &tables.strings,
        stacks: FxHashMap::default(),
        stack_table: Writer::default(),
        written_bytes: 0,
        dropped: DroppedCounts::default(),
        faults: vec![],
    };
    let mut out = Writer::with_capacity(body.len() + body.len() / 4);
    let mut resource = 0;
    rewrite(body, request(body), &mut out, |request, number, wire, out| {
        match number {
            1 => {
                let group = request.message(wire, "ExportProfilesServiceRequest.resource_profiles")?;
                let (expected_bytes, mut place) = (group.rest().len(), Place { resource, scope: 0, profile: 0 });
                message(out, 1, expected_bytes, |out| {
                    rewrite_profiles(body, group, out, &mut |scope, profile, out| {
                        if place.scope != scope {
                            place = Place { resource, scope, profile: 0 };
                        }
                        place.profile += profiles.profile(profile, place, out)?;
                        Ok(())
                    })
                })?;
                // An empty one is passed over by the reader.
                resource += usize::from(expected_bytes > 0);
            }
            2 => drop(request.span(wire, "ExportProfilesServiceRequest.dictionary")?),
            _ => return Ok(Field::Same),
        }
        Ok(Field::Taken)
    })?;
    let ProfileWriter { stack_table, mut dropped, faults, .. } = profiles;
    tables.write(&stack_table.into_bytes(), &mut out, &mut dropped)?;
    Ok(Translated { body: out.into_bytes(), dropped, faults })
}

/// Writes Profiles, and the Stacks that their Samples have.
struct ProfileWriter<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    strings: &'a Strings<'a>,
    /// The index of each Stack that was written, by its Locations as they came.
    stacks: FxHashMap<Box<[u32]>, u32>,
    stack_table: Writer,
    /// What was written of Samples and Stacks.
    written_bytes: usize,
    dropped: DroppedCounts,
    faults: Vec<(Place, Fault)>,
}

/// A Profile as it came.
#[derive(Default)]
struct Profile<'a> {
    sample_types: Vec<ValueType>,
    samples: Vec<Reader<'a>>,
    location_indices: Vec<u32>,
    time_nanos: u64,
    duration_nanos: u64,
    period_type: Option<ValueType>,
    period: u64,
    id: &'a [u8],
    dropped_attributes_count: u64,
    original_payload_format: &'a [u8],
    original_payload: &'a [u8],
    attributes: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct ValueType {
    name: u32,
    unit: u32,
}

/// A Sample, its stack and attributes as those of today.
#[derive(Default)]
struct Sample {
    stack: u32,
    attributes: Vec<u32>,
    link: u32,
    values: Vec<i64>,
    timestamps: Vec<u64>,
}

impl<'a> ProfileWriter<'a> {
    /// Write one Profile for each of its sample types, and say how many.
    fn profile(&mut self, profile: Reader<'a>, place: Place, out: &mut Writer) -> Result<usize> {
        let profile = self.read(profile)?;
        let mut stacks = FxHashMap::default();
        let (mut samples, mut fault) = (vec![], None);
        for (index, &sample) in profile.samples.iter().enumerate() {
            match self.sample(sample, index, &profile, &mut stacks)? {
                Ok(sample) => samples.push(sample),
                Err(found) => {
                    // Each has to be counted with its Profile, which is refused.
                    samples.push(Sample::default());
                    fault = fault.or(Some(found));
                }
            }
        }
        let count = if fault.is_some() { 1 } else { profile.sample_types.len().max(1) };
        for nth in 0..count {
            let expected_bytes = profile.samples.len() * 16;
            message(out, 2, expected_bytes, |out| self.write(&profile, &samples, nth, out))?;
        }
        self.faults.extend(fault.map(|fault| (place, fault)));
        Ok(count)
    }

    fn read(&mut self, mut message: Reader<'a>) -> Result<Profile<'a>> {
        let mut p = Profile::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => {
                    let sample_type = self.value_type(message.message(wire, "Profile.sample_type")?)?;
                    p.sample_types.push(sample_type);
                }
                2 => p.samples.push(message.message(wire, "Profile.sample")?),
                3 => message.indices(wire, &mut p.location_indices, "Profile.location_indices")?,
                4 => p.time_nanos = message.uint64(wire, "Profile.time_nanos")?,
                5 => p.duration_nanos = message.uint64(wire, "Profile.duration_nanos")?,
                6 => p.period_type = Some(self.value_type(message.message(wire, "Profile.period_type")?)?),
                7 => p.period = message.uint64(wire, "Profile.period")?,
                8 => {
                    let mut comments = vec![];
                    message.indices(wire, &mut comments, "Profile.comment_strindices")?;
                    self.dropped.add(Dropped::CommentStrindices, comments.len() as u64);
                }
                9 => {
                    let is_set = message.uint64(wire, "Profile.default_sample_type_index")? != 0;
                    self.dropped.add(Dropped::DefaultSampleTypeIndex, u64::from(is_set));
                }
                10 => p.id = message.span(wire, "Profile.profile_id")?.of(self.body),
                11 => p.dropped_attributes_count = message.uint64(wire, "Profile.dropped_attributes_count")?,
                12 => {
                    p.original_payload_format = message.span(wire, "Profile.original_payload_format")?.of(self.body);
                }
                13 => p.original_payload = message.span(wire, "Profile.original_payload")?.of(self.body),
                14 => message.indices(wire, &mut p.attributes, "Profile.attribute_indices")?,
                _ => return Err(not_of_it(message.remaining().start)),
            }
        }
        Ok(p)
    }

    fn value_type(&mut self, mut message: Reader<'a>) -> Result<ValueType> {
        let mut value_type = ValueType::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => value_type.name = self.strings.index(message.index(wire, "ValueType.type_strindex")?),
                2 => value_type.unit = self.strings.index(message.index(wire, "ValueType.unit_strindex")?),
                3 => {
                    let temporality = message.uint64(wire, "ValueType.aggregation_temporality")?;
                    self.dropped.add(Dropped::AggregationTemporality, u64::from(temporality > 0));
                }
                _ => return Err(not_of_it(message.remaining().start)),
            }
        }
        Ok(value_type)
    }

    /// Read a Sample and give it a Stack; `stacks` are those of the slices of this Profile.
    fn sample(
        &mut self,
        mut message: Reader<'a>,
        index: usize,
        profile: &Profile<'a>,
        stacks: &mut FxHashMap<(u32, u32), u32>,
    ) -> Result<Checked<Sample>> {
        let (mut start, mut length) = (0, 0);
        let mut sample = Sample::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => start = message.index(wire, "Sample.locations_start_index")?,
                2 => length = message.index(wire, "Sample.locations_length")?,
                3 => message.int64s(wire, &mut sample.values, "Sample.value")?,
                4 => message.indices(wire, &mut sample.attributes, "Sample.attribute_indices")?,
                5 => sample.link = shifted(message.index(wire, "Sample.link_index")?),
                6 => varints(&mut message, wire, &mut sample.timestamps)?,
                _ => return Err(not_of_it(message.remaining().start)),
            }
        }
        sample.attributes.iter_mut().for_each(|index| *index = shifted(*index));
        let (values, types) = (sample.values.len(), profile.sample_types.len());
        // The eBPF profiler wrote a value for each timestamp of its one type.
        let is_one_each = types <= 1 && (values == sample.timestamps.len() || values == 0);
        if values != types.max(1) && !is_one_each {
            let message = format!(
                "samples[{index}] has {values} values and its Profile {types} sample types; as many of each are allowed"
            );
            return Ok(Err(Fault::new(Reason::ValuesTypesMismatch, message)));
        }
        let key = (start, length);
        let stack = match stacks.get(&key) {
            Some(&stack) => Ok(stack),
            None => self.stack(start, length, index, &profile.location_indices)?,
        };
        Ok(stack.map(|stack| {
            stacks.insert(key, stack);
            sample.stack = stack;
            sample
        }))
    }

    /// The index of the Stack of these Locations, which is written unless it was before.
    fn stack(&mut self, start: u32, length: u32, sample: usize, locations: &[u32]) -> Result<Checked<u32>> {
        let slice = locations.get(start as usize..).and_then(|rest| rest.get(..length as usize));
        let Some(slice) = slice else {
            let len = locations.len();
            let message = format!(
                "samples[{sample}] has {} locations from {} on; location_indices has {len} entries",
                length as i32, start as i32
            );
            return Ok(Err(Fault::new(Reason::IndexOutOfRange, message)));
        };
        let limit = self.limits.max_stack_depth;
        if slice.len() > limit {
            let message = format!("samples[{sample}] has {length} locations; limits.max_stack_depth is {limit}");
            return Ok(Err(Fault::new(Reason::StackTooDeep, message)));
        }
        if slice.is_empty() {
            return Ok(Ok(0));
        }
        if let Some(&stack) = self.stacks.get(slice) {
            return Ok(Ok(stack));
        }
        let before = self.stack_table.len();
        self.stack_table.message(7, slice.len() * 2, |out| {
            out.packed(1, slice.iter().map(|&location| u64::from(shifted(location))));
        });
        self.count_bytes(self.stack_table.len() - before)?;
        let stack = self.stacks.len() as u32 + 1;
        self.stacks.insert(slice.into(), stack);
        Ok(Ok(stack))
    }

    /// A short body may stand for a long one: slices may overlap, and each sample type repeats its Samples.
    fn count_bytes(&mut self, bytes: usize) -> Result<()> {
        self.written_bytes += bytes;
        let limit = self.limits.max_body_bytes;
        if self.written_bytes > limit { Err(Error::BodyTooLarge { limit }) } else { Ok(()) }
    }

    /// Write the Profile of the nth sample type.
    fn write(&mut self, profile: &Profile<'a>, samples: &[Sample], nth: usize, out: &mut Writer) -> Result<()> {
        let sample_type = profile.sample_types.get(nth);
        for (number, value_type) in [(1, sample_type), (5, profile.period_type.as_ref())] {
            if let Some(&ValueType { name, unit }) = value_type {
                out.message(number, 8, |out| {
                    out.uint64(1, u64::from(name));
                    out.uint64(2, u64::from(unit));
                });
            }
        }
        for sample in samples {
            let before = out.len();
            self.write_sample(sample, nth, profile.sample_types.len() > 1, out);
            self.count_bytes(out.len() - before)?;
        }
        out.fixed64(3, profile.time_nanos);
        out.uint64(4, profile.duration_nanos);
        out.uint64(6, profile.period);
        match (nth, <[u8; 16]>::try_from(profile.id)) {
            (0, _) => out.bytes(7, profile.id),
            (_, Ok(id)) if id != [0; 16] => out.bytes(7, &derived_id(id, Derived::SampleType(nth as u64))),
            _ => {}
        }
        out.uint64(8, profile.dropped_attributes_count);
        if nth == 0 {
            // The payload stands for the whole; it must not be counted twice.
            out.bytes(9, profile.original_payload_format);
            out.bytes(10, profile.original_payload);
        }
        out.packed(11, profile.attributes.iter().map(|&index| u64::from(shifted(index))));
        self.count_bytes(profile.attributes.len())
    }

    fn write_sample(&mut self, sample: &Sample, nth: usize, is_one_of_several: bool, out: &mut Writer) {
        let times = sample.timestamps.len();
        let own = sample.values.get(nth).copied();
        let (values, has_times) = match own {
            Some(own) if is_one_of_several || sample.values.len() != times => match own {
                _ if times <= 1 => (vec![own], times > 0),
                // One for each timestamp; the eBPF profiler wrote 1, however many there were.
                1 => (vec![1; times], true),
                _ if usize::try_from(own) == Ok(times) => (vec![1; times], true),
                _ => (vec![own], false),
            },
            _ => (sample.values.clone(), true),
        };
        self.dropped.add(Dropped::TimestampsUnixNano, u64::from(!has_times && times > 0));
        out.message(2, 16 + sample.attributes.len() * 2, |out| {
            out.uint64(1, u64::from(sample.stack));
            out.packed(2, sample.attributes.iter().map(|&index| u64::from(index)));
            out.uint64(3, u64::from(sample.link));
            out.packed(4, values.iter().map(|&value| value as u64));
            out.packed_fixed64(5, if has_times { &sample.timestamps } else { &[] });
        });
    }
}

/// A repeated uint64, packed or not.
fn varints(message: &mut Reader<'_>, wire: Wire, out: &mut Vec<u64>) -> Result<()> {
    let mut values = vec![];
    message.int64s(wire, &mut values, "Sample.timestamps_unix_nano")?;
    out.extend(values.iter().map(|&value| value as u64));
    Ok(())
}
