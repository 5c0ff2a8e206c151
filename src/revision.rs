//! Older revisions of OTLP: told by the bytes alone, translated, and read as the current one.
//!
//! A request is read as the current revision first. Only when that reading is odd (malformed, Profiles refused for
//! what a misreading looks like, unknown fields, or Samples that an older revision reads in full with another meaning)
//! are the older ones tried. The one that refuses fewer Profiles than every other is right; between equals, unknown
//! fields, payloads without a format, and then orphaned Links and attributes speak against a reading; what is still
//! open is refused.

mod fields;
mod inline_tables;
mod locations;
mod renumbered;

use bytes::Bytes;

use crate::collect::Remap;
use crate::decode::{Place, Reading};
use crate::error::{Error, Result};
use crate::inflate::inflate;
use crate::limits::Limits;
use crate::profiles::{Profile, Profiles};
use crate::refusal::{Fault, Reason, Repair};

/// The revisions that are told apart; each stands for itself and those since the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Revision {
    /// Stacks are slices of a Profile's list, a Profile has several sample types, units stand in a table of their own.
    V1_7,
    /// `Profile` has comments; its fields from 7 on have other numbers.
    V1_8,
    /// `Sample` has other numbers.
    V1_9,
    /// The current one.
    #[default]
    V1_10,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 4] = [Self::V1_7, Self::V1_8, Self::V1_9, Self::V1_10];

    /// The revision as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::V1_7 => "1.7",
            Self::V1_8 => "1.8",
            Self::V1_9 => "1.9",
            Self::V1_10 => "1.10",
        }
    }
}

/// What an older revision says and the current one cannot; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// `Profile.comment_strindices`, each of them.
    CommentStrindices,
    /// `Profile.default_sample_type_index`
    DefaultSampleTypeIndex,
    /// `ValueType.aggregation_temporality`
    AggregationTemporality,
    /// `Location.is_folded`
    IsFolded,
    /// `Mapping.has_functions` and its like, each of them.
    MappingHas,
    /// An entry of `ProfilesDictionary.attribute_units` whose key no attribute has, or has another unit already.
    AttributeUnits,
    /// `Sample.timestamps_unix_nano`, of a Sample with one value that is not one for each of them.
    TimestampsUnixNano,
}

impl Dropped {
    /// Every one, in the order of its discriminant.
    pub const ALL: [Self; 7] = [
        Self::CommentStrindices,
        Self::DefaultSampleTypeIndex,
        Self::AggregationTemporality,
        Self::IsFolded,
        Self::MappingHas,
        Self::AttributeUnits,
        Self::TimestampsUnixNano,
    ];

    /// The field as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::CommentStrindices => "comment_strindices",
            Self::DefaultSampleTypeIndex => "default_sample_type_index",
            Self::AggregationTemporality => "aggregation_temporality",
            Self::IsFolded => "is_folded",
            Self::MappingHas => "mapping_has",
            Self::AttributeUnits => "attribute_units",
            Self::TimestampsUnixNano => "timestamps_unix_nano",
        }
    }
}

/// How often each of them was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DroppedCounts([u64; Dropped::ALL.len()]);

impl DroppedCounts {
    /// Count some more.
    pub fn add(&mut self, dropped: Dropped, count: u64) {
        self.0[dropped as usize] += count;
    }

    /// Those that were dropped, with how often.
    pub fn counted(&self) -> impl Iterator<Item = (Dropped, u64)> + '_ {
        Dropped::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

/// What a request was before it became one of the current revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its revision.
    pub revision: Revision,
    /// What of it is not in the Profiles.
    pub dropped: DroppedCounts,
}

/// A request in the current revision's wire form.
struct Translated {
    body: Vec<u8>,
    dropped: DroppedCounts,
    /// Profiles that the current wire form cannot show the fault of, in the order of the request.
    faults: Vec<(Place, Fault)>,
}

/// One way to read a request.
struct Candidate {
    origin: Origin,
    profiles: Profiles,
    refused: Vec<Place>,
}

