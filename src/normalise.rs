//! One Profile as the profiling SIG's rules have it: one shape for all its Samples, a window that holds its
//! timestamps. Nothing changes its meaning; what cannot be kept without a change is refused.

use std::iter::{once, repeat_n};
use std::ops::Range;

use crate::columns::Samples;
use crate::dictionary::Mapping;
use crate::profiles::Profile;
use crate::refusal::{Checked, Fault, Reason, Repair, Repairs};

/// So far outside of its Profile's window a timestamp may be and the window is widened; further is a broken clock.
const MAX_WINDOW_CORRECTION_NANO: u64 = 3_600_000_000_000;

/// How many of a Profile's Samples have which shape (profiles.proto, `Sample`).
#[derive(Default)]
struct Shapes {
    /// one value, no timestamps
    values: usize,
    /// several values, no timestamps
    several_values: usize,
    /// timestamps, no values
    timestamps: usize,
    /// as many values as timestamps
    both: usize,
}

/// Check and set right one Profile whose Samples are the rows from `first_row` on. A sibling is made when Samples
/// with and without timestamps are mixed.
///
/// # Errors
/// The fault for which the Profile is to be refused.
pub fn normalise(
    profile: &mut Profile,
    samples: &mut Samples,
    first_row: usize,
    repairs: &mut Repairs,
) -> Checked<Option<Profile>> {
    let shapes = shapes(samples, first_row)?;
    let window = fitting_window(profile, samples, first_row)?;
    let has_timestamps = shapes.timestamps + shapes.both > 0;
    let is_mixed = has_timestamps && shapes.values + shapes.several_values > 0;
    let is_half_filled = shapes.timestamps > 0 && shapes.both > 0;
    let mut sibling = None;
    if is_mixed || is_half_filled || shapes.several_values > 0 {
        check_sums(samples, first_row)?;
        profile.source.span = None;
        let sent = samples.split_off(first_row);
        profile.rows = put_back(samples, &sent, is_half_filled, |row| !is_mixed || has_timestamp(&sent, row));
        if is_mixed {
            let rows = put_back(samples, &sent, is_half_filled, |row| !has_timestamp(&sent, row));
            // The payload stands for the whole; it must not be counted twice.
            let (original_payload_format, original_payload) = Default::default();
            sibling = Some(Profile { rows, original_payload_format, original_payload, ..profile.clone() });
        }
        for (repair, is_made) in [
            (Repair::ValuesSummed, shapes.several_values > 0),
            (Repair::ValuesFilled, is_half_filled),
            (Repair::ProfileSplit, is_mixed),
        ] {
            if is_made {
                repairs.count(repair);
            }
        }
    }
    if let Some((start, duration)) = window {
        repairs.count(Repair::WindowWidened);
        profile.source.span = None;
        for profile in once(profile).chain(sibling.as_mut()) {
            (profile.time_unix_nano, profile.duration_nano) = (start, duration);
        }
    }
    Ok(sibling)
}

fn shapes(samples: &Samples, first_row: usize) -> Checked<Shapes> {
    let mut shapes = Shapes::default();
    for row in first_row..samples.len() {
        let index = row - first_row;
        match (samples.values.range(row).len(), samples.timestamps.range(row).len()) {
            (0, 0) => {
                let message = format!("samples[{index}] has neither values nor timestamps");
                return Err(Fault::new(Reason::EmptySample, message));
            }
            (1, 0) => shapes.values += 1,
            (_, 0) => shapes.several_values += 1,
            (0, _) => shapes.timestamps += 1,
            (values, timestamps) if values == timestamps => shapes.both += 1,
            (values, timestamps) => {
                let message = format!(
                    "samples[{index}] has {values} values and {timestamps} timestamps; as many of each are allowed"
                );
                return Err(Fault::new(Reason::ValuesTimestampsMismatch, message));
            }
        }
    }
    Ok(shapes)
}

/// The window (start, duration) that holds all timestamps, when the Profile's own does not.
fn fitting_window(profile: &Profile, samples: &Samples, first_row: usize) -> Checked<Option<(u64, u64)>> {
    let timestamps = samples.timestamps.items_from(first_row);
    let (Some(&first), Some(&last)) = (timestamps.iter().min(), timestamps.iter().max()) else {
        return Ok(None);
    };
    let refused = |what: &str| {
        let (start, duration) = (profile.time_unix_nano, profile.duration_nano);
        let message = format!(
            "a timestamp, {first} to {last}, is {what} the window that starts at {start} and lasts {duration} ns"
        );
        Err(Fault::new(Reason::TimestampOutOfWindow, message))
    };
    let Some(after_last) = last.checked_add(1) else {
        return refused("outside of");
    };
    if (profile.time_unix_nano, profile.duration_nano) == (0, 0) {
        return Ok(Some((first, after_last - first)));
    }
    let start = profile.time_unix_nano;
    let Some(end) = start.checked_add(profile.duration_nano) else {
        return refused("outside of");
    };
    if start <= first && last < end {
        return Ok(None);
    }
    let (before, after) = (start.saturating_sub(first), last.saturating_sub(end));
    if before.max(after) > MAX_WINDOW_CORRECTION_NANO {
        return refused("more than an hour outside of");
    }
    let start = start.min(first);
    Ok(Some((start, end.max(after_last) - start)))
}

/// Several values without timestamps become their sum, which has to be an int64.
fn check_sums(samples: &Samples, first_row: usize) -> Checked {
    for row in first_row..samples.len() {
        if !has_timestamp(samples, row) && i64::try_from(samples.total(row)).is_err() {
            let (index, sum) = (row - first_row, samples.total(row));
            let message = format!("the values of samples[{index}] sum up to {sum}, which is no int64");
            return Err(Fault::new(Reason::ValueOverflow, message));
        }
    }
    Ok(())
}

fn has_timestamp(samples: &Samples, row: usize) -> bool {
    !samples.timestamps.range(row).is_empty()
}

/// Append those of the sent rows that are to be kept, and say which rows they have become.
fn put_back(samples: &mut Samples, sent: &Samples, fill: bool, keep: impl Fn(usize) -> bool) -> Range<usize> {
    let start = samples.len();
    for row in (0..sent.len()).filter(|&row| keep(row)) {
        let (values, timestamps) = (sent.values.row(row), sent.timestamps.range(row).len());
        match values {
            // A timestamp without a value counts 1 (profiles.proto, `Sample`).
            [] if fill => samples.push_from(sent, row, repeat_n(1, timestamps)),
            [_, _, ..] if timestamps == 0 => samples.push_from(sent, row, once(sent.total(row) as i64)),
            _ => samples.push_from(sent, row, values.iter().copied()),
        }
    }
    start..samples.len()
}

impl Mapping {
    /// Set an address range that is empty or reversed to none; whether it was one.
    pub fn clear_empty_range(&mut self) -> bool {
        let is_empty = self.memory_start >= self.memory_limit && (self.memory_start, self.memory_limit) != (0, 0);
        if is_empty {
            (self.memory_start, self.memory_limit) = (0, 0);
        }
        is_empty
    }
}
