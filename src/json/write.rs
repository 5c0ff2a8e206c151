//! From the protobuf wire to JSON. Fields come in the order of the schema, whatever their order on the wire.

use std::ops::Range;

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;

use super::schema::{Field, Kind, Message, REQUEST};
use crate::error::{Error, Result};
use crate::wire::{Reader, Span, Wire};

/// Messages within messages: what passed `decode` needs at most 3 for each level of an attribute's value.
const MAX_DEPTH: usize = 256;

/// Write a request, which may take so many bytes in JSON.
pub(super) fn write(wire: &[u8], limit: usize) -> Result<Vec<u8>> {
    // The JSON of recorded requests takes 2.7 times their wire form.
    let json = Vec::with_capacity(wire.len().saturating_mul(3).min(limit));
    let mut writer = JsonWriter { json, limit, found: vec![] };
    writer.message(wire, Span { start: 0, len: wire.len() as u32 }, &REQUEST, 0)?;
    Ok(writer.json)
}

/// A field as it stands on the wire.
#[derive(Clone, Copy)]
enum Raw {
    Number(u64),
    Piece(Span),
}

struct JsonWriter {
    json: Vec<u8>,
    limit: usize,
    /// The fields of the messages that are being written, the outer ones first: by their place in the schema.
    found: Vec<(usize, Raw)>,
}

impl JsonWriter {
    fn message(&mut self, body: &[u8], span: Span, message: &'static Message, depth: usize) -> Result<()> {
        let first = self.found.len();
        let mut reader = Reader::new(body, span, message.name);
        if depth > MAX_DEPTH {
            let at = span.start as usize;
            return Err(Error::Malformed { at, field: message.name, what: "nested too deep" });
        }
        while let Some((number, wire)) = reader.next_field()? {
            let Some(place) = message.by_number(number) else {
                reader.skip(number, wire)?;
                continue;
            };
            let raw = match wire {
                Wire::Varint => Raw::Number(reader.uint64(wire, message.name)?),
                Wire::Fixed64 => Raw::Number(reader.fixed64(wire, message.name)?),
                _ => Raw::Piece(reader.span(wire, message.name)?),
            };
            self.found.push((place, raw));
        }
        // Stable: what stands in a list keeps its order.
        self.found[first..].sort_by_key(|&(place, _)| place);
        let last = self.found.len();
        self.json.push(b'{');
        let mut at = first;
        while at < last {
            let place = self.found[at].0;
            let field = &message.fields[place];
            let end = at + self.found[at..last].iter().take_while(|&&(found, _)| found == place).count();
            if at > first {
                self.json.push(b',');
            }
            self.put(field.name);
            self.json.push(b':');
            if field.is_repeated {
                self.list(body, at..end, field, depth)?;
            } else {
                self.single(body, at..end, field, depth)?;
            }
            at = end;
        }
        self.json.push(b'}');
        self.found.truncate(first);
        if self.json.len() > self.limit { Err(Error::JsonTooLarge { limit: self.limit }) } else { Ok(()) }
    }

    fn list(&mut self, body: &[u8], found: Range<usize>, field: &'static Field, depth: usize) -> Result<()> {
        self.json.push(b'[');
        let start = self.json.len();
        for at in found {
            let raw = self.found[at].1;
            match (field.kind, raw) {
                (Kind::Int32 | Kind::Int64, Raw::Piece(span)) => {
                    let mut values = vec![];
                    Reader::new(body, span, field.name).packed_int64s(&mut values, field.name)?;
                    for value in values {
                        self.element(start);
                        self.scalar(field.kind, value as u64);
                    }
                }
                (Kind::Fixed64, Raw::Piece(span)) => {
                    let mut values = vec![];
                    Reader::new(body, span, field.name).packed_fixed64s(&mut values, field.name)?;
                    for value in values {
                        self.element(start);
                        self.scalar(field.kind, value);
                    }
                }
                _ => {
                    self.element(start);
                    self.value(body, field, raw, depth)?;
                }
            }
        }
        self.json.push(b']');
        Ok(())
    }

    /// A field that is not repeated. Of a scalar the last one counts; the parts of a message are one.
    fn single(&mut self, body: &[u8], found: Range<usize>, field: &'static Field, depth: usize) -> Result<()> {
        let last = self.found[found.end - 1].1;
        let mut parts = vec![];
        for &(_, raw) in &self.found[found.start..found.end - 1] {
            if let (Kind::Message(_), Raw::Piece(span)) = (field.kind, raw) {
                parts.extend_from_slice(span.of(body));
            }
        }
        match (field.kind, last) {
            (Kind::Message(message), Raw::Piece(span)) if !parts.is_empty() => {
                parts.extend_from_slice(span.of(body));
                self.message(&parts, Span { start: 0, len: parts.len() as u32 }, message, depth + 1)
            }
            _ => self.value(body, field, last, depth),
        }
    }

    fn value(&mut self, body: &[u8], field: &'static Field, raw: Raw, depth: usize) -> Result<()> {
        match (field.kind, raw) {
            (Kind::Message(message), Raw::Piece(span)) => return self.message(body, span, message, depth + 1),
            (Kind::Base64, Raw::Piece(span)) => self.put(&BASE64.encode(span.of(body))),
            (Kind::Hex, Raw::Piece(span)) => self.put(&HEXLOWER.encode(span.of(body))),
            // What nobody reaches may be no UTF-8.
            (_, Raw::Piece(span)) => self.put(&String::from_utf8_lossy(span.of(body))),
            (kind, Raw::Number(value)) => self.scalar(kind, value),
        }
        Ok(())
    }

    fn scalar(&mut self, kind: Kind, value: u64) {
        match kind {
            Kind::Bool => self.put(&(value != 0)),
            Kind::Int32 => self.put(&(value as i32)),
            Kind::Uint32 => self.put(&(value as u32)),
            Kind::Double => self.double(f64::from_bits(value)),
            Kind::Int64 => self.quoted(&(value as i64)),
            _ => self.quoted(&value),
        }
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            self.put(&value);
        } else if value.is_nan() {
            self.put("NaN");
        } else {
            self.put(if value > 0.0 { "Infinity" } else { "-Infinity" });
        }
    }

    fn quoted(&mut self, value: &impl Serialize) {
        self.json.push(b'"');
        self.put(value);
        self.json.push(b'"');
    }

    fn element(&mut self, start: usize) {
        if self.json.len() > start {
            self.json.push(b',');
        }
    }

    fn put(&mut self, value: &(impl Serialize + ?Sized)) {
        // Neither these values nor a Vec can fail.
        let _infallible = serde_json::to_writer(&mut self.json, value);
    }
}
