//! Many requests as one: one dictionary by value, groups of equal value joined, Samples of one identity combined,
//! nothing twice, nothing unreachable, the most used entries first.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::columns::Samples;
use crate::order::{Order, Ranks};
use crate::profiles::{
    Profile, Profiles, Removed, Resource, ResourceProfiles, Scope, ScopeProfiles, Source, ValueType,
};
use crate::refusal::Repairs;
use crate::symbols::{Names, Symbols};
use crate::value::KeyValue;
use crate::wire::{Span, Writer};

/// Beyond so many entries, the symbols kept between merges are forgotten and learnt anew.
const MAX_KEPT_SYMBOLS: usize = 1 << 20;
/// And beyond so many bytes of text.
const MAX_KEPT_TEXT_BYTES: usize = 64 << 20;

/// Merges requests, and remembers their symbols for the next time.
#[derive(Debug, Default)]
pub struct Merger {
    symbols: Symbols,
}

impl Merger {
    /// One request that means what all of them mean together. Profiles stay apart, in the order of the requests:
    /// each has an id and a window of its own.
    pub fn merge(&mut self, requests: &[&Profiles]) -> Profiles {
        if self.symbols.len() > MAX_KEPT_SYMBOLS || self.symbols.text.len() > MAX_KEPT_TEXT_BYTES {
            self.symbols = Symbols::default();
        }
        let mut groups = Groups::default();
        for request in requests {
            groups.add(&mut self.symbols, request);
        }
        groups.finish(&self.symbols)
    }

    /// The number of symbols that are remembered.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }
}

/// The groups of a merged request; Samples and Profiles refer to symbols until the end.
#[derive(Default)]
struct Groups {
    /// What is not in the dictionary: Resources, scopes, payloads.
    text: Vec<u8>,
    resources: Vec<ResourceProfiles>,
    samples: Samples,
    /// Where a Resource of this value stands, and a scope of this value in it.
    resource_places: HashMap<Vec<u8>, usize>,
    scope_places: HashMap<(usize, Vec<u8>), usize>,
    removed: Removed,
}

impl Groups {
    fn add(&mut self, symbols: &mut Symbols, request: &Profiles) {
        let mut names = Names::new(request);
        for group in &request.resources {
            for pair in group.resource.iter().flat_map(|resource| &resource.attributes) {
                names.reach(symbols, pair);
            }
            let resource = self.resource(&names, request, group);
            for scope_group in &group.scopes {
                for pair in scope_group.scope.iter().flat_map(|scope| &scope.attributes) {
                    names.reach(symbols, pair);
                }
                let scope = self.scope(&names, request, resource, scope_group);
                for profile in &scope_group.profiles {
                    let profile = self.profile(&mut names, symbols, request, profile);
                    self.resources[resource].scopes[scope].profiles.push(profile);
                }
            }
        }
        for (table, (reached, orphans)) in names.reached_and_orphans().into_iter().enumerate() {
            // What is there in the end is taken off again.
            self.removed.duplicates[table] += reached;
            self.removed.orphans[table] += orphans;
        }
    }

    fn copied(&mut self, request: &Profiles, span: Span) -> Span {
        append(&mut self.text, request, span)
    }

    /// The place of a Resource: that of an equal one, or a new one.
    fn resource(&mut self, names: &Names<'_>, request: &Profiles, group: &ResourceProfiles) -> usize {
        let inline = |pair: &KeyValue| names.inline_pair(pair);
        let pairs: Option<Vec<_>> = group.resource.as_ref().map(|r| r.attributes.iter().map(inline).collect());
        let mut identity = Writer::default();
        if let (Some(resource), Some(pairs)) = (&group.resource, &pairs) {
            identity.present_uint64(2, u64::from(resource.dropped_attributes_count));
            write_set(&mut identity, 1, pairs, request);
            for entity in &resource.entity_refs {
                identity.present_bytes(3, entity.of(&request.body));
            }
        }
        identity.bytes(4, group.schema_url.of(&request.body));
        let next = self.resources.len();
        let place = *self.resource_places.entry(identity.into_bytes()).or_insert(next);
        if place == next {
            let text = &mut self.text;
            let resource = group.resource.as_ref().zip(pairs).map(|(resource, pairs)| Resource {
                attributes: pairs.iter().map(|p| p.moved(&mut |span| append(text, request, span))).collect(),
                dropped_attributes_count: resource.dropped_attributes_count,
                entity_refs: resource.entity_refs.iter().map(|&span| append(text, request, span)).collect(),
                source: Source::default(),
            });
            let schema_url = self.copied(request, group.schema_url);
            self.resources.push(ResourceProfiles { resource, scopes: vec![], schema_url });
        }
        place
    }

