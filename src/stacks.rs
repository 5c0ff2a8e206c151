//! Arithmetic over stacks of many runs: columns of places in a list of functions, as `fold` gives them.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use thiserror::Error;

/// The place of a function that is left out.
pub const LEFT_OUT: u32 = u32::MAX;

/// Why columns are none.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StacksError {
    /// A column is cut in the middle of a number.
    #[error("a column has {0} bytes, which are no whole numbers")]
    Torn(usize),
    /// Ends are not ascending, or there is no such frame.
    #[error("stack {0} ends before it begins, or behind the last frame")]
    End(usize),
    /// A frame is no function.
    #[error("a frame is the function {place}, and there are {functions}")]
    Frame {
        /// what stands there
        place: u32,
        /// how many there are
        functions: usize,
    },
    /// Two columns that belong together have different lengths.
    #[error("there are {stacks} stacks and {weights} weights")]
    Weights {
        /// how many stacks
        stacks: usize,
        /// how many weights
        weights: usize,
    },
}

/// Stacks as columns of little-endian numbers; every end and every frame is in range.
#[derive(Debug, Clone, Copy)]
pub struct Stacks<'a> {
    frames: &'a [[u8; 4]],
    ends: &'a [[u8; 8]],
    functions: usize,
}

/// The numbers of a column.
///
/// # Errors
/// `Torn` when bytes are left over.
pub fn column<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], StacksError> {
    match bytes.as_chunks() {
        (numbers, []) => Ok(numbers),
        _ => Err(StacksError::Torn(bytes.len())),
    }
}

impl<'a> Stacks<'a> {
    /// Look at columns: the frames of all stacks, and where among these each stack ends.
    ///
    /// # Errors
    /// They are none of so many functions.
    pub fn new(frames: &'a [u8], ends: &'a [u8], functions: usize) -> Result<Self, StacksError> {
        let (frames, ends) = (column(frames)?, column(ends)?);
        let mut start = 0;
        for (stack, end) in ends.iter().enumerate() {
            let end = u64::from_le_bytes(*end);
            if end < start || end > frames.len() as u64 {
                return Err(StacksError::End(stack));
            }
            start = end;
        }
        match frames.iter().map(|frame| u32::from_le_bytes(*frame)).max() {
            Some(place) if place as usize >= functions => Err(StacksError::Frame { place, functions }),
            _ => Ok(Self { frames, ends, functions }),
        }
    }

    /// The places of each stack, in order.
    fn iter(self) -> impl Iterator<Item = impl Iterator<Item = u32> + 'a> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = u64::from_le_bytes(*end) as usize;
            let frames = &self.frames[start..end];
            start = end;
            frames.iter().map(|frame| u32::from_le_bytes(*frame))
        })
    }

    /// The functions of each stack, each once, where it is first met, and where each stack ends.
    pub fn distinct(self) -> Columns {
        let mut found = Columns::with_capacity(self.ends.len(), self.frames.len());
        let mut last = vec![0; self.functions];
        for (stack, frames) in (1_u64..).zip(self.iter()) {
            found.frames.extend(frames.filter(|&frame| first_in(&mut last, frame as usize, stack)));
            found.close();
        }
        found
    }

    /// What stacks weigh that both of two functions are in, row by row; the diagonal is what each weighs.
    ///
    /// # Errors
    /// There are not as many weights as stacks, or places as functions.
    pub fn joint(self, weights: &[[u8; 8]], rows: &Rows<'_>) -> Result<Vec<f64>, StacksError> {
        if weights.len() != self.ends.len() {
            return Err(StacksError::Weights { stacks: self.ends.len(), weights: weights.len() });
        }
        rows.check(self.functions)?;
        let count = rows.count;
        let mut joint = vec![0.0; count * count];
        let mut last = vec![0; count];
        let mut one = Vec::new();
        for ((stack, frames), weight) in (1_u64..).zip(self.iter()).zip(weights) {
            let weight = f64::from_le_bytes(*weight);
            one.clear();
            one.extend(frames.filter_map(|frame| rows.of(frame)).filter(|&row| first_in(&mut last, row, stack)));
            for (at, &first) in one.iter().enumerate() {
                let row = &mut joint[first * count..(first + 1) * count];
                for &second in &one[at..] {
                    row[second] += weight;
                }
            }
        }
        // A pair was added where the one that is nearer to the root stands.
        for first in 0..count {
            for second in first + 1..count {
                let both = joint[first * count + second] + joint[second * count + first];
                joint[first * count + second] = both;
                joint[second * count + first] = both;
            }
        }
        Ok(joint)
    }
}

