//! Redaction by role: attribute values, command lines, file paths, symbols, wherever they stand. What is taken out is
//! not in the request any more: collection leaves the old text behind when it is written.

use std::borrow::Cow;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use regex::Regex;
use rustc_hash::FxHashMap;
use sha2::Sha256;

use crate::columns::{Ragged, Samples};
use crate::dictionary::Dictionary;
use crate::profiles::{Profile, Profiles, ResourceProfiles};
use crate::value::{AnyValue, KeyValue};
use crate::wire::Span;

/// Attributes that hold a command line (OpenTelemetry semantic conventions, process).
const COMMAND_LINE_KEYS: [&[u8]; 4] =
    [b"process.command", b"process.command_line", b"process.command_args", b"process.args"];

/// What stands where something was, unless a rule says otherwise.
const MASK: &str = "***";

/// So many bytes of an HMAC are written, in hexadecimal: enough that two texts do not meet.
const HASH_BYTES: usize = 16;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// the value of an attribute
    Attribute,
    /// the value of an attribute that holds a command line
    CommandLine,
    /// the file of a Function or a Mapping
    FilePath,
    /// the name of a Function
    Symbol,
}

/// What is done with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// It stays.
    Keep,
    /// The attribute goes; a symbol or a path becomes `***`.
    Drop,
    /// Its HMAC-SHA256 stands for it: the same text, the same hash.
    Hash,
    /// What the pattern finds, or all of it, is replaced.
    Mask(String),
}

/// A rule; the first of its role that matches decides, and what none matches stays.
#[derive(Debug, Clone)]
pub struct RedactionRule {
    /// Which texts it is for.
    pub role: Role,
    /// The attribute's key; any when `None`. Of no meaning for symbols and paths.
    pub key: Option<String>,
    /// What the text must contain; anything when `None`.
    pub pattern: Option<Regex>,
    /// What is done.
    pub treatment: Treatment,
}

/// Rules, and the key of the hashes.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// In their order.
    pub rules: Vec<RedactionRule>,
    /// Of the HMAC.
    pub key: Vec<u8>,
}

/// A request after redaction.
#[derive(Debug)]
pub struct Redacted {
    /// What is left; the same request when nothing changed.
    pub profiles: Arc<Profiles>,
    /// How many texts each rule changed, in their order; a text that many refer to counts once.
    pub changed: Vec<u64>,
    /// `original_payload`s that went: nobody knows what is in them.
    pub payloads_dropped: u64,
}

impl Profiles {
    /// Carry out redaction.
    pub fn redact(self: &Arc<Self>, redaction: &Redaction) -> Redacted {
        let mut redactor = Redactor::new(self, redaction);
        let mut resources = self.resources.clone();
        for group in &mut resources {
            redactor.group(group);
        }
        let dictionary = redactor.dictionary();
        let removed = std::mem::take(&mut redactor.removed_attributes);
        let samples =
            if removed.contains(&true) { without(&self.samples, &removed) } else { Arc::clone(&self.samples) };
        let mut payloads_dropped = 0;
        for profile in resources.iter_mut().flat_map(|r| &mut r.scopes).flat_map(|s| &mut s.profiles) {
            payloads_dropped += u64::from(profile.original_payload.len > 0);
            clear(profile, &removed);
        }
        let Redactor { text, changed, is_changed, .. } = redactor;
        if !is_changed && payloads_dropped == 0 {
            return Redacted { profiles: Arc::clone(self), changed, payloads_dropped };
        }
        let body = if text.is_empty() { self.body.clone() } else { [&self.body[..], &text].concat().into() };
        let (rejections, repairs) = Default::default();
        let profiles = Profiles {
            body,
            dictionary,
            resources,
            samples,
            rejections,
            repairs,
            is_collected: false,
            is_body: false,
            ..**self
        };
        Redacted { profiles: Arc::new(profiles), changed, payloads_dropped }
    }
}

