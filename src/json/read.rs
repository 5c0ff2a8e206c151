//! From JSON to the protobuf wire, in one pass over the text and into one buffer.

use std::fmt::{self, Write};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::schema::{Field, Kind, Message, REQUEST};
use crate::error::{Error, Result};
use crate::wire::Writer;

/// A number with a fraction or an exponent is exact up to here, and is taken for an integer when it is one.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;
/// What an error shows of the text that it is about.
const SHOWN_CHARS: usize = 200;

/// What was read.
pub(super) struct Read {
    /// The request on the wire.
    pub(super) wire: Vec<u8>,
    /// How many names nobody knows.
    pub(super) unknown_names: u64,
}

/// Read a request, which may take so many bytes on the wire.
pub(super) fn read(json: &[u8], limit: usize) -> Result<Read> {
    let mut state = State {
        // The wire form of recorded requests takes 0.37 of their JSON.
        out: Writer::with_capacity(json.len().min(limit) / 2),
        limit,
        is_too_large: false,
        path: vec![],
        unknown_names: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = MessageSeed { message: &REQUEST, state: &mut state }.deserialize(&mut deserializer);
    match read.and_then(|()| deserializer.end()) {
        Ok(()) => Ok(Read { wire: state.out.into_bytes(), unknown_names: state.unknown_names }),
        Err(_) if state.is_too_large => Err(Error::BodyTooLarge { limit }),
        Err(error) => Err(state.malformed(json, &error)),
    }
}

struct State {
    out: Writer,
    limit: usize,
    is_too_large: bool,
    /// Where the reader stands; after an error, where it is.
    path: Vec<Step>,
    unknown_names: u64,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl State {
    fn malformed(&self, json: &[u8], error: &serde_json::Error) -> Error {
        let mut path = String::from(REQUEST.name);
        for step in &self.path {
            let _infallible = match step {
                Step::Field(name) => write!(path, ".{name}"),
                Step::Index(index) => write!(path, "[{index}]"),
            };
        }
        // Its own text ends in line and column; JSON is one line in most cases, and a byte is easier to find.
        let text = error.to_string();
        let what = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
        let what: String = what.chars().take(SHOWN_CHARS).collect();
        let lines = json.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
        let at = lines.map(<[u8]>::len).sum::<usize>() + error.column();
        Error::Invalid { format: "JSON", what: format!("byte {at}, in {path}: {what}") }
    }
}

/// Reads one message: its fields, without its key.
struct MessageSeed<'s> {
    message: &'static Message,
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with the fields of {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { message, state } = self;
        let mut seen = 0_u32;
        let mut is_set = false;
        while let Some(place) = map.next_key_seed(NameSeed(message))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                state.unknown_names += 1;
                continue;
            };
            let field = &message.fields[place];
            state.path.push(Step::Field(field.name));
            if seen & 1 << place != 0 {
                return Err(A::Error::custom("the field is there twice"));
            }
            seen |= 1 << place;
            let place = if field.is_repeated { Place::List } else { Place::Single };
            let before = state.out.len();
            map.next_value_seed(ValueSeed { field, is_oneof: message.is_oneof, place, state })?;
            if message.is_oneof && state.out.len() > before {
                if is_set {
                    return Err(A::Error::custom(format_args!("another value of this {} is set", message.name)));
                }
                is_set = true;
            }
            state.path.pop();
        }
        Ok(())
    }
}

/// Reads a name: the place of its field, or none.
struct NameSeed(&'static Message);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> std::result::Result<Self::Value, E> {
        Ok(self.0.by_name(name))
    }
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After the name of a field that is not repeated.
    Single,
    /// After the name of a repeated field.
    List,
    /// In the list of a repeated field.
    Element,
}

