//! What a client has sent that does not fit: the log hears of it once in a while, and a client on this machine, which
//! somebody is just writing, at once.

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
    /// Whether clients are told more than Meteor tells them.
    are_told: bool,
}

impl Mismatches {
    /// `is_local` says that only this machine reaches the server.
    pub(crate) fn new(is_local: bool) -> Self {
        Self {
            parameters: ThrottledLog::default(),
            messages: ThrottledLog::default(),
            are_told: is_local,
        }
    }

    /// A handler has ended with an error: if it is about what the client has sent, the cause is logged. Returns what
    /// the client is told.
    pub(super) fn noted(
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
            tracing::warn!(%connection, %what, ?name, %cause, left_out, "What a client sent does not fit.");
        }
        // A handler that has failed the match itself has said what it has to say.
        if self.are_told && error.source().is_some() {
            error.or_details(cause)
        } else {
            error
        }
    }

    /// A client is closed with 1009.
    pub(crate) fn too_big(&self, connection: Uuid, limit: usize) {
        if let Some(left_out) = self.messages.left_out(clock::now()) {
            tracing::warn!(
                %connection, limit, left_out,
                "A client's message exceeds clients.message, which closes it with 1009."
            );
        }
    }
}
