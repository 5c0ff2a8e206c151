//! A policy carried out: Samples that go, Samples that are demoted into a sibling Profile, and totals that stay true.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::adjustments::{Adjustment, Adjustments};
use crate::decisions::LinkState;
use crate::policy::{Fate, Policy, RANDOMNESS_END, Rule, Sampling, profile_randomness};
use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles};
use crate::refusal::{Fault, Reason, Rejection, shown};
use crate::rewrite::Rewrite;
use crate::traces::Annotator;
use crate::value::AnyValue;
use crate::wire::Span;

/// On a Profile that holds demoted Samples.
const DEMOTED: &str = "otelprof.demoted";
/// On a Profile from which Samples were taken by probability: the threshold, as `th` is written.
const THRESHOLD: &str = "otelprof.sampling.threshold";
/// On a Profile that was judged while its service was lifted.
const INCIDENT: &str = "otelprof.incident";

/// What one rule did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decided {
    /// Samples that stay.
    pub kept: u64,
    /// Samples that went.
    pub dropped: u64,
    /// Samples that were demoted.
    pub demoted: u64,
    /// Samples of Profiles that were refused.
    pub rejected: u64,
}

/// What one rule did to the Samples of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDecided {
    /// `service.name`
    pub service: String,
    /// Its place; `None` for what none matched.
    pub rule: Option<usize>,
    /// What it did.
    pub decided: Decided,
}

impl Decided {
    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Keep => self.kept += 1,
            Fate::Drop => self.dropped += 1,
            Fate::Demote => self.demoted += 1,
            Fate::Reject => self.rejected += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.demoted += other.demoted;
        self.rejected += other.rejected;
    }
}

/// A request after a policy.
#[derive(Debug)]
pub struct Selected {
    /// What is left; the same request when nothing changed.
    pub profiles: Arc<Profiles>,
    /// What each rule did, in their order; last, what none matched.
    pub decided: Vec<Decided>,
    /// The same by service, when there are adjustments: rules that did something, services in their order.
    pub services: Vec<ServiceDecided>,
    /// Samples that stay because their service is lifted.
    pub lifted: u64,
    /// `original_payload`s that went, since their Profile changed.
    pub payloads_dropped: u64,
}

impl Profiles {
    /// Carry out a policy. Every Sample is judged first, and nothing is copied unless something changes.
    ///
    /// `states` is what is known of the traces of the dictionary's Links, or nothing of any when it is empty; it is
    /// said on the Samples that stay, when `annotates`.
    pub fn select(
        self: &Arc<Self>,
        policy: &Policy,
        states: &[Option<LinkState>],
        adjustments: Option<&Adjustments>,
        annotates: bool,
    ) -> Selected {
        let mut selector = Selector {
            source: self,
            policy,
            states,
            annotator: Annotator::new(self, policy, if annotates { states } else { &[] }),
            decisions: Vec::with_capacity(self.samples.len()),
            decided: vec![Decided::default(); policy.rules.len() + 1],
            services: Services::default(),
            lifted: 0,
            payloads_dropped: 0,
        };
        let plans: Vec<Plan> = self.resources.iter().flat_map(|group| selector.judge_all(group, adjustments)).collect();
        let profiles = if plans.iter().all(|plan| matches!(plan, Plan::Keep)) {
            Arc::clone(self)
        } else {
            let mut plans = plans.into_iter();
            Arc::new(Rewrite::new(self).finish(|rewrite, group, _, profile| match plans.next() {
                Some(Plan::Refuse { rule }) => {
                    let describe = || selector.fault(group, profile, rule);
                    Rejection::count(&mut rewrite.rejections, Reason::Policy, profile.rows.len(), describe);
                    vec![]
                }
                Some(Plan::Change(change)) => {
                    let kept = selector.kept(rewrite, profile, &change);
                    let demoted = selector.demoted(rewrite, profile, &change);
                    kept.into_iter().chain(demoted).collect()
                }
                Some(Plan::Keep) | None => vec![rewrite.keep(profile)],
            }))
        };
        let Selector { decided, services, lifted, payloads_dropped, .. } = selector;
        Selected { profiles, decided, services: services.rows, lifted, payloads_dropped }
    }
}

struct Selector<'a> {
    source: &'a Profiles,
    policy: &'a Policy,
    states: &'a [Option<LinkState>],
    annotator: Annotator<'a>,
    /// Of every Sample, in the order of the Profiles.
    decisions: Vec<Decision>,
    decided: Vec<Decided>,
    services: Services,
    lifted: u64,
    payloads_dropped: u64,
}

