//! What the tracing side has decided: the traces that it kept, for a while, in bounded memory.
//!
//! A tail sampler exports what it keeps, so a trace that is here was kept. Traces stand in *generations*, each of a
//! slice of time; the oldest goes as a whole, when its time is over or its memory is needed. Nothing is taken out of a
//! generation: a trace that is heard of again is copied into the youngest one.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxSeededState;

use crate::dictionary::Link;
use crate::spans::{Span, Spans};

/// Generations of one window; also, what part of the memory one generation may take.
const SLICES: u32 = 8;
/// The least `max_bytes`: one slice of it holds a few hundred spans.
pub const MIN_BYTES: usize = 1 << 16;
/// Names of spans in one generation. Whoever writes ids into names must not fill the memory with them.
const MAX_NAMES: usize = 1 << 16;
/// A longer name is cut.
const MAX_NAME_BYTES: usize = 256;

/// What is known of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceState {
    /// One of its spans has the status `ERROR`.
    pub is_error: bool,
    /// From the earliest start of a span to the latest end, as the tail sampler's `latency` policy has it.
    pub duration_nanos: u64,
}

/// What is known of the span of a Link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Of its trace.
    pub trace: TraceState,
    /// Of the span, when that came too.
    pub name: Option<Arc<str>>,
}

/// Why traces are no longer known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// Nothing was heard of them for the window.
    Window,
    /// Their memory was needed.
    Memory,
}

impl Evicted {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Window, Self::Memory];

    /// The word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Memory => "max_bytes",
        }
    }
}

/// What one request told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Traces that were not known before.
    pub traces: u64,
    /// Traces that were not known to have an error before.
    pub errors: u64,
}

#[derive(Debug, Clone, Copy)]
struct Trace {
    start_nanos: u64,
    end_nanos: u64,
    /// What its spans call it in this generation.
    number: u32,
    is_error: bool,
}

type Seeded<K, V> = HashMap<K, V, FxSeededState>;

#[derive(Debug)]
struct Generation {
    started_secs: f64,
    heard_secs: f64,
    traces: Seeded<[u8; 16], Trace>,
    /// How many of `traces` were copied into a younger generation.
    superseded: usize,
    /// The name of a span by its id and the number of its trace.
    spans: Seeded<([u8; 8], u32), u32>,
    names: Vec<Arc<str>>,
    name_indices: Seeded<Arc<str>, u32>,
    /// Of the names on the heap.
    text_bytes: usize,
}

/// The traces that were kept.
#[derive(Debug)]
pub struct Decisions {
    max_bytes: usize,
    window_secs: f64,
    seed: usize,
    /// The youngest is the last.
    generations: VecDeque<Generation>,
    evicted: [u64; 2],
    names_dropped: u64,
}

impl Decisions {
    /// Nothing is known yet.
    ///
    /// `max_bytes` is at least [`MIN_BYTES`], and `window_secs` positive.
    pub fn new(max_bytes: usize, window_secs: f64) -> Self {
        // Whoever chooses ids must not know which of them collide.
        let seed = RandomState::new().hash_one(0) as usize;
        let generations = VecDeque::new();
        Self { max_bytes, window_secs, seed, generations, evicted: [0; 2], names_dropped: 0 }
    }

    /// Take over what a request told, its texts being pieces of `body`.
    pub fn observe(&mut self, body: &[u8], spans: &Spans, now_secs: f64) -> Observed {
        self.expire(now_secs);
        let mut observed = Observed::default();
        for span in &spans.spans {
            let name = cut(std::str::from_utf8(span.name.of(body)).unwrap_or_default());
            self.make_room(name, now_secs);
            let before = self.find(span.trace_id);
            let after = merged(before.map(|(_, trace)| trace), span);
            observed.traces += u64::from(before.is_none());
            observed.errors += u64::from(after.is_error && !before.is_some_and(|(_, trace)| trace.is_error));
            let youngest = self.generations.len() - 1;
            if let Some((generation, _)) = before
                && generation != youngest
            {
                self.generations[generation].superseded += 1;
            }
            let is_named = self.generations[youngest].put(span, after, name);
            self.names_dropped += u64::from(!is_named);
        }
        observed
    }

    /// Forget what nothing was heard of for the window.
    pub fn expire(&mut self, now_secs: f64) {
        while self.generations.front().is_some_and(|oldest| oldest.heard_secs + self.window_secs <= now_secs) {
            self.evict(Evicted::Window);
        }
    }

    /// What is known of a trace; `None` when it is not known to be kept.
    pub fn trace(&self, trace_id: [u8; 16]) -> Option<TraceState> {
        let (_, trace) = self.find(trace_id)?;
        let duration_nanos = trace.end_nanos.saturating_sub(trace.start_nanos);
        Some(TraceState { is_error: trace.is_error, duration_nanos })
    }