/// Take payload and removed attributes from a Profile.
fn clear(profile: &mut Profile, removed: &[bool]) {
    if profile.drop_payload() {
        profile.source.span = None;
    }
    if removed.contains(&true) {
        profile.attributes.retain(|&index| !removed[index as usize]);
        profile.source.span = None;
    }
}

fn without(samples: &Samples, removed: &[bool]) -> Arc<Samples> {
    Arc::new(Samples { attributes: kept(&samples.attributes, removed), ..samples.clone() })
}

fn kept(lists: &Ragged<u32>, removed: &[bool]) -> Ragged<u32> {
    let mut kept = Ragged::default();
    for list in lists.rows() {
        kept.items.extend(list.iter().filter(|&&index| !removed[index as usize]));
        kept.end_row();
    }
    kept
}

struct Redactor<'a> {
    source: &'a Profiles,
    redaction: &'a Redaction,
    /// What is appended to the body.
    text: Vec<u8>,
    changed: Vec<u64>,
    is_changed: bool,
    removed_attributes: Vec<bool>,
}

/// What a text becomes.
enum Outcome {
    Same,
    Gone,
    New(String),
}

impl<'a> Redactor<'a> {
    fn new(source: &'a Profiles, redaction: &'a Redaction) -> Self {
        let (text, is_changed) = Default::default();
        let changed = vec![0; redaction.rules.len()];
        let removed_attributes = vec![false; source.dictionary.attributes.len()];
        Self { source, redaction, text, changed, is_changed, removed_attributes }
    }

    fn append(&mut self, text: &str) -> Span {
        let start = (self.source.body.len() + self.text.len()) as u32;
        self.text.extend_from_slice(text.as_bytes());
        Span { start, len: text.len() as u32 }
    }

    /// What the first matching rule makes of a text.
    fn outcome(&mut self, role: Role, key: &[u8], text: &str) -> Outcome {
        let is_for = |rule: &RedactionRule| {
            let role_matches = rule.role == role || (rule.role == Role::Attribute && role == Role::CommandLine);
            role_matches
                && rule.key.as_ref().is_none_or(|own| own.as_bytes() == key)
                && rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
        };
        let Some(number) = self.redaction.rules.iter().position(is_for) else { return Outcome::Same };
        let RedactionRule { treatment, pattern, .. } = &self.redaction.rules[number];
        let outcome = match treatment {
            Treatment::Keep => return Outcome::Same,
            Treatment::Drop => Outcome::Gone,
            Treatment::Hash => Outcome::New(self.hash(text)),
            Treatment::Mask(mask) => Outcome::New(match pattern {
                Some(pattern) => pattern.replace_all(text, mask.as_str()).into_owned(),
                None => mask.clone(),
            }),
        };
        self.changed[number] += 1;
        self.is_changed = true;
        outcome
    }