/// What became of a Sample, and by which rule; the number past the last one when none matched.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Decision {
    fate: Fate,
    rule: u32,
    /// Whether it stays because the service is lifted.
    is_lifted: bool,
}

/// What rules did, by service.
#[derive(Default)]
struct Services {
    rows: Vec<ServiceDecided>,
    /// Where the row of a service and a rule is.
    places: HashMap<(String, Option<usize>), usize>,
}

impl Services {
    fn add(&mut self, service: &str, rule: Option<usize>, decided: Decided) {
        let place = *self.places.entry((service.to_owned(), rule)).or_insert(self.rows.len());
        match self.rows.get_mut(place) {
            Some(row) => row.decided.add(decided),
            None => self.rows.push(ServiceDecided { service: service.to_owned(), rule, decided }),
        }
    }
}

/// What is to be done with a Profile.
enum Plan {
    Keep,
    Refuse { rule: u32 },
    Change(Change),
}

/// What makes a Profile another one.
struct Change {
    /// Where the decisions about its Samples are.
    decisions: Range<usize>,
    /// Under which they were judged.
    adjustment: Adjustment,
    /// By which they were judged, without that of "always".
    thresholds: Vec<u64>,
    /// Whether it is to say that its service is lifted.
    marks_incident: bool,
}

