//! Reports parameters and messages that do not fit: to the log, at most once a second, and to a
//! client on this machine, which somebody is probably just writing, each time.

use std::sync::Arc;

use uuid::Uuid;

use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::Error;
use crate::base::redact::{Redacted, without_quotes};

/// One per server.
#[derive(Debug)]
pub(crate) struct Mismatches {
    parameters: ThrottledLog,
    messages: ThrottledLog,
    /// Whether clients are told the cause, which Meteor does not tell them.
    are_told: bool,
}

impl Mismatches {
    /// `is_local` says that only clients on this machine can connect.
    pub(crate) fn new(is_local: bool) -> Self {
        Self {
            parameters: ThrottledLog::default(),
            messages: ThrottledLog::default(),
            are_told: is_local,
        }
    }

    /// Logs the cause of a handler's error if the error is about what the client has sent. Returns
    /// the error that the client is told.
    pub(super) fn report(
        &self,
        connection: Uuid,
        what: &'static str,
        name: &Arc<str>,
        error: Error,
    ) -> Error {
        let Some(cause) = error.mismatch() else {
            return error;
        };
        let cause = without_quotes(&cause);
        if let Some(left_out) = self.parameters.left_out(clock::now()) {
            let cause = Redacted(&cause);
            tracing::warn!(
                %connection, %what, ?name, %cause, left_out,
                "What a client sent does not fit."
            );
        }
        // Without a source the handler itself has failed the match, and chosen what to tell.
        if self.are_told && error.source().is_some() {
            error.or_details(cause)
        } else {
            error
        }
    }

    /// Logs that a client is closed with 1009.
    pub(crate) fn too_big(&self, connection: Uuid, limit: usize) {
        if let Some(left_out) = self.messages.left_out(clock::now()) {
            tracing::warn!(
                %connection, limit, left_out,
                "A client's message exceeds clients.message, which closes it with 1009."
            );
        }
    }
}
