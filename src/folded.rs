//! Folded stacks: a line `root;...;leaf value` for each.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::assemble::Assembly;
use crate::dictionary::{Function, Line};
use crate::error::{Error, Result};
use crate::inflate::inflate;
use crate::limits::Limits;
use crate::profiles::{Profile, Profiles, ValueType};
use crate::refusal::shown;
use crate::wire::Span;

impl Profiles {
    /// A request of one Profile with a Sample for each line. Blank lines are stepped over.
    ///
    /// # Errors
    /// A line that is none, by its number.
    pub fn from_folded(
        text: Bytes,
        limits: &Limits,
        sample_type: (&str, &str),
        resource: &[(String, String)],
    ) -> Result<Self> {
        let text = inflate(text, limits.max_body_bytes)?;
        let mut assembly = Assembly::new(text.clone(), limits);
        let sample_type = ValueType { name: assembly.string(sample_type.0), unit: assembly.string(sample_type.1) };
        let mut frames: HashMap<&str, u32> = HashMap::new();
        let mut stack = vec![];
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let invalid =
                |what: String| Error::Invalid { format: "folded stacks", what: format!("line {}: {what}", index + 1) };
            let (names, value) = parse(line).map_err(invalid)?;
            stack.clear();
            for (depth, name) in names.rsplit(';').enumerate() {
                if name.is_empty() {
                    return Err(invalid(format!("frame {} from the leaf has no name", depth + 1)));
                }
                let known = frames.get(name).copied();
                let location = known.map_or_else(
                    || {
                        let start = name.as_ptr() as usize - text.as_ptr() as usize;
                        frame(&mut assembly, Span { start: start as u32, len: name.len() as u32 })
                    },
                    Ok,
                )?;
                frames.entry(name).or_insert(location);
                stack.push(location);
            }
            let stack = assembly.stack(&stack)?;
            assembly.room(assembly.samples.len(), "Samples")?;
            assembly.samples.values.items.push(value);
            assembly.samples.end_row(stack, 0);
        }
        let rows = 0..assembly.samples.len();
        let profile = Profile { sample_type: Some(sample_type), rows, ..Profile::default() };
        assembly.finish(resource, None, vec![profile], 0)
    }
}

fn parse(line: &[u8]) -> std::result::Result<(&str, i64), String> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let (names, value) = line.rsplit_once([' ', '\t']).ok_or("no value: `root;...;leaf value` is expected")?;
    let value = value
        .parse()
        .map_err(|_| format!("the value is {}; an integer of 64 bits is expected", shown(value.as_bytes())))?;
    Ok((names.trim_end(), value))
}

/// The Location of a function that is known by its name alone.
fn frame(assembly: &mut Assembly, name: Span) -> Result<u32> {
    assembly.room(assembly.dictionary.functions.len(), "functions")?;
    let dictionary = &mut assembly.dictionary;
    dictionary.strings.push(name);
    dictionary.functions.push(Function { name: dictionary.strings.len() as u32 - 1, ..Function::default() });
    assembly.line(Line { function: assembly.dictionary.functions.len() as u32 - 1, ..Line::default() })?;
    Ok(assembly.location(0, 0, &[]))
}
