//! Which rows of the symbol tables a writer has written, so that it need not do so again.

use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashSet;

use super::Tables;

/// A row of a symbol table: its date in days since 1970, and its id.
pub(crate) type Key = (i32, i64);

/// How many days, the present one among them, a row counts as written. Of an older day it may have been taken away since,
/// when nothing referred to it; it comes again with the next rows that do.
const REMEMBERED_DAYS: i32 = 3;

/// Rows of the three symbol tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    pub(crate) stacks: FxHashSet<Key>,
    pub(crate) locations: FxHashSet<Key>,
    pub(crate) labels: FxHashSet<Key>,
}

impl Keys {
    fn len(&self) -> usize {
        self.stacks.len() + self.locations.len() + self.labels.len()
    }

    fn extend(&mut self, other: &Self) {
        self.stacks.extend(&other.stacks);
        self.locations.extend(&other.locations);
        self.labels.extend(&other.labels);
    }
}

/// What was written, and used lately: two generations, of which the older one goes when the younger one is full.
#[derive(Debug)]
pub struct Written {
    /// Of a generation.
    max_keys: usize,
    generations: Mutex<[Keys; 2]>,
}

impl Written {
    /// Remember this many rows at most; each takes 20 to 40 bytes.
    pub fn new(max_keys: usize) -> Self {
        Self { max_keys: max_keys.div_ceil(2).max(1), generations: Mutex::default() }
    }

    /// Note that all of these are in the tables now.
    pub fn remember(&self, tables: &Tables) {
        let keys = &tables.keys;
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [younger, older] = &mut *generations;
        if younger.len() + keys.len() > self.max_keys {
            *older = std::mem::take(younger);
        }
        if keys.len() <= self.max_keys {
            younger.extend(keys);
        }
    }

    /// How many rows are remembered; one may count twice.
    pub fn len(&self) -> usize {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Keys::len).sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keep those of the keys that were not written, or may be gone again on this day.
    pub(super) fn news(&self, keys: &Keys, today: i32) -> Keys {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let news = |table: fn(&Keys) -> &FxHashSet<Key>| -> FxHashSet<Key> {
            let is_new = |key: &&Key| {
                key.0 <= today - REMEMBERED_DAYS || !generations.iter().any(|known| table(known).contains(*key))
            };
            table(keys).iter().filter(is_new).copied().collect()
        };
        Keys { stacks: news(|k| &k.stacks), locations: news(|k| &k.locations), labels: news(|k| &k.labels) }
    }
}
