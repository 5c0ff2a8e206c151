//! A request in JSON.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::{Limits, Profiles, work};
use crate::profiles;

#[pymethods]
impl Profiles {
    #[staticmethod]
    #[pyo3(signature = (body, limits = None))]
    fn from_json(py: Python<'_>, body: PyBackedBytes, limits: Option<&Limits>) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let body = Bytes::from_owner(body);
        let inner = work(py, move || profiles::Profiles::from_json(body, &limits))??;
        Ok(Self::new(inner))
    }

    fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let json = work(py, || self.inner.to_json())??;
        Ok(PyBytes::new(py, &json))
    }
}
