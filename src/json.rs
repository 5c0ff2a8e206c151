//! OTLP/JSON: to and from the protobuf wire, which is what the rest of the core reads and writes.
//!
//! Source: OTLP specification, "JSON Protobuf Encoding": protobuf's JSON mapping, but trace, span and profile ids are
//! hexadecimal, names are lowerCamelCase (the fields' own names are read, too), and unknown names are stepped over.

mod read;
mod schema;
mod write;

use bytes::Bytes;

use crate::error::Result;
use crate::inflate::inflate;
use crate::limits::{Limits, MAX_BODY_BYTES};
use crate::profiles::Profiles;

impl Profiles {
    /// Read a request in JSON: made into protobuf, and judged as any other.
    ///
    /// # Errors
    /// When nothing of it can be used; a bad Profile in a good request is in `rejections` instead.
    pub fn from_json(body: Bytes, limits: &Limits) -> Result<Self> {
        let json = inflate(body, limits.max_body_bytes)?;
        let read::Read { wire, unknown_names } = read::read(&json, limits.max_body_bytes)?;
        drop(json);
        let mut profiles = Self::decode(wire.into(), limits)?;
        profiles.unknown_fields += unknown_names;
        // What was passed on as it came would not be counted.
        profiles.is_body &= unknown_names == 0;
        Ok(profiles)
    }

    /// The request in JSON; unknown fields are not in it.
    ///
    /// # Errors
    /// `JsonTooLarge`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let (wire, _) = self.to_otlp();
        write::write(&wire, MAX_BODY_BYTES)
    }
}
