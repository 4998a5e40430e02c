//! A change of the user, as the shard of the client holds it.

use std::fmt;
use std::sync::Arc;

use updraft_protocol::session::Run;

use crate::mail::UserChanged;
use crate::publication::{ClientObserver, Continuation};
use crate::shard::fan_out::FollowerId;

/// A change of the user that is in progress.
#[derive(Default)]
pub(in crate::shard) struct Change {
    /// Calls that wait for the end of the change. Filled when changes begin, drained when the
    /// change is complete; bounded by the calls of the session.
    pub(in crate::shard) calls: Vec<UserChanged>,
    /// Collects messages meanwhile.
    pub(in crate::shard) keeper: Option<FollowerId>,
    /// Where runs that are over were in their topics, with the runs that replace them. Bounded by
    /// the subscriptions.
    pub(in crate::shard) continuations: Vec<(Run, Continuation)>,
    /// Observers of runs that are over, with the runs that replace them. Bounded by the
    /// subscriptions.
    pub(in crate::shard) observers: Vec<(Run, Arc<dyn ClientObserver>)>,
}

impl Change {
    /// Takes the observer of the run before this one.
    pub(in crate::shard) fn take_observer(&mut self, run: Run) -> Option<Arc<dyn ClientObserver>> {
        let index = self.observers.iter().position(|(of, _)| *of == run)?;
        Some(self.observers.swap_remove(index).1)
    }

    /// Where the run before this one was in its topic.
    pub(in crate::shard) fn continuation(&self, run: Run) -> Option<&Continuation> {
        let mut of_run = self.continuations.iter().filter(|(of, _)| *of == run);
        of_run.next().map(|(_, continuation)| continuation)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("keeper", &self.keeper)
            .field("continuations", &self.continuations)
            .finish_non_exhaustive()
    }
}
