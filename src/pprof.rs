//! pprof, the format of Go's profilers and of most others: to OTLP and back.
//!
//! Source: google/pprof `proto/profile.proto`; the attributes' names are OpenTelemetry's semantic conventions.

mod encode;
mod groups;
mod join;
mod labels;
mod layout;
mod outline;
mod pieces;
mod read;
mod samples;
mod tables;
mod write;

pub use join::{Frame, Joined, Member};
pub use layout::{LabelForm, LabelRule, Layout};
pub use outline::Outline;
pub use pieces::PieceLimits;
pub use write::{Named, Pprof, PprofOptions};

/// Attributes that hold what pprof has a field for and OTLP has not.
mod attributes {
    /// `Location.is_folded`
    pub(super) const IS_FOLDED: &str = "pprof.location.is_folded";
    /// `Mapping.has_functions`, `has_filenames`, `has_line_numbers`, `has_inline_frames`: fields 7 to 10
    pub(super) const HAS: [&str; 4] = [
        "pprof.mapping.has_functions",
        "pprof.mapping.has_filenames",
        "pprof.mapping.has_line_numbers",
        "pprof.mapping.has_inline_frames",
    ];
    /// `Mapping.build_id`, by who made it.
    pub(super) const BUILD_ID_GNU: &str = "process.executable.build_id.gnu";
    pub(super) const BUILD_ID_GO: &str = "process.executable.build_id.go";
    pub(super) const BUILD_ID_HTLHASH: &str = "process.executable.build_id.htlhash";
    /// The kind of a frame, as `cpython` or `native`; pprof has no field for it, and some backends another's.
    pub(super) const FRAME_TYPE: &str = "profile.frame.type";
    /// `Profile.comment`
    pub(super) const COMMENT: &str = "pprof.profile.comment";
    /// `Profile.doc_url`
    pub(super) const DOC_URL: &str = "pprof.profile.doc_url";
    /// `Profile.drop_frames`
    pub(super) const DROP_FRAMES: &str = "pprof.profile.drop_frames";
    /// `Profile.keep_frames`
    pub(super) const KEEP_FRAMES: &str = "pprof.profile.keep_frames";
    /// `Profile.default_sample_type`; of the scope, since it says which of its Profiles to look at first.
    pub(super) const DEFAULT_SAMPLE_TYPE: &str = "pprof.scope.default_sample_type";
}
