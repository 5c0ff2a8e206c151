//! The merger, as Python sees it.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;

use super::{Profiles, work};
use crate::merge;

/// Merges requests, and remembers their symbols for the next time.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Merger(Mutex<merge::Merger>);

#[pymethods]
impl Merger {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn merge(&self, py: Python<'_>, requests: Vec<Py<Profiles>>) -> PyResult<Profiles> {
        let requests: Vec<_> = requests.into_iter().map(|request| Arc::clone(&request.get().inner)).collect();
        let merged = work(py, || {
            let requests: Vec<_> = requests.iter().map(AsRef::as_ref).collect();
            // A panic in an earlier merge may have left half a symbol behind: start anew.
            let mut merger = self.0.lock().unwrap_or_else(|poisoned| {
                let mut merger = poisoned.into_inner();
                *merger = merge::Merger::default();
                merger
            });
            merger.merge(&requests)
        })?;
        Ok(Profiles::new(merged))
    }

    #[getter]
    fn symbol_count(&self) -> usize {
        self.0.lock().map_or(0, |merger| merger.symbol_count())
    }
}
