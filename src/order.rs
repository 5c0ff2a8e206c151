//! The tables of a merged request: those symbols that it uses, the most used first, since a small index takes fewer
//! bytes on the wire.

use crate::columns::{Ragged, Shared};
use crate::dictionary::{Attribute, Dictionary, Function, Line, Locations, Mapping};
use crate::symbols::Symbols;
use crate::wire::Span;

/// How often each symbol of a table is used, and in which order they were first met.
#[derive(Debug, Default)]
struct Uses {
    counts: Vec<u32>,
    met: Vec<u32>,
}

impl Uses {
    fn of(len: usize) -> Self {
        Self { counts: vec![0; len], met: vec![] }
    }

    #[inline]
    fn count(&mut self, symbol: u32) {
        let count = &mut self.counts[symbol as usize];
        if *count == 0 {
            self.met.push(symbol);
        }
        *count = count.saturating_add(1);
    }

    fn count_all(&mut self, symbols: &[u32]) {
        for &symbol in symbols {
            self.count(symbol);
        }
    }

    /// The used symbols in the order of their table, entry 0 first, and the index of each.
    fn rank(mut self) -> Rank {
        self.met.retain(|&symbol| symbol != 0);
        // Stable: what is used as often stays in the order of first use, so that the same requests make the same bytes.
        self.met.sort_by_key(|&symbol| std::cmp::Reverse(self.counts[symbol as usize]));
        self.met.insert(0, 0);
        let mut index_of = self.counts;
        for (index, &symbol) in self.met.iter().enumerate() {
            index_of[symbol as usize] = index as u32;
        }
        Rank { symbols: self.met, index_of }
    }
}

/// The symbols of one table in their order, and the index of each.
#[derive(Debug, Default)]
pub struct Rank {
    symbols: Vec<u32>,
    index_of: Vec<u32>,
}

impl Rank {
    /// The index of a symbol that is used.
    #[inline]
    pub fn index(&self, symbol: u32) -> u32 {
        self.index_of[symbol as usize]
    }

    /// Symbols become indices.
    pub fn renumber(&self, column: &mut [u32]) {
        for symbol in column {
            *symbol = self.index(*symbol);
        }
    }

    fn rows<'a, T: Copy>(&'a self, rows: &'a Ragged<T>) -> impl Iterator<Item = &'a [T]> {
        self.symbols.iter().map(|&symbol| rows.row(symbol as usize))
    }

    fn entries<'a, T>(&'a self, entries: &'a [T]) -> impl Iterator<Item = &'a T> {
        self.symbols.iter().map(|&symbol| &entries[symbol as usize])
    }
}

/// Counts what a merged request uses.
#[derive(Debug)]
pub struct Order<'a> {
    symbols: &'a Symbols,
    strings: Uses,
    functions: Uses,
    mappings: Uses,
    attributes: Uses,
    locations: Uses,
    links: Uses,
    stacks: Uses,
}

/// The index of each used symbol, for what refers to the dictionary from outside.
#[derive(Debug)]
pub struct Ranks {
    /// `string_table`
    pub strings: Rank,
    /// `attribute_table`
    pub attributes: Rank,
    /// `link_table`
    pub links: Rank,
    /// `stack_table`
    pub stacks: Rank,
}

impl<'a> Order<'a> {
    /// Nothing is used yet.
    pub fn new(symbols: &'a Symbols) -> Self {
        let d = &symbols.dictionary;
        Self {
            symbols,
            strings: Uses::of(d.strings.len()),
            functions: Uses::of(d.functions.len()),
            mappings: Uses::of(d.mappings.len()),
            attributes: Uses::of(d.attributes.len()),
            locations: Uses::of(d.locations.mapping.len()),
            links: Uses::of(d.links.len()),
            stacks: Uses::of(d.stacks.len()),
        }
    }

    /// A Sample refers to these.
    pub fn count_sample(&mut self, stack: u32, link: u32, attributes: &[u32]) {
        self.stacks.count(stack);
        self.links.count(link);
        self.attributes.count_all(attributes);
    }