    /// The place of a scope in its Resource: that of an equal one, or a new one.
    fn scope(&mut self, names: &Names<'_>, request: &Profiles, resource: usize, group: &ScopeProfiles) -> usize {
        let inline = |pair: &KeyValue| names.inline_pair(pair);
        let pairs: Option<Vec<_>> = group.scope.as_ref().map(|s| s.attributes.iter().map(inline).collect());
        let mut identity = Writer::default();
        if let (Some(scope), Some(pairs)) = (&group.scope, &pairs) {
            identity.present_uint64(4, u64::from(scope.dropped_attributes_count));
            identity.present_bytes(1, scope.name.of(&request.body));
            identity.present_bytes(2, scope.version.of(&request.body));
            write_set(&mut identity, 3, pairs, request);
        }
        identity.bytes(5, group.schema_url.of(&request.body));
        let next = self.resources[resource].scopes.len();
        let place = *self.scope_places.entry((resource, identity.into_bytes())).or_insert(next);
        if place == next {
            let text = &mut self.text;
            let scope = group.scope.as_ref().zip(pairs).map(|(scope, pairs)| Scope {
                name: append(text, request, scope.name),
                version: append(text, request, scope.version),
                attributes: pairs.iter().map(|p| p.moved(&mut |span| append(text, request, span))).collect(),
                dropped_attributes_count: scope.dropped_attributes_count,
                source: Source::default(),
            });
            let schema_url = self.copied(request, group.schema_url);
            self.resources[resource].scopes.push(ScopeProfiles { scope, profiles: vec![], schema_url });
        }
        place
    }

