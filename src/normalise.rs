//! One Profile as the profiling SIG's rules have it: one shape for all its Samples, a window that holds its
//! timestamps. Nothing changes its meaning; what cannot be kept without a change is refused.

use crate::columns::{Sample, Samples};
use crate::profiles::Profile;
use crate::refusal::{Checked, Fault, Reason, Repair, Repairs};

/// So far outside of its Profile's window a timestamp may be and the window is widened; further is a broken clock.
const MAX_WINDOW_CORRECTION_NANO: u64 = 3_600_000_000_000;

/// The shapes that a Profile's Samples have (profiles.proto, `Sample`).
#[derive(Default)]
struct Shapes {
    /// one value, no timestamps
    values: bool,
    /// several values, no timestamps
    several_values: bool,
    /// timestamps, no values
    timestamps: bool,
    /// as many values as timestamps
    both: bool,
}

/// Check and set right one Profile whose Samples are the rows from `first_row` on. A sibling is made when Samples
/// with and without timestamps are mixed.
///
/// # Errors
/// The fault for which the Profile is to be refused; the rows may be gone by then.
pub fn normalise(
    profile: &mut Profile,
    samples: &mut Samples,
    first_row: usize,
    repairs: &mut Repairs,
) -> Checked<Option<Profile>> {
    let shapes = shapes(samples, first_row)?;
    let window = fitting_window(profile, samples, first_row)?;
    let has_timestamps = shapes.timestamps || shapes.both;
    let is_mixed = has_timestamps && (shapes.values || shapes.several_values);
    let is_half_filled = shapes.timestamps && shapes.both;
    let mut sibling = None;
    if is_mixed || is_half_filled || shapes.several_values {
        let mut rows = samples.take_from(first_row);
        if shapes.several_values {
            rows.iter_mut().try_for_each(sum_values)?;
            repairs.count(Repair::ValuesSummed);
        }
        if is_half_filled {
            rows.iter_mut().for_each(fill_values);
            repairs.count(Repair::ValuesFilled);
        }
        profile.source.span = None;
        if is_mixed {
            repairs.count(Repair::ProfileSplit);
        }
        sibling = put_back(profile, samples, rows);
    }
    if let Some((start, duration)) = window {
        repairs.count(Repair::WindowWidened);
        profile.source.span = None;
        for profile in std::iter::once(profile).chain(sibling.as_mut()) {
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
            (1, 0) => shapes.values = true,
            (_, 0) => shapes.several_values = true,
            (0, _) => shapes.timestamps = true,
            (values, timestamps) if values == timestamps => shapes.both = true,
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

fn sum_values(sample: &mut Sample) -> Checked {
    if sample.timestamps.is_empty() {
        let sum: i128 = sample.values.iter().map(|&value| i128::from(value)).sum();
        let Ok(sum) = i64::try_from(sum) else {
            let message = format!("a sample's {} values sum up to {sum}, which is no int64", sample.values.len());
            return Err(Fault::new(Reason::ValueOverflow, message));
        };
        sample.values = vec![sum];
    }
    Ok(())
}

/// A timestamp without a value counts 1 (profiles.proto, `Sample`).
fn fill_values(sample: &mut Sample) {
    if sample.values.is_empty() {
        sample.values = vec![1; sample.timestamps.len()];
    }
}

/// Append the rows again: those of the first row's kind to the Profile, the others, if any, to a sibling.
fn put_back(profile: &mut Profile, samples: &mut Samples, rows: Vec<Sample>) -> Option<Profile> {
    let has_timestamps = rows.first().is_some_and(|row| !row.timestamps.is_empty());
    let (same, other): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.timestamps.is_empty() != has_timestamps);
    let mut append = |rows: Vec<Sample>| {
        let start = samples.len();
        rows.into_iter().for_each(|row| samples.push(row));
        start..samples.len()
    };
    profile.rows = append(same);
    let rows = append(other);
    (!rows.is_empty()).then(|| Profile { rows, ..profile.clone() })
}
