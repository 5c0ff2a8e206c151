//! The wire form of one pprof.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use hashbrown::HashMap;

use super::attributes;
use super::groups::Group;
use super::samples::{Label, Sums};
use super::tables::{Strings, Tables};
use super::write::{Named, PprofOptions};
use crate::dictionary::{Function, Link, Mapping};
use crate::profiles::{Profiles, Scope};
use crate::text::text;
use crate::value::AnyValue;
use crate::wire::Writer;

/// Writes one pprof.
pub(super) struct Encoder<'a> {
    profiles: &'a Profiles,
    options: &'a PprofOptions,
    tables: &'a mut Tables,
    pub(super) strings: Strings<'a>,
    /// By attribute, the labels that it becomes.
    labels: HashMap<u32, Vec<Label>>,
    /// Functions that are called by an address: their names, and the ids of those.
    native_names: Vec<u32>,
    native_ids: HashMap<u32, u64>,
    /// By function, what stands in the place of its system name.
    pub(super) system_names: HashMap<u32, u32>,
    counts: Counts,
}

/// Samples of one pprof: all, and those that have something that a reader may not take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) samples: usize,
    pub(super) negative: usize,
    pub(super) cut: usize,
}

impl<'a> Encoder<'a> {
    /// An encoder of one group; the tables are cleared for it.
    pub(super) fn new(profiles: &'a Profiles, options: &'a PprofOptions, tables: &'a mut Tables) -> Self {
        tables.clear();
        let mut strings = Strings::default();
        strings.index(&b""[..]);
        let (labels, native_names, native_ids, system_names, counts) = Default::default();
        Self { profiles, options, tables, strings, labels, native_names, native_ids, system_names, counts }
    }

