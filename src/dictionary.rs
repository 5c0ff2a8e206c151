//! `ProfilesDictionary`: its seven tables, read into columns.

use crate::columns::{Ragged, Shared};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::profiles::Table;
use crate::refusal::{DictionaryFaults, Fault, Reason, Repair, Repairs};
use crate::value::{AnyValue, ValueReader};
use crate::wire::{Reader, Span, Wire};

/// `Mapping`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Mapping {
    /// `memory_start`
    pub memory_start: u64,
    /// `memory_limit`
    pub memory_limit: u64,
    /// `file_offset`
    pub file_offset: u64,
    /// `filename_strindex`
    pub filename: u32,
}

/// `Line`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Line {
    /// `function_index`
    pub function: u32,
    /// `line`, 0 when unset
    pub line: i64,
    /// `column`, 0 when unset
    pub column: i64,
}

/// `Function`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Function {
    /// `name_strindex`
    pub name: u32,
    /// `system_name_strindex`
    pub system_name: u32,
    /// `filename_strindex`
    pub filename: u32,
    /// `start_line`, 0 when unset
    pub start_line: i64,
}

/// `Link`; all zero when not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Link {
    /// `trace_id`
    pub trace_id: [u8; 16],
    /// `span_id`
    pub span_id: [u8; 8],
}

impl Link {
    /// Whether this links to a span: both ids are non-zero.
    pub fn is_linked(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }
}

/// `KeyValueAndUnit`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attribute {
    /// `key_strindex`
    pub key: u32,
    /// `value`
    pub value: AnyValue,
    /// `unit_strindex`
    pub unit: u32,
}

/// `Location`s, as columns: most of a request's frames.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locations {
    /// `mapping_index`
    pub mapping: Vec<u32>,
    /// `address`
    pub address: Vec<u64>,
    /// `lines`, leaf first
    pub lines: Ragged<Line>,
    /// `attribute_indices`
    pub attributes: Ragged<u32>,
}

/// The first entries of a table, as they stand in the body one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSource {
    /// Their fields of the dictionary.
    pub span: Span,
    /// How many they are.
    pub entries: usize,
}

/// The seven tables; entry 0 of each is the zero value. Copies share the two that are large.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    /// `mapping_table`
    pub mappings: Vec<Mapping>,
    /// `attribute_indices` of the Mappings
    pub mapping_attributes: Ragged<u32>,
    /// `location_table`
    pub locations: Shared<Locations>,
    /// `function_table`
    pub functions: Vec<Function>,
    /// `link_table`
    pub links: Vec<Link>,
    /// `string_table`, as pieces of the body
    pub strings: Vec<Span>,
    /// `attribute_table`
    pub attributes: Vec<Attribute>,
    /// `stack_table`: Locations, leaf first
    pub stacks: Shared<Ragged<u32>>,
    /// Where the tables stand in the body, while they are exactly what stands there.
    pub source: Option<Span>,
    /// Where the first entries of each table stand in the body, in the order of [`Table`]; who changes one of them
    /// forgets its table's. All empty unless the tables came in one piece, without unknown fields and without fault.
    pub table_sources: [TableSource; Table::COUNT],
    /// Unknown fields in `source`.
    pub unknown_fields: u64,
}

/// Reads the dictionary of a request.
pub struct DictionaryReader<'a, 'v> {
    body: &'a [u8],
    limits: &'a Limits,
    values: &'v mut ValueReader<'a>,
    /// The tables so far, but for the two that are shared.
    pub dictionary: Dictionary,
    locations: Locations,
    stacks: Ragged<u32>,
    /// The fields of each table, while they stand one after the other; `None` when they do not.
    runs: [Option<Span>; Table::COUNT],
    /// What is wrong with their entries.
    pub faults: DictionaryFaults,
    /// What was set right.
    pub repairs: Repairs,
    /// Whether the tables are not exactly what stands in the body.
    changed: bool,
}

impl<'a, 'v> DictionaryReader<'a, 'v> {
    /// A reader of no table yet.
    pub fn new(body: &'a [u8], limits: &'a Limits, values: &'v mut ValueReader<'a>) -> Self {
        let (dictionary, locations, stacks, faults, repairs) = Default::default();
        let runs = [Some(Span::default()); Table::COUNT];
        Self { body, limits, values, dictionary, locations, stacks, runs, faults, repairs, changed: false }
    }

