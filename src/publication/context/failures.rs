//! What becomes of the failures of a publication's functions: each is counted, and some are logged.

use std::sync::atomic::Ordering;

use updraft_bus::Message;

use super::Subscription;
use crate::base::clock;
use crate::base::error::Error;

impl Subscription {
    /// Counts and logs that a mapping function has failed.
    pub(crate) fn mapping_failed(&self, message: &Message, error: &Error) {
        let channels = &self.connection().host().channels;
        channels.mapping_failed(message.channel());
        let what = "A mapping function failed; its event is lost.";
        self.function_failed(what, Some(message.channel()), error);
    }

    /// Like [`mapping_failed`](Self::mapping_failed), for a function that maps records of a topic.
    pub(crate) fn record_failed(&self, error: &Error) {
        let what = "A mapping function failed; the record is passed over.";
        self.function_failed(what, None, error);
    }

    /// Like [`mapping_failed`](Self::mapping_failed), for a function that was called for a gap.
    pub(crate) fn gap_failed(&self, error: &Error) {
        let what = "A function called for a gap failed; its event is lost.";
        self.function_failed(what, None, error);
    }

    fn function_failed(&self, what: &str, channel: Option<&str>, error: &Error) {
        let failed = &self.connection().host().gauges.failed_mappings;
        failed.fetch_add(1, Ordering::Relaxed);
        // A function that always fails must not fill the log.
        if let Some(left_out) = self.0.publication.failures.left_out(clock::now()) {
            let (publication, channel) = (self.publication(), channel.map(tracing::field::debug));
            tracing::warn!(publication, channel, ?error, left_out, "{what}");
        }
    }

    /// Logs the cause of an error that the client is told without it.
    pub(super) fn log_refusal(&self, error: &Error) {
        let (connection, mismatches) = (self.connection(), &self.connection().host().mismatches);
        let name = &self.0.publication.name;
        mismatches.refused(connection.log_id(), "publication", name, error);
    }
}
