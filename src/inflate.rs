//! Bounded inflate: the compression is seen by its magic number, and no more than the limit is ever held.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A zstd window is allocated before the first byte is out: 16 MiB serves every level up to 19 and refuses
/// `--long` streams.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// Magic numbers of what clients may send and we do not speak. The first byte of a request is 0x0a or 0x12 (its
/// two fields), so none of these can be mistaken for one.
const UNSUPPORTED: &[(&[u8], &str)] = &[
    (&[0x78, 0x01], "deflate"),
    (&[0x78, 0x5e], "deflate"),
    (&[0x78, 0x9c], "deflate"),
    (&[0x78, 0xda], "deflate"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
    (&[0xff, 0x06, 0x00, 0x00, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59], "snappy"),
];

/// The plain body.
///
/// # Errors
/// `BodyTooLarge` past `limit` bytes, `Corrupt` for a damaged stream, `UnsupportedCompression`.
pub fn inflate(body: Bytes, limit: usize) -> Result<Bytes> {
    if body.starts_with(GZIP) {
        return bounded("gzip", MultiGzDecoder::new(&body[..]), limit);
    }
    if body.starts_with(ZSTD) {
        let corrupt = |e: std::io::Error| Error::Corrupt { encoding: "zstd", what: e.to_string() };
        let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(corrupt)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
        return bounded("zstd", decoder, limit);
    }
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| body.starts_with(magic)) {
        return Err(Error::UnsupportedCompression(name));
    }
    if body.len() > limit {
        return Err(Error::BodyTooLarge { limit });
    }
    Ok(body)
}

fn bounded(encoding: &'static str, stream: impl Read, limit: usize) -> Result<Bytes> {
    let mut plain = Vec::new();
    let read = stream.take(limit as u64 + 1).read_to_end(&mut plain);
    if plain.len() > limit {
        return Err(Error::BodyTooLarge { limit });
    }
    read.map_err(|e| Error::Corrupt { encoding, what: e.to_string() })?;
    Ok(plain.into())
}
