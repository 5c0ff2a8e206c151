//! What a protobuf message holds at its first level, for telling formats apart.

use std::collections::BTreeSet;

use crate::wire::{Reader, Span, Wire};

/// The numbers of the length-delimited fields of a message, each once; `None` when it is none, or has groups, which
/// no format that is told apart has.
pub fn length_delimited_fields(body: &[u8]) -> Option<BTreeSet<u32>> {
    let len = u32::try_from(body.len()).ok()?;
    let mut reader = Reader::new(body, Span { start: 0, len }, "message");
    let mut fields = BTreeSet::new();
    let mut last = 0;
    while let Some((number, wire)) = reader.next_field().ok()? {
        if matches!(wire, Wire::Group | Wire::EndGroup) {
            return None;
        }
        reader.skip(number, wire).ok()?;
        // Nearly all fields of a large pprof are as the one before.
        if wire == Wire::Len && number != last {
            fields.insert(number);
            last = number;
        }
    }
    Some(fields)
}
