//! Stacks, frames and labels: what rows of `samples` refer to, by content.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use rustc_hash::{FxHashMap, FxHashSet};

use super::columns::{self, Frame, LabelSet};
use super::ids::{Content, LABELS, LOCATION, STACK};
use super::rows::{SPAN_NAME, STATE};
use super::written::{Keys, Written};
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::text::text;

const FRAME_TYPE: &str = "profile.frame.type";

/// The ids of what a request's rows refer to.
pub(super) struct Symbols<'a> {
    profiles: &'a Profiles,
    /// By index, once known.
    locations: Vec<Option<i64>>,
    stacks: Vec<Option<i64>>,
    /// Where to find what has an id.
    location_of: FxHashMap<i64, u32>,
    stack_of: FxHashMap<i64, u32>,
    labels_of: FxHashMap<i64, LabelSet>,
    keys: Keys,
}

impl<'a> Symbols<'a> {
    pub(super) fn new(profiles: &'a Profiles) -> Self {
        Self {
            profiles,
            locations: vec![None; profiles.dictionary.locations.mapping.len()],
            stacks: vec![None; profiles.dictionary.stacks.len()],
            location_of: FxHashMap::default(),
            stack_of: FxHashMap::default(),
            labels_of: FxHashMap::default(),
            keys: Keys::default(),
        }
    }

    /// The id of a stack that a row of this date refers to.
    pub(super) fn stack(&mut self, date: i32, stack: u32) -> i64 {
        let known = self.stacks[stack as usize];
        let id = known.unwrap_or_else(|| {
            let profiles = self.profiles;
            let mut content = Content::of(STACK);
            for &location in profiles.dictionary.stacks.row(stack as usize) {
                content.number(self.location(location) as u64);
            }
            let id = content.id();
            self.stacks[stack as usize] = Some(id);
            self.stack_of.entry(id).or_insert(stack);
            id
        });
        self.keys.stacks.insert((date, id));
        id
    }

    fn location(&mut self, location: u32) -> i64 {
        if let Some(id) = self.locations[location as usize] {
            return id;
        }
        let mut content = Content::of(LOCATION);
        for frame in self.frames(location) {
            frame.add_to(&mut content);
        }
        let id = content.id();
        self.locations[location as usize] = Some(id);
        self.location_of.entry(id).or_insert(location);
        id
    }

