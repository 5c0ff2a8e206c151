//! Stacks and functions of a request, as Python reads them.

use pyo3::prelude::*;

use super::{Profiles, work};
use crate::fold::Selection;

#[pymethods]
impl Profiles {
    #[pyo3(signature = (*, service = None, sample_type = None))]
    fn fold(&self, py: Python<'_>, service: Option<&str>, sample_type: Option<&str>) -> PyResult<Vec<(String, i128)>> {
        work(py, || self.inner.fold(Selection { service, sample_type }))
    }

    #[pyo3(signature = (count, *, service = None, sample_type = None))]
    fn top_functions(
        &self,
        py: Python<'_>,
        count: usize,
        service: Option<&str>,
        sample_type: Option<&str>,
    ) -> PyResult<Vec<(String, i128, i128)>> {
        work(py, || self.inner.top_functions(count, Selection { service, sample_type }))
    }
}