impl Selector<'_> {
    /// Judge all Profiles of a Resource.
    fn judge_all(&mut self, group: &ResourceProfiles, adjustments: Option<&Adjustments>) -> Vec<Plan> {
        let profiles = group.scopes.iter().flat_map(|scope| &scope.profiles);
        let Some(adjustments) = adjustments else {
            return profiles.map(|profile| self.judge(group, Adjustment::default(), profile)).collect();
        };
        let service = self.source.service(group);
        let others = std::mem::replace(&mut self.decided, vec![Decided::default(); self.policy.rules.len() + 1]);
        let adjustment = adjustments.of(service);
        let plans = profiles.map(|profile| self.judge(group, adjustment, profile)).collect();
        let service = String::from_utf8_lossy(service);
        let own = std::mem::replace(&mut self.decided, others);
        for (place, decided) in own.into_iter().enumerate().filter(|(_, decided)| *decided != Decided::default()) {
            self.decided[place].add(decided);
            let rule = (place < self.policy.rules.len()).then_some(place);
            self.services.add(&service, rule, decided);
        }
        plans
    }

    fn judge(&mut self, group: &ResourceProfiles, adjustment: Adjustment, profile: &Profile) -> Plan {
        let rules: Vec<(u32, &Rule)> =
            (0..).zip(&self.policy.rules).filter(|(_, rule)| rule.matches(self.source, group, profile)).collect();
        let start = self.decisions.len();
        self.decide(&rules, adjustment, profile);
        let decisions = &self.decisions[start..];
        if let Some(&Decision { rule, .. }) = decisions.iter().find(|decision| decision.fate == Fate::Reject) {
            self.decided[rule as usize].rejected += profile.rows.len() as u64;
            return Plan::Refuse { rule };
        }
        for decision in decisions {
            self.decided[decision.rule as usize].count(decision.fate);
        }
        let marks_incident = adjustment.is_lifted && {
            self.lifted += decisions.iter().filter(|decision| decision.is_lifted).count() as u64;
            let lifts = |(place, rule): &(u32, &Rule)| {
                adjustment.lifts(rule) && decisions.iter().any(|decision| decision.rule == *place)
            };
            rules.iter().any(lifts) && self.text(profile, INCIDENT) != Some(b"true")
        };
        let thresholds = self.thresholds(decisions, adjustment);
        let is_annotated = self.annotator.knows_any(&self.source.samples.link[profile.rows.clone()]);
        let is_whole = decisions.iter().all(|decision| decision.fate == Fate::Keep);
        if is_whole && thresholds.is_empty() && !is_annotated && !marks_incident {
            return Plan::Keep;
        }
        self.payloads_dropped += u64::from(profile.original_payload.len > 0);
        Plan::Change(Change { decisions: start..self.decisions.len(), adjustment, thresholds, marks_incident })
    }

    /// Append what becomes of each Sample of a Profile. It depends on its Link alone, and many in a row have none.
    fn decide(&mut self, rules: &[(u32, &Rule)], adjustment: Adjustment, profile: &Profile) {
        let randomness = profile_randomness(profile.profile_id);
        let by_link = |index: u32| {
            let link = &self.source.dictionary.links[index as usize];
            let state = self.states.get(index as usize).and_then(|state| Some(state.as_ref()?.trace));
            match rules.iter().find(|(_, rule)| rule.matches_sample(link, state)) {
                Some(&(rule, found)) => {
                    let fate = adjustment.action(found).fate(link, randomness);
                    let would_go = || adjustment.raised(found).fate(link, randomness) != Fate::Keep;
                    Decision { fate, rule, is_lifted: adjustment.lifts(found) && would_go() }
                }
                None => Decision { fate: Fate::Keep, rule: self.policy.rules.len() as u32, is_lifted: false },
            }
        };
        let mut last = None;
        for &link in &self.source.samples.link[profile.rows.clone()] {
            let decision = match last {
                Some((same, decision)) if same == link => decision,
                _ => by_link(link),
            };
            last = Some((link, decision));
            self.decisions.push(decision);
        }
    }

    /// The thresholds, above that of "always", by which the Samples of a Profile were judged.
    fn thresholds(&self, decisions: &[Decision], adjustment: Adjustment) -> Vec<u64> {
        let judged = |decision: &Decision| self.sampling(*decision, adjustment);
        // Those of one rule in a row are told once, so that next to nothing is to be sorted.
        let rules = decisions.chunk_by(|a, b| a.rule == b.rule).filter_map(|chunk| judged(chunk.first()?));
        let thresholds: BTreeSet<u64> = rules.map(|s| s.threshold).filter(|&threshold| threshold > 0).collect();
        thresholds.into_iter().collect()
    }

    /// The Profile with the Samples that stay, scaled up where others went; `None` when there are none.
    fn kept(&self, rewrite: &mut Rewrite<'_>, profile: &Profile, change: &Change) -> Option<Profile> {
        let decisions = &self.decisions[change.decisions.clone()];
        let samples = &self.source.samples;
        let kept: Vec<usize> = of_fate(profile, decisions, Fate::Keep).collect();
        if kept.is_empty() && !profile.rows.is_empty() {
            return None;
        }
        let before = self.threshold_before(profile);
        let start = rewrite.samples.len();
        rewrite.samples.gather_without_values(samples, &kept);
        let scale = |row: usize| self.scale(decisions[row - profile.rows.start], change.adjustment);
        if kept.iter().any(|&row| scale(row) > before) {
            let mut rounding = Rounding::seeded(profile.profile_id);
            let values = &mut rewrite.samples.values;
            for row in kept {
                // All Samples of a Profile have one shape: when one gets values, all do.
                let is_empty = samples.values.range(row).is_empty();
                let ones = if is_empty { samples.timestamps.range(row).len() } else { 0 };
                let own = samples.values.row(row).iter().copied().chain(std::iter::repeat_n(1, ones));
                values.items.extend(own.map(|value| rounding.scaled(value, before, scale(row))));
                values.end_row();
            }
        } else {
            rewrite.samples.values.gather(&samples.values, &kept);
        }
        self.annotator.annotate(rewrite, start);
        let mut attributes = profile.attributes.clone();
        if change.marks_incident {
            attributes = rewrite.marked(&attributes, INCIDENT, "true");
        }
        if !change.thresholds.is_empty() {
            // Nothing below an earlier hop's threshold came here.
            let mut effective: Vec<u64> = change.thresholds.iter().map(|&threshold| threshold.max(before)).collect();
            effective.dedup();
            let text = effective.into_iter().map(threshold_text).collect::<Vec<_>>().join(",");
            attributes = rewrite.marked(&attributes, THRESHOLD, &text);
        }
        Some(Profile { rows: start..rewrite.samples.len(), attributes, ..without_source(profile) })
    }

    /// The threshold by whose adjusted count a kept Sample is scaled; no more than `before` leaves it as it is.
    fn scale(&self, decision: Decision, adjustment: Adjustment) -> u64 {
        let sampling = self.sampling(decision, adjustment);
        sampling.filter(|sampling| !sampling.demotes).map_or(0, |sampling| sampling.threshold)
    }

    /// By what a Sample was judged, if its rule samples.
    fn sampling(&self, decision: Decision, adjustment: Adjustment) -> Option<Sampling> {
        let rule = self.policy.rules.get(decision.rule as usize)?;
        adjustment.action(rule).sampling()
    }

    /// The threshold by which an earlier hop judged a Profile's Samples; 0 when none did, or not one alone.
    fn threshold_before(&self, profile: &Profile) -> u64 {
        self.text(profile, THRESHOLD).and_then(threshold_of).unwrap_or(0)
    }

    /// The text of an attribute of a Profile.
    fn text(&self, profile: &Profile, key: &str) -> Option<&[u8]> {
        let source = self.source;
        let mut own = profile.attributes.iter().map(|&index| &source.dictionary.attributes[index as usize]);
        let found = own.find(|attribute| source.string(attribute.key) == key.as_bytes())?;
        match &found.value {
            AnyValue::String(span) => Some(span.of(&source.body)),
            AnyValue::StringIndex(index) => Some(source.string(*index)),
            _ => None,
        }
    }

    /// The sibling Profile with the demoted Samples, those of one {stack, attributes} as one; `None` when there are
    /// none.
    fn demoted(&self, rewrite: &mut Rewrite<'_>, profile: &Profile, change: &Change) -> Option<Profile> {
        let decisions = &self.decisions[change.decisions.clone()];
        let samples = &self.source.samples;
        let demoted: Vec<usize> = of_fate(profile, decisions, Fate::Demote).collect();
        if demoted.is_empty() {
            return None;
        }
        let mut places: HashMap<(u32, &[u32]), usize> = HashMap::with_capacity(demoted.len());
        let mut merged: Vec<(u32, &[u32], i128)> = Vec::with_capacity(demoted.len());
        for row in demoted {
            let (stack, attributes) = (samples.stack[row], samples.attributes.row(row));
            let place = *places.entry((stack, attributes)).or_insert(merged.len());
            match merged.get_mut(place) {
                Some((.., total)) => *total += samples.total(row),
                None => merged.push((stack, attributes, samples.total(row))),
            }
        }
        let start = rewrite.samples.len();
        for (stack, attributes, mut total) in merged {
            // What no int64 holds is spread over several Samples.
            loop {
                let fitting = total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
                rewrite.samples.attributes.items.extend_from_slice(attributes);
                rewrite.samples.values.items.push(fitting);
                rewrite.samples.end_row(stack, 0);
                total -= i128::from(fitting);
                if total == 0 {
                    break;
                }
            }
        }
        let attributes = rewrite.marked(&profile.attributes, DEMOTED, "true");
        Some(Profile {
            rows: start..rewrite.samples.len(),
            profile_id: derived_id(profile.profile_id, Derived::Demoted),
            original_payload_format: Span::default(),
            attributes,
            ..without_source(profile)
        })
    }

    fn fault(&self, group: &ResourceProfiles, profile: &Profile, rule: u32) -> Fault {
        let (service, name) = (shown(self.source.service(group)), shown(self.source.sample_type(profile).0));
        let message = format!("a {name} Profile of {service} holds Samples that rule {} rejects", rule + 1);
        Fault::new(Reason::Policy, message)
    }
}

