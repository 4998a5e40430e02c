//! What waits for a follower's client, and when that is less: its records are written, or, where
//! the client's place is kept, the client has confirmed them.

use updraft_protocol::session::Run;
use updraft_topics::Place;

use super::follower::Pace;
use super::{Following, TopicFollowerId, index};

impl Following {
    /// So many messages of a connection's queue were written; `follower` knows the followers of its
    /// subscriptions.
    pub(in crate::shard) fn written(
        &mut self,
        connection: usize,
        count: usize,
        follower: impl Fn(Run) -> Option<TopicFollowerId>,
    ) {
        let mut ledgers = std::mem::take(&mut self.ledgers);
        if let Some(ledger) = ledgers.of(connection) {
            let mut moved = Vec::new();
            ledger.written(count, |run, records, bytes| {
                if let Some(id) = follower(run)
                    && self.drained(id, records, bytes)
                {
                    moved.push((run, id));
                }
            });
            for (run, id) in moved {
                self.take_for_confirmed(id, ledger.first_of(run));
            }
            ledgers.tidy(connection);
        }
        self.ledgers = ledgers;
    }

    /// A ping has left behind all that followers have queued, and no other is unanswered.
    pub(in crate::shard) fn pinged(&mut self, id: TopicFollowerId) {
        if let Some((follower, topic)) = self.follower_and_topic(id) {
            follower.pinged(topic);
        }
    }

    /// That ping was answered.
    pub(in crate::shard) fn answered(&mut self, id: TopicFollowerId) {
        if let Some(follower) = self.followers.get_mut(index(id)) {
            follower.answered();
            self.fill(id);
        }
    }

    /// Where nothing waits for the client, its place is that of the follower, also if that has only
    /// passed records over.
    pub(in crate::shard) fn settle(&mut self, id: TopicFollowerId) {
        if let Some((follower, topic)) = self.follower_and_topic(id) {
            follower.settle(topic);
        }
    }

    /// Whether its client is to confirm something.
    pub(in crate::shard) fn wants_receipt(&self, id: TopicFollowerId) -> bool {
        let follower = self.followers.get(index(id));
        follower.is_some_and(|it| it.waiting > 0 && it.has_receipts())
    }

    /// The client is told where the follower begins. It has to confirm that, if its cursor is
    /// somewhere else.
    pub(in crate::shard) fn told_beginning(&mut self, id: TopicFollowerId) {
        if let Some((follower, topic)) = self.follower_and_topic(id) {
            follower.told_beginning(topic);
        }
    }

    /// So many records, of so many bytes, were written. Returns whether that moves a cursor.
    fn drained(&mut self, id: TopicFollowerId, records: u32, bytes: u32) -> bool {
        let Some(follower) = self.followers.get_mut(index(id)) else {
            return false;
        };
        if follower.has_receipts() {
            return false;
        }
        follower.free(records, bytes);
        let has_cursor = follower.cursor.is_some();
        self.fill(id);
        has_cursor
    }

    /// What was written counts as received, up to the first record that was not.
    fn take_for_confirmed(&mut self, id: TopicFollowerId, unwritten: Option<Place>) {
        if let Some((follower, topic)) = self.follower_and_topic(id) {
            follower.keep(unwritten.unwrap_or(follower.place), topic);
        }
    }

    /// A follower whose window was full goes on when half of that is free.
    fn fill(&mut self, id: TopicFollowerId) {
        let window = self.window;
        let Some(follower) = self.followers.get(index(id)) else {
            return;
        };
        let is_half = follower.waiting as usize <= window.records / 2
            && follower.waiting_bytes as usize <= window.bytes / 2;
        if follower.pace == Pace::Full && is_half {
            self.set_due(id);
        }
    }
}
