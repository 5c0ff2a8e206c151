//! Attribute values: `AnyValue`, `KeyValue` and what they refer to.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::refusal::{Checked, Fault, Reason};
use crate::wire::{Reader, Span, Wire, Writer};

/// `AnyValue`: strings and bytes are pieces of the body.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AnyValue {
    /// No member of the oneof is set.
    #[default]
    Empty,
    /// `string_value`
    String(Span),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`, by its bits
    Double(u64),
    /// `array_value`
    Array(Vec<AnyValue>),
    /// `kvlist_value`
    KvList(Vec<KeyValue>),
    /// `bytes_value`
    Bytes(Span),
    /// `string_value_strindex`
    StringIndex(u32),
}

/// `KeyValue`: the key stands inline or in the string table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyValue {
    /// `key`
    pub key: Span,
    /// `key_strindex`; 0 when the key is inline.
    pub key_index: u32,
    /// `value`
    pub value: AnyValue,
}

/// What reading values of one request shares: the limits, and what was met on the way.
#[derive(Debug)]
pub struct ValueReader<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    /// Nested values that may still be read, over the whole request.
    budget: usize,
    /// The first fault of the owner that is being read.
    fault: Option<Fault>,
    /// Unknown fields since the last `take_unknown`.
    unknown: u64,
}

impl<'a> ValueReader<'a> {
    /// A reader for one request.
    pub fn new(body: &'a [u8], limits: &'a Limits) -> Self {
        Self { body, limits, budget: limits.max_table_entries, fault: None, unknown: 0 }
    }

    /// The fault met since the last call, if any.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// The number of unknown fields met since the last call.
    pub fn take_unknown(&mut self) -> u64 {
        std::mem::take(&mut self.unknown)
    }

    /// Remember a fault, unless there is one already.
    pub fn fail(&mut self, fault: impl FnOnce() -> Fault) {
        self.fault.get_or_insert_with(fault);
    }

    /// Step over an unknown field, counted.
    pub fn skip(&mut self, reader: &mut Reader<'_>, number: u32, wire: Wire) -> Result<()> {
        self.unknown += 1;
        reader.skip(number, wire)
    }

    /// A string field: refused as a fault, not as a malformed request, when it is not UTF-8.
    pub fn string(&mut self, reader: &mut Reader<'_>, wire: Wire, field: &'static str) -> Result<Span> {
        let span = reader.span(wire, field)?;
        if std::str::from_utf8(span.of(self.body)).is_err() {
            self.fail(|| Fault::new(Reason::InvalidUtf8, format!("{field} at byte {} is not UTF-8", span.start)));
        }
        Ok(span)
    }

    /// Append a `KeyValue` to an owner's attributes.
    pub fn attribute(&mut self, message: Reader<'_>, into: &mut Vec<KeyValue>, owner: &'static str) -> Result<()> {
        if into.len() == self.limits.max_attributes {
            let limit = self.limits.max_attributes;
            self.fail(|| Fault::new(Reason::TooManyAttributes, format!("{owner} has more than {limit} attributes")));
            return Ok(());
        }
        into.push(self.key_value(message, 1)?);
        Ok(())
    }

    fn key_value(&mut self, mut message: Reader<'_>, depth: usize) -> Result<KeyValue> {
        let mut pair = KeyValue::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => pair.key = self.string(&mut message, wire, "KeyValue.key")?,
                2 => self.any_value(message.message(wire, "KeyValue.value")?, &mut pair.value, depth)?,
                3 => pair.key_index = message.index(wire, "KeyValue.key_strindex")?,
                _ => self.skip(&mut message, number, wire)?,
            }
        }
        Ok(pair)
    }

    /// Read an `AnyValue` into `value`: a member that is set twice wins the second time, and lists go on, as the
    /// protobuf specification has it for a message that comes in parts.
    pub fn any_value(&mut self, mut message: Reader<'_>, value: &mut AnyValue, depth: usize) -> Result<()> {
        if depth > self.limits.max_attribute_depth {
            let limit = self.limits.max_attribute_depth;
            self.fail(|| {
                Fault::new(Reason::AttributeTooDeep, format!("an attribute's value is nested more than {limit} deep"))
            });
            return Ok(());
        }
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => *value = AnyValue::String(self.string(&mut message, wire, "AnyValue.string_value")?),
                2 => *value = AnyValue::Bool(message.uint64(wire, "AnyValue.bool_value")? != 0),
                3 => *value = AnyValue::Int(message.uint64(wire, "AnyValue.int_value")? as i64),
                4 => *value = AnyValue::Double(message.fixed64(wire, "AnyValue.double_value")?),
                5 => self.array(message.message(wire, "AnyValue.array_value")?, value, depth)?,
                6 => self.kvlist(message.message(wire, "AnyValue.kvlist_value")?, value, depth)?,
                7 => *value = AnyValue::Bytes(message.span(wire, "AnyValue.bytes_value")?),
                8 => *value = AnyValue::StringIndex(message.index(wire, "AnyValue.string_value_strindex")?),
                _ => self.skip(&mut message, number, wire)?,
            }
        }
        Ok(())
    }

    fn array(&mut self, mut message: Reader<'_>, value: &mut AnyValue, depth: usize) -> Result<()> {
        if !matches!(value, AnyValue::Array(_)) {
            *value = AnyValue::Array(vec![]);
        }
        let AnyValue::Array(items) = value else {
            return Ok(());
        };
        while let Some((number, wire)) = message.next_field()? {
            if number == 1 {
                self.spend()?;
                let mut item = AnyValue::Empty;
                self.any_value(message.message(wire, "ArrayValue.values")?, &mut item, depth + 1)?;
                items.push(item);
            } else {
                self.skip(&mut message, number, wire)?;
            }
        }
        Ok(())
    }

    fn kvlist(&mut self, mut message: Reader<'_>, value: &mut AnyValue, depth: usize) -> Result<()> {
        if !matches!(value, AnyValue::KvList(_)) {
            *value = AnyValue::KvList(vec![]);
        }
        let AnyValue::KvList(items) = value else {
            return Ok(());
        };
        while let Some((number, wire)) = message.next_field()? {
            if number == 1 {
                self.spend()?;
                items.push(self.key_value(message.message(wire, "KeyValueList.values")?, depth + 1)?);
            } else {
                self.skip(&mut message, number, wire)?;
            }
        }
        Ok(())
    }

    fn spend(&mut self) -> Result<()> {
        let limit = self.limits.max_table_entries;
        self.budget = self.budget.checked_sub(1).ok_or(Error::TooMany {
            what: "nested attribute values",
            limit,
            key: "max_table_entries",
        })?;
        Ok(())
    }
}

impl AnyValue {
    /// Call `see` with every string-table index in this value.
    pub fn string_indices(&self, see: &mut impl FnMut(u32)) {
        match self {
            Self::StringIndex(index) => see(*index),
            Self::Array(items) => items.iter().for_each(|item| item.string_indices(see)),
            Self::KvList(items) => items.iter().for_each(|item| item.string_indices(see)),
            _ => {}
        }
    }

    /// The same value with each of its pieces of the body moved to another one.
    #[must_use]
    pub fn moved(&self, place: &mut impl FnMut(Span) -> Span) -> Self {
        match self {
            Self::String(span) => Self::String(place(*span)),
            Self::Bytes(span) => Self::Bytes(place(*span)),
            Self::Array(items) => Self::Array(items.iter().map(|item| item.moved(place)).collect()),
            Self::KvList(items) => Self::KvList(items.iter().map(|pair| pair.moved(place)).collect()),
            other => other.clone(),
        }
    }

    /// Write as field `field`, string-table indices renumbered.
    pub fn write(&self, writer: &mut Writer, field: u32, body: &[u8], strings: &impl Fn(u32) -> u32) {
        writer.message(field, 0, |w| match self {
            Self::Empty => {}
            Self::String(span) => w.present_bytes(1, span.of(body)),
            Self::Bool(value) => w.present_uint64(2, u64::from(*value)),
            Self::Int(value) => w.present_uint64(3, *value as u64),
            Self::Double(bits) => w.present_fixed64(4, *bits),
            Self::Array(items) => w.message(5, 0, |w| items.iter().for_each(|item| item.write(w, 1, body, strings))),
            Self::KvList(items) => w.message(6, 0, |w| items.iter().for_each(|item| item.write(w, 1, body, strings))),
            Self::Bytes(span) => w.present_bytes(7, span.of(body)),
            Self::StringIndex(index) => w.present_uint64(8, u64::from(strings(*index))),
        });
    }
}

impl KeyValue {
    /// The same pair with each of its pieces of the body moved to another one.
    #[must_use]
    pub fn moved(&self, place: &mut impl FnMut(Span) -> Span) -> Self {
        Self { key: place(self.key), key_index: self.key_index, value: self.value.moved(place) }
    }

    /// Call `see` with every string-table index in this pair. An inline key refers to nothing.
    pub fn string_indices(&self, see: &mut impl FnMut(u32)) {
        if self.key_index != 0 {
            see(self.key_index);
        }
        self.value.string_indices(see);
    }

    /// Write as field `field`, string-table indices renumbered.
    pub fn write(&self, writer: &mut Writer, field: u32, body: &[u8], strings: &impl Fn(u32) -> u32) {
        writer.message(field, 0, |w| {
            w.bytes(1, self.key.of(body));
            // An absent value and an empty one mean the same.
            if self.value != AnyValue::Empty {
                self.value.write(w, 2, body, strings);
            }
            w.uint64(3, u64::from(if self.key_index == 0 { 0 } else { strings(self.key_index) }));
        });
    }
}

/// The first fault among the string references of some attributes.
pub fn check_references(attributes: &[KeyValue], check: impl Fn(u32) -> Checked) -> Checked {
    let mut first = Ok(());
    for attribute in attributes {
        attribute.string_indices(&mut |index| {
            if first.is_ok() {
                first = check(index);
            }
        });
    }
    first
}
