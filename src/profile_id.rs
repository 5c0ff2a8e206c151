//! Ids for Profiles that have none: made from the content of the request, or from the Profile they were made of, so
//! that a retry makes the same ones.

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

    /// The id of the Profile that stands at a place.
    pub fn make(&self, place: Place) -> [u8; 16] {
        let body = self.hash.get_or_init(|| blake3::hash(self.body));
        let mut hasher = blake3::Hasher::new_keyed(body.as_bytes());
        for part in [place.resource, place.scope, place.profile] {
            hasher.update(&(part as u64).to_le_bytes());
        }
        first_16_bytes(&hasher)
    }
}

/// What a Profile was made of another one for.
#[derive(Debug, Clone, Copy)]
pub enum Derived {
    /// It holds the Samples without timestamps of a Profile that mixed shapes.
    Untimed,
    /// It holds the demoted Samples of a Profile.
    Demoted,
    /// It goes on where the last piece of a split ended; the number of the part, from 1.
    Part(u64),
    /// It is the same at another time; by so many nanoseconds, as 64 bits.
    Shifted(u64),
    /// It holds the values of one sample type of a Profile that had several; the number of the type, from 1.
    SampleType(u64),
    /// It holds what happened since the Profile before it.
    Difference,
}

/// The id of a Profile that was made of another one.
pub fn derived_id(profile_id: [u8; 16], derived: Derived) -> [u8; 16] {
    let (purpose, number) = match derived {
        Derived::Untimed => (0, 0),
        Derived::Part(number) => (1, number),
        Derived::Demoted => (2, 0),
        Derived::Shifted(nanos) => (3, nanos),
        Derived::SampleType(number) => (4, number),
        Derived::Difference => (5, 0),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&profile_id);
    hasher.update(&[purpose]);
    hasher.update(&number.to_le_bytes());
    first_16_bytes(&hasher)
}

fn first_16_bytes(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}
