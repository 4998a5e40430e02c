//! Messages that were sent and are not confirmed: the client may come back over another connection
//! and have missed them. Messages are moved here when they are written; text shared with other
//! clients is not copied.

use std::num::NonZero;

use super::config::Resumption;
use crate::message::{FrameRef, Frames};

/// The latest messages of a session, numbered as a resuming client counts them: the first one is
/// number 1.
#[derive(Debug, Default)]
pub(super) struct History {
    /// `None` if no message is kept. Filled by `record` and `keep`, drained from the front as
    /// messages are confirmed; bounded by the configuration.
    frames: Option<Box<Frames>>,
    /// How many messages came before the first of `frames`.
    before: u64,
}

/// What the client's pongs prove to have arrived.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Pings that the client has not answered.
    unanswered: u32,
    /// How many messages had been sent before the first of these pings.
    mark: Option<NonZero<u64>>,
}

impl History {
    /// The history of a client that has received this many messages and missed none.
    pub(super) fn starting_after(received: u64) -> Self {
        Self {
            before: received,
            ..Self::default()
        }
    }

    /// Moves the first `count` messages of `from` here: they have been written. The oldest ones go
    /// when there are too many.
    pub(super) fn record(&mut self, from: &mut Frames, count: usize, settings: &Resumption) {
        let most = settings.messages.saturating_add(settings.records);
        let left = self.skip_excess(from, count, most);
        if !from.has_messages() {
            return from.drop_front(left);
        }
        let frames = self.frames.get_or_insert_default();
        frames.take(from, left);
        while !frames.is_empty() && exceeds(frames, settings) {
            frames.pop_front();
            self.before = self.before.saturating_add(1);
        }
        frames.shrink();
        self.free_if_empty();
    }

    /// Skips the first messages if there are more than can be kept. Returns how many are left.
    fn skip_excess(&mut self, from: &mut Frames, count: usize, messages: usize) -> usize {
        if count <= messages {
            return count;
        }
        let kept = from.iter().take(count).filter(|frame| frame.is_kept());
        let mut excess = kept.count().saturating_sub(messages);
        if excess > 0 {
            self.before = self.end().saturating_add(excess as u64);
            self.frames = None;
        }
        let mut skipped: usize = 0;
        while excess > 0 {
            let is_kept = from.iter().next().is_some_and(FrameRef::is_kept);
            excess = excess.saturating_sub(usize::from(is_kept));
            from.pop_front();
            skipped = skipped.saturating_add(1);
        }
        count.saturating_sub(skipped)
    }

    /// Adds a message if the client counts it. None of those already kept is dropped.
    pub(super) fn keep(&mut self, frame: FrameRef<'_>) {
        if frame.is_kept() {
            self.frames.get_or_insert_default().push_ref(frame);
        }
    }

    /// The client has received this many messages.
    pub(super) fn confirm(&mut self, received: u64) {
        if let Some(frames) = &mut self.frames {
            while self.before < received && !frames.is_empty() {
                frames.pop_front();
                self.before = self.before.saturating_add(1);
            }
            self.free_if_empty();
        }
    }

    /// How many messages came before those that are kept.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// The number of the last message.
    pub(super) fn end(&self) -> u64 {
        let messages = self.frames.as_ref().map_or(0, |frames| frames.len());
        self.before.saturating_add(messages as u64)
    }

    /// Bytes of the text of the kept messages.
    pub(super) fn bytes(&self) -> usize {
        self.frames.as_ref().map_or(0, |frames| frames.bytes())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = FrameRef<'_>> {
        self.frames.iter().flat_map(|frames| frames.iter())
    }

    fn free_if_empty(&mut self) {
        self.frames.take_if(|frames| frames.is_empty());
    }
}

/// Whether there are more messages than are kept. Records of topics are kept besides.
fn exceeds(frames: &Frames, settings: &Resumption) -> bool {
    let records = frames.records();
    let bytes = if records == 0 {
        settings.bytes
    } else {
        settings.bytes.saturating_add(settings.record_bytes)
    };
    frames.len().saturating_sub(records) > settings.messages
        || records > settings.records
        || frames.bytes() > bytes
}

impl Pings {
    /// A ping is sent behind this many messages. Returns whether its answer will prove that they
    /// have arrived.
    pub(super) fn sent(&mut self, messages: u64) -> bool {
        // Pongs do not name their ping. Only a ping that was sent while none was unanswered is
        // certain to match the next pong.
        let is_only = !self.is_unanswered();
        if is_only {
            // `None` if there is nothing to prove.
            self.mark = NonZero::new(messages);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        is_only && self.mark.is_some()
    }

    /// Whether the client has not answered all of them.
    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered > 0
    }