/// Whether a function is met for the first time in a stack, whose number is above those before and above 0.
fn first_in(last: &mut [u64], function: usize, stack: u64) -> bool {
    std::mem::replace(&mut last[function], stack) != stack
}

/// New places of functions, some of which are left out.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    places: &'a [[u8; 4]],
    count: usize,
}

impl<'a> Rows<'a> {
    /// Look at a column of places below `count`, or `LEFT_OUT`.
    ///
    /// # Errors
    /// It is none.
    pub fn new(places: &'a [u8], count: usize) -> Result<Self, StacksError> {
        let places = column(places)?;
        let read = places.iter().map(|place| u32::from_le_bytes(*place));
        match read.filter(|&place| place != LEFT_OUT).max() {
            Some(place) if place as usize >= count => Err(StacksError::Frame { place, functions: count }),
            _ => Ok(Self { places, count }),
        }
    }

    fn check(&self, functions: usize) -> Result<(), StacksError> {
        if self.places.len() == functions {
            return Ok(());
        }
        Err(StacksError::Frame { place: self.places.len() as u32, functions })
    }

    fn of(&self, function: u32) -> Option<usize> {
        let place = u32::from_le_bytes(self.places[function as usize]);
        (place != LEFT_OUT).then_some(place as usize)
    }
}

/// Stacks as columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The frames of all stacks.
    pub frames: Vec<u32>,
    /// Where in `frames` each stack ends.
    pub ends: Vec<u64>,
}

impl Columns {
    fn with_capacity(stacks: usize, frames: usize) -> Self {
        Self { frames: Vec::with_capacity(frames), ends: Vec::with_capacity(stacks) }
    }

    /// What was added since the last stack is one.
    fn close(&mut self) {
        self.ends.push(self.frames.len() as u64);
    }

    fn stack(&self, at: u32) -> &[u32] {
        let at = at as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.frames[start..self.ends[at] as usize]
    }
}

/// Stacks of several runs under new places, each once; and for each stack that came, which of these it is.
///
/// A stack of nothing but functions that are left out is one of `rest` alone.
///
/// # Errors
/// There are not as many places as functions.
pub fn merged(runs: &[Stacks<'_>], rows: &Rows<'_>, rest: u32) -> Result<(Columns, Vec<u32>), StacksError> {
    let mut merged = Columns::default();
    let mut which = Vec::with_capacity(runs.iter().map(|run| run.ends.len()).sum());
    // Seeded at random: profiles are written by others.
    let hasher = DefaultHashBuilder::default();
    let mut known: HashTable<u32> = HashTable::new();
    let mut one: Vec<u32> = Vec::new();
    for run in runs {
        rows.check(run.functions)?;
        for frames in run.iter() {
            one.clear();
            one.extend(frames.filter_map(|frame| rows.of(frame)).map(|place| place as u32));
            if one.is_empty() {
                one.push(rest);
            }
            let hash = hasher.hash_one(&one);
            let found = known.find(hash, |&at| merged.stack(at) == one).copied();
            which.push(found.unwrap_or_else(|| {
                let next = merged.ends.len() as u32;
                merged.frames.extend_from_slice(&one);
                merged.close();
                known.insert_unique(hash, next, |&at| hasher.hash_one(merged.stack(at)));
                next
            }));
        }
    }
    Ok((merged, which))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of_frames(frames: &[u32]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.to_le_bytes()).collect()
    }

    fn bytes_of_ends(ends: &[u64]) -> Vec<u8> {
        ends.iter().flat_map(|end| end.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let frames = bytes_of_frames(&[0, 1, 2]);
        let refused = |ends: &[u64], functions| Stacks::new(&frames, &bytes_of_ends(ends), functions).err();
        assert_eq!(None, refused(&[1, 3], 3));
        assert_eq!(Some(StacksError::End(1)), refused(&[2, 1], 3));
        assert_eq!(Some(StacksError::End(0)), refused(&[u64::MAX], 3));
        assert_eq!(Some(StacksError::Frame { place: 2, functions: 2 }), refused(&[3], 2));
        assert_eq!(Some(StacksError::Torn(11)), Stacks::new(&frames[..11], &[], 3).err());
        assert_eq!(Some(StacksError::Frame { place: 3, functions: 3 }), Rows::new(&bytes_of_frames(&[3]), 3).err());
    }
}
