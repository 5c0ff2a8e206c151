//! Arithmetic over stacks of many runs, as Python asks for it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::work;
use crate::stacks::{self, Columns, Rows, Stacks, StacksError};

impl From<StacksError> for PyErr {
    fn from(error: StacksError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

type Two<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Numbers as a column, little-endian.
pub(super) fn little_endian<const N: usize, T: Copy>(numbers: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    // One loop without a bound to check: to append number by number takes ten times as long.
    let mut column = vec![0; numbers.len() * N];
    for (place, number) in column.as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = bytes(*number);
    }
    column
}

fn written(columns: &Columns) -> (Vec<u8>, Vec<u8>) {
    (little_endian(&columns.frames, u32::to_le_bytes), little_endian(&columns.ends, u64::to_le_bytes))
}

#[pyfunction]
pub(super) fn distinct_frames(
    py: Python<'_>,
    frames: PyBackedBytes,
    ends: PyBackedBytes,
    functions: usize,
) -> PyResult<Two<'_>> {
    let (frames, ends) = work(py, move || Stacks::new(&frames, &ends, functions).map(|all| written(&all.distinct())))??;
    Ok((PyBytes::new(py, &frames), PyBytes::new(py, &ends)))
}

#[pyfunction]
pub(super) fn joint_weights(
    py: Python<'_>,
    frames: PyBackedBytes,
    ends: PyBackedBytes,
    weights: PyBackedBytes,
    places: PyBackedBytes,
    count: usize,
) -> PyResult<Bound<'_, PyBytes>> {
    let joint = work(py, move || {
        let functions = stacks::column::<4>(&places)?.len();
        let rows = Rows::new(&places, count)?;
        let joint = Stacks::new(&frames, &ends, functions)?.joint(stacks::column(&weights)?, &rows)?;
        Ok::<_, StacksError>(little_endian(&joint, f64::to_le_bytes))
    })??;
    Ok(PyBytes::new(py, &joint))
}

#[pyfunction]
pub(super) fn merge_stacks(
    py: Python<'_>,
    runs: Vec<(PyBackedBytes, PyBackedBytes)>,
    places: PyBackedBytes,
    count: usize,
    rest: u32,
) -> PyResult<(Bound<'_, PyBytes>, Bound<'_, PyBytes>, Bound<'_, PyBytes>)> {
    let ((frames, ends), which) = work(py, move || {
        let functions = stacks::column::<4>(&places)?.len();
        let rows = Rows::new(&places, count)?;
        let runs: Vec<_> =
            runs.iter().map(|(frames, ends)| Stacks::new(frames, ends, functions)).collect::<Result<_, _>>()?;
        let (merged, which) = stacks::merged(&runs, &rows, rest)?;
        Ok::<_, StacksError>((written(&merged), little_endian(&which, u32::to_le_bytes)))
    })??;
    Ok((PyBytes::new(py, &frames), PyBytes::new(py, &ends), PyBytes::new(py, &which)))
}
