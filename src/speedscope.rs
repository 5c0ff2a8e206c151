//! speedscope's file format: a picture of stacks that is looked at in a browser.
//!
//! Source: <https://www.speedscope.app/file-format-schema.json>.

use std::borrow::Cow;

use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use crate::dictionary::Function;
use crate::fold::{NO_STACK, Selection};
use crate::profiles::Profiles;

/// What the file says it was written by.
const EXPORTER: &str = concat!("otelprof@", env!("CARGO_PKG_VERSION"));

/// A service, a sample type and its unit.
type Key<'a> = (&'a [u8], &'a [u8], &'a [u8]);

impl Profiles {
    /// One sampled profile for each service and sample type, in order of first appearance. The format has no
    /// negative weights: stacks whose values add up to nothing or less are left out.
    pub fn to_speedscope(&self, selection: Selection<'_>, name: &str) -> Vec<u8> {
        let mut frames = Frames::new(self);
        let profiles = self.totals_by_key(selection).into_iter().map(|((service, sample_type, unit), totals)| {
            let (mut samples, mut weights) = (vec![], vec![]);
            for (stack, total) in totals.into_iter().filter(|&(_, total)| total > 0) {
                samples.push(Value::from(frames.stack(stack)));
                weights.push(total);
            }
            let title = format!("{} {}", String::from_utf8_lossy(service), String::from_utf8_lossy(sample_type));
            json!({
                "type": "sampled",
                "name": title,
                "unit": unit_of(unit),
                "startValue": 0,
                "endValue": number(weights.iter().sum()),
                "samples": samples,
                "weights": weights.into_iter().map(number).collect::<Vec<_>>(),
            })
        });
        let profiles: Vec<Value> = profiles.collect();
        let file = json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": EXPORTER,
            "name": name,
            "activeProfileIndex": 0,
            "profiles": profiles,
            "shared": { "frames": frames.table },
        });
        file.to_string().into_bytes()
    }

    /// What the selected Samples stand for, by service and type, and in each by stack, in the order of the table.
    fn totals_by_key(&self, selection: Selection<'_>) -> Vec<(Key<'_>, Vec<(u32, i128)>)> {
        let mut keys: HashMap<Key<'_>, usize> = HashMap::new();
        let mut totals: Vec<(Key<'_>, HashMap<u32, i128>)> = vec![];
        for (group, _, profile) in self.iter().filter(|(group, _, profile)| selection.takes(self, group, profile)) {
            let (name, unit) = self.sample_type(profile);
            let key = (self.service(group), name, unit);
            let index = *keys.entry(key).or_insert_with(|| {
                totals.push((key, HashMap::new()));
                totals.len() - 1
            });
            for row in profile.rows.clone() {
                *totals[index].1.entry(self.samples.stack[row]).or_default() += self.samples.total(row);
            }
        }
        let sorted = |stacks: HashMap<u32, i128>| {
            let mut stacks: Vec<_> = stacks.into_iter().collect();
            stacks.sort_unstable();
            stacks
        };
        totals.into_iter().map(|(key, stacks)| (key, sorted(stacks))).collect()
    }
}

/// The shared table of frames: one for each function of each file.
struct Frames<'a> {
    profiles: &'a Profiles,
    /// By location, its frames, outermost caller first.
    known: HashMap<u32, Vec<usize>>,
    indices: HashMap<(String, String), usize>,
    table: Vec<Value>,
}

impl<'a> Frames<'a> {
    fn new(profiles: &'a Profiles) -> Self {
        Self { profiles, known: HashMap::new(), indices: HashMap::new(), table: vec![] }
    }

    /// The frames of a stack, root first.
    fn stack(&mut self, stack: u32) -> Vec<usize> {
        let mut frames = vec![];
        for &location in self.profiles.dictionary.stacks.row(stack as usize).iter().rev() {
            if !self.known.contains_key(&location) {
                let made = self.location(location);
                self.known.insert(location, made);
            }
            frames.extend(self.known.get(&location).into_iter().flatten());
        }
        if frames.is_empty() {
            frames.push(self.frame(NO_STACK.into(), String::new(), 0));
        }
        frames
    }

    fn location(&mut self, location: u32) -> Vec<usize> {
        let dictionary = &self.profiles.dictionary;
        let functions = dictionary.locations.lines.row(location as usize).iter().rev();
        let functions = functions.map(|line| &dictionary.functions[line.function as usize]).map(Some);
        // A location without lines is one frame, by its address.
        let functions = functions.chain(std::iter::repeat(None));
        let frames = self.profiles.frames(location).into_iter().zip(functions);
        let frame = |(name, function): (Cow<'_, str>, Option<&Function>)| {
            let file = function.map_or(&b""[..], |function| self.profiles.string(function.filename));
            let line = function.map_or(0, |function| function.start_line);
            (name.into_owned(), String::from_utf8_lossy(file).into_owned(), line)
        };
        let frames: Vec<_> = frames.map(frame).collect();
        frames.into_iter().map(|(name, file, line)| self.frame(name, file, line)).collect()
    }

    fn frame(&mut self, name: String, file: String, line: i64) -> usize {
        let table = &mut self.table;
        *self.indices.entry((name, file)).or_insert_with_key(|(name, file)| {
            let mut frame = Map::new();
            frame.insert("name".into(), name.as_str().into());
            if !file.is_empty() {
                frame.insert("file".into(), file.as_str().into());
            }
            if line > 0 {
                frame.insert("line".into(), line.into());
            }
            table.push(frame.into());
            table.len() - 1
        })
    }
}

/// The format's word for a unit; what it has none for is shown as a plain number.
fn unit_of(unit: &[u8]) -> &'static str {
    match unit {
        b"nanoseconds" | b"ns" => "nanoseconds",
        b"microseconds" | b"us" => "microseconds",
        b"milliseconds" | b"ms" => "milliseconds",
        b"seconds" | b"s" => "seconds",
        b"bytes" | b"By" => "bytes",
        _ => "none",
    }
}

/// A number of 64 bits, or the largest there is.
fn number(value: i128) -> i64 {
    value.min(i64::MAX.into()) as i64
}
