//! When a request's Profiles were taken, and the same Profiles at another time.

use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles};
use crate::rewrite::Rewrite;

/// A time that cannot be written: before 1970, or after 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time of the request, moved by {0} ns, leaves the 64 bits of unix nanoseconds")]
pub struct TimeOutOfRange(i128);

impl Profiles {
    /// Unix nanoseconds from the first start to the last end; `None` when no Profile has a time.
    pub fn window(&self) -> Option<(u64, u64)> {
        let windows = self.iter().filter(|(_, _, profile)| self.has_time(profile));
        windows
            .map(|(_, _, profile)| {
                let start = profile.time_unix_nano;
                (start, start.saturating_add(profile.duration_nano))
            })
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The same Profiles, all moved by so many nanoseconds. Each gets an id made of its own, and loses its
    /// `original_payload`, which tells the old time. A Profile without a time stays as it is.
    pub fn shifted(&self, nanos: i128) -> Result<Self, TimeOutOfRange> {
        let moved = |time: u64| u64::try_from(i128::from(time) + nanos).map_err(|_| TimeOutOfRange(nanos));
        if let Some((start, end)) = self.window() {
            moved(start)?;
            moved(end)?;
        }
        let moved = |time: u64| (i128::from(time) + nanos) as u64;
        Ok(Rewrite::new(self).finish(|rewrite, _, _, profile| {
            let mut shifted = rewrite.keep(profile);
            if nanos != 0 && self.has_time(profile) {
                let timestamps = &mut rewrite.samples.timestamps;
                for row in shifted.rows.clone() {
                    let range = timestamps.range(row);
                    timestamps.items[range].iter_mut().for_each(|time| *time = moved(*time));
                }
                shifted.time_unix_nano = moved(profile.time_unix_nano);
                shifted.profile_id = derived_id(profile.profile_id, Derived::Shifted(nanos as u64));
                shifted.source.span = None;
                shifted.drop_payload();
            }
            vec![shifted]
        }))
    }

    /// `time_unix_nano` 0 is "not set", unless Samples tell that it was 1970.
    fn has_time(&self, profile: &Profile) -> bool {
        profile.time_unix_nano != 0 || !self.samples.timestamps.items_of(profile.rows.clone()).is_empty()
    }
}
