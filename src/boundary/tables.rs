//! The tables of the store, as Python hands them on: Arrow's `PyCapsule` interface, so nothing is copied.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::Field;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use pyo3_arrow::ffi::{to_array_pycapsules, to_schema_pycapsule};
use pyo3_arrow::input::AnyRecordBatch;

use super::{Limits, Profiles, work};
use crate::{profiles, tables};

/// Which symbols a writer has written.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct WrittenSymbols(tables::Written);

#[pymethods]
impl WrittenSymbols {
    #[new]
    #[pyo3(signature = (*, max_symbols))]
    fn new(max_symbols: usize) -> Self {
        Self(tables::Written::new(max_symbols))
    }

    fn remember(&self, py: Python<'_>, tables: &Tables) -> PyResult<()> {
        work(py, || self.0.remember(&tables.0))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// Rows of one table.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct TableRows(RecordBatch);

#[pymethods]
impl TableRows {
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let array: ArrayRef = Arc::new(StructArray::from(self.0.clone()));
        let field = Arc::new(Field::new("", array.data_type().clone(), false));
        Ok(to_array_pycapsules(py, field, &array, requested_schema)?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, &*self.0.schema())?)
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.0.get_array_memory_size()
    }
}

/// The rows that a request adds to the tables of a store.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Tables(tables::Tables);

#[pymethods]
impl Tables {
    #[getter]
    fn samples(&self) -> TableRows {
        TableRows(self.0.samples.clone())
    }

    #[getter]
    fn stacks(&self) -> TableRows {
        TableRows(self.0.stacks.clone())
    }

    #[getter]
    fn frames(&self) -> TableRows {
        TableRows(self.0.frames.clone())
    }

    #[getter]
    fn labels(&self) -> TableRows {
        TableRows(self.0.labels.clone())
    }

    #[getter]
    fn trace_count(&self) -> usize {
        self.0.trace_count
    }
}

#[pymethods]
impl Profiles {
    #[pyo3(signature = (written, *, now_unix_nano, tenant = ""))]
    fn to_tables(
        &self,
        py: Python<'_>,
        written: &WrittenSymbols,
        now_unix_nano: u64,
        tenant: &str,
    ) -> PyResult<Tables> {
        Ok(Tables(work(py, || self.inner.to_tables(&written.0, tenant, now_unix_nano))??))
    }

    #[staticmethod]
    #[pyo3(signature = (samples, stacks, frames, labels = None, limits = None))]
    fn from_tables(
        py: Python<'_>,
        samples: AnyRecordBatch,
        stacks: AnyRecordBatch,
        frames: AnyRecordBatch,
        labels: Option<AnyRecordBatch>,
        limits: Option<&Limits>,
    ) -> PyResult<Self> {
        let limits = limits.map(Limits::core).unwrap_or_default();
        let batches = |rows: AnyRecordBatch| rows.into_table().map(|table| table.into_inner().0);
        let stored = tables::Stored {
            samples: batches(samples)?,
            stacks: batches(stacks)?,
            frames: batches(frames)?,
            labels: labels.map(batches).transpose()?.unwrap_or_default(),
        };
        let inner = work(py, move || profiles::Profiles::from_tables(&stored, &limits))??;
        Ok(Self::new(inner))
    }
}
