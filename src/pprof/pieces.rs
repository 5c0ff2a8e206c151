//! A request as pieces that become one pprof each, of a bounded size.

use std::ops::Range;
use std::sync::Arc;

use super::groups::{Group, groups};
use crate::dictionary::Dictionary;
use crate::profile_id::{Derived, derived_id};
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::refusal::Repairs;

/// What a piece may hold, unless by a single Sample.
#[derive(Debug, Clone, Copy)]
pub struct PieceLimits {
    /// Samples, at least 1.
    pub samples: usize,
    /// Locations of the stacks of all of them, each stack counted for every Sample: most of what a pprof takes.
    pub locations: usize,
}

impl Profiles {
    /// A piece as pieces of one Profile each.
    pub fn apart(&self) -> Vec<Self> {
        let alone = |resource: &ResourceProfiles, scope: &ScopeProfiles, profile: &Profile| {
            let scopes = vec![ScopeProfiles { profiles: vec![profile.clone()], ..scope.shallow() }];
            Self { resources: vec![ResourceProfiles { scopes, ..resource.shallow() }], ..self.clone() }
        };
        self.iter().map(|(resource, scope, profile)| alone(resource, scope, profile)).collect()
    }

    /// Pieces that hold every Sample once, in order. Profiles that become one pprof are cut at the same rows, and stay
    /// together.
    pub fn split_for_pprof(&self, limits: PieceLimits) -> Vec<Self> {
        // To be written anew: a piece reaches only some of what stands in the body.
        let (source, table_sources) = Default::default();
        let dictionary = Arc::new(Dictionary { source, table_sources, ..(*self.dictionary).clone() });
        let mut pieces = vec![];
        for resource in &self.resources {
            for scope in &resource.scopes {
                for group in groups(&self.samples, &scope.profiles) {
                    for (number, part) in self.parts(&group, limits).into_iter().enumerate() {
                        let profiles = group.0.iter().map(|profile| cut(profile, &part, number as u64)).collect();
                        let scopes = vec![ScopeProfiles { profiles, ..scope.shallow() }];
                        pieces.push(Self {
                            body: self.body.clone(),
                            dictionary: Arc::clone(&dictionary),
                            resources: vec![ResourceProfiles { scopes, ..resource.shallow() }],
                            samples: Arc::clone(&self.samples),
                            rejections: vec![],
                            repairs: Repairs::default(),
                            removed: self.removed,
                            unknown_fields: 0,
                            is_collected: false,
                            is_body: false,
                        });
                    }
                }
            }
        }
        pieces
    }

    /// The rows of each piece of a group, from its first row on.
    fn parts(&self, group: &Group<'_>, limits: PieceLimits) -> Vec<Range<usize>> {
        let rows = group.first().rows.clone();
        let (mut parts, mut start, mut locations) = (vec![], 0, 0);
        for offset in 0..rows.len() {
            let depth = self.dictionary.stacks.row(self.samples.stack[rows.start + offset] as usize).len();
            let is_full = offset - start >= limits.samples || locations + depth > limits.locations;
            if is_full && offset > start {
                parts.push(start..offset);
                (start, locations) = (offset, 0);
            }
            locations += depth;
        }
        parts.push(start..rows.len());
        parts
    }
}

/// A part of a Profile, which may be all of it.
fn cut(profile: &Profile, part: &Range<usize>, number: u64) -> Profile {
    let start = profile.rows.start;
    let mut piece = Profile { rows: start + part.start..start + part.end, ..profile.clone() };
    if piece.rows != profile.rows {
        piece.source.span = None;
    }
    if number > 0 {
        piece.profile_id = derived_id(profile.profile_id, Derived::Part(number));
        piece.drop_payload();
    }
    piece
}