    /// The pprof of some groups of the same types, at least one, and what its samples are.
    pub(super) fn encode(mut self, groups: &[Group<'_>], scope: Option<&Scope>) -> (Vec<u8>, Counts) {
        let rows = groups.iter().flat_map(|group| group.first().rows.clone());
        let stacks: Vec<_> = rows.map(|row| self.profiles.samples.stack[row]).collect();
        self.mark(&stacks, usize::MAX);
        let mut writer = Writer::with_capacity(64 * stacks.len() + 64 * self.tables.locations.entries.len() + 1024);
        let group = &groups[0];
        for (index, profile) in group.0.iter().enumerate() {
            let named = self.options.named.as_ref().and_then(|named| named.sample_types.get(index));
            let (name, unit) = match named {
                Some((name, unit, _)) => (name.as_bytes(), unit.as_bytes()),
                None => self.profiles.sample_type(profile),
            };
            self.value_type(&mut writer, 1, name, unit);
        }
        self.samples(&mut writer, groups);
        self.mappings(&mut writer);
        self.locations(&mut writer);
        self.functions(&mut writer);
        let mut tail = Writer::default();
        self.tail(&mut tail, group, scope);
        self.strings.write(&mut writer);
        writer.raw(&tail.into_bytes());
        (writer.into_bytes(), self.counts)
    }

    /// Give all that some stacks lead to, `depth` Locations of each, its ids.
    pub(super) fn mark(&mut self, stacks: &[u32], depth: usize) {
        let has_name = |function: u32| !self.options.native_names || self.profiles.is_named(function);
        self.tables.mark(self.profiles, stacks, depth, has_name);
    }

    /// The Locations that are marked.
    pub(super) fn location_entries(&self) -> &[u32] {
        &self.tables.locations.entries
    }

    /// The id of one of them.
    pub(super) fn location_id(&self, entry: u32) -> u64 {
        self.tables.locations.id(entry)
    }

    fn string(&mut self, index: u32) -> u32 {
        self.strings.index(self.profiles.string(index))
    }

    fn value_type(&mut self, writer: &mut Writer, field: u32, name: &'a [u8], unit: &'a [u8]) {
        let (name, unit) = (self.strings.index(name), self.strings.index(unit));
        Self::type_of(writer, field, name, unit);
    }

    /// Write a type by its name and unit.
    pub(super) fn named_type(&mut self, writer: &mut Writer, field: u32, (name, unit): (&str, &str)) {
        let [name, unit] = [name, unit].map(|text| self.strings.index(text.as_bytes().to_vec()));
        Self::type_of(writer, field, name, unit);
    }

    fn type_of(writer: &mut Writer, field: u32, name: u32, unit: u32) {
        writer.message(field, 4, |w| {
            w.uint64(1, name.into());
            w.uint64(2, unit.into());
        });
    }

    fn samples(&mut self, writer: &mut Writer, groups: &[Group<'_>]) {
        let samples = &self.profiles.samples;
        let factors: Vec<_> = (0..groups[0].0.len()).map(|index| self.factor(index)).collect();
        let (mut labels, mut values) = (vec![], vec![]);
        let mut sums = self.options.combine.then(Sums::default);
        let mut emit = |encoder: &mut Self, stack, labels: &[Label], values: &mut Vec<i128>| {
            values.iter_mut().zip(&factors).for_each(|(value, &factor)| *value = times(*value, factor));
            match &mut sums {
                Some(sums) => sums.add(stack, labels, values),
                None => encoder.sample(writer, stack, labels, values),
            }
        };
        let offsets = |group: &Group<'_>| 0..group.first().rows.len();
        for (group, offset) in groups.iter().flat_map(|group| offsets(group).map(move |offset| (group, offset))) {
            let row = group.first().rows.start + offset;
            labels.clear();
            self.row_labels(row, &mut labels);
            let stack = self.profiles.dictionary.stacks.row(samples.stack[row] as usize);
            let timestamps = samples.timestamps.row(row);
            if self.options.timestamp_label.is_empty() || timestamps.is_empty() {
                values.clear();
                values.extend(group.0.iter().map(|profile| samples.total(profile.rows.start + offset)));
                emit(self, stack, &labels, &mut values);
                continue;
            }
            let key = self.strings.index(self.options.timestamp_label.as_bytes());
            labels.retain(|label| label.key != key);
            for (index, &timestamp) in timestamps.iter().enumerate() {
                let value = |start: usize| samples.values.row(start + offset).get(index).copied().unwrap_or(1);
                values.clear();
                values.extend(group.0.iter().map(|profile| i128::from(value(profile.rows.start))));
                labels.push(Label::number(key, timestamp as i64, 0));
                emit(self, stack, &labels, &mut values);
                labels.pop();
            }
        }
        for (stack, labels, values) in sums.iter().flat_map(|sums| &sums.samples) {
            self.sample(writer, stack, labels, values);
        }
    }

    /// What the values of a sample type are multiplied by.
    fn factor(&self, index: usize) -> i128 {
        let named = self.options.named.as_ref().and_then(|named| named.sample_types.get(index));
        named.map_or(1, |&(_, _, factor)| factor.into())
    }

    /// Write a sample, or as many as hold its values.
    fn sample(&mut self, writer: &mut Writer, stack: &[u32], labels: &[Label], values: &[i128]) {
        let kept = self.kept(stack);
        let mut values = Cow::Borrowed(values);
        loop {
            let fitting = values.iter().map(|&value| value.clamp(i64::MIN.into(), i64::MAX.into()) as u64);
            writer.message(2, 2 * stack.len() + 12 * labels.len() + 8, |w| {
                w.packed(1, kept.iter().map(|&location| self.tables.locations.id(location)));
                w.packed(2, fitting);
                for label in labels {
                    label.write(w);
                }
            });
            self.counts.samples += 1;
            self.counts.negative += usize::from(values.iter().any(|&value| value < 0));
            self.counts.cut += usize::from(kept.len() < stack.len());
            if values.iter().all(|&value| i64::try_from(value).is_ok()) {
                return;
            }
            for value in values.to_mut() {
                *value -= (*value).clamp(i64::MIN.into(), i64::MAX.into());
            }
        }
    }

    /// What is written of a stack: all of it, or its two ends. Self times stay those of the leaf, and the stack stays
    /// under its root.
    fn kept<'s>(&self, stack: &'s [u32]) -> Cow<'s, [u32]> {
        match self.options.max_depth {
            Some(max) if stack.len() > max => {
                [&stack[..max.div_ceil(2)], &stack[stack.len() - max / 2..]].concat().into()
            }
            _ => stack.into(),
        }
    }

