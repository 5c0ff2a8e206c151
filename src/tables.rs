//! The tables of the store: what a request becomes in object storage, and what comes back.
//!
//! Rows refer to each other by content ids, so that writers agree without talking and a symbol is stored once a day.
//! What each column means is told in `docs/storage.md`, which is the contract of the schema.

mod budget;
mod columns;
mod ids;
mod read;
mod rows;
mod symbols;
mod wanted;
mod written;

pub use read::Stored;
pub use written::Written;

use arrow_array::RecordBatch;

use self::written::Keys;

/// `tier` of rows as they were flushed.
const FINE: &str = "fine";

/// The rows that a request adds to the tables.
#[derive(Debug, Clone)]
pub struct Tables {
    /// `samples`, in the order in which they are stored.
    pub samples: RecordBatch,
    /// `stacks` that were not written yet.
    pub stacks: RecordBatch,
    /// `frames` of these stacks that were not written yet.
    pub frames: RecordBatch,
    /// `labels` that were not written yet.
    pub labels: RecordBatch,
    /// All that `samples` refers to.
    pub(crate) keys: Keys,
    /// How many traces `samples` holds.
    pub trace_count: usize,
}
