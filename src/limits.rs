//! Everything has a limit: what one request may hold.

/// The hard ceiling of `max_body_bytes`: offsets into a body are 32 bits wide.
pub const MAX_BODY_BYTES: usize = 2 << 30;

/// What one request may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the inflated body, 1 to [`MAX_BODY_BYTES`].
    pub max_body_bytes: usize,
    /// Profiles of one request.
    pub max_profiles: usize,
    /// Entries of one dictionary table, all Samples, all Lines, all nested attribute values: each of them.
    pub max_table_entries: usize,
    /// Locations of one Stack.
    pub max_stack_depth: usize,
    /// Attributes of one owner.
    pub max_attributes: usize,
    /// Nesting of one attribute's value.
    pub max_attribute_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            max_profiles: 10_000,
            max_table_entries: 1_000_000,
            max_stack_depth: 4096,
            max_attributes: 256,
            max_attribute_depth: 16,
        }
    }
}
