//! What all parts of a group in this process share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::beats::Beats;
use super::ids::{DeliveryId, MemberId};
use super::keys::GroupName;
use super::meta::Meta;
use super::options::Options;
use super::slot::{Begun, Return};
use crate::core::Core;
use crate::wake::WakeUps;
use crate::{Answer, Epoch, Place, Position, Registers, TopicError};

/// How long a call waits that is not the owner's.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is fixed about a group.
pub(crate) struct Context {
    pub(crate) name: GroupName,
    pub(crate) options: Arc<Options>,
    /// Where it began in each of its topics.
    pub(crate) starts: Vec<Place>,
    pub(crate) holes: Vec<u64>,
    /// Its topics, and then the topics of their dead letters.
    pub(crate) inputs: Vec<Arc<Core>>,
    pub(crate) registers: Arc<dyn Registers>,
    pub(crate) beats: Arc<Beats>,
    pub(crate) wake_ups: Arc<WakeUps>,
    pub(crate) dropped: DroppedLater,
    /// Set when the group was deleted: another one may have its name then.
    pub(crate) is_deleted: AtomicBool,
}

/// What was dropped without a word.
#[derive(Default)]
pub(crate) struct DroppedLater {
    /// Filled by `add`, drained by the owner; bounded by what is in flight, and by the members.
    list: Mutex<Vec<Dropped>>,
    added: Notify,
}

/// A group that is open in this process.
pub(crate) struct Handle {
    pub(crate) context: Arc<Context>,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// What members ask of the task that owns the slots.
pub(crate) enum Request {
    Join(MemberId, Arc<str>),
    Fetch(Fetch),
    Answer(Answering),
    /// Answered when nothing of the member is with it, and the registers say so.
    Leave(MemberId, oneshot::Sender<()>),
}

/// A member wants records.
pub(crate) struct Fetch {
    pub(crate) member: MemberId,
    pub(crate) most: usize,
    /// Whether to wait until there are some.
    pub(crate) waits: bool,
    /// The look at the topics that must have found nothing. The owner says which.
    pub(crate) check: u64,
    pub(crate) reply: oneshot::Sender<Result<Fetched, TopicError>>,
}

/// What becomes of a delivery.
pub(crate) struct Answering {
    pub(crate) delivery: DeliveryId,
    pub(crate) verdict: Verdict,
    pub(crate) reply: oneshot::Sender<Result<(), TopicError>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Ack,
    Extend,
    Return(Return),
}

/// Resolves when an answer is written.
#[derive(Debug)]
#[must_use = "an answer counts when it is written"]
pub(crate) struct Confirmation(oneshot::Receiver<Result<(), TopicError>>);

/// Records on their way to a member. If the member does not take them, they come back.
pub(crate) struct Fetched {
    context: Arc<Context>,
    records: Vec<(Begun, Epoch)>,
    /// The term of this process in which they were begun.
    term: u64,
}

pub(crate) enum Dropped {
    Member(MemberId),
    Delivery(DeliveryId),
}

impl Context {
    /// Whether this is what is kept of the group, and not of another one with its name.
    pub(crate) fn is_of(&self, meta: &Meta) -> bool {
        let starts = meta.starts.iter().map(Position::place);
        meta.options == *self.options && starts.eq(self.starts.iter().copied())
    }

    pub(crate) fn set_deleted(&self) {
        self.is_deleted.store(true, Ordering::Release);
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// How many topics the group reads, those of dead letters not counted.
    pub(crate) fn topics(&self) -> usize {
        self.starts.len()
    }

    /// An answer of the store that is not about an open topic.
    pub(crate) async fn call<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        if self.wake_ups.closed().is_cancelled() {
            return Err(TopicError::ShuttingDown);
        }
        let answered = timeout(DEADLINE, answer).await;
        answered.unwrap_or(Err(TopicError::Unavailable(None)))
    }

    /// Wakes the processes that take part in the group.
    pub(crate) fn wake(&self) {
        self.wake_ups.grew(&self.name.wake_up(), false);
    }
}

impl DroppedLater {
    pub(crate) fn add(&self, dropped: Dropped) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(dropped);
        self.added.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Dropped> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something was added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }
}

impl Handle {
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, TopicError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(request(reply)).await;
        sent.map_err(|_| TopicError::ShuttingDown)?;
        answer.await.map_err(|_| TopicError::ShuttingDown)
    }

    /// Answers a delivery. What is returned resolves when that is written.
    pub(crate) async fn answer(
        &self,
        delivery: DeliveryId,
        verdict: Verdict,
    ) -> Result<Confirmation, TopicError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Answer(Answering {
            delivery,
            verdict,
            reply,
        });
        let sent = self.requests.send(request).await;
        sent.map_err(|_| TopicError::ShuttingDown)?;
        Ok(Confirmation(answer))
    }
}

impl Confirmation {
    pub(crate) async fn written(self) -> Result<(), TopicError> {
        self.0.await.unwrap_or(Err(TopicError::ShuttingDown))
    }
}

impl Fetched {
    pub(crate) fn new(context: Arc<Context>, records: Vec<(Begun, Epoch)>, term: u64) -> Self {
        Self {
            context,
            records,
            term,
        }
    }

    pub(crate) fn take(mut self) -> (Vec<(Begun, Epoch)>, u64) {
        (std::mem::take(&mut self.records), self.term)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        for (begun, _) in &self.records {
            self.context.dropped.add(Dropped::Delivery(begun.id));
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
