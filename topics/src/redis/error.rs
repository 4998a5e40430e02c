//! What an error of the crate `redis` means.

use std::sync::Arc;

use redis::{ConnectionAddr, ErrorKind, RedisError, ServerErrorKind};

use crate::TopicError;

pub(super) fn failed(address: &ConnectionAddr, error: RedisError) -> TopicError {
    match error.code() {
        // No memory, or no disk: a script is refused before it begins.
        Some("OOM" | "MISCONF") => TopicError::StoreFull(Arc::new(error)),
        // A key of ours has a value of another kind.
        Some("WRONGTYPE") => TopicError::DamagedStore {
            store: address.to_string().into(),
            cause: Arc::new(error),
        },
        _ => TopicError::unavailable(error),
    }
}

/// Whether Redis answered with an error.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Whether the connection is of no more use: it has failed, or leads to a server that takes no
/// writes any more.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    !is_refusal(error) || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
