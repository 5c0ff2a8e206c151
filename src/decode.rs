//! From the wire to `Profiles`: the dictionary first, then each Profile, judged on its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::columns::Samples;
use crate::dictionary::{Dictionary, DictionaryReader};
use crate::error::{Error, Result};
use crate::inflate::inflate;
use crate::limits::Limits;
use crate::normalise::normalise;
use crate::profile_id::{Derived, ProfileIds, derived_id};
use crate::profiles::{
    Profile, Profiles, Removed, Resource, ResourceProfiles, Scope, ScopeProfiles, Source, ValueType,
};
use crate::refusal::{Checked, Fault, Reason, Rejection, Repair, Repairs, shown};
use crate::validate::Validator;
use crate::value::ValueReader;
use crate::wire::{Reader, Span};

impl Profiles {
    /// Read a request of the current revision; `revision::decode` reads older ones too.
    ///
    /// # Errors
    /// When nothing of it can be used; a bad Profile in a good request is in `rejections` instead.
    pub fn decode(body: Bytes, limits: &Limits) -> Result<Self> {
        let body = inflate(body, limits.max_body_bytes)?;
        Reading::of(body, limits, &[]).map(|reading| reading.profiles)
    }
}

/// A request that was read, and which of its Profiles were refused.
pub struct Reading {
    /// The others.
    pub profiles: Profiles,
    /// In the order of the request.
    pub refused: Vec<Place>,
}

impl Reading {
    /// Read an inflated body. `known` are Profiles that are to be refused whatever stands in them, in the order of
    /// the request.
    ///
    /// # Errors
    /// When nothing of it can be used.
    pub fn of(body: Bytes, limits: &Limits, known: &[(Place, Fault)]) -> Result<Self> {
        let outline = Outline::read(&body)?;
        let mut values = ValueReader::new(&body, limits);
        let mut tables = DictionaryReader::new(&body, limits, &mut values);
        for &span in &outline.dictionaries {
            tables.read(Reader::new(&body, span, "ProfilesDictionary"))?;
        }
        let is_missing = tables.is_empty();
        let (mut dictionary, faults, repairs) = tables.finish(&outline.dictionaries);
        let mut request = RequestReader {
            body: &body,
            limits,
            dictionary: &dictionary,
            dictionary_is_missing: is_missing,
            validator: Validator::new(&body, limits, &dictionary, faults),
            values,
            ids: ProfileIds::new(&body),
            samples: Samples::default(),
            profile_count: 0,
            known,
            rejections: vec![],
            refused: vec![],
            repairs,
            unknown_fields: outline.unknown_fields,
            is_body: true,
        };
        let mut resources = vec![];
        for (index, &span) in outline.resources.iter().enumerate() {
            let group = request.resource_profiles(Reader::new(&body, span, "ResourceProfiles"), index)?;
            request.keep(group, |group| group.scopes.is_empty(), &mut resources);
        }
        let RequestReader { validator, samples, rejections, refused, repairs, unknown_fields, is_body, .. } = request;
        let faults = validator.into_faults();
        dictionary.clear(&faults);
        let is_body = is_body && dictionary.source.is_some() && rejections.is_empty() && repairs == Repairs::default();
        let profiles = Profiles {
            body,
            dictionary: Arc::new(dictionary),
            resources,
            samples: Arc::new(samples),
            rejections,
            repairs,
            removed: Removed::default(),
            unknown_fields,
            is_collected: false,
            is_body,
        };
        Ok(Self { profiles, refused })
    }
}

/// Where the parts of a request stand. The dictionary comes last on the wire and is needed first.
struct Outline {
    resources: Vec<Span>,
    dictionaries: Vec<Span>,
    unknown_fields: u64,
}

impl Outline {
    fn read(body: &[u8]) -> Result<Self> {
        let mut outline = Self { resources: vec![], dictionaries: vec![], unknown_fields: 0 };
        let whole = Span { start: 0, len: body.len() as u32 };
        let mut request = Reader::new(body, whole, "ExportProfilesServiceRequest");
        while let Some((number, wire)) = request.next_field()? {
            match number {
                1 => {
                    let span = request.span(wire, "ExportProfilesServiceRequest.resource_profiles")?;
                    // An empty one says nothing; a body full of them must not fill the memory.
                    if span.len > 0 {
                        outline.resources.push(span);
                    }
                }
                2 => outline.dictionaries.push(request.span(wire, "ExportProfilesServiceRequest.dictionary")?),
                _ => {
                    request.skip(number, wire)?;
                    outline.unknown_fields += 1;
                }
            }
        }
        Ok(outline)
    }
}

