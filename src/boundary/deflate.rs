//! Compression, as Python sees it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::work;
use crate::deflate::{self, LEVELS};

#[pyfunction]
#[pyo3(signature = (body, level = 6))]
pub(super) fn gzip(py: Python<'_>, body: PyBackedBytes, level: u32) -> PyResult<Bound<'_, PyBytes>> {
    if !LEVELS.contains(&level) {
        return Err(PyValueError::new_err(format!("level is 1 to 9, not {level}")));
    }
    let packed = work(py, move || deflate::gzip(&body, level))?;
    Ok(PyBytes::new(py, &packed))
}
