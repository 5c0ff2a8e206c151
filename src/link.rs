//! Linkage: which Samples know their span, and links recovered from what profilers leave in attributes.

use std::sync::Arc;

use crate::dictionary::{Attribute, Link};
use crate::profiles::{Profile, Profiles};
use crate::rewrite::Rewrite;
use crate::value::AnyValue;

/// How a Sample stands to the tracing side; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It came with a Link.
    Linked,
    /// Its Link was made of its attributes.
    Recovered,
    /// Neither a Link nor an attribute that names one.
    Missing,
    /// A span id without a trace id.
    NoTraceId,
    /// A trace id without a span id.
    NoSpanId,
    /// An attribute that should be an id and is none, or zero.
    Malformed,
}

impl LinkState {
    /// Every state, in the order of its discriminant.
    pub const ALL: [Self; 6] =
        [Self::Linked, Self::Recovered, Self::Missing, Self::NoTraceId, Self::NoSpanId, Self::Malformed];

    /// The state as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Recovered => "recovered",
            Self::Missing => "missing",
            Self::NoTraceId => "no_trace_id",
            Self::NoSpanId => "no_span_id",
            Self::Malformed => "malformed",
        }
    }
}

/// Samples of one service and one sample type in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// `service.name`
    pub service: String,
    /// the sample type, as `name:unit`
    pub sample_type: String,
    /// the state
    pub state: LinkState,
    /// how many Samples
    pub sample_count: u64,
    /// what they stand for
    pub value: i128,
}

/// A request whose links were recovered, and what was found.
#[derive(Debug)]
pub struct Linked {
    /// The request; the same one when nothing was recovered.
    pub profiles: Arc<Profiles>,
    /// By service and state, in order of first appearance.
    pub coverage: Vec<Coverage>,
    /// Samples whose Link and attributes name different spans: the Link stays.
    pub conflict_count: u64,
}

/// By attribute, what it says of a span, and the place of its name: the first one counts.
type Ids = Vec<Option<(usize, Id)>>;

/// What an attribute says of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Trace([u8; 16]),
    Span([u8; 8]),
    Malformed,
}

impl Profiles {
    /// Make real Links of the ids that stand in attributes of these names. A name that contains `trace` is a trace
    /// id's: 32 hexadecimal digits or 16 bytes. Others are span ids': 16 hexadecimal digits, 8 bytes, or a decimal
    /// number of 64 bits. The attributes that made a Link go.
    pub fn link(self: &Arc<Self>, names: &[&str]) -> Linked {
        let ids = self.attribute_ids(names);
        let mut found = Found::default();
        for (group, _, profile) in self.iter() {
            let mut totals = Totals::default();
            for row in profile.rows.clone() {
                let state = if ids.is_empty() { self.state(row) } else { found.judge(self, row, &ids) };
                totals.count(self, row, state);
            }
            found.add(self, self.service(group), profile, &totals);
        }
        let profiles = if found.recovered.is_empty() {
            Arc::clone(self)
        } else {
            Arc::new(self.with_links(&found.recovered, &ids))
        };
        Linked { profiles, coverage: found.coverage, conflict_count: found.conflict_count }
    }

    /// The request with recovered Links, instead of the attributes that they were made of.
    fn with_links(&self, mut recovered: &[(usize, Link)], ids: &Ids) -> Self {
        Rewrite::new(self).finish(|rewrite, _, _, profile| {
            let count = recovered.iter().take_while(|(row, _)| profile.rows.contains(row)).count();
            if count == 0 {
                return vec![rewrite.keep(profile)];
            }
            let own = recovered.split_off(..count).unwrap_or_default();
            let start = rewrite.samples.len();
            let mut next = profile.rows.start;
            for &(row, link) in own {
                rewrite.samples.extend_from(&self.samples, next..row);
                next = row + 1;
                let link = rewrite.link(link);
                let kept = self.samples.attributes.row(row).iter().filter(|&&index| ids[index as usize].is_none());
                rewrite.samples.attributes.items.extend(kept);
                rewrite.samples.values.items.extend_from_slice(self.samples.values.row(row));
                rewrite.samples.timestamps.items.extend_from_slice(self.samples.timestamps.row(row));
                rewrite.samples.end_row(self.samples.stack[row], link);
            }
            rewrite.samples.extend_from(&self.samples, next..profile.rows.end);
            let mut made = Profile { rows: start..rewrite.samples.len(), ..profile.clone() };
            made.source.span = None;
            vec![made]
        })
    }

    /// How a Sample stands by its Link alone.
    fn state(&self, row: usize) -> LinkState {
        let Link { trace_id, span_id } = self.dictionary.links[self.samples.link[row] as usize];
        match (trace_id != [0; 16], span_id != [0; 8]) {
            (true, true) => LinkState::Linked,
            (true, false) => LinkState::NoSpanId,
            (false, true) => LinkState::NoTraceId,
            (false, false) => LinkState::Missing,
        }
    }

