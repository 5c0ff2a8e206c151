//! What the tracing side has decided, as Python sees it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;

use super::policy::Policy;
use super::{Limits, Profiles, work};
use crate::decisions::{Decisions, Evicted, MIN_BYTES};
use crate::inflate::inflate;
use crate::spans::{Refused, Spans};

/// What one request of the tracing side told.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Observed {
    trace_count: u64,
    error_count: u64,
    span_count: u64,
    spans_by_service: Py<PyDict>,
    rejected: Py<PyDict>,
}

/// What is known of a trace that was kept.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct TraceState {
    is_error: bool,
    duration_nanos: u64,
}

/// The traces that were kept.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct TraceDecisions {
    known: Mutex<Decisions>,
    #[pyo3(get)]
    max_bytes: usize,
    #[pyo3(get)]
    window_secs: f64,
}

impl TraceDecisions {
    /// What is known; after a panic, nothing: it may have left a half of something behind.
    pub(super) fn known(&self) -> MutexGuard<'_, Decisions> {
        self.known.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut known = poisoned.into_inner();
            *known = Decisions::new(self.max_bytes, self.window_secs);
            self.known.clear_poison();
            known
        })
    }
}

#[pymethods]
impl TraceDecisions {
    #[new]
    #[pyo3(signature = (*, max_bytes, window_secs))]
    fn new(max_bytes: usize, window_secs: f64) -> PyResult<Self> {
        if max_bytes < MIN_BYTES {
            return Err(PyValueError::new_err(format!("max_bytes is {max_bytes}; {MIN_BYTES} or more is allowed")));
        }
        if !(window_secs > 0.0 && window_secs.is_finite()) {
            return Err(PyValueError::new_err(format!("window_secs is {window_secs}; more than 0 is allowed")));
        }
        Ok(Self { known: Mutex::new(Decisions::new(max_bytes, window_secs)), max_bytes, window_secs })
    }

    #[pyo3(signature = (body, now_secs, limits = None))]
    fn observe(
        &self,
        py: Python<'_>,
        body: PyBackedBytes,
        now_secs: f64,
        limits: Option<&Limits>,
    ) -> PyResult<Observed> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let body = Bytes::from_owner(body);
        let (body, spans, observed) = work(py, || {
            let body = inflate(body, limits.max_body_bytes)?;
            let spans = Spans::read(&body, &limits)?;
            let observed = self.known().observe(&body, &spans, now_secs);
            Ok::<_, crate::error::Error>((body, spans, observed))
        })??;
        let rejected = PyDict::new(py);
        for (reason, count) in Refused::ALL.into_iter().zip(spans.refused).filter(|(_, count)| *count > 0) {
            rejected.set_item(reason.label(), count)?;
        }
        let spans_by_service = PyDict::new(py);
        for (service, count) in spans.by_service(&body) {
            spans_by_service.set_item(service, count)?;
        }
        Ok(Observed {
            trace_count: observed.traces,
            error_count: observed.errors,
            span_count: spans.spans.len() as u64,
            spans_by_service: spans_by_service.unbind(),
            rejected: rejected.unbind(),
        })
    }

    fn expire(&self, py: Python<'_>, now_secs: f64) -> PyResult<()> {
        work(py, || self.known().expire(now_secs))
    }

    fn state(&self, trace_id: [u8; 16]) -> Option<TraceState> {
        let state = self.known().trace(trace_id)?;
        Some(TraceState { is_error: state.is_error, duration_nanos: state.duration_nanos })
    }

    fn span_name(&self, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<String> {
        self.known().span_name(trace_id, span_id).map(|name| (**name).to_owned())
    }

    #[getter]
    fn trace_count(&self) -> usize {
        self.known().trace_count()
    }

    #[getter]
    fn span_count(&self) -> usize {
        self.known().span_count()
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.known().memory_bytes()
    }

    #[getter]
    fn names_dropped(&self) -> u64 {
        self.known().names_dropped()
    }

    #[getter]
    fn evicted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let evicted = PyDict::new(py);
        for (reason, count) in Evicted::ALL.into_iter().zip(self.known().evicted()) {
            evicted.set_item(reason.label(), count)?;
        }
        Ok(evicted)
    }
}

/// The traces of one request that were undecided when they were last looked at.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct PendingTraces(Mutex<Vec<[u8; 16]>>);

impl PendingTraces {
    fn traces(&self) -> MutexGuard<'_, Vec<[u8; 16]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PendingTraces {
    /// Looks no further than the first trace that is still undecided: while there is one, the others do not matter.
    fn are_decided(&self, decisions: &TraceDecisions) -> bool {
        let (mut traces, known) = (self.traces(), decisions.known());
        while let Some(&trace_id) = traces.last() {
            if known.trace(trace_id).is_none() {
                return false;
            }
            traces.pop();
        }
        true
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.traces().capacity() * size_of::<[u8; 16]>()
    }
}

#[pymethods]
impl Profiles {
    fn pending_traces(&self, py: Python<'_>, policy: &Policy) -> PyResult<PendingTraces> {
        Ok(PendingTraces(Mutex::new(work(py, || self.inner.traces_asked_for(&policy.0))?)))
    }
}
