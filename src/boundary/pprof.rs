//! Profiles in other formats, as Python sees them.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::{Limits, Profiles, work};
use crate::profiles;

#[pymethods]
impl Profiles {
    #[staticmethod]
    #[pyo3(signature = (body, limits = None, *, resource = vec![]))]
    fn from_pprof(
        py: Python<'_>,
        body: PyBackedBytes,
        limits: Option<&Limits>,
        resource: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let body = Bytes::from_owner(body);
        let inner = work(py, move || profiles::Profiles::from_pprof(body, &limits, &resource))??;
        Ok(Self::new(inner))
    }

    #[staticmethod]
    #[pyo3(signature = (text, limits = None, *, sample_type = ("samples".into(), "count".into()), resource = vec![]))]
    fn from_folded(
        py: Python<'_>,
        text: PyBackedBytes,
        limits: Option<&Limits>,
        sample_type: (String, String),
        resource: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let text = Bytes::from_owner(text);
        let inner = work(py, move || {
            let sample_type = (sample_type.0.as_str(), sample_type.1.as_str());
            profiles::Profiles::from_folded(text, &limits, sample_type, &resource)
        })??;
        Ok(Self::new(inner))
    }
}
