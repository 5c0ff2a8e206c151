//! Samples as rows of the table `samples`.

use rustc_hash::{FxHashMap, FxHashSet};

use super::symbols::Symbols;
use super::written::Written;
use super::{Tables, columns};
use crate::error::Result;
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::text::text;

const DAY_NANOS: u64 = 86_400_000_000_000;
/// Of one request: each day is a file of every table, and clocks that are wrong are wrong in many ways.
const MAX_DAYS: usize = 100;
/// On a Sample: what the tracing side decided, and the name of its span (see `traces`).
pub(super) const STATE: &str = "otelprof.trace.state";
pub(super) const SPAN_NAME: &str = "otelprof.span.name";
/// On a Sample: the name of its span, as profilers leave it where the tracing side told none.
const SPAN_NAMES: [&str; 3] = ["span_name", "span.name", "process.context.label.span_name"];
/// On a Profile of a service that had an incident (see `select`).
pub(super) const INCIDENT: &str = "otelprof.incident";

/// A row of `samples`. The order of the fields is the order of the rows: that of traces, so that one trace is in one
/// place, then what repeats longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// Days since 1970.
    pub(super) date: i32,
    pub(super) trace_id: Option<[u8; 16]>,
    pub(super) service: u32,
    pub(super) span_id: Option<[u8; 8]>,
    /// Of the interned texts, as all texts here.
    pub(super) sample_type: u32,
    pub(super) unit: u32,
    pub(super) labels_id: i64,
    pub(super) stack_id: i64,
    /// In nanoseconds since 1970.
    pub(super) window_start: u64,
    pub(super) window_ns: u64,
    pub(super) trace_state: Option<u32>,
    pub(super) span_name: Option<u32>,
    pub(super) value: i64,
    pub(super) count: i64,
}

impl Row {
    /// Whether another row differs in what it counts alone.
    fn is_like(&self, other: &Self) -> bool {
        Self { value: 0, count: 0, ..*self } == Self { value: 0, count: 0, ..*other }
    }
}

/// Texts that are stored once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    indices: FxHashMap<String, u32>,
    pub(super) all: Vec<String>,
}

impl Texts {
    fn index(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.indices.get(text) {
            return index;
        }
        let index = self.all.len() as u32;
        self.indices.insert(text.to_owned(), index);
        self.all.push(text.to_owned());
        index
    }

    /// Bytes of the texts of a row.
    fn size(&self, row: &Row) -> usize {
        let of = [Some(row.service), Some(row.sample_type), Some(row.unit), row.trace_state, row.span_name];
        of.into_iter().flatten().map(|index| self.all[index as usize].len()).sum()
    }
}

/// What the attributes of a Sample say.
#[derive(Debug, Clone, Copy)]
struct Labels {
    id: i64,
    trace_state: Option<u32>,
    span_name: Option<u32>,
}

impl Profiles {
    /// The rows that this adds to the tables of a store.
    ///
    /// A Profile without a start gets `now_unix_nano`, and so does one of another day than the first [`MAX_DAYS`] are.
    /// Symbols that were `written` are left out.
    ///
    /// # Errors
    /// When the rows repeat so much that they take more than a GiB.
    pub fn to_tables(&self, written: &Written, tenant: &str, now_unix_nano: u64) -> Result<Tables> {
        let mut reader = RowReader {
            profiles: self,
            symbols: Symbols::new(self),
            texts: Texts::default(),
            days: FxHashSet::default(),
            now_unix_nano,
        };
        let mut rows = Vec::with_capacity(self.sample_count());
        for (group, scope, profile) in self.iter() {
            reader.profile(group, scope, profile, &mut rows)?;
        }
        let rows = combined(rows);
        let RowReader { mut symbols, texts, .. } = reader;
        for row in &rows {
            symbols.budget.take(size_of::<Row>() + tenant.len() + texts.size(row))?;
        }
        let (keys, stacks, frames, labels) = symbols.finish(written, (now_unix_nano / DAY_NANOS) as i32)?;
        let traces = rows.chunk_by(|a, b| a.trace_id == b.trace_id).filter(|rows| rows[0].trace_id.is_some());
        let trace_count = traces.count();
        Ok(Tables { samples: columns::samples(&rows, &texts, tenant), stacks, frames, labels, keys, trace_count })
    }
}