    fn hash(&self, text: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.redaction.key) else { return MASK.to_owned() };
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        let first = digest.iter().take(HASH_BYTES).fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
        format!("{first:032x}")
    }

    fn group(&mut self, group: &mut ResourceProfiles) {
        if let Some(resource) = &mut group.resource {
            let pairs = self.pairs(&resource.attributes);
            if pairs != resource.attributes {
                resource.attributes = pairs;
                resource.source.span = None;
            }
        }
        for scope in group.scopes.iter_mut().filter_map(|scope| scope.scope.as_mut()) {
            let pairs = self.pairs(&scope.attributes);
            if pairs != scope.attributes {
                scope.attributes = pairs;
                scope.source.span = None;
            }
        }
    }

    fn pairs(&mut self, pairs: &[KeyValue]) -> Vec<KeyValue> {
        let source = self.source;
        let key = |pair: &KeyValue| match pair.key_index {
            0 => pair.key.of(&source.body),
            index => source.string(index),
        };
        let treated = |pair: &KeyValue| Some(KeyValue { value: self.value(key(pair), &pair.value)?, ..pair.clone() });
        pairs.iter().filter_map(treated).collect()
    }

    /// What becomes of an attribute's value; `None` when the attribute goes.
    fn value(&mut self, key: &[u8], value: &AnyValue) -> Option<AnyValue> {
        let source = self.source;
        let text = match value {
            AnyValue::Empty => return Some(AnyValue::Empty),
            AnyValue::Array(items) => {
                return items.iter().map(|item| self.value(key, item)).collect::<Option<_>>().map(AnyValue::Array);
            }
            AnyValue::KvList(items) => {
                let treated = |pair: &KeyValue| Some(KeyValue { value: self.value(key, &pair.value)?, ..pair.clone() });
                return items.iter().map(treated).collect::<Option<_>>().map(AnyValue::KvList);
            }
            AnyValue::String(span) | AnyValue::Bytes(span) => String::from_utf8_lossy(span.of(&source.body)),
            AnyValue::StringIndex(index) => String::from_utf8_lossy(source.string(*index)),
            AnyValue::Bool(flag) => Cow::from(flag.to_string()),
            AnyValue::Int(number) => Cow::from(number.to_string()),
            AnyValue::Double(bits) => Cow::from(f64::from_bits(*bits).to_string()),
        };
        let role = if COMMAND_LINE_KEYS.contains(&key) { Role::CommandLine } else { Role::Attribute };
        match self.outcome(role, key, &text) {
            Outcome::Same => Some(value.clone()),
            Outcome::Gone => None,
            Outcome::New(text) => Some(AnyValue::String(self.append(&text))),
        }
    }

    /// The dictionary with the texts of every role treated.
    fn dictionary(&mut self) -> Arc<Dictionary> {
        let old = &self.source.dictionary;
        let mut new = (**old).clone();
        let was_changed = std::mem::take(&mut self.is_changed);
        for (index, attribute) in old.attributes.iter().enumerate().skip(1) {
            match self.value(self.source.string(attribute.key), &attribute.value) {
                Some(value) => new.attributes[index].value = value,
                None => self.removed_attributes[index] = true,
            }
        }
        let mut symbols = Renamed::new(Role::Symbol);
        let mut paths = Renamed::new(Role::FilePath);
        for function in new.functions.iter_mut().skip(1) {
            function.name = symbols.index(self, &mut new.strings, function.name);
            function.system_name = symbols.index(self, &mut new.strings, function.system_name);
            function.filename = paths.index(self, &mut new.strings, function.filename);
        }
        for mapping in new.mappings.iter_mut().skip(1) {
            mapping.filename = paths.index(self, &mut new.strings, mapping.filename);
        }
        if self.removed_attributes.contains(&true) {
            new.locations.attributes = kept(&new.locations.attributes, &self.removed_attributes);
            new.mapping_attributes = kept(&new.mapping_attributes, &self.removed_attributes);
        }
        let is_changed = std::mem::replace(&mut self.is_changed, was_changed);
        self.is_changed |= is_changed;
        if !is_changed {
            return Arc::clone(old);
        }
        new.source = None;
        Arc::new(new)
    }
}

/// What strings of one role have become: a string may have several roles, and is treated for each.
struct Renamed {
    role: Role,
    new: FxHashMap<u32, u32>,
}

impl Renamed {
    fn new(role: Role) -> Self {
        Self { role, new: FxHashMap::default() }
    }

    fn index(&mut self, redactor: &mut Redactor<'_>, strings: &mut Vec<Span>, index: u32) -> u32 {
        if index == 0 {
            return 0;
        }
        *self.new.entry(index).or_insert_with(|| {
            let text = String::from_utf8_lossy(redactor.source.string(index));
            let new = match redactor.outcome(self.role, b"", &text) {
                Outcome::Same => return index,
                Outcome::Gone => MASK.to_owned(),
                Outcome::New(text) => text,
            };
            strings.push(redactor.append(&new));
            strings.len() as u32 - 1
        })
    }
}
