//! What can be wrong with a whole request. What is wrong with one Profile is a `Reason` (see `refusal.rs`).

use thiserror::Error;

/// Why a request cannot be read at all.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not the wire form of the message.
    #[error("malformed protobuf at byte {at}, in {field}: {what}")]
    Malformed {
        /// Offset into the inflated body.
        at: usize,
        /// `Message.field`, as in profiles.proto.
        field: &'static str,
        /// What was found.
        what: &'static str,
    },
    /// Not what its format says it should be.
    #[error("invalid {format}: {what}")]
    Invalid {
        /// What it was read as.
        format: &'static str,
        /// Where, what was found and what is expected.
        what: String,
    },
    /// Longer than a body may be.
    #[error("the request takes more than {limit} bytes in JSON: send it as protobuf")]
    JsonTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Rows of the tables of a store that repeat too much.
    #[error("the rows of the request take more than {limit} bytes in the tables of a store: send less at once")]
    RowsTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are whole in two revisions of OTLP, and mean something else in each.
    #[error(
        "the request can be read as OTLP {newer} and as OTLP {older}, with different meanings, and nothing tells which: \
         send the current revision"
    )]
    AmbiguousRevision {
        /// The newest revision it can be read as.
        newer: &'static str,
        /// The next one.
        older: &'static str,
    },
    /// Tables that are not where any revision since 1.7 has them.
    #[error("{cause}; tables inside of a Profile are OTLP 1.5 or older, which is not read: upgrade the sender")]
    TooOld {
        /// What is wrong with it as a request of the current revision.
        cause: Box<Error>,
    },
    /// The compressed stream is damaged.
    #[error("the body starts as {encoding} but cannot be inflated: {what}")]
    Corrupt {
        /// `gzip` or `zstd`.
        encoding: &'static str,
        /// The inflater's own words.
        what: String,
    },
    /// Compressed with something that is not spoken here.
    #[error("the body is compressed with {0}, which is not supported: send gzip, zstd or no compression")]
    UnsupportedCompression(&'static str),
    /// Over `max_body_bytes`.
    #[error(
        "the body holds more than {limit} bytes when inflated: send smaller requests or raise limits.max_body_bytes"
    )]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Over `max_table_entries` or `max_profiles`.
    #[error("the request holds more than {limit} {what}: send smaller requests or raise limits.{key}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit, in entries.
        limit: usize,
        /// The configuration key of the limit.
        key: &'static str,
    },
}

/// The result of reading a request.
pub type Result<T> = std::result::Result<T, Error>;
