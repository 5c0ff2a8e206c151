//! Profiles in other formats, as Python sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};

use super::{Limits, Profiles, work};
use crate::fold::Selection;
use crate::pprof::{self, Named, PieceLimits, PprofOptions};
use crate::profiles;

#[pymethods]
impl Profiles {
    #[staticmethod]
    #[pyo3(signature = (body, limits = None, *, resource = vec![]), text_signature = "(body, limits=None, *, resource=())")]
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
    #[pyo3(
        signature = (text, limits = None, *, sample_type = ("samples".into(), "count".into()), resource = vec![]),
        text_signature = "(text, limits=None, *, sample_type=('samples', 'count'), resource=())"
    )]
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

    #[pyo3(signature = (
        *,
        labels = None,
        trace_id_label = "trace_id",
        span_id_label = "span_id",
        timestamp_label = None,
        native_names = false,
        combine = false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "these are the keyword arguments that users write")]
    fn to_pprof(
        &self,
        py: Python<'_>,
        labels: Option<Vec<String>>,
        trace_id_label: Option<&str>,
        span_id_label: Option<&str>,
        timestamp_label: Option<&str>,
        native_names: bool,
        combine: bool,
    ) -> PyResult<Vec<Pprof>> {
        let [trace_id_label, span_id_label, timestamp_label] =
            [trace_id_label, span_id_label, timestamp_label].map(|label| label.unwrap_or_default().to_owned());
        let options = PprofOptions {
            labels,
            trace_id_label,
            span_id_label,
            timestamp_label,
            native_names,
            combine,
            ..PprofOptions::default()
        };
        Ok(work(py, || self.inner.to_pprof(&options))?.into_iter().map(Pprof).collect())
    }

    fn split_for_pprof(&self, py: Python<'_>, max_samples: usize, max_locations: usize) -> PyResult<Vec<PprofPiece>> {
        if max_samples < 1 {
            return Err(PyValueError::new_err("max_samples is 0; 1 or more is allowed"));
        }
        let limits = PieceLimits { samples: max_samples, locations: max_locations };
        let pieces = work(py, || self.inner.split_for_pprof(limits))?;
        Ok(pieces.into_iter().map(|piece| PprofPiece(Arc::new(piece))).collect())
    }

    #[pyo3(signature = (*, service = None, sample_type = None, name = "profile"))]
    fn to_speedscope<'py>(
        &self,
        py: Python<'py>,
        service: Option<&str>,
        sample_type: Option<&str>,
        name: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let file = work(py, || self.inner.to_speedscope(Selection { service, sample_type }, name))?;
        Ok(PyBytes::new(py, &file))
    }
}

/// Profiles that become one pprof.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct PprofPiece(Arc<profiles::Profiles>);

#[pymethods]
impl PprofPiece {
    #[expect(clippy::too_many_arguments, reason = "these are the keyword arguments that users write")]
    #[pyo3(signature = (*, labels, max_depth, sample_types, period_type, period, time_unix_nano))]
    fn to_pprof(
        &self,
        py: Python<'_>,
        labels: Vec<String>,
        max_depth: usize,
        sample_types: Vec<(String, String, i64)>,
        period_type: (String, String),
        period: i64,
        time_unix_nano: u64,
    ) -> PyResult<Pprof> {
        let type_count = self.0.column_count();
        if sample_types.len() != type_count || max_depth < 2 {
            return Err(PyValueError::new_err(format!(
                "{} sample_types for the {type_count} of the piece, or max_depth {max_depth} below 2",
                sample_types.len()
            )));
        }
        let options = PprofOptions {
            labels: Some(labels),
            trace_id_label: "trace_id".into(),
            span_id_label: "span_id".into(),
            timestamp_label: String::new(),
            native_names: true,
            combine: true,
            max_depth: Some(max_depth),
            named: Some(Named { sample_types, period_type, period, time_unix_nano }),
        };
        let mut made = work(py, || self.0.to_pprof(&options))?;
        // A piece is one pprof.
        Ok(Pprof(made.remove(0)))
    }

    fn apart(&self, py: Python<'_>) -> PyResult<Vec<Self>> {
        let pieces = work(py, || self.0.apart())?;
        Ok(pieces.into_iter().map(|piece| Self(Arc::new(piece))).collect())
    }

    #[getter]
    fn profiles(&self) -> Profiles {
        Profiles::new(Arc::clone(&self.0))
    }

    #[getter]
    fn resource(&self) -> BTreeMap<String, String> {
        self.0.resource_text(self.0.resources[0].resource.as_ref()).into_iter().collect()
    }

    #[getter]
    fn sample_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let profiles = &self.0.resources[0].scopes[0].profiles;
        let columns = &profiles[..self.0.column_count()];
        PyTuple::new(py, columns.iter().map(|profile| self.0.value_type(profile.sample_type)))
    }

    #[getter]
    fn period_type(&self) -> (String, String) {
        self.0.value_type(self.first().period_type)
    }

    #[getter]
    fn period(&self) -> i64 {
        self.first().period
    }

    #[getter]
    fn time_unix_nano(&self) -> u64 {
        self.first().time_unix_nano
    }

    #[getter]
    fn duration_nano(&self) -> u64 {
        self.first().duration_nano
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.0.sample_count()
    }
}

impl PprofPiece {
    fn first(&self) -> &profiles::Profile {
        &self.0.resources[0].scopes[0].profiles[0]
    }
}

/// One pprof, and what the sender of it must know without reading it.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Pprof(pprof::Pprof);

#[pymethods]
impl Pprof {
    #[getter]
    fn resource(&self) -> BTreeMap<String, String> {
        self.0.resource.iter().cloned().collect()
    }

    #[getter]
    fn scope(&self) -> &str {
        &self.0.scope
    }

    #[getter]
    fn sample_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.sample_types)
    }

    #[getter]
    fn period_type(&self) -> (String, String) {
        self.0.period_type.clone()
    }

    #[getter]
    fn period(&self) -> i64 {
        self.0.period
    }

    #[getter]
    fn time_unix_nano(&self) -> u64 {
        self.0.time_unix_nano
    }

    #[getter]
    fn duration_nano(&self) -> u64 {
        self.0.duration_nano
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.0.sample_count
    }

    #[getter]
    fn negative_sample_count(&self) -> usize {
        self.0.negative_sample_count
    }

    #[getter]
    fn cut_sample_count(&self) -> usize {
        self.0.cut_sample_count
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }
}