    /// The name of a span; `None` when it did not come, or has none.
    pub fn span_name(&self, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<&Arc<str>> {
        self.generations.iter().rev().find_map(|generation| generation.name(trace_id, span_id))
    }

    /// What is known of each Link of a table.
    pub fn of_links(&self, links: &[Link]) -> Vec<Option<LinkState>> {
        let state = |link: &Link| {
            let trace = self.trace(link.trace_id).filter(|_| link.is_linked())?;
            Some(LinkState { trace, name: self.span_name(link.trace_id, link.span_id).cloned() })
        };
        links.iter().map(state).collect()
    }

    /// How many traces are known.
    pub fn trace_count(&self) -> usize {
        self.generations.iter().map(|generation| generation.traces.len() - generation.superseded).sum()
    }

    /// How many spans have a name that is known; one that came again later may count again.
    pub fn span_count(&self) -> usize {
        self.generations.iter().map(|generation| generation.spans.len()).sum()
    }

    /// What all of it takes on the heap.
    pub fn memory_bytes(&self) -> usize {
        self.generations.iter().map(Generation::memory_bytes).sum()
    }

    /// Traces that are no longer known, in the order of [`Evicted::ALL`].
    pub fn evicted(&self) -> [u64; 2] {
        self.evicted
    }

    /// Spans whose name was not taken over, since there were too many different ones.
    pub fn names_dropped(&self) -> u64 {
        self.names_dropped
    }

    /// A trace, and the youngest generation that it is in.
    fn find(&self, trace_id: [u8; 16]) -> Option<(usize, Trace)> {
        let mut generations = self.generations.iter().enumerate().rev();
        generations.find_map(|(at, generation)| Some((at, *generation.traces.get(&trace_id)?)))
    }

    fn evict(&mut self, reason: Evicted) {
        if let Some(oldest) = self.generations.pop_front() {
            self.evicted[reason as usize] += (oldest.traces.len() - oldest.superseded) as u64;
        }
    }

    /// See to it that the youngest generation can take one more span, and that all of them stay within the memory.
    fn make_room(&mut self, name: &str, now_secs: f64) {
        let slice_secs = self.window_secs / f64::from(SLICES);
        let slice_bytes = self.max_bytes / SLICES as usize;
        let fits = self.generations.back().is_some_and(|youngest| {
            now_secs < youngest.started_secs + slice_secs
                && youngest.memory_bytes() + youngest.growth_bytes(name) <= slice_bytes
        });
        if !fits {
            self.generations.push_back(Generation::new(now_secs, self.seed));
        }
        let Some(youngest) = self.generations.back_mut() else { return };
        youngest.heard_secs = now_secs;
        let growth_bytes = youngest.growth_bytes(name);
        // Only where something grows is it worth adding up.
        while growth_bytes > 0 && self.generations.len() > 1 && self.memory_bytes() + growth_bytes > self.max_bytes {
            self.evict(Evicted::Memory);
        }
    }
}

impl Generation {
    fn new(now_secs: f64, seed: usize) -> Self {
        let seed = FxSeededState::with_seed(seed);
        Self {
            started_secs: now_secs,
            heard_secs: now_secs,
            traces: HashMap::with_hasher(seed.clone()),
            superseded: 0,
            spans: HashMap::with_hasher(seed.clone()),
            names: vec![],
            name_indices: HashMap::with_hasher(seed.clone()),
            text_bytes: 0,
        }
    }

