//! One request as several, each under a size on the wire: cut between Samples, each piece with what it reaches.
//!
//! Sizes are upper bounds, counted with the indices of the whole: a piece's own indices are never larger, since
//! collection keeps the order of the entries that stay.

use std::ops::Range;
use std::sync::Arc;

use crate::dictionary::Dictionary;
use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::refusal::Repairs;
use crate::value::KeyValue;
use crate::wire::{Writer, varint_len};

/// A key of one byte, and a length of at most five.
const HEADER_BYTES: usize = 6;
/// All fixed fields of a Profile, with its `profile_id` and types, at their largest.
const PROFILE_BYTES: usize = 128;
/// The zero entries of seven tables, and the dictionary's own header.
const EMPTY_DICTIONARY_BYTES: usize = 7 * 2 + HEADER_BYTES;
/// How much the bound may be over the limit for it to be worth writing the request to know its size.
const WORTH_A_TRY_PERCENT: usize = 125;

impl Profiles {
    /// Pieces that take at most `max_bytes` each; see `_core.pyi`.
    pub fn split(self: &Arc<Self>, max_bytes: usize) -> Vec<Arc<Self>> {
        let mut bound = Splitter::new(self, usize::MAX);
        bound.cut();
        let whole = bound.bytes;
        let fits = whole <= max_bytes
            || self.resources.is_empty()
            || (whole <= max_bytes.saturating_mul(WORTH_A_TRY_PERCENT) / 100 && self.to_otlp().0.len() <= max_bytes);
        if fits {
            return vec![Arc::clone(self)];
        }
        let mut splitter = Splitter::new(self, max_bytes);
        splitter.cut();
        splitter.pieces.into_iter().map(Arc::new).collect()
    }
}

/// Fills one piece after the other.
struct Splitter<'a> {
    whole: &'a Profiles,
    max_bytes: usize,
    pieces: Vec<Profiles>,
    /// The piece that is being filled: its groups, and the bound of its size.
    groups: Vec<ResourceProfiles>,
    bytes: usize,
    /// Where the last Profile of the piece stands in the whole.
    open: Option<[usize; 3]>,
    reached: ReachedBytes<'a>,
}

impl<'a> Splitter<'a> {
    fn new(whole: &'a Profiles, max_bytes: usize) -> Self {
        let reached = ReachedBytes::new(whole);
        Self { whole, max_bytes, pieces: vec![], groups: vec![], bytes: EMPTY_DICTIONARY_BYTES, open: None, reached }
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
            let mut needed = self.needed_bytes(place, profile, row, is_open);
            let holds_something = is_open || !self.groups.is_empty();
            if holds_something && self.bytes.saturating_add(needed) > self.max_bytes {
                let next = row.unwrap_or(start);
                if is_open {
                    self.end_part(place, profile, start..next, parts);
                    parts += 1;
                }
                self.close();
                start = next;
                needed = self.needed_bytes(place, profile, row, false);
            }
            self.bytes += needed;
            is_open = true;
        }
        self.end_part(place, profile, start..profile.rows.end, parts);
    }

    /// The bound of what a Sample adds to the piece, with what its Profile adds where that is not open yet.
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
                dictionary: Arc::clone(&whole.dictionary),
                resources,
                samples: Arc::clone(&whole.samples),
                rejections: vec![],
                repairs: Repairs::default(),
                removed: whole.removed,
                unknown_fields: 0,
                is_body: false,
            });
        }
        self.bytes = EMPTY_DICTIONARY_BYTES;
        self.open = None;
        self.reached.forget();
    }
}

/// The bounds of what a piece takes, each dictionary entry counted when it is first reached.
struct ReachedBytes<'a> {
    whole: &'a Profiles,
    piece: u32,
    /// The last piece that reached each entry, by table.
    strings: Vec<u32>,
    functions: Vec<u32>,
    mappings: Vec<u32>,
    attributes: Vec<u32>,
    locations: Vec<u32>,
    links: Vec<u32>,
    stacks: Vec<u32>,
}

/// Whether this is the first time that a piece reaches an entry. Entry 0 is always there.
fn is_first(table: &mut [u32], index: u32, piece: u32) -> bool {
    index != 0 && std::mem::replace(&mut table[index as usize], piece) != piece
}

fn packed_bytes(indices: &[u32]) -> usize {
    let bytes: usize = indices.iter().map(|&index| varint_len(index as usize)).sum();
    if bytes == 0 { 0 } else { 1 + varint_len(bytes) + bytes }
}

fn message_bytes(bytes: usize) -> usize {
    1 + varint_len(bytes) + bytes
}

/// A varint field, left out when zero.
fn field_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value as usize) }
}

impl<'a> ReachedBytes<'a> {
    fn new(whole: &'a Profiles) -> Self {
        let d = &whole.dictionary;
        Self {
            whole,
            piece: 1,
            strings: vec![0; d.strings.len()],
            functions: vec![0; d.functions.len()],
            mappings: vec![0; d.mappings.len()],
            attributes: vec![0; d.attributes.len()],
            locations: vec![0; d.locations.mapping.len()],
            links: vec![0; d.links.len()],
            stacks: vec![0; d.stacks.len()],
        }
    }

    /// A new piece: nothing is reached.
    fn forget(&mut self) {
        self.piece += 1;
    }

