//! What a request may hold, as Python sets it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::limits;

/// An attribute's value is read by recursion; so deep it may go at the most.
const ATTRIBUTE_DEPTH_CEILING: usize = 64;

/// What one request may hold.
#[pyclass(frozen, get_all, module = "otelprof._core")]
#[expect(clippy::struct_field_names, reason = "these are the names that users write")]
pub(super) struct Limits {
    max_body_bytes: usize,
    max_profiles: usize,
    max_table_entries: usize,
    max_stack_depth: usize,
    max_attributes: usize,
    max_attribute_depth: usize,
}

impl Limits {
    pub(super) fn core(&self) -> limits::Limits {
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
