//! The dictionary of 1.7: every table behind a zero entry, keys in the string table, units with their attributes.

use rustc_hash::FxHashMap;

use super::super::fields::{Field, message, not_of_it, request, rewrite};
use super::super::{Dropped, DroppedCounts};
use crate::error::Result;
use crate::wire::{Reader, Span, Wire, Writer};

/// An index behind a zero entry. A negative one, or the largest, is out of range before and after.
pub(super) fn shifted(index: u32) -> u32 {
    if (index as i32) < 0 { index } else { index + 1 }
}

/// The string table, with the keys of attributes added.
#[derive(Default)]
pub(super) struct Strings<'a> {
    all: Vec<&'a [u8]>,
    /// Whether entry 0 is something: then a field that is not there means no string, and 0 that entry.
    is_shifted: bool,
}

impl Strings<'_> {
    /// The index today of a string that a field names.
    pub(super) fn index(&self, index: u32) -> u32 {
        if self.is_shifted { shifted(index) } else { index }
    }
}

/// The tables as they came.
pub(super) struct Tables<'a> {
    body: &'a [u8],
    dictionaries: Vec<Reader<'a>>,
    /// `string_table`
    pub(super) strings: Strings<'a>,
}

impl<'a> Tables<'a> {
    /// Find the dictionary, and read the strings.
    pub(super) fn find(body: &'a [u8]) -> Result<Self> {
        let mut dictionaries = vec![];
        let mut strings = Strings::default();
        let mut request = request(body);
        while let Some((number, wire)) = request.next_field()? {
            if number == 2 {
                dictionaries.push(request.message(wire, "ExportProfilesServiceRequest.dictionary")?);
            } else {
                request.skip(number, wire)?;
            }
        }
        for &(mut tables) in &dictionaries {
            while let Some((number, wire)) = tables.next_field()? {
                if number == 5 {
                    strings.all.push(tables.span(wire, "ProfilesDictionary.string_table")?.of(body));
                } else {
                    tables.skip(number, wire)?;
                }
            }
        }
        strings.is_shifted = strings.all.first().is_some_and(|first| !first.is_empty());
        if strings.is_shifted {
            strings.all.insert(0, b"");
        }
        Ok(Self { body, dictionaries, strings })
    }

    /// Write the dictionary, with these Stacks.
    pub(super) fn write(self, stack_table: &[u8], out: &mut Writer, dropped: &mut DroppedCounts) -> Result<()> {
        if self.dictionaries.is_empty() {
            return Ok(());
        }
        let expected_bytes = self.dictionaries.iter().map(|tables| tables.rest().len()).sum::<usize>();
        message(out, 2, expected_bytes + stack_table.len(), |out| {
            for table in [1, 2, 3, 4, 6, 7] {
                out.present_bytes(table, &[]);
            }
            let has_functions = self.has_functions()?;
            let mut entries = EntryWriter { body: self.body, strings: &self.strings, has_functions, dropped };
            let (mut attributes, mut units) = (vec![], vec![]);
            for &tables in &self.dictionaries {
                rewrite(self.body, tables, out, |tables, number, wire, out| {
                    match number {
                        1 => entries.mapping(tables.message(wire, "ProfilesDictionary.mapping_table")?, out)?,
                        2 => entries.location(tables.message(wire, "ProfilesDictionary.location_table")?, out)?,
                        3 => entries.function(tables.message(wire, "ProfilesDictionary.function_table")?, out)?,
                        4 => return Ok(Field::Same),
                        5 => drop(tables.span(wire, "ProfilesDictionary.string_table")?),
                        6 => attributes.push(tables.message(wire, "ProfilesDictionary.attribute_table")?),
                        7 => units.push(tables.message(wire, "ProfilesDictionary.attribute_units")?),
                        _ => return Ok(Field::Unknown),
                    }
                    Ok(Field::Taken)
                })?;
            }
            let strings = self.write_attributes(&attributes, &units, out, dropped)?;
            for string in &strings {
                out.present_bytes(5, string);
            }
            out.raw(stack_table);
            Ok(())
        })
    }

    fn has_functions(&self) -> Result<bool> {
        for &(mut tables) in &self.dictionaries {
            while let Some((number, wire)) = tables.next_field()? {
                if number == 3 {
                    return Ok(true);
                }
                tables.skip(number, wire)?;
            }
        }
        Ok(false)
    }

