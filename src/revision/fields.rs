//! Rewriting a message field by field: those that changed are taken, the others are copied as they stand.

use crate::error::{Error, Result};
use crate::wire::{Reader, Span, Wire, Writer};

/// What a field became.
pub(super) enum Field {
    /// It was read, and what replaces it, if anything, was written.
    Taken,
    /// It says the same in both revisions, and was not read.
    Same,
    /// The older revision has no such field.
    Unknown,
}

/// Rewrite a message: `take` sees each field.
///
/// # Errors
/// When the message is not one of the older revision.
pub(super) fn rewrite<'a>(
    body: &'a [u8],
    mut message: Reader<'a>,
    out: &mut Writer,
    mut take: impl FnMut(&mut Reader<'a>, u32, Wire, &mut Writer) -> Result<Field>,
) -> Result<()> {
    loop {
        let start = message.remaining().start;
        let Some((number, wire)) = message.next_field()? else {
            return Ok(());
        };
        match take(&mut message, number, wire, out)? {
            Field::Taken => {}
            Field::Same => {
                message.skip(number, wire)?;
                out.raw(Span { start, len: message.remaining().start - start }.of(body));
            }
            Field::Unknown => return Err(not_of_it(start)),
        }
    }
}

/// What stands there is nothing that the older revision has.
pub(super) fn not_of_it(at: u32) -> Error {
    Error::Malformed { at: at as usize, field: "ExportProfilesServiceRequest", what: "not of this revision" }
}

/// A reader of the whole request.
pub(super) fn request(body: &[u8]) -> Reader<'_> {
    Reader::new(body, Span { start: 0, len: body.len() as u32 }, "ExportProfilesServiceRequest")
}

/// Write a message that `write` fills.
pub(super) fn message(
    out: &mut Writer,
    number: u32,
    expected_bytes: usize,
    write: impl FnOnce(&mut Writer) -> Result<()>,
) -> Result<()> {
    let mut written = Ok(());
    out.message(number, expected_bytes, |out| written = write(out));
    written
}

/// Rewrite what stands in the `ScopeProfiles` of a `ResourceProfiles`: `write` is given each Profile.
pub(super) fn rewrite_profiles<'a>(
    body: &'a [u8],
    group: Reader<'a>,
    out: &mut Writer,
    write: &mut impl FnMut(usize, Reader<'a>, &mut Writer) -> Result<()>,
) -> Result<()> {
    let mut scope = 0;
    rewrite(body, group, out, |group, number, wire, out| {
        if number != 2 {
            return Ok(Field::Same);
        }
        let scope_profiles = group.message(wire, "ResourceProfiles.scope_profiles")?;
        let expected_bytes = scope_profiles.rest().len();
        message(out, 2, expected_bytes, |out| {
            rewrite(body, scope_profiles, out, |scope_profiles, number, wire, out| {
                if number != 2 {
                    return Ok(Field::Same);
                }
                write(scope, scope_profiles.message(wire, "ScopeProfiles.profiles")?, out)?;
                Ok(Field::Taken)
            })
        })?;
        scope += 1;
        Ok(Field::Taken)
    })
}
