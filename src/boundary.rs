//! The only module that names pyo3: bytes in, bytes out, all work without the GIL, no panic across.
//!
//! A verb's own file holds its part of `Profiles`, and the values that it takes and gives.

mod checksum;
mod column_filter;
mod deflate;
mod delta;
mod fields;
mod fold;
mod inflate;
mod join;
mod json;
mod limits;
mod merge;
mod policy;
mod pprof;
mod profiles;
mod stacks;
mod svg;
mod table_bytes;
mod tables;
mod times;
mod traces;

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Error;
use crate::link::LinkState;
use crate::refusal::{Reason, Repair};
use crate::revision::Revision;

use self::column_filter::ColumnFilter;
use self::delta::{Deltas, Differences};
use self::join::{JoinedPprof, PprofLayout, ProfileOutline};
use self::limits::Limits;
use self::merge::Merger;
use self::policy::{
    Adjustments, Decided, LinkCoverage, Linked, Policy, Redacted, Redaction, RedactionRule, Rule, Selected,
    ServiceDecided,
};
use self::pprof::{Pprof, PprofPiece};
use self::profiles::{Profiles, Rejection, SummaryRow};
use self::tables::{TableRows, Tables, WrittenSymbols};
use self::traces::{Observed, PendingTraces, TraceDecisions, TraceState};

pyo3::import_exception!(otelprof.errors, AmbiguousRevisionError);
pyo3::import_exception!(otelprof.errors, InvalidRequestError);
pyo3::import_exception!(otelprof.errors, RequestTooLargeError);
pyo3::import_exception!(otelprof.errors, UnsupportedEncodingError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Malformed { .. } | Error::Invalid { .. } | Error::Corrupt { .. } => {
                InvalidRequestError::new_err(message)
            }
            Error::AmbiguousRevision { .. } => AmbiguousRevisionError::new_err(message),
            Error::UnsupportedCompression(_) | Error::TooOld { .. } => UnsupportedEncodingError::new_err(message),
            Error::BodyTooLarge { .. }
            | Error::JsonTooLarge { .. }
            | Error::RowsTooLarge { .. }
            | Error::TooMany { .. } => RequestTooLargeError::new_err(message),
        }
    }
}

/// The one doorway: work without the GIL; a panic becomes a RuntimeError, which callers treat as a bug.
fn work<T: Send>(py: Python<'_>, job: impl FnOnce() -> T + Send) -> PyResult<T> {
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(job)));
    outcome.map_err(|_| PyRuntimeError::new_err("bug in otelprof's core: it panicked; see the log above"))
}

/// The module `otelprof._core`.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Limits>()?;
    module.add_class::<Adjustments>()?;
    module.add_class::<ColumnFilter>()?;
    module.add_class::<Decided>()?;
    module.add_class::<Deltas>()?;
    module.add_class::<Differences>()?;
    module.add_class::<LinkCoverage>()?;
    module.add_class::<Linked>()?;
    module.add_class::<JoinedPprof>()?;
    module.add_class::<Merger>()?;
    module.add_class::<Observed>()?;
    module.add_class::<PendingTraces>()?;
    module.add_class::<Policy>()?;
    module.add_class::<Pprof>()?;
    module.add_class::<PprofLayout>()?;
    module.add_class::<PprofPiece>()?;
    module.add_class::<ProfileOutline>()?;
    module.add_class::<Profiles>()?;
    module.add_class::<Redacted>()?;
    module.add_class::<Redaction>()?;
    module.add_class::<RedactionRule>()?;
    module.add_class::<Rejection>()?;
    module.add_class::<Rule>()?;
    module.add_class::<Selected>()?;
    module.add_class::<ServiceDecided>()?;
    module.add_class::<SummaryRow>()?;
    module.add_class::<TableRows>()?;
    module.add_class::<Tables>()?;
    module.add_class::<TraceDecisions>()?;
    module.add_class::<TraceState>()?;
    module.add_class::<WrittenSymbols>()?;
    module.add_function(wrap_pyfunction!(checksum::crc32, module)?)?;
    module.add_function(wrap_pyfunction!(deflate::gzip, module)?)?;
    module.add_function(wrap_pyfunction!(fields::length_delimited_fields, module)?)?;
    module.add_function(wrap_pyfunction!(inflate::inflate, module)?)?;
    module.add_function(wrap_pyfunction!(stacks::distinct_frames, module)?)?;
    module.add_function(wrap_pyfunction!(stacks::joint_weights, module)?)?;
    module.add_function(wrap_pyfunction!(stacks::merge_stacks, module)?)?;
    module.add_function(wrap_pyfunction!(svg::svg_diff, module)?)?;
    module.add_function(wrap_pyfunction!(svg::svg_from_folded, module)?)?;
    module.add("LINK_STATES", PyTuple::new(py, LinkState::ALL.map(LinkState::label))?)?;
    module.add("REJECTION_REASONS", PyTuple::new(py, Reason::ALL.map(Reason::label))?)?;
    module.add("REPAIRS", PyTuple::new(py, Repair::ALL.map(Repair::label))?)?;
    module.add("REVISIONS", PyTuple::new(py, Revision::ALL.map(Revision::label))?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