    /// Append the labels of a Sample: those of its attributes, then its Link's, which take the place of attributes
    /// of the same names.
    fn row_labels(&mut self, row: usize, labels: &mut Vec<Label>) {
        let samples = &self.profiles.samples;
        for &attribute in samples.attributes.row(row) {
            if !self.labels.contains_key(&attribute) {
                let made = self.attribute_labels(attribute);
                self.labels.insert(attribute, made);
            }
            labels.extend(self.labels.get(&attribute).into_iter().flatten());
        }
        let Link { trace_id, span_id } = self.profiles.dictionary.links[samples.link[row] as usize];
        let options = self.options;
        for (label, id) in [(&options.trace_id_label, &trace_id[..]), (&options.span_id_label, &span_id[..])] {
            if !label.is_empty() && id.iter().any(|&byte| byte != 0) {
                let key = self.strings.index(label.as_bytes());
                labels.retain(|label| label.key != key);
                labels.push(Label::text(key, self.strings.index(HEXLOWER.encode(id).into_bytes())));
            }
        }
    }

    /// The labels of one attribute: several when it is a list of texts or of integers.
    fn attribute_labels(&mut self, attribute: u32) -> Vec<Label> {
        let profiles = self.profiles;
        let attribute = &profiles.dictionary.attributes[attribute as usize];
        let key = profiles.string(attribute.key);
        let is_wanted = |labels: &Vec<String>| labels.iter().any(|label| label.as_bytes() == key);
        if key.is_empty() || !self.options.labels.as_ref().is_none_or(is_wanted) {
            return vec![];
        }
        let (key, unit) = (self.strings.index(key), self.string(attribute.unit));
        let value = &attribute.value;
        let values = match value {
            AnyValue::Array(items) if is_list_of_one_kind(items) => &items[..],
            _ => std::slice::from_ref(value),
        };
        let label = |value: &AnyValue| match value {
            AnyValue::Int(number) => Label::number(key, *number, unit),
            other => Label::text(key, self.strings.index(text(profiles, other).into_owned().into_bytes())),
        };
        values.iter().map(label).collect()
    }

    pub(super) fn mappings(&mut self, writer: &mut Writer) {
        let profiles = self.profiles;
        let symbolised = self.symbolised();
        for (index, &entry) in self.tables.mappings.entries.iter().enumerate() {
            let Mapping { memory_start, memory_limit, file_offset, filename } =
                profiles.dictionary.mappings[entry as usize];
            let owned = profiles.dictionary.mapping_attributes.row(entry as usize);
            let filename = self.strings.index(profiles.string(filename));
            let build_id = self.strings.index(profiles.build_id(owned));
            let stated = attributes::HAS.map(|key| profiles.find(owned, key));
            let is_stated = stated.iter().any(Option::is_some);
            writer.message(3, 48, |w| {
                w.uint64(1, index as u64 + 1);
                w.uint64(2, memory_start);
                w.uint64(3, memory_limit);
                w.uint64(4, file_offset);
                w.uint64(5, filename.into());
                w.uint64(6, build_id.into());
                for (flag, stated) in stated.into_iter().enumerate() {
                    let is_set =
                        if is_stated { stated == Some(&AnyValue::Bool(true)) } else { symbolised[index][flag] };
                    w.uint64(7 + flag as u32, u64::from(is_set));
                }
            });
        }
    }

    /// By mapping, whether all of its locations have functions, file names and line numbers, and any has inlined
    /// ones.
    fn symbolised(&self) -> Vec<[bool; attributes::HAS.len()]> {
        let dictionary = &self.profiles.dictionary;
        let mut has = vec![[true, true, true, false]; self.tables.mappings.entries.len()];
        for &location in &self.tables.locations.entries {
            let Some(mapping) = self.tables.mappings.id(dictionary.locations.mapping[location as usize]).checked_sub(1)
            else {
                continue;
            };
            let lines = dictionary.locations.lines.row(location as usize);
            let function = |index: u32| dictionary.functions[index as usize];
            let [functions, files, numbers, inlined] = &mut has[mapping as usize];
            *functions &= !lines.is_empty() && lines.iter().all(|line| self.profiles.is_named(line.function));
            *files &= !lines.is_empty() && lines.iter().all(|line| function(line.function).filename > 0);
            *numbers &= !lines.is_empty() && lines.iter().all(|line| line.line > 0);
            *inlined |= lines.len() > 1;
        }
        has
    }

