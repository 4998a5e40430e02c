//! The messages that listeners have not taken yet, each listener with its own queue. The bus fills
//! the queues and never waits: a full queue has a gap.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::settings::ChannelSettings;
use crate::{Batch, BusError, Gap, Message, Port};

/// What a [`Listener`](crate::Listener) receives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Received {
    /// A message, shared with all other listeners in this process.
    Message(Arc<Message>),
    /// Messages may be missing here: the bus was away, or this listener was too slow.
    Gap,
    /// The bus refuses to carry the channel any longer, for example because a right was revoked.
    /// The bus is asked again from time to time; when it carries the channel again, a gap follows.
    Refused(BusError),
}

/// The listeners of this process, by channel.
pub(crate) struct Listeners {
    /// An entry is filled by `add`, drained by `remove`, and removed with its last queue; bounded
    /// by the listeners that the program keeps. `None` after the channels are closed.
    queues: Mutex<Option<Queues>>,
    limits: ListenerLimits,
}

/// By channel.
type Queues = HashMap<Arc<str>, Vec<Arc<ListenerQueue>>>;

/// Limits on the queue of one listener.
#[derive(Debug, Clone, Copy)]
struct ListenerLimits {
    messages: usize,
    bytes: usize,
}

/// The queue of one listener.
#[derive(Debug)]
pub(crate) struct ListenerQueue {
    waiting: Mutex<WaitingMessages>,
    limits: ListenerLimits,
}

#[derive(Debug, Default)]
struct WaitingMessages {
    /// Filled by the bus, drained by the listener, bounded by the limits: a message that does not
    /// fit leaves one gap at the end.
    received: VecDeque<Received>,
    /// Bytes of the queued messages.
    bytes: usize,
    /// Set while the listener waits.
    waker: Option<Waker>,
    is_closed: bool,
}

impl Listeners {
    pub(crate) fn new(settings: &ChannelSettings) -> Self {
        Self {
            queues: Mutex::new(Some(Queues::new())),
            limits: ListenerLimits {
                messages: settings.queued_messages.max(1),
                bytes: settings.queued_bytes,
            },
        }
    }

    /// A new queue for the messages of a channel. It is closed if the channels are.
    pub(crate) fn add(&self, channel: &str) -> Arc<ListenerQueue> {
        let queue = Arc::new(ListenerQueue {
            waiting: Mutex::default(),
            limits: self.limits,
        });
        match &mut *self.lock() {
            Some(queues) => {
                let all = queues.entry(Arc::from(channel)).or_default();
                all.push(Arc::clone(&queue));
            }
            None => queue.close(),
        }
        queue
    }

    pub(crate) fn remove(&self, channel: &str, queue: &Arc<ListenerQueue>) {
        if let Some(queues) = &mut *self.lock()
            && let Some(all) = queues.get_mut(channel)
        {
            all.retain(|other| !Arc::ptr_eq(other, queue));
            if all.is_empty() {
                queues.remove(channel);
            }
        }
    }

    /// No more messages come: each listener ends after it has taken its queued messages.
    pub(crate) fn close(&self) {
        let queues = self.lock().take();
        for queue in queues.into_iter().flatten().flat_map(|(_, all)| all) {
            queue.close();
        }
    }

