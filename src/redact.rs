//! Redaction by role: attribute values, command lines, file paths, symbols, wherever they stand. What is taken out is
//! not in the request any more: collection leaves the old text behind when it is written.

use std::borrow::Cow;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::columns::{Ragged, Samples};
use crate::dictionary::{Dictionary, Function, Mapping, TableSource};
use crate::pattern::Pattern;
use crate::profiles::{Profile, Profiles, ResourceProfiles, Table};
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
    pub pattern: Option<Pattern>,
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
    /// Carry out redaction. What is to be changed is found first, and copied only then.
    pub fn redact(self: &Arc<Self>, redaction: &Redaction) -> Redacted {
        let mut redactor = Redactor::new(self, redaction);
        let groups: Vec<_> = self.resources.iter().map(|group| redactor.group(group)).collect();
        redactor.dictionary();
        let Redactor { text, changed, dictionary, removed_attributes: removed, .. } = redactor;
        let payloads_dropped = self.iter().filter(|(_, _, profile)| profile.original_payload.len > 0).count() as u64;
        if payloads_dropped == 0 && changed.iter().all(|&count| count == 0) {
            return Redacted { profiles: Arc::clone(self), changed, payloads_dropped };
        }
        let mut resources = self.resources.clone();
        for (group, pairs) in resources.iter_mut().zip(groups) {
            pairs.replace_in(group);
        }
        for profile in resources.iter_mut().flat_map(|r| &mut r.scopes).flat_map(|s| &mut s.profiles) {
            clear(profile, &removed);
        }
        let (rejections, repairs) = Default::default();
        let profiles = Profiles {
            body: if text.is_empty() { self.body.clone() } else { [&self.body[..], &text].concat().into() },
            dictionary,
            resources,
            samples: if removed.is_empty() { Arc::clone(&self.samples) } else { without(&self.samples, &removed) },
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
    if !removed.is_empty() {
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

/// What becomes of something.
enum Treated<T> {
    Same,
    Gone,
    New(T),
}

/// The attributes of a group's Resource and of its scopes, where they change.
struct Pairs {
    resource: Option<Vec<KeyValue>>,
    scopes: Vec<Option<Vec<KeyValue>>>,
}

impl Pairs {
    fn replace_in(self, group: &mut ResourceProfiles) {
        if let (Some(resource), Some(pairs)) = (&mut group.resource, self.resource) {
            (resource.attributes, resource.source.span) = (pairs, None);
        }
        for (scope, pairs) in group.scopes.iter_mut().zip(self.scopes) {
            if let (Some(scope), Some(pairs)) = (&mut scope.scope, pairs) {
                (scope.attributes, scope.source.span) = (pairs, None);
            }
        }
    }
}

struct Redactor<'a> {
    source: &'a Profiles,
    redaction: &'a Redaction,
    /// What is appended to the body.
    text: Vec<u8>,
    changed: Vec<u64>,
    /// Copied when the first entry changes.
    dictionary: Arc<Dictionary>,
    /// By attribute, whether it goes; empty while none does.
    removed_attributes: Vec<bool>,
}

impl<'a> Redactor<'a> {
    fn new(source: &'a Profiles, redaction: &'a Redaction) -> Self {
        let (text, removed_attributes) = Default::default();
        let changed = vec![0; redaction.rules.len()];
        Self { source, redaction, text, changed, dictionary: Arc::clone(&source.dictionary), removed_attributes }
    }

    fn append(&mut self, text: &str) -> Span {
        let start = (self.source.body.len() + self.text.len()) as u32;
        self.text.extend_from_slice(text.as_bytes());
        Span { start, len: text.len() as u32 }
    }

    /// The rules for a role and key, with their numbers; the first whose pattern is found decides.
    fn rules(&self, role: Role, key: &[u8]) -> impl Iterator<Item = (usize, &'a RedactionRule)> {
        self.redaction.rules.iter().enumerate().filter(move |(_, rule)| {
            let role_matches = rule.role == role || (rule.role == Role::Attribute && role == Role::CommandLine);
            role_matches && rule.key.as_ref().is_none_or(|own| own.as_bytes() == key)
        })
    }

    /// What the first matching rule makes of a text.
    fn outcome(&mut self, role: Role, key: &[u8], text: &[u8]) -> Treated<String> {
        let matches = |own: &RedactionRule| own.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        let Some((number, found)) = self.rules(role, key).find(|(_, own)| matches(own)) else { return Treated::Same };
        let outcome = match &found.treatment {
            Treatment::Keep => return Treated::Same,
            Treatment::Drop => Treated::Gone,
            Treatment::Hash => Treated::New(self.hash(text)),
            Treatment::Mask(mask) => Treated::New(match &found.pattern {
                Some(pattern) => pattern.replace_all(text, mask),
                None => mask.clone(),
            }),
        };
        self.changed[number] += 1;
        outcome
    }

    fn hash(&self, text: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.redaction.key) else { return MASK.to_owned() };
        mac.update(text);
        let digest = mac.finalize().into_bytes();
        let first = digest.iter().take(HASH_BYTES).fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
        format!("{first:032x}")
    }

    fn group(&mut self, group: &ResourceProfiles) -> Pairs {
        let resource = group.resource.as_ref().and_then(|resource| self.pairs(&resource.attributes));
        let scopes = group.scopes.iter().map(|scope| self.pairs(&scope.scope.as_ref()?.attributes)).collect();
        Pairs { resource, scopes }
    }

    /// What becomes of attributes; `None` when they stay as they are.
    fn pairs(&mut self, pairs: &[KeyValue]) -> Option<Vec<KeyValue>> {
        let source = self.source;
        let key = |pair: &KeyValue| match pair.key_index {
            0 => pair.key.of(&source.body),
            index => source.string(index),
        };
        let treated: Vec<_> = pairs.iter().map(|pair| self.value(key(pair), &pair.value)).collect();
        if treated.iter().all(|treated| matches!(treated, Treated::Same)) {
            return None;
        }
        let changed = |(pair, treated): (&KeyValue, _)| match treated {
            Treated::Same => Some(pair.clone()),
            Treated::Gone => None,
            Treated::New(value) => Some(KeyValue { value, ..pair.clone() }),
        };
        Some(pairs.iter().zip(treated).filter_map(changed).collect())
    }

    /// What becomes of an attribute's value; it goes when the attribute goes.
    fn value(&mut self, key: &[u8], value: &AnyValue) -> Treated<AnyValue> {
        let source = self.source;
        let role = if COMMAND_LINE_KEYS.contains(&key) { Role::CommandLine } else { Role::Attribute };
        if self.rules(role, key).next().is_none() {
            return Treated::Same;
        }
        let text = match value {
            AnyValue::Empty => return Treated::Same,
            AnyValue::Array(items) => return list(items, AnyValue::Array, |item| self.value(key, item)),
            AnyValue::KvList(items) => {
                return list(items, AnyValue::KvList, |pair| match self.value(key, &pair.value) {
                    Treated::Same => Treated::Same,
                    Treated::Gone => Treated::Gone,
                    Treated::New(value) => Treated::New(KeyValue { value, ..pair.clone() }),
                });
            }
            AnyValue::String(span) | AnyValue::Bytes(span) => Cow::from(span.of(&source.body)),
            AnyValue::StringIndex(index) => Cow::from(source.string(*index)),
            AnyValue::Bool(flag) => Cow::from(flag.to_string().into_bytes()),
            AnyValue::Int(number) => Cow::from(number.to_string().into_bytes()),
            AnyValue::Double(bits) => Cow::from(f64::from_bits(*bits).to_string().into_bytes()),
        };
        match self.outcome(role, key, &text) {
            Treated::Same => Treated::Same,
            Treated::Gone => Treated::Gone,
            Treated::New(text) => Treated::New(AnyValue::String(self.append(&text))),
        }
    }

    /// Treat the texts of every role in the dictionary.
    fn dictionary(&mut self) {
        let old = &self.source.dictionary;
        for (index, attribute) in old.attributes.iter().enumerate().skip(1) {
            match self.value(self.source.string(attribute.key), &attribute.value) {
                Treated::Same => {}
                Treated::Gone => {
                    self.removed_attributes.resize(old.attributes.len(), false);
                    self.removed_attributes[index] = true;
                }
                Treated::New(value) => self.changed_table(Table::Attributes).attributes[index].value = value,
            }
        }
        let mut symbols = Renamed::new(self, Role::Symbol);
        let mut paths = Renamed::new(self, Role::FilePath);
        for (index, &function) in old.functions.iter().enumerate().skip(1) {
            let name = symbols.index(self, function.name);
            let system_name = symbols.index(self, function.system_name);
            let filename = paths.index(self, function.filename);
            let renamed = Function { name, system_name, filename, ..function };
            if renamed != function {
                self.changed_table(Table::Functions).functions[index] = renamed;
            }
        }
        for (index, &mapping) in old.mappings.iter().enumerate().skip(1) {
            let renamed = Mapping { filename: paths.index(self, mapping.filename), ..mapping };
            if renamed != mapping {
                self.changed_table(Table::Mappings).mappings[index] = renamed;
            }
        }
        if !self.removed_attributes.is_empty() {
            let locations = kept(&old.locations.attributes, &self.removed_attributes);
            let mappings = kept(&old.mapping_attributes, &self.removed_attributes);
            self.changed_table(Table::Locations).locations.attributes = locations;
            self.changed_table(Table::Mappings).mapping_attributes = mappings;
        }
    }

    /// The dictionary, for a change of what stands in one of its tables.
    fn changed_table(&mut self, table: Table) -> &mut Dictionary {
        let dictionary = Arc::make_mut(&mut self.dictionary);
        dictionary.source = None;
        dictionary.table_sources[table as usize] = TableSource::default();
        dictionary
    }

    /// The index of a string that is added.
    fn string(&mut self, text: &str) -> u32 {
        let span = self.append(text);
        let dictionary = Arc::make_mut(&mut self.dictionary);
        dictionary.source = None;
        dictionary.strings.push(span);
        dictionary.strings.len() as u32 - 1
    }
}

/// What becomes of a list, as a value: it goes when one of its items goes.
fn list<T: Clone>(
    items: &[T],
    value: impl FnOnce(Vec<T>) -> AnyValue,
    mut treat: impl FnMut(&T) -> Treated<T>,
) -> Treated<AnyValue> {
    let mut changed: Option<Vec<T>> = None;
    for (index, item) in items.iter().enumerate() {
        match treat(item) {
            Treated::Same => {}
            Treated::Gone => return Treated::Gone,
            Treated::New(new) => changed.get_or_insert_with(|| items.to_vec())[index] = new,
        }
    }
    changed.map_or(Treated::Same, |items| Treated::New(value(items)))
}

/// What strings of one role have become: a string may have several roles, and is treated for each.
struct Renamed {
    role: Role,
    /// By string; empty when no rule is for the role.
    new: Vec<u32>,
}

impl Renamed {
    /// Not treated yet.
    const UNKNOWN: u32 = u32::MAX;

    fn new(redactor: &Redactor<'_>, role: Role) -> Self {
        let has_rules = redactor.rules(role, b"").next().is_some();
        let strings = if has_rules { redactor.source.dictionary.strings.len() } else { 0 };
        Self { role, new: vec![Self::UNKNOWN; strings] }
    }

    fn index(&mut self, redactor: &mut Redactor<'_>, index: u32) -> u32 {
        let Some(new) = self.new.get_mut(index as usize).filter(|_| index != 0) else { return index };
        if *new == Self::UNKNOWN {
            *new = match redactor.outcome(self.role, b"", redactor.source.string(index)) {
                Treated::Same => index,
                Treated::Gone => redactor.string(MASK),
                Treated::New(text) => redactor.string(&text),
            };
        }
        *new
    }
}
