//! What changes a policy for a while, by service: thresholds that a budget raises, and services that keep everything.
//!
//! A decision stays consistent under it: what is kept at an adjusted threshold is kept at every lower one.

use hashbrown::{HashMap, HashSet};

use crate::policy::{Action, By, RANDOMNESS_BITS, Rule, Sampling};
use crate::traces::TraceMatch;

/// Adjustments by `service.name`; the empty name is every service without an entry of its own.
#[derive(Debug, Clone, Default)]
pub struct Adjustments {
    /// Of rules that sample: the threshold is at least this.
    pub thresholds: HashMap<Vec<u8>, u64>,
    /// The same of rules that match `error` or `slow` traces.
    pub spared: HashMap<Vec<u8>, u64>,
    /// Services whose rules that sample, or that match by trace state, keep everything.
    pub lifted: HashSet<Vec<u8>>,
}

/// What is adjusted for one service; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adjustment {
    threshold: u64,
    spared: u64,
    /// Whether rules that sample, or that match by trace state, keep everything.
    pub is_lifted: bool,
}

impl Adjustments {
    /// Those of a service.
    pub fn of(&self, service: &[u8]) -> Adjustment {
        let raised = |by_service: &HashMap<Vec<u8>, u64>| {
            by_service.get(service).or_else(|| by_service.get(&[][..])).copied().unwrap_or(0)
        };
        Adjustment {
            threshold: raised(&self.thresholds),
            spared: raised(&self.spared),
            is_lifted: self.lifted.contains(service) || self.lifted.contains(&[][..]),
        }
    }
}

impl Adjustment {
    /// What a rule does.
    pub fn action(self, rule: &Rule) -> Action {
        if self.lifts(rule) { Action::Keep } else { self.raised(rule) }
    }

    /// Whether a rule keeps everything because the service is lifted; one that refuses Profiles never does.
    pub fn lifts(self, rule: &Rule) -> bool {
        self.is_lifted && rule.action != Action::Reject && (rule.trace.is_some() || rule.sampling().is_some())
    }

    /// What a rule does, or would do if the service was not lifted.
    pub fn raised(self, rule: &Rule) -> Action {
        let is_spared = rule.trace.is_some_and(TraceMatch::is_for_error_or_slow);
        let least = if is_spared { self.spared } else { self.threshold };
        match rule.action {
            Action::Sample(sampling) if sampling.threshold < least => {
                Action::Sample(Sampling { by: sampling.by.at_threshold(least), threshold: least, ..sampling })
            }
            action => action,
        }
    }
}

impl By {
    /// The same way to decide at a threshold above its own: the bound of a ratio is no more than that of the same
    /// probability, in as many bits as the ratio looks at.
    fn at_threshold(self, threshold: u64) -> Self {
        let kept = (1 << RANDOMNESS_BITS) - threshold;
        // At a threshold of more than 0 no shift leaves 64 bits.
        let below = |bits: u32| kept << (bits - RANDOMNESS_BITS);
        match self {
            Self::Trace | Self::Profile => self,
            Self::PythonRatio(bound) => Self::PythonRatio(bound.min(below(64))),
            Self::JavaRatio(bound) => Self::JavaRatio(bound.min(below(63))),
            Self::GoRatio(bound) => Self::GoRatio(bound.min(below(63))),
        }
    }
}
