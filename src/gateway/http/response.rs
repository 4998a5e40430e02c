//! An answer of Meteor as the client gets it: its head, and its body as the client takes it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use warp::http::{HeaderMap, Response, Version, header};

use super::super::{Gateway, headers};
use super::pool::Connection;
use super::request::{BoxError, UploadState};
use crate::transport::metered::Activity;

/// A request that was passed to a server, and all that its answer needs.
pub(super) struct Exchange {
    pub(super) gateway: Arc<Gateway>,
    pub(super) number: usize,
    pub(super) connection: Connection,
    pub(super) upload: UploadState,
    /// The client's connection.
    pub(super) activity: Arc<Activity>,
}

/// The body of an answer. The connection to Meteor ends when it is dropped before its end, and is
/// kept for the next request when it is dropped behind it.
pub(super) struct Download {
    body: Incoming,
    is_over: bool,
    /// Taken when the body is dropped.
    exchange: Option<Exchange>,
    /// Ends the task that watches over the progress.
    _watched: DropGuard,
}

/// The head of an answer without what belongs to the connection, and its body.
pub(super) fn passed(
    answer: Response<Incoming>,
    exchange: Exchange,
    had_cookie: bool,
) -> Response<Download> {
    let (mut parts, body) = answer.into_parts();
    let is_coded = parts.headers.contains_key(header::TRANSFER_ENCODING);
    parts.headers = headers::without_hop_by_hop(&parts.headers);
    if is_coded {
        // The body was read by its coding, whatever length is said beside it.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    parts.version = Version::HTTP_11;
    if !had_cookie {
        set_cookie(&mut parts.headers, &exchange);
    }
    Response::from_parts(parts, Download::new(body, exchange))
}

fn set_cookie(answer: &mut HeaderMap, exchange: &Exchange) {
    exchange.gateway.cookies.set(answer, exchange.number);
}

impl Exchange {
    /// Keeps the connection, as soon as the client's own body is with Meteor.
    fn finish(self) {
        let Self {
            gateway,
            number,
            connection,
            upload,
            activity,
        } = self;
        if upload.is_over() {
            return gateway.pool.put(number, connection);
        }
        if upload.is_held_back() {
            return;
        }
        // Meteor has answered early, and still takes the body.
        let limit = gateway.settings.http.progress_timeout;
        let rest = async move {
            tokio::select! {
                () = upload.over() => {}
                () = activity.stalled(limit) => activity.break_off(),
            }
            drop(connection);
        };
        gateway.tasks.spawn_on(rest, &gateway.runtime);
    }
}

impl Download {
    fn new(body: Incoming, exchange: Exchange) -> Self {
        let watched = CancellationToken::new();
        if !body.is_end_stream() {
            watch(&exchange, watched.clone());
        }
        Self {
            body,
            is_over: false,
            exchange: Some(exchange),
            _watched: watched.drop_guard(),
        }
    }

    fn broken(&self, error: &hyper::Error) {
        // If the client's own body is broken, so is its connection.
        if let Some(exchange) = &self.exchange
            && !exchange.upload.is_broken()
        {
            let number = exchange.number;
            let why = format_args!("it breaks off within its answer: {error}");
            exchange.gateway.http_failed(number, &why);
            exchange.activity.break_off();
        }
    }
}

/// Breaks the client's connection off when it makes no progress for too long.
fn watch(exchange: &Exchange, over: CancellationToken) {
    let (gateway, number) = (exchange.gateway.clone(), exchange.number);
    let activity = exchange.activity.clone();
    let limit = gateway.settings.http.progress_timeout;
    let watching = {
        let gateway = gateway.clone();
        async move {
            let stalled = over.run_until_cancelled(activity.stalled(limit)).await;
            if stalled.is_some() {
                let why = "its answer makes no progress, by its own fault or the client's";
                gateway.http_failed(number, &why);
                activity.break_off();
            }
        }
    };
    gateway.tasks.spawn_on(watching, &gateway.runtime);
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => {
                self.broken(&error);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.is_over = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let exchange = self.exchange.take();
        if (self.is_over || self.body.is_end_stream())
            && let Some(exchange) = exchange
        {
            let gauges = exchange.gateway.gauges.clone();
            gauges.passed_requests.fetch_add(1, Ordering::Relaxed);
            exchange.finish();
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}
