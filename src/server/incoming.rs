//! The body of a request. While the server shuts down, an incomplete body is waited for only
//! briefly, whether a program's own route or SockJS reads it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{self, Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// How long the rest of a request may take once the server has begun to shut down.
const REST: Duration = Duration::from_secs(1);

/// Resolves when the rest of a request is no longer waited for.
pub(super) async fn too_late(draining: &CancellationToken) {
    draining.cancelled().await;
    tokio::time::sleep(REST).await;
}

/// The body that hyper reads. It ends with an error when the server no longer waits for the rest.
pub(super) struct IncomingBody {
    body: body::Incoming,
    draining: CancellationToken,
    /// None until the body has been waited for.
    too_late: Option<TooLate>,
    /// Whether the rest is waited for also while the server shuts down.
    is_patient: bool,
}

type TooLate = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl IncomingBody {
    pub(super) fn new(body: body::Incoming, draining: CancellationToken) -> Self {
        Self {
            body,
            draining,
            too_late: None,
            is_patient: false,
        }
    }

    /// Waits for the rest also while the server shuts down.
    pub(super) fn wait_for_rest(&mut self) {
        self.is_patient = true;
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
        if this.is_patient {
            return Poll::Pending;
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