    fn name(&self, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<&Arc<str>> {
        let number = self.traces.get(&trace_id)?.number;
        self.names.get(*self.spans.get(&(span_id, number))? as usize)
    }

    /// Put a trace here and the name of its span; false when there is no room for another name.
    fn put(&mut self, span: &Span, mut trace: Trace, name: &str) -> bool {
        let next = self.traces.len() as u32;
        let entry = self.traces.entry(span.trace_id).or_insert(Trace { number: next, ..trace });
        trace.number = entry.number;
        *entry = trace;
        if name.is_empty() {
            return true;
        }
        let Some(index) = self.name_index(name) else { return false };
        self.spans.insert((span.span_id, trace.number), index);
        true
    }

    fn name_index(&mut self, name: &str) -> Option<u32> {
        if let Some(&index) = self.name_indices.get(name) {
            return Some(index);
        }
        if self.names.len() >= MAX_NAMES {
            return None;
        }
        let (text, index) = (Arc::<str>::from(name), self.names.len() as u32);
        self.names.push(Arc::clone(&text));
        self.name_indices.insert(text, index);
        self.text_bytes += name_bytes(name);
        Some(index)
    }

    fn memory_bytes(&self) -> usize {
        self.traces.allocation_size()
            + self.spans.allocation_size()
            + self.name_indices.allocation_size()
            + self.names.capacity() * size_of::<Arc<str>>()
            + self.text_bytes
    }

    /// What one more span may add: while a table grows, the old one is there beside the new one, twice as large.
    fn growth_bytes(&self, name: &str) -> usize {
        let is_new_name = !name.is_empty() && self.names.len() < MAX_NAMES && !self.name_indices.contains_key(name);
        grown_bytes(&self.traces)
            + grown_bytes(&self.spans)
            + if is_new_name {
                let list = if self.names.len() < self.names.capacity() { 0 } else { self.names.capacity().max(4) * 2 };
                grown_bytes(&self.name_indices) + list * size_of::<Arc<str>>() + name_bytes(name)
            } else {
                0
            }
    }
}

/// A trace with one more span.
fn merged(before: Option<Trace>, span: &Span) -> Trace {
    let unknown = Trace { start_nanos: u64::MAX, end_nanos: 0, number: 0, is_error: false };
    let mut trace = before.unwrap_or(unknown);
    trace.is_error |= span.is_error;
    if span.start_nanos > 0 && span.end_nanos > 0 {
        trace.start_nanos = trace.start_nanos.min(span.start_nanos);
        trace.end_nanos = trace.end_nanos.max(span.end_nanos);
    }
    trace
}

/// A name as it is kept.
fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(MAX_NAME_BYTES)).rev().find(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

/// An `Arc<str>` on the heap: two counts and the text.
fn name_bytes(name: &str) -> usize {
    2 * size_of::<usize>() + name.len()
}

/// What a table takes while it grows to twice its size, if the next insertion makes it; 0 otherwise.
fn grown_bytes<K: Eq + Hash, V>(table: &Seeded<K, V>) -> usize {
    if table.len() < table.capacity() { 0 } else { 2 * table.allocation_size().max(4 * size_of::<(K, V)>() + 32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Span as Piece;

    fn span(number: u64, start_nanos: u64, end_nanos: u64, is_error: bool) -> Span {
        let (trace_id, span_id) = (u128::from(number).to_be_bytes(), 7_u64.to_be_bytes());
        Span { trace_id, span_id, start_nanos, end_nanos, is_error, name: Piece { start: 0, len: 4 }, service: 0 }
    }

    fn spans(spans: Vec<Span>) -> Spans {
        Spans { spans, ..Spans::default() }
    }

    fn id(number: u64) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    #[test]
    fn a_trace_lasts_from_its_first_start_to_its_last_end() {
        let mut decisions = Decisions::new(MIN_BYTES, 60.0);
        let told = spans(vec![span(1, 50, 60, false), span(1, 10, 20, true), span(1, 0, 99, false)]);
        assert_eq!(Observed { traces: 1, errors: 1 }, decisions.observe(b"name", &told, 0.0));
        let state = TraceState { is_error: true, duration_nanos: 50 };
        assert_eq!(Some(state), decisions.trace(id(1)));
        assert_eq!(None, decisions.trace(id(2)));
        assert_eq!("name", &**decisions.span_name(id(1), 7_u64.to_be_bytes()).unwrap());
    }

    #[test]
    fn a_trace_that_is_heard_of_again_stays_one_trace() {
        let mut decisions = Decisions::new(MIN_BYTES, 8.0);
        for second in 0..100 {
            let observed = decisions.observe(b"name", &spans(vec![span(1, 1, 2, false)]), f64::from(second));
            assert_eq!(u64::from(second == 0), observed.traces);
            assert_eq!(1, decisions.trace_count());
        }
        decisions.expire(107.0);
        assert_eq!((0, [1, 0]), (decisions.trace_count(), decisions.evicted()));
    }

    #[test]
    fn memory_stays_within_its_bound_and_the_youngest_is_known() {
        let mut decisions = Decisions::new(MIN_BYTES, 60.0);
        let names: Vec<String> = (0..10_000).map(|number| format!("{number:06}")).collect();
        let body = names.concat();
        for number in 0..10_000 {
            let name = Piece { start: number as u32 * 6, len: 6 };
            decisions.observe(body.as_bytes(), &spans(vec![Span { name, ..span(number, 1, 2, false) }]), 0.0);
            assert!(decisions.memory_bytes() <= MIN_BYTES);
            assert!(decisions.trace(id(number)).is_some());
        }
        let known = decisions.trace_count() as u64;
        assert!(known > 100, "{known}");
        assert_eq!([0, 10_000 - known], decisions.evicted());
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        assert_eq!("é".repeat(128), cut(&"é".repeat(300)));
        assert_eq!(format!("x{}", "é".repeat(127)), cut(&format!("x{}", "é".repeat(300))));
    }
}