    /// A Profile refers to these.
    pub fn count_profile(&mut self, strings: &[u32], attributes: &[u32]) {
        self.strings.count_all(strings);
        self.attributes.count_all(attributes);
    }

    /// The dictionary of what was counted and of what that refers to; its strings are appended to `text`.
    pub fn dictionary(mut self, text: &mut Vec<u8>) -> (Dictionary, Ranks) {
        self.count_references();
        let symbols = self.symbols;
        let d = &symbols.dictionary;
        let strings = self.strings.rank();
        let attributes = self.attributes.rank();
        let functions = self.functions.rank();
        let mappings = self.mappings.rank();
        let locations = self.locations.rank();
        let links = self.links.rank();
        let stacks = self.stacks.rank();
        let mut copied = |span: Span| {
            let start = text.len() as u32;
            text.extend_from_slice(span.of(&symbols.text));
            Span { start, len: span.len }
        };
        let mapping = |mapping: &Mapping| Mapping { filename: strings.index(mapping.filename), ..*mapping };
        let function = |function: &Function| Function {
            name: strings.index(function.name),
            system_name: strings.index(function.system_name),
            filename: strings.index(function.filename),
            ..*function
        };
        let attribute = |attribute: &Attribute, copied: &mut dyn FnMut(Span) -> Span| Attribute {
            key: strings.index(attribute.key),
            value: attribute.value.moved(&mut |span| copied(span)),
            unit: strings.index(attribute.unit),
        };
        let line = |line: &Line| Line { function: functions.index(line.function), ..*line };
        let dictionary = Dictionary {
            mappings: mappings.entries(&d.mappings).map(mapping).collect(),
            mapping_attributes: indexed(mappings.rows(&d.mapping_attributes), |&symbol| attributes.index(symbol)),
            locations: Shared::from(Locations {
                mapping: locations.entries(&d.locations.mapping).map(|&symbol| mappings.index(symbol)).collect(),
                address: locations.entries(&d.locations.address).copied().collect(),
                lines: indexed(locations.rows(&d.locations.lines), line),
                attributes: indexed(locations.rows(&d.locations.attributes), |&symbol| attributes.index(symbol)),
            }),
            functions: functions.entries(&d.functions).map(function).collect(),
            links: links.entries(&d.links).copied().collect(),
            strings: strings.entries(&d.strings).map(|&span| copied(span)).collect(),
            attributes: attributes.entries(&d.attributes).map(|entry| attribute(entry, &mut copied)).collect(),
            stacks: Shared::from(indexed(stacks.rows(&d.stacks), |&symbol| locations.index(symbol))),
            source: None,
            table_sources: Default::default(),
            unknown_fields: 0,
        };
        (dictionary, Ranks { strings, attributes, links, stacks })
    }

    /// In the order of what refers to what, so that one pass over each table is enough.
    fn count_references(&mut self) {
        let d = &self.symbols.dictionary;
        for &stack in &self.stacks.met {
            self.locations.count_all(d.stacks.row(stack as usize));
        }
        for &location in &self.locations.met {
            let row = location as usize;
            self.mappings.count(d.locations.mapping[row]);
            for line in d.locations.lines.row(row) {
                self.functions.count(line.function);
            }
            self.attributes.count_all(d.locations.attributes.row(row));
        }
        for &mapping in &self.mappings.met {
            self.strings.count(d.mappings[mapping as usize].filename);
            self.attributes.count_all(d.mapping_attributes.row(mapping as usize));
        }
        for &function in &self.functions.met {
            let function = d.functions[function as usize];
            self.strings.count_all(&[function.name, function.system_name, function.filename]);
        }
        for &attribute in &self.attributes.met {
            let attribute = &d.attributes[attribute as usize];
            self.strings.count_all(&[attribute.key, attribute.unit]);
        }
    }
}

fn indexed<'a, T: 'a, U>(rows: impl Iterator<Item = &'a [T]>, index: impl Fn(&T) -> U) -> Ragged<U> {
    let mut indexed = Ragged::default();
    for row in rows {
        indexed.items.extend(row.iter().map(&index));
        indexed.end_row();
    }
    indexed
}