/// Reads the groups and Profiles of a request whose dictionary is known.
struct RequestReader<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    dictionary: &'a Dictionary,
    dictionary_is_missing: bool,
    validator: Validator<'a>,
    values: ValueReader<'a>,
    ids: ProfileIds<'a>,
    samples: Samples,
    profile_count: usize,
    known: &'a [(Place, Fault)],
    rejections: Vec<Rejection>,
    refused: Vec<Place>,
    repairs: Repairs,
    unknown_fields: u64,
    is_body: bool,
}

/// Where a Profile stands in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// index in `resource_profiles`
    pub resource: usize,
    /// index in `scope_profiles`
    pub scope: usize,
    /// index in `profiles`
    pub profile: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, scope, profile } = self;
        write!(f, "resource_profiles[{resource}].scope_profiles[{scope}].profiles[{profile}]")
    }
}

/// What the Profiles of a group share: its service, and what is wrong with the group.
#[derive(Clone, Copy)]
struct Group<'g> {
    service: Option<&'g [u8]>,
    fault: Option<&'g Fault>,
}

impl<'a> RequestReader<'a> {
    /// Keep a group unless nothing is left in it.
    fn keep<T>(&mut self, group: T, is_empty: impl Fn(&T) -> bool, into: &mut Vec<T>) {
        if is_empty(&group) {
            self.is_body = false;
        } else {
            into.push(group);
        }
    }

    fn resource_profiles(&mut self, mut message: Reader<'a>, index: usize) -> Result<ResourceProfiles> {
        let mut group = ResourceProfiles::default();
        let mut scopes = vec![];
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => self.resource(message.message(wire, "ResourceProfiles.resource")?, &mut group.resource)?,
                2 => scopes.push(message.message(wire, "ResourceProfiles.scope_profiles")?),
                3 => group.schema_url = self.values.string(&mut message, wire, "ResourceProfiles.schema_url")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        self.unknown_fields += self.values.take_unknown();
        let attributes = group.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let references = self.validator.check_references("Resource", attributes);
        let fault = self.values.take_fault().or(references.err());
        let service = group.resource.as_ref().and_then(|r| r.service(self.body, self.dictionary));
        let (mut kept, shared) = (vec![], Group { service, fault: fault.as_ref() });
        for (scope, message) in scopes.into_iter().enumerate() {
            let place = Place { resource: index, scope, profile: 0 };
            let scope = self.scope_profiles(message, shared, place)?;
            self.keep(scope, |scope| scope.profiles.is_empty(), &mut kept);
        }
        group.scopes = kept;
        Ok(group)
    }

    fn scope_profiles(&mut self, mut message: Reader<'a>, group: Group<'_>, place: Place) -> Result<ScopeProfiles> {
        let mut scope = ScopeProfiles::default();
        let mut profiles = vec![];
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => self.scope(message.message(wire, "ScopeProfiles.scope")?, &mut scope.scope)?,
                2 => {
                    self.count_profile()?;
                    profiles.push(message.message(wire, "ScopeProfiles.profiles")?);
                }
                3 => scope.schema_url = self.values.string(&mut message, wire, "ScopeProfiles.schema_url")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        self.unknown_fields += self.values.take_unknown();
        let attributes = scope.scope.as_ref().map_or(&[][..], |scope| &scope.attributes);
        let references = self.validator.check_references("InstrumentationScope", attributes);
        let fault = group.fault.cloned().or(self.values.take_fault()).or(references.err());
        for (profile, message) in profiles.into_iter().enumerate() {
            let group = Group { fault: fault.as_ref(), ..group };
            self.profile(message, group, Place { profile, ..place }, &mut scope.profiles)?;
        }
        Ok(scope)
    }

