//! A session over HTTP requests: the state that its requests share with the shard that owns it. It
//! has no task. Its requests send letters to the shard, and the shard fills their responses.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{AcquireError, Semaphore, mpsc};
use updraft_protocol::sockjs::Wrapping;

use super::counts::CountedSession;
use super::posts::Posted;
use crate::limit::{Network, Seat};
use crate::mail::Place;

/// The number of the session's service, and the session's name. The name is a credential: it is not
/// logged.
pub(crate) type SessionKey = (usize, Box<str>);

/// Receives what requests want of their sessions: a shard's inbox.
pub(crate) trait RequestInbox: Send + Sync {
    /// Sends a request to its session.
    fn request(&self, session: Arc<PollingSession>, request: PollingRequest);
}

/// A polling session, as its requests know it.
pub(crate) struct PollingSession {
    pub(crate) key: SessionKey,
    /// The network that it was opened from.
    pub(crate) network: Network,
    /// Its share of what its address may have. Released when it ends, or makes room for another
    /// session.
    share: Mutex<Option<SessionShare>>,
    /// The inbox of its shard, and its place there. It has no place while it is on its way to the
    /// shard.
    place: Mutex<(Arc<dyn RequestInbox>, Option<Place>)>,
    /// Bytes of messages that may still be posted. Requests take permits; they are released as the
    /// session takes the messages.
    room: Arc<Semaphore>,
    capacity: u32,
    /// The number of posts so far.
    posts: AtomicU64,
}

/// A session's share of what its address may have.
#[derive(Debug)]
pub(crate) struct SessionShare {
    counted: CountedSession<PollingSession>,
    /// Its seat among the connections of its address, if their number is limited.
    _seat: Option<Seat>,
}

/// What a request wants of its session.
#[derive(Debug)]
pub(crate) enum PollingRequest {
    /// To get frames.
    Wait(WaitingRequest),
    /// The response of this request has taken the latest chunk.
    Taken(u64),
    /// The response of this request was cut before it was complete.
    Cut(u64),
    /// Messages from the client.
    Post(Posted),
    /// The session ends, because it makes room for another.
    Displaced,
}

/// A request that waits for frames.
#[derive(Debug)]
pub(crate) struct WaitingRequest {
    pub(crate) number: u64,
    pub(crate) wrapping: Wrapping,
    /// The body of the response, one chunk at a time.
    pub(crate) chunks: mpsc::Sender<Bytes>,
}

impl SessionShare {
    pub(crate) fn new(counted: CountedSession<PollingSession>, seat: Option<Seat>) -> Self {
        Self {
            counted,
            _seat: seat,
        }
    }
}

impl PollingSession {
    pub(crate) fn new(
        key: SessionKey,
        share: SessionShare,
        inbox: Arc<dyn RequestInbox>,
        capacity: usize,
    ) -> Arc<Self> {
        let capacity = u32::try_from(capacity.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let session = Arc::new(Self {
            key,
            network: share.counted.network(),
            share: Mutex::default(),
            place: Mutex::new((inbox, None)),
            room: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            posts: AtomicU64::new(0),
        });
        share.counted.set_session(&session);
        *session.share() = Some(share);
        session
    }

    /// Its client has connected. From now on it is not ended to make room for another session.
    pub(crate) fn connected(&self) {
        if let Some(share) = &*self.share() {
            share.counted.connected();
        }
    }

    /// Ends it to make room for another: frees its share at once, and tells its shard.
    pub(super) fn displace(self: &Arc<Self>) {
        drop(self.take_share());
        self.send(PollingRequest::Displaced);
    }

    /// Sets its place in the shard of this inbox. `None` means that it is on its way there.
    pub(crate) fn set_place(&self, inbox: &Arc<impl RequestInbox + 'static>, place: Option<Place>) {
        *self.lock() = (inbox.clone(), place);
    }

    /// Its place in the shard of this inbox. `None` when it is elsewhere, or on its way.
    pub(crate) fn place(&self, inbox: &Arc<impl RequestInbox>) -> Option<Place> {
        let (of, place) = &*self.lock();
        place.filter(|_| ptr::addr_eq(Arc::as_ptr(of), Arc::as_ptr(inbox)))
    }

    /// Whether it has ended, so that nobody reads what is sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.room.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, (Arc<dyn RequestInbox>, Option<Place>)> {
        // Nothing that can panic runs under the lock.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has ended: posts stop waiting for room.
    pub(crate) fn end(&self) {
        drop(self.take_share());
        self.room.close();
    }

    fn take_share(&self) -> Option<SessionShare> {
        self.share().take()
    }

    fn share(&self) -> MutexGuard<'_, Option<SessionShare>> {
        // As above.
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(self: &Arc<Self>, request: PollingRequest) {
        let inbox = self.lock().0.clone();
        inbox.request(self.clone(), request);
    }

    /// Posts messages of `bytes` bytes in total, as soon as there is room for them.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub(crate) async fn post(
        self: &Arc<Self>,
        messages: Vec<String>,
        bytes: usize,
    ) -> Result<(), AcquireError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity);
        let room = self.room.clone().acquire_many_owned(bytes).await?;
        let number = self.posts.fetch_add(1, Ordering::Relaxed);
        self.send(PollingRequest::Post(Posted::new(number, messages, room)));
        Ok(())
    }
}

impl fmt::Debug for PollingSession {
    /// Without its name, which is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollingSession")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// The body of a response that waits for frames.
#[derive(Debug)]
pub(crate) struct Chunks {
    session: Arc<PollingSession>,
    number: u64,
    prelude: Option<Bytes>,
    chunks: mpsc::Receiver<Bytes>,
    state: ChunksState,
}

#[derive(Debug, PartialEq, Eq)]
enum ChunksState {
    Waiting,
    /// A chunk was handed out. When the next is polled for, the response has taken it.
    Given,
    Ended,
}

impl Chunks {
    /// Asks the session for frames, and returns them as the body of the response.
    pub(crate) fn wait(session: Arc<PollingSession>, number: u64, wrapping: Wrapping) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let prelude = wrapping.prelude();
        session.send(PollingRequest::Wait(WaitingRequest {
            number,
            wrapping,
            chunks: sender,
        }));
        Self {
            session,
            number,
            prelude: (!prelude.is_empty()).then(|| prelude.into()),
            chunks: receiver,
            state: ChunksState::Waiting,
        }
    }
}

impl futures_util::Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(prelude) = this.prelude.take() {
            return Poll::Ready(Some(Ok(prelude)));
        }
        if this.state == ChunksState::Given {
            this.state = ChunksState::Waiting;
            this.session.send(PollingRequest::Taken(this.number));
        }
        let next = std::task::ready!(this.chunks.poll_recv(context));
        this.state = match next {
            Some(_) => ChunksState::Given,
            None => ChunksState::Ended,
        };
        Poll::Ready(next.map(Ok))
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if self.state != ChunksState::Ended {
            self.session.send(PollingRequest::Cut(self.number));
        }
    }
}
