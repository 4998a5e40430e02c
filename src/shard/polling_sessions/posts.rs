//! The messages that requests of a polling session have posted, in the order of the posts. Letters
//! of one session may overtake each other while it moves from shard to shard, so each post has a
//! number.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

/// Messages that one request has posted.
#[derive(Debug)]
pub(crate) struct Posted {
    /// Counts the session's posts, from 0.
    number: u64,
    messages: std::vec::IntoIter<String>,
    /// Their part of the session's room.
    _room: OwnedSemaphorePermit,
}

/// Posts with messages that the session has not taken.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    /// Ordered by number. Filled by requests, which wait for room first; drained as the session
    /// keeps up.
    waiting: VecDeque<Posted>,
    /// Bytes of their messages.
    bytes: usize,
    /// The number of the next post to read.
    next: u64,
}

impl Posted {
    pub(super) fn new(number: u64, messages: Vec<String>, room: OwnedSemaphorePermit) -> Self {
        Self {
            number,
            messages: messages.into_iter(),
            _room: room,
        }
    }
}

impl Posts {
    pub(crate) fn add(&mut self, posted: Posted) {
        let bytes = posted.messages.as_slice().iter().map(String::len);
        self.bytes = bytes.fold(self.bytes, usize::saturating_add);
        let before = |other: &Posted| other.number < posted.number;
        let at = self.waiting.partition_point(before);
        self.waiting.insert(at, posted);
    }

    /// The next message. `None` if there is none, or if an earlier post has not arrived yet.
    pub(crate) fn next_message(&mut self) -> Option<String> {
        loop {
            let next = self.next;
            let post = self.waiting.front_mut().filter(|it| it.number == next)?;
            if let Some(message) = post.messages.next() {
                self.bytes = self.bytes.saturating_sub(message.len());
                return Some(message);
            }
            self.waiting.pop_front();
            self.next = self.next.saturating_add(1);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn posts_that_overtake_each_other_wait_for_those_before_them() {
        let room = Arc::new(Semaphore::new(3));
        let post = |number, messages: &[&str]| {
            let permit = room.clone().try_acquire_owned().expect("room");
            let messages = messages.iter().map(|text| (*text).to_owned());
            Posted::new(number, messages.collect(), permit)
        };
        let mut posts = Posts::default();
        posts.add(post(1, &["c"]));
        posts.add(post(2, &["d"]));
        assert_eq!((posts.next_message(), posts.bytes()), (None, 2));
        posts.add(post(0, &["a", "b"]));
        let messages: Vec<String> = std::iter::from_fn(|| posts.next_message()).collect();
        assert_eq!(messages, ["a", "b", "c", "d"]);
        assert_eq!((posts.bytes(), room.available_permits()), (0, 3));
    }
}
