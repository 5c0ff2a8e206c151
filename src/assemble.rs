//! A request made of a profile in another format: one Resource, one scope, and a dictionary that grows with it.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::columns::Samples;
use crate::decode::Place;
use crate::dictionary::{Attribute, Dictionary, Function, Line, Link, Mapping};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::profile_id::ProfileIds;
use crate::profiles::{Profile, Profiles, Removed, Resource, ResourceProfiles, Scope, ScopeProfiles};
use crate::refusal::Repairs;
use crate::value::{AnyValue, KeyValue};
use crate::wire::Span;

/// What is built of a body in another format. Strings are pieces of the body, or of text that is put behind it.
pub struct Assembly {
    body: Bytes,
    text: Vec<u8>,
    limits: Limits,
    /// The tables; entry 0 of each is the zero value.
    pub dictionary: Dictionary,
    /// The Samples so far.
    pub samples: Samples,
    /// What was set right.
    pub repairs: Repairs,
    stacks: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Assembly {
    /// Nothing yet.
    pub fn new(body: Bytes, limits: &Limits) -> Self {
        let dictionary = Dictionary {
            strings: vec![Span::default()],
            functions: vec![Function::default()],
            links: vec![Link::default()],
            attributes: vec![Attribute::default()],
            ..Dictionary::default()
        };
        let (samples, repairs, stacks, hasher) = Default::default();
        let mut assembly = Self { body, text: vec![], limits: *limits, dictionary, samples, repairs, stacks, hasher };
        assembly.dictionary.stacks.end_row();
        assembly.mapping(Mapping::default(), &[]);
        assembly.location(0, 0, &[]);
        assembly
    }

    /// Refuse one more entry of a table that is full.
    pub fn room(&self, entries: usize, what: &'static str) -> Result<()> {
        let limit = self.limits.max_table_entries;
        if entries < limit { Ok(()) } else { Err(Error::TooMany { what, limit, key: "max_table_entries" }) }
    }

    /// Put text behind the body.
    pub fn append(&mut self, text: &str) -> Span {
        let start = (self.body.len() + self.text.len()) as u32;
        self.text.extend_from_slice(text.as_bytes());
        Span { start, len: text.len() as u32 }
    }

    /// The index of a string that is added.
    pub fn string(&mut self, text: &str) -> u32 {
        let span = self.append(text);
        self.dictionary.strings.push(span);
        self.dictionary.strings.len() as u32 - 1
    }

    /// The index of an attribute that is added.
    pub fn attribute(&mut self, key: u32, value: AnyValue, unit: u32) -> Result<u32> {
        let next = self.dictionary.attributes.len();
        self.room(next, "attributes")?;
        self.dictionary.attributes.push(Attribute { key, value, unit });
        Ok(next as u32)
    }

    /// Add a Mapping.
    pub fn mapping(&mut self, mapping: Mapping, attributes: &[u32]) {
        self.dictionary.mappings.push(mapping);
        self.dictionary.mapping_attributes.items.extend_from_slice(attributes);
        self.dictionary.mapping_attributes.end_row();
    }

    /// Add a Line to the Location that comes next.
    pub fn line(&mut self, line: Line) -> Result<()> {
        self.room(self.dictionary.locations.lines.items.len(), "lines")?;
        self.dictionary.locations.lines.items.push(line);
        Ok(())
    }

    /// Add a Location with the Lines since the last one; its index.
    pub fn location(&mut self, mapping: u32, address: u64, attributes: &[u32]) -> u32 {
        let locations = &mut self.dictionary.locations;
        locations.mapping.push(mapping);
        locations.address.push(address);
        locations.lines.end_row();
        locations.attributes.items.extend_from_slice(attributes);
        locations.attributes.end_row();
        locations.mapping.len() as u32 - 1
    }

    /// The index of a stack of Locations, leaf first: stacks of the same Locations are one.
    pub fn stack(&mut self, locations: &[u32]) -> Result<u32> {
        if locations.is_empty() {
            return Ok(0);
        }
        let limit = self.limits.max_stack_depth;
        if locations.len() > limit {
            return Err(Error::TooMany { what: "frames in one stack", limit, key: "max_stack_depth" });
        }
        let Self { stacks, hasher, dictionary, .. } = self;
        let table = &mut dictionary.stacks;
        let equal = |&index: &u32| table.row(index as usize) == locations;
        let rehash = |&index: &u32| hasher.hash_one(table.row(index as usize));
        match stacks.entry(hasher.hash_one(locations), equal, rehash) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(vacant) => {
                let index = table.len() as u32;
                vacant.insert(index);
                table.items.extend_from_slice(locations);
                table.end_row();
                Ok(index)
            }
        }
    }

    fn resource(&mut self, pairs: &[(String, String)]) -> Result<Option<Resource>> {
        let mut attributes: Vec<KeyValue> = vec![];
        for (index, (key, value)) in pairs.iter().enumerate() {
            if key.is_empty() || pairs[..index].iter().any(|(other, _)| other == key) {
                let what = if key.is_empty() { "without a key".into() } else { format!("{key:?} twice") };
                return Err(Error::Invalid { format: "resource", what: format!("has an attribute {what}") });
            }
            let (key, value) = (self.append(key), self.append(value));
            attributes.push(KeyValue { key, key_index: 0, value: AnyValue::String(value) });
        }
        Ok((!attributes.is_empty()).then(|| Resource { attributes, ..Resource::default() }))
    }

    /// The request: Profiles of one scope of one Resource, each with an id made from the content.
    pub fn finish(
        self,
        resource: &[(String, String)],
        scope: Option<Scope>,
        profiles: Vec<Profile>,
        unknown_fields: u64,
    ) -> Result<Profiles> {
        self.finish_groups([(resource, scope, profiles)], unknown_fields)
    }

    /// The request: Profiles of several Resources, each of one scope.
    pub fn finish_groups<'g>(
        mut self,
        groups: impl IntoIterator<Item = (&'g [(String, String)], Option<Scope>, Vec<Profile>)>,
        unknown_fields: u64,
    ) -> Result<Profiles> {
        let mut resources = vec![];
        for (pairs, scope, profiles) in groups {
            let scopes = vec![ScopeProfiles { scope, profiles, schema_url: Span::default() }];
            resources.push(ResourceProfiles { resource: self.resource(pairs)?, scopes, schema_url: Span::default() });
        }
        let body: Bytes = [&self.body[..], &self.text].concat().into();
        let ids = ProfileIds::new(&body);
        for (place, resource) in resources.iter_mut().enumerate() {
            for (index, profile) in resource.scopes[0].profiles.iter_mut().enumerate() {
                profile.profile_id = ids.make(Place { resource: place, scope: 0, profile: index });
                profile.profile_id_made = true;
            }
        }
        Ok(Profiles {
            body,
            dictionary: Arc::new(self.dictionary),
            resources,
            samples: Arc::new(self.samples),
            rejections: vec![],
            repairs: self.repairs,
            removed: Removed::default(),
            unknown_fields,
            is_collected: false,
            is_body: false,
        })
    }
}
