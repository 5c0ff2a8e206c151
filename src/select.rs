//! A policy carried out: Samples that go, Samples that are demoted into a sibling Profile, and totals that stay true.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::columns::Samples;
use crate::policy::{Fate, Policy, RANDOMNESS_END, Rule, profile_randomness};
use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles};
use crate::refusal::{Fault, Reason, Rejection, shown};
use crate::rewrite::Rewrite;
use crate::value::AnyValue;
use crate::wire::Span;

/// On a Profile that holds demoted Samples.
const DEMOTED: &str = "otelprof.demoted";
/// On a Profile from which Samples were taken by probability: the threshold, as `th` is written.
const THRESHOLD: &str = "otelprof.sampling.threshold";

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

/// A request after a policy.
#[derive(Debug)]
pub struct Selected {
    /// What is left; the same request when nothing changed.
    pub profiles: Arc<Profiles>,
    /// What each rule did, in their order; last, what none matched.
    pub decided: Vec<Decided>,
    /// `original_payload`s that went, since their Profile changed.
    pub payloads_dropped: u64,
}

impl Profiles {
    /// Carry out a policy.
    pub fn select(self: &Arc<Self>, policy: &Policy) -> Selected {
        let decided = vec![Decided::default(); policy.rules.len() + 1];
        let mut selector = Selector { source: self, policy, decided, payloads_dropped: 0, is_changed: false };
        let made = Rewrite::new(self).finish(|rewrite, group, _, profile| selector.profile(rewrite, group, profile));
        let Selector { decided, payloads_dropped, is_changed, .. } = selector;
        let profiles = if is_changed { Arc::new(made) } else { Arc::clone(self) };
        Selected { profiles, decided, payloads_dropped }
    }
}

struct Selector<'a> {
    source: &'a Profiles,
    policy: &'a Policy,
    decided: Vec<Decided>,
    payloads_dropped: u64,
    is_changed: bool,
}

/// What becomes of a Sample, and by which rule; the number past the last one when none matched.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Decision {
    fate: Fate,
    rule: usize,
}

