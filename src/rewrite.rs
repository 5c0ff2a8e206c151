//! A request made of another one: what does not change is shared, and what is added stands behind what was there.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::columns::Samples;
use crate::dictionary::{Attribute, Dictionary, Link};
use crate::limits::Limits;
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::refusal::{Rejection, Repairs};
use crate::value::AnyValue;
use crate::wire::Span;

/// What is built of a request while it is read.
pub struct Rewrite<'a> {
    source: &'a Profiles,
    dictionary: Arc<Dictionary>,
    /// What is appended to the body.
    text: Vec<u8>,
    strings: FxHashMap<Vec<u8>, u32>,
    links: FxHashMap<Link, u32>,
    attributes: FxHashMap<(u32, u32), u32>,
    /// The Samples so far.
    pub samples: Samples,
    /// Why Profiles were refused on the way.
    pub rejections: Vec<Rejection>,
}

impl<'a> Rewrite<'a> {
    /// Nothing is taken over yet.
    pub fn new(source: &'a Profiles) -> Self {
        Self {
            source,
            dictionary: Arc::clone(&source.dictionary),
            text: vec![],
            strings: FxHashMap::default(),
            links: FxHashMap::default(),
            attributes: FxHashMap::default(),
            samples: Samples::with_room_of(&source.samples),
            rejections: vec![],
        }
    }

    /// The request that is rewritten.
    pub fn source(&self) -> &'a Profiles {
        self.source
    }

    /// The dictionary, to be changed: it is no longer what stands in the body.
    fn changed_dictionary(&mut self) -> &mut Dictionary {
        let dictionary = Arc::make_mut(&mut self.dictionary);
        dictionary.source = None;
        dictionary
    }

    /// The index of a string that is added.
    pub fn string(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.strings.get(text.as_bytes()) {
            return index;
        }
        let start = (self.source.body.len() + self.text.len()) as u32;
        self.text.extend_from_slice(text.as_bytes());
        let dictionary = self.changed_dictionary();
        dictionary.strings.push(Span { start, len: text.len() as u32 });
        let index = dictionary.strings.len() as u32 - 1;
        self.strings.insert(text.as_bytes().to_vec(), index);
        index
    }

    /// The index of a Link that is added.
    pub fn link(&mut self, link: Link) -> u32 {
        if let Some(&index) = self.links.get(&link) {
            return index;
        }
        let dictionary = self.changed_dictionary();
        dictionary.links.push(link);
        let index = dictionary.links.len() as u32 - 1;
        self.links.insert(link, index);
        index
    }

    /// The index of an attribute with a text that is added.
    pub fn text_attribute(&mut self, key: &str, text: &str) -> u32 {
        let (key, text) = (self.string(key), self.string(text));
        if let Some(&index) = self.attributes.get(&(key, text)) {
            return index;
        }
        let dictionary = self.changed_dictionary();
        let value = AnyValue::String(dictionary.strings[text as usize]);
        dictionary.attributes.push(Attribute { key, value, unit: 0 });
        let index = dictionary.attributes.len() as u32 - 1;
        self.attributes.insert((key, text), index);
        index
    }

    /// The attributes of a Profile with one set: an attribute of the same key gives way. A Profile that has as many
    /// as a reader takes by default stays as it is, since it would be refused further on.
    pub fn marked(&mut self, attributes: &[u32], key: &str, text: &str) -> Vec<u32> {
        if attributes.len() >= Limits::default().max_attributes {
            return attributes.to_vec();
        }
        let added = self.text_attribute(key, text);
        let key = |index: u32| self.source_string(self.dictionary.attributes[index as usize].key);
        let added_key = key(added);
        let kept = attributes.iter().copied().filter(|&index| key(index) != added_key);
        kept.chain([added]).collect()
    }

    fn source_string(&self, index: u32) -> Vec<u8> {
        let span = self.dictionary.strings[index as usize];
        let body = self.source.body.len() as u32;
        if span.start >= body && span.len > 0 {
            Span { start: span.start - body, ..span }.of(&self.text).to_vec()
        } else {
            span.of(&self.source.body).to_vec()
        }
    }

    /// Take a Profile's Samples over as they are.
    pub fn keep(&mut self, profile: &Profile) -> Profile {
        let start = self.samples.len();
        self.samples.extend_from(&self.source.samples, profile.rows.clone());
        Profile { rows: start..self.samples.len(), ..profile.clone() }
    }

    /// The request of what `rewrite` makes of each Profile; groups in which nothing is left are left out.
    pub fn finish(
        mut self,
        mut rewrite: impl FnMut(&mut Self, &ResourceProfiles, &ScopeProfiles, &Profile) -> Vec<Profile>,
    ) -> Profiles {
        let source = self.source;
        let mut resources = vec![];
        for resource in &source.resources {
            let mut scopes = vec![];
            for scope in &resource.scopes {
                let made = scope.profiles.iter().flat_map(|profile| rewrite(&mut self, resource, scope, profile));
                let profiles: Vec<_> = made.collect();
                if !profiles.is_empty() {
                    scopes.push(ScopeProfiles { profiles, ..scope.shallow() });
                }
            }
            if !scopes.is_empty() {
                resources.push(ResourceProfiles { scopes, ..resource.shallow() });
            }
        }
        let body =
            if self.text.is_empty() { source.body.clone() } else { [&source.body[..], &self.text].concat().into() };
        Profiles {
            body,
            dictionary: self.dictionary,
            resources,
            samples: Arc::new(self.samples),
            rejections: self.rejections,
            repairs: Repairs::default(),
            removed: source.removed,
            unknown_fields: source.unknown_fields,
            is_collected: false,
            is_body: false,
        }
    }
}