    /// Read one occurrence of the dictionary; several go on one after the other, as protobuf has it.
    pub fn read(&mut self, mut message: Reader<'a>) -> Result<()> {
        let (mut run, mut start) = (0, 0);
        loop {
            let at = message.remaining().start;
            let field = message.next_field()?;
            let next = field.map_or(0, |(number, _)| number);
            if next != run {
                self.end_run(run, Span { start, len: at - start });
                (run, start) = (next, at);
            }
            let Some((number, wire)) = field else { return Ok(()) };
            match number {
                1 => self.mapping(message.message(wire, "ProfilesDictionary.mapping_table")?)?,
                2 => self.location(message.message(wire, "ProfilesDictionary.location_table")?)?,
                3 => self.function(message.message(wire, "ProfilesDictionary.function_table")?)?,
                4 => self.link(message.message(wire, "ProfilesDictionary.link_table")?)?,
                5 => self.string(&mut message, wire)?,
                6 => self.attribute(message.message(wire, "ProfilesDictionary.attribute_table")?)?,
                7 => self.stack(message.message(wire, "ProfilesDictionary.stack_table")?)?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
    }

    /// Fields of one table ended.
    fn end_run(&mut self, number: u32, span: Span) {
        if let Some(run) = self.runs.get_mut((number as usize).wrapping_sub(1)) {
            *run = run.filter(|first| first.len == 0).map(|_| span);
        }
    }

    /// Whether no table has any entry.
    pub fn is_empty(&self) -> bool {
        let d = &self.dictionary;
        d.mappings.is_empty()
            && self.locations.mapping.is_empty()
            && d.functions.is_empty()
            && d.links.is_empty()
            && d.strings.is_empty()
            && d.attributes.is_empty()
            && self.stacks.is_empty()
    }

    /// The tables, completed with the zero value where a table is empty. `sources` are the pieces they were read
    /// from; exactly one, unchanged, can be passed on as it stands.
    pub fn finish(mut self, sources: &[Span]) -> (Dictionary, DictionaryFaults, Repairs) {
        self.add_missing_zero_entries();
        self.clear_zero_entries();
        self.dictionary.unknown_fields = self.values.take_unknown();
        self.dictionary.locations = self.locations.into();
        self.dictionary.stacks = self.stacks.into();
        self.dictionary.source = match sources {
            [source] if !self.changed => Some(*source),
            _ => None,
        };
        if self.dictionary.source.is_some() && self.dictionary.unknown_fields == 0 {
            let lens = self.dictionary.table_lens();
            for ((source, run), entries) in self.dictionary.table_sources.iter_mut().zip(self.runs).zip(lens) {
                *source = run.map_or_else(TableSource::default, |span| TableSource { span, entries });
            }
        }
        (self.dictionary, self.faults, self.repairs)
    }

    /// Index 0 means "not set", so an entry 0 that is something can only be misunderstood: who refers to it is
    /// refused, and it is not passed on.
    fn clear_zero_entries(&mut self) {
        let d = &mut self.dictionary;
        let locations = &mut self.locations;
        let lists_are_empty = [
            d.mapping_attributes.clear_first_row(),
            locations.lines.clear_first_row(),
            locations.attributes.clear_first_row(),
            self.stacks.clear_first_row(),
        ]
        .map(|cleared| cleared == 0);
        let numbers = (std::mem::take(&mut locations.mapping[0]), std::mem::take(&mut locations.address[0]));
        let link_is_zero = std::mem::take(&mut d.links[0]) == Link::default() && !self.faults.links.contains_key(&0);
        let faults = &mut self.faults;
        for (table, is_zero, faults) in [
            ("mapping_table", is_taken_zero(&mut d.mappings[0]) && lists_are_empty[0], &mut faults.mappings),
            ("location_table", lists_are_empty[1] && lists_are_empty[2] && numbers == (0, 0), &mut faults.locations),
            ("function_table", is_taken_zero(&mut d.functions[0]), &mut faults.functions),
            ("link_table", link_is_zero, &mut faults.links),
            ("string_table", std::mem::take(&mut d.strings[0]).len == 0, &mut faults.strings),
            ("attribute_table", is_taken_zero(&mut d.attributes[0]), &mut faults.attributes),
            ("stack_table", lists_are_empty[3], &mut faults.stacks),
        ] {
            if !is_zero {
                let message = format!("{table}[0] is not the zero value, and 0 means \"not set\"");
                faults.insert(0, Fault::new(Reason::ZeroEntry, message));
                self.changed = true;
            }
        }
    }

    fn add_missing_zero_entries(&mut self) {
        let is_missing = self.is_empty();
        let d = &mut self.dictionary;
        let mut added = 0;
        let mut complete = |is_empty: bool, add: &mut dyn FnMut()| {
            if is_empty {
                add();
                added += 1;
            }
        };
        complete(d.mappings.is_empty(), &mut || {
            d.mappings.push(Mapping::default());
            d.mapping_attributes.end_row();
        });
        let locations = &mut self.locations;
        complete(locations.mapping.is_empty(), &mut || {
            locations.mapping.push(0);
            locations.address.push(0);
            locations.lines.end_row();
            locations.attributes.end_row();
        });
        complete(d.functions.is_empty(), &mut || d.functions.push(Function::default()));
        complete(d.links.is_empty(), &mut || d.links.push(Link::default()));
        complete(d.strings.is_empty(), &mut || d.strings.push(Span::default()));
        complete(d.attributes.is_empty(), &mut || d.attributes.push(Attribute::default()));
        complete(self.stacks.is_empty(), &mut || self.stacks.end_row());
        self.changed |= added > 0;
        // A request without any dictionary is not one with seven faults.
        for _ in 0..if is_missing { 0 } else { added } {
            self.repairs.count(Repair::ZeroEntryAdded);
        }
    }

    fn room(&self, entries: usize, what: &'static str) -> Result<()> {
        let limit = self.limits.max_table_entries;
        if entries < limit { Ok(()) } else { Err(Error::TooMany { what, limit, key: "max_table_entries" }) }
    }

    /// A line number: negative ones say nothing and become 0, "unset".
    fn line_number(&mut self, value: u64) -> i64 {
        let line = value as i64;
        if line < 0 {
            self.repairs.count(Repair::NegativeLineCleared);
            self.changed = true;
        }
        line.max(0)
    }

    fn mapping(&mut self, mut message: Reader<'a>) -> Result<()> {
        self.room(self.dictionary.mappings.len(), "mapping_table entries")?;
        let mut m = Mapping::default();
        let attributes = &mut self.dictionary.mapping_attributes;
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => m.memory_start = message.uint64(wire, "Mapping.memory_start")?,
                2 => m.memory_limit = message.uint64(wire, "Mapping.memory_limit")?,
                3 => m.file_offset = message.uint64(wire, "Mapping.file_offset")?,
                4 => m.filename = message.index(wire, "Mapping.filename_strindex")?,
                5 => message.indices(wire, &mut attributes.items, "Mapping.attribute_indices")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        attributes.end_row();
        if m.clear_empty_range() {
            self.repairs.count(Repair::MappingRangeCleared);
            self.changed = true;
        }
        self.dictionary.mappings.push(m);
        Ok(())
    }

    fn location(&mut self, mut message: Reader<'a>) -> Result<()> {
        self.room(self.locations.mapping.len(), "location_table entries")?;
        let (mut mapping, mut address) = (0, 0);
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => mapping = message.index(wire, "Location.mapping_index")?,
                2 => address = message.uint64(wire, "Location.address")?,
                3 => self.line(message.message(wire, "Location.lines")?)?,
                4 => {
                    let attributes = &mut self.locations.attributes.items;
                    message.indices(wire, attributes, "Location.attribute_indices")?;
                }
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        let locations = &mut self.locations;
        locations.mapping.push(mapping);
        locations.address.push(address);
        locations.lines.end_row();
        locations.attributes.end_row();
        Ok(())
    }

    fn line(&mut self, mut message: Reader<'a>) -> Result<()> {
        self.room(self.locations.lines.items.len(), "lines")?;
        let mut line = Line::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => line.function = message.index(wire, "Line.function_index")?,
                2 => line.line = self.line_number(message.uint64(wire, "Line.line")?),
                3 => line.column = self.line_number(message.uint64(wire, "Line.column")?),
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        self.locations.lines.items.push(line);
        Ok(())
    }

    fn function(&mut self, mut message: Reader<'a>) -> Result<()> {
        self.room(self.dictionary.functions.len(), "function_table entries")?;
        let mut function = Function::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => function.name = message.index(wire, "Function.name_strindex")?,
                2 => function.system_name = message.index(wire, "Function.system_name_strindex")?,
                3 => function.filename = message.index(wire, "Function.filename_strindex")?,
                4 => function.start_line = self.line_number(message.uint64(wire, "Function.start_line")?),
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        self.dictionary.functions.push(function);
        Ok(())
    }

    fn link(&mut self, mut message: Reader<'a>) -> Result<()> {
        self.room(self.dictionary.links.len(), "link_table entries")?;
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => trace_id = message.span(wire, "Link.trace_id")?.of(self.body),
                2 => span_id = message.span(wire, "Link.span_id")?.of(self.body),
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        let index = self.dictionary.links.len() as u32;
        let link = match (trace_id.try_into(), span_id.try_into()) {
            (Ok(trace_id), Ok(span_id)) => Link { trace_id, span_id },
            _ if trace_id.is_empty() && span_id.is_empty() => Link::default(),
            _ => {
                let (trace, span) = (trace_id.len(), span_id.len());
                let message = format!(
                    "link_table[{index}] has a trace_id of {trace} bytes and a span_id of {span}; 16 and 8 are allowed"
                );
                self.faults.links.insert(index, Fault::new(Reason::LinkIdLength, message));
                Link::default()
            }
        };
        // The checker takes the empty Link only as the zero entry, and only there: 16 and 8 zero bytes, or a zero
        // Link further on, are written as a reference to entry 0.
        self.changed |= link == Link::default() && (index > 0 || !trace_id.is_empty());
        self.dictionary.links.push(link);
        Ok(())
    }

    fn string(&mut self, message: &mut Reader<'a>, wire: Wire) -> Result<()> {
        let index = self.dictionary.strings.len();
        self.room(index, "string_table entries")?;
        let span = message.span(wire, "ProfilesDictionary.string_table")?;
        if std::str::from_utf8(span.of(self.body)).is_err() {
            let fault = Fault::new(Reason::InvalidUtf8, format!("string_table[{index}] is not UTF-8"));
            self.faults.strings.insert(index as u32, fault);
        }
        self.dictionary.strings.push(span);
        Ok(())
    }

    fn attribute(&mut self, mut message: Reader<'a>) -> Result<()> {
        let index = self.dictionary.attributes.len();
        self.room(index, "attribute_table entries")?;
        let mut attribute = Attribute::default();
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => attribute.key = message.index(wire, "KeyValueAndUnit.key_strindex")?,
                2 => {
                    let value = message.message(wire, "KeyValueAndUnit.value")?;
                    self.values.any_value(value, &mut attribute.value, 1)?;
                }
                3 => attribute.unit = message.index(wire, "KeyValueAndUnit.unit_strindex")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        if let Some(fault) = self.values.take_fault() {
            let owner = format_args!("attribute_table[{index}]");
            self.faults.attributes.insert(index as u32, fault.reached_from(owner));
        }
        self.dictionary.attributes.push(attribute);
        Ok(())
    }

    fn stack(&mut self, mut message: Reader<'a>) -> Result<()> {
        let index = self.stacks.len();
        self.room(index, "stack_table entries")?;
        let stacks = &mut self.stacks;
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => message.indices(wire, &mut stacks.items, "Stack.location_indices")?,
                _ => self.values.skip(&mut message, number, wire)?,
            }
        }
        stacks.end_row();
        let (depth, limit) = (stacks.range(index).len(), self.limits.max_stack_depth);
        if depth > limit {
            let message = format!("stack_table[{index}] has {depth} locations; limits.max_stack_depth is {limit}");
            self.faults.stacks.insert(index as u32, Fault::new(Reason::StackTooDeep, message));
        }
        Ok(())
    }
}

