//! Messages in a row: those that wait for a client, and those that it may have missed. There are many, and most are events
//! of one subscription. So none has memory of its own: what is shared stays a reference, other texts stand one behind the
//! other, and a head stands once before all the events that have it.

mod frame_ref;

pub use frame_ref::FrameRef;

use std::collections::{VecDeque, vec_deque};

use bytes::Bytes;

use super::{EventValue, Frame, Head, Printed, Tail};
use frame_ref::{FrameKind, TextRef};

/// A longer text stands by itself.
const LONG: usize = 4 * 1024;

/// Room for so many entries is as good as none: it is kept, for who gets single messages gets them often.
const SMALL: usize = 4;

/// Who takes so many at once is busy: the queue keeps its memory for more, if that is no more than so many entries and bytes
/// of texts.
const BUSY: usize = 8;
const KEPT_ENTRIES: usize = 128;
const KEPT_TEXTS: usize = 8 * 1024;

/// A queue of messages.
#[derive(Debug, Default)]
pub struct Frames {
    /// Filled by `push` and the like, drained by `take` and `pop_front`; bounded by whose queue it is.
    entries: VecDeque<FrameEntry>,
    /// The texts of those entries that have theirs here, in their order.
    texts: Option<Box<Texts>>,
    /// The head of the events at the front.
    front: Option<Head>,
    /// The head of the latest event.
    latest: Option<Head>,
    /// Its length: to look at the head itself would cost as much as all else that is done for an event.
    latest_len: usize,
    /// Bytes of all messages.
    bytes: usize,
    /// Entries but for heads.
    messages: u32,
    /// Those of them that are no messages of the session.
    others: u32,
}

#[derive(Debug)]
enum FrameEntry {
    /// The head of the events that follow.
    Head(Head),
    /// A message whose own text is so many bytes of `texts`.
    Here(FrameKind, usize),
    /// A message whose own text stands by itself.
    Apart(FrameKind, Printed),
}

/// Texts one behind the other, first in, first out.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Of `bytes`, those that have been taken out; when there is no room for more, they make room.
    gone: usize,
}

