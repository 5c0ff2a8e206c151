//! Bounded inflate, as Python asks for it.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::work;

/// The content of gzip or zstd.
#[pyfunction]
pub(super) fn inflate(py: Python<'_>, body: PyBackedBytes, max_bytes: usize) -> PyResult<Bound<'_, PyBytes>> {
    let body = Bytes::from_owner(body);
    let plain = work(py, move || crate::inflate::inflate(body, max_bytes))??;
    Ok(PyBytes::new(py, &plain))
}
