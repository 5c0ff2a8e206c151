//! A request as pieces that become one pprof each, of a bounded size.

use std::ops::Range;
use std::sync::Arc;

use super::groups::{Group, chapters, groups};
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
    /// A piece as pieces of one sample type each.
    pub fn apart(&self) -> Vec<Self> {
        let (resource, count) = (&self.resources[0], self.column_count());
        let scope = &resource.scopes[0];
        let column = |first: usize| {
            let profiles = scope.profiles.iter().skip(first).step_by(count).cloned().collect();
            let scopes = vec![ScopeProfiles { profiles, ..scope.shallow() }];
            Self { resources: vec![ResourceProfiles { scopes, ..resource.shallow() }], ..self.clone() }
        };
        (0..count).map(column).collect()
    }

    /// How many sample types a piece has. Its Profiles are all types of some rows, then all types of other rows.
    pub fn column_count(&self) -> usize {
        let profiles = &self.resources[0].scopes[0].profiles;
        let is_again = |profile: &Profile| profile.sample_type == profiles[0].sample_type;
        profiles.iter().skip(1).position(is_again).map_or(profiles.len(), |others| others + 1)
    }

    /// Pieces that hold every Sample once. Profiles that become one pprof are cut at the same rows, and stay together;
    /// those of the same key share a piece when they fit, whatever shape their Samples have.
    pub fn split_for_pprof(&self, limits: PieceLimits) -> Vec<Self> {
        // To be written anew: a piece reaches only some of what stands in the body.
        let (source, table_sources) = Default::default();
        let dictionary = Arc::new(Dictionary { source, table_sources, ..(*self.dictionary).clone() });
        let mut pieces = vec![];
        for resource in &self.resources {
            for scope in &resource.scopes {
                let fits = |groups: &[Group<'_>]| self.fit(groups, limits);
                for chapter in chapters(groups(&self.samples, &scope.profiles), fits) {
                    for profiles in self.cut_chapter(&chapter, limits) {
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

    /// The Profiles of each piece of a chapter: of all its groups, or of the parts of its only one.
    fn cut_chapter(&self, chapter: &[Group<'_>], limits: PieceLimits) -> Vec<Vec<Profile>> {
        let [group] = chapter else {
            return vec![chapter.iter().flat_map(|group| &group.0).map(|&profile| profile.clone()).collect()];
        };
        let cut_all = |(number, part)| group.0.iter().map(|profile| cut(profile, &part, number as u64)).collect();
        self.parts(group, limits).into_iter().enumerate().map(cut_all).collect()
    }

    /// Whether some groups are no more than a piece together.
    fn fit(&self, groups: &[Group<'_>], limits: PieceLimits) -> bool {
        let rows = || groups.iter().flat_map(|group| group.first().rows.clone());
        let depth = |row: usize| self.dictionary.stacks.row(self.samples.stack[row] as usize).len();
        rows().count() <= limits.samples && rows().map(depth).sum::<usize>() <= limits.locations
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