/// The messages of [`Frames`], from front to back.
#[derive(Clone, Debug)]
pub struct FramesIter<'a> {
    entries: vec_deque::Iter<'a, FrameEntry>,
    /// Of what is still to come.
    texts: &'a [u8],
    /// Of the events that come next.
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
        self.head(head);
        match tail.into_parts() {
            (EventValue::Shared(text), shape) => self.add_apart(FrameKind::Event(shape), text),
            // Where it is the only one, a copy would save nothing.
            (own, shape) if self.is_empty() => self.add_apart(FrameKind::Event(shape), own.into()),
            (EventValue::Own(text), shape) => {
                self.push_text(FrameKind::Event(shape), text.into_boxed_bytes());
            }
        }
    }

    /// Adds bytes that are no message: the host's own, in the form in which they are written.
    pub fn push_raw(&mut self, bytes: impl Into<Box<[u8]>>) {
        self.push_text(FrameKind::Raw, bytes.into());
    }

    /// Adds a message like this one.
    pub fn push_ref(&mut self, frame: FrameRef<'_>) {
        if let Some(head) = frame.head {
            self.head(head);
        }
        match frame.text {
            TextRef::Here(text) if text.len() > LONG => {
                self.add_apart(frame.kind, Bytes::copy_from_slice(text).into());
            }
            TextRef::Here(text) => self.add_here(frame.kind, text),
            TextRef::Apart(text) => self.add_apart(frame.kind, text.clone()),
        }
    }

    /// Moves so many from the front of another queue to the end of this one. What is no message of the session,
    /// [transient](Frame::Transient) or [raw](Self::push_raw), is dropped.
    pub fn take(&mut self, from: &mut Self, count: usize) {
        if count >= from.len() && from.others == 0 {
            return self.take_all(from, count);
        }
        for _ in 0..count {
            match from.next() {
                Some(FrameEntry::Here(kind, len)) => {
                    if kind.is_kept() {
                        self.head_of(kind, from.front.as_ref());
                        self.add_here(kind, from.text(len));
                    }
                    from.passed(kind, len);
                    from.skip(len);
                }
                Some(FrameEntry::Apart(kind, text)) => {
                    from.passed(kind, text.bytes().len());
                    if kind.is_kept() {
                        self.head_of(kind, from.front.as_ref());
                        self.add_apart(kind, text);
                    }
                }
                Some(FrameEntry::Head(_)) | None => break,
            }
        }
        from.give_back(count);
    }

    /// As [`take`](Self::take), with as few steps as there can be: that is what happens to nearly all messages.
    fn take_all(&mut self, from: &mut Self, count: usize) {
        if from.is_empty() {
            return;
        }
        if self.entries.capacity() == 0 {
            // Most have little that is kept, and keep it for long.
            let head = usize::from(from.latest.is_some());
            self.entries
                .reserve_exact(from.entries.len().saturating_add(head));
        }
        if let Some(FrameEntry::Here(..) | FrameEntry::Apart(..)) = from.entries.front()
            && let Some(head) = &from.front
        {
            self.head(head);
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
        (from.messages, from.bytes) = (0, 0);
        from.give_back(count);
    }

    /// Drops so many from the front.
    pub fn drop_front(&mut self, count: usize) {
        for _ in 0..count.min(self.len()) {
            self.pop_front();
        }
        self.give_back(count);
    }

    /// Drops the first one, if there is one.
    pub fn pop_front(&mut self) {
        while let Some(FrameEntry::Head(head)) = self.entries.front() {
            self.front = Some(head.clone());
            self.entries.pop_front();
        }
        // Looked at where it is: this happens once to each event, and a move would cost more than all the rest.
        let (kind, len) = match self.entries.front() {
            Some(FrameEntry::Here(kind, len)) => (*kind, *len),
            Some(FrameEntry::Apart(kind, text)) => (*kind, text.bytes().len()),
            Some(FrameEntry::Head(_)) | None => return,
        };
        if let Some(FrameEntry::Here(..)) = self.entries.pop_front() {
            self.skip(len);
        }
        self.passed(kind, len);
    }

    /// From front to back.
    pub fn iter(&self) -> FramesIter<'_> {
        FramesIter {
            entries: self.entries.iter(),
            texts: self.texts.as_ref().map_or(&[], |texts| texts.get()),
            head: self.front.as_ref(),
        }
    }

    fn push_text(&mut self, kind: FrameKind, text: Box<[u8]>) {
        if text.len() > LONG {
            self.add_apart(kind, Bytes::from(text).into());
        } else {
            self.add_here(kind, &text);
        }
    }

    /// The event that is added next has this head.
    fn head(&mut self, head: &Head) {
        if !is_same(self.latest.as_ref(), head) {
            self.latest = Some(head.clone());
            self.latest_len = head.as_str().len();
            self.entries.push_back(FrameEntry::Head(head.clone()));
        }
    }

    fn head_of(&mut self, kind: FrameKind, head: Option<&Head>) {
        if let (FrameKind::Event(_), Some(head)) = (kind, head) {
            self.head(head);
        }
    }

    fn add_here(&mut self, kind: FrameKind, text: &[u8]) {
        self.texts.get_or_insert_default().push(text);
        self.entries.push_back(FrameEntry::Here(kind, text.len()));
        self.added(kind, text.len());
    }

    fn add_apart(&mut self, kind: FrameKind, text: Printed) {
        self.added(kind, text.bytes().len());
        self.entries.push_back(FrameEntry::Apart(kind, text));
    }

    fn added(&mut self, kind: FrameKind, text: usize) {
        self.messages = self.messages.saturating_add(1);
        self.others = self.others.saturating_add(u32::from(!kind.is_kept()));
        self.bytes = self.bytes.saturating_add(kind.len(self.latest_len, text));
    }

    fn passed(&mut self, kind: FrameKind, text: usize) {
        let head = self.front.as_ref().map_or(0, |head| head.as_str().len());
        self.messages = self.messages.saturating_sub(1);
        self.others = self.others.saturating_sub(u32::from(!kind.is_kept()));
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

    /// Whether there is any message of the session.
    pub(crate) fn has_messages(&self) -> bool {
        self.others < self.messages
    }

    /// Gives back the memory of what is not there any more, if that is most of it.
    pub(crate) fn shrink(&mut self) {
        let entries = self.entries.len().saturating_mul(2);
        if self.entries.capacity() > entries.saturating_mul(2).saturating_add(BUSY) {
            self.entries.shrink_to(entries);
        }
        if let Some(texts) = &mut self.texts {
            texts.shrink();
        }
    }

    /// So many were taken out together: if that was all, memory is given back.
    fn give_back(&mut self, count: usize) {
        if self.messages > 0 {
            return;
        }
        if let Some(head) = &self.latest
            && !is_same(self.front.as_ref(), head)
        {
            // Of the events that come next, unless they have another.
            self.front = Some(head.clone());
        }
        self.entries.clear();
        let kept = if count < BUSY { SMALL } else { KEPT_ENTRIES };
        if self.entries.capacity() > kept {
            self.entries = VecDeque::new();
        }
        self.texts
            .take_if(|texts| count < BUSY || texts.bytes.capacity() > KEPT_TEXTS);
    }
}

impl Texts {
    fn get(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        let room = self.bytes.capacity().saturating_sub(self.bytes.len());
        if room < text.len() && self.gone >= self.bytes.len() / 2 {
            self.close_up();
        }
        self.bytes.extend_from_slice(text);
    }

    fn skip(&mut self, len: usize) {
        self.gone = self.gone.saturating_add(len);
        if self.gone >= self.bytes.len() {
            self.bytes.clear();
            self.gone = 0;
        }
    }

    fn close_up(&mut self) {
        self.bytes.drain(..self.gone.min(self.bytes.len()));
        self.gone = 0;
    }

    fn shrink(&mut self) {
        let room = self.get().len().saturating_mul(2);
        if self.bytes.capacity() > room.saturating_mul(2).saturating_add(LONG) {
            self.close_up();
            self.bytes.shrink_to(room);
        }
    }
}

/// Whether it is this head, which is told without a look at it.
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
                FrameEntry::Here(kind, len) => {
                    let (text, rest) = self.texts.split_at_checked(*len)?;
                    self.texts = rest;
                    (*kind, TextRef::Here(text))
                }
                FrameEntry::Apart(kind, text) => (*kind, TextRef::Apart(text)),
            };
            let head = self.head.filter(|_| matches!(kind, FrameKind::Event(_)));
            return Some(FrameRef { kind, head, text });
        }
    }
}

#[cfg(test)]
mod tests;
