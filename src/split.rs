//! One request as several, each under a size on the wire: cut between Samples, each piece with what it reaches.
//!
//! Sizes are upper bounds. What an index will take is not known before the piece is full: no more than it takes in
//! the whole, since collection keeps the order of the entries that stay, and no more than the number of entries that
//! the piece reaches takes.

use std::ops::Range;
use std::sync::Arc;

use crate::dictionary::Dictionary;
use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles, Table};
use crate::refusal::Repairs;
use crate::value::KeyValue;
use crate::wire::{Span, Writer, varint_len};

/// A key of one byte, a length of one, 16 bytes.
const PROFILE_ID_BYTES: usize = 18;
/// The zero entries of seven tables.
const ZERO_ENTRIES_BYTES: usize = 7 * 2;
/// A bound is at most about twice the size; and so much over it for small requests.
const BOUND_SLACK_BYTES: usize = 4096;

impl Profiles {
    /// Pieces that take at most `max_bytes` each; see `_core.pyi`. `wire_bytes` is what the whole takes, when known.
    pub fn split(self: &Arc<Self>, max_bytes: usize, wire_bytes: Option<usize>) -> Vec<Arc<Self>> {
        let fits = wire_bytes.map_or_else(|| self.fits(max_bytes), |bytes| bytes <= max_bytes);
        if fits || self.resources.is_empty() {
            return vec![Arc::clone(self)];
        }
        let mut splitter = Splitter::new(self, max_bytes);
        splitter.cut();
        splitter.pieces.into_iter().map(Arc::new).collect()
    }

    fn fits(&self, max_bytes: usize) -> bool {
        let mut bound = Splitter::new(self, usize::MAX);
        bound.cut();
        let whole = bound.bytes();
        let may_fit = whole <= max_bytes.saturating_mul(2).saturating_add(BOUND_SLACK_BYTES);
        whole <= max_bytes || (may_fit && self.to_otlp().0.len() <= max_bytes)
    }
}

/// Fills one piece after the other.
struct Splitter<'a> {
    whole: &'a Profiles,
    max_bytes: usize,
    pieces: Vec<Profiles>,
    /// The piece that is being filled: its groups, and the bound of its size.
    groups: Vec<ResourceProfiles>,
    fixed_bytes: usize,
    /// Where the last Profile of the piece stands in the whole.
    open: Option<[usize; 3]>,
    reached: ReachedBytes<'a>,
    /// That of the whole, to be written anew: a piece takes what is counted here, whatever the tables took as sent.
    dictionary: Arc<Dictionary>,
}

impl<'a> Splitter<'a> {
    fn new(whole: &'a Profiles, max_bytes: usize) -> Self {
        let reached = ReachedBytes::new(whole, header_bytes(max_bytes));
        let fixed_bytes = ZERO_ENTRIES_BYTES + reached.header_bytes;
        let (source, table_sources) = Default::default();
        let dictionary = Arc::new(Dictionary { source, table_sources, ..(*whole.dictionary).clone() });
        Self { whole, max_bytes, pieces: vec![], groups: vec![], fixed_bytes, open: None, reached, dictionary }
    }

    /// Put everything into pieces.
    fn cut(&mut self) {
        for (r, resource) in self.whole.resources.iter().enumerate() {
            for (s, scope) in resource.scopes.iter().enumerate() {
                for (p, profile) in scope.profiles.iter().enumerate() {
                    self.profile([r, s, p], profile);
                }
            }
        }
        if self.max_bytes != usize::MAX {
            self.close();
        }
    }

    fn profile(&mut self, place: [usize; 3], profile: &'a Profile) {
        let (mut parts, mut start, mut is_open) = (0, profile.rows.start, false);
        // A Profile without Samples takes its place as one with a single Sample of no size does.
        let rows = profile.rows.clone().map(Some);
        for row in rows.chain(profile.rows.is_empty().then_some(None)) {
            let holds_something = is_open || !self.groups.is_empty();
            self.fixed_bytes += self.needed_bytes(place, profile, row, is_open);
            if holds_something && self.bytes() > self.max_bytes {
                let next = row.unwrap_or(start);
                if is_open {
                    self.end_part(place, profile, start..next, parts);
                    parts += 1;
                }
                self.close();
                start = next;
                self.fixed_bytes += self.needed_bytes(place, profile, row, false);
            }
            is_open = true;
        }
        self.end_part(place, profile, start..profile.rows.end, parts);
    }

    /// The bound of the piece's size.
    fn bytes(&self) -> usize {
        self.fixed_bytes + self.reached.references.bytes()
    }

