//! Content ids: the first 64 bits of a BLAKE3 hash, as a signed number, since that is what all engines read.
//!
//! Among n things the chance that any two have one id is about n² / 2^65: 3 in a million for ten million.

use super::columns::Pairs;

/// What an id is made of. Every part says its length, so that no two lists of parts look alike.
#[derive(Clone)]
pub(super) struct Content(blake3::Hasher);

impl Content {
    /// Of a kind of thing: ids of two kinds have nothing to do with each other.
    pub(super) fn of(kind: u8) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]);
        Self(hasher)
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    pub(super) fn text(&mut self, text: &[u8]) -> &mut Self {
        self.number(text.len() as u64).0.update(text);
        self
    }

    pub(super) fn pairs(&mut self, pairs: &Pairs<'_>) -> &mut Self {
        self.number(pairs.len() as u64);
        for (key, value) in pairs {
            self.text(key.as_bytes()).text(value.as_bytes());
        }
        self
    }

    pub(super) fn id(&self) -> i64 {
        let mut id = [0; 8];
        self.0.finalize_xof().fill(&mut id);
        i64::from_le_bytes(id)
    }
}

pub(super) const STACK: u8 = 1;
pub(super) const LOCATION: u8 = 2;
pub(super) const LABELS: u8 = 3;
