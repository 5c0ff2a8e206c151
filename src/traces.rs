//! What a policy asks of the tracing side: the state of a Sample's trace, which traces are still undecided, and the
//! attributes that carry the answer with the Sample.

use rustc_hash::FxHashMap;

use crate::decisions::{Decisions, LinkState, TraceState};
use crate::limits::Limits;
use crate::policy::{Policy, Rule};
use crate::profiles::{Profile, Profiles, ResourceProfiles};
use crate::rewrite::Rewrite;

/// On a Sample: `kept`, `error` or `slow`.
const STATE: &str = "otelprof.trace.state";
/// On a Sample: the name of its span.
const SPAN_NAME: &str = "otelprof.span.name";

/// What a rule asks of the trace of a Sample; one of it must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceMatch {
    /// It was kept.
    pub kept: bool,
    /// It was kept, and has an error.
    pub error: bool,
    /// It was kept, and lasted longer than this.
    pub slower_than_nanos: Option<u64>,
    /// It is not known to be kept.
    pub unknown: bool,
}

impl TraceMatch {
    /// Whether it holds for a trace.
    pub fn matches(self, state: Option<TraceState>) -> bool {
        state.map_or(self.unknown, |trace| {
            self.kept || self.error && trace.is_error || is_slow(trace, self.slower_than_nanos)
        })
    }

    /// Whether it holds only for traces that have an error, or are slow.
    pub fn is_for_error_or_slow(self) -> bool {
        (self.error || self.slower_than_nanos.is_some()) && !self.kept && !self.unknown
    }
}

fn is_slow(trace: TraceState, slower_than_nanos: Option<u64>) -> bool {
    slower_than_nanos.is_some_and(|nanos| trace.duration_nanos > nanos)
}

impl Profiles {
    /// What is known of each Link of the dictionary.
    pub fn link_states(&self, decisions: &Decisions) -> Vec<Option<LinkState>> {
        decisions.of_links(&self.dictionary.links)
    }

    /// The traces that a policy asks for, each once, whether they are decided or not.
    pub fn traces_asked_for(&self, policy: &Policy) -> Vec<[u8; 16]> {
        let links = &self.dictionary.links;
        let mut is_asked = vec![false; links.len()];
        for (group, _, profile) in self.iter() {
            if policy.asks_for_traces(self, group, profile) {
                for &link in &self.samples.link[profile.rows.clone()] {
                    is_asked[link as usize] = true;
                }
            }
        }
        let asked = links.iter().zip(is_asked).filter(|(link, is_asked)| *is_asked && link.is_linked());
        let mut traces: Vec<[u8; 16]> = asked.map(|(link, _)| link.trace_id).collect();
        traces.sort_unstable();
        traces.dedup();
        traces.shrink_to_fit();
        traces
    }
}

impl Policy {
    /// Whether what becomes of a Profile's linked Samples depends on their traces: before a rule that is for all of
    /// them there is one that asks.
    fn asks_for_traces(&self, profiles: &Profiles, group: &ResourceProfiles, profile: &Profile) -> bool {
        let is_for_linked = |rule: &&Rule| rule.linked != Some(false) && rule.matches(profiles, group, profile);
        self.rules.iter().find(is_for_linked).is_some_and(|rule| rule.trace.is_some())
    }

    /// What is slow by any of the rules.
    fn slower_than_nanos(&self) -> Option<u64> {
        self.rules.iter().filter_map(|rule| rule.trace?.slower_than_nanos).min()
    }
}

/// Says on Samples what is known of their traces.
#[derive(Debug)]
pub struct Annotator<'a> {
    states: &'a [Option<LinkState>],
    slower_than_nanos: Option<u64>,
    /// Attributes of the request that are replaced.
    replaced: Vec<u32>,
}

impl<'a> Annotator<'a> {
    /// One for a request, with what is known of its Links.
    pub fn new(source: &Profiles, policy: &Policy, states: &'a [Option<LinkState>]) -> Self {
        let ours = |key: &[u8]| key == STATE.as_bytes() || key == SPAN_NAME.as_bytes();
        let is_any_known = states.iter().any(Option::is_some);
        let attributes = source.dictionary.attributes.iter().filter(|_| is_any_known).zip(0..);
        let replaced = attributes.filter(|(attribute, _)| ours(source.string(attribute.key)));
        Self {
            states,
            slower_than_nanos: policy.slower_than_nanos(),
            replaced: replaced.map(|(_, index)| index).collect(),
        }
    }

    /// Whether there is something to say of the Samples of some of these Links.
    pub fn knows_any(&self, links: &[u32]) -> bool {
        !self.states.is_empty() && links.iter().any(|&link| self.state(link).is_some())
    }

    /// Say it on the Samples from `start` on, but not on one that would have more attributes than a reader takes by
    /// default.
    pub fn annotate(&self, rewrite: &mut Rewrite<'_>, start: usize) {
        if !self.knows_any(&rewrite.samples.link[start..]) {
            return;
        }
        let plain = rewrite.samples.attributes.split_off(start);
        let mut added: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (row, own) in plain.rows().enumerate() {
            let link = rewrite.samples.link[start + row];
            let mut annotated = own.to_vec();
            if let Some(state) = self.state(link) {
                annotated.retain(|index| !self.replaced.contains(index));
                annotated.extend_from_slice(added.entry(link).or_insert_with(|| self.attributes(rewrite, state)));
                if annotated.len() > Limits::default().max_attributes {
                    annotated.clear();
                    annotated.extend_from_slice(own);
                }
            }
            rewrite.samples.attributes.items.extend(annotated);
            rewrite.samples.attributes.end_row();
        }
    }

    fn state(&self, link: u32) -> Option<&LinkState> {
        self.states.get(link as usize)?.as_ref()
    }

    fn attributes(&self, rewrite: &mut Rewrite<'_>, state: &LinkState) -> Vec<u32> {
        let word = match state.trace {
            trace if trace.is_error => "error",
            trace if is_slow(trace, self.slower_than_nanos) => "slow",
            _ => "kept",
        };
        let named = state.name.iter().map(|name| (SPAN_NAME, &**name));
        let texts = [(STATE, word)].into_iter().chain(named);
        texts.map(|(key, text)| rewrite.text_attribute(key, text)).collect()
    }
}
