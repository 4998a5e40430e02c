//! The unread part of a request's body when the answer is ready. A little is read and thrown away,
//! so that the connection goes on. If there is more, the answer says that the connection ends.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use warp::http::{HeaderValue, Request, header};

use super::incoming::IncomingBody;

/// How much is thrown away before the answer.
const BEFORE: ReadLimit = ReadLimit {
    bytes: 64 * 1024,
    time: Duration::from_secs(1),
};

/// How much is thrown away behind an answer that ends the connection: the kernel resets a
/// connection that is closed with unread bytes, and its peer may lose the answer.
const BEHIND: ReadLimit = ReadLimit {
    bytes: 8 * 1024 * 1024,
    time: Duration::from_secs(5),
};

/// How much of a body is thrown away at most.
#[derive(Clone, Copy, Debug)]
struct ReadLimit {
    bytes: u64,
    time: Duration,
}

/// The body of a request, for example for a [route](crate::Builder::route) of the program's own.
///
/// It is read as any [`http_body::Body`](https://docs.rs/http-body), and need not be read to its
/// end. The route has to limit how much of it it reads.
#[derive(Debug)]
pub struct RequestBody {
    /// None once the body was dropped.
    incoming: Option<IncomingBody>,
    /// Receives the rest of the body when it is dropped; none for a request without a body.
    left: Option<Arc<Remains>>,
}

/// Where a body leaves its rest.
#[derive(Debug, Default)]
pub(super) struct Remains {
    left: Mutex<Left>,
    /// Notified once, when that is known.
    is_known: Notify,
}

/// What is left of a body.
#[derive(Debug, Default)]
enum Left {
    /// Nobody knows: it is still being read.
    #[default]
    Unknown,
    /// It was read to its end.
    Nothing,
    Rest(IncomingBody),
    /// It cannot be read any further, or is no longer waited for.
    Broken,
}

/// Handles the unread part of a request's body once the answer is ready.
#[derive(Debug)]
pub(super) struct UnreadBody {
    left: Option<Arc<Remains>>,
    /// Whether the peer sends the body only when it is asked (`Expect`), which reading it does.
    is_held_back: bool,
}

/// The rest of a body, to be read behind its answer.
#[derive(Debug)]
pub(super) enum Rest {
    /// The connection ends.
    Left(IncomingBody),
    /// The body is still being read, and may be dropped before its end.
    Expected(Arc<Remains>),
}

/// Makes the body of a request leave its unread part behind when it is dropped.
pub(super) fn watch(request: Request<IncomingBody>) -> (Request<RequestBody>, UnreadBody) {
    let left: Option<Arc<Remains>> = (!request.body().is_end_stream()).then(Arc::default);
    let unread = UnreadBody {
        left: left.clone(),
        is_held_back: request.headers().contains_key(header::EXPECT),
    };
    let body = |incoming| RequestBody {
        incoming: Some(incoming),
        left,
    };
    (request.map(body), unread)
}

impl UnreadBody {
    /// Reads a little of the rest, or marks the answer as the last of its connection. The caller
    /// throws away the returned rest while the answer is sent.
    pub(super) async fn finish<B>(self, mut response: Response<B>) -> (Response<B>, Option<Rest>) {
        let Some(remains) = self.left else {
            return (response, None);
        };
        let rest = match remains.take() {
            Left::Nothing => return (response, None),
            Left::Unknown => return (response, Some(Rest::Expected(remains))),
            Left::Broken => None,
            // The peer mostly does not send it unasked, so there is nothing to read.
            Left::Rest(_) if self.is_held_back => None,
            Left::Rest(mut incoming) => {
                let goes_on = !response.headers().contains_key(header::CONNECTION)
                    && incoming.size_hint().lower() <= BEFORE.bytes;
                if goes_on && throw_away(&mut incoming, BEFORE).await {
                    return (response, None);
                }
                Some(Rest::Left(incoming))
            }
        };
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        (response, rest)
    }
}

impl Rest {
    /// Reads the rest, up to a limit, so that the peer can read its answer.
    pub(super) async fn throw_away(self) {
        let left = match self {
            Self::Left(incoming) => Left::Rest(incoming),
            Self::Expected(remains) => {
                remains.is_known.notified().await;
                remains.take()
            }
        };
        if let Left::Rest(mut incoming) = left {
            throw_away(&mut incoming, BEHIND).await;
        }
    }
}

impl Remains {
    fn take(&self) -> Left {
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, left: Left) {
        *self.lock() = left;
        self.is_known.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        // Nothing that can panic runs under the lock.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body up to a limit. True if that was all of it.
async fn throw_away(incoming: &mut IncomingBody, limit: ReadLimit) -> bool {
    let read = async {
        let mut bytes: u64 = 0;
        while let Some(frame) =
            poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await
        {
            let Ok(frame) = frame else { return false };
            let piece = frame.data_ref().map_or(0, Bytes::len);
            bytes = bytes.saturating_add(piece as u64);
            if bytes > limit.bytes {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(limit.time, read)
        .await
        .unwrap_or(false)
}

impl RequestBody {
    /// The body, which is waited for also while the server shuts down. Whoever reads it sees that
    /// it makes progress.
    pub(super) fn patient(mut self) -> Self {
        if let Some(incoming) = &mut self.incoming {
            incoming.wait_for_rest();
        }
        self
    }

    /// The rest is no longer waited for.
    pub(super) fn give_up(&mut self) {
        self.ends(Left::Broken);
    }

    /// Records what is left of the body, once.
    fn ends(&mut self, how: Left) {
        if let Some(left) = self.left.take() {
            left.put(how);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.ends(Left::Broken),
            None => self.ends(Left::Nothing),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming
            .as_ref()
            .is_none_or(IncomingBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map(IncomingBody::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|it| !it.is_end_stream());
        self.ends(rest.map_or(Left::Nothing, Left::Rest));
    }
}
