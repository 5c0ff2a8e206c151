//! Symbols by value: seven tables in which nothing stands twice, kept from one merge to the next, since the n-th
//! request of a service names nearly what the last one named.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::columns::Ragged;
use crate::dictionary::{Attribute, Dictionary, Function, Line, Link, Mapping};
use crate::profiles::Profiles;
use crate::value::{AnyValue, KeyValue};
use crate::wire::{Span, Writer};

/// Not asked for yet.
const UNKNOWN: u32 = u32::MAX;

/// Seven tables by value. Entry 0 of each is the zero value. Hashing is seeded at random, since the wire is hostile;
/// nothing that is written depends on it.
#[derive(Debug)]
pub struct Symbols {
    /// What strings and attribute values are pieces of.
    pub text: Vec<u8>,
    /// The tables.
    pub dictionary: Dictionary,
    /// By attribute, its value on the wire: what tells it from others.
    encoded_values: Vec<Span>,
    hasher: DefaultHashBuilder,
    strings: HashTable<u32>,
    functions: HashTable<u32>,
    mappings: HashTable<u32>,
    attributes: HashTable<u32>,
    locations: HashTable<u32>,
    links: HashTable<u32>,
    stacks: HashTable<u32>,
    scratch: Vec<u32>,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self {
            text: vec![],
            dictionary: Dictionary::default(),
            encoded_values: vec![],
            hasher: DefaultHashBuilder::default(),
            strings: HashTable::new(),
            functions: HashTable::new(),
            mappings: HashTable::new(),
            attributes: HashTable::new(),
            locations: HashTable::new(),
            links: HashTable::new(),
            stacks: HashTable::new(),
            scratch: vec![],
        };
        symbols.string(b"");
        symbols.function(Function::default());
        symbols.mapping(Mapping::default(), &[]);
        symbols.attribute(0, 0, &AnyValue::Empty, &[]);
        symbols.location(0, 0, &[], &[]);
        symbols.link(Link::default());
        symbols.stack(&[]);
        symbols
    }
}

impl Symbols {
    /// The number of entries of all tables together.
    pub fn len(&self) -> usize {
        self.dictionary.table_lens().iter().sum()
    }

    /// Whether there is nothing but the zero values.
    pub fn is_empty(&self) -> bool {
        self.len() == self.dictionary.table_lens().len()
    }

    /// The index of a string.
    pub fn string(&mut self, bytes: &[u8]) -> u32 {
        let Self { text, dictionary, hasher, strings, .. } = self;
        let table = &mut dictionary.strings;
        let hash = hasher.hash_one(bytes);
        let rehash = |&index: &u32| hasher.hash_one(table[index as usize].of(text));
        let entry = strings.entry(hash, |&index| table[index as usize].of(text) == bytes, rehash);
        intern(entry, table.len(), || {
            table.push(append(text, bytes));
        })
    }

    fn function(&mut self, function: Function) -> u32 {
        let Self { dictionary: Dictionary { functions: table, .. }, hasher, functions, .. } = self;
        let hash = hasher.hash_one(function);
        let rehash = |&index: &u32| hasher.hash_one(table[index as usize]);
        let entry = functions.entry(hash, |&index| table[index as usize] == function, rehash);
        intern(entry, table.len(), || table.push(function))
    }

    fn link(&mut self, link: Link) -> u32 {
        let Self { dictionary: Dictionary { links: table, .. }, hasher, links, .. } = self;
        let hash = hasher.hash_one(link);
        let rehash = |&index: &u32| hasher.hash_one(table[index as usize]);
        let entry = links.entry(hash, |&index| table[index as usize] == link, rehash);
        intern(entry, table.len(), || table.push(link))
    }

    /// `attributes` are a set: in the order of their content.
    fn mapping(&mut self, mapping: Mapping, attributes: &[u32]) -> u32 {
        let Self { dictionary: Dictionary { mappings: table, mapping_attributes: rows, .. }, hasher, mappings, .. } =
            self;
        let hash = hasher.hash_one((mapping, attributes));
        let rehash = |&index: &u32| hasher.hash_one((table[index as usize], rows.row(index as usize)));
        let equal = |&index: &u32| table[index as usize] == mapping && rows.row(index as usize) == attributes;
        let entry = mappings.entry(hash, equal, rehash);
        intern(entry, table.len(), || {
            table.push(mapping);
            push_row(rows, attributes);
        })
    }

    /// `attributes` are a set: in the order of their content.
    fn location(&mut self, mapping: u32, address: u64, lines: &[Line], attributes: &[u32]) -> u32 {
        let Self { dictionary: Dictionary { locations: table, .. }, hasher, locations, .. } = self;
        let hash = hasher.hash_one((mapping, address, lines, attributes));
        let key = |&index: &u32| {
            let index = index as usize;
            (table.mapping[index], table.address[index], table.lines.row(index), table.attributes.row(index))
        };
        let equal = |index: &u32| key(index) == (mapping, address, lines, attributes);
        let entry = locations.entry(hash, equal, |index| hasher.hash_one(key(index)));
        intern(entry, table.mapping.len(), || {
            table.mapping.push(mapping);
            table.address.push(address);
            push_row(&mut table.lines, lines);
            push_row(&mut table.attributes, attributes);
        })
    }

