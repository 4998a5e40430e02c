//! From the bus to sessions: messages to all who follow their channel, and word of what may be missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use updraft_bus::internal::InternalChannel;
use updraft_bus::{BusError, Message};
use updraft_protocol::session::Run;

use super::EventLoop;
use crate::base::error::Error;
use crate::mapping::Event;
use crate::shard::fan_out::Outcome;

/// What may wait for connections whose turn to be written to has not come, in bytes: so much for all together, or so
/// much for each of them. It is enough for many messages to share a write. More would only cost memory, and keep others
/// waiting behind it.
const AHEAD: usize = 4 * 1024 * 1024;
const AHEAD_EACH: usize = 32 * 1024;

impl EventLoop {
    /// Delivers what is left of a batch; `false` if some of it must wait for writes.
    pub(super) fn deliver_batch(&mut self) -> bool {
        let Some((batch, delivered)) = self.batch.take() else {
            return true;
        };
        for (number, message) in batch.iter().enumerate().skip(delivered) {
            if self.ahead > AHEAD.max(self.unsent.len().saturating_mul(AHEAD_EACH)) {
                self.batch = Some((batch, number));
                return false;
            }
            if message.is_on(InternalChannel::Orders) {
                self.obey(message);
            } else {
                self.deliver(message);
            }
        }
        true
    }

    /// A message of the bus, to everybody here who follows its channel.
    fn deliver(&mut self, message: &Arc<Message>) {
        let Self {
            fan_out,
            clients,
            unsent,
            out,
            ahead,
            limits,
            ..
        } = self;
        let mut lost = Vec::new();
        let mut actions = Vec::new();
        fan_out.deliver(message, |index, run, outcome| {
            let tail = match outcome {
                Outcome::Event(tail) => tail,
                Outcome::Nothing => return,
                Outcome::Lost => return lost.push((index, Some(run))),
            };
            let Some(client) = clients.get_mut(index) else {
                return;
            };
            if client.misses(run, limits) {
                return;
            }
            let Some(head) = client.session.event(run, &tail, out) else {
                actions.extend(out.actions.drain(..).map(|action| (index, action)));
                if client.session.is_parked() {
                    client.count_input();
                }
                return;
            };
            let outgoing = &mut client.outgoing;
            outgoing.push_event(head, tail);
            if !outgoing.is_listed && !outgoing.is_blocked {
                outgoing.is_listed = true;
                unsent.push_back(index);
            }
            if outgoing.is_listed {
                *ahead = ahead.saturating_add(outgoing.count_queued());
            }
            let waiting = outgoing.bytes();
            if waiting > limits.flow && !client.is_full || waiting > limits.events {
                lost.push((index, None));
            }
        });
        for (index, action) in actions {
            self.act(index, action);
        }
        for (index, run) in lost {
            match run {
                Some(run) => {
                    self.missed(index, run);
                    self.settle(index);
                }
                None => self.make_room(index),
            }
        }
    }

    /// Messages of these channels may be missing: each subscription that follows any of them is told, once.
    pub(super) fn gap(&mut self, channels: impl IntoIterator<Item = Arc<str>>) {
        for (index, run) in self.fan_out.missed(channels) {
            self.missed(index, run);
            self.settle(index);
        }
    }

    /// The bus no longer carries a channel: whoever follows it is told, instead of hearing nothing.
    pub(super) fn refused(&mut self, channel: &str, error: BusError) {
        let mut followers: Vec<(usize, Run)> = self.fan_out.followers(channel).collect();
        followers.sort_unstable();
        followers.dedup();
        let error = Error::not_followed(error).into_wire();
        for (index, run) in followers {
            let client = self.clients.get_mut(index);
            if let Some(session) = client.and_then(|client| client.session.ddp_mut()) {
                session.stop(run, Some(&error), &mut self.out);
                self.settle(index);
            }
        }
    }

    /// Events of a subscription may be missing from here on: its handler is told, and the client of what that says.
    pub(super) fn missed(&mut self, index: usize, run: Run) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(running) = client.running_mut(run) else {
            return;
        };
        self.shared.host.gauges.gaps.fetch_add(1, Ordering::Relaxed);
        let events: Vec<Event> = running.events_of_gap().collect();
        client.session.gap(run);
        let encoding = client.session.ddp().and_then(|ddp| ddp.encoding(run));
        for event in events {
            if let Some(tail) = encoding.and_then(|encoding| event.into_tail_alone(encoding))
                && let Some(head) = client.session.gap_event(run, &tail, &mut self.out)
            {
                client.outgoing.push_event(head, tail);
            }
        }
        self.list(index);
    }
}
