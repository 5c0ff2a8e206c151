//! Stacks, frames and labels: what rows of `samples` refer to, by content.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use rustc_hash::{FxHashMap, FxHashSet};

use super::budget::Budget;
use super::columns::{self, Frame, LabelSet, Pairs, pairs_size};
use super::ids::{Content, LABELS, LOCATION, STACK};
use super::rows::{SPAN_NAME, STATE};
use super::written::{Keys, Written};
use crate::error::Result;
use crate::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use crate::text::text;

const FRAME_TYPE: &str = "profile.frame.type";

/// The ids of what a request's rows refer to.
pub(super) struct Symbols<'a> {
    profiles: &'a Profiles,
    /// By index, once known.
    locations: Vec<Option<i64>>,
    /// With the date of the last row that referred to it.
    stacks: Vec<Option<(i64, i32)>>,
    /// What stands above the Samples of each Profile.
    above: Vec<LabelSet<'a>>,
    /// Where to find what has an id, and how many bytes it takes.
    location_of: FxHashMap<i64, (u32, usize)>,
    stack_of: FxHashMap<i64, u32>,
    labels_of: FxHashMap<i64, (Owner<'a>, usize)>,
    keys: Keys,
    pub(super) budget: Budget,
}

/// Whose labels: the place of what stands above, and the attributes of a Sample.
type Owner<'a> = (usize, &'a [u32]);

impl<'a> Symbols<'a> {
    pub(super) fn new(profiles: &'a Profiles) -> Self {
        Self {
            profiles,
            locations: vec![None; profiles.dictionary.locations.mapping.len()],
            stacks: vec![None; profiles.dictionary.stacks.len()],
            above: vec![],
            location_of: FxHashMap::default(),
            stack_of: FxHashMap::default(),
            labels_of: FxHashMap::default(),
            keys: Keys::default(),
            budget: Budget::default(),
        }
    }

    /// The id of a stack that a row of this date refers to.
    pub(super) fn stack(&mut self, date: i32, stack: u32) -> Result<i64> {
        let known = self.stacks[stack as usize];
        if let Some((id, of)) = known
            && of == date
        {
            return Ok(id);
        }
        let id = known.map_or_else(|| self.new_stack(stack), |(id, _)| Ok(id))?;
        self.stacks[stack as usize] = Some((id, date));
        self.keys.stacks.insert((date, id));
        Ok(id)
    }

    fn new_stack(&mut self, stack: u32) -> Result<i64> {
        let profiles = self.profiles;
        let mut content = Content::of(STACK);
        for &location in profiles.dictionary.stacks.row(stack as usize) {
            content.number(self.location(location)? as u64);
        }
        let id = content.id();
        self.stack_of.entry(id).or_insert(stack);
        Ok(id)
    }