/// Read a request of the current or an older revision.
///
/// # Errors
/// When nothing of it can be used, or two revisions read it with different meanings; a bad Profile in a good request
/// is in `rejections` instead.
pub fn decode(body: Bytes, limits: &Limits) -> Result<(Profiles, Origin)> {
    let body = inflate(body, limits.max_body_bytes)?;
    match Reading::of(body.clone(), limits, &[]) {
        Ok(reading) if !is_odd(&reading) => Ok((reading.profiles, Origin::default())),
        current => settle(&body, limits, current).map(|chosen| (chosen.profiles, chosen.origin)),
    }
}

/// The right reading of a request that reads oddly, or not at all, as one of the current revision.
#[cold]
fn settle(body: &Bytes, limits: &Limits, current: Result<Reading>) -> Result<Candidate> {
    let mut candidates = vec![];
    match current {
        Ok(reading) => {
            candidates.push(Candidate::of(reading, Revision::V1_10, DroppedCounts::default()));
            // What is over a limit in an older reading is no reading.
            older(body, limits, &mut candidates).ok();
        }
        Err(cause @ Error::Malformed { .. }) => {
            older(body, limits, &mut candidates)?;
            if candidates.is_empty() {
                return Err(if inline_tables::has_some(body) {
                    Error::TooOld { cause: Box::new(cause) }
                } else {
                    cause
                });
            }
        }
        Err(error) => return Err(error),
    }
    choose(candidates)
}

/// What a Profile of an older revision may be refused for when it is read as the current one.
const SIGNS_OF_A_MISREADING: [Reason; 7] = [
    Reason::EmptySample,
    Reason::IndexOutOfRange,
    Reason::ZeroEntry,
    Reason::ValuesTimestampsMismatch,
    Reason::DuplicateAttributeKey,
    Reason::TooManyAttributes,
    Reason::ProfileIdLength,
];

fn is_odd(reading: &Reading) -> bool {
    let profiles = &reading.profiles;
    profiles.rejections.iter().any(|rejection| SIGNS_OF_A_MISREADING.contains(&rejection.fault.reason))
        || profiles.repairs.made().any(|(repair, _)| repair == Repair::ValuesFilled)
        || oddities(profiles) > 0
        || reads_otherwise_as_1_9(profiles)
}

/// Unknown fields in what the revisions differ in.
fn unknown_fields(profiles: &Profiles) -> u64 {
    profiles.dictionary.unknown_fields + profiles.iter().map(|(_, _, p)| p.source.unknown_fields).sum::<u64>()
}

/// What no sender of the revision writes: unknown fields, and a payload without its format, which is required.
fn oddities(profiles: &Profiles) -> u64 {
    let is_unnamed = |p: &Profile| p.original_payload.len > 0 && p.original_payload_format.len == 0;
    unknown_fields(profiles) + profiles.iter().filter(|(_, _, profile)| is_unnamed(profile)).count() as u64
}

/// Whether every Sample, its numbers taken as those of 1.9, would be a valid one, and at least one of them another.
/// Field 2 holds attributes today and held values, 3 the link and held attributes, 4 values and held the link.
fn reads_otherwise_as_1_9(profiles: &Profiles) -> bool {
    let (links, attributes) = (profiles.dictionary.links.len(), profiles.dictionary.attributes.len());
    let samples = &profiles.samples;
    let mut is_other = false;
    for row in profiles.iter().flat_map(|(_, _, profile)| profile.rows.clone()) {
        let (held, times) = (samples.attributes.range(row).len(), samples.timestamps.range(row).len());
        let is_link = match samples.values.row(row) {
            [] => true,
            [value] => usize::try_from(*value).is_ok_and(|index| index < links),
            _ => false,
        };
        let has_shape = held + times > 0 && (held == 0 || times == 0 || held == times);
        if !is_link || !has_shape || samples.link[row] as usize >= attributes {
            return false;
        }
        is_other |= held > 0 || !samples.values.range(row).is_empty() || samples.link[row] > 0;
    }
    is_other
}

