//! What a backend's pprofs look like: its names of sample types, its labels, its limits.

use hashbrown::HashMap;

use super::samples::Label;
use super::tables::Strings;
use super::write::PprofOptions;
use crate::profiles::Profiles;
use crate::text::text;
use crate::value::AnyValue;

/// How many digits an id of 8 bytes has.
const HEX_ID_DIGITS: usize = 16;

/// The form of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelForm {
    /// a text, whatever the value is
    Text,
    /// a number: an integer, or a text that is one
    Number,
    /// a number: an id of 8 bytes, which the attribute has as hexadecimal digits; zero is none
    Id,
    /// the same as a text, decimal
    IdText,
    /// a number: an id of 8 bytes, which the attribute has as a decimal number or an integer; zero is none
    DecimalId,
    /// the same as a text, decimal
    DecimalIdText,
}

impl LabelForm {
    /// Every form with its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("text", Self::Text),
        ("number", Self::Number),
        ("id", Self::Id),
        ("id_text", Self::IdText),
        ("decimal_id", Self::DecimalId),
        ("decimal_id_text", Self::DecimalIdText),
    ];
}

/// What becomes of an attribute.
#[derive(Debug, Clone)]
pub struct LabelRule {
    /// The label's key.
    pub key: String,
    /// Its form.
    pub form: LabelForm,
}

/// What joined pprofs look like.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name and unit of each column that may be asked for.
    pub sample_types: Vec<(String, String)>,
    /// Which column to look at first; written when the pprof has it.
    pub default_sample_type: String,
    /// What becomes of attributes, by key.
    pub rules: HashMap<Vec<u8>, LabelRule>,
    /// Keys of other attributes that become texts under their own name; `None` takes all.
    pub other_labels: Option<Vec<Vec<u8>>>,
    /// The label of a Link's span id; empty leaves it out.
    pub span_id: LabelRule,
    /// Whether the type of a frame stands in its function's system name.
    pub frame_types: bool,
    /// Locations of one stack; of a deeper one the caller's end is told by one that says how many are left out.
    pub max_locations: usize,
    /// What it has in common with other pprofs: `timestamp_label` and `native_names`.
    pub options: PprofOptions,
}

/// What became of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Made {
    /// this label
    Label(Label),
    /// nothing, as the layout says
    None,
    /// nothing, since it has not the form that is asked for
    Unreadable,
}

impl Layout {
    /// What becomes of an attribute.
    pub(super) fn label<'a>(&self, profiles: &'a Profiles, attribute: u32, strings: &mut Strings<'a>) -> Made {
        let attribute = &profiles.dictionary.attributes[attribute as usize];
        let (key, value) = (profiles.string(attribute.key), &attribute.value);
        if key.is_empty() {
            return Made::None;
        }
        let is_taken = |keys: &Vec<Vec<u8>>| keys.iter().any(|one| one == key);
        match self.rules.get(key) {
            Some(rule) => {
                let unit = strings.index(profiles.string(attribute.unit));
                rule.label(&text(profiles, value), value, unit, strings)
            }
            None if self.other_labels.as_ref().is_none_or(is_taken) => {
                text_label(strings.index(key), &text(profiles, value), strings)
            }
            None => Made::None,
        }
    }
}

impl LabelRule {
    fn label(&self, text: &str, value: &AnyValue, unit: u32, strings: &mut Strings<'_>) -> Made {
        let id = match self.form {
            LabelForm::Text => {
                let key = strings.index(self.key.clone().into_bytes());
                return text_label(key, text, strings);
            }
            LabelForm::Number => {
                let number = match value {
                    AnyValue::Int(number) => Some(*number),
                    _ => text.parse().ok(),
                };
                let key = strings.index(self.key.clone().into_bytes());
                return number.map_or(Made::Unreadable, |number| Made::Label(Label::number(key, number, unit)));
            }
            LabelForm::Id | LabelForm::IdText => hexadecimal(text),
            LabelForm::DecimalId | LabelForm::DecimalIdText => match value {
                AnyValue::Int(number) => Some(*number as u64),
                _ => decimal(text),
            },
        };
        id.map_or(Made::Unreadable, |id| self.id(id, strings))
    }

    /// The label of an id; none for zero.
    pub(super) fn id(&self, id: u64, strings: &mut Strings<'_>) -> Made {
        if id == 0 || self.key.is_empty() {
            return Made::None;
        }
        let key = strings.index(self.key.clone().into_bytes());
        Made::Label(match self.form {
            LabelForm::IdText | LabelForm::DecimalIdText | LabelForm::Text => {
                Label::text(key, strings.index(id.to_string().into_bytes()))
            }
            // The backend takes the bits for those of an unsigned number.
            LabelForm::Id | LabelForm::DecimalId | LabelForm::Number => Label::number(key, id as i64, 0),
        })
    }
}

/// A label that holds a text; none for an empty one, which readers take for no label, or for the number 0.
fn text_label(key: u32, text: &str, strings: &mut Strings<'_>) -> Made {
    if text.is_empty() {
        return Made::None;
    }
    Made::Label(Label::text(key, strings.index(text.to_owned().into_bytes())))
}

/// An id as 16 hexadecimal digits, and nothing else.
fn hexadecimal(text: &str) -> Option<u64> {
    let is_id = text.len() == HEX_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// An id as a decimal number: digits only.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