struct RowReader<'a> {
    profiles: &'a Profiles,
    symbols: Symbols<'a>,
    texts: Texts,
    days: FxHashSet<u64>,
    now_unix_nano: u64,
}

impl<'a> RowReader<'a> {
    fn profile(
        &mut self,
        group: &'a ResourceProfiles,
        scope: &'a ScopeProfiles,
        profile: &'a Profile,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let profiles = self.profiles;
        let samples = &profiles.samples;
        let window_start = self.start(profile);
        let date = (window_start / DAY_NANOS) as i32;
        let (sample_type, unit) = profiles.sample_type(profile);
        let [service, sample_type, unit] =
            [profiles.service(group), sample_type, unit].map(|text| self.texts.index(&String::from_utf8_lossy(text)));
        let mut known: FxHashMap<&'a [u32], Labels> = FxHashMap::default();
        let above = self.symbols.above(group, scope, profile)?;
        for row in profile.rows.clone() {
            let attributes = samples.attributes.row(row);
            let labels = if let Some(&labels) = known.get(attributes) {
                labels
            } else {
                let id = self.symbols.labels(date, &above, attributes)?;
                let labels = self.labels(id, profile, attributes);
                known.insert(attributes, labels);
                labels
            };
            let link = &profiles.dictionary.links[samples.link[row] as usize];
            let plain = Row {
                date,
                trace_id: Some(link.trace_id).filter(|id| *id != [0; 16]),
                service,
                span_id: Some(link.span_id).filter(|id| *id != [0; 8]),
                sample_type,
                unit,
                labels_id: labels.id,
                stack_id: self.symbols.stack(date, samples.stack[row])?,
                window_start,
                window_ns: profile.duration_nano,
                trace_state: labels.trace_state,
                span_name: labels.span_name,
                value: 0,
                count: samples.timestamps.range(row).len().max(1) as i64,
            };
            push(rows, plain, samples.total(row));
        }
        Ok(())
    }

    /// When the window of a Profile starts, as far as it can be believed.
    fn start(&mut self, profile: &Profile) -> u64 {
        let (start, day) = (profile.time_unix_nano, profile.time_unix_nano / DAY_NANOS);
        let is_believed =
            start != 0 && (self.days.contains(&day) || self.days.len() < MAX_DAYS && self.days.insert(day));
        if is_believed { start } else { self.now_unix_nano }
    }

    fn labels(&mut self, id: i64, profile: &Profile, attributes: &[u32]) -> Labels {
        let profiles = self.profiles;
        let mut own = |key: &str| profiles.find(attributes, key).map(|value| self.texts.index(&text(profiles, value)));
        let (trace_state, span_name) = (own(STATE), own(SPAN_NAME));
        let span_name = span_name.or_else(|| SPAN_NAMES.into_iter().find_map(&mut own));
        let is_incident = profiles.find(&profile.attributes, INCIDENT).is_some();
        let trace_state = trace_state.or_else(|| is_incident.then(|| self.texts.index("incident")));
        Labels { id, trace_state, span_name }
    }
}

/// Append a row, or several when no int64 holds what it stands for; a Sample that stands for nothing is no row.
fn push(rows: &mut Vec<Row>, row: Row, mut total: i128) {
    while total != 0 {
        let value = total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        rows.push(Row { value, ..row });
        total -= i128::from(value);
    }
}

/// The rows in order, those that differ in what they count alone as one, unless their sum fits in no int64.
fn combined(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows.dedup_by(|next, kept| {
        let sums = (kept.value.checked_add(next.value), kept.count.checked_add(next.count));
        match sums {
            (Some(value), Some(count)) if kept.is_like(next) => {
                (kept.value, kept.count) = (value, count);
                true
            }
            _ => false,
        }
    });
    rows
}
