//! Which Samples stay: rules, first match wins, no match keeps.

use crate::decisions::TraceState;
use crate::dictionary::Link;
use crate::profiles::{Profile, Profiles, ResourceProfiles};
use crate::traces::TraceMatch;
use crate::value::AnyValue;

/// Bits of a randomness value R and of a rejection threshold T (OpenTelemetry, probability sampling).
pub const RANDOMNESS_BITS: u32 = 56;
/// One past the largest randomness value.
pub const RANDOMNESS_END: u64 = 1 << RANDOMNESS_BITS;

/// Rules in their order.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The first that matches decides.
    pub rules: Vec<Rule>,
}

/// What a rule is for, and what it does.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Resource attributes, each with the texts it may have; all must match.
    pub resource: Vec<(String, Vec<String>)>,
    /// Names of sample types; any when empty.
    pub sample_types: Vec<String>,
    /// Linked Samples only, unlinked ones only, or both.
    pub linked: Option<bool>,
    /// Linked Samples only, whose trace is so; any when `None`.
    pub trace: Option<TraceMatch>,
    /// What is done.
    pub action: Action,
}

/// What a rule does with a Sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It loses link and timestamps, and stays in the totals.
    Demote,
    /// Its Profile is refused.
    Reject,
    /// A part of them stays.
    Sample(Sampling),
}

/// Which part stays, and what becomes of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// What the decision is made of.
    pub by: By,
    /// Rejection threshold T in [0, 2^56): kept at R >= T. For the modes of SDK samplers, the same probability.
    pub threshold: u64,
    /// The rest loses link and timestamps; otherwise it goes, and what stays is scaled up.
    pub demotes: bool,
}

/// What a decision is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The low 56 bits of the trace id: consistent with OpenTelemetry's `th`.
    Trace,
    /// As Python's `TraceIdRatioBased`: the low 64 bits are below the bound.
    PythonRatio(u64),
    /// As Java's `TraceIdRatioBasedSampler`: the absolute value of the low 64 bits is below the bound.
    JavaRatio(u64),
    /// As Go's `TraceIDRatioBased`: the low 64 bits without the last one are below the bound.
    GoRatio(u64),
    /// A hash of the `profile_id`: all Samples of a Profile share one fate.
    Profile,
}

impl By {
    /// Whether a trace stays; `None` when the decision is not made by trace.
    fn keeps_trace(self, trace_id: [u8; 16], threshold: u64) -> Option<bool> {
        let low = u128::from_be_bytes(trace_id) as u64;
        match self {
            Self::Trace => Some(low & (RANDOMNESS_END - 1) >= threshold),
            Self::PythonRatio(bound) => Some(low < bound),
            // Java's Math.abs leaves the smallest number negative, which is below every bound.
            Self::JavaRatio(bound) => Some(low == 1 << 63 || (low as i64).unsigned_abs() < bound),
            Self::GoRatio(bound) => Some(low >> 1 < bound),
            Self::Profile => None,
        }
    }
}

/// What becomes of one Sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays; scaled up when what is like it goes.
    Keep,
    /// It goes.
    Drop,
    /// It loses link and timestamps.
    Demote,
    /// Its Profile is refused.
    Reject,
}

impl Rule {
    /// Whether the rule is for Samples of a Profile at all.
    pub fn matches(&self, profiles: &Profiles, group: &ResourceProfiles, profile: &Profile) -> bool {
        let sample_type = profiles.sample_type(profile).0;
        let type_matches =
            self.sample_types.is_empty() || self.sample_types.iter().any(|t| t.as_bytes() == sample_type);
        type_matches && self.resource.iter().all(|(key, allowed)| resource_matches(profiles, group, key, allowed))
    }

    /// Whether the rule is for a Sample, its Profile being one it is for, with what is known of its trace. A decision
    /// by trace is for linked Samples.
    pub fn matches_sample(&self, link: &Link, state: Option<TraceState>) -> bool {
        let by_trace = matches!(self.action, Action::Sample(Sampling { by, .. }) if by != By::Profile);
        let needs_link = by_trace || self.trace.is_some();
        let is_linked = link.is_linked();
        self.linked.is_none_or(|linked| linked == is_linked)
            && (is_linked || !needs_link)
            && self.trace.is_none_or(|asked| asked.matches(state))
    }

    /// The sampling of this rule, if it samples.
    pub fn sampling(&self) -> Option<Sampling> {
        self.action.sampling()
    }
}

impl Action {
    /// What becomes of a Sample.
    pub fn fate(self, link: &Link, profile_randomness: u64) -> Fate {
        match self {
            Self::Keep => Fate::Keep,
            Self::Drop => Fate::Drop,
            Self::Demote => Fate::Demote,
            Self::Reject => Fate::Reject,
            Self::Sample(Sampling { by, threshold, demotes }) => {
                let by_profile = profile_randomness >= threshold;
                match (by.keeps_trace(link.trace_id, threshold).unwrap_or(by_profile), demotes) {
                    (true, _) => Fate::Keep,
                    (false, true) => Fate::Demote,
                    (false, false) => Fate::Drop,
                }
            }
        }
    }

    /// Which part stays, if a part stays.
    pub fn sampling(self) -> Option<Sampling> {
        match self {
            Self::Sample(sampling) => Some(sampling),
            _ => None,
        }
    }
}

/// The randomness value of a Profile: the low 56 bits of a hash of its id.
pub fn profile_randomness(profile_id: [u8; 16]) -> u64 {
    let mut hash = [0; 8];
    blake3::Hasher::new().update(&profile_id).finalize_xof().fill(&mut hash);
    u64::from_be_bytes(hash) & (RANDOMNESS_END - 1)
}

fn resource_matches(profiles: &Profiles, group: &ResourceProfiles, key: &str, allowed: &[String]) -> bool {
    if key == "service.name" {
        // The same name that everything else goes by, `unknown_service` included.
        return allowed.iter().any(|text| text.as_bytes() == profiles.service(group));
    }
    let attributes = group.resource.iter().flat_map(|resource| &resource.attributes);
    let text = |span: crate::wire::Span| span.of(&profiles.body);
    let mut of_key = attributes.filter(|pair| {
        let own = if pair.key_index == 0 { text(pair.key) } else { profiles.string(pair.key_index) };
        own == key.as_bytes()
    });
    of_key.any(|pair| {
        let value = match &pair.value {
            AnyValue::String(span) => text(*span).to_vec(),
            AnyValue::StringIndex(index) => profiles.string(*index).to_vec(),
            AnyValue::Int(number) => number.to_string().into_bytes(),
            AnyValue::Bool(flag) => flag.to_string().into_bytes(),
            _ => return false,
        };
        allowed.iter().any(|text| text.as_bytes() == value)
    })
}
