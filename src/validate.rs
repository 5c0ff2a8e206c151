//! The wire is hostile: every index is checked at both ends, and what is wrong with an entry refuses the Profiles
//! that reach it, no others.
//!
//! Columns are checked as a whole first (an int32 as its bits is out of range exactly when it is not below the
//! table's length, so one maximum decides); only when that fails is the culprit looked for.

use std::fmt::Display;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::columns::{Ragged, Samples};
use crate::dictionary::{Attribute, Dictionary, Function, Mapping};
use crate::limits::Limits;
use crate::refusal::{Checked, DictionaryFaults, Fault, Faults, Reason, shown};
use crate::value::{KeyValue, check_references};
use crate::wire::Span;

/// What an index points into.
#[derive(Clone, Copy)]
struct Target<'a> {
    table: &'static str,
    len: usize,
    faults: &'a Faults,
}

impl Target<'_> {
    /// Whether every index is in range and no entry of the table has a fault.
    fn accepts_all(&self, indices: &[u32]) -> bool {
        self.faults.is_empty() && (indices.iter().fold(0, |max, &i| max.max(i)) as usize) < self.len
    }

    fn check(&self, owner: impl Display, field: &str, index: u32) -> Checked {
        if index as usize >= self.len {
            return Err(Fault::index(owner, field, index, self.table, self.len));
        }
        match self.faults.get(&index) {
            Some(fault) => Err(fault.reached_from(format_args!("{owner}.{field}"))),
            None => Ok(()),
        }
    }
}

/// Holds everything that refers to the dictionary against it.
pub struct Validator<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    dictionary: &'a Dictionary,
    faults: DictionaryFaults,
    /// For each attribute, the first string-table index that holds the bytes of its key.
    keys: Vec<u32>,
}

impl<'a> Validator<'a> {
    /// Check the dictionary's own entries; `faults` are those met while it was read.
    pub fn new(body: &'a [u8], limits: &'a Limits, dictionary: &'a Dictionary, faults: DictionaryFaults) -> Self {
        let mut validator = Self { body, limits, dictionary, faults, keys: vec![] };
        validator.keys = validator.attribute_keys();
        // In the order of what refers to what, so that a fault travels up.
        validator.faults.attributes.extend(validator.bad_attributes());
        validator.faults.functions.extend(validator.bad_functions());
        validator.faults.mappings.extend(validator.bad_mappings());
        validator.faults.locations.extend(validator.bad_locations());
        validator.faults.stacks.extend(validator.bad_stacks());
        validator
    }

    /// What is wrong with which entries.
    pub fn into_faults(self) -> DictionaryFaults {
        self.faults
    }