    fn count_profile(&mut self) -> Result<()> {
        let limit = self.limits.max_profiles;
        if self.profile_count == limit {
            return Err(Error::TooMany { what: "Profiles", limit, key: "max_profiles" });
        }
        self.profile_count += 1;
        Ok(())
    }

    fn resource(&mut self, mut message: Reader<'a>, into: &mut Option<Resource>) -> Result<()> {
        // A message that comes twice goes on where the first left off, by the protobuf specification.
        let span = into.is_none().then(|| message.remaining());
        let outer = self.values.take_unknown();
        let resource = into.get_or_insert_default();
        let unknown = resource.source.unknown_fields;
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => {
                    let attribute = message.message(wire, "Resource.attributes")?;
                    self.values.attribute(attribute, &mut resource.attributes, "Resource")?;
                }
                2 => {
                    let count = message.uint64(wire, "Resource.dropped_attributes_count")?;
                    resource.dropped_attributes_count = count as u32;
                }
                3 => {
                    let entity = message.message(wire, "Resource.entity_refs")?;
                    self.entity_ref(entity)?;
                    resource.entity_refs.push(entity.remaining());
                }
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        resource.source = Source { span, unknown_fields: unknown + self.values.take_unknown() };
        self.unknown_fields += outer;
        Ok(())
    }

    /// `EntityRef` is passed on as it is, once its strings are known to be some.
    fn entity_ref(&mut self, mut message: Reader<'a>) -> Result<()> {
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => drop(self.values.string(&mut message, wire, "EntityRef.schema_url")?),
                2 => drop(self.values.string(&mut message, wire, "EntityRef.type")?),
                3 => drop(self.values.string(&mut message, wire, "EntityRef.id_keys")?),
                4 => drop(self.values.string(&mut message, wire, "EntityRef.description_keys")?),
                _ => message.skip(number, wire)?,
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut message: Reader<'a>, into: &mut Option<Scope>) -> Result<()> {
        let span = into.is_none().then(|| message.remaining());
        let outer = self.values.take_unknown();
        let scope = into.get_or_insert_default();
        let unknown = scope.source.unknown_fields;
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => scope.name = self.values.string(&mut message, wire, "InstrumentationScope.name")?,
                2 => scope.version = self.values.string(&mut message, wire, "InstrumentationScope.version")?,
                3 => {
                    let attribute = message.message(wire, "InstrumentationScope.attributes")?;
                    self.values.attribute(attribute, &mut scope.attributes, "InstrumentationScope")?;
                }
                4 => {
                    let count = message.uint64(wire, "InstrumentationScope.dropped_attributes_count")?;
                    scope.dropped_attributes_count = count as u32;
                }
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        scope.source = Source { span, unknown_fields: unknown + self.values.take_unknown() };
        self.unknown_fields += outer;
        Ok(())
    }

    /// Read a Profile, and keep it or refuse it.
    fn profile(&mut self, message: Reader<'a>, group: Group<'_>, place: Place, into: &mut Vec<Profile>) -> Result<()> {
        let first_row = self.samples.len();
        let (mut profile, profile_id) = self.profile_fields(message)?;
        let known =
            self.known.binary_search_by_key(&place, |&(place, _)| place).map(|index| self.known[index].1.clone());
        let read = self.values.take_fault().or(known.ok());
        let checked = match group.fault.cloned().or(read) {
            Some(fault) => Err(fault),
            None => self.check_profile(&profile, profile_id),
        };
        let normalised =
            checked.and_then(|()| normalise(&mut profile, &mut self.samples, first_row, &mut self.repairs));
        match normalised {
            Ok(sibling) => {
                self.give_id(&mut profile, profile_id, place);
                let profile_id = profile.profile_id;
                into.push(profile);
                into.extend(
                    sibling.map(|sibling| Profile { profile_id: derived_id(profile_id, Derived::Untimed), ..sibling }),
                );
            }
            Err(fault) => {
                let samples = profile.rows.len();
                self.samples.truncate(first_row);
                self.refuse(&fault, group.service, place, samples);
            }
        }
        Ok(())
    }

