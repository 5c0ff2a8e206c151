//! Which values a column of a Parquet file does not hold, from the end of the file alone.
//!
//! A reader of many files on an object store reads that end in one request for each, instead of the four in which
//! an engine comes to a Bloom filter: the footer's length, the footer, the page index, the filter.

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};

/// The length of a footer, and the magic number.
const FOOTER_TAIL_BYTES: u64 = 8;
/// Of a Bloom filter: 256 bits, as the format has it.
const BLOCK_BYTES: usize = 32;

/// The Bloom filters of one column, one for each row group.
#[derive(Debug)]
pub struct ColumnFilter {
    /// None for a row group without one.
    groups: Vec<Option<Sbbf>>,
}

/// What was found at the end of a file.
#[derive(Debug)]
pub enum Found {
    /// The filters.
    Filter(ColumnFilter),
    /// They begin further ahead: so many bytes at the end of the file are wanted.
    Wanted(u64),
}

impl ColumnFilter {
    /// Read the filters of a column from the last bytes of a file of `file_bytes`.
    ///
    /// A column that is not there holds nothing, so it has no filter either.
    pub fn read(tail: Bytes, file_bytes: u64, column: &str) -> Result<Found> {
        if tail.len() as u64 > file_bytes || file_bytes < FOOTER_TAIL_BYTES {
            return Err(invalid(format!("{} bytes at the end of a file of {file_bytes}", tail.len())));
        }
        let tail = Tail { start: file_bytes - tail.len() as u64, bytes: tail };
        let Some(last) = tail.from(file_bytes - FOOTER_TAIL_BYTES) else {
            return Ok(Found::Wanted(FOOTER_TAIL_BYTES));
        };
        let length = FooterTail::try_from(&last[..])?.metadata_length() as u64;
        let Some(footer_start) = (file_bytes - FOOTER_TAIL_BYTES).checked_sub(length) else {
            return Err(invalid(format!("a footer of {length} bytes in a file of {file_bytes}")));
        };
        let Some(footer) = tail.from(footer_start) else {
            return Ok(Found::Wanted(file_bytes - footer_start));
        };
        let metadata = ParquetMetaDataReader::decode_metadata(&footer[..footer.len() - last.len()])?;
        let first = columns(&metadata, column).filter_map(|chunk| chunk?.bloom_filter_offset()).min();
        if let Some(first) = first {
            let first = u64::try_from(first).map_err(|_| invalid(format!("a filter at {first}")))?;
            if first >= footer_start {
                return Err(invalid(format!("a filter at {first}, behind the footer at {footer_start}")));
            }
            if first < tail.start {
                return Ok(Found::Wanted(file_bytes - first));
            }
        }
        let groups = columns(&metadata, column).map(|chunk| match chunk {
            Some(chunk) => Ok(Sbbf::read_from_column_chunk(chunk, &tail)?),
            None => Ok(None),
        });
        let groups: Vec<_> = groups.collect::<Result<_>>()?;
        if groups.iter().flatten().any(|filter| filter.num_blocks() == 0) {
            return Err(invalid("a filter without a block".to_owned()));
        }
        Ok(Found::Filter(Self { groups }))
    }

    /// Whether the file may hold a value; false is certain.
    pub fn may_hold(&self, value: &str) -> bool {
        self.groups.iter().any(|filter| filter.as_ref().is_none_or(|filter| filter.check(value)))
    }

    /// How much memory the filters take.
    pub fn size_bytes(&self) -> usize {
        self.groups.iter().flatten().map(|filter| filter.num_blocks() * BLOCK_BYTES).sum()
    }
}

/// The column's chunk in each row group, where the group has it.
fn columns<'a>(
    metadata: &'a ParquetMetaData,
    column: &'a str,
) -> impl Iterator<Item = Option<&'a ColumnChunkMetaData>> {
    metadata
        .row_groups()
        .iter()
        .map(move |group| group.columns().iter().find(|chunk| chunk.column_path().parts() == [column]))
}

/// The last bytes of a file, at their place in it.
struct Tail {
    start: u64,
    bytes: Bytes,
}

impl Tail {
    /// What is there from a place on, when it is.
    fn from(&self, place: u64) -> Option<Bytes> {
        let skipped = usize::try_from(place.checked_sub(self.start)?).ok()?;
        (skipped <= self.bytes.len()).then(|| self.bytes.slice(skipped..))
    }
}

impl Length for Tail {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Tail {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        use bytes::Buf as _;
        let found = self.from(start).ok_or_else(|| ParquetError::EOF(format!("nothing is known of byte {start}")))?;
        Ok(found.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let found = self.from(start).filter(|found| length <= found.len());
        let found = found.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are not there")))?;
        Ok(found.slice(..length))
    }
}

fn invalid(what: String) -> Error {
    Error::Invalid { format: "Parquet file", what }
}

impl From<ParquetError> for Error {
    fn from(error: ParquetError) -> Self {
        invalid(error.to_string())
    }
}
