//! The cursor of a follower. It moves with what the client has confirmed: a ping that was answered
//! proves that everything sent before it has arrived.

use std::time::Duration;

use updraft_topics::{Place, Position, TopicName};

use super::{Follower, Pace};
use crate::cursor::{Cursor, CursorSettings, Kept};
use crate::feed::Room;

/// A cursor, and what its client is asked to confirm.
pub(in crate::shard::following) struct FollowerCursor {
    cursor: Cursor,
    /// Whether the client answers pings. Otherwise what was written counts as received.
    answers_pings: bool,
    /// Set while a ping is unanswered. Only one is.
    pinged: Option<Pinged>,
}

/// How things were when a ping left.
struct Pinged {
    reached: Kept,
    waiting: u32,
    waiting_bytes: u32,
}

/// When a client is asked to confirm what it has been sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard::following) struct ReceiptLimits {
    records: u32,
    bytes: u32,
    after: Duration,
}

impl ReceiptLimits {
    pub(in crate::shard::following) fn new(window: Room, settings: &CursorSettings) -> Self {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            records: number(window.records / 4).max(1),
            bytes: number(settings.confirm_bytes),
            after: settings.confirm_after,
        }
    }
}

impl FollowerCursor {
    pub(in crate::shard::following) fn new(cursor: Cursor, answers_pings: bool) -> Self {
        Self {
            cursor,
            answers_pings,
            pinged: None,
        }
    }

    /// What it keeps.
    pub(in crate::shard::following) fn kept(&self) -> Kept {
        self.cursor.kept()
    }
}

impl Follower {
    /// Whether its client confirms what it receives.
    pub(in crate::shard::following) fn has_receipts(&self) -> bool {
        self.cursor.as_ref().is_some_and(|it| it.answers_pings)
    }

    /// How soon the client is to be asked, after it was sent a record.
    pub(in crate::shard::following) fn receipt(&self, limits: &ReceiptLimits) -> Option<Duration> {
        let cursor = self.cursor.as_ref().filter(|it| it.answers_pings)?;
        let before = cursor.pinged.as_ref();
        let before = before.map_or((0, 0), |it| (it.waiting, it.waiting_bytes));
        let is_much = self.waiting.saturating_sub(before.0) >= limits.records
            || self.waiting_bytes.saturating_sub(before.1) >= limits.bytes;
        Some(if is_much {
            Duration::ZERO
        } else {
            limits.after
        })
    }

    pub(in crate::shard::following) fn pinged(&mut self, topic: &TopicName) {
        if !self.has_receipts() {
            return;
        }
        let reached = self.reached(topic);
        let (waiting, waiting_bytes) = (self.waiting, self.waiting_bytes);
        if let Some(cursor) = &mut self.cursor {
            cursor.pinged = Some(Pinged {
                reached,
                waiting,
                waiting_bytes,
            });
        }
    }

    pub(in crate::shard::following) fn answered(&mut self) {
        let pinged = self.cursor.as_mut().filter(|it| it.answers_pings);
        let Some(pinged) = pinged.and_then(|it| it.pinged.take()) else {
            return;
        };
        self.free(pinged.waiting, pinged.waiting_bytes);
        if let Some(cursor) = &self.cursor {
            cursor.cursor.keep(pinged.reached);
        }
    }

    /// Where nothing waits for the client, it has everything up to here.
    pub(in crate::shard::following) fn settle(&mut self, topic: &TopicName) {
        if self.cursor.is_some() && self.waiting == 0 && self.pace != Pace::Recovering {
            self.keep(self.place, topic);
        }
    }

    /// The client has everything up to this place.
    pub(in crate::shard::following) fn keep(&self, place: Place, topic: &TopicName) {
        if let Some(cursor) = &self.cursor {
            cursor.cursor.keep(Kept {
                position: Position::at(topic, place),
                horizon: self.horizon,
            });
        }
    }

    /// What the client is told of where this begins waits for it like a record, if its cursor has to
    /// move there.
    pub(in crate::shard::following) fn told_beginning(&mut self, topic: &TopicName) {
        let reached = self.reached(topic);
        if let Some(cursor) = &self.cursor
            && cursor.answers_pings
            && cursor.kept() != reached
        {
            self.waiting = self.waiting.saturating_add(1);
        }
    }

    /// What its cursor keeps when the client has everything.
    pub(in crate::shard::following) fn reached(&self, topic: &TopicName) -> Kept {
        Kept {
            position: Position::at(topic, self.place),
            horizon: self.horizon,
        }
    }

    /// So many records, of so many bytes, no longer wait.
    pub(in crate::shard::following) fn free(&mut self, records: u32, bytes: u32) {
        self.waiting = self.waiting.saturating_sub(records);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }

    /// The client is away, and what was queued for it is gone. What it has not confirmed may have
    /// been written, and counts until it is back and confirms.
    pub(in crate::shard::following) fn forget_queue(&mut self) {
        match &mut self.cursor {
            Some(cursor) if cursor.answers_pings => cursor.pinged = None,
            _ => (self.waiting, self.waiting_bytes) = (0, 0),
        }
    }
}
