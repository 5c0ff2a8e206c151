//! `Profiles`: a decoded and validated request. Frozen: a verb makes a new one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::columns::Samples;
use crate::dictionary::Dictionary;
use crate::refusal::{Rejection, Repairs};
use crate::value::{AnyValue, KeyValue};
use crate::wire::Span;

/// A request. Every index in it is in range, every string UTF-8, every id of its length.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// What strings, bytes and sources are pieces of.
    pub body: Bytes,
    /// `dictionary`
    pub dictionary: Arc<Dictionary>,
    /// `resource_profiles`; none is empty.
    pub resources: Vec<ResourceProfiles>,
    /// The Samples of all Profiles, each Profile's in its `rows`.
    pub samples: Arc<Samples>,
    /// Profiles that were refused, by reason.
    pub rejections: Vec<Rejection>,
    /// What was set right.
    pub repairs: Repairs,
    /// What a merge left out.
    pub removed: Removed,
    /// Unknown fields of the request itself and of its `ResourceProfiles` and `ScopeProfiles`.
    pub unknown_fields: u64,
    /// Whether everything in the dictionary is reached: it was collected when it was made.
    pub is_collected: bool,
    /// Whether `body` is this request, with nothing left out, repaired or added.
    pub is_body: bool,
}

/// Entries of the dictionaries of merged requests that are not in the merged one, by table: those that nothing
/// reached, and those that were there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// in the order of [`TABLES`]
    pub orphans: [u64; 7],
    /// in the order of [`TABLES`]
    pub duplicates: [u64; 7],
}

/// A table of a dictionary, in the order of their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `mapping_table`
    Mappings,
    /// `location_table`
    Locations,
    /// `function_table`
    Functions,
    /// `link_table`
    Links,
    /// `string_table`
    Strings,
    /// `attribute_table`
    Attributes,
    /// `stack_table`
    Stacks,
}

impl Table {
    /// How many there are.
    pub const COUNT: usize = 7;
}

/// The names of the tables, in the order of their fields.
pub const TABLES: [&str; Table::COUNT] = [
    "mapping_table",
    "location_table",
    "function_table",
    "link_table",
    "string_table",
    "attribute_table",
    "stack_table",
];

/// `ResourceProfiles`
#[derive(Debug, Clone, Default)]
pub struct ResourceProfiles {
    /// `resource`
    pub resource: Option<Resource>,
    /// `scope_profiles`; none is empty.
    pub scopes: Vec<ScopeProfiles>,
    /// `schema_url`
    pub schema_url: Span,
}

/// `ScopeProfiles`
#[derive(Debug, Clone, Default)]
pub struct ScopeProfiles {
    /// `scope`
    pub scope: Option<Scope>,
    /// `profiles`
    pub profiles: Vec<Profile>,
    /// `schema_url`
    pub schema_url: Span,
}

/// A message that is passed on as it stands in the body while nothing in it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    /// Where it stands; `None` when it came in parts or was changed.
    pub span: Option<Span>,
    /// Unknown fields in it.
    pub unknown_fields: u64,
}

/// `Resource`
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// `attributes`
    pub attributes: Vec<KeyValue>,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
    /// `entity_refs`, checked and otherwise as they came
    pub entity_refs: Vec<Span>,
    /// Where it stands.
    pub source: Source,
}

/// `InstrumentationScope`
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// `name`
    pub name: Span,
    /// `version`
    pub version: Span,
    /// `attributes`
    pub attributes: Vec<KeyValue>,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
    /// Where it stands.
    pub source: Source,
}

/// `ValueType`, as string-table indices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValueType {
    /// `type_strindex`
    pub name: u32,
    /// `unit_strindex`
    pub unit: u32,
}

/// `Profile`; its Samples are rows of the request's columns.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// `sample_type`
    pub sample_type: Option<ValueType>,
    /// `samples`
    pub rows: Range<usize>,
    /// `time_unix_nano`
    pub time_unix_nano: u64,
    /// `duration_nano`
    pub duration_nano: u64,
    /// `period_type`
    pub period_type: Option<ValueType>,
    /// `period`
    pub period: i64,
    /// `profile_id`; never all zero.
    pub profile_id: [u8; 16],
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
    /// `original_payload_format`
    pub original_payload_format: Span,
    /// `original_payload`
    pub original_payload: Span,
    /// `attribute_indices`
    pub attributes: Vec<u32>,
    /// Where it stands, but for a `profile_id` that was made.
    pub source: Source,
    /// Whether `profile_id` does not stand in the source.
    pub profile_id_made: bool,
}

