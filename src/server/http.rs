//! Sends each request to SockJS, WebSocket, a health check or the program's own routes, and answers
//! all others.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Response as AnyResponse;
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use warp::reply::Response;

use super::admission::Admission;
use super::answer::plain;
use super::front::Front;
use super::incoming::IncomingBody;
use super::routes::{ResponseBody, Routes, boxed};
use super::sites::Destination;
use super::sockjs;
use super::unread::{self, RequestBody};
use super::upgrade::{upgrade, upgrade_of};
use crate::base::redact::Redacted;
use crate::transport::Framing;

/// Answers any request.
pub(super) async fn answer(
    front: Arc<Front>,
    routes: Arc<Routes>,
    peer: SocketAddr,
    request: Request<IncomingBody>,
) -> Result<AnyResponse<ResponseBody>, Infallible> {
    let asked_for = websocket_path(&request);
    let (request, unread) = unread::watch(request);
    let response = respond(&front, &routes, peer, request).await;
    if let Some(path) = asked_for
        && response.status() == StatusCode::NOT_FOUND
    {
        let (path, right) = (Redacted(&path), front.sites().websocket_path());
        tracing::debug!(%path, right, "There is no WebSocket at this path.");
    }
    let (response, rest) = unread.finish(response).await;
    if let Some(rest) = rest {
        front.spawn_until_draining(rest.throw_away());
    }
    Ok(response)
}

/// The path of a request for a WebSocket, if it can be logged.
fn websocket_path<B>(request: &Request<B>) -> Option<String> {
    let is_websocket = || request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    let is_logged = tracing::enabled!(tracing::Level::DEBUG) && is_websocket();
    is_logged.then(|| request.uri().path().to_owned())
}

async fn respond(
    front: &Arc<Front>,
    routes: &Routes,
    peer: SocketAddr,
    request: Request<RequestBody>,
) -> AnyResponse<ResponseBody> {
    if !has_clear_end(request.headers()) {
        return boxed(ambiguous());
    }
    let destination = front.sites().find(request.uri().path());
    // A load balancer may use any name for the server, or none.
    if !matches!(destination, Destination::Health(_))
        && let Err(refused) = Admission::require_host(&request)
    {
        return boxed(refused.answer());
    }
    boxed(match destination {
        Destination::Health(check) => check.answer(request.method(), front.condition()),
        Destination::WebSocket => open_websocket(front, request, peer),
        Destination::SockJs(site) => sockjs::answer(front, site, request, peer).await,
        Destination::Elsewhere => match routes.answer(request) {
            Some(answer) => return answer.await,
            None => plain(StatusCode::NOT_FOUND, "Not found"),
        },
    })
}

/// Whether it is clear where a request's body ends. Hyper looks only at the last transfer coding. A
/// proxy may have read the others differently, and sent another request inside the body.
fn has_clear_end(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return true;
    };
    let coding = coding.as_bytes().trim_ascii();
    coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none()
}

fn ambiguous() -> Response {
    let mut response = plain(StatusCode::BAD_REQUEST, "Not a valid Transfer-Encoding");
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Answers a request for a raw WebSocket.
fn open_websocket<B>(front: &Arc<Front>, mut request: Request<B>, peer: SocketAddr) -> Response {
    let ddp = front.sites().ddp();
    if !ddp.options.websocket {
        return plain(StatusCode::NOT_FOUND, "Not found");
    }
    if request.method() != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let on_upgrade = upgrade_of(&mut request);
    let headers = request.headers();
    upgrade(front, ddp, Framing::Raw, headers, on_upgrade, peer)
}
