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
use crate::transport::metered::Activity;

/// Answers any request.
pub(super) async fn answer(
    front: Arc<Front>,
    routes: Arc<Routes>,
    from: (SocketAddr, Arc<Activity>),
    request: Request<IncomingBody>,
) -> Result<AnyResponse<ResponseBody>, Infallible> {
    let asked_for = websocket_path(&request);
    let (request, unread) = unread::watch(request);
    let response = respond(&front, &routes, from, request).await;
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
    (peer, activity): (SocketAddr, Arc<Activity>),
    request: Request<RequestBody>,
) -> AnyResponse<ResponseBody> {
    if !has_clear_end(request.headers()) {
        return boxed(ambiguous());
    }
    let destination = front.sites().find(request.uri().path());
    let route = match destination {
        Destination::Elsewhere => routes.find(request.uri().path()),
        _ => None,
    };
    let passage = front.passage().filter(|_| route.is_none());
    let is_passed = passage.is_some() && matches!(destination, Destination::Elsewhere);
    let limit = match is_passed {
        true => front.header_bytes(),
        false => front.settings().http.header_bytes,
    };
    if head_bytes(&request) > limit {
        return boxed(too_long());
    }
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
        Destination::Elsewhere => match (route, passage) {
            (Some(route), _) => return route.answer(request).await,
            (None, Some(gateway)) => {
                let headers = request.headers();
                let from = front.admission().requester(headers, peer, activity);
                return boxed(
                    Box::pin(gateway.pass(request.map(RequestBody::patient), from)).await,
                );
            }
            (None, None) => plain(StatusCode::NOT_FOUND, "Not found"),
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
    closing(plain(
        StatusCode::BAD_REQUEST,
        "Not a valid Transfer-Encoding",
    ))
}

/// Says that the connection ends with this answer.
fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// About as many bytes as the head of a request had. Its parser accepts those that may be passed to
/// Meteor, which may be longer than this server's own.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query();
    let line = target.map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    let bytes = headers.flat_map(|(name, value)| [name.as_str().len(), value.len(), 4]);
    bytes.fold(line, usize::saturating_add)
}

fn too_long() -> Response {
    closing(plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ""))
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
