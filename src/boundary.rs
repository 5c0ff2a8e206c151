//! The only module that names pyo3: bytes in, bytes out, all work without the GIL, no panic across.

mod policy;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::error::Error;
use crate::fold::Selection;
use crate::limits;
use crate::link::{self, LinkState};
use crate::merge;
use crate::profiles;
use crate::redact;
use crate::refusal::{Reason, Repair};
use crate::select;
use crate::summary;

use self::policy::{Decided, LinkCoverage, Linked, Policy, Redacted, Redaction, RedactionRule, Rule, Selected};

pyo3::import_exception!(otelprof.errors, InvalidRequestError);
pyo3::import_exception!(otelprof.errors, RequestTooLargeError);
pyo3::import_exception!(otelprof.errors, UnsupportedEncodingError);

/// An attribute's value is read by recursion; so deep it may go at the most.
const ATTRIBUTE_DEPTH_CEILING: usize = 64;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Malformed { .. } | Error::Corrupt { .. } => InvalidRequestError::new_err(message),
            Error::UnsupportedCompression(_) => UnsupportedEncodingError::new_err(message),
            Error::BodyTooLarge { .. } | Error::TooMany { .. } => RequestTooLargeError::new_err(message),
        }
    }
}

/// The one doorway: work without the GIL; a panic becomes a RuntimeError, which callers treat as a bug.
fn work<T: Send>(py: Python<'_>, job: impl FnOnce() -> T + Send) -> PyResult<T> {
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(job)));
    outcome.map_err(|_| PyRuntimeError::new_err("bug in otelprof's core: it panicked; see the log above"))
}

/// What one request may hold.
#[pyclass(frozen, get_all, module = "otelprof._core")]
#[expect(clippy::struct_field_names, reason = "these are the names that users write")]
struct Limits {
    max_body_bytes: usize,
    max_profiles: usize,
    max_table_entries: usize,
    max_stack_depth: usize,
    max_attributes: usize,
    max_attribute_depth: usize,
}

impl Limits {
    fn core(&self) -> limits::Limits {
        let &Self { max_body_bytes, max_profiles, max_table_entries, .. } = self;
        let &Self { max_stack_depth, max_attributes, max_attribute_depth, .. } = self;
        limits::Limits {
            max_body_bytes,
            max_profiles,
            max_table_entries,
            max_stack_depth,
            max_attributes,
            max_attribute_depth,
        }
    }
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (
        *, max_body_bytes = 16_777_216, max_profiles = 10_000, max_table_entries = 1_000_000, max_stack_depth = 4096,
        max_attributes = 256, max_attribute_depth = 16
    ))]
    fn new(
        max_body_bytes: usize,
        max_profiles: usize,
        max_table_entries: usize,
        max_stack_depth: usize,
        max_attributes: usize,
        max_attribute_depth: usize,
    ) -> PyResult<Self> {
        for (name, value, ceiling) in [
            ("max_body_bytes", max_body_bytes, limits::MAX_BODY_BYTES),
            ("max_profiles", max_profiles, i32::MAX as usize),
            ("max_table_entries", max_table_entries, i32::MAX as usize),
            ("max_stack_depth", max_stack_depth, i32::MAX as usize),
            ("max_attributes", max_attributes, i32::MAX as usize),
            ("max_attribute_depth", max_attribute_depth, ATTRIBUTE_DEPTH_CEILING),
        ] {
            if value == 0 || value > ceiling {
                return Err(PyValueError::new_err(format!("{name} is {value}; 1 to {ceiling} is allowed")));
            }
        }
        Ok(Self {
            max_body_bytes,
            max_profiles,
            max_table_entries,
            max_stack_depth,
            max_attributes,
            max_attribute_depth,
        })
    }
}

/// Profiles of one request that were refused for one reason.
#[pyclass(frozen, get_all, module = "otelprof._core")]
struct Rejection {
    reason: &'static str,
    message: String,
    profile_count: u64,
    sample_count: u64,
}

/// What a request holds for one service and one sample type.
#[pyclass(frozen, get_all, module = "otelprof._core")]
struct SummaryRow {
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
#[pyclass(frozen, module = "otelprof._core")]
struct Profiles {
    inner: Arc<profiles::Profiles>,
    summary: OnceLock<Py<PyTuple>>,
    unknown_fields_dropped: OnceLock<u64>,
    /// The wire form, kept when its size was asked for.
    wire: OnceLock<Py<PyBytes>>,
}

impl Profiles {
    fn new(inner: impl Into<Arc<profiles::Profiles>>) -> Self {
        Self {
            inner: inner.into(),
            summary: OnceLock::new(),
            unknown_fields_dropped: OnceLock::new(),
            wire: OnceLock::new(),
        }
    }
}

#[pymethods]
impl Profiles {
    #[staticmethod]
    #[pyo3(signature = (body, limits = None))]
    fn decode(py: Python<'_>, body: PyBackedBytes, limits: Option<&Limits>) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let body = Bytes::from_owner(body);
        let inner = work(py, move || profiles::Profiles::decode(body, &limits))??;
        Ok(Self::new(inner))
    }

