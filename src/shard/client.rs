//! One client, as its shard holds it: the connection that it has at the moment, and the session that may outlive it.

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::session::Run;

use super::Limits;
use super::conversation::Conversation;
use super::fan_out::FollowerId;
use super::link::Link;
use super::outgoing::Outgoing;
use super::timers::Tick;
use crate::connection::Connection;
use crate::mailbox::{Place, UserChanged};
use crate::memory::Share;
use crate::publication::{OnGap, Subscription};

/// Parameters of subscriptions that belong to a client at rest, as its ids and names do. Only what is more counts.
const FEW_PARAMETERS: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    /// Tells this connection from others that had its place before.
    pub(super) generation: u64,
    pub(super) link: Link,
    pub(super) session: Conversation,
    /// What its handlers hold.
    pub(super) context: Connection,
    pub(super) outgoing: Outgoing,
    /// What it has sent and nobody has used yet, and what is kept until it comes back, as the shard counts it.
    pub(super) input: Share,
    /// Who is logged in; handlers are told when they start.
    pub(super) user: Option<Arc<str>>,
    /// There while the user changes.
    pub(super) change: Option<Box<Change>>,
    /// Its subscriptions, by run; grows and shrinks with the session's.
    pub(super) subscriptions: Vec<Running>,
    /// The tick that counts of those at which it stands in the shard's timers.
    pub(super) timer: Option<Tick>,
    /// Set when the connection is to end: until when its last frames may take.
    pub(super) closing: Option<Duration>,
    /// Whether it has too many messages queued, and is not read from.
    pub(super) is_paused: bool,
    /// Whether it stands in the shard's list of those with more to read.
    pub(super) is_unread: bool,
    /// Whether it is among the sessions of the gauges.
    pub(super) is_counted: bool,
    /// Whether it is among the parked sessions of the gauges.
    pub(super) is_counted_parked: bool,
    /// Another connection that claims to be this client's next one, while this one is asked for a sign of life.
    pub(super) rival: Option<Box<Rival>>,
}

/// A change of the user that is under way.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Calls that wait for its end. Filled as changes begin; bounded by the calls of the session.
    pub(super) calls: Vec<UserChanged>,
    /// What keeps messages meanwhile.
    pub(super) keeper: Option<FollowerId>,
}

/// A connection that wants the session of another.
#[derive(Debug)]
pub(super) struct Rival {
    /// Its place in the same shard.
    pub(super) place: Place,
    /// What it says that it has received.
    pub(super) received: Option<u64>,
    /// When it gets the session, if nothing is heard of the other.
    pub(super) until: Duration,
}

/// A subscription of a client.
pub(super) struct Running {
    pub(super) run: Run,
    pub(super) subscription: Subscription,
    /// Its mapping functions.
    pub(super) followers: Vec<FollowerId>,
    /// Filled by its handler, told of each gap.
    pub(super) on_gap: Vec<OnGap>,
}

impl Client {
    /// What keeps messages while the user changes.
    pub(super) fn keeper(&self) -> Option<FollowerId> {
        self.change.as_ref()?.keeper
    }

    pub(super) fn running(&self, run: Run) -> Option<&Running> {
        let index = self
            .subscriptions
            .binary_search_by_key(&run, |running| running.run)
            .ok()?;
        self.subscriptions.get(index)
    }

    /// Where it is, for those who may find another there later.
    pub(super) fn place(&self, index: usize) -> Place {
        let generation = self.generation;
        Place { index, generation }
    }

    pub(super) fn running_mut(&mut self, run: Run) -> Option<&mut Running> {
        let index = self
            .subscriptions
            .binary_search_by_key(&run, |running| running.run)
            .ok()?;
        self.subscriptions.get_mut(index)
    }

    pub(super) fn take_running(&mut self, run: Run) -> Option<Running> {
        let index = self
            .subscriptions
            .binary_search_by_key(&run, |running| running.run)
            .ok()?;
        let running = self.subscriptions.remove(index);
        if self.subscriptions.is_empty() {
            self.subscriptions = Vec::new();
        }
        Some(running)
    }

    /// Bytes that wait on its account: output that it does not take, mail, and input that nobody has used yet.
    pub(super) fn held(&self) -> usize {
        let queued = self
            .outgoing
            .stuck_bytes()
            .saturating_add(self.input.bytes());
        queued.saturating_add(self.context.queued_mail())
    }

    /// Counts its input anew.
    pub(super) fn count_input(&mut self) {
        let mut bytes = self.session.queued_bytes();
        let kept = self.session.subscribed_bytes();
        bytes = bytes.saturating_add(kept.saturating_sub(FEW_PARAMETERS));
        bytes = bytes.saturating_add(self.link.bytes());
        if self.session.is_parked() {
            bytes = bytes.saturating_add(self.session.kept_bytes());
        }
        self.input.set(bytes);
    }

    /// Whether it has sent more than its handlers keep up with.
    pub(super) fn has_enough_queued(&self, limits: &Limits) -> bool {
        let bytes = self.session.queued_bytes();
        let bytes = bytes.saturating_add(self.session.running_bytes());
        self.session.queued() >= limits.queued_messages
            || self.session.calls_running() >= limits.queued_messages
            || bytes >= limits.queued_bytes
    }

    /// When it next wants to be looked at, if nothing happens.
    pub(super) fn next_timeout(&self, limits: &Limits) -> Option<Duration> {
        let stuck = self.outgoing.stuck_since();
        let stuck = stuck.map(|since| since.saturating_add(limits.stuck));
        let connection = match self.closing {
            Some(closing) => Some(closing),
            None => {
                let others = [
                    self.rival.as_ref().map(|it| it.until),
                    self.link.next_timeout(),
                ];
                stuck.into_iter().chain(others.into_iter().flatten()).min()
            }
        };
        connection
            .into_iter()
            .chain(self.session.next_timeout())
            .min()
    }

    /// Whether nothing that waits for it has moved for too long.
    pub(super) fn is_stuck(&self, limits: &Limits, now: Duration) -> bool {
        let stuck = self.outgoing.stuck_since();
        self.closing.is_none()
            && stuck.is_some_and(|since| since.saturating_add(limits.stuck) <= now)
    }

    /// Queues the close frame, behind what waits. What has come in is of no use any more.
    pub(super) fn close(&mut self, code: u16, reason: &str, until: Duration) {
        self.outgoing.push_control(self.link.closing(code, reason));
        self.closing = Some(until);
        self.link.drop_input();
        self.count_input();
    }

    /// As [`close`](Self::close), for a session that goes on without this connection. What waits now is still for it.
    pub(super) fn part(&mut self, code: u16, reason: &str, until: Duration) {
        self.close(code, reason, until);
        let framing = self.link.framing();
        let session = &mut self.session;
        self.outgoing.seal(framing, |waiting, count| {
            session.written(waiting, count);
        });
    }

    /// Everything is written: a connection that is to end says so to its peer. Whether it has ended with that.
    pub(super) fn written(&mut self) -> bool {
        self.closing.is_some() && self.link.finish()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_small() {
        // Beside what it has on the heap; what only some need belongs there. In a debug build, sockets are larger by 8.
        let size = size_of::<Client>();
        assert!(size <= 528, "{size}");
    }
}
