//! The samples of one pprof: labels, and the samples that are one.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::wire::Writer;

/// A label as pprof has it; strings by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label {
    pub(super) key: u32,
    text: Option<u32>,
    number: i64,
    unit: u32,
}

impl Label {
    /// A label that holds a number.
    pub(super) fn number(key: u32, number: i64, unit: u32) -> Self {
        Self { key, text: None, number, unit }
    }

    /// A label that holds a text.
    pub(super) fn text(key: u32, text: u32) -> Self {
        Self { key, text: Some(text), number: 0, unit: 0 }
    }

    pub(super) fn write(self, writer: &mut Writer) {
        writer.message(3, 8, |w| {
            w.uint64(1, self.key.into());
            // The kind of an empty text and of the number 0 shows in nothing but the field's being there.
            if let Some(text) = self.text {
                w.present_uint64(2, text.into());
            } else {
                w.present_uint64(3, self.number as u64);
                w.uint64(4, self.unit.into());
            }
        });
    }
}

/// Samples of the same stack and labels, added up, in the order of the first of each.
#[derive(Default)]
pub(super) struct Sums<'a> {
    /// By stack and labels, the place among `samples`.
    rows: HashTable<usize>,
    hasher: DefaultHashBuilder,
    pub(super) samples: Vec<(&'a [u32], Vec<Label>, Vec<i128>)>,
}

impl<'a> Sums<'a> {
    /// Add a sample: its Locations, labels and values.
    pub(super) fn add(&mut self, stack: &'a [u32], labels: &[Label], values: &[i128]) {
        let Self { rows, hasher, samples } = self;
        let hash = hasher.hash_one((stack, labels));
        let is_same = |&row: &usize| samples[row].0 == stack && samples[row].1 == labels;
        if let Some(&row) = rows.find(hash, is_same) {
            samples[row].2.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            return;
        }
        rows.insert_unique(hash, samples.len(), |&row| hasher.hash_one((samples[row].0, &samples[row].1[..])));
        samples.push((stack, labels.to_vec(), values.to_vec()));
    }
}
