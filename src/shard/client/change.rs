//! A change of the user, as the shard of the client holds it.

use updraft_protocol::session::Run;

use crate::mail::UserChanged;
use crate::publication::Continuation;
use crate::shard::fan_out::FollowerId;

/// A change of the user that is in progress.
#[derive(Debug, Default)]
pub(in crate::shard) struct Change {
    /// Calls that wait for the end of the change. Filled when changes begin, drained when the
    /// change is complete; bounded by the calls of the session.
    pub(in crate::shard) calls: Vec<UserChanged>,
    /// Collects messages meanwhile.
    pub(in crate::shard) keeper: Option<FollowerId>,
    /// Where runs that are over were in their topics, with the runs that replace them. Bounded by
    /// the subscriptions.
    pub(in crate::shard) continuations: Vec<(Run, Continuation)>,
}

impl Change {
    /// Where the run before this one was in its topic.
    pub(in crate::shard) fn continuation(&self, run: Run) -> Option<&Continuation> {
        let mut of_run = self.continuations.iter().filter(|(of, _)| *of == run);
        of_run.next().map(|(_, continuation)| continuation)
    }
}
