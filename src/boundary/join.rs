//! Joined pprofs, as Python sees them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::{Profiles, work};
use crate::pprof::{self, Frame, LabelForm, LabelRule, Member, PprofOptions};

/// A member as Python writes it: its Profile, its columns, its labels.
type PyMember = (usize, Vec<(usize, bool)>, Vec<(String, String)>);

/// What a backend's pprofs look like.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct PprofLayout(pprof::Layout);

#[pymethods]
impl PprofLayout {
    #[new]
    #[pyo3(signature = (
        sample_types,
        *,
        default_sample_type = "",
        labels = vec![],
        other_labels = None,
        span_id_label = None,
        span_id_form = "id",
        timestamp_label = None,
        native_names = false,
        frame_types = false,
        max_locations = 4096,
    ), text_signature = "(sample_types, *, default_sample_type='', labels=(), other_labels=None, span_id_label=None, \
        span_id_form='id', timestamp_label=None, native_names=False, frame_types=False, max_locations=4096)")]
    #[expect(clippy::too_many_arguments, reason = "these are the keyword arguments that users write")]
    fn new(
        sample_types: Vec<(String, String)>,
        default_sample_type: &str,
        labels: Vec<(String, String, String)>,
        other_labels: Option<Vec<String>>,
        span_id_label: Option<&str>,
        span_id_form: &str,
        timestamp_label: Option<&str>,
        native_names: bool,
        frame_types: bool,
        max_locations: usize,
    ) -> PyResult<Self> {
        if max_locations < 2 {
            let message = format!("max_locations is at least 2, not {max_locations}");
            return Err(PyValueError::new_err(message));
        }
        let rules = labels.into_iter().map(|(attribute, key, form)| Ok((attribute.into_bytes(), rule(key, &form)?)));
        Ok(Self(pprof::Layout {
            sample_types,
            default_sample_type: default_sample_type.to_owned(),
            rules: rules.collect::<PyResult<_>>()?,
            other_labels: other_labels.map(|keys| keys.into_iter().map(String::into_bytes).collect()),
            span_id: rule(span_id_label.unwrap_or_default().to_owned(), span_id_form)?,
            frame_types,
            max_locations,
            options: PprofOptions {
                timestamp_label: timestamp_label.unwrap_or_default().to_owned(),
                native_names,
                ..PprofOptions::default()
            },
        }))
    }

    #[pyo3(signature = (
        profiles,
        members,
        *,
        period_type,
        period,
        skip = 0,
        max_observations = None,
        max_bytes = 8_388_608,
    ))]
    #[expect(clippy::too_many_arguments, reason = "these are the keyword arguments that users write")]
    fn join(
        &self,
        py: Python<'_>,
        profiles: &Profiles,
        members: Vec<PyMember>,
        period_type: (String, String),
        period: i64,
        skip: usize,
        max_observations: Option<usize>,
        max_bytes: usize,
    ) -> PyResult<JoinedPprof> {
        let members = members.into_iter().map(|(profile, columns, labels)| Member { profile, columns, labels });
        let members: Vec<_> = members.collect();
        let (count, known) = (profiles.inner.profile_count(), self.0.sample_types.len());
        for Member { profile, columns, .. } in &members {
            if *profile >= count || columns.iter().any(|&(column, _)| column >= known) {
                let message =
                    format!("there are {count} Profiles and {known} sample types, not {profile}, {columns:?}");
                return Err(PyValueError::new_err(message));
            }
        }
        let max_observations = max_observations.unwrap_or(usize::MAX);
        let frame = Frame { period_type, period, skip, max_observations, max_bytes };
        Ok(JoinedPprof(work(py, || profiles.inner.join_pprof(&self.0, &members, &frame))?))
    }
}

fn rule(key: String, form: &str) -> PyResult<LabelRule> {
    match LabelForm::ALL.into_iter().find(|(name, _)| *name == form) {
        Some((_, form)) => Ok(LabelRule { key, form }),
        None => Err(PyValueError::new_err(format!("{form:?} is no form of a label"))),
    }
}

#[pymethods]
impl Profiles {
    #[getter]
    fn resources(&self, py: Python<'_>) -> PyResult<Vec<std::collections::BTreeMap<String, String>>> {
        let resources = work(py, || self.inner.resource_texts())?;
        Ok(resources.into_iter().map(|pairs| pairs.into_iter().collect()).collect())
    }

    #[getter]
    fn outlines(&self, py: Python<'_>) -> PyResult<Vec<ProfileOutline>> {
        Ok(work(py, || self.inner.outlines())?.into_iter().map(ProfileOutline).collect())
    }
}

/// A pprof of several Profiles.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct JoinedPprof(pprof::Joined);

#[pymethods]
impl JoinedPprof {
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.0.sample_count
    }

    #[getter]
    fn observation_count(&self) -> usize {
        self.0.observation_count
    }

    #[getter]
    fn is_complete(&self) -> bool {
        self.0.is_complete
    }

    #[getter]
    fn sample_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.sample_types)
    }

    #[getter]
    fn label_keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.label_keys)
    }

    #[getter]
    fn cut_stacks(&self) -> usize {
        self.0.cut_stacks
    }

    #[getter]
    fn unreadable_labels(&self) -> usize {
        self.0.unreadable_labels
    }

    #[getter]
    fn clipped_values(&self) -> usize {
        self.0.clipped_values
    }
}

/// What a Profile says of itself, without its samples.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct ProfileOutline(pprof::Outline);

#[pymethods]
impl ProfileOutline {
    #[getter]
    fn resource(&self) -> usize {
        self.0.resource
    }

    #[getter]
    fn scope(&self) -> &str {
        &self.0.scope
    }

    #[getter]
    fn sample_type(&self) -> (String, String) {
        self.0.sample_type.clone()
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
}
