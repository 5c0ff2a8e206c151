//! When a request was taken, and the same at another time.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Profiles, work};

#[pymethods]
impl Profiles {
    #[getter]
    fn window(&self, py: Python<'_>) -> PyResult<Option<(u64, u64)>> {
        work(py, || self.inner.window())
    }

    fn shifted(&self, py: Python<'_>, nanos: i128) -> PyResult<Self> {
        let shifted = work(py, || self.inner.shifted(nanos))?;
        shifted.map(Self::new).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}
