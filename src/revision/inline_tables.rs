//! OTLP 1.4 and 1.5: the tables stand in each Profile. They are told, to say so, and not read.

use super::fields::request;
use crate::error::Result;
use crate::wire::{Reader, Wire};

/// Whether the request has no dictionary and a Profile has a `location_table`, which was its field 4.
pub(super) fn has_some(body: &[u8]) -> bool {
    has_table(request(body), &[1, 2, 2]).unwrap_or_default()
}

/// Whether there is one below the fields that the path names, and nothing in the dictionary's place.
fn has_table(mut message: Reader<'_>, path: &[u32]) -> Result<bool> {
    let is_request = path.len() == 3;
    let mut is_there = false;
    while let Some((number, wire)) = message.next_field()? {
        match path {
            _ if is_request && number == 2 => return Ok(false),
            [next, rest @ ..] if number == *next => is_there |= has_table(message.message(wire, "")?, rest)?,
            [] if number == 4 && wire == Wire::Len => return Ok(true),
            _ => message.skip(number, wire)?,
        }
    }
    Ok(is_there)
}
