//! The per-sample core of otelprof. The modules stand in the order of the data:
//!
//! body → `inflate` → `decode` (over `wire`, `dictionary`, `value`; judged by `validate`, set right by `normalise`)
//! → `revision` (an older one is translated and decoded again) → `profiles` → `collect` → `encode` → bytes; beside it
//! `summary`, `fold` (and `stacks`, over many of them), `svg` and `speedscope`. `json` stands before `decode` and behind `encode`; other formats (told apart by `fields`) come in
//! through `pprof` and `folded` (over `assemble`), and `pprof` leads out too, `delta` before it. What the tracing side
//! decided comes in through `spans`, stands in `decisions`, and is held against a policy by `traces`; `adjustments` change
//! a policy for a while. What leaves for a backend that takes only gzip goes through `deflate`. What files of a store do
//! not hold is read by `column_filter`. `boundary` alone speaks Python.

pub mod error;
pub mod limits;

pub mod checksum;
pub mod deflate;
pub mod inflate;
pub mod wire;

pub mod fields;

pub mod columns;
pub mod refusal;
pub mod value;

pub mod dictionary;
pub mod validate;

pub mod decode;
pub mod normalise;
pub mod profile_id;

pub mod profiles;
pub mod revision;

pub mod collect;
pub mod encode;

pub mod json;

pub mod merge;
pub mod order;
pub mod split;
pub mod symbols;

pub mod adjustments;
pub mod delta;
pub mod link;
pub mod pattern;
pub mod policy;
pub mod redact;
pub mod rewrite;
pub mod select;
pub mod shift;

pub mod assemble;
pub mod column_filter;
pub mod folded;
pub mod pprof;
pub mod tables;
mod text;

pub mod spans;

pub mod decisions;
pub mod traces;

pub mod fold;
pub mod speedscope;
pub mod stacks;
pub mod summary;
pub mod svg;
pub mod table_bytes;

#[cfg(feature = "python")]
mod boundary;