    /// The frames of a Location, innermost first: one when it has no line. An address and a build id say something
    /// only while no function is known; they differ from host to host and build to build, and would make the same
    /// stack another one.
    fn frames(&self, location: u32) -> Vec<Frame<'a>> {
        let profiles = self.profiles;
        let dictionary = &*profiles.dictionary;
        let location = location as usize;
        let mapping = dictionary.locations.mapping[location] as usize;
        let frame_type = profiles.find(dictionary.locations.attributes.row(location), FRAME_TYPE);
        let base = Frame {
            mapping: profiles.string(dictionary.mappings[mapping].filename),
            kind: frame_type.map(|value| text(profiles, value)).unwrap_or_default(),
            ..Frame::default()
        };
        let lines = dictionary.locations.lines.row(location);
        if !lines.iter().any(|line| profiles.is_named(line.function)) {
            let build_id = profiles.build_id(dictionary.mapping_attributes.row(mapping));
            let address = dictionary.locations.address[location] as i64;
            return vec![Frame { build_id, address, ..base }];
        }
        let frame = |(inline, line): (usize, &crate::dictionary::Line)| {
            let function = &dictionary.functions[line.function as usize];
            Frame {
                inline: inline as i32,
                function: profiles.string(function.name),
                system_name: profiles.string(function.system_name),
                file: profiles.string(function.filename),
                start_line: function.start_line,
                line: line.line,
                column: line.column,
                ..base.clone()
            }
        };
        lines.iter().enumerate().map(frame).collect()
    }

    /// What the attributes above the Samples of a Profile say.
    pub(super) fn shared_labels(&self, group: &ResourceProfiles, scope: &ScopeProfiles, profile: &Profile) -> LabelSet {
        let profiles = self.profiles;
        let string = |index: u32| String::from_utf8_lossy(profiles.string(index)).into_owned();
        let span = |span: crate::wire::Span| String::from_utf8_lossy(span.of(&profiles.body)).into_owned();
        let pairs = group.resource.iter().flat_map(|resource| &resource.attributes);
        let pairs = pairs.map(|pair| (profiles.key(pair), text(profiles, &pair.value).into_owned()));
        let resource = pairs.filter(|(key, _)| !key.is_empty()).collect();
        let period_type = profile.period_type.unwrap_or_default();
        let mut set = LabelSet {
            scope: scope.scope.as_ref().map(|scope| span(scope.name)).unwrap_or_default(),
            scope_version: scope.scope.as_ref().map(|scope| span(scope.version)).unwrap_or_default(),
            period_type: string(period_type.name),
            period_unit: string(period_type.unit),
            period: profile.period,
            resource,
            attributes: BTreeMap::new(),
        };
        self.add(&mut set, &profile.attributes);
        set
    }

    fn add(&self, set: &mut LabelSet, attributes: &[u32]) {
        let profiles = self.profiles;
        for &index in attributes {
            let attribute = &profiles.dictionary.attributes[index as usize];
            let key = String::from_utf8_lossy(profiles.string(attribute.key)).into_owned();
            // These are columns of their own.
            if !key.is_empty() && key != STATE && key != SPAN_NAME {
                set.attributes.insert(key, text(profiles, &attribute.value).into_owned());
            }
        }
    }

    /// The id of the labels of a Sample with these attributes.
    pub(super) fn labels(&mut self, date: i32, shared: &LabelSet, attributes: &[u32]) -> i64 {
        let mut set = shared.clone();
        self.add(&mut set, attributes);
        let mut content = Content::of(LABELS);
        set.add_to(&mut content);
        let id = content.id();
        self.labels_of.entry(id).or_insert(set);
        self.keys.labels.insert((date, id));
        id
    }

    /// All that was referred to, and the rows of what was not written.
    pub(super) fn finish(mut self, written: &Written) -> (Keys, RecordBatch, RecordBatch, RecordBatch) {
        let stack_of = std::mem::take(&mut self.stack_of);
        let locations_of = |id: i64| self.profiles.dictionary.stacks.row(stack_of[&id] as usize);
        let id_of = |location: &u32| self.locations[*location as usize].unwrap_or_default();
        // A stack that is in the tables has its locations there.
        let mut keys = std::mem::take(&mut self.keys);
        let mut locations = FxHashSet::default();
        for &(date, id) in &keys.stacks {
            locations.extend(locations_of(id).iter().map(|location| (date, id_of(location))));
        }
        keys.locations = locations;
        let news = written.news(&keys);
        let stacks = sorted(&news.stacks).map(|(date, id)| (date, id, locations_of(id).iter().map(id_of).collect()));
        let frames = sorted(&news.locations)
            .flat_map(|(date, id)| self.frames(self.location_of[&id]).into_iter().map(move |frame| (date, id, frame)));
        let labels = sorted(&news.labels).map(|(date, id)| (date, id, &self.labels_of[&id]));
        let stacks = columns::stacks(&stacks.collect::<Vec<_>>());
        let frames = columns::frames(&frames.collect::<Vec<_>>());
        let labels = columns::labels(&labels.collect::<Vec<_>>());
        (keys, stacks, frames, labels)
    }
}

fn sorted(keys: &FxHashSet<(i32, i64)>) -> impl Iterator<Item = (i32, i64)> {
    let mut keys: Vec<(i32, i64)> = keys.iter().copied().collect();
    keys.sort_unstable();
    keys.into_iter()
}
