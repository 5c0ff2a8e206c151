//! Ids for Profiles that have none: made from the content of the request, so that a retry makes the same ones.

use std::cell::OnceCell;

use crate::decode::Place;

/// Makes the ids of one request; the body is hashed once, and only if an id is missing.
pub struct ProfileIds<'a> {
    body: &'a [u8],
    hash: OnceCell<blake3::Hash>,
}

impl<'a> ProfileIds<'a> {
    /// For the Profiles of an inflated body.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, hash: OnceCell::new() }
    }

    /// The id of the Profile that stands at a place; `sibling` tells those apart that were made of one.
    pub fn make(&self, place: Place, sibling: u64) -> [u8; 16] {
        let body = self.hash.get_or_init(|| blake3::hash(self.body));
        let mut hasher = blake3::Hasher::new_keyed(body.as_bytes());
        for part in [place.resource as u64, place.scope as u64, place.profile as u64, sibling] {
            hasher.update(&part.to_le_bytes());
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        id
    }
}
