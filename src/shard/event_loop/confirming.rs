//! Clients whose places in topics are kept confirm what they have received, by answering pings.

use std::time::Duration;

use updraft_protocol::session::Output;

use super::EventLoop;
use crate::shard::following::TopicFollowerId;

impl EventLoop {
    /// A client was sent a ping whose answer proves that it has all that was sent before.
    pub(super) fn pinged(&mut self, index: usize) {
        for id in self.topic_followers(index) {
            self.following.pinged(id);
        }
    }

    /// The client has answered it.
    pub(super) fn answered(&mut self, index: usize) {
        for id in self.topic_followers(index) {
            self.following.answered(id);
        }
    }

    /// A client is to confirm what it has been sent, after this time at the latest.
    pub(super) fn want_receipt(&mut self, index: usize, after: Duration) {
        let by = self.shard.now.saturating_add(after);
        let client = self.clients.get_mut(index);
        let session = client.and_then(|client| client.session.ddp_mut());
        if session.is_some_and(|session| session.want_receipt(by)) {
            self.set_timer(index);
        }
    }

    /// Asks a client for a receipt, if that is due.
    pub(super) fn ask_for_receipt(&mut self, index: usize, out: &mut Output) {
        let now = self.shard.now;
        let client = self.clients.get_mut(index);
        if let Some(session) = client.and_then(|client| client.session.ddp_mut()) {
            session.ask_for_receipt(now, out);
            if !out.frames.is_empty() {
                self.carry_out(index, out);
            }
        }
    }

    /// Looks after the cursor of a follower that has been handed what there is.
    pub(super) fn look_after_cursor(
        &mut self,
        index: usize,
        id: TopicFollowerId,
        out: &mut Output,
    ) {
        self.following.settle(id);
        if self.following.wants_receipt(id) {
            self.ask_for_receipt(index, out);
        }
    }

    fn topic_followers(&self, index: usize) -> Vec<TopicFollowerId> {
        let client = self.clients.get(index);
        let subscriptions = client.map_or(&[][..], |client| &client.subscriptions);
        subscriptions.iter().filter_map(|it| it.follower).collect()
    }
}
