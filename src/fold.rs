//! Stacks as text: folded (`root;...;leaf`), and functions with their self and total values.

use std::borrow::Cow;

use hashbrown::HashMap;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::profiles::{Profile, Profiles, ResourceProfiles};

/// Which Profiles to look at; `None` takes all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// `service.name`
    pub service: Option<&'a str>,
    /// name of the sample type
    pub sample_type: Option<&'a str>,
}

impl Selection<'_> {
    /// Whether a Profile is one of them.
    pub fn takes(self, profiles: &Profiles, group: &ResourceProfiles, profile: &Profile) -> bool {
        self.service.is_none_or(|name| name.as_bytes() == profiles.service(group))
            && self.sample_type.is_none_or(|name| name.as_bytes() == profiles.sample_type(profile).0)
    }
}

/// Stacks as columns, for arithmetic over many of them.
#[derive(Debug, Default, PartialEq)]
pub struct StackColumns {
    /// Functions, each once.
    pub names: Vec<String>,
    /// The frames of all stacks, each root first: places in `names`.
    pub frames: Vec<u32>,
    /// Where in `frames` each stack ends.
    pub ends: Vec<u64>,
    /// What each stack stands for.
    pub values: Vec<f64>,
}

/// What stands for a stack without any frame.
pub(crate) const NO_STACK: &str = "(no stack)";

impl Profiles {
    /// What the Samples of the selected Profiles stand for, by stack; stacks that stand for nothing are left out.
    fn stack_totals(&self, selection: Selection<'_>) -> Vec<(usize, i128)> {
        let mut totals: Vec<Option<i128>> = vec![None; self.dictionary.stacks.len()];
        for (group, _, profile) in self.iter() {
            if selection.takes(self, group, profile) {
                for row in profile.rows.clone() {
                    *totals[self.samples.stack[row] as usize].get_or_insert(0) += self.samples.total(row);
                }
            }
        }
        totals.into_iter().enumerate().filter_map(|(stack, total)| total.map(|total| (stack, total))).collect()
    }

    /// The names of a Location's frames, outermost caller first, as they were sent.
    pub(crate) fn frames(&self, location: u32) -> Vec<Cow<'_, str>> {
        let location = location as usize;
        let lines = self.dictionary.locations.lines.row(location);
        if lines.is_empty() {
            return vec![self.native_frame(location).into()];
        }
        let name = |function: u32| {
            let function = &self.dictionary.functions[function as usize];
            let names = [function.name, function.system_name].map(|index| self.string(index));
            match names.into_iter().find(|name| !name.is_empty()) {
                Some(name) => String::from_utf8_lossy(name),
                None => self.native_frame(location).into(),
            }
        };
        lines.iter().rev().map(|line| name(line.function)).collect()
    }

    /// A frame without a function: `library.so+0xaddress`, or the address alone.
    pub(crate) fn native_frame(&self, location: usize) -> String {
        let locations = &self.dictionary.locations;
        let mapping = &self.dictionary.mappings[locations.mapping[location] as usize];
        let address = locations.address[location];
        let file = String::from_utf8_lossy(self.string(mapping.filename));
        match file.rsplit('/').next() {
            Some(base) if !base.is_empty() => format!("{base}+{address:#x}"),
            _ => format!("{address:#x}"),
        }
    }

    /// The frames of a stack, root first.
    fn stack_frames<'a>(&self, stack: usize, names: &'a [Vec<Cow<'_, str>>]) -> Vec<&'a str> {
        let locations = self.dictionary.stacks.row(stack).iter().rev();
        let frames: Vec<&str> = locations.flat_map(|&location| &names[location as usize]).map(AsRef::as_ref).collect();
        if frames.is_empty() { vec![NO_STACK] } else { frames }
    }

    fn all_frames(&self) -> Vec<Vec<Cow<'_, str>>> {
        let safe = |location| self.frames(location).into_iter().map(frame_name).collect();
        (0..self.dictionary.locations.mapping.len() as u32).map(safe).collect()
    }

    /// Stacks as `root;...;leaf` with their sums, largest first; ties by stack.
    pub fn fold(&self, selection: Selection<'_>) -> Vec<(String, i128)> {
        let names = self.all_frames();
        let mut folded: FxHashMap<String, i128> = FxHashMap::default();
        for (stack, total) in self.stack_totals(selection) {
            *folded.entry(self.stack_frames(stack, &names).join(";")).or_default() += total;
        }
        let mut folded: Vec<_> = folded.into_iter().collect();
        folded.sort_unstable_by(|(a_stack, a), (b_stack, b)| b.cmp(a).then_with(|| a_stack.cmp(b_stack)));
        folded
    }

    /// Stacks as columns: what `fold` gives, without one text a stack.
    #[expect(clippy::cast_precision_loss, reason = "what is done with them is statistics")]
    pub fn stack_columns(&self, selection: Selection<'_>) -> StackColumns {
        let mut columns = StackColumns::default();
        let mut known = HashMap::new();
        let mut of_location: Vec<Option<Vec<u32>>> = vec![None; self.dictionary.locations.mapping.len()];
        for (stack, total) in self.stack_totals(selection) {
            let start = columns.frames.len();
            for &location in self.dictionary.stacks.row(stack).iter().rev() {
                let places = of_location[location as usize].get_or_insert_with(|| {
                    let names = self.frames(location).into_iter().map(frame_name);
                    names.map(|name| place(name.into_owned(), &mut known, &mut columns.names)).collect()
                });
                columns.frames.extend_from_slice(places);
            }
            if columns.frames.len() == start {
                columns.frames.push(place(NO_STACK.to_owned(), &mut known, &mut columns.names));
            }
            columns.ends.push(columns.frames.len() as u64);
            columns.values.push(total as f64);
        }
        columns
    }

    /// Functions as (name, self value, total value), largest self value first; ties by name.
    pub fn top_functions(&self, count: usize, selection: Selection<'_>) -> Vec<(String, i128, i128)> {
        let names = self.all_frames();
        let mut functions: FxHashMap<&str, (i128, i128)> = FxHashMap::default();
        let mut seen = FxHashSet::default();
        for (stack, total) in self.stack_totals(selection) {
            let frames = self.stack_frames(stack, &names);
            if let Some(leaf) = frames.last() {
                functions.entry(leaf).or_default().0 += total;
            }
            seen.clear();
            // Recursion does not count a function's total twice.
            for frame in frames.into_iter().filter(|frame| seen.insert(*frame)) {
                functions.entry(frame).or_default().1 += total;
            }
        }
        let mut top: Vec<_> = functions.into_iter().collect();
        top.sort_unstable_by(|(a_name, a), (b_name, b)| b.0.cmp(&a.0).then_with(|| a_name.cmp(b_name)));
        top.into_iter().take(count).map(|(name, (own, total))| (name.to_owned(), own, total)).collect()
    }
}

/// The place of a name among those that are known.
fn place(name: String, known: &mut HashMap<String, u32>, names: &mut Vec<String>) -> u32 {
    let next = names.len() as u32;
    *known.entry(name).or_insert_with_key(|name| {
        names.push(name.clone());
        next
    })
}

/// A name as one frame of a folded stack: hostile text, so neither the separator nor a control character stays.
fn frame_name(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains(|c: char| c == ';' || c.is_ascii_control()) {
        return name;
    }
    let clean = |c: char| match c {
        ';' => ':',
        c if c.is_ascii_control() => ' ',
        c => c,
    };
    name.chars().map(clean).collect::<String>().into()
}