    fn profile_fields(&mut self, mut message: Reader<'a>) -> Result<(Profile, &'a [u8])> {
        let first_row = self.samples.len();
        let mut p =
            Profile { source: Source { span: Some(message.remaining()), unknown_fields: 0 }, ..Profile::default() };
        let mut profile_id: &[u8] = &[];
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => self.value_type(message.message(wire, "Profile.sample_type")?, &mut p.sample_type)?,
                2 => self.sample(message.message(wire, "Profile.samples")?)?,
                3 => p.time_unix_nano = message.fixed64(wire, "Profile.time_unix_nano")?,
                4 => p.duration_nano = message.uint64(wire, "Profile.duration_nano")?,
                5 => self.value_type(message.message(wire, "Profile.period_type")?, &mut p.period_type)?,
                6 => p.period = message.uint64(wire, "Profile.period")? as i64,
                7 => profile_id = message.span(wire, "Profile.profile_id")?.of(self.body),
                8 => {
                    let count = message.uint64(wire, "Profile.dropped_attributes_count")?;
                    p.dropped_attributes_count = count as u32;
                }
                9 => {
                    let format = self.values.string(&mut message, wire, "Profile.original_payload_format")?;
                    p.original_payload_format = format;
                }
                10 => p.original_payload = message.span(wire, "Profile.original_payload")?,
                11 => message.indices(wire, &mut p.attributes, "Profile.attribute_indices")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        p.rows = first_row..self.samples.len();
        p.source.unknown_fields = self.values.take_unknown();
        Ok((p, profile_id))
    }

    fn value_type(&mut self, mut message: Reader<'a>, into: &mut Option<ValueType>) -> Result<()> {
        let value_type = into.get_or_insert_default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => value_type.name = message.index(wire, "ValueType.type_strindex")?,
                2 => value_type.unit = message.index(wire, "ValueType.unit_strindex")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        Ok(())
    }

    fn sample(&mut self, mut message: Reader<'a>) -> Result<()> {
        let limit = self.limits.max_table_entries;
        if self.samples.len() == limit {
            return Err(Error::TooMany { what: "Samples", limit, key: "max_table_entries" });
        }
        let (mut stack, mut link) = (0, 0);
        let samples = &mut self.samples;
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => stack = message.index(wire, "Sample.stack_index")?,
                2 => message.indices(wire, &mut samples.attributes.items, "Sample.attribute_indices")?,
                3 => link = message.index(wire, "Sample.link_index")?,
                4 => message.int64s(wire, &mut samples.values.items, "Sample.values")?,
                5 => message.fixed64s(wire, &mut samples.timestamps.items, "Sample.timestamps_unix_nano")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        samples.end_row(stack, link);
        Ok(())
    }

    fn check_profile(&self, profile: &Profile, profile_id: &[u8]) -> Checked {
        if self.dictionary_is_missing && !profile.rows.is_empty() {
            return Err(Fault::new(Reason::MissingDictionary, "the request has no dictionary"));
        }
        if !matches!(profile_id.len(), 0 | 16) {
            let message = format!("profile_id has {} bytes; 16 or none are allowed", profile_id.len());
            return Err(Fault::new(Reason::ProfileIdLength, message));
        }
        for (owner, value_type) in [("sample_type", profile.sample_type), ("period_type", profile.period_type)] {
            let ValueType { name, unit } = value_type.unwrap_or_default();
            self.validator.check_string(owner, "type_strindex", name)?;
            self.validator.check_string(owner, "unit_strindex", unit)?;
        }
        self.validator.check_attributes("Profile", &profile.attributes)?;
        self.validator.check_samples(&self.samples, profile.rows.clone())
    }

    fn give_id(&mut self, profile: &mut Profile, sent: &[u8], place: Place) {
        match sent.try_into() {
            Ok(id) if id != [0; 16] => profile.profile_id = id,
            _ => {
                profile.profile_id = self.ids.make(place);
                profile.profile_id_made = true;
                self.repairs.count(Repair::ProfileIdMade);
                if !sent.is_empty() {
                    profile.source.span = None;
                }
            }
        }
    }

    fn refuse(&mut self, fault: &Fault, service: Option<&[u8]>, place: Place, samples: usize) {
        self.refused.push(place);
        Rejection::count(&mut self.rejections, fault.reason, samples, || {
            let service = shown(service.unwrap_or(b"unknown_service"));
            fault.reached_from(format_args!("{place} of {service}"))
        });
    }
}