/// Append the readings as older revisions, the newest first.
///
/// # Errors
/// When it is over a limit in one of them.
fn older(body: &Bytes, limits: &Limits, candidates: &mut Vec<Candidate>) -> Result<()> {
    for revision in [Revision::V1_9, Revision::V1_8, Revision::V1_7] {
        let translated = match revision {
            Revision::V1_7 => locations::translate(body, limits),
            _ => renumbered::translate(body, revision),
        };
        let reading = translated.and_then(|Translated { body: translated, dropped, faults }| {
            // A request that says the same in two revisions is one of the newer.
            let is_same = |known: &Candidate| known.profiles.body == translated;
            if translated == body[..] || candidates.iter().any(is_same) {
                return Ok(None);
            }
            Reading::of(Bytes::from(translated), limits, &faults).map(|reading| Some((reading, dropped)))
        });
        match reading {
            Ok(Some((Reading { profiles, .. }, _))) if unknown_fields(&profiles) > 0 || has_references(&profiles) => {}
            Ok(Some((reading, dropped))) => {
                candidates.push(Candidate::of(reading, revision, dropped));
            }
            Ok(None) | Err(Error::Malformed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The one reading that is right, of those that there are, the newest first.
fn choose(mut candidates: Vec<Candidate>) -> Result<Candidate> {
    if candidates.iter().all(|candidate| candidate.profiles.samples.is_empty()) {
        return Ok(candidates.swap_remove(0));
    }
    let is_subset = |some: &[Place], of: &[Place]| some.iter().all(|place| of.binary_search(place).is_ok());
    let names = |candidates: &[Candidate]| Error::AmbiguousRevision {
        newer: candidates[0].origin.revision.label(),
        older: candidates[1].origin.revision.label(),
    };
    let is_best: Vec<bool> = candidates
        .iter()
        .map(|candidate| candidates.iter().all(|other| is_subset(&candidate.refused, &other.refused)))
        .collect();
    if !is_best.contains(&true) {
        return Err(names(&candidates));
    }
    let mut is_best = is_best.into_iter();
    candidates.retain(|_| is_best.next() == Some(true));
    for against in [oddities, orphans] {
        if candidates.len() > 1 {
            let counts: Vec<u64> = candidates.iter().map(|candidate| against(&candidate.profiles)).collect();
            let least = counts.iter().min().copied();
            let mut counts = counts.into_iter();
            candidates.retain(|_| counts.next() == least);
        }
    }
    let says_the_same = |other: &Candidate| {
        other.origin.revision >= Revision::V1_9 && other.profiles.samples == candidates[0].profiles.samples
    };
    if candidates[1..].iter().all(says_the_same) { Ok(candidates.swap_remove(0)) } else { Err(names(&candidates)) }
}

/// How many Links and attributes nothing refers to: senders make them for those who do.
fn orphans(profiles: &Profiles) -> u64 {
    let reached = Remap::of(profiles).reached;
    reached.links.iter().chain(&reached.attributes).filter(|&&is_reached| !is_reached).count() as u64
}

/// Whether an attribute refers to the string table from where no older revision could.
fn has_references(profiles: &Profiles) -> bool {
    let mut found = false;
    let mut find = |_| found = true;
    profiles.dictionary.attributes.iter().for_each(|attribute| attribute.value.string_indices(&mut find));
    for group in &profiles.resources {
        let attributes = group.resource.iter().flat_map(|resource| &resource.attributes);
        let scopes = group.scopes.iter().filter_map(|scopes| scopes.scope.as_ref());
        attributes.chain(scopes.flat_map(|scope| &scope.attributes)).for_each(|pair| pair.string_indices(&mut find));
    }
    found
}

impl Candidate {
    fn of(Reading { profiles, refused }: Reading, revision: Revision, dropped: DroppedCounts) -> Self {
        Self { origin: Origin { revision, dropped }, profiles, refused }
    }
}
