//! Several Profiles as one pprof, in a backend's words and within its limits.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use super::attributes::FRAME_TYPE;
use super::encode::Encoder;
use super::layout::{Layout, Made};
use super::samples::Label;
use super::tables::{Tables, kept};
use crate::profiles::{Profile, Profiles};
use crate::text::text;
use crate::wire::Writer;

/// A Profile that goes into a pprof.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its place among the Profiles of the request.
    pub profile: usize,
    /// The columns that its values go to, and whether each value counts `period` times.
    pub columns: Vec<(usize, bool)>,
    /// Labels of all of its samples.
    pub labels: Vec<(String, String)>,
}

/// What a pprof of some members says of all of them, and how much it may hold.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Name and unit of the period.
    pub period_type: (String, String),
    /// In the unit of the period.
    pub period: i64,
    /// How many observations were told before.
    pub skip: usize,
    /// How many may be told.
    pub max_observations: usize,
    /// What the samples may take, without what they refer to; a single one may take more.
    pub max_bytes: usize,
}

/// A pprof of several Profiles.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    /// The pprof, not compressed.
    pub body: Vec<u8>,
    /// Samples in it.
    pub sample_count: usize,
    /// Observations that they were made of.
    pub observation_count: usize,
    /// Whether no observation is left.
    pub is_complete: bool,
    /// Name and unit of each column that is in it.
    pub sample_types: Vec<(String, String)>,
    /// Keys of the labels in it, sorted.
    pub label_keys: Vec<String>,
    /// Samples whose stack was cut.
    pub cut_stacks: usize,
    /// Labels that were left out, since their values have not the form that the layout asks for.
    pub unreadable_labels: usize,
    /// Values that no int64 holds, and that are the largest or smallest instead.
    pub clipped_values: usize,
}

impl Profiles {
    /// As much of some Profiles as fits, as one pprof.
    pub fn join_pprof(&self, layout: &Layout, members: &[Member], frame: &Frame) -> Joined {
        let mut columns: Vec<_> =
            members.iter().flat_map(|member| &member.columns).map(|&(column, _)| column).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut tables = Tables::new(&self.dictionary);
        let encoder = Encoder::new(self, &layout.options, &mut tables);
        let joiner =
            Joiner { profiles: self, layout, encoder, columns, sums: Sums::default(), made: HashMap::default() };
        joiner.join(members, frame)
    }
}

/// Fills one pprof.
struct Joiner<'a> {
    profiles: &'a Profiles,
    layout: &'a Layout,
    encoder: Encoder<'a>,
    /// Those of the layout that are in the pprof.
    columns: Vec<usize>,
    sums: Sums<'a>,
    /// By attribute, what became of it.
    made: HashMap<u32, Made>,
}