    pub(super) fn locations(&mut self, writer: &mut Writer) {
        let profiles = self.profiles;
        let locations = &profiles.dictionary.locations;
        for index in 0..self.tables.locations.entries.len() {
            let entry = self.tables.locations.entries[index];
            let row = entry as usize;
            let mut lines: Vec<_> = locations
                .lines
                .row(row)
                .iter()
                .map(|l| (self.function_id(entry, l.function), l.line, l.column))
                .collect();
            if lines.is_empty() && self.options.native_names {
                lines.push((self.native_function(entry), 0, 0));
            }
            let is_folded = profiles.find(locations.attributes.row(row), attributes::IS_FOLDED);
            writer.message(4, 12 + 8 * lines.len(), |w| {
                w.uint64(1, index as u64 + 1);
                w.uint64(2, self.tables.mappings.id(locations.mapping[row]));
                w.uint64(3, locations.address[row]);
                for (function, line, column) in lines {
                    w.message(4, 6, |w| {
                        w.uint64(1, function);
                        w.uint64(2, line as u64);
                        w.uint64(3, column as u64);
                    });
                }
                w.uint64(5, u64::from(is_folded == Some(&AnyValue::Bool(true))));
            });
        }
    }

    fn function_id(&mut self, location: u32, function: u32) -> u64 {
        match self.tables.functions.id(function) {
            // It has no name, and is to have one.
            0 => self.native_function(location),
            id => id,
        }
    }

    fn native_function(&mut self, location: u32) -> u64 {
        self.function_called(self.profiles.native_frame(location as usize).into_bytes())
    }

    /// The id of a function that has nothing but this name.
    pub(super) fn function_called(&mut self, name: Vec<u8>) -> u64 {
        let name = self.strings.index(name);
        let next = (self.tables.functions.entries.len() + self.native_names.len()) as u64 + 1;
        let id = *self.native_ids.entry(name).or_insert(next);
        if id == next {
            self.native_names.push(name);
        }
        id
    }

    pub(super) fn functions(&mut self, writer: &mut Writer) {
        let profiles = self.profiles;
        let named = self.tables.functions.entries.iter().map(|&entry| {
            let Function { name, system_name, filename, start_line } = profiles.dictionary.functions[entry as usize];
            let mut strings = [name, system_name, filename].map(|index| profiles.string(index));
            if self.options.native_names && strings[0].is_empty() {
                strings[0] = strings[1];
            }
            let mut names = strings.map(|string| self.strings.index(string));
            names[1] = self.system_names.get(&entry).copied().unwrap_or(names[1]);
            (names, start_line)
        });
        let native = self.native_names.iter().map(|&name| ([name, 0, 0], 0));
        let functions: Vec<_> = named.chain(native).collect();
        for (([name, system_name, filename], start_line), id) in functions.into_iter().zip(1..) {
            writer.message(5, 16, |w| {
                w.uint64(1, id);
                w.uint64(2, name.into());
                w.uint64(3, system_name.into());
                w.uint64(4, filename.into());
                w.uint64(5, start_line as u64);
            });
        }
    }

