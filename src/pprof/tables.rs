//! The tables of one pprof: what of the dictionary it uses, by dense ids, and its strings.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::dictionary::Dictionary;
use crate::profiles::Profiles;
use crate::wire::Writer;

/// The entries of one table that a pprof uses: in the order of the table, so that a pprof that became a request
/// becomes the same pprof again. Shared by all pprofs of a request: to clear it costs what was used.
pub(super) struct Used {
    /// 0 for an entry that is not used, else its id.
    ids: Vec<u32>,
    /// The entries that are used.
    pub(super) entries: Vec<u32>,
}

impl Used {
    fn new(entries: usize) -> Self {
        Self { ids: vec![0; entries], entries: vec![] }
    }

    fn clear(&mut self) {
        self.entries.drain(..).for_each(|entry| self.ids[entry as usize] = 0);
    }

    /// Whether this is the first use of an entry.
    #[inline]
    fn mark(&mut self, entry: u32) -> bool {
        let id = &mut self.ids[entry as usize];
        let is_first = *id == 0;
        if is_first {
            *id = 1;
            self.entries.push(entry);
        }
        is_first
    }

    /// Give every entry that is used its id, from 1.
    fn number(&mut self) {
        self.entries.sort_unstable();
        for (&entry, id) in self.entries.iter().zip(1..) {
            self.ids[entry as usize] = id;
        }
    }

    #[inline]
    pub(super) fn id(&self, entry: u32) -> u64 {
        u64::from(self.ids[entry as usize])
    }
}

/// What a pprof uses of the dictionary.
pub(super) struct Tables {
    stacks: Used,
    pub(super) locations: Used,
    pub(super) mappings: Used,
    pub(super) functions: Used,
}

impl Tables {
    pub(super) fn new(dictionary: &Dictionary) -> Self {
        Self {
            stacks: Used::new(dictionary.stacks.len()),
            locations: Used::new(dictionary.locations.mapping.len()),
            mappings: Used::new(dictionary.mappings.len()),
            functions: Used::new(dictionary.functions.len()),
        }
    }

    fn all(&mut self) -> [&mut Used; 4] {
        [&mut self.stacks, &mut self.locations, &mut self.mappings, &mut self.functions]
    }

    pub(super) fn clear(&mut self) {
        self.all().into_iter().for_each(Used::clear);
    }

    /// Mark all that some stacks lead to, `depth` Locations of each, and give it ids. Functions that `is_named`
    /// denies are left out.
    pub(super) fn mark(&mut self, profiles: &Profiles, stacks: &[u32], depth: usize, is_named: impl Fn(u32) -> bool) {
        let Dictionary { stacks: table, locations, .. } = &*profiles.dictionary;
        for &stack in stacks {
            if !self.stacks.mark(stack) {
                continue;
            }
            let stack = table.row(stack as usize);
            for &location in &stack[..kept(stack.len(), depth)] {
                if !self.locations.mark(location) {
                    continue;
                }
                let mapping = locations.mapping[location as usize];
                if mapping > 0 {
                    self.mappings.mark(mapping);
                }
                for line in locations.lines.row(location as usize).iter().filter(|line| is_named(line.function)) {
                    self.functions.mark(line.function);
                }
            }
        }
        self.all().into_iter().for_each(Used::number);
    }
}

/// How many Locations of a stack are told when `depth` may be: of a deeper one, the last says what is left out.
pub(super) fn kept(locations: usize, depth: usize) -> usize {
    if locations > depth { depth.saturating_sub(1) } else { locations }
}

/// The string table: no string stands twice.
#[derive(Default)]
pub(super) struct Strings<'a> {
    indices: HashMap<Cow<'a, [u8]>, u32>,
    pub(super) order: Vec<Cow<'a, [u8]>>,
}

impl<'a> Strings<'a> {
    /// The index of a string.
    pub(super) fn index(&mut self, text: impl Into<Cow<'a, [u8]>>) -> u32 {
        let text = text.into();
        let next = self.order.len() as u32;
        let index = *self.indices.entry_ref(&text).or_insert(next);
        if index == next {
            self.order.push(text);
        }
        index
    }

    /// Write the table.
    pub(super) fn write(&self, writer: &mut Writer) {
        for string in &self.order {
            writer.present_bytes(6, string);
        }
    }
}
