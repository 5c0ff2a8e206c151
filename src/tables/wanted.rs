//! Which rows of the symbol tables the samples refer to: a reader that keeps symbols hands over all it has, and pays
//! for those that are used.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use rustc_hash::FxHashSet;

use super::read::{invalid, location_lists, numbers};
use crate::error::Result;

/// The ids of a column.
pub(super) fn ids(batches: &[RecordBatch], column: &str) -> Result<FxHashSet<i64>> {
    let mut found = FxHashSet::default();
    for batch in batches {
        found.extend(numbers(batch, column)?.values().iter().copied());
    }
    Ok(found)
}

/// The ids of the locations of stacks.
pub(super) fn locations(stacks: &[RecordBatch]) -> Result<FxHashSet<i64>> {
    let mut found = FxHashSet::default();
    for batch in stacks {
        let lists = location_lists(batch)?;
        for row in 0..lists.len() {
            found.extend(lists.value(row).as_primitive::<Int64Type>().values().iter().copied());
        }
    }
    Ok(found)
}

/// The rows whose id is wanted.
pub(super) fn rows(batches: &[RecordBatch], id: &str, wanted: &FxHashSet<i64>) -> Result<Vec<RecordBatch>> {
    let kept = |batch: &RecordBatch| {
        let is_wanted: BooleanArray = numbers(batch, id)?.values().iter().map(|id| Some(wanted.contains(id))).collect();
        filter_record_batch(batch, &is_wanted).map_err(|error| invalid(format!("column {id}: {error}")))
    };
    batches.iter().map(kept).collect()
}
