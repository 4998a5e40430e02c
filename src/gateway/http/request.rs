//! A request as Meteor gets it: its head, and its body as it comes.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use warp::http::uri::PathAndQuery;
use warp::http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, request,
};

use super::super::address::UpstreamAddress;

/// How long a client that asks whether it may send its body waits for Meteor's answer.
const PERMISSION: Duration = Duration::from_secs(1);

/// The error of a body.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What is sent to Meteor before the body; it can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    target: Uri,
    pub(super) headers: HeaderMap,
    /// Whether the client asks for a WebSocket.
    pub(super) is_websocket: bool,
}

impl Head {
    /// `headers` are those to pass on. Whatever authority the target names is dropped: where the
    /// request goes is not the client's to say.
    pub(super) fn of(request: &request::Parts, headers: HeaderMap) -> Self {
        let root = || PathAndQuery::from_static("/");
        let target = request.uri.path_and_query().cloned();
        let mut head = Self {
            method: request.method.clone(),
            target: target.unwrap_or_else(root).into(),
            headers,
            is_websocket: asks_for_websocket(request),
        };
        if head.is_websocket {
            let headers = &mut head.headers;
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        head
    }

    /// Whether Meteor may get it twice, if it has no body.
    pub(super) fn is_safe(&self) -> bool {
        self.method.is_safe()
    }

    /// The request for a server.
    pub(super) fn request(&self, to: &UpstreamAddress, body: Upload) -> Request<Upload> {
        let mut headers = self.headers.clone();
        let (host, port) = to.host_and_port();
        if !headers.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::try_from(format!("{host}:{port}"))
        {
            headers.insert(header::HOST, host);
        }
        // Nobody can know where a body of unknown length ends unless this says so.
        if !body.is_end_stream() && body.size_hint().exact().is_none() {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        let asked = body.asked.clone();
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers;
        if let Some(asked) = asked {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    asked.cancel();
                }
            });
        }
        request
    }
}

/// Whether this is the opening handshake of a WebSocket. No other protocol is passed on.
fn asks_for_websocket(request: &request::Parts) -> bool {
    let has = |name, token: &str| {
        let lines = request.headers.get_all(name).iter();
        let mut tokens = lines
            .filter_map(|line: &HeaderValue| line.to_str().ok())
            .flat_map(|line| line.split(','));
        tokens.any(|it| it.trim().eq_ignore_ascii_case(token))
    };
    request.method == Method::GET
        && request.version == Version::HTTP_11
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
}

/// The body of a request, read from the client as Meteor takes it.
pub(super) struct Upload {
    body: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Cancelled when Meteor asks for the body; none unless the client waits for that (`Expect`).
    asked: Option<CancellationToken>,
    /// Resolves when Meteor has asked, or does not say.
    permission: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Cancelled when the client breaks off within the body, or what it sends is none.
    broken: CancellationToken,
    /// Tells, behind the body, that it is dropped.
    _over: Option<DropGuard>,
}

/// Where the body of a request is.
#[derive(Clone, Debug)]
pub(super) struct UploadState {
    over: CancellationToken,
    broken: CancellationToken,
    asked: Option<CancellationToken>,
}

impl Upload {
    pub(super) fn new<B>(body: B, head: &Head) -> (Self, UploadState)
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (over, broken) = (CancellationToken::new(), CancellationToken::new());
        if body.is_end_stream() {
            over.cancel();
            let state = UploadState {
                over,
                broken,
                asked: None,
            };
            return (Self::empty(), state);
        }
        let is_held_back = head.headers.contains_key(header::EXPECT);
        let asked = is_held_back.then(CancellationToken::new);
        let state = UploadState {
            over: over.clone(),
            broken: broken.clone(),
            asked: asked.clone(),
        };
        let permission = asked.clone().map(|asked| {
            let permission = async move {
                // It sends the body unasked in the end, and so may this server.
                let waited = tokio::time::timeout(PERMISSION, asked.cancelled());
                if waited.await.is_err() {
                    asked.cancel();
                }
            };
            Box::pin(permission) as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        let upload = Self {
            body: Some(body.map_err(Into::into).boxed_unsync()),
            asked,
            permission,
            broken,
            _over: Some(over.drop_guard()),
        };
        (upload, state)
    }

    pub(super) fn empty() -> Self {
        Self {
            body: None,
            asked: None,
            permission: None,
            broken: CancellationToken::new(),
            _over: None,
        }
    }
}

impl UploadState {
    /// Whether nothing of the body is to come.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when nothing of the body is to come.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Whether there is no end to come, by the client's fault.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Whether the client waits to be asked for the body.
    pub(super) fn is_held_back(&self) -> bool {
        let asked = self.asked.as_ref();
        asked.is_some_and(|asked| !asked.is_cancelled())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(permission) = &mut self.permission {
            ready!(permission.as_mut().poll(context));
            self.permission = None;
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if let Some(Err(_)) = &frame {
            self.broken.cancel();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}
