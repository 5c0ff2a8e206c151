//! Which Profiles are one pprof: those of one scope that differ in sample type and values only.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use crate::columns::Samples;
use crate::profiles::{Profile, ValueType};

/// Profiles with the same window, period, attributes and rows, each of another sample type.
pub(super) struct Group<'a>(pub(super) Vec<&'a Profile>);

/// The groups of a scope's Profiles, in the order of their first ones. A Profile is held against the last group of
/// its hash only: this takes one look at each row, whatever was sent.
pub(super) fn groups<'a>(samples: &Samples, profiles: &'a [Profile]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = vec![];
    let mut last: FxHashMap<u64, usize> = FxHashMap::default();
    for profile in profiles {
        let known = last.entry(hash(samples, profile)).or_insert(groups.len());
        match groups.get_mut(*known) {
            Some(group) if group.takes(samples, profile) => group.0.push(profile),
            _ => {
                *known = groups.len();
                groups.push(Group(vec![profile]));
            }
        }
    }
    groups
}

/// Groups that are one pprof together, which can hold Samples of several shapes: those that are not larger than `fits`
/// allows, of the same window, period, attributes and sample types.
pub(super) fn chapters<'a>(groups: Vec<Group<'a>>, fits: impl Fn(&[Group<'a>]) -> bool) -> Vec<Vec<Group<'a>>> {
    let mut chapters: Vec<Vec<Group<'a>>> = vec![];
    let mut last: FxHashMap<u64, usize> = FxHashMap::default();
    for group in groups {
        let known = last.entry(group.key_hash()).or_insert(chapters.len());
        match chapters.get_mut(*known) {
            Some(chapter) if chapter[0].has_key_of(&group) => {
                chapter.push(group);
                if !fits(chapter) {
                    let apart = chapter.split_off(chapter.len() - 1);
                    *known = chapters.len();
                    chapters.push(apart);
                }
            }
            _ => {
                *known = chapters.len();
                chapters.push(vec![group]);
            }
        }
    }
    chapters
}

impl<'a> Group<'a> {
    /// The first of its Profiles: what it says of rows and window, all of them say.
    pub(super) fn first(&self) -> &'a Profile {
        self.0[0]
    }

    fn sample_types(&self) -> impl Iterator<Item = Option<ValueType>> {
        self.0.iter().map(|profile| profile.sample_type)
    }

    fn has_key_of(&self, other: &Self) -> bool {
        key(self.first()) == key(other.first()) && self.sample_types().eq(other.sample_types())
    }

    fn key_hash(&self) -> u64 {
        let mut hasher = FxHasher::default();
        let Profile { time_unix_nano, duration_nano, period, attributes, .. } = self.first();
        (time_unix_nano, duration_nano, period, attributes).hash(&mut hasher);
        self.sample_types().for_each(|kind| kind.map(|kind| (kind.name, kind.unit)).hash(&mut hasher));
        hasher.finish()
    }

    fn takes(&self, samples: &Samples, profile: &Profile) -> bool {
        let first = self.first();
        let same = |(a, b)| {
            samples.attributes.row(a) == samples.attributes.row(b)
                && samples.timestamps.row(a) == samples.timestamps.row(b)
        };
        self.0.iter().all(|member| member.sample_type != profile.sample_type)
            && key(first) == key(profile)
            && first.rows.len() == profile.rows.len()
            && samples.stack[first.rows.clone()] == samples.stack[profile.rows.clone()]
            && samples.link[first.rows.clone()] == samples.link[profile.rows.clone()]
            && first.rows.clone().zip(profile.rows.clone()).all(same)
    }
}

type Key<'a> = (u64, u64, Option<ValueType>, i64, &'a [u32]);

/// What Profiles of one pprof have in common beside their rows.
fn key(profile: &Profile) -> Key<'_> {
    let Profile { time_unix_nano, duration_nano, period_type, period, attributes, .. } = profile;
    (*time_unix_nano, *duration_nano, *period_type, *period, attributes)
}

/// The same for the same request always, so that the bytes of what is made are.
fn hash(samples: &Samples, profile: &Profile) -> u64 {
    let mut hasher = FxHasher::default();
    let Profile { time_unix_nano, duration_nano, period, attributes, rows, .. } = profile;
    (time_unix_nano, duration_nano, period, attributes).hash(&mut hasher);
    (&samples.stack[rows.clone()], &samples.link[rows.clone()]).hash(&mut hasher);
    samples.attributes.items_of(rows.clone()).hash(&mut hasher);
    hasher.finish()
}
