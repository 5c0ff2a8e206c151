//! Garbage collection of the dictionary: which entries a request reaches, and what they are called without the rest.

use crate::dictionary::{Dictionary, Link};
use crate::profiles::{Profiles, Table, ValueType};

/// The new index of each old one, by table; only those of reached entries mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// `mapping_table`
    pub mappings: Vec<u32>,
    /// `location_table`
    pub locations: Vec<u32>,
    /// `function_table`
    pub functions: Vec<u32>,
    /// `link_table`
    pub links: Vec<u32>,
    /// `string_table`
    pub strings: Vec<u32>,
    /// `attribute_table`
    pub attributes: Vec<u32>,
    /// `stack_table`
    pub stacks: Vec<u32>,
    /// Whether every entry keeps its index, by [`Table`].
    is_kept: [bool; Table::COUNT],
    /// Whether each entry is reached, by table.
    pub reached: Reached,
}

/// Whether each entry of each table is reached. Entry 0 always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// `mapping_table`
    pub mappings: Vec<bool>,
    /// `location_table`
    pub locations: Vec<bool>,
    /// `function_table`
    pub functions: Vec<bool>,
    /// `link_table`
    pub links: Vec<bool>,
    /// `string_table`
    pub strings: Vec<bool>,
    /// `attribute_table`
    pub attributes: Vec<bool>,
    /// `stack_table`
    pub stacks: Vec<bool>,
}

impl Remap {
    /// What the Profiles of a request reach.
    pub fn of(profiles: &Profiles) -> Self {
        if profiles.is_collected {
            return Self::identity(&profiles.dictionary);
        }
        let mut reached = Reached::none(&profiles.dictionary);
        reached.mark_profiles(profiles);
        reached.mark_dictionary(&profiles.dictionary);
        let zero_links = reached.drop_zero_links(&profiles.dictionary.links);
        let tables = reached.tables();
        let is_kept = tables.map(|table| !table.contains(&false));
        let [mappings, locations, functions, mut links, strings, attributes, stacks] = tables.map(renumber);
        for link in zero_links {
            links[link] = 0;
        }
        Self { mappings, locations, functions, links, strings, attributes, stacks, is_kept, reached }
    }

    /// Whether every entry of every table keeps its index.
    pub fn is_identity(&self) -> bool {
        self.is_kept == [true; Table::COUNT]
    }

    /// Whether every entry of these tables keeps its index.
    pub fn keeps(&self, tables: &[Table]) -> bool {
        tables.iter().all(|&table| self.is_kept[table as usize])
    }
}

impl Remap {
    /// Everything is reached and keeps its index.
    fn identity(dictionary: &Dictionary) -> Self {
        let lens = dictionary.table_lens();
        let [mappings, locations, functions, links, strings, attributes, stacks] = lens.map(|len| vec![true; len]);
        let reached = Reached { mappings, locations, functions, links, strings, attributes, stacks };
        let [mappings, locations, functions, links, strings, attributes, stacks] =
            lens.map(|len| (0..len as u32).collect());
        Self {
            mappings,
            locations,
            functions,
            links,
            strings,
            attributes,
            stacks,
            is_kept: [true; Table::COUNT],
            reached,
        }
    }
}

fn renumber(reached: &[bool]) -> Vec<u32> {
    let mut next = 0;
    let number = |&is_reached: &bool| {
        let index = next;
        next += u32::from(is_reached);
        index
    };
    reached.iter().map(number).collect()
}

fn mark(table: &mut [bool], indices: &[u32]) {
    for &index in indices {
        table[index as usize] = true;
    }
}

impl Reached {
    /// In the order of [`Table`].
    pub fn tables(&self) -> [&[bool]; Table::COUNT] {
        [&self.mappings, &self.locations, &self.functions, &self.links, &self.strings, &self.attributes, &self.stacks]
    }

    fn none(dictionary: &Dictionary) -> Self {
        let table = |len: usize| (0..len).map(|index| index == 0).collect();
        Self {
            mappings: table(dictionary.mappings.len()),
            locations: table(dictionary.locations.mapping.len()),
            functions: table(dictionary.functions.len()),
            links: table(dictionary.links.len()),
            strings: table(dictionary.strings.len()),
            attributes: table(dictionary.attributes.len()),
            stacks: table(dictionary.stacks.len()),
        }
    }

    fn mark_profiles(&mut self, profiles: &Profiles) {
        for group in &profiles.resources {
            let attributes = group.resource.iter().flat_map(|resource| &resource.attributes);
            let scopes = group.scopes.iter().filter_map(|scopes| scopes.scope.as_ref());
            for pair in attributes.chain(scopes.flat_map(|scope| &scope.attributes)) {
                pair.string_indices(&mut |index| self.strings[index as usize] = true);
            }
        }
        let samples = &profiles.samples;
        for (_, _, profile) in profiles.iter() {
            mark(&mut self.stacks, &samples.stack[profile.rows.clone()]);
            mark(&mut self.links, &samples.link[profile.rows.clone()]);
            mark(&mut self.attributes, samples.attributes.items_of(profile.rows.clone()));
            mark(&mut self.attributes, &profile.attributes);
            for ValueType { name, unit } in profile.sample_type.into_iter().chain(profile.period_type) {
                mark(&mut self.strings, &[name, unit]);
            }
        }
    }

    /// In the order of what refers to what, so that one pass over each table is enough.
    fn mark_dictionary(&mut self, d: &Dictionary) {
        for (stack, row) in d.stacks.rows().enumerate() {
            if self.stacks[stack] {
                mark(&mut self.locations, row);
            }
        }
        for location in 0..self.locations.len() {
            if self.locations[location] {
                self.mappings[d.locations.mapping[location] as usize] = true;
                d.locations.lines.row(location).iter().for_each(|l| self.functions[l.function as usize] = true);
                mark(&mut self.attributes, d.locations.attributes.row(location));
            }
        }
        for (index, mapping) in d.mappings.iter().enumerate() {
            if self.mappings[index] {
                self.strings[mapping.filename as usize] = true;
                mark(&mut self.attributes, d.mapping_attributes.row(index));
            }
        }
        for (function, _) in d.functions.iter().zip(&self.functions).filter(|&(_, &is_reached)| is_reached) {
            mark(&mut self.strings, &[function.name, function.system_name, function.filename]);
        }
        for (attribute, _) in d.attributes.iter().zip(&self.attributes).filter(|&(_, &is_reached)| is_reached) {
            mark(&mut self.strings, &[attribute.key, attribute.unit]);
            attribute.value.string_indices(&mut |index| self.strings[index as usize] = true);
        }
    }

    /// A zero Link past entry 0 says "not set", as entry 0 does: it goes, and its Samples refer to entry 0.
    fn drop_zero_links(&mut self, links: &[Link]) -> Vec<usize> {
        let zero: Vec<_> = (1..links.len()).filter(|&index| links[index] == Link::default()).collect();
        for &index in &zero {
            self.links[index] = false;
        }
        zero
    }
}
