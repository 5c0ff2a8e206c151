//! Cumulative Profiles as differences: what counts from the start of a process becomes what happened since the last
//! Profile of the same series.
//!
//! A series is a Resource, a scope, a sample type and a period type, all by value; what tells its Samples apart is
//! what a reader sees of them, so that it is the same from request to request.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles, ValueType};
use crate::rewrite::Rewrite;

/// 128 bits of BLAKE3: nobody makes two of one.
type Key = [u8; 16];

/// The last values of every series.
#[derive(Debug)]
pub struct Deltas {
    max_values: usize,
    series: HashMap<Key, Series>,
    /// Series by when they were last seen.
    order: BTreeMap<u64, Key>,
    turn: u64,
    values: usize,
    evicted: u64,
}

#[derive(Debug, Default)]
struct Series {
    time_unix_nano: u64,
    values: HashMap<Key, i128>,
    turn: u64,
}

/// What differences were made of a request.
#[derive(Debug)]
pub struct Differences {
    /// The request with differences; `None` when nothing in it is cumulative.
    pub profiles: Option<Profiles>,
    /// Samples of Profiles that nothing went before, and that went.
    pub baseline_samples: usize,
    /// Samples of Profiles that are no newer than what went before, and that went: what they say is in that.
    pub late_samples: usize,
}

impl Deltas {
    /// Nothing is known.
    pub fn new(max_values: usize) -> Self {
        let (series, order, turn, values, evicted) = Default::default();
        Self { max_values, series, order, turn, values, evicted }
    }

    /// How many series were forgotten because others needed the room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How many values are remembered.
    pub fn value_count(&self) -> usize {
        self.values
    }

    /// Make differences of the Profiles whose sample type has one of some names and that have a time and no duration;
    /// the others stay.
    pub fn differences(&mut self, profiles: &Profiles, names: &[String]) -> Differences {
        let (mut baseline_samples, mut late_samples) = (0, 0);
        let is_cumulative = |profile: &Profile| {
            let name = profiles.sample_type(profile).0;
            profile.duration_nano == 0
                && profile.time_unix_nano > 0
                && names.iter().any(|known| known.as_bytes() == name)
        };
        if !profiles.iter().any(|(_, _, profile)| is_cumulative(profile)) {
            return Differences { profiles: None, baseline_samples, late_samples };
        }
        let mut content = Content { profiles, locations: vec![None; profiles.dictionary.locations.mapping.len()] };
        let made = Rewrite::new(profiles).finish(|rewrite, resource, scope, profile| {
            if !is_cumulative(profile) {
                return vec![rewrite.keep(profile)];
            }
            let keys: Vec<_> = profile.rows.clone().map(|row| content.sample(row)).collect();
            let key = content.series(resource, scope, profile);
            match self.next(key, profile, &keys, profiles) {
                Next::Since(last, values) => vec![rewrite.differing(profile, last, &values)],
                Next::Baseline => {
                    baseline_samples += profile.rows.len();
                    vec![]
                }
                Next::Late => {
                    late_samples += profile.rows.len();
                    vec![]
                }
            }
        });
        self.evict();
        Differences { profiles: Some(made), baseline_samples, late_samples }
    }

    fn next(&mut self, key: Key, profile: &Profile, keys: &[Key], profiles: &Profiles) -> Next {
        let mut now: HashMap<Key, i128> = HashMap::with_capacity(keys.len());
        for (row, key) in profile.rows.clone().zip(keys) {
            *now.entry(*key).or_default() += profiles.samples.total(row);
        }
        self.turn += 1;
        let turn = self.turn;
        let known = self.series.get_mut(&key);
        if known.as_ref().is_some_and(|series| profile.time_unix_nano <= series.time_unix_nano) {
            return Next::Late;
        }
        let next = known.map_or(Next::Baseline, |last| {
            // A count that fell or is gone: the process began anew.
            let has_restarted = last.values.iter().any(|(key, &value)| now.get(key).is_none_or(|&now| now < value));
            let before = |key: &Key| if has_restarted { 0 } else { last.values.get(key).copied().unwrap_or(0) };
            let mut left: HashMap<_, _> = now.iter().map(|(key, &value)| (*key, value - before(key))).collect();
            let values = keys.iter().map(|key| left.insert(*key, 0).unwrap_or(0)).collect();
            Next::Since(last.time_unix_nano, values)
        });
        let series = Series { time_unix_nano: profile.time_unix_nano, turn, values: now };
        self.values += series.values.len();
        if let Some(last) = self.series.insert(key, series) {
            self.values -= last.values.len();
            self.order.remove(&last.turn);
        }
        self.order.insert(turn, key);
        next
    }

