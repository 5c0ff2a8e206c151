//! The protobuf wire: a bounded reader that knows where it stands, and a writer that writes once.
//!
//! Source: the Protocol Buffers encoding specification.

use crate::error::{Error, Result};

/// Groups (deprecated) may stand in unknown fields only; so deep they may nest.
const MAX_GROUP_DEPTH: u32 = 32;

/// A piece of the body: where it starts and how long it is. A body is at most 2 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of this piece.
    pub fn of(self, body: &[u8]) -> &[u8] {
        &body[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// The wire types that occur in OTLP, and the two of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// int32, int64, uint32, uint64, bool
    Varint,
    /// fixed64, double
    Fixed64,
    /// string, bytes, message, packed
    Len,
    /// start of a group
    Group,
    /// end of a group
    EndGroup,
    /// fixed32, float
    Fixed32,
}

/// Reads one message of a body.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    body: &'a [u8],
    pos: usize,
    end: usize,
    message: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of a message that fills the piece.
    pub fn new(body: &'a [u8], span: Span, message: &'static str) -> Self {
        let pos = span.start as usize;
        Self { body, pos, end: pos + span.len as usize, message }
    }

    /// What is left of the message.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.body[self.pos..self.end]
    }

    fn malformed<T>(&self, field: &'static str, what: &'static str) -> Result<T> {
        Err(Error::Malformed { at: self.pos, field, what })
    }

    /// The next field's number and wire type; `None` at the end of the message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Wire)>> {
        if self.pos == self.end {
            return Ok(None);
        }
        let key = self.varint(self.message)?;
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Len,
            3 => Wire::Group,
            4 => Wire::EndGroup,
            5 => Wire::Fixed32,
            _ => return self.malformed(self.message, "no such wire type"),
        };
        match u32::try_from(key >> 3) {
            Ok(number) if (1..1 << 29).contains(&number) => Ok(Some((number, wire))),
            _ => self.malformed(self.message, "no such field number"),
        }
    }

    /// Refuse a known field that came with another wire type.
    #[inline]
    pub fn expect(&self, wire: Wire, expected: Wire, field: &'static str) -> Result<()> {
        if wire == expected { Ok(()) } else { self.malformed(field, "wrong wire type") }
    }

    #[inline]
    fn varint(&mut self, field: &'static str) -> Result<u64> {
        match self.body[self.pos..self.end].first() {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(field),
        }
    }

    fn long_varint(&mut self, field: &'static str) -> Result<u64> {
        let mut value = 0_u64;
        for (i, &byte) in self.body[self.pos..self.end].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * i as u32);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return self.malformed(field, "varint over 64 bits");
                }
                self.pos += i + 1;
                return Ok(value);
            }
        }
        let what = if self.end - self.pos < 10 { "truncated varint" } else { "varint over 10 bytes" };
        self.malformed(field, what)
    }

    /// A varint field, checked for its wire type.
    #[inline]
    pub fn uint64(&mut self, wire: Wire, field: &'static str) -> Result<u64> {
        self.expect(wire, Wire::Varint, field)?;
        self.varint(field)
    }

    /// An int32 as its 32 low bits: negative numbers become the largest, so that one comparison checks both ends.
    #[inline]
    pub fn index(&mut self, wire: Wire, field: &'static str) -> Result<u32> {
        Ok(self.uint64(wire, field)? as u32)
    }

    /// A fixed64 field.
    pub fn fixed64(&mut self, wire: Wire, field: &'static str) -> Result<u64> {
        self.expect(wire, Wire::Fixed64, field)?;
        self.raw_fixed64(field)
    }

    fn raw_fixed64(&mut self, field: &'static str) -> Result<u64> {
        let Some(bytes) = self.rest().first_chunk::<8>() else {
            return self.malformed(field, "truncated fixed64");
        };
        self.pos += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A length-delimited field, as the piece of the body it fills.
    #[inline]
    pub fn span(&mut self, wire: Wire, field: &'static str) -> Result<Span> {
        self.expect(wire, Wire::Len, field)?;
        let len = self.varint(field)?;
        if len > (self.end - self.pos) as u64 {
            return self.malformed(field, "truncated: longer than the message it stands in");
        }
        let span = Span { start: self.pos as u32, len: len as u32 };
        self.pos += len as usize;
        Ok(span)
    }

    /// A length-delimited field, as a reader of the message in it.
    #[inline]
    pub fn message(&mut self, wire: Wire, field: &'static str) -> Result<Reader<'a>> {
        Ok(Reader::new(self.body, self.span(wire, field)?, field))
    }

    /// The piece of the body that this reader has left.
    pub fn remaining(&self) -> Span {
        Span { start: self.pos as u32, len: (self.end - self.pos) as u32 }
    }

    /// A repeated int32 that holds indices, packed or not, appended to `out`.
    pub fn indices(&mut self, wire: Wire, out: &mut Vec<u32>, field: &'static str) -> Result<()> {
        if wire == Wire::Varint {
            out.push(self.varint(field)? as u32);
            return Ok(());
        }
        let mut packed = self.message(wire, field)?;
        out.reserve(packed.end - packed.pos);
        while let Some(&bytes) = packed.rest().first_chunk::<2>() {
            // Nearly all indices take one or two bytes, in no order that a branch predictor could learn.
            let both = u16::from_le_bytes(bytes);
            if both & 0x8080 == 0x8080 {
                out.push(packed.long_varint(field)? as u32);
            } else {
                let is_two_bytes = both >> 7 & 1;
                let high = both >> 1 & 0x3f80 & 0_u16.wrapping_sub(is_two_bytes);
                out.push(u32::from(both & 0x7f | high));
                packed.pos += 1 + usize::from(is_two_bytes);
            }
        }
        if packed.pos < packed.end {
            out.push(packed.varint(field)? as u32);
        }
        Ok(())
    }

    /// A repeated int64, packed or not, appended to `out`.
    pub fn int64s(&mut self, wire: Wire, out: &mut Vec<i64>, field: &'static str) -> Result<()> {
        if wire == Wire::Varint {
            out.push(self.varint(field)? as i64);
            return Ok(());
        }
        self.message(wire, field)?.packed_int64s(out, field)
    }

    /// What is left, as packed int64s or int32s, appended to `out`.
    pub fn packed_int64s(&mut self, out: &mut Vec<i64>, field: &'static str) -> Result<()> {
        while self.pos < self.end {
            out.push(self.varint(field)? as i64);
        }
        Ok(())
    }

    /// A repeated fixed64, packed or not, appended to `out`.
    pub fn fixed64s(&mut self, wire: Wire, out: &mut Vec<u64>, field: &'static str) -> Result<()> {
        if wire == Wire::Fixed64 {
            out.push(self.raw_fixed64(field)?);
            return Ok(());
        }
        self.message(wire, field)?.packed_fixed64s(out, field)
    }

    /// What is left, as packed fixed64s, appended to `out`.
    pub fn packed_fixed64s(&mut self, out: &mut Vec<u64>, field: &'static str) -> Result<()> {
        while self.pos < self.end {
            out.push(self.raw_fixed64(field)?);
        }
        Ok(())
    }

    /// Step over a field that is not known.
    pub fn skip(&mut self, number: u32, wire: Wire) -> Result<()> {
        self.skip_nested(number, wire, 0)
    }

    fn skip_nested(&mut self, number: u32, wire: Wire, depth: u32) -> Result<()> {
        let field = self.message;
        match wire {
            Wire::Varint => self.varint(field).map(drop),
            Wire::Fixed64 => self.raw_fixed64(field).map(drop),
            Wire::Len => self.span(wire, field).map(drop),
            Wire::Fixed32 if self.end - self.pos < 4 => self.malformed(field, "truncated fixed32"),
            Wire::Fixed32 => {
                self.pos += 4;
                Ok(())
            }
            Wire::Group if depth == MAX_GROUP_DEPTH => self.malformed(field, "groups nested too deep"),
            Wire::Group => loop {
                match self.next_field()? {
                    Some((end, Wire::EndGroup)) if end == number => return Ok(()),
                    Some((inner, wire)) => self.skip_nested(inner, wire, depth + 1)?,
                    None => return self.malformed(field, "truncated group"),
                }
            },
            Wire::EndGroup => self.malformed(field, "end of a group that was not started"),
        }
    }
}

/// A message that is being written.
#[derive(Debug)]
pub struct Opened {
    /// Of its key.
    start: usize,
    /// Of its length.
    at: usize,
    /// How many bytes were left for its length.
    guess: usize,
}

/// Writes messages to one buffer, in one pass.
#[derive(Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
}

