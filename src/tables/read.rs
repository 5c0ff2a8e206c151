//! Rows of the tables as a request again, for all that can be done with one.

mod columns;
mod labels;

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use rustc_hash::FxHashMap;

use self::columns::{FrameColumns, FrameRow, SampleColumns};
use self::labels::{LabelSet, Labels};
use super::rows::{SPAN_NAME, STATE};
use super::wanted;
use crate::assemble::Assembly;
use crate::dictionary::{Function, Line, Link, Mapping};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::profiles::{Profile, Profiles, Scope, ValueType};
use crate::value::AnyValue;

/// Rows of the four tables, as a query gave them: in any order, a symbol once or more.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// `service`, `sample_type`, `unit`, `stack_id` and `value`; the other columns of `samples` where they are wanted.
    pub samples: Vec<RecordBatch>,
    /// All that `samples` refers to; others are stepped over.
    pub stacks: Vec<RecordBatch>,
    /// All that those `stacks` refer to; others are stepped over.
    pub frames: Vec<RecordBatch>,
    /// What is wanted of the labels that `samples` refers to.
    pub labels: Vec<RecordBatch>,
}

impl Profiles {
    /// Make a request of rows: a Profile for each window, sample type and set of labels above the Samples.
    ///
    /// # Errors
    /// When a column is missing or has another type, or when a row refers to what is not there.
    pub fn from_tables(stored: &Stored, limits: &Limits) -> Result<Self> {
        let stacks = wanted::rows(&stored.stacks, "stack_id", &wanted::ids(&stored.samples, "stack_id")?)?;
        let frames = wanted::rows(&stored.frames, "location_id", &wanted::locations(&stacks)?)?;
        let mut reader = RowsReader::new(limits);
        reader.frames(&frames)?;
        reader.stacks(&stacks)?;
        let labels = Labels::read(&stored.labels)?;
        reader.samples(&stored.samples, &labels)?;
        reader.finish()
    }
}

pub(super) fn invalid(what: String) -> Error {
    Error::Invalid { format: "tables", what }
}

/// A column in the type that it is read in; engines hand out others that hold the same.
fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> Result<ArrayRef> {
    optional(batch, name, data_type)?.ok_or_else(|| invalid(format!("there is no column {name}")))
}

