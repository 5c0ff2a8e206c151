//! How much the rows of a request may take.

use crate::error::{Error, Result};

/// Bytes, before Parquet makes them few: what stands above many Samples is repeated in each row of `labels`, a name in
/// each row of `frames`, and all of it on each day. Arrow's offsets into a column end at 2^31.
const MAX_BYTES: usize = 1 << 30;

/// What is left.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_BYTES)
    }
}

impl Budget {
    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or(Error::RowsTooLarge { limit: MAX_BYTES })?;
        Ok(())
    }
}