    /// What stands behind the string table, since it refers to it.
    fn tail(&mut self, writer: &mut Writer, group: &Group<'_>, scope: Option<&Scope>) {
        let profiles = self.profiles;
        let profile = group.first();
        for (field, key) in [(7, attributes::DROP_FRAMES), (8, attributes::KEEP_FRAMES)] {
            let text = self.attribute_text(&profile.attributes, key);
            writer.uint64(field, text.into());
        }
        let named = self.options.named.as_ref();
        writer.uint64(9, named.map_or(profile.time_unix_nano, |named| named.time_unix_nano).min(i64::MAX as u64));
        writer.uint64(10, profile.duration_nano.min(i64::MAX as u64));
        let period_type = match named {
            Some(Named { period_type: (name, unit), .. }) => {
                (!name.is_empty() || !unit.is_empty()).then_some((name.as_bytes(), unit.as_bytes()))
            }
            None => profile.period_type.map(|kind| (profiles.string(kind.name), profiles.string(kind.unit))),
        };
        if let Some((name, unit)) = period_type {
            self.value_type(writer, 11, name, unit);
        }
        writer.uint64(12, named.map_or(profile.period, |named| named.period) as u64);
        let comments = match profiles.find(&profile.attributes, attributes::COMMENT) {
            Some(AnyValue::Array(items)) => &items[..],
            Some(other) => std::slice::from_ref(other),
            None => &[],
        };
        let comments: Vec<_> = comments
            .iter()
            .map(|comment| u64::from(self.strings.index(text(profiles, comment).into_owned().into_bytes())))
            .collect();
        writer.packed(13, comments.into_iter());
        if let Some(text) = self.default_sample_type(group, scope) {
            writer.uint64(14, self.strings.index(text.into_owned().into_bytes()).into());
        }
        let doc_url = self.attribute_text(&profile.attributes, attributes::DOC_URL);
        writer.uint64(15, doc_url.into());
    }

    fn attribute_text(&mut self, owned: &[u32], key: &str) -> u32 {
        let profiles = self.profiles;
        let text = profiles.find(owned, key).map(|value| text(profiles, value).into_owned());
        self.strings.index(text.unwrap_or_default().into_bytes())
    }

    /// What the scope says to look at first, when the pprof has it.
    fn default_sample_type(&self, group: &Group<'_>, scope: Option<&Scope>) -> Option<Cow<'a, str>> {
        let profiles = self.profiles;
        let mut pairs = scope?.attributes.iter();
        let pair = pairs.find(|pair| profiles.key(pair) == attributes::DEFAULT_SAMPLE_TYPE)?;
        let name = text(profiles, &pair.value);
        let has_name = group.0.iter().any(|profile| profiles.sample_type(profile).0 == name.as_bytes());
        has_name.then_some(name)
    }
}

/// A product that 64 bits hold, or the nearest number that they do: it would take many samples to hold a larger one.
fn times(value: i128, factor: i128) -> i128 {
    if factor == 1 { value } else { value.saturating_mul(factor).clamp(i64::MIN.into(), i64::MAX.into()) }
}

/// Whether a list is one that repeated labels say: texts or integers, and more than one, since one reads as itself.
fn is_list_of_one_kind(items: &[AnyValue]) -> bool {
    let is_text = |item: &AnyValue| matches!(item, AnyValue::String(_) | AnyValue::StringIndex(_));
    items.len() > 1 && (items.iter().all(is_text) || items.iter().all(|item| matches!(item, AnyValue::Int(_))))
}

impl Profiles {
    /// The value of the attribute of a key among some.
    pub(crate) fn find(&self, owned: &[u32], key: &str) -> Option<&AnyValue> {
        let attributes = owned.iter().map(|&index| &self.dictionary.attributes[index as usize]);
        attributes.into_iter().find(|attribute| self.string(attribute.key) == key.as_bytes()).map(|a| &a.value)
    }

    /// Whether a function has a name.
    pub(crate) fn is_named(&self, function: u32) -> bool {
        let function = &self.dictionary.functions[function as usize];
        !self.string(function.name).is_empty() || !self.string(function.system_name).is_empty()
    }

    /// The build id of a mapping: the linker's, or Go's, or the profiler's own.
    pub(crate) fn build_id(&self, owned: &[u32]) -> Vec<u8> {
        let keys = [attributes::BUILD_ID_GNU, attributes::BUILD_ID_GO, attributes::BUILD_ID_HTLHASH];
        let ids = keys.into_iter().filter_map(|key| self.find(owned, key)).map(|id| text(self, id));
        // Go's toolchain can be told to leave its id out, and writes this.
        let mut known = ids.filter(|id| !id.is_empty() && id != "redacted");
        known.next().unwrap_or_default().into_owned().into_bytes()
    }
}