    fn stack(&mut self, locations: &[u32]) -> u32 {
        let Self { dictionary: Dictionary { stacks: table, .. }, hasher, stacks, .. } = self;
        let hash = hasher.hash_one(locations);
        let rehash = |&index: &u32| hasher.hash_one(table.row(index as usize));
        let entry = stacks.entry(hash, |&index| table.row(index as usize) == locations, rehash);
        intern(entry, table.len(), || push_row(table, locations))
    }

    /// The index of an attribute; `value` refers to no string table, its strings are pieces of `body`.
    fn attribute(&mut self, key: u32, unit: u32, value: &AnyValue, body: &[u8]) -> u32 {
        let mut writer = Writer::default();
        value.write(&mut writer, 1, body, &|index| index);
        let encoded = writer.into_bytes();
        let Self { text, dictionary, encoded_values, hasher, attributes, .. } = self;
        let table = &mut dictionary.attributes;
        let identity = |&index: &u32| {
            let attribute = &table[index as usize];
            (attribute.key, attribute.unit, encoded_values[index as usize].of(text))
        };
        let hash = hasher.hash_one((key, unit, &encoded[..]));
        let equal = |index: &u32| identity(index) == (key, unit, &encoded[..]);
        let entry = attributes.entry(hash, equal, |index| hasher.hash_one(identity(index)));
        intern(entry, table.len(), || {
            let value = value.moved(&mut |span| append(text, span.of(body)));
            encoded_values.push(append(text, &encoded));
            table.push(Attribute { key, value, unit });
        })
    }
}

impl Symbols {
    /// Put attributes in an order that depends on nothing but what they are.
    fn sort_by_content(&self, attributes: &mut [u32]) {
        let content = |&index: &u32| {
            let attribute = &self.dictionary.attributes[index as usize];
            let string = |index: u32| self.dictionary.strings[index as usize].of(&self.text);
            (string(attribute.key), self.encoded_values[index as usize].of(&self.text), string(attribute.unit))
        };
        attributes.sort_by(|a, b| content(a).cmp(&content(b)));
    }
}

/// The index of an entry that is there, or that is added as the `next` one.
fn intern(entry: hashbrown::hash_table::Entry<'_, u32>, next: usize, add: impl FnOnce()) -> u32 {
    match entry {
        hashbrown::hash_table::Entry::Occupied(known) => *known.get(),
        hashbrown::hash_table::Entry::Vacant(vacant) => {
            vacant.insert(next as u32);
            add();
            next as u32
        }
    }
}

fn append(text: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = text.len() as u32;
    text.extend_from_slice(bytes);
    Span { start, len: bytes.len() as u32 }
}

fn push_row<T: Copy>(rows: &mut Ragged<T>, row: &[T]) {
    rows.items.extend_from_slice(row);
    rows.end_row();
}

/// One request's names for symbols, each looked up when it is first asked for: what nothing reaches is never met.
pub struct Names<'a> {
    source: &'a Profiles,
    strings: Vec<u32>,
    functions: Vec<u32>,
    mappings: Vec<u32>,
    attributes: Vec<u32>,
    locations: Vec<u32>,
    links: Vec<u32>,
    stacks: Vec<u32>,
    /// Sets of attributes that Samples have, by number; equal sets have one.
    sets: Ragged<u32>,
    set_numbers: HashMap<Vec<u32>, u32>,
    known_sets: HashMap<&'a [u32], u32>,
    last_set: Option<(&'a [u32], u32)>,
}

impl<'a> Names<'a> {
    /// Names of a request, none of them known yet.
    pub fn new(source: &'a Profiles) -> Self {
        let d = &source.dictionary;
        Self {
            source,
            strings: vec![UNKNOWN; d.strings.len()],
            functions: vec![UNKNOWN; d.functions.len()],
            mappings: vec![UNKNOWN; d.mappings.len()],
            attributes: vec![UNKNOWN; d.attributes.len()],
            locations: vec![UNKNOWN; d.locations.mapping.len()],
            links: vec![UNKNOWN; d.links.len()],
            stacks: vec![UNKNOWN; d.stacks.len()],
            sets: Ragged::default(),
            set_numbers: HashMap::new(),
            known_sets: HashMap::new(),
            last_set: None,
        }
    }

    /// By table, how many entries past the zero value were asked for, and how many were not.
    pub fn reached_and_orphans(&self) -> [(u64, u64); 7] {
        let tables = [
            &self.mappings,
            &self.locations,
            &self.functions,
            &self.links,
            &self.strings,
            &self.attributes,
            &self.stacks,
        ];
        tables.map(|table| {
            let orphans = table.iter().skip(1).filter(|&&symbol| symbol == UNKNOWN).count() as u64;
            (table.len() as u64 - 1 - orphans, orphans)
        })
    }

    /// The symbol of a string.
    pub fn string(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        let known = &mut self.strings[index as usize];
        if *known == UNKNOWN {
            *known = symbols.string(self.source.string(index));
        }
        *known
    }

