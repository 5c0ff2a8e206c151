//! Attribute values where only text can stand.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

use crate::profiles::Profiles;
use crate::value::AnyValue;

/// A value as text: strings as they are, numbers and booleans as JSON has them, bytes in hexadecimal digits, lists
/// and maps as JSON.
pub(crate) fn text<'a>(profiles: &'a Profiles, value: &AnyValue) -> Cow<'a, str> {
    match value {
        AnyValue::String(span) => String::from_utf8_lossy(span.of(&profiles.body)),
        AnyValue::StringIndex(index) => String::from_utf8_lossy(profiles.string(*index)),
        AnyValue::Empty => "".into(),
        other => match json(profiles, other) {
            Value::String(text) => text.into(),
            other => other.to_string().into(),
        },
    }
}

/// A value as JSON. What JSON has no word for is a string: bytes, infinities, not a number.
fn json(profiles: &Profiles, value: &AnyValue) -> Value {
    match value {
        AnyValue::Empty => Value::Null,
        AnyValue::Bool(value) => Value::Bool(*value),
        AnyValue::Int(value) => (*value).into(),
        AnyValue::Double(bits) => {
            let double = f64::from_bits(*bits);
            if double.is_finite() { double.into() } else { double.to_string().into() }
        }
        AnyValue::String(_) | AnyValue::StringIndex(_) => text(profiles, value).into(),
        AnyValue::Bytes(span) => HEXLOWER.encode(span.of(&profiles.body)).into(),
        AnyValue::Array(items) => items.iter().map(|item| json(profiles, item)).collect(),
        AnyValue::KvList(pairs) => {
            let pairs = pairs.iter().map(|pair| (profiles.key(pair), json(profiles, &pair.value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}
