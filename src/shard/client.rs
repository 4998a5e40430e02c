//! One client, as its shard holds it: its current connection, and the session that may outlive it.

mod change;
mod observers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::session::{Run, Session};

use super::ClientLimits;
use super::conversation::Conversation;
use super::fan_out::{FanOut, FollowerId};
use super::following::{Following, TopicFollowerId};
use super::link::Link;
use super::outgoing::Outgoing;
use super::timers::Tick;
use super::upstream::Upstream;
use crate::base::error::Error;
use crate::base::memory::Share;
use crate::handler::Connection;
use crate::mail::{Backlog, Mail, Place};
use crate::mapping::{Event, OnGap};
use crate::publication::Subscription;
use crate::telemetry::{GaugeGuard, LiveSession, LiveSubscription, ParkedSession};
pub(super) use change::Change;

/// Bytes of subscription parameters that every client may have without their being counted, like
/// its ids and names. Only what exceeds them is counted.
const FEW_PARAMETERS: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) link: Link,
    pub(super) session: Conversation,
    /// The connection as its handlers see it.
    pub(super) context: Connection,
    pub(super) outgoing: Outgoing,
    pub(super) waiting: Waiting,
    /// The user who is logged in; handlers get it when they start.
    pub(super) user: Option<Arc<str>>,
    /// Set while the user changes.
    pub(super) change: Option<Box<Change>>,
    /// Its subscriptions, ordered by run. Grows and shrinks with those of the session.
    pub(super) subscriptions: Vec<Running>,
    /// The tick of its next timer. Entries in the shard's timers with another tick are outdated.
    pub(super) timer: Option<Tick>,
    /// Set when the connection is about to end.
    pub(super) closing: Option<Box<Closing>>,
    pub(super) counted: SessionCounts,
    /// Another connection that claims this client's session, while this connection is asked for a
    /// sign of life.
    pub(super) rival: Option<Box<Rival>>,
    /// Its way to the Meteor server behind this one, if there is one.
    pub(super) upstream: Option<Box<Upstream>>,
}

/// What waits on its way to the session, and why.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Bytes that the client has sent and nobody has used yet, and bytes that are kept until the
    /// client comes back, as the shard counts them.
    input: Share,
    /// Set while mail or news of gaps waits because much output is queued.
    held_up: Option<Box<HeldUp>>,
    /// Whether so much output waits that no mail is read and no handler starts.
    pub(super) is_full: bool,
    /// Whether too many of its messages are queued, so that the client is not read from.
    pub(super) is_paused: bool,
    /// Whether the client stands in the shard's list of connections with more to read.
    pub(super) is_unread: bool,
}

/// The gauges in which its session is counted.
#[derive(Debug, Default)]
pub(super) struct SessionCounts {
    /// Set from `connect` on.
    pub(super) session: Option<GaugeGuard<LiveSession>>,
    /// Set while the session waits for its client.
    pub(super) parked: Option<GaugeGuard<ParkedSession>>,
}

/// What waits until the client has taken more of its output.
#[derive(Debug)]
pub(super) struct HeldUp {
    /// Mail that is read then.
    mail: Backlog,
    /// Runs that have missed events, and are told when there is room again. Filled when events are
    /// dropped, drained by `take_missed`; bounded by the number of subscriptions.
    missed: Vec<Run>,
}

/// The end of a connection, from the close frame on.
#[derive(Debug)]
pub(super) struct Closing {
    /// When the connection is reset at the latest.
    pub(super) until: Duration,
    /// By how much `until` is extended whenever the peer takes some of the last frames. `None` for
    /// a client that is closed because it takes too little.
    pub(super) extension: Option<Duration>,
}

/// A connection that wants the session of another.
#[derive(Debug)]
pub(super) struct Rival {
    /// Its place in the same shard.
    pub(super) place: Place,
    /// How many messages it says it has received.
    pub(super) received: Option<u64>,
    /// When it gets the session, unless something arrives from the other connection.
    pub(super) until: Duration,
}

