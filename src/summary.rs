//! What a request holds, by service and sample type; and which versions of its services.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::profiles::Profiles;

/// One row: a service and a sample type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `service.name`
    pub service: String,
    /// name of the sample type
    pub sample_type: String,
    /// unit of the sample type
    pub unit: String,
    /// Profiles
    pub profile_count: u64,
    /// Samples
    pub sample_count: u64,
    /// Samples with a Link to a span
    pub linked_sample_count: u64,
    /// sum of what the Samples stand for, in `unit`
    pub value: i128,
    /// the same of those with a Link
    pub linked_value: i128,
}

impl Profiles {
    /// One row for each (service, sample type, unit), in order of first appearance.
    pub fn summary(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = vec![];
        let mut index_of = FxHashMap::default();
        let linked: Vec<bool> = self.dictionary.links.iter().map(crate::dictionary::Link::is_linked).collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (group, _, profile) in self.iter() {
            let (name, unit) = self.sample_type(profile);
            let service = self.service(group);
            let index = *index_of.entry((service, name, unit)).or_insert_with(|| {
                let (service, sample_type, unit) = (text(service), text(name), text(unit));
                let (profile_count, sample_count, linked_sample_count, value, linked_value) = Default::default();
                rows.push(Row {
                    service,
                    sample_type,
                    unit,
                    profile_count,
                    sample_count,
                    linked_sample_count,
                    value,
                    linked_value,
                });
                rows.len() - 1
            });
            let row = &mut rows[index];
            row.profile_count += 1;
            row.sample_count += profile.rows.len() as u64;
            for sample in profile.rows.clone() {
                let total = self.samples.total(sample);
                row.value += total;
                if linked[self.samples.link[sample] as usize] {
                    row.linked_sample_count += 1;
                    row.linked_value += total;
                }
            }
        }
        rows
    }

    /// `service.name` and `service.version` of the Resources that have both and a Profile: each pair once, in order
    /// of first appearance.
    pub fn service_versions(&self) -> Vec<(String, String)> {
        let mut seen = FxHashSet::default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = self.resources.iter().filter_map(|group| {
            let resource = group.resource.as_ref()?;
            let has_profiles = group.scopes.iter().any(|scope| !scope.profiles.is_empty());
            let service = resource.service(&self.body, &self.dictionary)?;
            let version = resource.text(b"service.version", &self.body, &self.dictionary)?;
            (has_profiles && seen.insert((service, version))).then(|| (text(service), text(version)))
        });
        pairs.collect()
    }
}