    /// Write the attributes, each with the unit of its key, and return the strings with their keys.
    fn write_attributes(
        &self,
        attributes: &[Reader<'a>],
        units: &[Reader<'a>],
        out: &mut Writer,
        dropped: &mut DroppedCounts,
    ) -> Result<Vec<&'a [u8]>> {
        let mut strings = self.strings.all.clone();
        if strings.is_empty() {
            strings.push(b"");
        }
        let mut known = FxHashMap::default();
        for (index, &string) in strings.iter().enumerate() {
            known.entry(string).or_insert(index as u32);
        }
        let mut unit_of = FxHashMap::default();
        let mut dropped_units = 0;
        for &unit in units {
            let (key, unit) = self.attribute_unit(unit)?;
            let key = strings.get(key as usize).copied().unwrap_or_default();
            if *unit_of.entry(key).or_insert(unit) != unit {
                dropped_units += 1;
            }
        }
        let mut used = 0;
        let mut unused = unit_of.clone();
        for &attribute in attributes {
            let (key, value) = self.key_value(attribute)?;
            let index = *known.entry(key).or_insert_with(|| {
                strings.push(key);
                strings.len() as u32 - 1
            });
            used += usize::from(unused.remove(key).is_some());
            out.message(6, attribute.rest().len(), |out| {
                out.uint64(1, u64::from(index));
                if let Some(value) = value {
                    out.present_bytes(2, value.of(self.body));
                }
                out.uint64(3, u64::from(unit_of.get(key).copied().unwrap_or_default()));
            });
        }
        dropped.add(Dropped::AttributeUnits, dropped_units + (unit_of.len() - used) as u64);
        Ok(strings)
    }

    /// A key and its unit, as string-table indices of today.
    fn attribute_unit(&self, mut message: Reader<'a>) -> Result<(u32, u32)> {
        let (mut key, mut unit) = (0, 0);
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => key = self.strings.index(message.index(wire, "AttributeUnit.attribute_key_strindex")?),
                2 => unit = self.strings.index(message.index(wire, "AttributeUnit.unit_strindex")?),
                _ => return Err(not_of_it(message.remaining().start)),
            }
        }
        Ok((key, unit))
    }

    fn key_value(&self, mut message: Reader<'a>) -> Result<(&'a [u8], Option<Span>)> {
        let (mut key, mut value): (&[u8], _) = (&[], None);
        while let Some((number, wire)) = message.next_field()? {
            match number {
                1 => key = message.span(wire, "KeyValue.key")?.of(self.body),
                2 => value = Some(message.span(wire, "KeyValue.value")?),
                _ => return Err(not_of_it(message.remaining().start)),
            }
        }
        Ok((key, value))
    }
}

/// Writes the entries that refer to others.
struct EntryWriter<'a, 'd> {
    body: &'a [u8],
    strings: &'d Strings<'a>,
    has_functions: bool,
    dropped: &'d mut DroppedCounts,
}

impl<'a> EntryWriter<'a, '_> {
    fn mapping(&mut self, mapping: Reader<'a>, out: &mut Writer) -> Result<()> {
        message(out, 1, mapping.rest().len(), |out| {
            rewrite(self.body, mapping, out, |mapping, number, wire, out| {
                match number {
                    1..=3 => return Ok(Field::Same),
                    4 => self.string(mapping, number, wire, out)?,
                    5 => attributes(mapping, wire, 5, out)?,
                    6..=9 => self.flag(Dropped::MappingHas, mapping, wire)?,
                    _ => return Ok(Field::Unknown),
                }
                Ok(Field::Taken)
            })
        })
    }

    fn location(&mut self, location: Reader<'a>, out: &mut Writer) -> Result<()> {
        message(out, 2, location.rest().len(), |out| {
            rewrite(self.body, location, out, |location, number, wire, out| {
                match number {
                    1 => out.uint64(1, u64::from(shifted(location.index(wire, "Location.mapping_index")?))),
                    2 => return Ok(Field::Same),
                    3 => self.line(location.message(wire, "Location.line")?, out)?,
                    4 => self.flag(Dropped::IsFolded, location, wire)?,
                    5 => attributes(location, wire, 4, out)?,
                    _ => return Ok(Field::Unknown),
                }
                Ok(Field::Taken)
            })
        })
    }

    /// A Line always has a Function: the first, when it does not say which.
    fn line(&mut self, line: Reader<'a>, out: &mut Writer) -> Result<()> {
        let mut function = u32::from(self.has_functions);
        message(out, 3, line.rest().len() + 2, |out| {
            rewrite(self.body, line, out, |line, number, wire, _| {
                match number {
                    1 => function = shifted(line.index(wire, "Line.function_index")?),
                    2 | 3 => return Ok(Field::Same),
                    _ => return Ok(Field::Unknown),
                }
                Ok(Field::Taken)
            })?;
            out.uint64(1, u64::from(function));
            Ok(())
        })
    }

    fn function(&mut self, function: Reader<'a>, out: &mut Writer) -> Result<()> {
        message(out, 3, function.rest().len(), |out| {
            rewrite(self.body, function, out, |function, number, wire, out| {
                match number {
                    1..=3 => self.string(function, number, wire, out)?,
                    4 => return Ok(Field::Same),
                    _ => return Ok(Field::Unknown),
                }
                Ok(Field::Taken)
            })
        })
    }

    fn string(&self, entry: &mut Reader<'a>, number: u32, wire: Wire, out: &mut Writer) -> Result<()> {
        out.uint64(number, u64::from(self.strings.index(entry.index(wire, "ProfilesDictionary.string_table")?)));
        Ok(())
    }

    fn flag(&mut self, dropped: Dropped, entry: &mut Reader<'a>, wire: Wire) -> Result<()> {
        let is_set = entry.uint64(wire, "ProfilesDictionary")? != 0;
        self.dropped.add(dropped, u64::from(is_set));
        Ok(())
    }
}

fn attributes(entry: &mut Reader<'_>, wire: Wire, number: u32, out: &mut Writer) -> Result<()> {
    let mut indices = vec![];
    entry.indices(wire, &mut indices, "attribute_indices")?;
    out.packed(number, indices.iter().map(|&index| u64::from(shifted(index))));
    Ok(())
}