    /// The symbol of a Link.
    pub fn link(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        let known = &mut self.links[index as usize];
        if *known == UNKNOWN {
            *known = symbols.link(self.source.dictionary.links[index as usize]);
        }
        *known
    }

    /// The symbol of an attribute.
    pub fn attribute(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        if self.attributes[index as usize] == UNKNOWN {
            let Attribute { key, value, unit } = &self.source.dictionary.attributes[index as usize];
            let (key, unit) = (self.string(symbols, *key), self.string(symbols, *unit));
            value.string_indices(&mut |index| {
                self.string(symbols, index);
            });
            let value = self.inline(value);
            self.attributes[index as usize] = symbols.attribute(key, unit, &value, &self.source.body);
        }
        self.attributes[index as usize]
    }

    /// A value with its string references resolved: an inline string and a reference to it are one value.
    pub fn inline(&self, value: &AnyValue) -> AnyValue {
        let strings = &self.source.dictionary.strings;
        match value {
            AnyValue::StringIndex(index) => AnyValue::String(strings[*index as usize]),
            AnyValue::Array(items) => AnyValue::Array(items.iter().map(|item| self.inline(item)).collect()),
            AnyValue::KvList(items) => AnyValue::KvList(items.iter().map(|pair| self.inline_pair(pair)).collect()),
            other => other.clone(),
        }
    }

    /// The strings of a pair are asked for, though they will stand inline.
    pub fn reach(&mut self, symbols: &mut Symbols, pair: &KeyValue) {
        pair.string_indices(&mut |index| {
            self.string(symbols, index);
        });
    }

    /// The same for a pair.
    pub fn inline_pair(&self, pair: &KeyValue) -> KeyValue {
        let key = if pair.key_index == 0 { pair.key } else { self.source.dictionary.strings[pair.key_index as usize] };
        KeyValue { key, key_index: 0, value: self.inline(&pair.value) }
    }

    fn function(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        if self.functions[index as usize] == UNKNOWN {
            let function = self.source.dictionary.functions[index as usize];
            let function = Function {
                name: self.string(symbols, function.name),
                system_name: self.string(symbols, function.system_name),
                filename: self.string(symbols, function.filename),
                ..function
            };
            self.functions[index as usize] = symbols.function(function);
        }
        self.functions[index as usize]
    }

    /// The set of some attributes, in the order of their content.
    fn sorted_attributes(&mut self, symbols: &mut Symbols, indices: &[u32]) -> Vec<u32> {
        let mut set: Vec<u32> = indices.iter().map(|&index| self.attribute(symbols, index)).collect();
        symbols.sort_by_content(&mut set);
        set
    }

    /// The number, within this request, of a Sample's set of attributes.
    pub fn attribute_set(&mut self, symbols: &mut Symbols, indices: &'a [u32]) -> u32 {
        // Neighbours mostly have the same attributes.
        if let Some((last, number)) = self.last_set
            && last == indices
        {
            return number;
        }
        let known = self.known_sets.get(indices).copied();
        let number = known.unwrap_or_else(|| {
            let set = self.sorted_attributes(symbols, indices);
            let next = self.sets.len() as u32;
            let number = *self.set_numbers.entry(set.clone()).or_insert(next);
            if number == next {
                push_row(&mut self.sets, &set);
            }
            self.known_sets.insert(indices, number);
            number
        });
        self.last_set = Some((indices, number));
        number
    }

    /// The attributes of a set.
    pub fn set(&self, number: u32) -> &[u32] {
        self.sets.row(number as usize)
    }

    fn mapping(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        if self.mappings[index as usize] == UNKNOWN {
            let dictionary = &self.source.dictionary;
            let mapping = dictionary.mappings[index as usize];
            let filename = self.string(symbols, mapping.filename);
            let attributes = self.sorted_attributes(symbols, dictionary.mapping_attributes.row(index as usize));
            self.mappings[index as usize] = symbols.mapping(Mapping { filename, ..mapping }, &attributes);
        }
        self.mappings[index as usize]
    }

    fn location(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        if self.locations[index as usize] == UNKNOWN {
            let (row, locations) = (index as usize, &self.source.dictionary.locations);
            let mapping = self.mapping(symbols, locations.mapping[row]);
            let attributes = self.sorted_attributes(symbols, locations.attributes.row(row));
            let lines: Vec<Line> = locations
                .lines
                .row(row)
                .iter()
                .map(|line| Line { function: self.function(symbols, line.function), ..*line })
                .collect();
            self.locations[row] = symbols.location(mapping, locations.address[row], &lines, &attributes);
        }
        self.locations[index as usize]
    }

    /// The symbol of a stack.
    pub fn stack(&mut self, symbols: &mut Symbols, index: u32) -> u32 {
        if self.stacks[index as usize] == UNKNOWN {
            let mut stack = std::mem::take(&mut symbols.scratch);
            stack.clear();
            let row = self.source.dictionary.stacks.row(index as usize);
            stack.extend(row.iter().map(|&location| self.location(symbols, location)));
            self.stacks[index as usize] = symbols.stack(&stack);
            symbols.scratch = stack;
        }
        self.stacks[index as usize]
    }
}
