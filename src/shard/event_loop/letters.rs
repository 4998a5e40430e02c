//! The letters that a shard has taken out of its inbox; they are read one by one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use updraft_bus::internal::InternalChannel;
use updraft_bus::{Batch, Gap, Message};
use updraft_protocol::session::Output;

use super::EventLoop;
use super::shard_context::Phase;
use crate::shard::inbox::{Delivery, Inbox, Letter};

/// The capacity for letters that is kept between turns.
const KEPT_LETTERS: usize = 1024;

#[derive(Default)]
pub(super) struct Letters {
    /// The inbox is emptied into this. The channels of dropped messages stay in it until their
    /// subscriptions are told.
    delivery: Delivery,
    /// Letters that were not read, because the messages before them must be written first.
    waiting: VecDeque<Letter>,
    /// The batch that is being delivered, and how many of its messages were delivered.
    batch: Option<(Batch, usize)>,
}

impl Letters {
    /// Whether nothing is left that was taken out of the inbox.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.batch.is_none()
    }

    /// Drops the letters that are left, because nobody reads them.
    pub(super) fn discard(&mut self) {
        self.waiting.drain(..).for_each(Letter::discard);
    }

    fn take(&mut self, inbox: &Inbox) {
        inbox.take(&mut self.delivery);
        // New clients need not wait until a burst for others is delivered.
        let letters = &mut self.delivery.letters;
        letters.sort_by_key(|letter| !matches!(letter, Letter::Arrival(_)));
        self.waiting.extend(letters.drain(..));
    }

    fn take_dropped(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.delivery.dropped)
    }
}

impl EventLoop {
    pub(super) fn read_letters(&mut self, out: &mut Output) {
        if !self.deliver_batch(out) {
            return;
        }
        if self.letters.waiting.is_empty() {
            self.tell_of_dropped(out);
            self.letters.take(&self.shard.inbox);
        }
        while let Some(letter) = self.letters.waiting.pop_front() {
            self.read_letter(letter, out);
            if self.letters.batch.is_some() {
                // Gaps are told later: the dropped messages came after these letters.
                return;
            }
        }
        self.letters.waiting.shrink_to(KEPT_LETTERS);
        self.tell_of_dropped(out);
    }

    /// Reads one letter. The rest of a batch stays in `letters` if it must wait for writes.
    fn read_letter(&mut self, letter: Letter, out: &mut Output) {
        match letter {
            Letter::Batch(batch) => {
                self.letters.batch = Some((batch, 0));
                self.deliver_batch(out);
            }
            Letter::Mail { to, address, mail } => self.mail(to, &address, mail, out),
            Letter::Arrival(arrival) => self.arrive(*arrival, out),
            Letter::Polling { session, request } => self.handle_request(&session, *request, out),
            Letter::Newcomer(newcomer) => self.newcomer(*newcomer, out),
            Letter::Gap(gap) => self.bus_was_away(gap, out),
            Letter::Feed(news) => self.hear_of_feed(news, out),
            Letter::Refused(channel, error) => self.refused(&channel, error, out),
            Letter::Upstream { to, opened } => self.upstream_opened(to, *opened, out),
            Letter::List(listing) => self.list(listing),
            Letter::ShutDown { spread } => self.drain(spread),
            Letter::Stop => self.shard.phase = Phase::Stopped,
        }
    }

    /// Delivers the rest of a batch. Returns `false` if some of it must wait for writes.
    fn deliver_batch(&mut self, out: &mut Output) -> bool {
        let Some((batch, delivered)) = self.letters.batch.take() else {
            return true;
        };
        for (number, message) in batch.iter().enumerate().skip(delivered) {
            if self.unsent.is_far_ahead() {
                self.letters.batch = Some((batch, number));
                return false;
            }
            self.deliver_message(message, out);
        }
        true
    }

    fn deliver_message(&mut self, message: &Arc<Message>, out: &mut Output) {
        if message.is_on(InternalChannel::Orders) {
            self.apply_order(message, out);
        } else {
            self.deliver(message, out);
        }
    }

    fn bus_was_away(&mut self, gap: Gap, out: &mut Output) {
        let Gap {
            generation,
            channels,
            ..
        } = gap;
        let count = channels.len();
        tracing::warn!(
            generation,
            count,
            "The bus was away; its channels have a gap."
        );
        self.gap(channels.iter().cloned(), out);
    }

    /// Tells of messages that were dropped after the letters of this delivery; they are a gap.
    fn tell_of_dropped(&mut self, out: &mut Output) {
        let dropped = self.letters.take_dropped();
        if !dropped.is_empty() {
            let channels = dropped.len();
            tracing::warn!(
                channels,
                "A shard could not keep up; messages were dropped."
            );
            self.gap(dropped, out);
        }
    }
}
