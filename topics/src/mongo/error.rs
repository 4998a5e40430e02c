//! What an error of the crate `mongodb` means. Its own words may fill a screen, and quote a part of
//! a URL: they are passed on only where they are known to be short.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use mongodb::error::{Error as MongoError, ErrorKind, WriteFailure};

use crate::{Cause, TopicError};

/// A document has the value of a unique index that another one has.
const DUPLICATE_KEY: i32 = 11000;
/// There is no room left on the disk.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// Why a store in MongoDB cannot do something, in a line.
#[derive(Debug)]
pub(super) enum Failure {
    /// No server that takes writes was found in time.
    NoServer,
    /// A document in a collection of the store is not one of the store's.
    Foreign,
    /// Anything else.
    Other(MongoError),
}

pub(super) fn failed(error: MongoError) -> TopicError {
    if code(&error) == Some(OUT_OF_DISK_SPACE) {
        return TopicError::StoreFull(Arc::new(Failure::Other(error)));
    }
    match *error.kind {
        ErrorKind::ServerSelection { .. } => TopicError::unavailable(Failure::NoServer),
        _ => TopicError::unavailable(Failure::Other(error)),
    }
}

/// Why a store cannot be opened. The URL is not repeated, as it may have a password.
pub(super) fn not_opened(cause: Cause, advice: &'static str) -> TopicError {
    TopicError::NotOpened {
        store: "in MongoDB".into(),
        cause,
        advice,
    }
}

/// The error for a document that is none of ours.
pub(super) fn foreign() -> TopicError {
    TopicError::DamagedStore {
        store: "in MongoDB".into(),
        cause: Arc::new(Failure::Foreign),
    }
}

/// Whether nothing was written since a unique index has the value already.
pub(super) fn is_duplicate(error: &MongoError) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}

/// How many documents of an ordered insertion were stored, if it ended at one with a value that a
/// unique index has already.
pub(super) fn stored_before_duplicate(error: &MongoError) -> Option<usize> {
    let ErrorKind::InsertMany(failed) = &*error.kind else {
        return None;
    };
    let is_known = failed.write_concern_error.is_none();
    match failed.write_errors.as_deref() {
        Some([first]) if is_known && first.code == DUPLICATE_KEY => Some(first.index),
        _ => None,
    }
}

/// Which documents of an unordered insertion were not stored, if all of those had a value that a
/// unique index has already.
pub(super) fn duplicates(error: &MongoError) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(failed) = &*error.kind else {
        return None;
    };
    let errors = failed.write_errors.as_deref().unwrap_or_default();
    let is_known = failed.write_concern_error.is_none();
    let are_duplicates = errors.iter().all(|error| error.code == DUPLICATE_KEY);
    (is_known && are_duplicates).then(|| errors.iter().map(|error| error.index).collect())
}

fn code(error: &MongoError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::InsertMany(failed) => {
            let errors = failed.write_errors.as_deref().unwrap_or_default();
            errors.first().map(|error| error.code)
        }
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("no MongoDB that takes writes answers"),
            Self::Foreign => {
                f.write_str("a collection of the store has a document of another kind")
            }
            Self::Other(error) => error.kind.fmt(f),
        }
    }
}

impl Error for Failure {}
