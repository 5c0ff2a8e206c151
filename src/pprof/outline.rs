//! What a request says of its Profiles without their samples: enough to plan pprofs by.

use crate::profiles::Profiles;

/// What a Profile says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The place of its Resource among those of the request.
    pub resource: usize,
    /// The name of its scope.
    pub scope: String,
    /// Name and unit of its samples.
    pub sample_type: (String, String),
    /// Name and unit of its period.
    pub period_type: (String, String),
    /// In the unit of the period.
    pub period: i64,
    /// The start of its window; 0 when unknown.
    pub time_unix_nano: u64,
    /// The window's length.
    pub duration_nano: u64,
    /// How many samples it has.
    pub sample_count: usize,
}

impl Profiles {
    /// The attributes of each Resource, as text.
    pub fn resource_texts(&self) -> Vec<Vec<(String, String)>> {
        self.resources.iter().map(|resource| self.resource_text(resource.resource.as_ref())).collect()
    }

    /// Every Profile, in order.
    pub fn outlines(&self) -> Vec<Outline> {
        let mut outlines = vec![];
        for (at, resource) in self.resources.iter().enumerate() {
            for scope in &resource.scopes {
                for profile in &scope.profiles {
                    outlines.push(Outline {
                        resource: at,
                        scope: self.scope_name(scope.scope.as_ref()),
                        sample_type: self.value_type(profile.sample_type),
                        period_type: self.value_type(profile.period_type),
                        period: profile.period,
                        time_unix_nano: profile.time_unix_nano,
                        duration_nano: profile.duration_nano,
                        sample_count: profile.rows.len(),
                    });
                }
            }
        }
        outlines
    }
}
