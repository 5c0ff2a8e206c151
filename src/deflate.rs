//! Gzip, for backends that take nothing else.

use std::io::Read;

use flate2::Compression;
use flate2::bufread::GzEncoder;

/// The level that zlib calls its fastest and best.
pub const LEVELS: std::ops::RangeInclusive<u32> = 1..=9;

/// The body compressed: the same bytes for the same body.
pub fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    let mut packed = Vec::with_capacity(body.len() / 2);
    let read = GzEncoder::new(body, Compression::new(level)).read_to_end(&mut packed);
    // A slice is read and a vector is written: neither fails.
    debug_assert!(read.is_ok());
    packed
}