impl Joiner<'_> {
    fn join(mut self, members: &[Member], frame: &Frame) -> Joined {
        let profiles: Vec<_> = self.profiles.iter().map(|(_, _, profile)| profile).collect();
        let mut joined = Joined { is_complete: true, ..Joined::default() };
        let (mut window, mut skip) = (Window::default(), frame.skip);
        for member in members {
            let (profile, before) = (profiles[member.profile], joined.observation_count);
            joined.is_complete = self.member(profile, member, frame, &mut skip, &mut joined);
            if joined.observation_count > before {
                window.add(profile);
            }
            if !joined.is_complete {
                break;
            }
        }
        self.write(frame, &window, &mut joined);
        joined
    }

    /// Add up the observations of a Profile; whether there was room for all.
    fn member(
        &mut self,
        profile: &Profile,
        member: &Member,
        frame: &Frame,
        skip: &mut usize,
        joined: &mut Joined,
    ) -> bool {
        let own: Vec<_> = member.labels.iter().map(|(key, value)| self.own_label(key, value)).collect();
        let columns: Vec<_> = member.columns.iter().map(|&(column, scaled)| (self.place(column), scaled)).collect();
        let mut labels = vec![];
        for row in profile.rows.clone() {
            let count = self.observations(row);
            if *skip >= count {
                *skip -= count;
                continue;
            }
            labels.clear();
            labels.extend_from_slice(&own);
            let unreadable = self.row_labels(row, &mut labels);
            for observation in std::mem::take(skip)..count {
                if !self.sums.has_room(joined.observation_count, frame) {
                    return false;
                }
                let value = self.value(row, observation, &mut labels);
                let values = columns.iter().map(|&(place, scaled)| (place, scale(value, profile.period, scaled)));
                self.add(row, &labels, values);
                joined.observation_count += 1;
                // Once for a Sample, however many observations it is, and in whatever pprof they are.
                joined.unreadable_labels += if observation == 0 { unreadable } else { 0 };
            }
        }
        true
    }

    fn place(&self, column: usize) -> usize {
        self.columns.partition_point(|&one| one < column)
    }

    fn own_label(&mut self, key: &str, value: &str) -> Label {
        let [key, value] = [key, value].map(|text| self.encoder.strings.index(text.as_bytes().to_vec()));
        Label::text(key, value)
    }

    /// How many samples one becomes before equal ones are added up.
    fn observations(&self, row: usize) -> usize {
        let timestamps = self.profiles.samples.timestamps.range(row).len();
        if self.layout.options.timestamp_label.is_empty() { 1 } else { timestamps.max(1) }
    }

    /// The value of an observation; its timestamp becomes the last of the labels.
    fn value(&mut self, row: usize, observation: usize, labels: &mut Vec<Label>) -> i128 {
        let samples = &self.profiles.samples;
        let timestamp = samples.timestamps.row(row).get(observation);
        let Some(&timestamp) = timestamp.filter(|_| !self.layout.options.timestamp_label.is_empty()) else {
            return samples.total(row);
        };
        let key = self.encoder.strings.index(self.layout.options.timestamp_label.as_bytes());
        labels.retain(|label| label.key != key);
        if timestamp > 0 {
            labels.push(Label::number(key, timestamp as i64, 0));
        }
        samples.values.row(row).get(observation).map_or(1, |&value| value.into())
    }

    /// Append the labels of a Sample, sorted, no key twice: the last of one key stays, the Link's before all. How many
    /// are unreadable.
    fn row_labels(&mut self, row: usize, labels: &mut Vec<Label>) -> usize {
        let samples = &self.profiles.samples;
        let mut unreadable = 0;
        for &attribute in samples.attributes.row(row) {
            let strings = &mut self.encoder.strings;
            let made = self.made.entry(attribute);
            match made.or_insert_with(|| self.layout.label(self.profiles, attribute, strings)) {
                Made::Label(label) => labels.push(*label),
                Made::None => {}
                Made::Unreadable => unreadable += 1,
            }
        }
        let span_id = self.profiles.dictionary.links[samples.link[row] as usize].span_id;
        if let Made::Label(label) = self.layout.span_id.id(u64::from_be_bytes(span_id), &mut self.encoder.strings) {
            labels.push(label);
        }
        labels.reverse();
        labels.sort_by_key(|label| label.key);
        labels.dedup_by_key(|label| label.key);
        unreadable
    }

    fn add(&mut self, row: usize, labels: &[Label], values: impl Iterator<Item = (usize, i128)>) {
        let stack = self.profiles.samples.stack[row];
        let locations = self.profiles.dictionary.stacks.row(stack as usize);
        let depth = locations.len().min(self.layout.max_locations);
        let sums = self.sums.row(stack, locations, labels, (self.columns.len(), depth));
        for (place, value) in values {
            sums[place] = sums[place].saturating_add(value);
        }
    }

    fn write(mut self, frame: &Frame, window: &Window, joined: &mut Joined) {
        let stacks: Vec<_> = self.sums.entries.iter().map(|entry| entry.stack).collect();
        let depth = self.layout.max_locations;
        self.encoder.mark(&stacks, depth);
        if self.layout.frame_types {
            self.frame_types();
        }
        let mut writer = Writer::with_capacity(self.sums.bytes + 64 * stacks.len() + 1024);
        for &column in &self.columns {
            let (name, unit) = &self.layout.sample_types[column];
            self.encoder.named_type(&mut writer, 1, (name, unit));
        }
        let omitted = self.samples(&mut writer, joined);
        self.encoder.mappings(&mut writer);
        self.encoder.locations(&mut writer);
        let first = self.encoder.location_entries().len() as u64 + 1;
        for (count, id) in omitted.into_iter().zip(first..) {
            let plural = if count == 1 { "" } else { "s" };
            let function = self.encoder.function_called(format!("<{count} frame{plural} omitted>").into_bytes());
            writer.message(4, 8, |w| {
                w.uint64(1, id);
                w.message(4, 4, |w| w.uint64(1, function));
            });
        }
        self.encoder.functions(&mut writer);
        let mut tail = Writer::default();
        tail.uint64(9, window.start.min(i64::MAX as u64));
        tail.uint64(10, (window.end - window.start).min(i64::MAX as u64));
        let (name, unit) = &frame.period_type;
        self.encoder.named_type(&mut tail, 11, (name, unit));
        tail.uint64(12, frame.period as u64);
        joined.sample_types = self.columns.iter().map(|&column| self.layout.sample_types[column].clone()).collect();
        let default = &self.layout.default_sample_type;
        if joined.sample_types.iter().any(|(name, _)| name == default) {
            tail.uint64(14, self.encoder.strings.index(default.as_bytes()).into());
        }
        self.encoder.strings.write(&mut writer);
        writer.raw(&tail.into_bytes());
        joined.label_keys = self.label_keys();
        joined.body = writer.into_bytes();
    }

    /// Write the samples; the numbers of Locations that were left out of some stacks, each of which is a Location.
    fn samples(&self, writer: &mut Writer, joined: &mut Joined) -> Vec<usize> {
        let mut omitted: Vec<usize> = vec![];
        let mut ids: HashMap<usize, u64> = HashMap::default();
        let first = self.encoder.location_entries().len() as u64 + 1;
        for entry in &self.sums.entries {
            let stack = self.profiles.dictionary.stacks.row(entry.stack as usize);
            let kept = kept(stack.len(), self.layout.max_locations);
            let is_cut = kept < stack.len();
            let mut locations: Vec<_> = stack[..kept].iter().map(|&entry| self.encoder.location_id(entry)).collect();
            if is_cut {
                let left_out = stack.len() - kept;
                locations.push(*ids.entry(left_out).or_insert_with(|| {
                    omitted.push(left_out);
                    first + omitted.len() as u64 - 1
                }));
            }
            let values = &self.sums.values[entry.values.clone()];
            let fitting = values.iter().map(|&value| value.clamp(i64::MIN.into(), i64::MAX.into()) as u64);
            joined.clipped_values += values.iter().filter(|&&value| i64::try_from(value).is_err()).count();
            writer.message(2, 2 * locations.len() + 12 * entry.labels.len() + 8, |w| {
                w.packed(1, locations.iter().copied());
                w.packed(2, fitting);
                for label in &entry.labels {
                    label.write(w);
                }
            });
            joined.cut_stacks += usize::from(is_cut);
        }
        joined.sample_count = self.sums.entries.len();
        omitted
    }

    fn label_keys(&self) -> Vec<String> {
        let keys: HashSet<_> =
            self.sums.entries.iter().flat_map(|entry| &entry.labels).map(|label| label.key).collect();
        let text = |key: u32| String::from_utf8_lossy(&self.encoder.strings.order[key as usize]).into_owned();
        let mut keys: Vec<_> = keys.into_iter().map(text).collect();
        keys.sort_unstable();
        keys
    }

    /// Tell the encoder the type of each function's frames; the first one's, should they differ.
    fn frame_types(&mut self) {
        let locations = &self.profiles.dictionary.locations;
        for at in 0..self.encoder.location_entries().len() {
            let row = self.encoder.location_entries()[at] as usize;
            let Some(value) = self.profiles.find(locations.attributes.row(row), FRAME_TYPE) else { continue };
            let name = self.encoder.strings.index(text(self.profiles, value).into_owned().into_bytes());
            for line in locations.lines.row(row) {
                self.encoder.system_names.entry(line.function).or_insert(name);
            }
        }
    }
}