    fn put(&self, channel: &str, received: &Received) {
        if let Some(queues) = &*self.lock() {
            for queue in queues.get(channel).into_iter().flatten() {
                queue.put(received.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Queues>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Acts as one more shard, which is called only if there is a listener.
impl Port for Listeners {
    fn deliver(&self, batch: &Batch) {
        for message in batch.iter() {
            self.put(message.channel(), &Received::Message(Arc::clone(message)));
        }
    }

    fn gap(&self, gap: Gap) {
        for channel in gap.channels.iter() {
            self.put(channel, &Received::Gap);
        }
    }

    fn refused(&self, channel: &Arc<str>, error: &BusError) {
        self.put(channel, &Received::Refused(error.clone()));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl ListenerQueue {
    fn put(&self, received: Received) {
        let mut waiting = self.lock();
        waiting.put(received, self.limits);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next item; `None` if the channels are closed and the queue is empty.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Received>> {
        let mut waiting = self.lock();
        if let Some(received) = waiting.take() {
            return Poll::Ready(Some(received));
        }
        if waiting.is_closed {
            return Poll::Ready(None);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, WaitingMessages> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingMessages {
    fn put(&mut self, received: Received, limits: ListenerLimits) {
        let bytes = received.bytes();
        let is_full = self.received.len() >= limits.messages
            || !self.received.is_empty() && self.bytes.saturating_add(bytes) > limits.bytes;
        let received = match received {
            Received::Message(_) if is_full => Received::Gap,
            other => other,
        };
        // Of consecutive gaps and refusals only the last matters. So a full queue never has more
        // than one at its end.
        if !received.is_message()
            && let Some(last) = self.received.back_mut()
            && !last.is_message()
        {
            *last = received;
            return;
        }
        self.bytes = self.bytes.saturating_add(received.bytes());
        self.received.push_back(received);
    }

    fn take(&mut self) -> Option<Received> {
        let received = self.received.pop_front()?;
        self.bytes = self.bytes.saturating_sub(received.bytes());
        Some(received)
    }
}

impl Received {
    fn is_message(&self) -> bool {
        matches!(self, Self::Message(_))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.payload().len(),
            Self::Gap | Self::Refused(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::PayloadLimits;

    const LIMITS: ListenerLimits = ListenerLimits {
        messages: 3,
        bytes: 10,
    };

    fn message(text: &str) -> Received {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        let message = Message::check(Arc::from("c"), payload, &PayloadLimits::default());
        Received::Message(Arc::new(message.unwrap()))
    }

    fn refused() -> Received {
        Received::Refused(BusError::Closed)
    }

    /// What is taken after all of this was queued, in words.
    fn taken(waiting: &mut WaitingMessages) -> Vec<String> {
        std::iter::from_fn(|| waiting.take())
            .map(|received| match received {
                Received::Message(message) => {
                    String::from_utf8_lossy(message.payload()).into_owned()
                }
                Received::Gap => "gap".into(),
                Received::Refused(_) => "refused".into(),
            })
            .collect()
    }

    #[test]
    fn a_full_queue_has_one_gap_where_messages_are_missing() {
        let mut waiting = WaitingMessages::default();
        for n in 0..100 {
            waiting.put(message(&n.to_string()), LIMITS);
        }
        assert_eq!(taken(&mut waiting), ["0", "1", "2", "gap"]);
        assert_eq!(waiting.bytes, 0);
        // Taking messages makes room again, behind the gap.
        for n in 0..4 {
            waiting.put(message(&n.to_string()), LIMITS);
        }
        assert!(waiting.take().is_some());
        assert!(waiting.take().is_some());
        waiting.put(message("5"), LIMITS);
        assert_eq!(taken(&mut waiting), ["2", "gap", "5"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let mut waiting = WaitingMessages::default();
        let long = format!("\"{}\"", "x".repeat(20));
        waiting.put(message(&long), LIMITS);
        waiting.put(message("1"), LIMITS);
        assert_eq!(taken(&mut waiting), [&long, "gap"]);
        waiting.put(message("123456"), LIMITS);
        waiting.put(message("123456"), LIMITS);
        assert_eq!(taken(&mut waiting), ["123456", "gap"]);
    }

    #[test]
    fn of_what_comes_between_messages_only_the_last_is_kept() {
        let mut waiting = WaitingMessages::default();
        for _ in 0..100 {
            waiting.put(Received::Gap, LIMITS);
            waiting.put(refused(), LIMITS);
        }
        waiting.put(message("1"), LIMITS);
        for _ in 0..100 {
            waiting.put(refused(), LIMITS);
            waiting.put(Received::Gap, LIMITS);
        }
        assert_eq!(taken(&mut waiting), ["refused", "1", "gap"]);
        // However full the queue is.
        for _ in 0..100 {
            waiting.put(message("1"), LIMITS);
            waiting.put(refused(), LIMITS);
            waiting.put(Received::Gap, LIMITS);
        }
        assert!(waiting.received.len() <= LIMITS.messages + 1);
    }
}
