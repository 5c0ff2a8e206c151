//! What tells formats apart, as Python asks for it.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::work;
use crate::fields;

#[pyfunction]
pub(super) fn length_delimited_fields(py: Python<'_>, body: PyBackedBytes) -> PyResult<Option<Vec<u32>>> {
    work(py, move || fields::length_delimited_fields(&body).map(|fields| fields.into_iter().collect()))
}
