//! A queue of messages: those that wait for a client, or those that it may have missed. There are
//! many messages, and most are events of one subscription, so none has an allocation of its own.
//! Shared text stays a reference, other texts are stored one after another in one buffer, and a
//! head is stored once before all its events.

mod frame_ref;

pub use frame_ref::FrameRef;

use std::collections::{VecDeque, vec_deque};

use bytes::Bytes;

use super::{EventValue, Frame, Head, Printed, Tail};
use frame_ref::{FrameKind, TextRef};

/// A longer text gets its own allocation.
const LONG_TEXT: usize = 4 * 1024;

/// A queue with capacity for this many entries keeps it: a client that gets single messages gets
/// them often.
const SMALL_QUEUE: usize = 4;

/// When at least this many entries are taken out together, the client is busy: the queue keeps its
/// memory, up to this many entries and bytes of text.
const BUSY_BATCH: usize = 8;
const KEPT_ENTRIES: usize = 128;
const KEPT_TEXTS: usize = 8 * 1024;

/// A queue of messages.
#[derive(Debug, Default)]
pub struct Frames {
    /// Filled by the `push` functions, drained by `take` and `pop_front`; bounded by the owner of
    /// the queue.
    entries: VecDeque<FrameEntry>,
    /// The texts of `Inline` entries, in their order.
    texts: Option<Box<Texts>>,
    /// The head of the events at the front.
    front: Option<Head>,
    /// The head of the latest event.
    latest: Option<Head>,
    /// Its length. Reading it from the head would cost as much as everything else that is done for
    /// an event.
    latest_len: u32,
    /// Bytes of all messages.
    bytes: usize,
    /// Entries except heads.
    messages: u32,
    /// Messages that are not counted by a resuming client.
    others: u32,
    /// Messages that are records of topics.
    records: u32,
}

#[derive(Debug)]
enum FrameEntry {
    /// The head of the events that follow.
    Head(Head),
    /// A message whose own text is the next bytes of `texts`, of this length.
    Inline(FrameKind, usize),
    /// A message whose own text has its own allocation.
    Separate(FrameKind, Printed),
}

/// Texts one after another, first in, first out.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// How many of `bytes` have been taken out. They are removed when the buffer is full.
    start: usize,
}

/// The messages of [`Frames`], from front to back.
#[derive(Clone, Debug)]
pub struct FramesIter<'a> {
    entries: vec_deque::Iter<'a, FrameEntry>,
    /// The texts of the messages still to come.
    texts: &'a [u8],
    /// The head of the next events.
    head: Option<&'a Head>,
}

impl Frames {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.messages as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Bytes of the messages' texts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages belong to the session's client alone: not those of the connection, and no
    /// records of topics.
    pub fn own_messages(&self) -> usize {
        let others = self.others.saturating_add(self.records);
        self.messages.saturating_sub(others) as usize
    }

    /// How many messages are records of topics.
    pub(crate) fn records(&self) -> usize {
        self.records as usize
    }

    /// Adds a message.
    pub fn push(&mut self, frame: Frame) {
        match frame {
            Frame::Text(text) => self.push_text(FrameKind::Message, text.into_boxed_bytes()),
            Frame::Transient(text) => self.push_text(FrameKind::Transient, text.into_boxed_bytes()),
            Frame::Event { head, tail } => self.push_event(&head, tail),
        }
    }

    /// Adds an event.
    pub fn push_event(&mut self, head: &Head, tail: Tail) {
        self.set_head(head);
        match tail.into_parts() {
            (EventValue::Shared(text), shape) => self.add_separate(FrameKind::Event(shape), text),
            // As the only event it would save nothing by a copy into `texts`.
            (own, shape) if self.is_empty() => {
                self.add_separate(FrameKind::Event(shape), own.into())
            }
            (EventValue::Own(text), shape) => {
                self.push_text(FrameKind::Event(shape), text.into_boxed_bytes());
            }
        }
    }

    /// Adds bytes that are no message: the host's own, exactly as they will be written.
    pub fn push_raw(&mut self, bytes: impl Into<Box<[u8]>>) {
        self.push_text(FrameKind::Raw, bytes.into());
    }

    /// Adds a copy of this message.
    pub fn push_ref(&mut self, frame: FrameRef<'_>) {
        if let Some(head) = frame.head {
            self.set_head(head);
        }
        match frame.text {
            TextRef::Inline(text) if text.len() > LONG_TEXT => {
                self.add_separate(frame.kind, Bytes::copy_from_slice(text).into());
            }
            TextRef::Inline(text) => self.add_inline(frame.kind, text),
            TextRef::Separate(text) => self.add_separate(frame.kind, text.clone()),
        }
    }

