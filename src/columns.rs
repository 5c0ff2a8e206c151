//! Columns: rows of lists, and the Samples of a request.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

/// Something large that a copy shares with what it was copied of, until one of them changes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shared<T>(Arc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

/// A list for each row, in one allocation: row `i` ends where `ends[i]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ragged<T> {
    /// All items, row after row.
    pub items: Vec<T>,
    ends: Vec<u32>,
}

impl<T> Default for Ragged<T> {
    fn default() -> Self {
        Self { items: vec![], ends: vec![] }
    }
}

impl<T> Ragged<T> {
    /// Nothing yet, with room for as much as another one holds.
    #[must_use]
    pub fn with_room_of(other: &Self) -> Self {
        Self { items: Vec::with_capacity(other.items.len()), ends: Vec::with_capacity(other.ends.len()) }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// End the present row: it holds what was appended to `items` since the last one ended.
    pub fn end_row(&mut self) {
        self.ends.push(self.items.len() as u32);
    }

    /// Where a row's items stand.
    #[inline]
    pub fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        start..self.ends[row] as usize
    }

    /// The items of a row.
    #[inline]
    pub fn row(&self, row: usize) -> &[T] {
        &self.items[self.range(row)]
    }

    /// Every row in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// The items of the rows from `row` on.
    pub fn items_from(&self, row: usize) -> &[T] {
        self.items_of(row..self.len())
    }

    /// The items of some rows.
    pub fn items_of(&self, rows: Range<usize>) -> &[T] {
        &self.items[self.range_of(rows)]
    }

    fn range_of(&self, rows: Range<usize>) -> Range<usize> {
        let end_of = |rows: usize| self.ends[..rows].last().map_or(0, |&end| end as usize);
        end_of(rows.start)..end_of(rows.end)
    }

    /// Append rows of another one.
    pub fn extend_from(&mut self, from: &Self, rows: Range<usize>)
    where
        T: Copy,
    {
        let (sent, own) = (from.range_of(rows.clone()).start as u32, self.items.len() as u32);
        self.items.extend_from_slice(from.items_of(rows.clone()));
        self.ends.extend(from.ends[rows].iter().map(|end| end - sent + own));
    }

    /// Append some rows of another one, in the order of `rows`.
    pub fn gather(&mut self, from: &Self, rows: &[usize])
    where
        T: Copy,
    {
        for &row in rows {
            self.items.extend_from_slice(from.row(row));
            self.end_row();
        }
    }

    /// Empty the first row, and say how many items it had.
    pub fn clear_first_row(&mut self) -> usize {
        let len = self.ends[0];
        self.items.drain(..len as usize);
        for end in &mut self.ends {
            *end -= len;
        }
        len as usize
    }

    /// Forget the rows from `rows` on, and items of a row that was not ended.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.items.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// Take out the rows from `row` on.
    #[must_use]
    pub fn split_off(&mut self, row: usize) -> Self {
        let start = self.ends[..row].last().map_or(0, |&end| end);
        let items = self.items.split_off(start as usize);
        let ends = self.ends.split_off(row).into_iter().map(|end| end - start).collect();
        Self { items, ends }
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.ends.capacity() * size_of::<u32>()
    }
}

/// The Samples of all Profiles of a request, as columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// `stack_index`
    pub stack: Vec<u32>,
    /// `link_index`
    pub link: Vec<u32>,
    /// `attribute_indices`
    pub attributes: Ragged<u32>,
    /// `values`
    pub values: Ragged<i64>,
    /// `timestamps_unix_nano`
    pub timestamps: Ragged<u64>,
}

impl Samples {
    /// Nothing yet, with room for as much as other columns hold.
    #[must_use]
    pub fn with_room_of(other: &Self) -> Self {
        Self {
            stack: Vec::with_capacity(other.len()),
            link: Vec::with_capacity(other.len()),
            attributes: Ragged::with_room_of(&other.attributes),
            values: Ragged::with_room_of(&other.values),
            timestamps: Ragged::with_room_of(&other.timestamps),
        }
    }

    /// The number of Samples.
    pub fn len(&self) -> usize {
        self.stack.len()
    }

    /// Whether there is no Sample.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Append a Sample of another set of columns, with the values that are given for it.
    pub fn push_from(&mut self, from: &Self, row: usize, values: impl Iterator<Item = i64>) {
        self.attributes.items.extend_from_slice(from.attributes.row(row));
        self.values.items.extend(values);
        self.timestamps.items.extend_from_slice(from.timestamps.row(row));
        self.end_row(from.stack[row], from.link[row]);
    }

    /// Append some Samples of another set of columns, but for their values.
    pub fn gather_without_values(&mut self, from: &Self, rows: &[usize]) {
        self.stack.extend(rows.iter().map(|&row| from.stack[row]));
        self.link.extend(rows.iter().map(|&row| from.link[row]));
        self.attributes.gather(&from.attributes, rows);
        self.timestamps.gather(&from.timestamps, rows);
    }

    /// Append Samples of another set of columns as they are.
    pub fn extend_from(&mut self, from: &Self, rows: Range<usize>) {
        self.stack.extend_from_slice(&from.stack[rows.clone()]);
        self.link.extend_from_slice(&from.link[rows.clone()]);
        self.attributes.extend_from(&from.attributes, rows.clone());
        self.values.extend_from(&from.values, rows.clone());
        self.timestamps.extend_from(&from.timestamps, rows);
    }

    /// End the present Sample: its lists are what was appended to the three ragged columns.
    pub fn end_row(&mut self, stack: u32, link: u32) {
        self.stack.push(stack);
        self.link.push(link);
        self.attributes.end_row();
        self.values.end_row();
        self.timestamps.end_row();
    }

    /// Take out the Samples from `row` on.
    #[must_use]
    pub fn split_off(&mut self, row: usize) -> Self {
        Self {
            stack: self.stack.split_off(row),
            link: self.link.split_off(row),
            attributes: self.attributes.split_off(row),
            values: self.values.split_off(row),
            timestamps: self.timestamps.split_off(row),
        }
    }

    /// Forget the Samples from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.stack.truncate(rows);
        self.link.truncate(rows);
        self.attributes.truncate(rows);
        self.values.truncate(rows);
        self.timestamps.truncate(rows);
    }

    /// What a Sample stands for: the sum of its values, or 1 for each timestamp when it has none.
    #[inline]
    pub fn total(&self, row: usize) -> i128 {
        match self.values.row(row) {
            [] => self.timestamps.range(row).len() as i128,
            values => values.iter().map(|&value| i128::from(value)).sum(),
        }
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        (self.stack.capacity() + self.link.capacity()) * size_of::<u32>()
            + self.attributes.memory_bytes()
            + self.values.memory_bytes()
            + self.timestamps.memory_bytes()
    }
}