/// The rows of a Profile's Samples of one fate.
fn of_fate(profile: &Profile, decisions: &[Decision], fate: Fate) -> impl Iterator<Item = usize> {
    profile.rows.clone().zip(decisions).filter(move |(_, decision)| decision.fate == fate).map(|(row, _)| row)
}

/// A Profile that is written anew, without the payload: it would carry what the policy removed.
fn without_source(profile: &Profile) -> Profile {
    let mut changed = profile.clone();
    changed.source.span = None;
    changed.drop_payload();
    changed
}

/// A threshold as `th` is written: 14 hexadecimal digits without the zeros at the end.
fn threshold_text(threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}

/// The threshold that a text says: 1 to 14 hexadecimal digits, those at the end that are missing being zeros.
fn threshold_of(text: &[u8]) -> Option<u64> {
    if !(1..=14).contains(&text.len()) {
        return None;
    }
    let digit = |number: u64, &byte: &u8| Some(number << 4 | u64::from(char::from(byte).to_digit(16)?));
    let number = text.iter().try_fold(0, digit)?;
    Some(number << (4 * (14 - text.len())))
}

/// Values scaled by an adjusted count 2^56 / (2^56 - T), rounded up or down by chance so that the expectation is
/// exact; the chance is the Profile's own, so that a retry makes the same bytes.
struct Rounding(u64);

impl Rounding {
    fn seeded(profile_id: [u8; 16]) -> Self {
        let id = u128::from_be_bytes(profile_id);
        // Both halves count, and equal ones do not cancel out.
        Self((id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ (id >> 64) as u64)
    }

    /// The next random number (splitmix64, Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value of which an earlier hop kept what is at or above `before`, and this one what is at or above
    /// `threshold`.
    fn scaled(&mut self, value: i64, before: u64, threshold: u64) -> i64 {
        if threshold <= before {
            return value;
        }
        let kept = u128::from(RANDOMNESS_END - threshold);
        let scaled = u128::from(value.unsigned_abs()) * u128::from(RANDOMNESS_END - before);
        let (whole, rest) = (scaled / kept, scaled % kept);
        let rounds_up = u128::from(self.next() >> 8) * kept < rest * u128::from(RANDOMNESS_END);
        let magnitude = i64::try_from(whole + u128::from(rounds_up)).unwrap_or(i64::MAX);
        if value < 0 { -magnitude } else { magnitude }
    }
}
