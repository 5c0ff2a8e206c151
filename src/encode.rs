//! From `Profiles` to the wire, by the profiling SIG's rules. What did not change is passed on as it came.

use crate::collect::Remap;
use crate::dictionary::{Dictionary, Link, TableSource};
use crate::profiles::{Profile, Profiles, Resource, ResourceProfiles, Scope, ScopeProfiles, Source, Table, ValueType};
use crate::wire::{Span, Writer};

/// A `profile_id` field: key, length, 16 bytes.
const PROFILE_ID_FIELD_BYTES: usize = 18;

/// The tables that a Profile refers to.
const REFERENCES_OF_PROFILE: &[Table] = &[Table::Strings, Table::Attributes, Table::Links, Table::Stacks];
/// The tables that the entries of each table refer to, in the order of [`Table`].
const REFERENCES: [&[Table]; Table::COUNT] = [
    &[Table::Strings, Table::Attributes],
    &[Table::Mappings, Table::Functions, Table::Attributes],
    &[Table::Strings],
    &[],
    &[],
    &[Table::Strings],
    &[Table::Locations],
];

impl Profiles {
    /// The request on the wire, and how many unknown fields were left out because they stood in a message that had
    /// to be written anew.
    pub fn to_otlp(&self) -> (Vec<u8>, u64) {
        let remap = Remap::of(self);
        let mut encoder = Encoder { profiles: self, body: &self.body, remap, unknown_fields_dropped: 0 };
        if self.is_body && encoder.remap.is_identity() {
            return (self.body.to_vec(), 0);
        }
        encoder.unknown_fields_dropped = self.unknown_fields;
        let added = PROFILE_ID_FIELD_BYTES * self.profile_count();
        let mut writer = Writer::with_capacity(self.body.len() + self.body.len() / 8 + added + 64);
        for group in &self.resources {
            encoder.resource_profiles(&mut writer, group);
        }
        if !self.resources.is_empty() {
            encoder.dictionary(&mut writer);
        }
        (writer.into_bytes(), encoder.unknown_fields_dropped)
    }
}

struct Encoder<'a> {
    profiles: &'a Profiles,
    body: &'a [u8],
    remap: Remap,
    unknown_fields_dropped: u64,
}

