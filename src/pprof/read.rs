//! From pprof to `Profiles`: the tables first, then the samples, each as often as there are sample types.

use bytes::Bytes;
use hashbrown::HashMap;

use super::attributes;
use super::labels::{Label, LabelValue, Labels};
use crate::assemble::Assembly;
use crate::dictionary::{Function, Line, Mapping};
use crate::error::{Error, Result};
use crate::inflate::inflate;
use crate::limits::Limits;
use crate::profiles::{Profile, Profiles, Scope, ValueType};
use crate::refusal::Repair;
use crate::value::{AnyValue, KeyValue};
use crate::wire::{Reader, Span, Wire};

impl Profiles {
    /// Read a pprof: a Profile for each of its sample types, of one Resource.
    ///
    /// # Errors
    /// When anything in it is not what pprof says it should be: unlike a request, a pprof is one profile.
    pub fn from_pprof(body: Bytes, limits: &Limits, resource: &[(String, String)]) -> Result<Self> {
        let body = inflate(body, limits.max_body_bytes)?;
        let outline = Outline::read(&body, limits)?;
        let assembly = Assembly::new(body.clone(), limits);
        let (string_count, added) = Default::default();
        let unknown_fields = outline.unknown_fields;
        let mut reader = PprofReader { body: &body, limits, assembly, string_count, added, unknown_fields };
        reader.strings(&outline.strings)?;
        let sample_types = reader.value_types(&outline.sample_types)?;
        let mappings = reader.mappings(&outline.mappings)?;
        let functions = reader.functions(&outline.functions)?;
        let locations = reader.locations(&outline.locations, &mappings, &functions)?;
        let rows = reader.samples(&outline.samples, &locations, sample_types.len())?;
        let shared = reader.shared(&outline)?;
        let profile = |(index, sample_type)| Profile {
            sample_type: Some(sample_type),
            rows: index * rows..(index + 1) * rows,
            ..shared.clone()
        };
        let profiles = sample_types.into_iter().enumerate().map(profile).collect();
        let scope = reader.scope(outline.default_sample_type)?;
        let PprofReader { assembly, unknown_fields, .. } = reader;
        assembly.finish(resource, scope, profiles, unknown_fields)
    }
}

/// What is wrong with a pprof.
pub(super) fn invalid(what: String) -> Error {
    Error::Invalid { format: "pprof", what }
}

/// Where the parts of a pprof stand, and its numbers. The string table comes last on the wire and is needed first.
#[derive(Default)]
struct Outline {
    sample_types: Vec<Span>,
    samples: Vec<Span>,
    mappings: Vec<Span>,
    locations: Vec<Span>,
    functions: Vec<Span>,
    strings: Vec<Span>,
    drop_frames: u64,
    keep_frames: u64,
    time_nanos: i64,
    duration_nanos: i64,
    period_type: Option<Span>,
    period: i64,
    comments: Vec<i64>,
    default_sample_type: u64,
    doc_url: u64,
    unknown_fields: u64,
}

impl Outline {
    fn read(body: &[u8], limits: &Limits) -> Result<Self> {
        let mut o = Self::default();
        let &Limits { max_table_entries, max_profiles, .. } = limits;
        let mut pprof = Reader::new(body, Span { start: 0, len: body.len() as u32 }, "Profile");
        while let Some((number, wire)) = pprof.next_field()? {
            let (table, what, field) = match number {
                1 => (&mut o.sample_types, "sample types", "Profile.sample_type"),
                2 => (&mut o.samples, "samples", "Profile.sample"),
                3 => (&mut o.mappings, "mappings", "Profile.mapping"),
                4 => (&mut o.locations, "locations", "Profile.location"),
                5 => (&mut o.functions, "functions", "Profile.function"),
                6 => (&mut o.strings, "strings", "Profile.string_table"),
                _ => {
                    o.number(&mut pprof, number, wire)?;
                    continue;
                }
            };
            // Each type becomes a Profile.
            let (limit, key) =
                if number == 1 { (max_profiles, "max_profiles") } else { (max_table_entries, "max_table_entries") };
            if table.len() == limit {
                return Err(Error::TooMany { what, limit, key });
            }
            table.push(pprof.span(wire, field)?);
        }
        if o.sample_types.is_empty() {
            return Err(invalid("it has no sample_type, so it says nothing".into()));
        }
        Ok(o)
    }