fn optional(batch: &RecordBatch, name: &str, data_type: &DataType) -> Result<Option<ArrayRef>> {
    let Some(array) = batch.column_by_name(name) else { return Ok(None) };
    let cast = arrow_cast::cast(array, data_type);
    cast.map(Some).map_err(|error| invalid(format!("column {name}: {error}")))
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    Ok(column(batch, name, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn optional_texts(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>> {
    Ok(optional(batch, name, &DataType::Utf8)?.map(|array| array.as_string::<i32>().clone()))
}

pub(super) fn numbers(batch: &RecordBatch, name: &str) -> Result<Int64Array> {
    Ok(column(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The ids of the locations of each stack.
pub(super) fn location_lists(batch: &RecordBatch) -> Result<ListArray> {
    let list = DataType::List(Field::new("element", DataType::Int64, true).into());
    Ok(column(batch, "location_ids", &list)?.as_list().clone())
}

fn optional_numbers(batch: &RecordBatch, name: &str) -> Result<Option<Int64Array>> {
    Ok(optional(batch, name, &DataType::Int64)?.map(|array| array.as_primitive::<Int64Type>().clone()))
}

/// What a Profile of the request is made of.
type ProfileKey = (usize, [u32; 2], i64, i64);

struct RowsReader<'a> {
    assembly: Assembly,
    limits: &'a Limits,
    strings: FxHashMap<String, u32>,
    attributes: FxHashMap<(u32, u32), u32>,
    links: FxHashMap<([u8; 16], [u8; 8]), u32>,
    functions: FxHashMap<Function, u32>,
    mappings: FxHashMap<(u32, String), u32>,
    locations: FxHashMap<i64, u32>,
    stacks: FxHashMap<i64, u32>,
    /// Labels above the Samples, by what they say.
    groups: BTreeMap<LabelSet, usize>,
    rows: BTreeMap<ProfileKey, Vec<SampleRow>>,
}

struct SampleRow {
    stack: u32,
    link: u32,
    attributes: Vec<u32>,
    value: i64,
}

impl<'a> RowsReader<'a> {
    fn new(limits: &'a Limits) -> Self {
        let mut strings = FxHashMap::default();
        strings.insert(String::new(), 0);
        Self {
            assembly: Assembly::new(Bytes::new(), limits),
            limits,
            strings,
            attributes: FxHashMap::default(),
            links: FxHashMap::default(),
            functions: FxHashMap::default(),
            mappings: FxHashMap::default(),
            locations: FxHashMap::default(),
            stacks: FxHashMap::default(),
            groups: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.strings.get(text) {
            return index;
        }
        let index = self.assembly.string(text);
        self.strings.insert(text.to_owned(), index);
        index
    }

    fn attribute(&mut self, key: &str, value: &str) -> Result<u32> {
        let (key, value) = (self.string(key), self.string(value));
        if let Some(&index) = self.attributes.get(&(key, value)) {
            return Ok(index);
        }
        let text = AnyValue::String(self.assembly.dictionary.strings[value as usize]);
        let index = self.assembly.attribute(key, text, 0)?;
        self.attributes.insert((key, value), index);
        Ok(index)
    }

    fn mapping(&mut self, file: &str, build_id: &str) -> Result<u32> {
        if file.is_empty() && build_id.is_empty() {
            return Ok(0);
        }
        let filename = self.string(file);
        if let Some(&index) = self.mappings.get(&(filename, build_id.to_owned())) {
            return Ok(index);
        }
        let owned = if build_id.is_empty() {
            vec![]
        } else {
            vec![self.attribute("process.executable.build_id.gnu", build_id)?]
        };
        let index = self.assembly.dictionary.mappings.len();
        self.assembly.room(index, "mappings")?;
        self.assembly.mapping(Mapping { filename, ..Mapping::default() }, &owned);
        self.mappings.insert((filename, build_id.to_owned()), index as u32);
        Ok(index as u32)
    }

    fn function(&mut self, function: Function) -> Result<u32> {
        if function == Function::default() {
            return Ok(0);
        }
        if let Some(&index) = self.functions.get(&function) {
            return Ok(index);
        }
        let index = self.assembly.dictionary.functions.len();
        self.assembly.room(index, "functions")?;
        self.assembly.dictionary.functions.push(function);
        self.functions.insert(function, index as u32);
        Ok(index as u32)
    }

    fn frames(&mut self, batches: &[RecordBatch]) -> Result<()> {
        // By location, its frames by their number: a query gives them in any order, and may give one twice.
        let mut found: BTreeMap<(i64, i32), FrameRow> = BTreeMap::new();
        for batch in batches {
            let columns = FrameColumns::of(batch)?;
            for row in 0..batch.num_rows() {
                found.entry(columns.key(row)).or_insert_with(|| columns.frame(row));
            }
        }
        let found: Vec<((i64, i32), FrameRow)> = found.into_iter().collect();
        for frames in found.chunk_by(|a, b| a.0.0 == b.0.0) {
            let ((id, _), first) = &frames[0];
            for (_, frame) in frames {
                let [name, system_name, filename] =
                    [&frame.function, &frame.system_name, &frame.file].map(|t| self.string(t));
                let function = self.function(Function { name, system_name, filename, start_line: frame.start_line })?;
                let line = Line { function, line: frame.line, column: frame.column };
                if line != Line::default() || frames.len() > 1 {
                    self.assembly.line(line)?;
                }
            }
            let mapping = self.mapping(&first.mapping, &first.build_id)?;
            let frame_type = &first.frame_type;
            let owned =
                if frame_type.is_empty() { vec![] } else { vec![self.attribute("profile.frame.type", frame_type)?] };
            self.assembly.room(self.locations.len(), "locations")?;
            let index = self.assembly.location(mapping, first.address as u64, &owned);
            self.locations.insert(*id, index);
        }
        Ok(())
    }

    fn stacks(&mut self, batches: &[RecordBatch]) -> Result<()> {
        for batch in batches {
            let ids = numbers(batch, "stack_id")?;
            let lists = location_lists(batch)?;
            for row in 0..batch.num_rows() {
                let id = ids.value(row);
                if self.stacks.contains_key(&id) {
                    continue;
                }
                let items = lists.value(row);
                let locations = items.as_primitive::<Int64Type>().values().iter().map(|location| {
                    let known = self.locations.get(location).copied();
                    known.ok_or_else(|| invalid(format!("location {location} of stack {id} is not in frames")))
                });
                let locations = locations.collect::<Result<Vec<u32>>>()?;
                self.assembly.room(self.stacks.len(), "stacks")?;
                let stack = self.assembly.stack(&locations)?;
                self.stacks.insert(id, stack);
            }
        }
        Ok(())
    }

    fn samples(&mut self, batches: &[RecordBatch], labels: &Labels) -> Result<()> {
        let mut places: FxHashMap<(Option<i64>, String), (usize, Vec<u32>)> = FxHashMap::default();
        for batch in batches {
            let columns = SampleColumns::of(batch)?;
            for row in 0..batch.num_rows() {
                let (labels_id, service) = (columns.labels_id(row), columns.service.value(row));
                let key = (labels_id, service.to_owned());
                if !places.contains_key(&key) {
                    let place = self.place(labels.of(labels_id, service))?;
                    places.insert(key.clone(), place);
                }
                let (group, attributes) = &places[&key];
                self.sample(&columns, row, *group, attributes.clone())?;
            }
        }
        Ok(())
    }

    /// The group that Samples with these labels belong to, and their own attributes.
    fn place(&mut self, mut set: LabelSet) -> Result<(usize, Vec<u32>)> {
        let own = std::mem::take(&mut set.attributes);
        let attributes = own.iter().map(|(key, value)| self.attribute(key, value)).collect::<Result<_>>()?;
        let next = self.groups.len();
        Ok((*self.groups.entry(set).or_insert(next), attributes))
    }

    fn sample(&mut self, columns: &SampleColumns, row: usize, group: usize, mut attributes: Vec<u32>) -> Result<()> {
        let id = columns.stack_id.value(row);
        let stack = self.stacks.get(&id).copied();
        let stack = stack.ok_or_else(|| invalid(format!("stack {id} of a sample is not in stacks")))?;
        for (key, column) in [(STATE, &columns.trace_state), (SPAN_NAME, &columns.span_name)] {
            if let Some(text) = value(column.as_ref(), row) {
                attributes.push(self.attribute(key, text)?);
            }
        }
        let sample_type = [&columns.sample_type, &columns.unit].map(|texts| self.string(texts.value(row)));
        let link = self.link(value(columns.trace_id.as_ref(), row), value(columns.span_id.as_ref(), row))?;
        let start = columns.window_start.as_ref().map_or(0, |starts| starts.value(row));
        let duration = columns.window_ns.as_ref().map_or(0, |window| window.value(row));
        let sample = SampleRow { stack, link, attributes, value: columns.value.value(row) };
        let of_profile = self.rows.entry((group, sample_type, start, duration)).or_default();
        of_profile.push(sample);
        Ok(())
    }

    fn link(&mut self, trace_id: Option<&str>, span_id: Option<&str>) -> Result<u32> {
        let mut link = Link::default();
        let whole = |text: &str, into: &mut [u8]| {
            text.len() == 2 * into.len() && HEXLOWER.decode_mut(text.as_bytes(), into).is_ok()
        };
        if !trace_id.is_none_or(|text| whole(text, &mut link.trace_id))
            || !span_id.is_none_or(|text| whole(text, &mut link.span_id))
        {
            return Err(invalid(format!("{trace_id:?} or {span_id:?} is no id in hexadecimal digits")));
        }
        if link == Link::default() {
            return Ok(0);
        }
        let links = &mut self.assembly.dictionary.links;
        Ok(*self.links.entry((link.trace_id, link.span_id)).or_insert_with(|| {
            links.push(link);
            links.len() as u32 - 1
        }))
    }

    fn finish(mut self) -> Result<Profiles> {
        if self.rows.len() > self.limits.max_profiles {
            let limit = self.limits.max_profiles;
            return Err(Error::TooMany { what: "profiles", limit, key: "max_profiles" });
        }
        let mut sets: Vec<(LabelSet, Vec<Profile>)> = vec![(LabelSet::default(), vec![]); self.groups.len()];
        for (set, group) in std::mem::take(&mut self.groups) {
            sets[group].0 = set;
        }
        for ((group, [name, unit], start, duration), rows) in std::mem::take(&mut self.rows) {
            let first = self.assembly.samples.len();
            for SampleRow { stack, link, attributes, value } in rows {
                let samples = &mut self.assembly.samples;
                samples.attributes.items.extend(attributes);
                samples.values.items.push(value);
                samples.end_row(stack, link);
            }
            let LabelSet { period_type, period, .. } = &sets[group].0;
            let (period_type, period) = (period_type.clone(), *period);
            let (of, in_) = (self.string(&period_type.0), self.string(&period_type.1));
            sets[group].1.push(Profile {
                sample_type: Some(ValueType { name, unit }),
                rows: first..self.assembly.samples.len(),
                time_unix_nano: (start as u64).saturating_mul(1_000),
                duration_nano: duration as u64,
                period_type: (of > 0 || in_ > 0).then_some(ValueType { name: of, unit: in_ }),
                period,
                ..Profile::default()
            });
        }
        let mut groups = vec![];
        for (set, profiles) in &sets {
            let (name, version) = &set.scope;
            let scope =
                Scope { name: self.assembly.append(name), version: self.assembly.append(version), ..Scope::default() };
            let scope = (!name.is_empty() || !version.is_empty()).then_some(scope);
            groups.push((set.resource.as_slice(), scope, profiles.clone()));
        }
        self.assembly.finish_groups(groups, 0)
    }
}

fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row)).filter(|text| !text.is_empty())
}