impl Profiles {
    /// Every Profile with the groups it stands in.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceProfiles, &ScopeProfiles, &Profile)> {
        self.resources.iter().flat_map(|resource| {
            resource.scopes.iter().flat_map(move |scope| scope.profiles.iter().map(move |p| (resource, scope, p)))
        })
    }

    /// The number of Profiles.
    pub fn profile_count(&self) -> usize {
        self.iter().count()
    }

    /// The number of Samples; the columns may hold those of other pieces too.
    pub fn sample_count(&self) -> usize {
        self.iter().map(|(_, _, profile)| profile.rows.len()).sum()
    }

    /// A string of the dictionary.
    pub fn string(&self, index: u32) -> &[u8] {
        self.dictionary.string(&self.body, index)
    }

    /// The `service.name` of a resource.
    pub fn service(&self, group: &ResourceProfiles) -> &[u8] {
        group.resource.as_ref().and_then(|r| r.service(&self.body, &self.dictionary)).unwrap_or(UNKNOWN_SERVICE)
    }

    /// The name and unit of a Profile's samples; empty when it has no sample type.
    pub fn sample_type(&self, profile: &Profile) -> (&[u8], &[u8]) {
        let sample_type = profile.sample_type.unwrap_or_default();
        (self.string(sample_type.name), self.string(sample_type.unit))
    }

    /// Bytes of memory that this keeps alive.
    pub fn memory_bytes(&self) -> usize {
        let groups = self.resources.iter().map(|r| {
            let attributes = r.resource.as_ref().map_or(0, |r| r.attributes.capacity() * size_of::<KeyValue>());
            let scopes =
                r.scopes.iter().map(|s| size_of::<ScopeProfiles>() + s.profiles.capacity() * size_of::<Profile>());
            size_of::<ResourceProfiles>() + attributes + scopes.sum::<usize>()
        });
        size_of::<Self>()
            + self.body.len()
            + self.dictionary.memory_bytes()
            + self.samples.memory_bytes()
            + groups.sum::<usize>()
    }
}

impl Profile {
    /// Take `original_payload` and its format out; whether there was one.
    pub fn drop_payload(&mut self) -> bool {
        let has_payload = self.original_payload.len > 0;
        if has_payload {
            (self.original_payload, self.original_payload_format) = (Span::default(), Span::default());
        }
        has_payload
    }
}

impl ResourceProfiles {
    /// The group without what is in it.
    #[must_use]
    pub fn shallow(&self) -> Self {
        Self { resource: self.resource.clone(), scopes: vec![], schema_url: self.schema_url }
    }
}

impl ScopeProfiles {
    /// The group without what is in it.
    #[must_use]
    pub fn shallow(&self) -> Self {
        Self { scope: self.scope.clone(), profiles: vec![], schema_url: self.schema_url }
    }
}

/// What stands for a missing `service.name`, by the resource semantic conventions.
const UNKNOWN_SERVICE: &[u8] = b"unknown_service";

impl Resource {
    /// The value of `service.name`, when it is a string and not empty.
    pub fn service<'b>(&self, body: &'b [u8], dictionary: &Dictionary) -> Option<&'b [u8]> {
        self.text(b"service.name", body, dictionary)
    }

    /// The value of an attribute, when it is a string and not empty.
    pub fn text<'b>(&self, name: &[u8], body: &'b [u8], dictionary: &Dictionary) -> Option<&'b [u8]> {
        let string = |index: u32| dictionary.strings.get(index as usize).map(|span| span.of(body));
        let pair = self.attributes.iter().find(|pair| {
            let key = if pair.key_index == 0 { Some(pair.key.of(body)) } else { string(pair.key_index) };
            key == Some(name)
        })?;
        let text = match pair.value {
            AnyValue::String(span) => Some(span.of(body)),
            AnyValue::StringIndex(index) => string(index),
            _ => None,
        };
        text.filter(|text| !text.is_empty())
    }
}