/// A subscription of a client.
pub(super) struct Running {
    pub(super) run: Run,
    pub(super) subscription: Subscription,
    /// What follows a topic for it, if anything does.
    pub(super) follower: Option<TopicFollowerId>,
    /// Its mapping functions. Filled by `Mail::On`, drained when the subscription ends or runs
    /// again.
    pub(super) followers: Vec<FollowerId>,
    /// Filled by its handler; called for each gap. A slice, for there are many subscriptions and
    /// few of these.
    on_gap: Box<[OnGap]>,
    _counted: GaugeGuard<LiveSubscription>,
}

impl Client {
    pub(super) fn new(
        link: Link,
        session: Conversation,
        context: Connection,
        output: Share,
        input: Share,
    ) -> Self {
        Self {
            link,
            session,
            context,
            outgoing: Outgoing::new(output),
            waiting: Waiting {
                input,
                held_up: None,
                is_full: false,
                is_paused: false,
                is_unread: false,
            },
            user: None,
            change: None,
            subscriptions: Vec::new(),
            timer: None,
            closing: None,
            counted: SessionCounts::default(),
            rival: None,
            upstream: None,
        }
    }

    /// The keeper that collects messages while the user changes.
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

    /// Where the client is; another client may have its index later.
    pub(super) fn place(&self) -> Place {
        self.context.address().place()
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

    /// Bytes that wait because of this client: output that it has not taken, mail, and input that
    /// nobody has used yet.
    pub(super) fn held(&self) -> usize {
        let queued = self
            .outgoing
            .counted_bytes()
            .saturating_add(self.waiting.input.bytes());
        queued.saturating_add(self.context.queued_mail())
    }

    /// Updates the count of its input.
    pub(super) fn count_input(&mut self) {
        let mut bytes = self.session.queued_bytes();
        let kept = self.session.subscribed_bytes();
        bytes = bytes.saturating_add(kept.saturating_sub(FEW_PARAMETERS));
        bytes = bytes.saturating_add(self.link.bytes());
        bytes = bytes.saturating_add(self.session.passing_bytes());
        bytes = bytes.saturating_add(self.upstream.as_ref().map_or(0, |it| it.bytes()));
        if self.session.is_parked() {
            bytes = bytes.saturating_add(self.session.kept_bytes());
        }
        self.waiting.input.set(bytes);
    }

    /// Whether mail must wait, because the output made of it would only be queued, or because the
    /// client is still being sent the difference for its new user.
    pub(super) fn must_mail_wait(&self) -> bool {
        let is_telling = |session: &Session| session.is_telling();
        let has_mail = self
            .waiting
            .held_up
            .as_ref()
            .is_some_and(|it| !it.mail.is_empty());
        self.waiting.is_full || has_mail || self.session.ddp().is_some_and(is_telling)
    }

    fn held_up(&mut self) -> &mut HeldUp {
        let address = self.context.address();
        self.waiting.held_up.get_or_insert_with(|| {
            Box::new(HeldUp {
                mail: Backlog::new(address.clone()),
                missed: Vec::new(),
            })
        })
    }

    /// Queues mail that must wait.
    pub(super) fn put_aside(&mut self, mail: Mail) {
        self.held_up().mail.push(mail);
    }

    /// The next mail that has waited.
    pub(super) fn take_mail(&mut self) -> Option<Mail> {
        let mail = self.waiting.held_up.as_mut()?.mail.pop();
        self.waiting.free_if_empty();
        mail
    }

    /// Whether an event for this run must be dropped, because there is no room for it, or because
    /// the run has not been told of an earlier drop yet. If so, notes that the run has missed an
    /// event.
    pub(super) fn must_drop_event(&mut self, run: Run, limits: &ClientLimits) -> bool {
        let held_up = self.waiting.held_up.as_ref();
        if held_up.is_some_and(|it| it.missed.contains(&run)) {
            return true;
        }
        let is_full = self.outgoing.is_blocked && self.outgoing.queued() > limits.events;
        if is_full {
            self.held_up().missed.push(run);
        }
        is_full
    }

    /// A subscription goes on under another run, which is told what the former run has missed.
    pub(super) fn replace_run(&mut self, run: Run, next: Run) {
        let missed = self
            .waiting
            .held_up
            .iter_mut()
            .flat_map(|it| &mut it.missed);
        missed.filter(|it| **it == run).for_each(|it| *it = next);
    }

    /// Takes the runs that have missed events, if there is room enough again.
    pub(super) fn take_missed(&mut self, limits: &ClientLimits) -> Vec<Run> {
        let Some(held_up) = &mut self.waiting.held_up else {
            return Vec::new();
        };
        if self.outgoing.queued() > limits.events / 2 {
            return Vec::new();
        }
        let missed = std::mem::take(&mut held_up.missed);
        self.waiting.free_if_empty();
        missed
    }

    /// Tells its handlers how much output waits.
    pub(super) fn report_output(&self) {
        let address = self.context.address();
        address.set_output(self.outgoing.counted_bytes());
    }

    /// Whether the client has sent more than its handlers keep up with. While memory is short, one
    /// message is enough.
    pub(super) fn has_enough_queued(
        &self,
        limits: &ClientLimits,
        is_short: impl FnOnce() -> bool,
    ) -> bool {
        let queued = self.session.queued();
        let bytes = self.session.queued_bytes();
        let bytes = bytes.saturating_add(self.session.running_bytes());
        let is_stopped = self.upstream.as_ref().is_some_and(|it| it.stops_client());
        is_stopped
            || queued >= limits.queued_messages
            || self.session.calls_running() >= limits.queued_messages
            || bytes >= limits.queued_bytes
            || queued > 0 && is_short()
    }

    /// The client has taken some of its output, which is a sign of life. The bytes that the kernel
    /// still holds may take it until `drain_time` has passed.
    pub(super) fn took_output(&mut self, now: Duration, drain_time: Duration) {
        let until = now.saturating_add(drain_time);
        self.session.busy_until(until);
        if let Some(socket) = self.link.socket_mut() {
            socket.alive(until);
        }
        if let Some(closing) = &mut self.closing
            && let Some(extension) = closing.extension
        {
            closing.until = now.saturating_add(extension);
        }
    }

    /// Something has arrived from the client.
    pub(super) fn heard(&mut self, limits: &ClientLimits, now: Duration) {
        self.outgoing.heard(limits.events, now);
        if let Some(socket) = self.link.socket_mut() {
            socket.alive(now);
        }
    }

    /// When its next timer is due, if nothing happens before.
    pub(super) fn next_timeout(&self, limits: &ClientLimits) -> Option<Duration> {
        let stuck = self.slow_since();
        let stuck = stuck.map(|since| since.saturating_add(limits.output_timeout));
        let next_try = self.outgoing.next_try(limits.output_timeout);
        let connection = match &self.closing {
            Some(closing) => Some(closing.until),
            None => {
                let others = [
                    self.rival.as_ref().map(|it| it.until),
                    self.link.next_timeout(),
                    self.upstream.as_ref().and_then(|it| it.next_timeout()),
                ];
                let output = stuck.into_iter().chain(next_try);
                output.chain(others.into_iter().flatten()).min()
            }
        };
        connection
            .into_iter()
            .chain(self.session.next_timeout())
            .min()
    }

    /// Whether none of its waiting output has moved for too long.
    pub(super) fn is_stuck(&self, limits: &ClientLimits, now: Duration) -> bool {
        let slow = self.slow_since();
        self.closing.is_none()
            && slow.is_some_and(|since| since.saturating_add(limits.output_timeout) <= now)
    }

    /// Whether a subscription follows a topic.
    pub(super) fn follows(&self) -> bool {
        self.subscriptions.iter().any(|it| it.follower.is_some())
    }

    /// Since when it has taken nothing of what waits for it. A client that only has records of
    /// topics to read may be as slow as it likes.
    fn slow_since(&self) -> Option<Duration> {
        let since = self.outgoing.stuck_since()?;
        (self.outgoing.has_own_messages() || !self.follows()).then_some(since)
    }

    /// The deadline of its connection, if the close frame is queued now.
    pub(super) fn closing_from(&self, now: Duration, limits: &ClientLimits) -> Closing {
        let extension = self.link.close_timeout(limits);
        Closing {
            until: now.saturating_add(extension),
            extension: Some(extension),
        }
    }

    /// Queues the close frame behind the waiting output, and drops the input that was not used.
    pub(super) fn close(&mut self, code: u16, reason: &str, closing: Closing) {
        self.outgoing.push_control(self.link.closing(code, reason));
        self.closing = Some(Box::new(closing));
        self.link.drop_input();
        self.count_input();
    }

    /// Like [`close`](Self::close), for a session that goes on without this connection. Output that
    /// waits now is still written to it.
    pub(super) fn part(&mut self, code: u16, reason: &str, closing: Closing) {
        self.close(code, reason, closing);
        let framing = self.link.framing();
        let session = &mut self.session;
        self.outgoing.seal(framing, |waiting, count| {
            session.written(waiting, count);
        });
    }

    /// Everything is written. A connection that is about to end tells its peer so. Returns whether
    /// it has ended with that.
    pub(super) fn finish_if_closing(&mut self) -> bool {
        self.closing.is_some() && self.link.finish()
    }
}

/// What follows a topic for a subscription among these.
pub(super) fn follower(subscriptions: &[Running], run: Run) -> Option<TopicFollowerId> {
    let index = subscriptions.binary_search_by_key(&run, |running| running.run);
    subscriptions.get(index.ok()?)?.follower
}

impl Waiting {
    /// The session is over: nobody reads its mail.
    pub(super) fn forget_mail(&mut self) {
        self.held_up = None;
    }