/// Whether an entry is the zero value; it is afterwards.
fn is_taken_zero<T: Default + PartialEq>(entry: &mut T) -> bool {
    std::mem::take(entry) == T::default()
}

impl Dictionary {
    /// A string of the table.
    pub fn string<'b>(&self, body: &'b [u8], index: u32) -> &'b [u8] {
        self.strings[index as usize].of(body)
    }

    /// The number of entries of each table, in the order of their fields.
    pub fn table_lens(&self) -> [usize; 7] {
        [
            self.mappings.len(),
            self.locations.mapping.len(),
            self.functions.len(),
            self.links.len(),
            self.strings.len(),
            self.attributes.len(),
            self.stacks.len(),
        ]
    }

    /// Bytes on the heap; values nested in attributes are counted by their handles.
    pub fn memory_bytes(&self) -> usize {
        self.mappings.capacity() * size_of::<Mapping>()
            + self.mapping_attributes.memory_bytes()
            + self.locations.mapping.capacity() * size_of::<u32>()
            + self.locations.address.capacity() * size_of::<u64>()
            + self.locations.lines.memory_bytes()
            + self.locations.attributes.memory_bytes()
            + self.functions.capacity() * size_of::<Function>()
            + self.links.capacity() * size_of::<Link>()
            + self.strings.capacity() * size_of::<Span>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.stacks.memory_bytes()
    }
}
