//! The handle of a request: what goes in, what comes out, and what it says of itself.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::{Limits, work};
use crate::profiles;
use crate::revision::{self, Origin};
use crate::summary;

/// Profiles of one request that were refused for one reason.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Rejection {
    reason: &'static str,
    message: String,
    profile_count: u64,
    sample_count: u64,
}

/// What a request holds for one service and one sample type.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct SummaryRow {
    service: String,
    sample_type: String,
    unit: String,
    profile_count: u64,
    sample_count: u64,
    linked_sample_count: u64,
    value: i128,
    linked_value: i128,
}

impl From<summary::Row> for SummaryRow {
    fn from(row: summary::Row) -> Self {
        let summary::Row {
            service,
            sample_type,
            unit,
            profile_count,
            sample_count,
            linked_sample_count,
            value,
            linked_value,
        } = row;
        Self { service, sample_type, unit, profile_count, sample_count, linked_sample_count, value, linked_value }
    }
}

/// A decoded and validated request: frozen, cheap to share.
#[pyclass(frozen, weakref, module = "otelprof._core")]
pub(super) struct Profiles {
    pub(super) inner: Arc<profiles::Profiles>,
    origin: Origin,
    summary: OnceLock<Py<PyTuple>>,
    unknown_fields_dropped: OnceLock<u64>,
    /// The wire form, kept when its size was asked for.
    wire: OnceLock<Py<PyBytes>>,
}

impl Profiles {
    pub(super) fn new(inner: impl Into<Arc<profiles::Profiles>>) -> Self {
        Self {
            inner: inner.into(),
            origin: Origin::default(),
            summary: OnceLock::new(),
            unknown_fields_dropped: OnceLock::new(),
            wire: OnceLock::new(),
        }
    }
}

#[pymethods]
impl Profiles {
    #[staticmethod]
    #[pyo3(signature = (body, limits = None, *, detect_revision = true))]
    fn decode(py: Python<'_>, body: PyBackedBytes, limits: Option<&Limits>, detect_revision: bool) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let body = Bytes::from_owner(body);
        let (inner, origin) = work(py, move || {
            if detect_revision {
                revision::decode(body, &limits)
            } else {
                profiles::Profiles::decode(body, &limits).map(|inner| (inner, Origin::default()))
            }
        })??;
        Ok(Self { origin, ..Self::new(inner) })
    }

    fn to_otlp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        if let Some(wire) = self.wire.get() {
            return Ok(wire.bind(py).clone());
        }
        let (bytes, unknown_fields_dropped) = work(py, || self.inner.to_otlp())?;
        self.unknown_fields_dropped.get_or_init(|| unknown_fields_dropped);
        Ok(PyBytes::new(py, &bytes))
    }

    fn split(&self, py: Python<'_>, max_bytes: i64) -> PyResult<Vec<Self>> {
        if max_bytes < 1 {
            return Err(PyValueError::new_err(format!("max_bytes is {max_bytes}; 1 or more is allowed")));
        }
        let wire_bytes = self.wire.get().map(|wire| wire.bind(py).as_bytes().len());
        let pieces = work(py, || self.inner.split(max_bytes as usize, wire_bytes))?;
        Ok(pieces.into_iter().map(Self::new).collect())
    }

    fn to_proto<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.to_otlp(py)?;
        py.import("opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2")?
            .getattr("ExportProfilesServiceRequest")?
            .call_method1("FromString", (bytes,))
    }

    #[getter]
    fn summary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        if let Some(summary) = self.summary.get() {
            return Ok(summary.bind(py).clone());
        }
        let rows = work(py, || self.inner.summary())?;
        let rows = rows.into_iter().map(|row| Py::new(py, SummaryRow::from(row)));
        let summary = PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)?;
        Ok(self.summary.get_or_init(|| summary.unbind()).bind(py).clone())
    }

    fn service_versions(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        work(py, || self.inner.service_versions())
    }

    #[getter]
    fn rejections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let rejections = self.inner.rejections.iter().map(|rejection| {
            Py::new(
                py,
                Rejection {
                    reason: rejection.fault.reason.label(),
                    message: rejection.fault.message.clone(),
                    profile_count: rejection.profile_count,
                    sample_count: rejection.sample_count,
                },
            )
        });
        PyTuple::new(py, rejections.collect::<PyResult<Vec<_>>>()?)
    }

    #[getter]
    fn repairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let repairs = PyDict::new(py);
        for (repair, count) in self.inner.repairs.made() {
            repairs.set_item(repair.label(), count)?;
        }
        Ok(repairs)
    }

    #[getter]
    fn revision(&self) -> &'static str {
        self.origin.revision.label()
    }

    #[getter]
    fn revision_fields_dropped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dropped = PyDict::new(py);
        for (field, count) in self.origin.dropped.counted() {
            dropped.set_item(field.label(), count)?;
        }
        Ok(dropped)
    }

    #[getter]
    fn orphans_removed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        zip_dict(py, profiles::TABLES, self.inner.removed.orphans)
    }

    #[getter]
    fn duplicates_removed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        zip_dict(py, profiles::TABLES, self.inner.removed.duplicates)
    }

    #[getter]
    fn profile_count(&self) -> usize {
        self.inner.profile_count()
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.inner.sample_count()
    }

    #[getter]
    fn wire_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        let wire = self.to_otlp(py)?;
        self.wire.get_or_init(|| wire.clone().unbind());
        Ok(wire.as_bytes().len())
    }

    #[getter]
    fn body_bytes(&self) -> usize {
        self.inner.body.len()
    }

    #[getter]
    fn memory_bytes(&self, py: Python<'_>) -> usize {
        let wire_bytes = self.wire.get().map_or(0, |wire| wire.bind(py).as_bytes().len());
        self.inner.memory_bytes() + wire_bytes
    }

    #[getter]
    fn unknown_fields_dropped(&self, py: Python<'_>) -> PyResult<u64> {
        match self.unknown_fields_dropped.get() {
            Some(&count) => Ok(count),
            None => Ok(work(py, || self.inner.to_otlp())?.1),
        }
    }

    fn __repr__(&self) -> String {
        let (profiles, samples) = (self.inner.profile_count(), self.inner.sample_count());
        format!("<Profiles: {profiles} profiles, {samples} samples, {} bytes>", self.inner.body.len())
    }
}

fn zip_dict<'py>(py: Python<'py>, keys: [&str; 7], values: [u64; 7]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in keys.into_iter().zip(values) {
        dict.set_item(key, value)?;
    }
    Ok(dict)
}
