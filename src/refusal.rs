//! Why one Profile is refused while the rest of its request goes on.

use std::fmt::{self, Display};

use rustc_hash::FxHashMap;

/// The closed list of reasons; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The Profile has Samples and the request has no dictionary.
    MissingDictionary,
    /// `profile_id` is neither empty nor 16 bytes.
    ProfileIdLength,
    /// An index below zero or past the end of its table.
    IndexOutOfRange,
    /// Index 0 ("not set") is used, and entry 0 of that table is something.
    ZeroEntry,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// A Link's ids are not 16 and 8 bytes.
    LinkIdLength,
    /// Two attributes of one owner have the same key.
    DuplicateAttributeKey,
    /// Over `max_attributes`.
    TooManyAttributes,
    /// Over `max_attribute_depth`.
    AttributeTooDeep,
    /// Over `max_stack_depth`.
    StackTooDeep,
    /// A Sample has neither values nor timestamps.
    EmptySample,
    /// A Sample has both values and timestamps, and not as many of each.
    ValuesTimestampsMismatch,
    /// A Sample of a revision with several sample types has not one value for each.
    ValuesTypesMismatch,
    /// The sum of a Sample's values leaves int64.
    ValueOverflow,
    /// A timestamp is more than an hour outside of the Profile's window.
    TimestampOutOfWindow,
    /// A rule of the policy refuses Samples like one of its.
    Policy,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::MissingDictionary,
        Self::ProfileIdLength,
        Self::IndexOutOfRange,
        Self::ZeroEntry,
        Self::InvalidUtf8,
        Self::LinkIdLength,
        Self::DuplicateAttributeKey,
        Self::TooManyAttributes,
        Self::AttributeTooDeep,
        Self::StackTooDeep,
        Self::EmptySample,
        Self::ValuesTimestampsMismatch,
        Self::ValuesTypesMismatch,
        Self::ValueOverflow,
        Self::TimestampOutOfWindow,
        Self::Policy,
    ];

    /// The reason as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::MissingDictionary => "missing_dictionary",
            Self::ProfileIdLength => "profile_id_length",
            Self::IndexOutOfRange => "index_out_of_range",
            Self::ZeroEntry => "zero_entry",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LinkIdLength => "link_id_length",
            Self::DuplicateAttributeKey => "duplicate_attribute_key",
            Self::TooManyAttributes => "too_many_attributes",
            Self::AttributeTooDeep => "attribute_too_deep",
            Self::StackTooDeep => "stack_too_deep",
            Self::EmptySample => "empty_sample",
            Self::ValuesTimestampsMismatch => "values_timestamps_mismatch",
            Self::ValuesTypesMismatch => "values_types_mismatch",
            Self::ValueOverflow => "value_overflow",
            Self::TimestampOutOfWindow => "timestamp_out_of_window",
            Self::Policy => "policy",
        }
    }
}

/// Of a name in a message, so many characters are shown.
const SHOWN_CHARS: usize = 80;

/// One fault: its reason, where it is, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// For a person.
    pub message: String,
}

impl Fault {
    /// A fault.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// An index that points nowhere. `index` is an int32 by its bits.
    pub fn index(owner: impl Display, field: &str, index: u32, table: &str, len: usize) -> Self {
        let allowed = format_args!("{table} has {len} entries");
        Self::new(Reason::IndexOutOfRange, format!("{owner}.{field} is {}; {allowed}", index as i32))
    }

    /// The same fault, reached from an owner.
    #[must_use]
    pub fn reached_from(&self, owner: impl Display) -> Self {
        Self::new(self.reason, format!("{owner} > {}", self.message))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A name as it is shown in a message: hostile text of any length, so no more than its beginning.
pub fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let mut chars = name.chars();
    let start: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() { format!("{:?}", start + "…") } else { format!("{start:?}") }
}

/// The result of looking at one Profile, or at one entry.
pub type Checked<T = ()> = std::result::Result<T, Fault>;

/// Entries of one table that no Profile may reach, each with what is wrong with it. Nearly always empty.
pub type Faults = FxHashMap<u32, Fault>;

/// What is wrong with the entries of each table.
#[derive(Debug, Default)]
pub struct DictionaryFaults {
    /// by `mapping_table` index
    pub mappings: Faults,
    /// by `location_table` index
    pub locations: Faults,
    /// by `function_table` index
    pub functions: Faults,
    /// by `link_table` index
    pub links: Faults,
    /// by `string_table` index
    pub strings: Faults,
    /// by `attribute_table` index
    pub attributes: Faults,
    /// by `stack_table` index
    pub stacks: Faults,
}

/// Profiles that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The first of them.
    pub fault: Fault,
    /// How many Profiles.
    pub profile_count: u64,
    /// How many Samples they held.
    pub sample_count: u64,
}

impl Rejection {
    /// Add a refused Profile to those of its reason.
    pub fn count(rejections: &mut Vec<Self>, reason: Reason, samples: usize, describe: impl FnOnce() -> Fault) {
        let known = rejections.iter().position(|r| r.fault.reason == reason);
        let index = known.unwrap_or_else(|| {
            rejections.push(Self { fault: describe(), profile_count: 0, sample_count: 0 });
            rejections.len() - 1
        });
        rejections[index].profile_count += 1;
        rejections[index].sample_count += samples as u64;
    }
}

/// What was set right without changing its meaning; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// A table without any entry got its zero value.
    ZeroEntryAdded,
    /// A negative line, column or start line became 0, "unset".
    NegativeLineCleared,
    /// A Mapping's empty or reversed address range became 0 to 0.
    MappingRangeCleared,
    /// Several values without timestamps became their sum.
    ValuesSummed,
    /// Samples with timestamps only got the value 1 for each, beside others that have values.
    ValuesFilled,
    /// A Profile that mixed Samples with and without timestamps became two.
    ProfileSplit,
    /// A Profile's window was widened to hold its timestamps.
    WindowWidened,
    /// A missing `profile_id` was made from the content.
    ProfileIdMade,
}

impl Repair {
    /// Every repair, in the order of its discriminant.
    pub const ALL: [Self; 8] = [
        Self::ZeroEntryAdded,
        Self::NegativeLineCleared,
        Self::MappingRangeCleared,
        Self::ValuesSummed,
        Self::ValuesFilled,
        Self::ProfileSplit,
        Self::WindowWidened,
        Self::ProfileIdMade,
    ];

    /// The repair as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ZeroEntryAdded => "zero_entry_added",
            Self::NegativeLineCleared => "negative_line_cleared",
            Self::MappingRangeCleared => "mapping_range_cleared",
            Self::ValuesSummed => "values_summed",
            Self::ValuesFilled => "values_filled",
            Self::ProfileSplit => "profile_split",
            Self::WindowWidened => "window_widened",
            Self::ProfileIdMade => "profile_id_made",
        }
    }
}

/// How often each repair was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs([u64; Repair::ALL.len()]);

impl Repairs {
    /// Count one more.
    pub fn count(&mut self, repair: Repair) {
        self.0[repair as usize] += 1;
    }

    /// Those that were made, with how often.
    pub fn made(&self) -> impl Iterator<Item = (Repair, u64)> + '_ {
        Repair::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}
