//! What policies are made of, as Python sees it.

use hashbrown::HashMap;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use super::traces::TraceDecisions;
use super::{Profiles, work};
use crate::adjustments;
use crate::link;
use crate::pattern::Pattern;
use crate::policy;
use crate::redact;
use crate::select;
use crate::traces::TraceMatch;

/// What a request's Samples know of their spans, for one service, sample type and state.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct LinkCoverage {
    pub(super) service: String,
    pub(super) sample_type: String,
    pub(super) state: &'static str,
    pub(super) sample_count: u64,
    pub(super) value: i128,
}

/// A request whose links were recovered, and what was found.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Linked {
    pub(super) profiles: Py<Profiles>,
    pub(super) coverage: Vec<Py<LinkCoverage>>,
    pub(super) conflict_count: u64,
}

/// One rule of a policy.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Rule(pub(super) policy::Rule);

#[pymethods]
impl Rule {
    #[new]
    #[pyo3(signature = (
        action, *, resource = None, sample_types = None, linked = None, trace = None, slower_than_nanos = None,
        by = "trace", threshold = 0, bound = 0, otherwise = "drop"
    ))]
    #[expect(clippy::too_many_arguments, reason = "one keyword for each part of a rule")]
    fn new(
        action: &str,
        resource: Option<Vec<(String, Vec<String>)>>,
        sample_types: Option<Vec<String>>,
        linked: Option<bool>,
        trace: Option<Vec<String>>,
        slower_than_nanos: Option<u64>,
        by: &str,
        threshold: i128,
        bound: i128,
        otherwise: &str,
    ) -> PyResult<Self> {
        let unknown = |what: &str, word: &str| PyValueError::new_err(format!("{what} is {word:?}"));
        let threshold = number("threshold", threshold, policy::RANDOMNESS_BITS)?;
        let bound = number("bound", bound, u64::BITS)?;
        let by = match by {
            "trace" => policy::By::Trace,
            "python_ratio" => policy::By::PythonRatio(bound),
            "java_ratio" => policy::By::JavaRatio(bound),
            "go_ratio" => policy::By::GoRatio(bound),
            "profile" => policy::By::Profile,
            word => return Err(unknown("by", word)),
        };
        let demotes = match otherwise {
            "demote" => true,
            "drop" => false,
            word => return Err(unknown("otherwise", word)),
        };
        let action = match action {
            "keep" => policy::Action::Keep,
            "drop" => policy::Action::Drop,
            "demote" => policy::Action::Demote,
            "reject" => policy::Action::Reject,
            "sample" => policy::Action::Sample(policy::Sampling { by, threshold, demotes }),
            word => return Err(unknown("action", word)),
        };
        let asks = trace.is_some() || slower_than_nanos.is_some();
        let trace = asks.then(|| trace_match(&trace.unwrap_or_default(), slower_than_nanos)).transpose()?;
        let (resource, sample_types) = (resource.unwrap_or_default(), sample_types.unwrap_or_default());
        Ok(Self(policy::Rule { resource, sample_types, linked, trace, action }))
    }
}

/// A number of so many bits.
fn number(name: &str, number: i128, bits: u32) -> PyResult<u64> {
    let fitting = u64::try_from(number).ok().filter(|&number| u128::from(number) < 1 << bits);
    fitting.ok_or_else(|| PyValueError::new_err(format!("{name} is {number}; 0 to less than 2^{bits} is allowed")))
}

fn trace_match(words: &[String], slower_than_nanos: Option<u64>) -> PyResult<TraceMatch> {
    let mut asked = TraceMatch { slower_than_nanos, ..TraceMatch::default() };
    for word in words {
        match word.as_str() {
            "kept" => asked.kept = true,
            "error" => asked.error = true,
            "unknown" => asked.unknown = true,
            word => return Err(PyValueError::new_err(format!("trace is {word:?}"))),
        }
    }
    Ok(asked)
}

/// Rules in their order.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Policy(pub(super) policy::Policy);

#[pymethods]
impl Policy {
    #[new]
    fn new(rules: Vec<Py<Rule>>) -> Self {
        Self(policy::Policy { rules: rules.into_iter().map(|rule| rule.get().0.clone()).collect() })
    }
}

/// What changes a policy for a while, by service.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Adjustments(pub(super) adjustments::Adjustments);

#[pymethods]
impl Adjustments {
    #[new]
    #[pyo3(signature = (*, thresholds = None, spared = None, lifted = None))]
    fn new(
        thresholds: Option<&Bound<'_, PyMapping>>,
        spared: Option<&Bound<'_, PyMapping>>,
        lifted: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let services =
            lifted.map(|lifted| lifted.try_iter()?.map(|name| name?.extract().map(String::into_bytes)).collect());
        Ok(Self(adjustments::Adjustments {
            thresholds: by_service("thresholds", thresholds)?,
            spared: by_service("spared", spared)?,
            lifted: services.transpose()?.unwrap_or_default(),
        }))
    }
}