impl<'a> Encoder<'a> {
    /// The bytes of a message that may be passed on as it stands; else its unknown fields are counted as dropped.
    fn unchanged(&mut self, source: Source, is_unchanged: bool) -> Option<&'a [u8]> {
        let span = source.span.filter(|_| is_unchanged);
        if span.is_none() {
            self.unknown_fields_dropped += source.unknown_fields;
        }
        span.map(|span| span.of(self.body))
    }

    fn string(&self, index: u32) -> u32 {
        self.remap.strings[index as usize]
    }

    fn resource_profiles(&mut self, writer: &mut Writer, group: &'a ResourceProfiles) {
        let rows = group.scopes.iter().flat_map(|scope| &scope.profiles).map(|profile| profile.rows.len());
        writer.message(1, 16 * rows.sum::<usize>() + 512, |w| {
            if let Some(resource) = &group.resource {
                self.resource(w, resource);
            }
            for scope in &group.scopes {
                self.scope_profiles(w, scope);
            }
            w.bytes(3, group.schema_url.of(self.body));
        });
    }

    fn resource(&mut self, writer: &mut Writer, resource: &Resource) {
        let is_unchanged = self.remap.keeps(&[Table::Strings]) || !refers(&resource.attributes);
        if let Some(bytes) = self.unchanged(resource.source, is_unchanged) {
            return writer.present_bytes(1, bytes);
        }
        writer.message(1, 512, |w| {
            for pair in &resource.attributes {
                pair.write(w, 1, self.body, &|index| self.string(index));
            }
            w.uint64(2, u64::from(resource.dropped_attributes_count));
            for entity in &resource.entity_refs {
                w.present_bytes(3, entity.of(self.body));
            }
        });
    }

    fn scope_profiles(&mut self, writer: &mut Writer, group: &'a ScopeProfiles) {
        let rows = group.profiles.iter().map(|profile| profile.rows.len());
        writer.message(2, 16 * rows.sum::<usize>() + 256, |w| {
            if let Some(scope) = &group.scope {
                self.scope(w, scope);
            }
            for profile in &group.profiles {
                self.profile(w, profile);
            }
            w.bytes(3, group.schema_url.of(self.body));
        });
    }

    fn scope(&mut self, writer: &mut Writer, scope: &Scope) {
        let is_unchanged = self.remap.keeps(&[Table::Strings]) || !refers(&scope.attributes);
        if let Some(bytes) = self.unchanged(scope.source, is_unchanged) {
            return writer.present_bytes(1, bytes);
        }
        writer.message(1, 64, |w| {
            w.bytes(1, scope.name.of(self.body));
            w.bytes(2, scope.version.of(self.body));
            for pair in &scope.attributes {
                pair.write(w, 3, self.body, &|index| self.string(index));
            }
            w.uint64(4, u64::from(scope.dropped_attributes_count));
        });
    }

    fn profile(&mut self, writer: &mut Writer, profile: &Profile) {
        if let Some(bytes) = self.unchanged(profile.source, self.remap.keeps(REFERENCES_OF_PROFILE)) {
            return writer.message(2, bytes.len(), |w| {
                w.raw(bytes);
                if profile.profile_id_made {
                    w.bytes(7, &profile.profile_id);
                }
            });
        }
        writer.message(2, 16 * profile.rows.len() + 128, |w| {
            self.value_type(w, 1, profile.sample_type);
            for row in profile.rows.clone() {
                self.sample(w, row);
            }
            w.fixed64(3, profile.time_unix_nano);
            w.uint64(4, profile.duration_nano);
            self.value_type(w, 5, profile.period_type);
            w.uint64(6, profile.period as u64);
            w.bytes(7, &profile.profile_id);
            w.uint64(8, u64::from(profile.dropped_attributes_count));
            w.bytes(9, profile.original_payload_format.of(self.body));
            w.bytes(10, profile.original_payload.of(self.body));
            w.packed(11, indices(&profile.attributes, &self.remap.attributes));
        });
    }

    fn value_type(&self, writer: &mut Writer, field: u32, value_type: Option<ValueType>) {
        if let Some(ValueType { name, unit }) = value_type {
            writer.message(field, 4, |w| {
                w.uint64(1, u64::from(self.string(name)));
                w.uint64(2, u64::from(self.string(unit)));
            });
        }
    }

    fn sample(&self, writer: &mut Writer, row: usize) {
        let samples = &self.profiles.samples;
        writer.message(2, 24, |w| {
            w.uint64(1, u64::from(self.remap.stacks[samples.stack[row] as usize]));
            w.packed(2, indices(samples.attributes.row(row), &self.remap.attributes));
            w.uint64(3, u64::from(self.remap.links[samples.link[row] as usize]));
            w.packed(4, samples.values.row(row).iter().map(|&value| value as u64));
            w.packed_fixed64(5, samples.timestamps.row(row));
        });
    }

    fn dictionary(&mut self, writer: &mut Writer) {
        let dictionary = &self.profiles.dictionary;
        let source = Source { span: dictionary.source, unknown_fields: dictionary.unknown_fields };
        if let Some(bytes) = self.unchanged(source, self.remap.is_identity()) {
            return writer.present_bytes(2, bytes);
        }
        writer.message(2, self.body.len(), |w| {
            self.mappings(w, dictionary);
            self.locations(w, dictionary);
            self.functions(w, dictionary);
            self.links(w, &dictionary.links);
            self.strings(w, &dictionary.strings);
            self.attributes(w, dictionary);
            self.stacks(w, dictionary);
        });
    }

    /// Pass the first entries of a table on as they stand, when they and what they refer to keep their index; the
    /// indices of those that are to be written anew.
    fn written_anew<'e>(&'e self, writer: &mut Writer, table: Table) -> impl Iterator<Item = usize> + use<'e, 'a> {
        let mut source = self.profiles.dictionary.table_sources[table as usize];
        if !(self.remap.keeps(&[table]) && self.remap.keeps(REFERENCES[table as usize])) {
            source = TableSource::default();
        }
        writer.raw(source.span.of(self.body));
        let reached = self.remap.reached.tables()[table as usize];
        (source.entries..reached.len()).filter(|&index| reached[index])
    }

    fn mappings(&self, writer: &mut Writer, dictionary: &Dictionary) {
        for index in self.written_anew(writer, Table::Mappings) {
            let mapping = &dictionary.mappings[index];
            writer.message(1, 16, |w| {
                w.uint64(1, mapping.memory_start);
                w.uint64(2, mapping.memory_limit);
                w.uint64(3, mapping.file_offset);
                w.uint64(4, u64::from(self.string(mapping.filename)));
                w.packed(5, indices(dictionary.mapping_attributes.row(index), &self.remap.attributes));
            });
        }
    }

    fn locations(&self, writer: &mut Writer, dictionary: &Dictionary) {
        let locations = &dictionary.locations;
        for index in self.written_anew(writer, Table::Locations) {
            writer.message(2, 24, |w| {
                w.uint64(1, u64::from(self.remap.mappings[locations.mapping[index] as usize]));
                w.uint64(2, locations.address[index]);
                for line in locations.lines.row(index) {
                    w.message(3, 8, |w| {
                        w.uint64(1, u64::from(self.remap.functions[line.function as usize]));
                        w.uint64(2, line.line as u64);
                        w.uint64(3, line.column as u64);
                    });
                }
                w.packed(4, indices(locations.attributes.row(index), &self.remap.attributes));
            });
        }
    }

    fn functions(&self, writer: &mut Writer, dictionary: &Dictionary) {
        for index in self.written_anew(writer, Table::Functions) {
            let function = &dictionary.functions[index];
            writer.message(3, 12, |w| {
                w.uint64(1, u64::from(self.string(function.name)));
                w.uint64(2, u64::from(self.string(function.system_name)));
                w.uint64(3, u64::from(self.string(function.filename)));
                w.uint64(4, function.start_line as u64);
            });
        }
    }

    fn links(&self, writer: &mut Writer, links: &[Link]) {
        for index in self.written_anew(writer, Table::Links) {
            let link = &links[index];
            writer.message(4, 28, |w| {
                // The checker takes only the empty Link as the zero entry.
                if *link != Link::default() {
                    w.bytes(1, &link.trace_id);
                    w.bytes(2, &link.span_id);
                }
            });
        }
    }

    fn strings(&self, writer: &mut Writer, strings: &[Span]) {
        for index in self.written_anew(writer, Table::Strings) {
            writer.present_bytes(5, strings[index].of(self.body));
        }
    }

    fn attributes(&self, writer: &mut Writer, dictionary: &Dictionary) {
        for index in self.written_anew(writer, Table::Attributes) {
            let attribute = &dictionary.attributes[index];
            writer.message(6, 32, |w| {
                w.uint64(1, u64::from(self.string(attribute.key)));
                if index > 0 {
                    attribute.value.write(w, 2, self.body, &|index| self.string(index));
                }
                w.uint64(3, u64::from(self.string(attribute.unit)));
            });
        }
    }

    fn stacks(&self, writer: &mut Writer, dictionary: &Dictionary) {
        for index in self.written_anew(writer, Table::Stacks) {
            let row = dictionary.stacks.row(index);
            writer.message(7, row.len() + row.len() / 2 + 2, |w| {
                w.packed(1, indices(row, &self.remap.locations));
            });
        }
    }
}

fn refers(attributes: &[crate::value::KeyValue]) -> bool {
    let mut refers = false;
    for pair in attributes {
        pair.string_indices(&mut |_| refers = true);
    }
    refers
}

fn indices<'a>(old: &'a [u32], new: &'a [u32]) -> impl ExactSizeIterator<Item = u64> + 'a {
    old.iter().map(|&index| u64::from(new[index as usize]))
}
