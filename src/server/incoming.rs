//! The body of a request. While the server ends, one that is still on its way is waited for briefly
//! only, whatever reads it: a program's own route, or SockJS.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{self, Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// How long the rest of a request may take when the server has begun to end.
const REST: Duration = Duration::from_secs(1);

/// Resolves when the rest of a request is not waited for any more.
pub(super) async fn too_late(draining: &CancellationToken) {
    draining.cancelled().await;
    tokio::time::sleep(REST).await;
}

/// What hyper reads of a body, and an error when the server does not wait for the rest.
pub(super) struct IncomingBody {
    body: body::Incoming,
    draining: CancellationToken,
    /// There once the body has been waited for.
    too_late: Option<TooLate>,
}

type TooLate = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl IncomingBody {
    pub(super) fn new(body: body::Incoming, draining: CancellationToken) -> Self {
        Self {
            body,
            draining,
            too_late: None,
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let late = this.too_late.get_or_insert_with(|| {
            let draining = this.draining.clone();
            Box::pin(async move { too_late(&draining).await })
        });
        ready!(late.as_mut().poll(context));
        this.too_late = None;
        Poll::Ready(Some(Err(
            "the server ends, and the request is incomplete".into()
        )))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for IncomingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