fn by_service(name: &str, given: Option<&Bound<'_, PyMapping>>) -> PyResult<HashMap<Vec<u8>, u64>> {
    let pairs: Vec<(String, i128)> = given.map(|given| given.items()?.extract()).transpose()?.unwrap_or_default();
    let checked = pairs.into_iter().map(|(service, threshold)| {
        let message = format!("{name}[{service:?}]");
        Ok((service.into_bytes(), number(&message, threshold, policy::RANDOMNESS_BITS)?))
    });
    checked.collect()
}

/// What one rule did to the Samples of a request.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Decided {
    pub(super) kept: u64,
    pub(super) dropped: u64,
    pub(super) demoted: u64,
    pub(super) rejected: u64,
}

impl From<select::Decided> for Decided {
    fn from(decided: select::Decided) -> Self {
        let select::Decided { kept, dropped, demoted, rejected } = decided;
        Self { kept, dropped, demoted, rejected }
    }
}

/// What one rule did to the Samples of one service.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct ServiceDecided {
    pub(super) service: String,
    pub(super) rule: Option<usize>,
    pub(super) decided: Py<Decided>,
}

/// A request after a policy.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Selected {
    pub(super) profiles: Py<Profiles>,
    pub(super) decided: Vec<Py<Decided>>,
    pub(super) services: Vec<Py<ServiceDecided>>,
    pub(super) lifted: u64,
    pub(super) payloads_dropped: u64,
}

/// One rule of a redaction.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct RedactionRule(pub(super) redact::RedactionRule);

#[pymethods]
impl RedactionRule {
    #[new]
    #[pyo3(signature = (role, treatment, *, key = None, pattern = None, mask = "***"))]
    fn new(role: &str, treatment: &str, key: Option<String>, pattern: Option<&str>, mask: &str) -> PyResult<Self> {
        let role = match role {
            "attribute" => redact::Role::Attribute,
            "command_line" => redact::Role::CommandLine,
            "file_path" => redact::Role::FilePath,
            "symbol" => redact::Role::Symbol,
            word => return Err(PyValueError::new_err(format!("role is {word:?}"))),
        };
        let treatment = match treatment {
            "keep" => redact::Treatment::Keep,
            "drop" => redact::Treatment::Drop,
            "hash" => redact::Treatment::Hash,
            "mask" => redact::Treatment::Mask(mask.to_owned()),
            word => return Err(PyValueError::new_err(format!("treatment is {word:?}"))),
        };
        let pattern = pattern.map(Pattern::new).transpose();
        let pattern = pattern.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self(redact::RedactionRule { role, key, pattern, treatment }))
    }
}

/// Redaction rules, and the key of their hashes.
#[pyclass(frozen, module = "otelprof._core")]
pub(super) struct Redaction(pub(super) redact::Redaction);

#[pymethods]
impl Redaction {
    #[new]
    #[pyo3(signature = (rules, *, key = None))]
    fn new(rules: Vec<Py<RedactionRule>>, key: Option<Vec<u8>>) -> PyResult<Self> {
        let rules: Vec<_> = rules.into_iter().map(|rule| rule.get().0.clone()).collect();
        let key = key.unwrap_or_default();
        if key.is_empty() && rules.iter().any(|rule| rule.treatment == redact::Treatment::Hash) {
            return Err(PyValueError::new_err("a rule hashes, and key is empty"));
        }
        Ok(Self(redact::Redaction { rules, key }))
    }
}

/// A request after redaction.
#[pyclass(frozen, get_all, module = "otelprof._core")]
pub(super) struct Redacted {
    pub(super) profiles: Py<Profiles>,
    pub(super) changed: Vec<u64>,
    pub(super) payloads_dropped: u64,
}

#[pymethods]
impl Profiles {
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

    #[pyo3(signature = (policy, decisions = None, *, adjustments = None, annotates = true))]
    fn select(
        &self,
        py: Python<'_>,
        policy: &Policy,
        decisions: Option<&TraceDecisions>,
        adjustments: Option<&Adjustments>,
        annotates: bool,
    ) -> PyResult<Selected> {
        let selected = work(py, || {
            let states = decisions.map_or_else(Vec::new, |decisions| self.inner.link_states(&decisions.known()));
            self.inner.select(&policy.0, &states, adjustments.map(|adjustments| &adjustments.0), annotates)
        })?;
        let decided = selected.decided.into_iter().map(|decided| Py::new(py, Decided::from(decided)));
        let services = selected.services.into_iter().map(|row| {
            let select::ServiceDecided { service, rule, decided } = row;
            Py::new(py, ServiceDecided { service, rule, decided: Py::new(py, Decided::from(decided))? })
        });
        Ok(Selected {
            decided: decided.collect::<PyResult<_>>()?,
            services: services.collect::<PyResult<_>>()?,
            profiles: Py::new(py, Self::new(selected.profiles))?,
            lifted: selected.lifted,
            payloads_dropped: selected.payloads_dropped,
        })
    }

    fn redact(&self, py: Python<'_>, redaction: &Redaction) -> PyResult<Redacted> {
        let redact::Redacted { profiles, changed, payloads_dropped } = work(py, || self.inner.redact(&redaction.0))?;
        Ok(Redacted { profiles: Py::new(py, Self::new(profiles))?, changed, payloads_dropped })
    }
}