    /// Moves `count` messages from the front of another queue to the end of this one.
    /// [Transient](Frame::Transient) messages and [raw](Self::push_raw) bytes are dropped.
    pub fn take(&mut self, from: &mut Self, count: usize) {
        if count >= from.len() && from.others == 0 {
            return self.take_all(from, count);
        }
        for _ in 0..count {
            match from.next() {
                Some(FrameEntry::Inline(kind, len)) => {
                    if kind.is_kept() {
                        self.set_event_head(kind, from.front.as_ref());
                        self.add_inline(kind, from.text(len));
                    }
                    from.count_removed(kind, len);
                    from.skip(len);
                }
                Some(FrameEntry::Separate(kind, text)) => {
                    from.count_removed(kind, text.bytes().len());
                    if kind.is_kept() {
                        self.set_event_head(kind, from.front.as_ref());
                        self.add_separate(kind, text);
                    }
                }
                Some(FrameEntry::Head(_)) | None => break,
            }
        }
        from.free_if_empty(count);
    }

    /// As [`take`](Self::take), for all messages at once and with as few steps as possible: nearly
    /// all messages are moved this way.
    fn take_all(&mut self, from: &mut Self, count: usize) {
        if from.is_empty() {
            return;
        }
        if self.entries.capacity() == 0 {
            // Most sessions keep few messages, and keep them for long.
            let head = usize::from(from.latest.is_some());
            self.entries
                .reserve_exact(from.entries.len().saturating_add(head));
        }
        if let Some(FrameEntry::Inline(..) | FrameEntry::Separate(..)) = from.entries.front()
            && let Some(head) = &from.front
        {
            self.set_head(head);
        }
        if let Some(head) = &from.latest
            && !is_same(self.latest.as_ref(), head)
        {
            self.latest = Some(head.clone());
            self.latest_len = from.latest_len;
        }
        self.entries.append(&mut from.entries);
        if let Some(texts) = &mut from.texts {
            self.texts.get_or_insert_default().push(texts.get());
            texts.skip(usize::MAX);
        }
        self.messages = self.messages.saturating_add(from.messages);
        self.bytes = self.bytes.saturating_add(from.bytes);
        self.records = self.records.saturating_add(from.records);
        (from.messages, from.records, from.bytes) = (0, 0, 0);
        from.free_if_empty(count);
    }

    /// Drops the first `count` messages.
    pub fn drop_front(&mut self, count: usize) {
        for _ in 0..count.min(self.len()) {
            self.pop_front();
        }
        self.free_if_empty(count);
    }

    /// Drops the first message, if there is one.
    pub fn pop_front(&mut self) {
        while let Some(FrameEntry::Head(head)) = self.entries.front() {
            self.front = Some(head.clone());
            self.entries.pop_front();
        }
        // Inspected in place: this runs once for each event, and a move would cost more than all
        // the rest.
        let (kind, len) = match self.entries.front() {
            Some(FrameEntry::Inline(kind, len)) => (*kind, *len),
            Some(FrameEntry::Separate(kind, text)) => (*kind, text.bytes().len()),
            Some(FrameEntry::Head(_)) | None => return,
        };
        if let Some(FrameEntry::Inline(..)) = self.entries.pop_front() {
            self.skip(len);
        }
        self.count_removed(kind, len);
    }