    fn to_otlp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        if let Some(wire) = self.wire.get() {
            return Ok(wire.bind(py).clone());
        }
        let (bytes, unknown_fields_dropped) = work(py, || self.inner.to_otlp())?;
        self.unknown_fields_dropped.get_or_init(|| unknown_fields_dropped);
        Ok(PyBytes::new(py, &bytes))
    }

    fn link(&self, py: Python<'_>, names: Vec<String>) -> PyResult<Linked> {
        let inner = &self.inner;
        let found = work(py, move || inner.link(&names.iter().map(String::as_str).collect::<Vec<_>>()))?;
        let coverage = found.coverage.into_iter().map(|row| {
            let link::Coverage { service, sample_type, state, sample_count, value } = row;
            Py::new(py, LinkCoverage { service, sample_type, state: state.label(), sample_count, value })
        });
        Ok(Linked {
            coverage: coverage.collect::<PyResult<_>>()?,
            profiles: Py::new(py, Self::new(found.profiles))?,
            conflict_count: found.conflict_count,
        })
    }

    fn select(&self, py: Python<'_>, policy: &Policy) -> PyResult<Selected> {
        let selected = work(py, || self.inner.select(&policy.0))?;
        let decided = selected.decided.into_iter().map(|decided| {
            let select::Decided { kept, dropped, demoted, rejected } = decided;
            Py::new(py, Decided { kept, dropped, demoted, rejected })
        });
        Ok(Selected {
            decided: decided.collect::<PyResult<_>>()?,
            profiles: Py::new(py, Self::new(selected.profiles))?,
            payloads_dropped: selected.payloads_dropped,
        })
    }

    fn redact(&self, py: Python<'_>, redaction: &Redaction) -> PyResult<Redacted> {
        let redact::Redacted { profiles, changed, payloads_dropped } = work(py, || self.inner.redact(&redaction.0))?;
        Ok(Redacted { profiles: Py::new(py, Self::new(profiles))?, changed, payloads_dropped })
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
    fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes()
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

/// Merges requests, and remembers their symbols for the next time.
#[pyclass(frozen, module = "otelprof._core")]
struct Merger(Mutex<merge::Merger>);

#[pymethods]
impl Merger {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn merge(&self, py: Python<'_>, requests: Vec<Py<Profiles>>) -> PyResult<Profiles> {
        let requests: Vec<_> = requests.into_iter().map(|request| Arc::clone(&request.get().inner)).collect();
        let merged = work(py, || {
            let requests: Vec<_> = requests.iter().map(AsRef::as_ref).collect();
            // A panic in an earlier merge may have left half a symbol behind: start anew.
            let mut merger = self.0.lock().unwrap_or_else(|poisoned| {
                let mut merger = poisoned.into_inner();
                *merger = merge::Merger::default();
                merger
            });
            merger.merge(&requests)
        })?;
        Ok(Profiles::new(merged))
    }

    #[getter]
    fn symbol_count(&self) -> usize {
        self.0.lock().map_or(0, |merger| merger.symbol_count())
    }
}

/// The module `otelprof._core`.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Limits>()?;
    module.add_class::<Decided>()?;
    module.add_class::<LinkCoverage>()?;
    module.add_class::<Linked>()?;
    module.add_class::<Merger>()?;
    module.add_class::<Policy>()?;
    module.add_class::<Profiles>()?;
    module.add_class::<Redacted>()?;
    module.add_class::<Redaction>()?;
    module.add_class::<RedactionRule>()?;
    module.add_class::<Rejection>()?;
    module.add_class::<Rule>()?;
    module.add_class::<Selected>()?;
    module.add_class::<SummaryRow>()?;
    module.add("LINK_STATES", PyTuple::new(py, LinkState::ALL.map(LinkState::label))?)?;
    module.add("REJECTION_REASONS", PyTuple::new(py, Reason::ALL.map(Reason::label))?)?;
    module.add("REPAIRS", PyTuple::new(py, Repair::ALL.map(Repair::label))?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
