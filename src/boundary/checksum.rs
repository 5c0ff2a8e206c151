//! Checksums, as Python asks for them.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::work;

/// The CRC-32 of two pieces, as if they were one.
#[pyfunction]
pub(super) fn crc32(py: Python<'_>, first: PyBackedBytes, second: PyBackedBytes) -> PyResult<u32> {
    work(py, move || crate::checksum::crc32(&first, &second))
}