    /// The messages from front to back.
    pub fn iter(&self) -> FramesIter<'_> {
        FramesIter {
            entries: self.entries.iter(),
            texts: self.texts.as_ref().map_or(&[], |texts| texts.get()),
            head: self.front.as_ref(),
        }
    }

    fn push_text(&mut self, kind: FrameKind, text: Box<[u8]>) {
        if text.len() > LONG_TEXT {
            self.add_separate(kind, Bytes::from(text).into());
        } else {
            self.add_inline(kind, &text);
        }
    }

    /// Sets the head of the event that is added next.
    fn set_head(&mut self, head: &Head) {
        if !is_same(self.latest.as_ref(), head) {
            self.latest = Some(head.clone());
            self.latest_len = u32::try_from(head.as_str().len()).unwrap_or(u32::MAX);
            self.entries.push_back(FrameEntry::Head(head.clone()));
        }
    }

    fn set_event_head(&mut self, kind: FrameKind, head: Option<&Head>) {
        if let (FrameKind::Event(_), Some(head)) = (kind, head) {
            self.set_head(head);
        }
    }

    fn add_inline(&mut self, kind: FrameKind, text: &[u8]) {
        self.texts.get_or_insert_default().push(text);
        self.entries.push_back(FrameEntry::Inline(kind, text.len()));
        self.count_added(kind, text.len());
    }

    fn add_separate(&mut self, kind: FrameKind, text: Printed) {
        self.count_added(kind, text.bytes().len());
        self.entries.push_back(FrameEntry::Separate(kind, text));
    }

    fn count_added(&mut self, kind: FrameKind, text: usize) {
        self.messages = self.messages.saturating_add(1);
        self.others = self.others.saturating_add(u32::from(!kind.is_kept()));
        self.records = self.records.saturating_add(u32::from(kind.is_record()));
        let len = kind.len(self.latest_len as usize, text);
        self.bytes = self.bytes.saturating_add(len);
    }

    fn count_removed(&mut self, kind: FrameKind, text: usize) {
        let head = self.front.as_ref().map_or(0, |head| head.as_str().len());
        self.messages = self.messages.saturating_sub(1);
        self.others = self.others.saturating_sub(u32::from(!kind.is_kept()));
        self.records = self.records.saturating_sub(u32::from(kind.is_record()));
        self.bytes = self.bytes.saturating_sub(kind.len(head, text));
    }

    /// Takes out the next message, with its head in `front` if it is an event.
    fn next(&mut self) -> Option<FrameEntry> {
        loop {
            match self.entries.pop_front()? {
                FrameEntry::Head(head) => self.front = Some(head),
                message => return Some(message),
            }
        }
    }

    fn text(&self, len: usize) -> &[u8] {
        let texts = self.texts.as_ref().map_or(&[][..], |texts| texts.get());
        texts.get(..len).unwrap_or_default()
    }

    fn skip(&mut self, len: usize) {
        if let Some(texts) = &mut self.texts {
            texts.skip(len);
        }
    }

    /// Whether any message is counted by a resuming client.
    pub(crate) fn has_messages(&self) -> bool {
        self.others < self.messages
    }

    /// Frees unused memory, if most of it is unused.
    pub(crate) fn shrink(&mut self) {
        let entries = self.entries.len().saturating_mul(2);
        if self.entries.capacity() > entries.saturating_mul(2).saturating_add(BUSY_BATCH) {
            self.entries.shrink_to(entries);
        }
        if let Some(texts) = &mut self.texts {
            texts.shrink();
        }
    }

    /// After `count` messages were taken out together: frees memory if none is left.
    fn free_if_empty(&mut self, count: usize) {
        if self.messages > 0 {
            return;
        }
        if let Some(head) = &self.latest
            && !is_same(self.front.as_ref(), head)
        {
            // Events added next have this head, unless they set another.
            self.front = Some(head.clone());
        }
        self.entries.clear();
        let kept = if count < BUSY_BATCH {
            SMALL_QUEUE
        } else {
            KEPT_ENTRIES
        };
        if self.entries.capacity() > kept {
            self.entries = VecDeque::new();
        }
        self.texts
            .take_if(|texts| count < BUSY_BATCH || texts.bytes.capacity() > KEPT_TEXTS);
    }
}

impl Texts {
    fn get(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        let room = self.bytes.capacity().saturating_sub(self.bytes.len());
        if room < text.len() && self.start >= self.bytes.len() / 2 {
            self.close_up();
        }
        self.bytes.extend_from_slice(text);
    }

    fn skip(&mut self, len: usize) {
        self.start = self.start.saturating_add(len);
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    fn close_up(&mut self) {
        self.bytes.drain(..self.start.min(self.bytes.len()));
        self.start = 0;
    }

    fn shrink(&mut self) {
        let room = self.get().len().saturating_mul(2);
        if self.bytes.capacity() > room.saturating_mul(2).saturating_add(LONG_TEXT) {
            self.close_up();
            self.bytes.shrink_to(room);
        }
    }
}

/// Whether it is this head. This does not compare the text.
fn is_same(known: Option<&Head>, head: &Head) -> bool {
    known.is_some_and(|known| known.is_same(head))
}

impl FromIterator<Frame> for Frames {
    fn from_iter<I: IntoIterator<Item = Frame>>(iter: I) -> Self {
        let mut frames = Self::default();
        iter.into_iter().for_each(|frame| frames.push(frame));
        frames
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = FrameRef<'a>;
    type IntoIter = FramesIter<'a>;

    fn into_iter(self) -> FramesIter<'a> {
        self.iter()
    }
}

impl<'a> Iterator for FramesIter<'a> {
    type Item = FrameRef<'a>;

    fn next(&mut self) -> Option<FrameRef<'a>> {
        loop {
            let (kind, text) = match self.entries.next()? {
                FrameEntry::Head(head) => {
                    self.head = Some(head);
                    continue;
                }
                FrameEntry::Inline(kind, len) => {
                    let (text, rest) = self.texts.split_at_checked(*len)?;
                    self.texts = rest;
                    (*kind, TextRef::Inline(text))
                }
                FrameEntry::Separate(kind, text) => (*kind, TextRef::Separate(text)),
            };
            let head = self.head.filter(|_| matches!(kind, FrameKind::Event(_)));
            return Some(FrameRef { kind, head, text });
        }
    }
}

#[cfg(test)]
mod tests;