impl Writer {
    /// A writer with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: Vec::with_capacity(bytes) }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// A varint without a key, as in a packed field.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buf.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    /// Bytes that already are in wire form.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// A varint field; left out when zero.
    pub fn uint64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, 0);
            self.varint(value);
        }
    }

    /// A varint field; written even when zero, for the members of a oneof.
    pub fn present_uint64(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    /// A fixed64 field; written even when zero.
    pub fn present_fixed64(&mut self, field: u32, value: u64) {
        self.key(field, 1);
        self.raw(&value.to_le_bytes());
    }

    /// A fixed64 field; left out when zero.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.present_fixed64(field, value);
        }
    }

    /// A string or bytes field; left out when empty.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.present_bytes(field, value);
        }
    }

    /// A string, bytes or message field; written even when empty.
    pub fn present_bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.raw(value);
    }

    /// A message whose length is known only when it is written: room is left for the length of `expected` bytes,
    /// and the message moves in the rare case that this was the wrong size.
    pub fn message(&mut self, field: u32, expected: usize, write: impl FnOnce(&mut Self)) {
        let opened = self.open(field, expected);
        write(self);
        self.close(opened);
    }

    /// Begin a message, or a packed field: what is written from here to `close` is in it.
    pub fn open(&mut self, field: u32, expected: usize) -> Opened {
        let start = self.buf.len();
        self.key(field, 2);
        let (at, guess) = (self.buf.len(), varint_len(expected));
        self.buf.resize(at + guess, 0);
        Opened { start, at, guess }
    }

    /// End it.
    pub fn close(&mut self, Opened { at, guess, .. }: Opened) {
        let end = self.buf.len();
        let len = end - at - guess;
        let need = varint_len(len);
        if need > guess {
            self.buf.resize(end + need - guess, 0);
        }
        if need != guess {
            self.buf.copy_within(at + guess..end, at + need);
            self.buf.truncate(at + need + len);
        }
        let mut rest = len;
        for byte in &mut self.buf[at..at + need] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        self.buf[at + need - 1] &= 0x7f;
    }

    /// End it, or leave it out when nothing is in it.
    pub fn close_unless_empty(&mut self, opened: Opened) {
        if self.buf.len() > opened.at + opened.guess {
            self.close(opened);
        } else {
            self.buf.truncate(opened.start);
        }
    }

    /// A packed repeated varint; left out when empty.
    pub fn packed(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        if values.len() > 0 {
            let expected = values.len() + values.len() / 2;
            self.message(field, expected, |w| values.for_each(|value| w.varint(value)));
        }
    }

    /// A packed repeated fixed64; left out when empty.
    pub fn packed_fixed64(&mut self, field: u32, values: &[u64]) {
        if !values.is_empty() {
            self.key(field, 2);
            self.varint(values.len() as u64 * 8);
            for value in values {
                self.raw(&value.to_le_bytes());
            }
        }
    }
}