    fn number(&mut self, pprof: &mut Reader<'_>, number: u32, wire: Wire) -> Result<()> {
        match number {
            7 => self.drop_frames = pprof.uint64(wire, "Profile.drop_frames")?,
            8 => self.keep_frames = pprof.uint64(wire, "Profile.keep_frames")?,
            9 => self.time_nanos = pprof.uint64(wire, "Profile.time_nanos")? as i64,
            10 => self.duration_nanos = pprof.uint64(wire, "Profile.duration_nanos")? as i64,
            11 => self.period_type = Some(pprof.span(wire, "Profile.period_type")?),
            12 => self.period = pprof.uint64(wire, "Profile.period")? as i64,
            13 => pprof.int64s(wire, &mut self.comments, "Profile.comment")?,
            14 => self.default_sample_type = pprof.uint64(wire, "Profile.default_sample_type")?,
            15 => self.doc_url = pprof.uint64(wire, "Profile.doc_url")?,
            _ => {
                self.unknown_fields += 1;
                pprof.skip(number, wire)?;
            }
        }
        Ok(())
    }
}

/// Which entry of a table has which id. Ids are nearly always 1, 2, 3 and so on.
struct Ids {
    kind: &'static str,
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
}

impl Ids {
    fn new(kind: &'static str, entries: usize) -> Self {
        Self { kind, dense: vec![0; 2 * entries + 1], sparse: HashMap::new() }
    }

    /// Give the entry at `index`, which is not 0, its id.
    fn insert(&mut self, id: u64, index: u32) -> Result<()> {
        let kind = self.kind;
        let known = match usize::try_from(id).ok().and_then(|id| self.dense.get_mut(id)) {
            _ if id == 0 => return Err(invalid(format!("a {kind} has the id 0, which means none"))),
            Some(slot) => std::mem::replace(slot, index) > 0,
            None => self.sparse.insert(id, index).is_some(),
        };
        if known { Err(invalid(format!("two {kind}s have the id {id}"))) } else { Ok(()) }
    }

    #[inline]
    fn get(&self, id: u64) -> Option<u32> {
        match self.dense.get(id as usize) {
            Some(&index) => Some(index).filter(|&index| index > 0),
            None => self.sparse.get(&id).copied(),
        }
    }

    #[inline]
    fn find(&self, id: u64, owner: impl std::fmt::Display, field: &str) -> Result<u32> {
        self.get(id).ok_or_else(|| invalid(format!("{owner} has the {field} {id}, and no {} has that id", self.kind)))
    }
}

struct PprofReader<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    assembly: Assembly,
    /// Strings of the pprof; more are added behind them.
    string_count: usize,
    /// The keys and values of attributes that are no sample's labels.
    added: HashMap<&'static str, u32>,
    unknown_fields: u64,
}

