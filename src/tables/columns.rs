//! Rows as Arrow columns, in the types that the tables have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use data_encoding::HEXLOWER;

use super::FINE;
use super::ids::Content;
use super::rows::{Row, Texts};

/// A frame of a Location.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame<'a> {
    /// 0 is the innermost one.
    pub(super) inline: i32,
    pub(super) function: &'a [u8],
    pub(super) system_name: &'a [u8],
    pub(super) file: &'a [u8],
    pub(super) start_line: i64,
    pub(super) line: i64,
    pub(super) column: i64,
    pub(super) mapping: &'a [u8],
    pub(super) build_id: Vec<u8>,
    /// Its 64 bits.
    pub(super) address: i64,
    /// `profile.frame.type`
    pub(super) kind: Cow<'a, str>,
}

impl Frame<'_> {
    pub(super) fn add_to(&self, content: &mut Content) {
        content.text(self.function).text(self.system_name).text(self.file);
        content.number(self.start_line as u64).number(self.line as u64).number(self.column as u64);
        content.text(self.mapping).text(&self.build_id).number(self.address as u64).text(self.kind.as_bytes());
    }

    /// Bytes that a row of it takes.
    pub(super) fn size(&self) -> usize {
        let texts = [self.function, self.system_name, self.file, self.mapping, &self.build_id, self.kind.as_bytes()];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// Attributes by key, as text.
pub(super) type Pairs<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// What stands above the Samples of a Profile.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelSet<'a> {
    pub(super) scope: String,
    pub(super) scope_version: String,
    pub(super) period_type: String,
    pub(super) period_unit: String,
    pub(super) period: i64,
    pub(super) resource: Pairs<'a>,
    /// Of the Profile; a Sample may have its own.
    pub(super) attributes: Pairs<'a>,
}

impl LabelSet<'_> {
    /// All but the attributes.
    pub(super) fn add_to(&self, content: &mut Content) {
        for text in self.texts() {
            content.text(text.as_bytes());
        }
        content.number(self.period as u64).pairs(&self.resource);
    }

    /// Bytes that a row of it takes, without the attributes.
    pub(super) fn size(&self) -> usize {
        self.texts().iter().map(|text| text.len()).sum::<usize>() + pairs_size(&self.resource)
    }

    fn texts(&self) -> [&str; 4] {
        [&self.scope, &self.scope_version, &self.period_type, &self.period_unit].map(String::as_str)
    }
}

/// Bytes that these take in a row; each pair some on its own.
pub(super) fn pairs_size(pairs: &Pairs<'_>) -> usize {
    pairs.iter().map(|(key, value)| size_of::<[Cow<'_, str>; 2]>() + key.len() + value.len()).sum()
}

/// Columns of one length, by name.
#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn add(mut self, name: &str, array: impl arrow_array::Array + 'static, nullable: bool) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(Arc::new(array));
        self
    }

    fn int64(self, name: &str, values: impl Iterator<Item = i64>) -> Self {
        self.add(name, PrimitiveArray::<Int64Type>::from_iter_values(values), false)
    }

    fn date(self, values: impl Iterator<Item = i32>) -> Self {
        self.add("date", PrimitiveArray::<Date32Type>::from_iter_values(values), false)
    }

    fn text<T: AsRef<str>>(self, name: &str, values: impl Iterator<Item = T>) -> Self {
        self.add(name, StringArray::from_iter_values(values), false)
    }

    fn bytes<'a>(self, name: &str, values: impl Iterator<Item = &'a [u8]>) -> Self {
        self.text(name, values.map(String::from_utf8_lossy))
    }

    fn optional<T: AsRef<str>>(self, name: &str, values: impl Iterator<Item = Option<T>>) -> Self {
        self.add(name, values.collect::<StringArray>(), true)
    }

    fn batch(self) -> RecordBatch {
        let rows = self.arrays.first().map_or(0, |array| array.len());
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new(Arc::clone(&schema), self.arrays).unwrap_or_else(|error| {
            debug_assert!(false, "{rows} rows: {error}");
            RecordBatch::new_empty(schema)
        })
    }
}