/// How many bytes a varint takes.
#[inline]
pub fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(body: &[u8]) -> Reader<'_> {
        Reader::new(body, Span { start: 0, len: body.len() as u32 }, "Test")
    }

    #[test]
    fn a_message_longer_or_shorter_than_expected_gets_its_minimal_length() {
        for expected in [0, 1, 127, 128, 20_000] {
            for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
                let mut writer = Writer::default();
                writer.message(1, expected, |w| w.raw(&vec![7; len]));
                writer.raw(&[9]);
                let mut plain = Writer::default();
                plain.present_bytes(1, &vec![7; len]);
                plain.raw(&[9]);
                assert_eq!(plain.into_bytes(), writer.into_bytes());
            }
        }
    }

    #[test]
    fn varints_of_every_length_come_back() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1_u64 << bits) - 1, u64::MAX >> bits] {
                let mut writer = Writer::default();
                writer.present_uint64(3, value);
                let body = writer.into_bytes();
                let mut reader = reader(&body);
                assert_eq!(Some((3, Wire::Varint)), reader.next_field().unwrap());
                assert_eq!(value, reader.uint64(Wire::Varint, "Test.x").unwrap());
                assert_eq!(None, reader.next_field().unwrap());
            }
        }
    }

    #[test]
    fn an_eleven_byte_varint_is_malformed() {
        let body = [&[0x08][..], &[0xff; 10], &[0x01]].concat();
        let mut reader = reader(&body);
        let (_, wire) = reader.next_field().unwrap().unwrap();
        assert!(reader.uint64(wire, "Test.x").is_err());
    }

    #[test]
    fn unknown_fields_of_every_wire_type_are_stepped_over() {
        let body = [
            0x18, 0x01, // varint
            0x21, 0, 0, 0, 0, 0, 0, 0, 0, // fixed64
            0x2a, 0x01, 0xff, // len
            0x35, 0, 0, 0, 0, // fixed32
            0x3b, 0x08, 0x01, 0x3c, // group
        ];
        let mut reader = reader(&body);
        let mut seen = vec![];
        while let Some((number, wire)) = reader.next_field().unwrap() {
            reader.skip(number, wire).unwrap();
            seen.push(number);
        }
        assert_eq!(vec![3, 4, 5, 6, 7], seen);
    }
}
