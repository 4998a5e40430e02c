//! Reports parameters and messages that do not fit, and the causes of refusals: to the log, at most
//! once a second for each handler, and what does not fit also to a client on this machine, which
//! somebody is probably just writing, each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::Error;
use crate::base::redact::{Redacted, without_quotes};

/// One per server.
#[derive(Debug)]
pub(crate) struct Mismatches {
    handlers: HandlerLogs,
    messages: ThrottledLog,
    /// Whether clients are told the cause, which Meteor does not tell them.
    are_told: bool,
}

impl Mismatches {
    /// `is_local` says that only clients on this machine can connect.
    pub(crate) fn new(is_local: bool) -> Self {
        Self {
            handlers: HandlerLogs::default(),
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
        if let Some(left_out) = self.handlers.left_out(Line::Mismatch, what, name) {
            let cause = Redacted(&cause);
            tracing::warn!(
                %connection, %what, ?name, %cause, left_out,
                "What a client sent does not fit."
            );
        }
        if self.are_told && error.has_cause_to_tell() {
            error.or_details(cause)
        } else {
            error
        }
    }

    /// Logs the cause of an error for a client, if it has one: the client is not told it.
    pub(crate) fn refused(
        &self,
        connection: Uuid,
        what: &'static str,
        name: &Arc<str>,
        error: &Error,
    ) {
        if error.untold_cause().is_some()
            && let Some(left_out) = self.handlers.left_out(Line::Refusal, what, name)
        {
            tracing::info!(
                %connection, %what, ?name, ?error, left_out,
                "A handler refused a client, and gave a cause."
            );
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

/// The lines about each handler are throttled by themselves, so that a handler which is called
/// wrongly again and again hides no other.
#[derive(Debug, Default)]
struct HandlerLogs {
    /// Filled by the first line about a handler; bounded by the registered handlers.
    logs: Mutex<HashMap<LogKey, ThrottledLog>>,
}

/// What a line is about, `publication` or `method`, and the handler's name.
type LogKey = (Line, &'static str, Arc<str>);

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Mismatch,
    Refusal,
}

impl HandlerLogs {
    /// As [`ThrottledLog::left_out`].
    fn left_out(&self, line: Line, what: &'static str, name: &Arc<str>) -> Option<u64> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry((line, what, name.clone())).or_default();
        log.left_out(clock::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_302_one_handler_hides_no_other() {
        let (logs, a, b) = (HandlerLogs::default(), "a".into(), "b".into());
        assert_eq!(logs.left_out(Line::Mismatch, "method", &a), Some(0));
        assert_eq!(logs.left_out(Line::Mismatch, "method", &a), None);
        for (line, what, name) in [
            (Line::Mismatch, "method", &b),
            (Line::Mismatch, "publication", &a),
            (Line::Refusal, "method", &a),
        ] {
            assert_eq!(logs.left_out(line, what, name), Some(0));
        }
    }
}