pub(super) fn samples(rows: &[Row], texts: &Texts, tenant: &str) -> RecordBatch {
    let text = |index: u32| texts.all[index as usize].as_str();
    let starts = rows.iter().map(|row| (row.window_start / 1_000) as i64);
    let starts = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(starts).with_timezone("UTC");
    Columns::default()
        .date(rows.iter().map(|row| row.date))
        .text("tier", rows.iter().map(|_| FINE))
        .text("tenant", rows.iter().map(|_| tenant))
        .text("service", rows.iter().map(|row| text(row.service)))
        .text("sample_type", rows.iter().map(|row| text(row.sample_type)))
        .text("unit", rows.iter().map(|row| text(row.unit)))
        .add("window_start", starts, false)
        .int64("window_ns", rows.iter().map(|row| row.window_ns as i64))
        .int64("stack_id", rows.iter().map(|row| row.stack_id))
        .add("trace_id", hexadecimal(rows.iter().map(|row| row.trace_id)), true)
        .add("span_id", hexadecimal(rows.iter().map(|row| row.span_id)), true)
        .optional("trace_state", rows.iter().map(|row| row.trace_state.map(text)))
        .optional("span_name", rows.iter().map(|row| row.span_name.map(text)))
        .int64("labels_id", rows.iter().map(|row| row.labels_id))
        .int64("value", rows.iter().map(|row| row.value))
        .int64("count", rows.iter().map(|row| row.count))
        .batch()
}

/// Ids of N bytes as text.
fn hexadecimal<const N: usize>(ids: impl ExactSizeIterator<Item = Option<[u8; N]>>) -> StringArray {
    let mut texts = StringBuilder::with_capacity(ids.len(), ids.len() * 2 * N);
    let mut digits = [0; 32];
    for id in ids {
        let digits = &mut digits[..2 * N];
        texts.append_option(id.map(|id| HEXLOWER.encode_mut_str(&id, digits)));
    }
    texts.finish()
}

pub(super) fn stacks(rows: &[(i32, i64, Vec<i64>)]) -> RecordBatch {
    let item = Field::new("element", DataType::Int64, false);
    let mut lists = ListBuilder::new(Int64Builder::new()).with_field(item);
    for (_, _, locations) in rows {
        lists.values().append_slice(locations);
        lists.append(true);
    }
    Columns::default()
        .date(rows.iter().map(|row| row.0))
        .int64("stack_id", rows.iter().map(|row| row.1))
        .add("location_ids", lists.finish(), false)
        .batch()
}

pub(super) fn frames(rows: &[(i32, i64, Frame<'_>)]) -> RecordBatch {
    let frames = || rows.iter().map(|row| &row.2);
    let inline = PrimitiveArray::<Int32Type>::from_iter_values(frames().map(|frame| frame.inline));
    Columns::default()
        .date(rows.iter().map(|row| row.0))
        .int64("location_id", rows.iter().map(|row| row.1))
        .add("inline", inline, false)
        .bytes("function", frames().map(|frame| frame.function))
        .bytes("system_name", frames().map(|frame| frame.system_name))
        .bytes("file", frames().map(|frame| frame.file))
        .int64("start_line", frames().map(|frame| frame.start_line))
        .int64("line", frames().map(|frame| frame.line))
        .int64("column", frames().map(|frame| frame.column))
        .bytes("mapping", frames().map(|frame| frame.mapping))
        .bytes("build_id", frames().map(|frame| frame.build_id.as_slice()))
        .int64("address", frames().map(|frame| frame.address))
        .text("frame_type", frames().map(|frame| &frame.kind))
        .batch()
}

pub(super) fn labels(rows: &[(i32, i64, &LabelSet<'_>, Pairs<'_>)]) -> RecordBatch {
    let sets = || rows.iter().map(|row| row.2);
    Columns::default()
        .date(rows.iter().map(|row| row.0))
        .int64("labels_id", rows.iter().map(|row| row.1))
        .text("scope", sets().map(|set| &set.scope))
        .text("scope_version", sets().map(|set| &set.scope_version))
        .text("period_type", sets().map(|set| &set.period_type))
        .text("period_unit", sets().map(|set| &set.period_unit))
        .int64("period", sets().map(|set| set.period))
        .add("resource", map(sets().map(|set| &set.resource)), false)
        .add("attributes", map(rows.iter().map(|row| &row.3)), false)
        .batch()
}

/// A map in each row, with the names that Delta gives its parts.
fn map<'p, 'a: 'p>(rows: impl Iterator<Item = &'p Pairs<'a>>) -> arrow_array::MapArray {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for pairs in rows {
        for (key, value) in pairs {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        // Keys and values are as many.
        let appended = maps.append(true);
        debug_assert!(appended.is_ok());
    }
    maps.finish()
}
