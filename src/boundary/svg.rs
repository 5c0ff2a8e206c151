//! Flame graphs, as Python asks for them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Profiles, work};
use crate::fold::Selection;
use crate::svg::{self, Look, SvgError};

impl From<SvgError> for PyErr {
    fn from(error: SvgError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

fn text(svg: Result<Vec<u8>, SvgError>) -> PyResult<String> {
    String::from_utf8(svg?).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn pairs(stacks: &[(String, i128)]) -> impl Iterator<Item = (&str, i128)> {
    stacks.iter().map(|(stack, value)| (stack.as_str(), *value))
}

#[pymethods]
impl Profiles {
    #[pyo3(signature = (
        *, service = None, sample_type = None, title = "Flame graph", subtitle = None, unit = "samples",
        colors = "hot", width = None, inverted = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "one keyword for each part of the picture")]
    fn to_svg(
        &self,
        py: Python<'_>,
        service: Option<&str>,
        sample_type: Option<&str>,
        title: &str,
        subtitle: Option<&str>,
        unit: &str,
        colors: &str,
        width: Option<usize>,
        inverted: bool,
    ) -> PyResult<String> {
        let look = Look { title, subtitle, unit, colors, width, inverted };
        text(work(py, || {
            let stacks = self.inner.fold(Selection { service, sample_type });
            svg::flame_graph(pairs(&stacks), &look)
        })?)
    }
}

/// The flame graph of folded stacks.
#[pyfunction]
#[pyo3(signature = (
    stacks, *, title = "Flame graph", subtitle = None, unit = "samples", colors = "hot", width = None, inverted = false
))]
#[expect(clippy::too_many_arguments, reason = "one keyword for each part of the picture")]
pub(super) fn svg_from_folded(
    py: Python<'_>,
    stacks: Vec<(String, i128)>,
    title: &str,
    subtitle: Option<&str>,
    unit: &str,
    colors: &str,
    width: Option<usize>,
    inverted: bool,
) -> PyResult<String> {
    let look = Look { title, subtitle, unit, colors, width, inverted };
    text(work(py, move || svg::flame_graph(pairs(&stacks), &look))?)
}

/// The differential flame graph of two sets of folded stacks.
#[pyfunction]
#[pyo3(signature = (
    before, after, *, normalize = false, title = "Differential flame graph", subtitle = None, unit = "samples",
    width = None, inverted = false
))]
#[expect(clippy::too_many_arguments, reason = "one keyword for each part of the picture")]
pub(super) fn svg_diff(
    py: Python<'_>,
    before: Vec<(String, i128)>,
    after: Vec<(String, i128)>,
    normalize: bool,
    title: &str,
    subtitle: Option<&str>,
    unit: &str,
    width: Option<usize>,
    inverted: bool,
) -> PyResult<String> {
    let look = Look { title, subtitle, unit, colors: "hot", width, inverted };
    text(work(py, move || svg::differential(pairs(&before), pairs(&after), normalize, &look))?)
}