impl<'a> PprofReader<'a> {
    fn message(&self, span: Span, name: &'static str) -> Reader<'a> {
        Reader::new(self.body, span, name)
    }

    fn skip(&mut self, message: &mut Reader<'_>, number: u32, wire: Wire) -> Result<()> {
        self.unknown_fields += 1;
        message.skip(number, wire)
    }

    fn strings(&mut self, strings: &[Span]) -> Result<()> {
        if strings.first().is_some_and(|first| first.len > 0) {
            return Err(invalid("string_table[0] is not empty, and 0 means \"not set\"".into()));
        }
        for (index, span) in strings.iter().enumerate() {
            if std::str::from_utf8(span.of(self.body)).is_err() {
                return Err(invalid(format!("string_table[{index}] is not UTF-8")));
            }
        }
        // Entry 0 is there already.
        self.assembly.dictionary.strings.extend(strings.iter().skip(1));
        self.string_count = self.assembly.dictionary.strings.len();
        Ok(())
    }

    /// An int64 that holds a string-table index.
    fn string_index(&self, index: u64, field: &'static str) -> Result<u32> {
        let len = self.string_count;
        if index < len as u64 {
            return Ok(index as u32);
        }
        Err(invalid(format!("{field} is {}; string_table has {len} entries", index as i64)))
    }

    fn string(&self, message: &mut Reader<'_>, wire: Wire, field: &'static str) -> Result<u32> {
        self.string_index(message.uint64(wire, field)?, field)
    }

    fn value_type(&mut self, span: Span) -> Result<ValueType> {
        let mut message = self.message(span, "ValueType");
        let mut value_type = ValueType::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => value_type.name = self.string(&mut message, wire, "ValueType.type")?,
                2 => value_type.unit = self.string(&mut message, wire, "ValueType.unit")?,
                _ => self.skip(&mut message, number, wire)?,
            }
        }
        Ok(value_type)
    }

    fn value_types(&mut self, spans: &[Span]) -> Result<Vec<ValueType>> {
        spans.iter().map(|&span| self.value_type(span)).collect()
    }

    /// A line number: negative ones say nothing and become 0, "unset".
    fn line_number(&mut self, message: &mut Reader<'_>, wire: Wire, field: &'static str) -> Result<i64> {
        let line = message.uint64(wire, field)? as i64;
        if line < 0 {
            self.assembly.repairs.count(Repair::NegativeLineCleared);
        }
        Ok(line.max(0))
    }

    /// The index of a string that the pprof need not have.
    fn added_string(&mut self, text: &'static str) -> u32 {
        let assembly = &mut self.assembly;
        *self.added.entry(text).or_insert_with(|| assembly.string(text))
    }

    fn text(&self, index: u32) -> AnyValue {
        AnyValue::String(self.assembly.dictionary.strings[index as usize])
    }

    fn attribute(&mut self, key: &'static str, value: AnyValue) -> Result<u32> {
        let key = self.added_string(key);
        self.assembly.attribute(key, value, 0)
    }

    fn mappings(&mut self, spans: &[Span]) -> Result<Ids> {
        let mut ids = Ids::new("mapping", spans.len());
        // By flag, the attribute that says it is set.
        let mut flags = [None; attributes::HAS.len()];
        for (&span, index) in spans.iter().zip(1..) {
            let (mut m, mut id, mut build_id, mut has) = (Mapping::default(), 0, 0, [false; attributes::HAS.len()]);
            let mut message = self.message(span, "Mapping");
            while let Some((number, wire)) = message.next_field()? {
                match number {
                    1 => id = message.uint64(wire, "Mapping.id")?,
                    2 => m.memory_start = message.uint64(wire, "Mapping.memory_start")?,
                    3 => m.memory_limit = message.uint64(wire, "Mapping.memory_limit")?,
                    4 => m.file_offset = message.uint64(wire, "Mapping.file_offset")?,
                    5 => m.filename = self.string(&mut message, wire, "Mapping.filename")?,
                    6 => build_id = self.string(&mut message, wire, "Mapping.build_id")?,
                    7..=10 => has[number as usize - 7] = message.uint64(wire, "Mapping.has_functions and others")? != 0,
                    _ => self.skip(&mut message, number, wire)?,
                }
            }
            ids.insert(id, index)?;
            if m.clear_empty_range() {
                self.assembly.repairs.count(Repair::MappingRangeCleared);
            }
            let mut owned = vec![];
            if let AnyValue::String(span) = self.text(build_id)
                && span.len > 0
            {
                owned.push(self.attribute(build_id_key(span.of(self.body)), AnyValue::String(span))?);
            }
            for flag in (0..has.len()).filter(|&flag| has[flag]) {
                owned.push(match flags[flag] {
                    Some(attribute) => attribute,
                    None => *flags[flag].insert(self.attribute(attributes::HAS[flag], AnyValue::Bool(true))?),
                });
            }
            self.assembly.mapping(m, &owned);
        }
        Ok(ids)
    }

    fn functions(&mut self, spans: &[Span]) -> Result<Ids> {
        let mut ids = Ids::new("function", spans.len());
        for (&span, index) in spans.iter().zip(1..) {
            let (mut function, mut id) = (Function::default(), 0);
            let mut message = self.message(span, "Function");
            while let Some((number, wire)) = message.next_field()? {
                match number {
                    1 => id = message.uint64(wire, "Function.id")?,
                    2 => function.name = self.string(&mut message, wire, "Function.name")?,
                    3 => function.system_name = self.string(&mut message, wire, "Function.system_name")?,
                    4 => function.filename = self.string(&mut message, wire, "Function.filename")?,
                    5 => function.start_line = self.line_number(&mut message, wire, "Function.start_line")?,
                    _ => self.skip(&mut message, number, wire)?,
                }
            }
            ids.insert(id, index)?;
            self.assembly.dictionary.functions.push(function);
        }
        Ok(ids)
    }

    fn locations(&mut self, spans: &[Span], mappings: &Ids, functions: &Ids) -> Result<Ids> {
        let mut ids = Ids::new("location", spans.len());
        let mut folded = None;
        for (&span, index) in spans.iter().zip(1..) {
            let (mut id, mut mapping, mut address, mut is_folded, mut lines) = (0, 0, 0, false, vec![]);
            let mut message = self.message(span, "Location");
            while let Some((number, wire)) = message.next_field()? {
                match number {
                    1 => id = message.uint64(wire, "Location.id")?,
                    2 => mapping = message.uint64(wire, "Location.mapping_id")?,
                    3 => address = message.uint64(wire, "Location.address")?,
                    4 => lines.push(self.line(message.message(wire, "Location.line")?)?),
                    5 => is_folded = message.uint64(wire, "Location.is_folded")? != 0,
                    _ => self.skip(&mut message, number, wire)?,
                }
            }
            ids.insert(id, index)?;
            let owner = format_args!("location {id}");
            let mapping = if mapping == 0 { 0 } else { mappings.find(mapping, owner, "mapping_id")? };
            for (function, line, column) in lines {
                let function = functions.find(function, owner, "function_id")?;
                // A function of which nothing is known is no function.
                let is_known = self.assembly.dictionary.functions[function as usize] != Function::default();
                let function = if is_known { function } else { 0 };
                self.assembly.line(Line { function, line, column })?;
            }
            let folded = match folded {
                _ if !is_folded => None,
                Some(attribute) => Some(attribute),
                None => {
                    folded = Some(self.attribute(attributes::IS_FOLDED, AnyValue::Bool(true))?);
                    folded
                }
            };
            self.assembly.location(mapping, address, folded.as_slice());
        }
        Ok(ids)
    }

    /// A function's id, line and column.
    fn line(&mut self, mut message: Reader<'a>) -> Result<(u64, i64, i64)> {
        let (mut function, mut line, mut column) = (0, 0, 0);
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => function = message.uint64(wire, "Line.function_id")?,
                2 => line = self.line_number(&mut message, wire, "Line.line")?,
                3 => column = self.line_number(&mut message, wire, "Line.column")?,
                _ => self.skip(&mut message, number, wire)?,
            }
        }
        Ok((function, line, column))
    }

    /// Read the samples into rows for the first type, which the other types repeat with their own values; how many.
    fn samples(&mut self, spans: &[Span], locations: &Ids, types: usize) -> Result<usize> {
        let mut labels = Labels::default();
        // Values of the other types, sample after sample.
        let (mut ids, mut stack, mut values, mut rest) = (vec![], vec![], vec![], vec![]);
        self.assembly.room((spans.len() * types).saturating_sub(1), "Samples")?;
        for (index, &span) in spans.iter().enumerate() {
            ids.clear();
            values.clear();
            labels.sample.clear();
            let mut message = self.message(span, "Sample");
            while let Some((number, wire)) = message.next_field()? {
                match number {
                    1 => message.int64s(wire, &mut ids, "Sample.location_id")?,
                    2 => message.int64s(wire, &mut values, "Sample.value")?,
                    3 => {
                        self.check_labels(labels.sample.len())?;
                        labels.sample.push(self.label(message.message(wire, "Sample.label")?)?);
                    }
                    _ => self.skip(&mut message, number, wire)?,
                }
            }
            let owner = format_args!("sample {index}");
            let [first, others @ ..] = &values[..] else {
                return Err(invalid(format!("{owner} has no value; there are {types} sample types")));
            };
            if values.len() != types {
                return Err(invalid(format!("{owner} has {} values; there are {types} sample types", values.len())));
            }
            stack.clear();
            for &id in &ids {
                stack.push(locations.find(id as u64, owner, "location_id")?);
            }
            let stack = self.assembly.stack(&stack)?;
            labels.attributes(&mut self.assembly, self.body, index)?;
            self.assembly.samples.values.items.push(*first);
            self.assembly.samples.end_row(stack, 0);
            rest.extend_from_slice(others);
        }
        let rows = self.assembly.samples.len();
        let first = self.assembly.samples.clone();
        for other in 0..types - 1 {
            for row in 0..rows {
                let value = rest[row * (types - 1) + other];
                self.assembly.samples.push_from(&first, row, std::iter::once(value));
            }
        }
        Ok(rows)
    }

    /// Refuse one more label on a sample that has as many as it may.
    fn check_labels(&self, count: usize) -> Result<()> {
        let limit = self.limits.max_attributes;
        if count < limit {
            return Ok(());
        }
        Err(Error::TooMany { what: "labels on one sample", limit, key: "max_attributes" })
    }

    fn label(&mut self, mut message: Reader<'a>) -> Result<Label> {
        let (mut key, mut text, mut number, mut unit, mut is_text) = (0, 0, 0, 0, false);
        while let Some((field, wire)) = message.next_field()? {
            match field {
                1 => key = self.string(&mut message, wire, "Label.key")?,
                2 => (text, is_text) = (self.string(&mut message, wire, "Label.str")?, true),
                3 => number = message.uint64(wire, "Label.num")? as i64,
                4 => unit = self.string(&mut message, wire, "Label.num_unit")?,
                _ => self.skip(&mut message, field, wire)?,
            }
        }
        // An empty text is told from the number 0 only by the field's being there.
        let is_number = text == 0 && (number != 0 || unit != 0 || !is_text);
        Ok((key, if is_number { LabelValue::Number(number, unit) } else { LabelValue::Text(text) }))
    }

    /// What all Profiles of the pprof have in common.
    fn shared(&mut self, o: &Outline) -> Result<Profile> {
        let [time_unix_nano, duration_nano] =
            [("time_nanos", o.time_nanos), ("duration_nanos", o.duration_nanos)].map(|(field, value)| {
                let negative = || invalid(format!("Profile.{field} is {value}; it cannot be negative"));
                u64::try_from(value).map_err(|_| negative())
            });
        let mut owned = vec![];
        let mut comments = vec![];
        self.assembly.room(o.comments.len().saturating_sub(1), "comments")?;
        for &comment in &o.comments {
            let comment = self.string_index(comment as u64, "Profile.comment")?;
            comments.push(self.text(comment));
        }
        if !comments.is_empty() {
            owned.push(self.attribute(attributes::COMMENT, AnyValue::Array(comments))?);
        }
        for (key, field, index) in [
            (attributes::DOC_URL, "Profile.doc_url", o.doc_url),
            (attributes::DROP_FRAMES, "Profile.drop_frames", o.drop_frames),
            (attributes::KEEP_FRAMES, "Profile.keep_frames", o.keep_frames),
        ] {
            let index = self.string_index(index, field)?;
            if index != 0 {
                let text = self.text(index);
                owned.push(self.attribute(key, text)?);
            }
        }
        Ok(Profile {
            time_unix_nano: time_unix_nano?,
            duration_nano: duration_nano?,
            period_type: o.period_type.map(|span| self.value_type(span)).transpose()?,
            period: o.period,
            attributes: owned,
            ..Profile::default()
        })
    }

    fn scope(&mut self, default_sample_type: u64) -> Result<Option<Scope>> {
        let index = self.string_index(default_sample_type, "Profile.default_sample_type")?;
        if index == 0 {
            return Ok(None);
        }
        let key = self.assembly.append(attributes::DEFAULT_SAMPLE_TYPE);
        let pair = KeyValue { key, key_index: 0, value: self.text(index) };
        Ok(Some(Scope { attributes: vec![pair], ..Scope::default() }))
    }
}

/// The attribute that a build id belongs in. pprof does not say who made it: Go's has slashes in it, and a hash of
/// the profiler's own looks like the linker's.
fn build_id_key(build_id: &[u8]) -> &'static str {
    if build_id.contains(&b'/') { attributes::BUILD_ID_GO } else { attributes::BUILD_ID_GNU }
}
