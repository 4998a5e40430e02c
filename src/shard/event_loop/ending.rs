//! How a connection ends. Whatever ends it, this module releases everything that belonged to it:
//! the connection, and also the session unless that waits for its client to come back.
//!
//! What becomes of a client depends on its state. A session *waits* if it can be resumed and the
//! server is not shutting down:
//!
//! | | open | closing | parting | parked |
//! | --- | --- | --- | --- | --- |
//! | [`Finished`](Ending::Finished), with output left | part if it waits, else close | stay | stay | stay |
//! | `Finished`, [`Lost`](Ending::Lost), [`Overdue`](Ending::Overdue) | park if it waits, else remove | remove | park | stay |
//! | [`Parted`](Ending::Parted) | part if it waits, else close | stay | stay | stay |
//! | [`Closed`](Ending::Closed), [`Slow`](Ending::Slow) | close | stay | close | remove |
//!
//! The columns are the states of a client (`ClientState`), the rows say why its connection ends,
//! and the cells say what becomes of it (`EndAction`). To *part* is to close the connection while
//! the session waits: once the close frame is written, the client is *parked*.
//!
//! During shutdown no session waits: in the first two rows `park`, and `stay` of a parked client,
//! mean remove then.

use std::sync::atomic::Ordering;

use updraft_protocol::message::Frames;
use updraft_protocol::session::Output;

use super::EventLoop;
use crate::shard::client::Client;
use crate::shard::link::Link;
use crate::telemetry::GaugeGuard;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// The peer has finished sending. It may still read, so waiting output is written first.
    Finished,
    /// The connection is gone, or its last frame is written.
    Lost,
    /// The connection has reached a deadline. It is reset, so that the kernel does not keep bytes
    /// which the peer has not taken.
    Overdue,
    /// The peer closes, or shows no sign of life. It is sent this code.
    Parted { code: u16, reason: &'a str },
    /// The session ends. Its output is written, then the close frame.
    Closed { code: u16, reason: &'a str },
    /// The client takes too little of its output, or holds too much memory. Its output is dropped.
    Slow,
}

/// The state of a client on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    /// It has a connection, and nothing has ended it.
    Open,
    /// The close frame is queued, and the session is over.
    Closing,
    /// The close frame is queued, and the session waits for another connection.
    Parting,
    /// The connection is gone, and the session waits.
    Parked,
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndAction {
    Stay,
    /// The close frame is queued, and the session ends.
    Close,
    /// The close frame is queued, and the session waits.
    Part,
    /// The connection is dropped, and the session waits.
    Park,
    Remove,
}

impl Ending<'_> {
    /// The code and reason that the peer is sent.
    fn close_frame(&self) -> (u16, &str) {
        match self {
            Self::Parted { code, reason } | Self::Closed { code, reason } => (*code, reason),
            Self::Slow => (1013, "Slow consumer"),
            Self::Finished | Self::Lost | Self::Overdue => (1000, ""),
        }
    }

    fn action(
        self,
        state: ClientState,
        has_output: bool,
        waits: bool,
        is_serving: bool,
    ) -> EndAction {
        let or = |may: bool, action: EndAction, otherwise: EndAction| {
            if may { action } else { otherwise }
        };
        match (state, self) {
            (ClientState::Open, Self::Parted { .. }) => {
                or(waits, EndAction::Part, EndAction::Close)
            }
            (ClientState::Open, Self::Finished) if has_output => {
                or(waits, EndAction::Part, EndAction::Close)
            }
            (ClientState::Open, Self::Finished | Self::Lost | Self::Overdue) => {
                or(waits, EndAction::Park, EndAction::Remove)
            }
            (ClientState::Open | ClientState::Parting, Self::Closed { .. } | Self::Slow) => {
                EndAction::Close
            }
            (ClientState::Closing | ClientState::Parting, Self::Finished) if has_output => {
                EndAction::Stay
            }
            (ClientState::Closing, Self::Finished | Self::Lost | Self::Overdue) => {
                EndAction::Remove
            }
            (ClientState::Parting, Self::Finished | Self::Lost | Self::Overdue) => {
                or(is_serving, EndAction::Park, EndAction::Remove)
            }
            (ClientState::Parked, Self::Finished | Self::Lost | Self::Overdue) => {
                or(is_serving, EndAction::Stay, EndAction::Remove)
            }
            (ClientState::Parked, Self::Closed { .. } | Self::Slow) => EndAction::Remove,
            (ClientState::Closing, Self::Closed { .. } | Self::Slow) => EndAction::Stay,
            (_, Self::Parted { .. }) => EndAction::Stay,
        }
    }
}

