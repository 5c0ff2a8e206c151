//! From `Profiles` to pprof: one for each group of Profiles that are one profile's sample types.

use super::encode::Encoder;
use super::groups::{Group, groups};
use super::tables::Tables;
use crate::profiles::{Profile, Profiles, Resource, Scope, ValueType};
use crate::text::text;
use crate::value::KeyValue;

/// What a pprof is to hold. Empty names of labels leave what they would hold out.
#[derive(Debug, Clone, Default)]
pub struct PprofOptions {
    /// Keys of the sample attributes that become labels; `None` takes all.
    pub labels: Option<Vec<String>>,
    /// The label of a Link's trace id.
    pub trace_id_label: String,
    /// The label of a Link's span id.
    pub span_id_label: String,
    /// The numeric label of a timestamp: a Sample becomes as many as it has timestamps.
    pub timestamp_label: String,
    /// Whether frames without a symbol get a function that is called by their address.
    pub native_names: bool,
    /// Whether samples of the same stack and labels are added up.
    pub combine: bool,
    /// Locations of a stack that are written, at least 2: those next to the leaf and those next to the root; `None`
    /// writes all.
    pub max_depth: Option<usize>,
    /// What the types are called in place of their own names; only for a request that is one pprof.
    pub named: Option<Named>,
}

/// Other names and units of what a pprof holds.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// Name and unit of each sample type, and what its values are multiplied by.
    pub sample_types: Vec<(String, String, i64)>,
    /// Name and unit of the period; none when both are empty.
    pub period_type: (String, String),
    /// In that unit.
    pub period: i64,
    /// The start of the window.
    pub time_unix_nano: u64,
}

/// One pprof, and what the sender of it must know without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pprof {
    /// The attributes of the Resource, as text.
    pub resource: Vec<(String, String)>,
    /// The name of the scope.
    pub scope: String,
    /// Name and unit of each sample type.
    pub sample_types: Vec<(String, String)>,
    /// Name and unit of the period.
    pub period_type: (String, String),
    /// In the unit of the period.
    pub period: i64,
    /// The start of the window.
    pub time_unix_nano: u64,
    /// Its length.
    pub duration_nano: u64,
    /// Samples in the pprof.
    pub sample_count: usize,
    /// Of these, those with a value below 0.
    pub negative_sample_count: usize,
    /// Of these, those whose stack was cut.
    pub cut_sample_count: usize,
    /// The pprof, not compressed.
    pub body: Vec<u8>,
}

impl Profiles {
    /// The request as pprofs, in the order of its Profiles.
    pub fn to_pprof(&self, options: &PprofOptions) -> Vec<Pprof> {
        let mut tables = Tables::new(&self.dictionary);
        let mut pprofs = vec![];
        for resource in &self.resources {
            for scope in &resource.scopes {
                let groups = groups(&self.samples, &scope.profiles);
                // What has other names is one pprof.
                let size = if options.named.is_some() { groups.len().max(1) } else { 1 };
                for chapter in groups.chunks(size) {
                    let first = chapter[0].first();
                    let named = options.named.clone().unwrap_or_else(|| self.own_names(&chapter[0]));
                    let encoder = Encoder::new(self, options, &mut tables);
                    let (body, counts) = encoder.encode(chapter, scope.scope.as_ref());
                    pprofs.push(Pprof {
                        resource: self.resource_text(resource.resource.as_ref()),
                        scope: self.scope_name(scope.scope.as_ref()),
                        sample_types: named.sample_types.into_iter().map(|(name, unit, _)| (name, unit)).collect(),
                        period_type: named.period_type,
                        period: named.period,
                        time_unix_nano: named.time_unix_nano,
                        duration_nano: first.duration_nano,
                        sample_count: counts.samples,
                        negative_sample_count: counts.negative,
                        cut_sample_count: counts.cut,
                        body,
                    });
                }
            }
        }
        pprofs
    }

    pub(super) fn scope_name(&self, scope: Option<&Scope>) -> String {
        scope.map_or_else(String::new, |scope| lossy(scope.name.of(&self.body)))
    }

    /// What the Profiles of a group call things.
    fn own_names(&self, group: &Group<'_>) -> Named {
        let first = group.first();
        let sample_type = |profile: &&Profile| {
            let (name, unit) = self.value_type(profile.sample_type);
            (name, unit, 1)
        };
        Named {
            sample_types: group.0.iter().map(sample_type).collect(),
            period_type: self.value_type(first.period_type),
            period: first.period,
            time_unix_nano: first.time_unix_nano,
        }
    }

    /// Name and unit of a type; both empty when there is none.
    pub fn value_type(&self, value_type: Option<ValueType>) -> (String, String) {
        let ValueType { name, unit } = value_type.unwrap_or_default();
        (lossy(self.string(name)), lossy(self.string(unit)))
    }

    /// The attributes of a Resource, as text.
    pub fn resource_text(&self, resource: Option<&Resource>) -> Vec<(String, String)> {
        let pairs = resource.into_iter().flat_map(|resource| &resource.attributes);
        pairs.map(|pair| (self.key(pair), text(self, &pair.value).into_owned())).collect()
    }

    pub(crate) fn key(&self, pair: &KeyValue) -> String {
        let key = if pair.key_index == 0 { pair.key.of(&self.body) } else { self.string(pair.key_index) };
        lossy(key)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
