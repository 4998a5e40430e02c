//! One client, as its shard holds it: the connection that it has at the moment, and the session that may outlive it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::session::{Run, Session};

use super::ClientLimits;
use super::conversation::Conversation;
use super::fan_out::{FanOut, FollowerId};
use super::link::Link;
use super::outgoing::Outgoing;
use super::timers::Tick;
use crate::base::error::Error;
use crate::base::memory::Share;
use crate::handler::Connection;
use crate::mail::{Backlog, Mail, Place, UserChanged};
use crate::mapping::{Event, OnGap};
use crate::publication::Subscription;
use crate::telemetry::{GaugeGuard, LiveSession, LiveSubscription, ParkedSession};

/// Parameters of subscriptions that belong to a client at rest, as its ids and names do. Only what is more counts.
const FEW_PARAMETERS: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) link: Link,
    pub(super) session: Conversation,
    /// What its handlers hold.
    pub(super) context: Connection,
    pub(super) outgoing: Outgoing,
    pub(super) waiting: Waiting,
    /// Who is logged in; handlers are told when they start.
    pub(super) user: Option<Arc<str>>,
    /// There while the user changes.
    pub(super) change: Option<Box<Change>>,
    /// Its subscriptions, by run; grows and shrinks with the session's.
    pub(super) subscriptions: Vec<Running>,
    /// The tick that counts of those at which it stands in the shard's timers.
    pub(super) timer: Option<Tick>,
    /// Set when the connection is to end.
    pub(super) closing: Option<Box<Closing>>,
    pub(super) counted: SessionCounts,
    /// Another connection that claims to be this client's next one, while this one is asked for a sign of life.
    pub(super) rival: Option<Box<Rival>>,
}

/// What waits on its way to the session, and why.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What the client has sent and nobody has used yet, and what is kept until it comes back, as the
    /// shard counts it.
    input: Share,
    /// There while something waits because the client has much to take.
    held_up: Option<Box<HeldUp>>,
    /// Whether so much output waits that no mail is read and nothing begins.
    pub(super) is_full: bool,
    /// Whether it has too many messages queued, and is not read from.
    pub(super) is_paused: bool,
    /// Whether it stands in the shard's list of those with more to read.
    pub(super) is_unread: bool,
}

/// What the gauges count its session as.
#[derive(Debug, Default)]
pub(super) struct SessionCounts {
    /// From `connect` on.
    pub(super) session: Option<GaugeGuard<LiveSession>>,
    /// While it waits for its client.
    pub(super) parked: Option<GaugeGuard<ParkedSession>>,
}

/// What waits for a client to take what it has to take.
#[derive(Debug)]
pub(super) struct HeldUp {
    /// Mail that is read then.
    mail: Backlog,
    /// Runs that have missed events, and are told when there is room again. Filled as events are dropped; bounded by the
    /// subscriptions.
    missed: Vec<Run>,
}