impl ClientState {
    fn of(client: &Client) -> Self {
        if client.link.is_gone() {
            Self::Parked
        } else if client.closing.is_none() {
            Self::Open
        } else if client.session.is_parked() {
            Self::Parting
        } else {
            Self::Closing
        }
    }
}

impl EventLoop {
    /// Ends a connection, unless it has ended, and everything that ends with it.
    pub(super) fn end(&mut self, index: usize, ending: Ending<'_>) {
        let is_serving = self.shard.is_serving();
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match ending {
            Ending::Finished => client.link.hung_up(),
            Ending::Overdue => client.link.reset(),
            _ => {}
        }
        let state = ClientState::of(client);
        let has_output = !client.outgoing.is_empty();
        let waits = is_serving && client.session.is_resumable();
        let action = ending.action(state, has_output, waits, is_serving);
        if ending == Ending::Slow && action != EndAction::Stay {
            self.note_slow(index, state);
        }
        match action {
            EndAction::Stay => {}
            EndAction::Close => self.close(index, ending),
            EndAction::Part => self.part(index, ending),
            EndAction::Park => self.detach_and_park(index),
            EndAction::Remove => self.remove(index),
        }
    }

    /// Ends the session. Its output is written, then the close frame.
    fn close(&mut self, index: usize, ending: Ending<'_>) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let (code, reason) = ending.close_frame();
        if client.closing.is_none() {
            let closing = client.closing_from(self.shard.now, &self.shard.limits);
            client.close(code, reason, closing);
        }
        if ending == Ending::Slow
            && let Some(closing) = &mut client.closing
        {
            closing.extension = None;
        }
        self.unsent.add(index, &mut client.outgoing);
        // A session that is parked has waited in vain.
        let is_lost = client.session.is_parked()
            || !matches!(ending, Ending::Closed { .. }) && !client.session.is_leaving();
        self.end_session(index, is_lost);
        self.set_timer(index);
    }

    /// Ends the connection like [`close`](Self::close), but the session waits for another one.
    fn part(&mut self, index: usize, ending: Ending<'_>) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let (code, reason) = ending.close_frame();
        let closing = client.closing_from(self.shard.now, &self.shard.limits);
        client.part(code, reason, closing);
        self.unsent.add(index, &mut client.outgoing);
        self.pause_followers(index);
        self.park(index, &Frames::default());
    }

    /// The connection is gone, and the session waits for another one.
    fn detach_and_park(&mut self, index: usize) {
        let unwritten = self.detach(index);
        let client = self.clients.get(index);
        if client.is_some_and(|client| !client.session.is_parked()) {
            self.park(index, &unwritten);
        }
        // No output waits for the connection any more, so the session need not wait for it either.
        self.refill(index, &mut Output::default());
        self.set_timer(index);
    }

    /// Drops a client's connection. Returns the messages that were not written to it.
    pub(super) fn detach(&mut self, index: usize) -> Frames {
        let client = self.clients.get_mut(index);
        let Some(client) = client.filter(|it| !it.link.is_gone()) else {
            return Frames::default();
        };
        client.link.deregister(self.poll.registry());
        client.link = Link::Gone;
        client.closing = None;
        let unwritten = client.outgoing.abandon();
        client.report_output();
        self.rewind(index, unwritten)
    }

    /// Lets a session wait for its client.
    fn park(&mut self, index: usize, unwritten: &Frames) {
        let mut out = Output::default();
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        session.park(unwritten, self.shard.now, &mut out);
        client.tell_observers(true);
        client.counted.parked = Some(GaugeGuard::new(&self.shard.shared.host.gauges));
        let connection = client.context.log_id();
        tracing::debug!(%connection, "A client was lost; its session waits.");
        client.count_input();
        self.release_rival(index);
        self.carry_out(index, &mut out);
    }

