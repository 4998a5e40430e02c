//! What a client was sent and has not confirmed: it may come back over another connection and have missed it.
//! Frames are moved here when they are written, so that this holds references to what all their receivers share.

use std::collections::VecDeque;
use std::num::NonZero;

use crate::message::Frame;

/// The latest messages of a session, numbered as a resuming client counts them: the first one is number 1.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Filled by `push` and `keep`, drained from the front as messages are confirmed; bounded by the configuration, and
    /// without any memory while it is empty.
    frames: VecDeque<Frame>,
    /// Bytes of text in `frames`.
    bytes: usize,
    /// Messages before the first of `frames`.
    before: u64,
}

/// What the client's answers to pings prove.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Pings that the client has not answered.
    unanswered: u32,
    /// What had been sent before the first of them.
    mark: Option<NonZero<u64>>,
}

impl History {
    /// Of a client that has received so many messages, and missed none.
    pub(super) fn starting_after(received: u64) -> Self {
        Self {
            before: received,
            ..Self::default()
        }
    }

    /// Adds a message; the oldest ones go when there are too many.
    pub(super) fn push(&mut self, frame: Frame, messages: usize, bytes: usize) {
        self.keep(frame);
        while self.frames.len() > messages || self.bytes > bytes {
            self.drop_oldest();
        }
    }

    /// Adds a message, and keeps all that are there.
    pub(super) fn keep(&mut self, frame: Frame) {
        self.bytes = self.bytes.saturating_add(frame.len());
        if self.frames.capacity() == 0 {
            // Most sessions are idle, and have not sent more than this since the last ping.
            self.frames.reserve_exact(2);
        }
        self.frames.push_back(frame);
    }

    /// The client has received so many messages.
    pub(super) fn confirm(&mut self, received: u64) {
        while self.before < received && !self.frames.is_empty() {
            self.drop_oldest();
        }
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    /// Messages before those that are kept.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// The number of the last message.
    pub(super) fn end(&self) -> u64 {
        self.before.saturating_add(self.frames.len() as u64)
    }

    /// Bytes of text.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    pub(super) fn into_frames(self) -> VecDeque<Frame> {
        self.frames
    }

    fn drop_oldest(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes = self.bytes.saturating_sub(frame.len());
            self.before = self.before.saturating_add(1);
        }
    }
}

impl Pings {
    /// A ping goes out, behind so many messages.
    pub(super) fn sent(&mut self, messages: u64) {
        // Pongs do not say which ping they answer. The first one after a time without open pings is sure to answer this.
        if self.unanswered == 0 {
            // None, where there is nothing to prove.
            self.mark = NonZero::new(messages);
        }
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// A pong has come: how many messages it proves to have arrived.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.mark.take().map(NonZero::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes() {
        let mut history = History::starting_after(1);
        for _ in 0..4 {
            history.push(frame("abcd"), 3, 100);
        }
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (2, 5, 12)
        );
        history.push(frame("0123456789"), 3, 14);
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (4, 6, 14)
        );
        // One that is too long alone leaves nothing to go back to.
        history.push(frame("0123456789abcdef"), 3, 14);
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (7, 7, 0)
        );
    }

    #[test]
    fn what_is_confirmed_is_gone_with_its_memory() {
        let mut history = History::default();
        for _ in 0..5 {
            history.push(frame("x"), 10, 100);
        }
        history.confirm(3);
        assert_eq!((history.before(), history.end()), (3, 5));
        history.confirm(2);
        assert_eq!((history.before(), history.end()), (3, 5));
        history.confirm(5);
        assert_eq!((history.end(), history.frames.capacity()), (5, 0));
    }

    #[test]
    fn a_late_pong_proves_no_more_than_it_can() {
        let mut pings = Pings::default();
        assert_eq!(pings.answered(), None);
        pings.sent(5);
        pings.sent(7);
        assert_eq!(pings.answered(), Some(5));
        // It may be the second one that is answered next.
        pings.sent(9);
        assert_eq!(pings.answered(), None);
        assert_eq!(pings.answered(), None);
        pings.sent(9);
        assert_eq!(pings.answered(), Some(9));
    }
}
