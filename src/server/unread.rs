//! What is left of a request's body when its answer is there. A little is read and thrown away, so
//! that the connection goes on; with more, the answer says that the connection ends.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use warp::http::{HeaderValue, Request, header};

use super::incoming::IncomingBody;

/// What is thrown away before the answer.
const BEFORE: Most = Most {
    bytes: 64 * 1024,
    time: Duration::from_secs(1),
};

/// What is thrown away behind an answer that ends the connection: one that is closed with something
/// unread is reset, and its peer may lose the answer.
const BEHIND: Most = Most {
    bytes: 8 * 1024 * 1024,
    time: Duration::from_secs(5),
};

/// What is thrown away at most.
#[derive(Clone, Copy, Debug)]
struct Most {
    bytes: u64,
    time: Duration,
}

/// The body of a request, for whoever answers it: a [route](crate::Builder::route) of the program's
/// own, for example.
///
/// It is read as any [`http_body::Body`](https://docs.rs/http-body), and need not be read to its
/// end. How much of it there may be is for the route to limit.
#[derive(Debug)]
pub struct RequestBody {
    /// There until the body is dropped.
    incoming: Option<IncomingBody>,
    /// Where it is left when it is dropped; none for a request without a body.
    left: Option<Arc<Mutex<Left>>>,
}

/// What has become of a body.
#[derive(Debug, Default)]
enum Left {
    /// It was read to its end, or somebody still reads it.
    #[default]
    Nothing,
    Rest(IncomingBody),
    /// It cannot be read any further, or nobody waits for it any longer.
    Broken,
}

/// Knows what is left of a request's body.
#[derive(Debug)]
pub(super) struct UnreadBody {
    left: Option<Arc<Mutex<Left>>>,
    /// Whether the peer wants to be asked for the body, which is done by reading it.
    is_held_back: bool,
}

/// A body that is still on its way, behind an answer that ends its connection.
#[derive(Debug)]
pub(super) struct Rest(IncomingBody);

/// Has an eye on the body of a request.
pub(super) fn watch(request: Request<IncomingBody>) -> (Request<RequestBody>, UnreadBody) {
    let left: Option<Arc<Mutex<Left>>> = (!request.body().is_end_stream()).then(Arc::default);
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
    /// Makes an answer ready. What is returned with it is to be thrown away meanwhile.
    pub(super) async fn settle<B>(self, mut response: Response<B>) -> (Response<B>, Option<Rest>) {
        let left = self.left.map(|left| std::mem::take(&mut *lock(&left)));
        let rest = match left {
            None | Some(Left::Nothing) => return (response, None),
            Some(Left::Broken) => None,
            // Without a word from us it mostly does not come, and nothing is lost with it.
            Some(Left::Rest(_)) if self.is_held_back => None,
            Some(Left::Rest(mut incoming)) => {
                let goes_on = !response.headers().contains_key(header::CONNECTION)
                    && incoming.size_hint().lower() <= BEFORE.bytes;
                if goes_on && throw_away(&mut incoming, BEFORE).await {
                    return (response, None);
                }
                Some(Rest(incoming))
            }
        };
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        (response, rest)
    }
}

impl Rest {
    /// Reads what comes, up to a limit, so that the peer gets to read its answer.
    pub(super) async fn throw_away(mut self) {
        throw_away(&mut self.0, BEHIND).await;
    }
}

/// Whether that was all of it.
async fn throw_away(incoming: &mut IncomingBody, most: Most) -> bool {
    let read = async {
        let mut bytes: u64 = 0;
        while let Some(frame) =
            poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await
        {
            let Ok(frame) = frame else { return false };
            let piece = frame.data_ref().map_or(0, Bytes::len);
            bytes = bytes.saturating_add(piece as u64);
            if bytes > most.bytes {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(most.time, read).await.unwrap_or(false)
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    // Nothing that can panic runs under the lock.
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RequestBody {
    /// Nobody waits for the rest.
    pub(super) fn give_up(&mut self) {
        self.ends(Left::Broken);
    }

    /// Its end has come, one way or the other.
    fn ends(&mut self, how: Left) {
        if let Some(left) = self.left.take() {
            *lock(&left) = how;
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
        if let Some(incoming) = self.incoming.take()
            && !incoming.is_end_stream()
        {
            self.ends(Left::Rest(incoming));
        }
    }
}