fn scale(value: i128, period: i64, scaled: bool) -> i128 {
    if scaled { value.saturating_mul(period.into()) } else { value }
}

/// From the first start to the last end.
#[derive(Default)]
struct Window {
    start: u64,
    end: u64,
}

impl Window {
    fn add(&mut self, profile: &Profile) {
        let start = profile.time_unix_nano;
        if start > 0 {
            self.start = if self.start == 0 { start } else { self.start.min(start) };
            self.end = self.end.max(start.saturating_add(profile.duration_nano));
        }
    }
}

/// A sample: its values stand in `Sums::values`.
struct Entry {
    hash: u64,
    stack: u32,
    labels: Vec<Label>,
    values: Range<usize>,
}

/// Samples of the same stack and labels, added up, in the order of the first of each.
#[derive(Default)]
struct Sums<'a> {
    hasher: DefaultHashBuilder,
    rows: HashTable<(usize, &'a [u32])>,
    entries: Vec<Entry>,
    values: Vec<i128>,
    /// What they will take on the wire, at most.
    bytes: usize,
}

impl<'a> Sums<'a> {
    /// Whether another observation may be added.
    fn has_room(&self, observations: usize, frame: &Frame) -> bool {
        observations < frame.max_observations.max(1) && (self.bytes <= frame.max_bytes || self.entries.is_empty())
    }

    /// The values of a sample; zeros when it is new.
    fn row(&mut self, stack: u32, locations: &'a [u32], labels: &[Label], size: (usize, usize)) -> &mut [i128] {
        let (columns, depth) = size;
        let hash = self.hasher.hash_one((locations, labels));
        let entries = &mut self.entries;
        let is_it = |&(at, stack): &(usize, &[u32])| {
            let known: &Entry = &entries[at];
            known.hash == hash && stack == locations && known.labels == labels
        };
        let known = self.rows.find(hash, is_it).map(|&(at, _)| at);
        let at = known.unwrap_or(entries.len());
        if known.is_none() {
            let values = self.values.len()..self.values.len() + columns;
            self.values.resize(values.end, 0);
            entries.push(Entry { hash, stack, labels: labels.to_vec(), values });
            self.rows.insert_unique(hash, (at, locations), |&(at, _)| entries[at].hash);
            self.bytes += entry_bytes(depth, labels.len(), columns);
        }
        &mut self.values[entries[at].values.clone()]
    }
}

/// What a sample takes on the wire at most: lengths and keys, Locations of three bytes, labels with two strings of
/// four bytes or a number of ten, values of ten.
fn entry_bytes(depth: usize, labels: usize, columns: usize) -> usize {
    16 + 3 * depth + 24 * labels + 10 * columns
}
