//! Differences of cumulative Profiles, as Python sees them.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;

use super::{Profiles, work};
use crate::delta;

/// The last values of every cumulative series.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Deltas(Mutex<delta::Deltas>);

#[pymethods]
impl Deltas {
    #[new]
    fn new(max_values: usize) -> Self {
        Self(Mutex::new(delta::Deltas::new(max_values)))
    }

    fn differences(
        &self,
        py: Python<'_>,
        profiles: &Bound<'_, Profiles>,
        sample_types: Vec<String>,
    ) -> PyResult<Differences> {
        let inner = Arc::clone(&profiles.get().inner);
        let found = work(py, move || {
            // A panic in the middle leaves series that are at worst out of date.
            let mut deltas = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            deltas.differences(&inner, &sample_types)
        })?;
        let made = match found.profiles {
            Some(made) => Py::new(py, Profiles::new(made))?,
            None => profiles.clone().unbind(),
        };
        Ok(Differences {
            profiles: made,
            baseline_sample_count: found.baseline_samples,
            late_sample_count: found.late_samples,
        })
    }

    #[getter]
    fn value_count(&self) -> usize {
        self.0.lock().map_or(0, |deltas| deltas.value_count())
    }

    #[getter]
    fn evicted_series_count(&self) -> u64 {
        self.0.lock().map_or(0, |deltas| deltas.evicted())
    }
}

/// A request with differences.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Differences {
    profiles: Py<Profiles>,
    baseline_sample_count: usize,
    late_sample_count: usize,
}