    /// Frees the memory when nothing is held up any more.
    fn free_if_empty(&mut self) {
        self.held_up
            .take_if(|it| it.mail.is_empty() && it.missed.is_empty());
    }
}

impl Running {
    pub(super) fn new(
        run: Run,
        subscription: Subscription,
        counted: GaugeGuard<LiveSubscription>,
    ) -> Self {
        Self {
            run,
            subscription,
            follower: None,
            followers: Vec::new(),
            on_gap: Box::default(),
            _counted: counted,
        }
    }

    /// Adds a function that is called for each gap.
    pub(super) fn add_on_gap(&mut self, on_gap: OnGap) {
        let mut all = std::mem::take(&mut self.on_gap).into_vec();
        all.push(on_gap);
        self.on_gap = all.into_boxed_slice();
    }

    /// Ends the subscription: removes its mapping functions and tells its handler.
    pub(super) fn end(self, fan_out: &mut FanOut, following: &mut Following) {
        for follower in self.followers {
            fan_out.remove(follower);
        }
        if let Some(follower) = self.follower {
            following.remove(follower);
        }
        self.subscription.end();
    }

    /// The events that its handler wants sent for a gap. A function that fails or panics costs only
    /// its own event.
    pub(super) fn events_of_gap(&mut self) -> impl Iterator<Item = Event> {
        let Self {
            subscription,
            on_gap,
            ..
        } = self;
        on_gap.iter_mut().map(|on_gap| {
            let outcome = catch_unwind(AssertUnwindSafe(on_gap))
                .unwrap_or_else(|panic| Err(Error::panicked(&*panic)));
            outcome.unwrap_or_else(|error| {
                subscription.gap_failed(&error);
                Event::none()
            })
        })
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
        // Not counting its heap data, where everything belongs that only some clients need. In a
        // debug build sockets are larger by 8 bytes.
        let size = size_of::<Client>();
        assert!(size <= 512, "{size}");
    }
}