    /// Forget the series that were not seen for longest, until there is room.
    fn evict(&mut self) {
        while self.values > self.max_values
            && let Some((_, key)) = self.order.pop_first()
        {
            self.values -= self.series.remove(&key).map_or(0, |series| series.values.len());
            self.evicted += 1;
        }
    }
}

enum Next {
    /// The values since a time, by row.
    Since(u64, Vec<i128>),
    Baseline,
    Late,
}

impl Rewrite<'_> {
    /// A Profile with other values, of the time since the last one.
    fn differing(&mut self, profile: &Profile, last: u64, values: &[i128]) -> Profile {
        let source = self.source();
        let start = self.samples.len();
        for (row, &value) in profile.rows.clone().zip(values) {
            self.samples.attributes.items.extend_from_slice(source.samples.attributes.row(row));
            self.samples.values.items.push(value.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
            self.samples.end_row(source.samples.stack[row], source.samples.link[row]);
        }
        let mut made = Profile { rows: start..self.samples.len(), ..profile.clone() };
        made.time_unix_nano = last;
        made.duration_nano = profile.time_unix_nano - last;
        made.profile_id = derived_id(profile.profile_id, Derived::Difference);
        made.source.span = None;
        made.drop_payload();
        made
    }
}

/// What a request holds, by value.
struct Content<'a> {
    profiles: &'a Profiles,
    locations: Vec<Option<Key>>,
}

impl Content<'_> {
    fn series(&self, resource: &ResourceProfiles, scope: &ScopeProfiles, profile: &Profile) -> Key {
        let mut hasher = blake3::Hasher::new();
        let profiles = self.profiles;
        let mut pairs: Vec<_> = profiles.resource_text(resource.resource.as_ref()).into_iter().collect();
        pairs.sort();
        for (name, value) in &pairs {
            add(&mut hasher, name.as_bytes());
            add(&mut hasher, value.as_bytes());
        }
        add(&mut hasher, scope.scope.as_ref().map_or(&[], |scope| scope.name.of(&profiles.body)));
        for ValueType { name, unit } in [profile.sample_type, profile.period_type].map(Option::unwrap_or_default) {
            add(&mut hasher, profiles.string(name));
            add(&mut hasher, profiles.string(unit));
        }
        first_16_bytes(&hasher)
    }

    fn sample(&mut self, row: usize) -> Key {
        let profiles = self.profiles;
        let samples = &profiles.samples;
        let mut hasher = blake3::Hasher::new();
        for &location in profiles.dictionary.stacks.row(samples.stack[row] as usize) {
            hasher.update(&self.location(location));
        }
        let mut attributes: Vec<_> = samples.attributes.row(row).iter().map(|&index| self.attribute(index)).collect();
        attributes.sort_unstable();
        for key in &attributes {
            hasher.update(key);
        }
        let link = profiles.dictionary.links[samples.link[row] as usize];
        hasher.update(&link.trace_id);
        hasher.update(&link.span_id);
        first_16_bytes(&hasher)
    }

    fn location(&mut self, index: u32) -> Key {
        if let Some(key) = self.locations[index as usize] {
            return key;
        }
        let (profiles, row) = (self.profiles, index as usize);
        let dictionary = &profiles.dictionary;
        let mut hasher = blake3::Hasher::new();
        let mapping = dictionary.mappings[dictionary.locations.mapping[row] as usize];
        add(&mut hasher, profiles.string(mapping.filename));
        hasher.update(&dictionary.locations.address[row].to_le_bytes());
        for line in dictionary.locations.lines.row(row) {
            let function = dictionary.functions[line.function as usize];
            for name in [function.name, function.system_name, function.filename] {
                add(&mut hasher, profiles.string(name));
            }
            hasher.update(&line.line.to_le_bytes());
        }
        let key = first_16_bytes(&hasher);
        self.locations[row] = Some(key);
        key
    }

    fn attribute(&self, index: u32) -> Key {
        let profiles = self.profiles;
        let attribute = &profiles.dictionary.attributes[index as usize];
        let mut hasher = blake3::Hasher::new();
        add(&mut hasher, profiles.string(attribute.key));
        add(&mut hasher, profiles.string(attribute.unit));
        add(&mut hasher, crate::text::text(profiles, &attribute.value).as_bytes());
        first_16_bytes(&hasher)
    }
}

/// A text, told from the one behind it.
fn add(hasher: &mut blake3::Hasher, text: &[u8]) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text);
}

fn first_16_bytes(hasher: &blake3::Hasher) -> Key {
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    key
}
