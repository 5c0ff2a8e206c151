//! Labels of a pprof's samples as attributes: a set, in which no key stands twice.

use hashbrown::HashMap;

use super::read::invalid;
use crate::assemble::Assembly;
use crate::error::Result;
use crate::value::AnyValue;

/// What a label says of its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LabelValue {
    /// by string-table index
    Text(u32),
    /// and its unit, by string-table index
    Number(i64, u32),
}

/// A label: its key by string-table index, and its value.
pub(super) type Label = (u32, LabelValue);

/// Keys of numbers of bytes that have no unit, as pprof reads them (profile.go, `NumLabelUnits`). All other numbers
/// without a unit have none here: pprof takes the key for one.
const KEYS_IN_BYTES: [&[u8]; 3] = [b"bytes", b"request", b"alignment"];

/// Gives each set of labels of one key its attribute.
#[derive(Default)]
pub(super) struct Labels {
    /// The labels of the present sample.
    pub(super) sample: Vec<Label>,
    known: HashMap<Vec<Label>, u32>,
    /// By string-table index of a key, the first index that holds it.
    keys: HashMap<u32, u32>,
    by_text: HashMap<Vec<u8>, u32>,
    bytes: Option<u32>,
}

impl Labels {
    /// Append the attributes of sample `index` to those of the present row.
    pub(super) fn attributes(&mut self, assembly: &mut Assembly, body: &[u8], index: usize) -> Result<()> {
        let mut sample = std::mem::take(&mut self.sample);
        for (key, value) in &mut sample {
            self.name(assembly, body, key, value, index)?;
        }
        // Several values of one key are one attribute; their order is kept.
        sample.sort_by_key(|&(key, _)| key);
        for labels in sample.chunk_by(|a, b| a.0 == b.0) {
            let known = self.known.get(labels).copied();
            let attribute = known.map_or_else(|| attribute(assembly, body, labels, index), Ok)?;
            if known.is_none() {
                self.known.insert(labels.to_vec(), attribute);
            }
            assembly.samples.attributes.items.push(attribute);
        }
        self.sample = sample;
        Ok(())
    }

    /// Set a label's key to the first index that holds it, and its unit to the one that goes without saying.
    fn name(
        &mut self,
        assembly: &mut Assembly,
        body: &[u8],
        key: &mut u32,
        value: &mut LabelValue,
        sample: usize,
    ) -> Result<()> {
        let text = assembly.dictionary.strings[*key as usize].of(body);
        if text.is_empty() {
            return Err(invalid(format!("sample {sample} has a label without a key")));
        }
        let by_text = &mut self.by_text;
        *key = *self.keys.entry(*key).or_insert_with(|| *by_text.entry_ref(text).or_insert(*key));
        if let LabelValue::Number(_, unit @ 0) = value
            && KEYS_IN_BYTES.contains(&text)
        {
            *unit = *self.bytes.get_or_insert_with(|| assembly.string("bytes"));
        }
        Ok(())
    }
}

/// An attribute of all labels of one key.
fn attribute(assembly: &mut Assembly, body: &[u8], labels: &[Label], sample: usize) -> Result<u32> {
    let strings = &assembly.dictionary.strings;
    let (key, first) = labels[0];
    let unit = |value| match value {
        LabelValue::Text(_) => None,
        LabelValue::Number(_, unit) => Some(unit),
    };
    if labels.iter().any(|&(_, value)| unit(value) != unit(first)) {
        let key = crate::refusal::shown(strings[key as usize].of(body));
        return Err(invalid(format!("sample {sample} has labels {key} of several kinds or units")));
    }
    let mut values = labels.iter().map(|&(_, value)| match value {
        LabelValue::Text(text) => AnyValue::String(strings[text as usize]),
        LabelValue::Number(number, _) => AnyValue::Int(number),
    });
    let value = match (values.next(), labels.len()) {
        (Some(value), 1) => value,
        (first, _) => AnyValue::Array(first.into_iter().chain(values).collect()),
    };
    assembly.attribute(key, value, unit(first).unwrap_or(0))
}
