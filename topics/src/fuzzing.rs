//! What the targets in `fuzz` reach beside the public face: the forms in which stores keep records.

use crate::{Damaged, Limit, NewRecord, Offset, Page, Record, TopicError};

/// Reads a row of the store in a file.
///
/// # Errors
///
/// The row is not one that was written for this offset.
pub fn file_row(row: &[u8], offset: Offset) -> Result<Record, Damaged> {
    crate::file::decode(row, offset)
}

/// The row of a record in a file.
pub fn to_file_row(record: &NewRecord, offset: Offset, time: u64) -> Vec<u8> {
    crate::file::encode(record, offset, time)
}

/// Reads what Redis answers to a read: the bounds, whether more is held, and the entries of a
/// stream.
///
/// # Errors
///
/// The answer is not one of the script, or its first entry is damaged.
pub fn redis_page(answer: Vec<Vec<u8>>, limit: Limit) -> Result<Page, TopicError> {
    crate::redis::page(answer, limit)
}