    fn strings(&self) -> Target<'_> {
        Target { table: "string_table", len: self.dictionary.strings.len(), faults: &self.faults.strings }
    }

    fn attributes(&self) -> Target<'_> {
        Target { table: "attribute_table", len: self.dictionary.attributes.len(), faults: &self.faults.attributes }
    }

    fn functions(&self) -> Target<'_> {
        Target { table: "function_table", len: self.dictionary.functions.len(), faults: &self.faults.functions }
    }

    fn mappings(&self) -> Target<'_> {
        Target { table: "mapping_table", len: self.dictionary.mappings.len(), faults: &self.faults.mappings }
    }

    fn locations(&self) -> Target<'_> {
        let len = self.dictionary.locations.mapping.len();
        Target { table: "location_table", len, faults: &self.faults.locations }
    }

    fn links(&self) -> Target<'_> {
        Target { table: "link_table", len: self.dictionary.links.len(), faults: &self.faults.links }
    }

    fn stacks(&self) -> Target<'_> {
        Target { table: "stack_table", len: self.dictionary.stacks.len(), faults: &self.faults.stacks }
    }

    fn attribute_keys(&self) -> Vec<u32> {
        let mut first: FxHashMap<&[u8], u32> = FxHashMap::default();
        let key = |attribute: &Attribute| match self.dictionary.strings.get(attribute.key as usize) {
            Some(span) => *first.entry(span.of(self.body)).or_insert(attribute.key),
            None => attribute.key,
        };
        self.dictionary.attributes.iter().map(key).collect()
    }

    fn bad_attributes(&self) -> Vec<(u32, Fault)> {
        let strings = self.strings();
        bad_entries(self.dictionary.attributes.iter(), &self.faults.attributes, |index, attribute| {
            let owner = Indexed("attribute_table", index);
            strings.check(owner, "key_strindex", attribute.key)?;
            strings.check(owner, "unit_strindex", attribute.unit)?;
            let mut first = Ok(());
            attribute.value.string_indices(&mut |string| {
                if first.is_ok() {
                    first = strings.check(owner, "value.string_value_strindex", string);
                }
            });
            first
        })
    }

    fn bad_functions(&self) -> Vec<(u32, Fault)> {
        let strings = self.strings();
        bad_entries(self.dictionary.functions.iter(), &self.faults.functions, |index, function| {
            let owner = Indexed("function_table", index);
            strings.check(owner, "name_strindex", function.name)?;
            strings.check(owner, "system_name_strindex", function.system_name)?;
            strings.check(owner, "filename_strindex", function.filename)
        })
    }

    fn bad_mappings(&self) -> Vec<(u32, Fault)> {
        let strings = self.strings();
        let attributes = &self.dictionary.mapping_attributes;
        bad_entries(self.dictionary.mappings.iter(), &self.faults.mappings, |index, mapping| {
            let owner = Indexed("mapping_table", index);
            strings.check(owner, "filename_strindex", mapping.filename)?;
            self.check_attributes(owner, attributes.row(index))
        })
    }

    fn bad_locations(&self) -> Vec<(u32, Fault)> {
        let locations = &self.dictionary.locations;
        let (mappings, functions) = (self.mappings(), self.functions());
        bad_entries(locations.mapping.iter(), &self.faults.locations, |index, &mapping| {
            let owner = Indexed("location_table", index);
            mappings.check(owner, "mapping_index", mapping)?;
            for line in locations.lines.row(index) {
                functions.check(owner, "lines.function_index", line.function)?;
            }
            self.check_attributes(owner, locations.attributes.row(index))
        })
    }

    fn bad_stacks(&self) -> Vec<(u32, Fault)> {
        let locations = self.locations();
        if locations.accepts_all(&self.dictionary.stacks.items) {
            return vec![];
        }
        bad_entries(self.dictionary.stacks.rows(), &self.faults.stacks, |index, row| {
            let owner = Indexed("stack_table", index);
            row.iter().try_for_each(|&location| locations.check(owner, "location_indices", location))
        })
    }

    /// Check one owner's attributes: in range, not too many, no key twice.
    pub fn check_attributes(&self, owner: impl Display + Copy, indices: &[u32]) -> Checked {
        let attributes = self.attributes();
        if !attributes.accepts_all(indices) {
            indices.iter().try_for_each(|&index| attributes.check(owner, "attribute_indices", index))?;
        }
        let (count, limit) = (indices.len(), self.limits.max_attributes);
        if count > limit {
            let message = format!("{owner} has {count} attributes; limits.max_attributes is {limit}");
            return Err(Fault::new(Reason::TooManyAttributes, message));
        }
        match self.repeated_key(indices) {
            None => Ok(()),
            Some(key) => {
                let key = shown(self.dictionary.string(self.body, key));
                let message = format!("{owner} has the attribute key {key} twice");
                Err(Fault::new(Reason::DuplicateAttributeKey, message))
            }
        }
    }

    fn repeated_key(&self, indices: &[u32]) -> Option<u32> {
        let mut keys = indices.iter().map(|&index| self.keys[index as usize]).enumerate();
        if indices.len() <= 16 {
            let earlier = |i: usize, key| indices[..i].iter().any(|&other| self.keys[other as usize] == key);
            return keys.find(|&(i, key)| earlier(i, key)).map(|(_, key)| key);
        }
        let mut seen = FxHashSet::default();
        keys.find(|&(_, key)| !seen.insert(key)).map(|(_, key)| key)
    }

    /// Check one string index.
    pub fn check_string(&self, owner: impl Display, field: &str, index: u32) -> Checked {
        self.strings().check(owner, field, index)
    }

    /// Check what attributes of a Resource or scope refer to.
    pub fn check_references(&self, owner: &'static str, attributes: &[KeyValue]) -> Checked {
        check_references(attributes, |index| self.strings().check(owner, "attributes", index))
    }

    /// Check the references of a Profile's Samples.
    pub fn check_samples(&self, samples: &Samples, rows: Range<usize>) -> Checked {
        let (stacks, links) = (self.stacks(), self.links());
        let first = rows.start;
        if !stacks.accepts_all(&samples.stack[rows.clone()]) {
            for row in rows.clone() {
                stacks.check(Indexed("samples", row - first), "stack_index", samples.stack[row])?;
            }
        }
        if !links.accepts_all(&samples.link[rows.clone()]) {
            for row in rows.clone() {
                links.check(Indexed("samples", row - first), "link_index", samples.link[row])?;
            }
        }
        let mut last: &[u32] = &[];
        for row in rows {
            // Neighbours mostly have the same attributes.
            let indices = samples.attributes.row(row);
            if indices != last {
                self.check_attributes(Indexed("samples", row - first), indices)?;
                last = indices;
            }
        }
        Ok(())
    }
}

impl Dictionary {
    /// Make entries with a fault say nothing. No Profile reaches them, but who goes over a whole table does, and may
    /// rely on every index in it.
    pub fn clear(&mut self, faults: &DictionaryFaults) {
        for &index in faults.strings.keys() {
            self.strings[index as usize] = Span::default();
        }
        for &index in faults.attributes.keys() {
            self.attributes[index as usize] = Attribute::default();
        }
        for &index in faults.functions.keys() {
            self.functions[index as usize] = Function::default();
        }
        for &index in faults.mappings.keys() {
            self.mappings[index as usize] = Mapping::default();
            clear_row(&mut self.mapping_attributes, index);
        }
        for &index in faults.locations.keys() {
            let locations = &mut *self.locations;
            locations.mapping[index as usize] = 0;
            clear_row(&mut locations.lines, index);
            clear_row(&mut locations.attributes, index);
        }
        for &index in faults.stacks.keys() {
            clear_row(&mut self.stacks, index);
        }
    }
}

fn clear_row<T: Default + Clone>(rows: &mut Ragged<T>, row: u32) {
    let range = rows.range(row as usize);
    rows.items[range].fill(T::default());
}

/// `table[index]`, written only when there is something to say about it.
#[derive(Clone, Copy)]
struct Indexed(&'static str, usize);

impl Display for Indexed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.0, self.1)
    }
}

/// The entries that a check refuses, those left out that have a fault already.
fn bad_entries<T>(
    entries: impl Iterator<Item = T>,
    known: &Faults,
    check: impl Fn(usize, T) -> Checked,
) -> Vec<(u32, Fault)> {
    entries
        .enumerate()
        .filter(|(index, _)| known.is_empty() || !known.contains_key(&(*index as u32)))
        .filter_map(|(index, entry)| check(index, entry).err().map(|fault| (index as u32, fault)))
        .collect()
}