    /// The client is gone for good.
    fn remove(&mut self, index: usize) {
        let client = self.clients.get(index);
        let is_leaving = client.is_some_and(|client| client.session.is_leaving());
        self.end_session(index, self.shard.is_serving() && !is_leaving);
        self.detach(index);
        self.following.ledgers.forget(index);
        if let Some(client) = self.clients.remove(index) {
            tracing::debug!(connection = %client.context.log_id(), "A client left.");
            client.context.closed();
        }
    }

    /// `is_lost`: the client is gone, and has not said that it leaves.
    pub(super) fn end_session(&mut self, index: usize, is_lost: bool) {
        self.leave_upstream(index);
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.session.end(&mut Output::default());
        client.waiting.forget_mail();
        if is_lost {
            client.tell_observers_of_loss();
        }
        // All that started here, including subscriptions that the session has ended in this very
        // turn but that were not stopped yet.
        let subscriptions = std::mem::take(&mut client.subscriptions);
        if let Some(keeper) = client.change.take().and_then(|change| change.keeper) {
            self.fan_out.forget(keeper);
        }
        if client.counted.session.is_some() {
            self.shard
                .shared
                .resumable
                .remove(client.context.session_id());
        }
        client.counted.parked = None;
        self.release_rival(index);
        for running in subscriptions {
            running.end(&mut self.fan_out, &mut self.following);
        }
    }

    /// Logs that a client is closed because of the output that waits for it, and drops that output.
    fn note_slow(&mut self, index: usize, state: ClientState) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = client.context.log_id();
        if state == ClientState::Open {
            let gauges = &self.shard.shared.host.gauges;
            gauges.slow_clients.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%connection, "A client does not read; it is closed.");
            client.outgoing.drop_queue();
        } else {
            // Its connection is gone, or only its last output is still being written.
            tracing::info!(%connection, "Too much output waits for a client that is gone.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTED: Ending<'static> = Ending::Parted {
        code: 1000,
        reason: "",
    };
    const CLOSED: Ending<'static> = Ending::Closed {
        code: 1002,
        reason: "Protocol error",
    };

    /// The actions of a client that is open, closing, parting and parked; without output left.
    fn actions(ending: Ending<'_>, waits: bool, is_serving: bool) -> [EndAction; 4] {
        let states = [
            ClientState::Open,
            ClientState::Closing,
            ClientState::Parting,
            ClientState::Parked,
        ];
        states.map(|state| ending.action(state, false, waits, is_serving))
    }

    #[test]
    fn found_403_a_session_that_can_wait_outlives_its_connection() {
        use EndAction::{Close, Park, Part, Remove, Stay};
        for ending in [Ending::Finished, Ending::Lost, Ending::Overdue] {
            assert_eq!(actions(ending, true, true), [Park, Remove, Park, Stay]);
            assert_eq!(actions(ending, false, true), [Remove, Remove, Park, Stay]);
        }
        assert_eq!(actions(PARTED, true, true), [Part, Stay, Stay, Stay]);
        assert_eq!(actions(PARTED, false, true), [Close, Stay, Stay, Stay]);
    }

    #[test]
    fn found_403_nobody_waits_for_what_is_closed_or_a_server_that_ends() {
        use EndAction::{Close, Remove, Stay};
        for ending in [CLOSED, Ending::Slow] {
            assert_eq!(actions(ending, true, true), [Close, Stay, Close, Remove]);
        }
        for ending in [Ending::Finished, Ending::Lost, Ending::Overdue] {
            assert_eq!(actions(ending, false, false), [Remove; 4]);
        }
        assert_eq!(actions(PARTED, false, false), [Close, Stay, Stay, Stay]);
    }

    #[test]
    fn found_403_who_has_finished_sending_gets_what_waits_for_it() {
        let action = |state, waits| Ending::Finished.action(state, true, waits, true);
        assert_eq!(action(ClientState::Open, true), EndAction::Part);
        assert_eq!(action(ClientState::Open, false), EndAction::Close);
        assert_eq!(action(ClientState::Closing, false), EndAction::Stay);
        assert_eq!(action(ClientState::Parting, true), EndAction::Stay);
    }
}