    /// The bound of what a Sample adds to the piece, with what its Profile adds where that is not open yet; references
    /// apart.
    fn needed_bytes(&mut self, place: [usize; 3], profile: &Profile, row: Option<usize>, is_open: bool) -> usize {
        let opening = if is_open { 0 } else { self.opening_bytes(place, profile) };
        opening + row.map_or(0, |row| self.reached.sample(row))
    }

    /// The bound of what a Profile takes before its first Sample, with its groups where they are not open yet.
    fn opening_bytes(&mut self, place: [usize; 3], profile: &Profile) -> usize {
        let [r, s, _] = place;
        let group = &self.whole.resources[r];
        let mut bytes = self.reached.profile(profile);
        if self.open.is_none_or(|[open, ..]| open != r) {
            bytes += self.reached.resource(group);
        }
        if self.open.is_none_or(|[open_resource, open_scope, _]| (open_resource, open_scope) != (r, s)) {
            bytes += self.reached.scope(&group.scopes[s]);
        }
        bytes
    }

    /// Add a part of a Profile, which may be all of it, to the piece.
    fn end_part(&mut self, place: [usize; 3], profile: &Profile, rows: Range<usize>, number: u64) {
        let [r, s, _] = place;
        let mut part = Profile { rows, ..profile.clone() };
        if part.rows != profile.rows {
            part.source.span = None;
        }
        if number > 0 {
            part.profile_id = derived_id(profile.profile_id, Derived::Part(number));
            (part.original_payload_format, part.original_payload) = Default::default();
        }
        let (resource, scope) = (&self.whole.resources[r], &self.whole.resources[r].scopes[s]);
        let is_same_resource = self.open.is_some_and(|[open, ..]| open == r);
        let is_same_scope = is_same_resource && self.open.is_some_and(|[_, open, _]| open == s);
        if !is_same_resource {
            self.groups.push(resource.shallow());
        }
        if let Some(group) = self.groups.last_mut() {
            if !is_same_scope {
                group.scopes.push(scope.shallow());
            }
            if let Some(scope) = group.scopes.last_mut() {
                scope.profiles.push(part);
            }
        }
        self.open = Some(place);
    }

    /// End the piece.
    fn close(&mut self) {
        let resources = std::mem::take(&mut self.groups);
        if !resources.is_empty() {
            let whole = self.whole;
            self.pieces.push(Profiles {
                body: whole.body.clone(),
                dictionary: Arc::clone(&self.dictionary),
                resources,
                samples: Arc::clone(&whole.samples),
                rejections: vec![],
                repairs: Repairs::default(),
                removed: whole.removed,
                unknown_fields: 0,
                is_collected: false,
                is_body: false,
            });
        }
        self.fixed_bytes = ZERO_ENTRIES_BYTES + self.reached.header_bytes;
        self.open = None;
        self.reached.forget();
    }
}

/// How many references a piece holds into each table, by the bytes that they take in the whole, and how many entries
/// they reach.
#[derive(Default)]
struct References {
    by_bytes: [[usize; 5]; 7],
    reached: [usize; 7],
}

impl References {
    fn count(&mut self, table: Table, index: u32) {
        self.by_bytes[table as usize][varint_len(index as usize) - 1] += 1;
    }

    /// The bound of what all references take together.
    fn bytes(&self) -> usize {
        let of_table = |(by_bytes, &reached): (&[usize; 5], &usize)| {
            let longest = varint_len(reached);
            let sized = by_bytes.iter().enumerate().map(|(bytes, count)| count * (bytes + 1).min(longest));
            sized.sum::<usize>()
        };
        self.by_bytes.iter().zip(&self.reached).map(of_table).sum()
    }
}

/// The bounds of what a piece takes, each dictionary entry counted when it is first reached; what the references take
/// is counted apart.
struct ReachedBytes<'a> {
    whole: &'a Profiles,
    /// Key and length of a message whose length is not known yet.
    header_bytes: usize,
    piece: u32,
    references: References,
    /// The last piece that reached each entry, by table.
    seen: [Vec<u32>; 7],
}

fn message_bytes(bytes: usize) -> usize {
    1 + varint_len(bytes) + bytes
}

/// Key and length of a message in a piece of this size.
fn header_bytes(max_bytes: usize) -> usize {
    1 + varint_len(max_bytes).min(5)
}

/// A string or bytes field, left out when empty.
fn text_bytes(span: Span) -> usize {
    if span.len == 0 { 0 } else { message_bytes(span.len as usize) }
}

/// A varint field, left out when zero.
fn field_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value as usize) }
}

