//! Which part of a request's wire form takes how many bytes.

use crate::error::Result;
use crate::profiles::Profiles;
use crate::wire::{Reader, Span, Wire};

/// Bytes of the wire form; keys and lengths of entries included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableBytes {
    /// The dictionary, in the order of [`crate::profiles::TABLES`].
    pub tables: [u64; 7],
    /// The Samples of all Profiles.
    pub samples: u64,
    /// Everything else: Resources, scopes, the Profiles themselves.
    pub other: u64,
}

impl Profiles {
    /// How the bytes of [`Profiles::to_otlp`] divide.
    pub fn table_bytes(&self) -> Result<TableBytes> {
        let body = self.to_otlp().0;
        let mut bytes = TableBytes::default();
        let whole = Span { start: 0, len: body.len() as u32 };
        each_message(Reader::new(&body, whole, "ProfilesData"), |number, message, _| match number {
            1 => resource_profiles(message, &mut bytes.samples),
            2 => each_message(message, |table, _, size| {
                if let Some(bytes) = bytes.tables.get_mut(table as usize - 1) {
                    *bytes += size;
                }
                Ok(())
            }),
            _ => Ok(()),
        })?;
        bytes.other = body.len() as u64 - bytes.samples - bytes.tables.iter().sum::<u64>();
        Ok(bytes)
    }
}

fn resource_profiles(message: Reader<'_>, samples: &mut u64) -> Result<()> {
    each_message(message, |number, scope_profiles, _| {
        if number != 2 {
            return Ok(());
        }
        each_message(scope_profiles, |number, profile, _| {
            if number != 2 {
                return Ok(());
            }
            each_message(profile, |number, _, size| {
                *samples += if number == 2 { size } else { 0 };
                Ok(())
            })
        })
    })
}

/// Every length-delimited field of a message, with its number, its content, and the bytes that it takes.
fn each_message<'a>(mut message: Reader<'a>, mut visit: impl FnMut(u32, Reader<'a>, u64) -> Result<()>) -> Result<()> {
    let mut start = message.remaining().start;
    while let Some((number, wire)) = message.next_field()? {
        if wire == Wire::Len {
            let content = message.message(wire, "message")?;
            visit(number, content, u64::from(message.remaining().start - start))?;
        } else {
            message.skip(number, wire)?;
        }
        start = message.remaining().start;
    }
    Ok(())
}
