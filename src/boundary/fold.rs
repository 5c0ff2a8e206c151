//! Stacks and functions of a request, as Python reads them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::stacks::little_endian;
use super::{Profiles, work};
use crate::fold::Selection;

#[pymethods]
impl Profiles {
    #[pyo3(signature = (*, service = None, sample_type = None))]
    fn fold(&self, py: Python<'_>, service: Option<&str>, sample_type: Option<&str>) -> PyResult<Vec<(String, i128)>> {
        work(py, || self.inner.fold(Selection { service, sample_type }))
    }

    #[pyo3(signature = (*, service = None, sample_type = None))]
    #[expect(clippy::type_complexity, reason = "four columns")]
    fn stack_columns<'py>(
        &self,
        py: Python<'py>,
        service: Option<&str>,
        sample_type: Option<&str>,
    ) -> PyResult<(Vec<String>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (names, frames, ends, values) = work(py, || {
            let columns = self.inner.stack_columns(Selection { service, sample_type });
            let frames = little_endian(&columns.frames, u32::to_le_bytes);
            let ends = little_endian(&columns.ends, u64::to_le_bytes);
            let values = little_endian(&columns.values, f64::to_le_bytes);
            (columns.names, frames, ends, values)
        })?;
        Ok((names, PyBytes::new(py, &frames), PyBytes::new(py, &ends), PyBytes::new(py, &values)))
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