    fn dictionary(&self) -> &'a Dictionary {
        &self.whole.dictionary
    }

    fn sample(&mut self, row: usize) -> usize {
        let samples = &self.whole.samples;
        let attributes = samples.attributes.row(row);
        let values: usize = samples.values.row(row).iter().map(|&value| varint_len(value as usize)).sum();
        let timestamps = 8 * samples.timestamps.range(row).len();
        let fields = field_bytes(u64::from(samples.stack[row]))
            + packed_bytes(attributes)
            + field_bytes(u64::from(samples.link[row]))
            + if values == 0 { 0 } else { message_bytes(values) }
            + if timestamps == 0 { 0 } else { message_bytes(timestamps) };
        message_bytes(fields)
            + self.stack(samples.stack[row])
            + self.link(samples.link[row])
            + self.attribute_list(attributes)
    }

    fn profile(&mut self, profile: &Profile) -> usize {
        let payload = profile.original_payload.len as usize + profile.original_payload_format.len as usize;
        let types = [profile.sample_type, profile.period_type].map(Option::unwrap_or_default);
        let strings: usize = types.iter().map(|t| self.string(t.name) + self.string(t.unit)).sum();
        PROFILE_BYTES + payload + packed_bytes(&profile.attributes) + strings + self.attribute_list(&profile.attributes)
    }

    fn resource(&mut self, group: &ResourceProfiles) -> usize {
        let attributes = group.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let entities = group.resource.iter().flat_map(|resource| &resource.entity_refs);
        let fixed = group.schema_url.len as usize + entities.map(|e| HEADER_BYTES + e.len as usize).sum::<usize>();
        let source = group.resource.as_ref().and_then(|resource| resource.source.span);
        4 * HEADER_BYTES + fixed + self.pairs(attributes).max(source.map_or(0, |span| span.len as usize))
    }

    fn scope(&mut self, group: &ScopeProfiles) -> usize {
        let attributes = group.scope.as_ref().map_or(&[][..], |scope| &scope.attributes);
        let named = group.scope.iter().map(|scope| scope.name.len + scope.version.len).sum::<u32>();
        let source = group.scope.as_ref().and_then(|scope| scope.source.span);
        let written = self.pairs(attributes) + named as usize + 2 * HEADER_BYTES;
        4 * HEADER_BYTES + group.schema_url.len as usize + written.max(source.map_or(0, |span| span.len as usize))
    }

    fn pairs(&mut self, pairs: &[KeyValue]) -> usize {
        let mut strings = 0;
        let mut writer = Writer::default();
        for pair in pairs {
            pair.write(&mut writer, 1, &self.whole.body, &|index| index);
            pair.string_indices(&mut |index| strings += self.string(index));
        }
        writer.into_bytes().len() + strings
    }

    fn string(&mut self, index: u32) -> usize {
        let first = is_first(&mut self.strings, index, self.piece);
        if first { message_bytes(self.dictionary().strings[index as usize].len as usize) } else { 0 }
    }

    fn link(&mut self, index: u32) -> usize {
        // 16 and 8 bytes, each with key and length.
        if is_first(&mut self.links, index, self.piece) { message_bytes(18 + 10) } else { 0 }
    }

    fn attribute_list(&mut self, indices: &[u32]) -> usize {
        indices.iter().map(|&index| self.attribute(index)).sum()
    }

    fn attribute(&mut self, index: u32) -> usize {
        if !is_first(&mut self.attributes, index, self.piece) {
            return 0;
        }
        let attribute = &self.dictionary().attributes[index as usize];
        let mut writer = Writer::default();
        attribute.value.write(&mut writer, 2, &self.whole.body, &|index| index);
        let fields = field_bytes(u64::from(attribute.key)) + field_bytes(u64::from(attribute.unit));
        let mut bytes = message_bytes(fields + writer.into_bytes().len());
        bytes += self.string(attribute.key) + self.string(attribute.unit);
        attribute.value.string_indices(&mut |index| bytes += self.string(index));
        bytes
    }

    fn function(&mut self, index: u32) -> usize {
        if !is_first(&mut self.functions, index, self.piece) {
            return 0;
        }
        let function = self.dictionary().functions[index as usize];
        let names = [function.name, function.system_name, function.filename];
        let fields: usize = names.iter().map(|&name| field_bytes(u64::from(name))).sum();
        let strings: usize = names.iter().map(|&name| self.string(name)).sum();
        message_bytes(fields + field_bytes(function.start_line as u64)) + strings
    }

    fn mapping(&mut self, index: u32) -> usize {
        if !is_first(&mut self.mappings, index, self.piece) {
            return 0;
        }
        let d = self.dictionary();
        let (mapping, attributes) = (d.mappings[index as usize], d.mapping_attributes.row(index as usize));
        let numbers = [mapping.memory_start, mapping.memory_limit, mapping.file_offset, u64::from(mapping.filename)];
        let fields: usize = numbers.iter().map(|&number| field_bytes(number)).sum();
        message_bytes(fields + packed_bytes(attributes))
            + self.string(mapping.filename)
            + self.attribute_list(attributes)
    }

    fn location(&mut self, index: u32) -> usize {
        if !is_first(&mut self.locations, index, self.piece) {
            return 0;
        }
        let (row, locations) = (index as usize, &self.dictionary().locations);
        let attributes = locations.attributes.row(row);
        let mut fields = field_bytes(u64::from(locations.mapping[row])) + field_bytes(locations.address[row]);
        let mut below = self.mapping(locations.mapping[row]) + self.attribute_list(attributes);
        for line in locations.lines.row(row) {
            let numbers = [u64::from(line.function), line.line as u64, line.column as u64];
            fields += message_bytes(numbers.iter().map(|&number| field_bytes(number)).sum());
            below += self.function(line.function);
        }
        message_bytes(fields + packed_bytes(attributes)) + below
    }

    fn stack(&mut self, index: u32) -> usize {
        if !is_first(&mut self.stacks, index, self.piece) {
            return 0;
        }
        let row = self.dictionary().stacks.row(index as usize);
        let locations: usize = row.iter().map(|&location| self.location(location)).sum();
        message_bytes(packed_bytes(row)) + locations
    }
}