    fn location(&mut self, location: u32) -> Result<i64> {
        if let Some(id) = self.locations[location as usize] {
            return Ok(id);
        }
        let mut content = Content::of(LOCATION);
        let mut size = 0;
        for frame in self.frames(location) {
            frame.add_to(&mut content);
            size += frame.size();
        }
        self.budget.take(size)?;
        let id = content.id();
        self.locations[location as usize] = Some(id);
        self.location_of.entry(id).or_insert((location, size));
        Ok(id)
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

    /// What stands above the Samples of a Profile, and its place here.
    pub(super) fn above(
        &mut self,
        group: &'a ResourceProfiles,
        scope: &ScopeProfiles,
        profile: &Profile,
    ) -> Result<Above> {
        let profiles = self.profiles;
        let string = |index: u32| String::from_utf8_lossy(profiles.string(index)).into_owned();
        let span = |span: crate::wire::Span| String::from_utf8_lossy(span.of(&profiles.body)).into_owned();
        let pairs = group.resource.iter().flat_map(|resource| &resource.attributes);
        let pairs = pairs.map(|pair| (profiles.key(pair).into(), text(profiles, &pair.value)));
        let period_type = profile.period_type.unwrap_or_default();
        let set = LabelSet {
            scope: scope.scope.as_ref().map(|scope| span(scope.name)).unwrap_or_default(),
            scope_version: scope.scope.as_ref().map(|scope| span(scope.version)).unwrap_or_default(),
            period_type: string(period_type.name),
            period_unit: string(period_type.unit),
            period: profile.period,
            resource: pairs.filter(|(key, _): &(Cow<'_, str>, _)| !key.is_empty()).collect(),
            attributes: with(profiles, &Pairs::new(), &profile.attributes),
        };
        self.budget.take(set.size() + pairs_size(&set.attributes))?;
        let mut content = Content::of(LABELS);
        set.add_to(&mut content);
        self.above.push(set);
        Ok(Above { place: self.above.len() - 1, content })
    }

    /// The id of the labels of a Sample with these attributes.
    pub(super) fn labels(&mut self, date: i32, above: &Above, attributes: &'a [u32]) -> Result<i64> {
        let set = &self.above[above.place];
        let pairs = with(self.profiles, &set.attributes, attributes);
        let size = pairs_size(&pairs);
        self.budget.take(size)?;
        let id = above.content.clone().pairs(&pairs).id();
        self.labels_of.entry(id).or_insert(((above.place, attributes), set.size() + size));
        self.keys.labels.insert((date, id));
        Ok(id)
    }

    /// All that was referred to, and the rows of what was not written, as of this day.
    pub(super) fn finish(
        mut self,
        written: &Written,
        today: i32,
    ) -> Result<(Keys, RecordBatch, RecordBatch, RecordBatch)> {
        let stack_of = std::mem::take(&mut self.stack_of);
        let locations_of = |id: i64| self.profiles.dictionary.stacks.row(stack_of[&id] as usize);
        let id_of = |location: &u32| self.locations[*location as usize].unwrap_or_default();
        // A stack that is in the tables has its locations there.
        let mut keys = std::mem::take(&mut self.keys);
        let mut locations = FxHashSet::default();
        for &(date, id) in &keys.stacks {
            self.budget.take(size_of_val(locations_of(id)) * 2)?;
            locations.extend(locations_of(id).iter().map(|location| (date, id_of(location))));
        }
        keys.locations = locations;
        let news = written.news(&keys, today);
        for (_, id) in &news.locations {
            self.budget.take(self.location_of[id].1)?;
        }
        for (_, id) in &news.labels {
            self.budget.take(self.labels_of[id].1)?;
        }
        let stacks = sorted(&news.stacks).map(|(date, id)| (date, id, locations_of(id).iter().map(id_of).collect()));
        let frames = sorted(&news.locations).flat_map(|(date, id)| {
            self.frames(self.location_of[&id].0).into_iter().map(move |frame| (date, id, frame))
        });
        let labels = sorted(&news.labels).map(|(date, id)| {
            let (place, attributes) = self.labels_of[&id].0;
            let set = &self.above[place];
            (date, id, set, with(self.profiles, &set.attributes, attributes))
        });
        let stacks = columns::stacks(&stacks.collect::<Vec<_>>());
        let frames = columns::frames(&frames.collect::<Vec<_>>());
        let labels = columns::labels(&labels.collect::<Vec<_>>());
        Ok((keys, stacks, frames, labels))
    }
}

/// What stands above the Samples of a Profile: its place, and the beginning of the ids of their labels.
pub(super) struct Above {
    place: usize,
    content: Content,
}

/// Attributes, and others in the place of those with the same keys; without what has a column of its own.
fn with<'a>(profiles: &'a Profiles, pairs: &Pairs<'a>, attributes: &[u32]) -> Pairs<'a> {
    let mut pairs = pairs.clone();
    for &index in attributes {
        let attribute = &profiles.dictionary.attributes[index as usize];
        let key = String::from_utf8_lossy(profiles.string(attribute.key));
        if !key.is_empty() && key != STATE && key != SPAN_NAME {
            pairs.insert(key, text(profiles, &attribute.value));
        }
    }
    pairs
}

fn sorted(keys: &FxHashSet<(i32, i64)>) -> impl Iterator<Item = (i32, i64)> {
    let mut keys: Vec<(i32, i64)> = keys.iter().copied().collect();
    keys.sort_unstable();
    keys.into_iter()
}
