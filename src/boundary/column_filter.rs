//! The Bloom filters of a file of a store, as Python sees them.

use bytes::Bytes;
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::work;
use crate::column_filter::{self, Found};

/// Which values a column of a Parquet file does not hold.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct ColumnFilter(column_filter::ColumnFilter);

#[pymethods]
impl ColumnFilter {
    #[staticmethod]
    fn read(py: Python<'_>, tail: PyBackedBytes, file_bytes: u64, column: &str) -> PyResult<Py<PyAny>> {
        let tail = Bytes::from_owner(tail);
        match work(py, || column_filter::ColumnFilter::read(tail, file_bytes, column))?? {
            Found::Filter(filter) => Self(filter).into_py_any(py),
            Found::Wanted(bytes) => bytes.into_py_any(py),
        }
    }

    fn may_hold(&self, value: &str) -> bool {
        self.0.may_hold(value)
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
}