/// A message whose references are counted apart: its length is that of the whole's, its content without them.
fn referring_bytes(content: usize, references: usize) -> usize {
    1 + varint_len(content + references) + content
}

/// What the references of a packed list take in the whole.
fn list_bytes(indices: &[u32]) -> usize {
    indices.iter().map(|&index| varint_len(index as usize)).sum()
}

/// Key and length of a packed list.
fn list_header_bytes(indices: &[u32]) -> usize {
    if indices.is_empty() { 0 } else { 1 + varint_len(list_bytes(indices)) }
}

/// The key of a reference field, left out when zero.
fn key_bytes(index: u32) -> usize {
    usize::from(index != 0)
}

impl<'a> ReachedBytes<'a> {
    fn new(whole: &'a Profiles, header_bytes: usize) -> Self {
        let seen = whole.dictionary.table_lens().map(|len| vec![0; len]);
        Self { whole, header_bytes, piece: 1, references: References::default(), seen }
    }

    /// A new piece: nothing is reached.
    fn forget(&mut self) {
        self.piece += 1;
        self.references = References::default();
    }

    fn dictionary(&self) -> &'a Dictionary {
        &self.whole.dictionary
    }

    /// Whether this is the first time that the piece reaches an entry. Entry 0 is always there.
    fn is_first(&mut self, table: Table, index: u32) -> bool {
        let last = std::mem::replace(&mut self.seen[table as usize][index as usize], self.piece);
        let is_first = index != 0 && last != self.piece;
        self.references.reached[table as usize] += usize::from(is_first);
        is_first
    }

    /// Count a reference field, left out when zero.
    fn refer(&mut self, table: Table, index: u32) {
        if index != 0 {
            self.references.count(table, index);
        }
    }

    fn sample(&mut self, row: usize) -> usize {
        let samples = &self.whole.samples;
        let (stack, link, attributes) = (samples.stack[row], samples.link[row], samples.attributes.row(row));
        let values: usize = samples.values.row(row).iter().map(|&value| varint_len(value as usize)).sum();
        let timestamps = 8 * samples.timestamps.range(row).len();
        let content = key_bytes(stack)
            + key_bytes(link)
            + list_header_bytes(attributes)
            + if values == 0 { 0 } else { message_bytes(values) }
            + if timestamps == 0 { 0 } else { message_bytes(timestamps) };
        let references = list_bytes(attributes) + varint_len(stack as usize) + varint_len(link as usize);
        self.refer(Table::Stacks, stack);
        self.refer(Table::Links, link);
        referring_bytes(content, references) + self.stack(stack) + self.link(link) + self.attribute_list(attributes)
    }

    /// A Profile without its Samples.
    fn profile(&mut self, profile: &Profile) -> usize {
        let mut bytes = self.header_bytes + PROFILE_ID_BYTES;
        for value_type in profile.sample_type.into_iter().chain(profile.period_type) {
            bytes += 2;
            for index in [value_type.name, value_type.unit] {
                self.refer(Table::Strings, index);
                bytes += key_bytes(index) + self.string(index);
            }
        }
        let numbers = [profile.duration_nano, profile.period as u64, u64::from(profile.dropped_attributes_count)];
        bytes += numbers.iter().map(|&number| field_bytes(number)).sum::<usize>();
        bytes += if profile.time_unix_nano == 0 { 0 } else { 1 + 8 };
        bytes += text_bytes(profile.original_payload_format) + text_bytes(profile.original_payload);
        bytes + list_header_bytes(&profile.attributes) + self.attribute_list(&profile.attributes)
    }

    fn resource(&mut self, group: &ResourceProfiles) -> usize {
        let Some(resource) = &group.resource else { return self.header_bytes + text_bytes(group.schema_url) };
        let entities: usize = resource.entity_refs.iter().map(|entity| message_bytes(entity.len as usize)).sum();
        let (pairs, strings) = self.pairs(&resource.attributes);
        let written = pairs + field_bytes(u64::from(resource.dropped_attributes_count)) + entities;
        let source = resource.source.span.map_or(0, |span| span.len as usize);
        self.header_bytes + message_bytes(written.max(source)) + strings + text_bytes(group.schema_url)
    }

    fn scope(&mut self, group: &ScopeProfiles) -> usize {
        let Some(scope) = &group.scope else { return self.header_bytes + text_bytes(group.schema_url) };
        let (pairs, strings) = self.pairs(&scope.attributes);
        let dropped = field_bytes(u64::from(scope.dropped_attributes_count));
        let written = pairs + text_bytes(scope.name) + text_bytes(scope.version) + dropped;
        let source = scope.source.span.map_or(0, |span| span.len as usize);
        self.header_bytes + message_bytes(written.max(source)) + strings + text_bytes(group.schema_url)
    }

    /// Pairs of a Resource or scope, references and all, since they are few; and the strings that they reach.
    fn pairs(&mut self, pairs: &[KeyValue]) -> (usize, usize) {
        let mut strings = 0;
        let mut writer = Writer::default();
        for pair in pairs {
            pair.write(&mut writer, 1, &self.whole.body, &|index| index);
            pair.string_indices(&mut |index| strings += self.string(index));
        }
        (writer.into_bytes().len(), strings)
    }

    fn string(&mut self, index: u32) -> usize {
        let first = self.is_first(Table::Strings, index);
        if first { message_bytes(self.dictionary().strings[index as usize].len as usize) } else { 0 }
    }

    fn link(&mut self, index: u32) -> usize {
        // 16 and 8 bytes, each with key and length.
        if self.is_first(Table::Links, index) { message_bytes(18 + 10) } else { 0 }
    }

    fn attribute_list(&mut self, indices: &[u32]) -> usize {
        let mut bytes = 0;
        for &index in indices {
            self.references.count(Table::Attributes, index);
            bytes += self.attribute(index);
        }
        bytes
    }

    fn attribute(&mut self, index: u32) -> usize {
        if !self.is_first(Table::Attributes, index) {
            return 0;
        }
        let attribute = &self.dictionary().attributes[index as usize];
        let mut writer = Writer::default();
        attribute.value.write(&mut writer, 2, &self.whole.body, &|index| index);
        let mut references = 0;
        let mut strings = 0;
        for index in [attribute.key, attribute.unit] {
            self.refer(Table::Strings, index);
            references += varint_len(index as usize);
            strings += self.string(index);
        }
        attribute.value.string_indices(&mut |index| strings += self.string(index));
        let content = key_bytes(attribute.key) + key_bytes(attribute.unit) + writer.into_bytes().len();
        referring_bytes(content, references) + strings
    }

    fn function(&mut self, index: u32) -> usize {
        if !self.is_first(Table::Functions, index) {
            return 0;
        }
        let function = self.dictionary().functions[index as usize];
        let (mut content, mut references, mut strings) = (field_bytes(function.start_line as u64), 0, 0);
        for name in [function.name, function.system_name, function.filename] {
            self.refer(Table::Strings, name);
            content += key_bytes(name);
            references += varint_len(name as usize);
            strings += self.string(name);
        }
        referring_bytes(content, references) + strings
    }

    fn mapping(&mut self, index: u32) -> usize {
        if !self.is_first(Table::Mappings, index) {
            return 0;
        }
        let d = self.dictionary();
        let (mapping, attributes) = (d.mappings[index as usize], d.mapping_attributes.row(index as usize));
        let numbers = [mapping.memory_start, mapping.memory_limit, mapping.file_offset];
        let content = numbers.iter().map(|&number| field_bytes(number)).sum::<usize>()
            + key_bytes(mapping.filename)
            + list_header_bytes(attributes);
        let references = varint_len(mapping.filename as usize) + list_bytes(attributes);
        self.refer(Table::Strings, mapping.filename);
        referring_bytes(content, references) + self.string(mapping.filename) + self.attribute_list(attributes)
    }

    fn location(&mut self, index: u32) -> usize {
        if !self.is_first(Table::Locations, index) {
            return 0;
        }
        let (row, locations) = (index as usize, &self.dictionary().locations);
        let (mapping, attributes) = (locations.mapping[row], locations.attributes.row(row));
        self.refer(Table::Mappings, mapping);
        let mut content = key_bytes(mapping) + field_bytes(locations.address[row]) + list_header_bytes(attributes);
        let mut references = varint_len(mapping as usize) + list_bytes(attributes);
        let mut below = self.mapping(mapping) + self.attribute_list(attributes);
        for line in locations.lines.row(row) {
            self.refer(Table::Functions, line.function);
            let function = varint_len(line.function as usize);
            let numbers = field_bytes(line.line as u64) + field_bytes(line.column as u64);
            content += referring_bytes(key_bytes(line.function) + numbers, function);
            references += function;
            below += self.function(line.function);
        }
        referring_bytes(content, references) + below
    }

    fn stack(&mut self, index: u32) -> usize {
        if !self.is_first(Table::Stacks, index) {
            return 0;
        }
        let row = self.dictionary().stacks.row(index as usize);
        let mut locations = 0;
        for &location in row {
            self.references.count(Table::Locations, location);
            locations += self.location(location);
        }
        referring_bytes(list_header_bytes(row), list_bytes(row)) + locations
    }
}