    /// What attributes of these names say; empty when there are none.
    fn attribute_ids(&self, names: &[&str]) -> Ids {
        let mut ids = vec![];
        for (index, attribute) in self.dictionary.attributes.iter().enumerate() {
            let key = self.string(attribute.key);
            if let Some(place) = names.iter().position(|name| name.as_bytes() == key) {
                let is_trace = names[place].contains("trace");
                let id = if is_trace { self.trace_id(attribute) } else { self.span_id(attribute) };
                ids.resize(self.dictionary.attributes.len(), None);
                ids[index] = Some((place, id.unwrap_or(Id::Malformed)));
            }
        }
        ids
    }

    fn text(&self, value: &AnyValue) -> Option<&[u8]> {
        match value {
            AnyValue::String(span) => Some(span.of(&self.body)),
            AnyValue::StringIndex(index) => Some(self.string(*index)),
            _ => None,
        }
    }

    fn trace_id(&self, attribute: &Attribute) -> Option<Id> {
        let id = match &attribute.value {
            AnyValue::Bytes(span) => span.of(&self.body).try_into().ok(),
            value => self.text(value).and_then(hex),
        };
        id.filter(|id| *id != [0; 16]).map(Id::Trace)
    }

    fn span_id(&self, attribute: &Attribute) -> Option<Id> {
        let id = match &attribute.value {
            AnyValue::Bytes(span) => span.of(&self.body).try_into().ok(),
            AnyValue::Int(number) => Some((*number as u64).to_be_bytes()),
            value => self.text(value).and_then(|text| hex(text).or_else(|| decimal(text))),
        };
        id.filter(|id| *id != [0; 8]).map(Id::Span)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    coverage: Vec<Coverage>,
    conflict_count: u64,
    /// Rows that get a Link, in the order of the Profiles.
    recovered: Vec<(usize, Link)>,
}

/// What the attributes of a Sample say of its span: of each id the one that counts, with the place of its name.
#[derive(Default)]
struct Said {
    trace_id: Option<(usize, [u8; 16])>,
    span_id: Option<(usize, [u8; 8])>,
    is_malformed: bool,
    contradicts: bool,
}

impl Said {
    fn of(attributes: &[u32], ids: &Ids, link: &Link) -> Self {
        let mut said = Self::default();
        for (place, id) in attributes.iter().filter_map(|&index| ids[index as usize]) {
            match id {
                Id::Trace(id) => {
                    said.contradicts |= id != link.trace_id;
                    said.trace_id = first(said.trace_id, (place, id));
                }
                Id::Span(id) => {
                    said.contradicts |= id != link.span_id;
                    said.span_id = first(said.span_id, (place, id));
                }
                Id::Malformed => said.is_malformed = true,
            }
        }
        said
    }
}

/// The one whose name comes first.
fn first<T>(so_far: Option<(usize, T)>, found: (usize, T)) -> Option<(usize, T)> {
    so_far.filter(|&(place, _)| place <= found.0).or(Some(found))
}

/// Samples and what they stand for, by state.
#[derive(Default)]
struct Totals([(u64, i128); LinkState::ALL.len()]);

impl Totals {
    fn count(&mut self, profiles: &Profiles, row: usize, state: LinkState) {
        let (sample_count, value) = &mut self.0[state as usize];
        *sample_count += 1;
        *value += profiles.samples.total(row);
    }
}

impl Found {
    /// How a Sample stands by its Link and its attributes.
    fn judge(&mut self, profiles: &Profiles, row: usize, ids: &Ids) -> LinkState {
        let own = &profiles.dictionary.links[profiles.samples.link[row] as usize];
        let said = Said::of(profiles.samples.attributes.row(row), ids, own);
        match (said.trace_id, said.span_id) {
            _ if own.is_linked() => {
                self.conflict_count += u64::from(said.contradicts);
                LinkState::Linked
            }
            (Some((_, trace_id)), Some((_, span_id))) => {
                self.recovered.push((row, Link { trace_id, span_id }));
                LinkState::Recovered
            }
            _ if said.is_malformed => LinkState::Malformed,
            (Some(_), None) => LinkState::NoSpanId,
            (None, Some(_)) => LinkState::NoTraceId,
            (None, None) => profiles.state(row),
        }
    }

    fn add(&mut self, profiles: &Profiles, service: &[u8], profile: &Profile, totals: &Totals) {
        let (name, unit) = profiles.sample_type(profile);
        let text = String::from_utf8_lossy;
        let (service, sample_type) = (text(service), format!("{}:{}", text(name), text(unit)));
        for (state, (sample_count, value)) in LinkState::ALL.into_iter().zip(totals.0) {
            if sample_count > 0 {
                let is_same = |c: &Coverage| c.state == state && c.service == service && c.sample_type == sample_type;
                let index = self.coverage.iter().position(is_same).unwrap_or_else(|| {
                    let (service, sample_type) = (service.clone().into_owned(), sample_type.clone());
                    self.coverage.push(Coverage { service, sample_type, state, sample_count: 0, value: 0 });
                    self.coverage.len() - 1
                });
                self.coverage[index].sample_count += sample_count;
                self.coverage[index].value += value;
            }
        }
    }
}

/// Exactly the digits of so many bytes, nothing before, between or after.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16);
        *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
    }
    Some(bytes)
}

/// A number of 64 bits in decimal digits, nothing before or after.
fn decimal(text: &[u8]) -> Option<[u8; 8]> {
    let is_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_digits)?;
    text.parse::<u64>().ok().map(u64::to_be_bytes)
}