impl Selector<'_> {
    fn profile(&mut self, rewrite: &mut Rewrite<'_>, group: &ResourceProfiles, profile: &Profile) -> Vec<Profile> {
        let rules: Vec<(usize, &Rule)> = self
            .policy
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.matches(self.source, group, profile))
            .collect();
        let randomness = profile_randomness(profile.profile_id);
        let decisions: Vec<Decision> = profile.rows.clone().map(|row| self.decide(&rules, row, randomness)).collect();
        if let Some(decision) = decisions.iter().find(|decision| decision.fate == Fate::Reject) {
            self.is_changed = true;
            self.decided[decision.rule].rejected += decisions.len() as u64;
            let describe = || self.fault(group, profile, decision.rule);
            Rejection::count(&mut rewrite.rejections, Reason::Policy, decisions.len(), describe);
            return vec![];
        }
        self.count(&decisions);
        let thresholds = self.thresholds(&decisions);
        if thresholds.is_empty() && decisions.iter().all(|decision| decision.fate == Fate::Keep) {
            return vec![rewrite.keep(profile)];
        }
        self.is_changed = true;
        self.payloads_dropped += u64::from(profile.original_payload.len > 0);
        let kept = self.kept(rewrite, profile, &decisions, &thresholds);
        let demoted = self.demoted(rewrite, profile, &decisions);
        kept.into_iter().chain(demoted).collect()
    }

    fn decide(&self, rules: &[(usize, &Rule)], row: usize, randomness: u64) -> Decision {
        let link = &self.source.dictionary.links[self.source.samples.link[row] as usize];
        match rules.iter().find(|(_, rule)| rule.matches_sample(link)) {
            Some(&(rule, found)) => Decision { fate: found.fate(link, randomness), rule },
            None => Decision { fate: Fate::Keep, rule: self.policy.rules.len() },
        }
    }

    fn count(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            let decided = &mut self.decided[decision.rule];
            match decision.fate {
                Fate::Keep => decided.kept += 1,
                Fate::Drop => decided.dropped += 1,
                Fate::Demote => decided.demoted += 1,
                Fate::Reject => decided.rejected += 1,
            }
        }
    }

    /// The thresholds, above that of "always", by which the Samples of a Profile were judged.
    fn thresholds(&self, decisions: &[Decision]) -> Vec<u64> {
        let judged = |decision: &Decision| self.policy.rules.get(decision.rule).and_then(Rule::sampling);
        let mut thresholds: Vec<u64> =
            decisions.iter().filter_map(judged).map(|s| s.threshold).filter(|&threshold| threshold > 0).collect();
        thresholds.sort_unstable();
        thresholds.dedup();
        thresholds
    }

    /// The Profile with the Samples that stay, scaled up where others went; `None` when there are none.
    fn kept(
        &self,
        rewrite: &mut Rewrite<'_>,
        profile: &Profile,
        decisions: &[Decision],
        thresholds: &[u64],
    ) -> Option<Profile> {
        let samples = &self.source.samples;
        let rows = profile.rows.clone().zip(decisions);
        let kept: Vec<(usize, u64)> = rows
            .filter(|(_, decision)| decision.fate == Fate::Keep)
            .map(|(row, decision)| (row, self.scale(*decision)))
            .collect();
        if kept.is_empty() && !profile.rows.is_empty() {
            return None;
        }
        // All Samples of a Profile have one shape: when one gets values, all do.
        let before = self.threshold_before(profile);
        let fills = kept.iter().any(|&(_, threshold)| threshold > before);
        let mut rounding = Rounding::seeded(profile.profile_id);
        let start = rewrite.samples.len();
        for (row, threshold) in kept {
            let ones =
                if fills && samples.values.range(row).is_empty() { samples.timestamps.range(row).len() } else { 0 };
            let values = samples.values.row(row).iter().copied().chain(std::iter::repeat_n(1, ones));
            let values = values.map(|value| rounding.scaled(value, before, threshold));
            rewrite.samples.push_from(samples, row, values);
        }
        let mut attributes = profile.attributes.clone();
        if !thresholds.is_empty() {
            // Nothing below an earlier hop's threshold came here.
            let mut effective: Vec<u64> = thresholds.iter().map(|&threshold| threshold.max(before)).collect();
            effective.dedup();
            let text = effective.into_iter().map(threshold_text).collect::<Vec<_>>().join(",");
            attributes = rewrite.marked(&attributes, THRESHOLD, &text);
        }
        Some(Profile { rows: start..rewrite.samples.len(), attributes, ..without_source(profile) })
    }

    /// The threshold by whose adjusted count a kept Sample is scaled; no more than `before` leaves it as it is.
    fn scale(&self, decision: Decision) -> u64 {
        let sampling = self.policy.rules.get(decision.rule).and_then(Rule::sampling);
        sampling.filter(|sampling| !sampling.demotes).map_or(0, |sampling| sampling.threshold)
    }

    /// The threshold by which an earlier hop judged a Profile's Samples; 0 when none did, or not one alone.
    fn threshold_before(&self, profile: &Profile) -> u64 {
        let source = self.source;
        let attribute = |&index: &u32| &source.dictionary.attributes[index as usize];
        let mut own = profile.attributes.iter().map(attribute);
        let recorded = own.find(|attribute| source.string(attribute.key) == THRESHOLD.as_bytes());
        match recorded.map(|attribute| &attribute.value) {
            Some(AnyValue::String(span)) => threshold_of(span.of(&source.body)).unwrap_or(0),
            Some(AnyValue::StringIndex(index)) => threshold_of(source.string(*index)).unwrap_or(0),
            _ => 0,
        }
    }

    /// The sibling Profile with the demoted Samples, those of one {stack, attributes} as one; `None` when there are
    /// none.
    fn demoted(&self, rewrite: &mut Rewrite<'_>, profile: &Profile, decisions: &[Decision]) -> Option<Profile> {
        let samples = &self.source.samples;
        let mut totals: FxHashMap<(u32, &[u32]), usize> = FxHashMap::default();
        let mut merged: Vec<(u32, &[u32], i64)> = vec![];
        for (row, _) in profile.rows.clone().zip(decisions).filter(|(_, d)| d.fate == Fate::Demote) {
            let (stack, attributes) = (samples.stack[row], samples.attributes.row(row));
            let mut total = samples.total(row);
            // What no int64 holds is spread over several Samples.
            while total != 0 || !totals.contains_key(&(stack, attributes)) {
                let index = *totals.entry((stack, attributes)).or_insert_with(|| {
                    merged.push((stack, attributes, 0));
                    merged.len() - 1
                });
                let sum = i128::from(merged[index].2) + total;
                let fitting = sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
                merged[index].2 = fitting;
                total = sum - i128::from(fitting);
                if total != 0 {
                    totals.remove(&(stack, attributes));
                }
            }
        }
        if merged.is_empty() {
            return None;
        }
        let start = rewrite.samples.len();
        for (stack, attributes, total) in merged {
            let Samples { attributes: column, values, .. } = &mut rewrite.samples;
            column.items.extend_from_slice(attributes);
            values.items.push(total);
            rewrite.samples.end_row(stack, 0);
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

    fn fault(&self, group: &ResourceProfiles, profile: &Profile, rule: usize) -> Fault {
        let (service, name) = (shown(self.source.service(group)), shown(self.source.sample_type(profile).0));
        let message = format!("a {name} Profile of {service} holds Samples that rule {} rejects", rule + 1);
        Fault::new(Reason::Policy, message)
    }
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
