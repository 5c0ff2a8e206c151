//! Which part of a request takes how many bytes, as Python reads it.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Profiles, work};
use crate::profiles::TABLES;

#[pymethods]
impl Profiles {
    #[getter]
    fn table_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let bytes = work(py, || self.inner.table_bytes())??;
        let dict = PyDict::new(py);
        for (table, bytes) in TABLES.into_iter().zip(bytes.tables) {
            dict.set_item(table, bytes)?;
        }
        dict.set_item("samples", bytes.samples)?;
        dict.set_item("other", bytes.other)?;
        Ok(dict)
    }
}