    /// A pong has come. Returns how many messages it proves to have arrived.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.mark.take().map(NonZero::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Frame;

    fn settings((messages, bytes): (usize, usize)) -> Resumption {
        Resumption {
            messages,
            bytes,
            ..Resumption::default()
        }
    }

    fn add(history: &mut History, text: &str, limits: (usize, usize)) {
        let mut frames = Frames::from_iter([Frame::Text(text.into())]);
        history.record(&mut frames, 1, &settings(limits));
        assert!(frames.is_empty());
    }

    #[test]
    fn of_many_that_are_written_together_the_latest_stay() {
        let mut history = History::starting_after(1);
        add(&mut history, "old", (3, 100));
        let ping = || Frame::Transient("ping".into());
        let texts = (0..10_000).map(|number| Frame::Text(number.to_string().into()));
        let mut frames: Frames = texts.flat_map(|text| [ping(), text, ping()]).collect();
        frames.push(Frame::Text("unwritten".into()));
        history.record(&mut frames, 30_000, &settings((3, 100)));
        assert_eq!(frames.len(), 1);
        assert_eq!((history.before(), history.end()), (9_999, 10_002));
        let kept = history.iter().filter_map(FrameRef::to_frame);
        let kept: Vec<String> = kept.map(|frame| frame.to_text()).collect();
        assert_eq!(kept, ["9997", "9998", "9999"]);
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes() {
        let mut history = History::starting_after(1);
        for _ in 0..4 {
            add(&mut history, "abcd", (3, 100));
        }
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (2, 5, 12)
        );
        add(&mut history, "0123456789", (3, 14));
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (4, 6, 14)
        );
        // A single message that is too long leaves nothing to resume from.
        add(&mut history, "0123456789abcdef", (3, 14));
        assert_eq!(
            (history.before(), history.end(), history.bytes()),
            (7, 7, 0)
        );
    }

    #[test]
    fn records_of_topics_have_bounds_of_their_own() {
        let settings = Resumption {
            messages: 2,
            records: 3,
            bytes: 20,
            record_bytes: 40,
            ..Resumption::default()
        };
        let head = crate::message::Head::from(String::from("h"));
        let mut history = History::starting_after(1);
        let mut add = |value: &str| {
            let mut frames = Frames::default();
            if value.starts_with('t') {
                frames.push(Frame::Text(value.into()));
            } else {
                let tail = crate::vent::Encoding::Vent.record_tail(value, &"p");
                frames.push_event(&head, tail);
            }
            history.record(&mut frames, 1, &settings);
            (history.before(), history.end())
        };
        assert_eq!(add("t1"), (1, 2));
        assert_eq!(add("1"), (1, 3));
        assert_eq!(add("2"), (1, 4));
        assert_eq!(add("t2"), (1, 5));
        assert_eq!(add("3"), (1, 6));
        // One record too many: the oldest goes, with what is before it.
        assert_eq!(add("4"), (3, 7));
        // And one text too many.
        assert_eq!(add("t3"), (3, 8));
        assert_eq!(add("t4"), (5, 9));
        // What is too long goes alone.
        assert_eq!(add(&"5".repeat(60)), (10, 10));
        assert_eq!(add("t5"), (10, 11));
    }

    #[test]
    fn what_is_confirmed_is_gone_with_its_memory() {
        let mut history = History::default();
        for _ in 0..5 {
            add(&mut history, "x", (10, 100));
        }
        history.confirm(3);
        assert_eq!((history.before(), history.end()), (3, 5));
        history.confirm(2);
        assert_eq!((history.before(), history.end()), (3, 5));
        history.confirm(5);
        assert_eq!(
            (history.end(), usize::from(history.frames.is_some())),
            (5, 0)
        );
    }

    #[test]
    fn a_late_pong_proves_no_more_than_it_can() {
        let mut pings = Pings::default();
        assert_eq!(pings.answered(), None);
        assert!(pings.sent(5));
        assert!(!pings.sent(7));
        assert_eq!(pings.answered(), Some(5));
        // The next pong may answer the second ping.
        assert!(!pings.sent(9));
        assert_eq!(pings.answered(), None);
        assert_eq!(pings.answered(), None);
        assert!(pings.sent(9));
        assert_eq!(pings.answered(), Some(9));
    }
}