    fn profile<'a>(
        &mut self,
        names: &mut Names<'a>,
        symbols: &mut Symbols,
        request: &'a Profiles,
        p: &Profile,
    ) -> Profile {
        let mut value_type = |value_type: Option<ValueType>| {
            value_type.map(|ValueType { name, unit }| ValueType {
                name: names.string(symbols, name),
                unit: names.string(symbols, unit),
            })
        };
        let (sample_type, period_type) = (value_type(p.sample_type), value_type(p.period_type));
        Profile {
            sample_type,
            period_type,
            attributes: p.attributes.iter().map(|&index| names.attribute(symbols, index)).collect(),
            rows: self.combine(names, symbols, request, p.rows.clone()),
            original_payload_format: self.copied(request, p.original_payload_format),
            original_payload: self.copied(request, p.original_payload),
            source: Source::default(),
            ..p.clone()
        }
    }

    /// Append a Profile's Samples, those of one identity {stack, set of attributes, link} as one.
    fn combine<'a>(
        &mut self,
        names: &mut Names<'a>,
        symbols: &mut Symbols,
        request: &'a Profiles,
        rows: Range<usize>,
    ) -> Range<usize> {
        let sent = &request.samples;
        let mut first_of: HashMap<Identity, usize> = HashMap::with_capacity(rows.len());
        let mut chains: Vec<Chain> = Vec::with_capacity(rows.len());
        // By row, the next one of its identity.
        let mut next = vec![END; rows.len()];
        for row in rows.clone() {
            let identity = Identity {
                stack: names.stack(symbols, sent.stack[row]),
                link: names.link(symbols, sent.link[row]),
                attributes: names.attribute_set(symbols, sent.attributes.row(row)),
            };
            let first = *first_of.entry(identity).or_insert(chains.len());
            match chains.get_mut(first) {
                Some(chain) => {
                    next[chain.last - rows.start] = row;
                    chain.last = row;
                }
                None => chains.push(Chain { identity, first: row, last: row }),
            }
        }
        let start = self.samples.len();
        for Chain { identity, first, .. } in chains {
            let later = |&row: &usize| Some(next[row - rows.start]).filter(|&row| row != END);
            let chain = std::iter::successors(Some(first), later);
            self.push_chain(sent, chain, identity, names.set(identity.attributes));
        }
        start..self.samples.len()
    }

    /// Append the Samples of one identity: totals are added up, observations follow each other. A total that no int64
    /// holds becomes as few Samples as hold it.
    fn push_chain(&mut self, sent: &Samples, chain: impl Iterator<Item = usize>, id: Identity, attributes: &[u32]) {
        let samples = &mut self.samples;
        let mut total: Option<i128> = None;
        for row in chain {
            match (sent.values.row(row), sent.timestamps.row(row)) {
                (&[value], []) => total = Some(total.unwrap_or(0) + i128::from(value)),
                (values, timestamps) => {
                    samples.values.items.extend_from_slice(values);
                    samples.timestamps.items.extend_from_slice(timestamps);
                }
            }
        }
        loop {
            let fitting = total.map(|total| total.clamp(i64::MIN.into(), i64::MAX.into()));
            samples.attributes.items.extend_from_slice(attributes);
            samples.values.items.extend(fitting.map(|value| value as i64));
            samples.end_row(id.stack, id.link);
            total = total.zip(fitting).map(|(total, fitting)| total - fitting).filter(|&rest| rest != 0);
            if total.is_none() {
                break;
            }
        }
    }

    /// Give every reference its index in the dictionary of what is used.
    fn finish(mut self, symbols: &Symbols) -> Profiles {
        let mut order = Order::new(symbols);
        // In the order in which they will be written and read again, so that a second merge changes nothing.
        for profile in self.resources.iter().flat_map(|r| &r.scopes).flat_map(|s| &s.profiles) {
            for row in profile.rows.clone() {
                let attributes = self.samples.attributes.row(row);
                order.count_sample(self.samples.stack[row], self.samples.link[row], attributes);
            }
            for ValueType { name, unit } in profile.sample_type.into_iter().chain(profile.period_type) {
                order.count_profile(&[name, unit], &[]);
            }
            order.count_profile(&[], &profile.attributes);
        }
        let (dictionary, ranks) = order.dictionary(&mut self.text);
        self.renumber(&ranks);
        for (duplicates, len) in self.removed.duplicates.iter_mut().zip(dictionary.table_lens()) {
            *duplicates -= len as u64 - 1;
        }
        self.resources.iter_mut().for_each(|r| r.scopes.retain(|scope| !scope.profiles.is_empty()));
        self.resources.retain(|resource| !resource.scopes.is_empty());
        Profiles {
            body: self.text.into(),
            dictionary: Arc::new(dictionary),
            resources: self.resources,
            samples: Arc::new(self.samples),
            rejections: vec![],
            repairs: Repairs::default(),
            removed: self.removed,
            unknown_fields: 0,
            is_collected: true,
            is_body: false,
        }
    }

    fn renumber(&mut self, ranks: &Ranks) {
        let Samples { stack, link, attributes, .. } = &mut self.samples;
        for (column, rank) in [(stack, &ranks.stacks), (link, &ranks.links), (&mut attributes.items, &ranks.attributes)]
        {
            rank.renumber(column);
        }
        let profiles = self.resources.iter_mut().flat_map(|r| &mut r.scopes).flat_map(|s| &mut s.profiles);
        for profile in profiles {
            ranks.attributes.renumber(&mut profile.attributes);
            for value_type in profile.sample_type.iter_mut().chain(&mut profile.period_type) {
                value_type.name = ranks.strings.index(value_type.name);
                value_type.unit = ranks.strings.index(value_type.unit);
            }
        }
    }
}

/// A Sample's primary key (profiles.proto, `Sample`), as symbols; the attributes as a set of the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    stack: u32,
    link: u32,
    attributes: u32,
}

/// The rows of one identity: the first, and the last that was met so far.
struct Chain {
    identity: Identity,
    first: usize,
    last: usize,
}

/// The end of a chain of rows.
const END: usize = usize::MAX;

fn append(text: &mut Vec<u8>, request: &Profiles, span: Span) -> Span {
    let start = text.len() as u32;
    text.extend_from_slice(span.of(&request.body));
    Span { start, len: span.len }
}

/// Attributes are a set: their order tells nothing apart.
fn write_set(writer: &mut Writer, field: u32, pairs: &[KeyValue], request: &Profiles) {
    let encoded = pairs.iter().map(|pair| {
        let mut writer = Writer::default();
        pair.write(&mut writer, field, &request.body, &|index| index);
        writer.into_bytes()
    });
    let mut encoded: Vec<_> = encoded.collect();
    encoded.sort_unstable();
    for bytes in &encoded {
        writer.raw(bytes);
    }
}
