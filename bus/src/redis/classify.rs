//! What an error of the crate `redis` means: which fault it shows, and whether Redis has answered
//! at all.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::fault::{ClassifiedError, Side};
use crate::{BusError, BusFault, SharedError};

impl BusFault {
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => Self::Loading,
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly,
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::Denied,
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
                Self::Authentication
            }
            (_, Some("OOM")) => Self::OutOfMemory,
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Refused,
            _ if is_tls(error) => Self::Tls,
            _ => Self::Unreachable,
        }
    }
}

/// The cause of an error of the bus.
pub(super) fn cause(error: RedisError) -> SharedError {
    Arc::new(ClassifiedError::new(BusFault::of(&error), None, error))
}

/// A connection was tried out, in vain.
pub(super) fn not_connected(side: Side, error: RedisError) -> BusError {
    let fault = BusFault::of(&error);
    let is_refused = fault == BusFault::Authentication || is_refusal(&error);
    let cause = Arc::new(ClassifiedError::new(fault, Some(side), error));
    if is_refused {
        BusError::Refused(cause)
    } else {
        BusError::Unavailable(Some(cause))
    }
}

/// Whether Redis answered, with an error: the connection is as good as before.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// A failed handshake comes as the operating system's "invalid data", with the reason in its text.
fn is_tls(error: &RedisError) -> bool {
    // The crate answers with the `Arc` that it keeps the cause in, not with the cause.
    type Kept = Arc<dyn Error + Send + Sync>;
    let kept = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Kept>());
    let cause = kept.and_then(|kept| kept.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}