/// The end of a connection, from the close frame on.
#[derive(Debug)]
pub(super) struct Closing {
    /// Until when it may take.
    pub(super) until: Duration,
    /// How long it may take from the time on at which some of the last frames were taken; not for those who are closed
    /// because they take too little.
    pub(super) patience: Option<Duration>,
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
    pub(super) _counted: GaugeGuard<LiveSubscription>,
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
        }
    }

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

    /// Bytes that wait on its account: output that it has not taken, mail, and input that nobody has used yet.
    pub(super) fn held(&self) -> usize {
        let queued = self
            .outgoing
            .counted_bytes()
            .saturating_add(self.waiting.input.bytes());
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
        self.waiting.input.set(bytes);
    }

    /// Whether mail has to wait: not to make output of it which is not taken, or because the client is being told what is
    /// different for its new user.
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

    /// Puts mail aside.
    pub(super) fn put_aside(&mut self, mail: Mail) {
        self.held_up().mail.push(mail);
    }

    /// The next mail that was put aside.
    pub(super) fn take_mail(&mut self) -> Option<Mail> {
        let mail = self.waiting.held_up.as_mut()?.mail.pop();
        self.waiting.go_on();
        mail
    }

    /// Notes that a run has missed an event. Whether there is no room for its events, or was none and it has not been told.
    pub(super) fn misses(&mut self, run: Run, limits: &ClientLimits) -> bool {
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

    /// A run goes on as another, which misses what it has missed.
    pub(super) fn runs_again(&mut self, run: Run, next: Run) {
        let missed = self
            .waiting
            .held_up
            .iter_mut()
            .flat_map(|it| &mut it.missed);
        missed.filter(|it| **it == run).for_each(|it| *it = next);
    }

    /// Those that have missed events, if there is room enough again.
    pub(super) fn take_missed(&mut self, limits: &ClientLimits) -> Vec<Run> {
        let Some(held_up) = &mut self.waiting.held_up else {
            return Vec::new();
        };
        if self.outgoing.queued() > limits.events / 2 {
            return Vec::new();
        }
        let missed = std::mem::take(&mut held_up.missed);
        self.waiting.go_on();
        missed
    }

    /// Tells its handlers how much waits for it.
    pub(super) fn tell_output(&self) {
        let address = self.context.address();
        address.set_output(self.outgoing.counted_bytes());
    }

    /// Whether it has sent more than its handlers keep up with. While memory is short, one message is enough.
    pub(super) fn has_enough_queued(
        &self,
        limits: &ClientLimits,
        is_short: impl FnOnce() -> bool,
    ) -> bool {
        let queued = self.session.queued();
        let bytes = self.session.queued_bytes();
        let bytes = bytes.saturating_add(self.session.running_bytes());
        queued >= limits.queued_messages
            || self.session.calls_running() >= limits.queued_messages
            || bytes >= limits.queued_bytes
            || queued > 0 && is_short()
    }

    /// It has taken some of its output, which is a sign of life; the rest of what it was given may take so long.
    pub(super) fn has_taken(&mut self, now: Duration, on_the_way: Duration) {
        let until = now.saturating_add(on_the_way);
        self.session.busy_until(until);
        if let Some(socket) = self.link.socket_mut() {
            socket.alive(until);
        }
        if let Some(closing) = &mut self.closing
            && let Some(patience) = closing.patience
        {
            closing.until = now.saturating_add(patience);
        }
    }

    /// It has said something.
    pub(super) fn heard(&mut self, limits: &ClientLimits, now: Duration) {
        self.outgoing.heard(limits.events, now);
        if let Some(socket) = self.link.socket_mut() {
            socket.alive(now);
        }
    }

    /// When it next wants to be looked at, if nothing happens.
    pub(super) fn next_timeout(&self, limits: &ClientLimits) -> Option<Duration> {
        let stuck = self.outgoing.stuck_since();
        let stuck = stuck.map(|since| since.saturating_add(limits.output_timeout));
        let stuck = stuck.min(self.outgoing.next_try(limits.output_timeout));
        let connection = match &self.closing {
            Some(closing) => Some(closing.until),
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
    pub(super) fn is_stuck(&self, limits: &ClientLimits, now: Duration) -> bool {
        let stuck = self.outgoing.stuck_since();
        self.closing.is_none()
            && stuck.is_some_and(|since| since.saturating_add(limits.output_timeout) <= now)
    }

    /// The end of its connection, if the close frame is queued now.
    pub(super) fn closing_from(&self, now: Duration, limits: &ClientLimits) -> Closing {
        let patience = self.link.patience(limits);
        Closing {
            until: now.saturating_add(patience),
            patience: Some(patience),
        }
    }

    /// Queues the close frame, behind what waits. What has come in is of no use any more.
    pub(super) fn close(&mut self, code: u16, reason: &str, closing: Closing) {
        self.outgoing.push_control(self.link.closing(code, reason));
        self.closing = Some(Box::new(closing));
        self.link.drop_input();
        self.count_input();
    }

    /// As [`close`](Self::close), for a session that goes on without this connection. What waits now is still for it.
    pub(super) fn part(&mut self, code: u16, reason: &str, closing: Closing) {
        self.close(code, reason, closing);
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

impl Waiting {
    /// The session is over: nobody reads its mail.
    pub(super) fn forget_mail(&mut self) {
        self.held_up = None;
    }

    /// Nothing is held up any more: its memory is given back.
    fn go_on(&mut self) {
        self.held_up
            .take_if(|it| it.mail.is_empty() && it.missed.is_empty());
    }
}

impl Running {
    /// The subscription is over.
    pub(super) fn end(self, fan_out: &mut FanOut) {
        for follower in self.followers {
            fan_out.remove(follower);
        }
        self.subscription.over();
    }

    /// What its handler says of a gap; whatever a function does costs no more than its event.
    pub(super) fn events_of_gap(&mut self) -> impl Iterator<Item = Event> {
        let Self {
            subscription,
            on_gap,
            ..
        } = self;
        on_gap.iter_mut().map(|on_gap| {
            let outcome = catch_unwind(AssertUnwindSafe(on_gap))
                .unwrap_or_else(|_| Err(Error::internal("the function panicked")));
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
        // Beside what it has on the heap; what only some need belongs there. In a debug build, sockets are larger by 8.
        let size = size_of::<Client>();
        assert!(size <= 512, "{size}");
    }
}