/// Reads one value, and writes it with its key.
struct ValueSeed<'s> {
    field: &'static Field,
    is_oneof: bool,
    place: Place,
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.place, self.field.kind) {
            (Place::List, _) => "a list",
            (_, Kind::Bool) => "true or false",
            (_, Kind::Int32) => "an integer of 32 bits",
            (_, Kind::Uint32) => "an unsigned integer of 32 bits",
            (_, Kind::Int64) => "an integer of 64 bits",
            (_, Kind::Uint64 | Kind::Fixed64) => "an unsigned integer of 64 bits",
            (_, Kind::Double) => "a number",
            (_, Kind::Text) => "a string",
            (_, Kind::Base64) => "a string in base 64",
            (_, Kind::Hex) => "a string in hexadecimal",
            (_, Kind::Message(_)) => "an object",
        })
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<(), E> {
        // null is the default; but what would be the default of an element?
        if self.place == Place::Element { Err(E::invalid_type(Unexpected::Unit, &self)) } else { Ok(()) }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.place != Place::List => self.varint(u64::from(value)),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.integer(i128::from(value), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.integer(i128::from(value), Unexpected::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        match self.field.kind {
            Kind::Double => self.double(value),
            _ if value.fract() == 0.0 && value.abs() < MAX_EXACT_FLOAT => {
                self.integer(i128::from(value as i64), Unexpected::Float(value))
            }
            _ => Err(E::invalid_type(Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        if self.place == Place::List {
            return Err(E::invalid_type(Unexpected::Str(text), &self));
        }
        match self.field.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
                Ok(id) => self.bytes(&id),
                Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Base64 => match base64(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Double => match double(text) {
                Some(value) => self.double(value),
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
            Kind::Bool | Kind::Message(_) => Err(E::invalid_type(Unexpected::Str(text), &self)),
            _ => match integer(text) {
                Some(value) => self.integer(value, Unexpected::Str(text)),
                None => Err(E::invalid_value(Unexpected::Str(text), &self)),
            },
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        if self.place == Place::List {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        let state = self.state;
        let mark = state.out.open(self.field.number, 0);
        MessageSeed { message, state: &mut *state }.visit_map(map)?;
        state.out.close(mark);
        checked(state)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        if self.place != Place::List {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let Self { field, is_oneof, state, .. } = self;
        let is_packed = !matches!(field.kind, Kind::Text | Kind::Base64 | Kind::Hex | Kind::Message(_));
        let mut mark = None;
        state.path.push(Step::Index(0));
        loop {
            if is_packed && mark.is_none() {
                mark = Some(state.out.open(field.number, 0));
            }
            let element = ValueSeed { field, is_oneof, place: Place::Element, state: &mut *state };
            if list.next_element_seed(element)?.is_none() {
                break;
            }
            if let Some(Step::Index(index)) = state.path.last_mut() {
                *index += 1;
            }
        }
        state.path.pop();
        if let Some(mark) = mark {
            state.out.close_unless_empty(mark);
        }
        checked(state)
    }
}

impl ValueSeed<'_> {
    /// Whether a value is written that says nothing.
    fn writes_zero(&self) -> bool {
        self.is_oneof || self.place == Place::Element
    }

    #[expect(clippy::cast_precision_loss, reason = "a double holds what it can of an integer")]
    fn integer<E: serde::de::Error>(self, value: i128, shown: Unexpected<'_>) -> std::result::Result<(), E> {
        let is_in_range = match self.field.kind {
            Kind::Double if self.place != Place::List => return self.double(value as f64),
            _ if self.place == Place::List => return Err(E::invalid_type(shown, &self)),
            Kind::Int32 => i32::try_from(value).is_ok(),
            Kind::Uint32 => u32::try_from(value).is_ok(),
            Kind::Int64 => i64::try_from(value).is_ok(),
            Kind::Uint64 | Kind::Fixed64 => u64::try_from(value).is_ok(),
            _ => return Err(E::invalid_type(shown, &self)),
        };
        if !is_in_range {
            return Err(E::invalid_value(shown, &self));
        }
        match self.field.kind {
            Kind::Fixed64 => self.fixed64(value as u64),
            _ => self.varint(value as u64),
        }
    }

    fn varint<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        let out = &mut self.state.out;
        match self.place {
            Place::Element => out.varint(value),
            _ if value != 0 || self.is_oneof => out.present_uint64(self.field.number, value),
            _ => {}
        }
        checked(self.state)
    }

    fn fixed64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        let out = &mut self.state.out;
        match self.place {
            Place::Element => out.raw(&value.to_le_bytes()),
            _ if value != 0 || self.is_oneof => out.present_fixed64(self.field.number, value),
            _ => {}
        }
        checked(self.state)
    }

    fn double<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.fixed64(value.to_bits())
    }

    fn bytes<E: serde::de::Error>(self, value: &[u8]) -> std::result::Result<(), E> {
        if !value.is_empty() || self.writes_zero() {
            self.state.out.present_bytes(self.field.number, value);
        }
        checked(self.state)
    }
}

fn checked<E: serde::de::Error>(state: &mut State) -> std::result::Result<(), E> {
    if state.out.len() > state.limit {
        state.is_too_large = true;
        return Err(E::custom("too large"));
    }
    Ok(())
}

/// An integer in decimal digits.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A number in a text, or one of the three that JSON cannot write.
fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => serde_json::from_str(text).ok(),
    }
}

/// Base 64 of either alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let encoding = if text.contains(['-', '_']) { BASE64URL_NOPAD } else { BASE64_NOPAD };
    encoding.decode(text.as_bytes()).ok()
}
