//! From the bus to sessions: messages for all who follow a channel, and notice of gaps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use updraft_bus::{BusError, Message};
use updraft_protocol::session::{Output, Run};

use super::EventLoop;
use crate::base::error::Error;
use crate::mapping::Event;
use crate::shard::fan_out::Outcome;

/// What a connection needs after a message was delivered to all, in addition to its turn to be
/// written to.
enum FollowUp {
    /// The session has asked for something.
    Output(Output),
    /// The event was lost before it reached the session.
    Lost(Run),
    /// There is hardly room for more output.
    Full,
}

impl EventLoop {
    /// Delivers a message of the bus to all who follow its channel on this shard.
    pub(super) fn deliver(&mut self, message: &Arc<Message>, out: &mut Output) {
        let Self {
            fan_out,
            clients,
            unsent,
            shard,
            ..
        } = self;
        let limits = &shard.limits;
        let mut follow_ups = Vec::new();
        fan_out.deliver(message, |index, run, outcome| {
            let tail = match outcome {
                Outcome::Event(tail) => tail,
                Outcome::Nothing => return,
                Outcome::Lost => return follow_ups.push((index, FollowUp::Lost(run))),
            };
            let Some(client) = clients.get_mut(index) else {
                return;
            };
            if client.must_drop_event(run, limits) {
                return;
            }
            let Some(head) = client.session.event(run, &tail, out) else {
                if !out.actions.is_empty() {
                    let output = std::mem::take(out);
                    follow_ups.push((index, FollowUp::Output(output)));
                }
                if client.session.is_parked() {
                    client.count_input();
                }
                return;
            };
            let outgoing = &mut client.outgoing;
            outgoing.push_event(head, tail);
            unsent.add_event(index, outgoing);
            let waiting = outgoing.bytes();
            if waiting > limits.flow && !client.waiting.is_full || waiting > limits.events {
                follow_ups.push((index, FollowUp::Full));
            }
        });
        for (index, follow_up) in follow_ups {
            match follow_up {
                FollowUp::Output(mut output) => self.carry_out(index, &mut output),
                FollowUp::Lost(run) => {
                    self.missed(index, run, out);
                    self.carry_out(index, out);
                }
                FollowUp::Full => self.make_room(index, out),
            }
        }
    }

    /// Messages of these channels may be missing: tells each subscription that follows one of them,
    /// once.
    pub(super) fn gap(&mut self, channels: impl IntoIterator<Item = Arc<str>>, out: &mut Output) {
        for (index, run) in self.fan_out.missed(channels) {
            self.missed(index, run, out);
            self.carry_out(index, out);
        }
    }

    /// The bus no longer carries a channel: ends the subscriptions that follow it with an error,
    /// instead of leaving them silent.
    pub(super) fn refused(&mut self, channel: &str, error: BusError, out: &mut Output) {
        let mut followers: Vec<(usize, Run)> = self.fan_out.followers(channel).collect();
        followers.sort_unstable();
        followers.dedup();
        let error = Error::not_followed(error).into_wire();
        for (index, run) in followers {
            if let Some(client) = self.clients.get_mut(index) {
                client.session.stop(run, Some(&error), out);
                self.carry_out(index, out);
            }
        }
    }

    /// Events of a subscription may be missing from here on: calls its handler's gap functions, and
    /// sends the events that they return.
    pub(super) fn missed(&mut self, index: usize, run: Run, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(running) = client.running_mut(run) else {
            return;
        };
        let gauges = &self.shard.shared.host.gauges;
        gauges.gaps.fetch_add(1, Ordering::Relaxed);
        let events: Vec<Event> = running.events_of_gap().collect();
        client.session.gap(run);
        let encoding = client.session.ddp().and_then(|ddp| ddp.encoding(run));
        for event in events {
            if let Some(tail) = encoding.and_then(|encoding| event.into_tail_alone(encoding))
                && let Some(head) = client.session.gap_event(run, &tail, out)
            {
                client.outgoing.push_event(head, tail);
            }
        }
        self.unsent.add(index, &mut client.outgoing);
    }
}
