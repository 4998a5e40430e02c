//! What is where: SockJS and WebSocket, the program's own routes, and answers for everything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::admission::Admission;
use super::answer::plain;
use super::front::Front;
use super::incoming::IncomingBody;
use super::sites::Destination;
use super::sockjs;
use super::unread::{self, RequestBody};
use super::upgrade::{upgrade, upgrade_of};
use crate::transport::Framing;

/// The program's own routes, with an answer for what none of them takes.
pub(super) fn own(routes: BoxedFilter<(Response,)>) -> BoxedFilter<(Response,)> {
    routes.recover(refuse).unify().boxed()
}

/// Answers any request.
pub(super) async fn answer(
    front: Arc<Front>,
    own: Option<BoxedFilter<(Response,)>>,
    peer: SocketAddr,
    request: Request<IncomingBody>,
) -> Result<Response, Infallible> {
    let (request, unread) = unread::watch(request);
    let response = respond(&front, own, peer, request).await?;
    let (response, rest) = unread.settle(response).await;
    if let Some(rest) = rest {
        front.spawn_until_draining(rest.throw_away());
    }
    Ok(response)
}

async fn respond(
    front: &Arc<Front>,
    own: Option<BoxedFilter<(Response,)>>,
    peer: SocketAddr,
    request: Request<RequestBody>,
) -> Result<Response, Infallible> {
    if !has_clear_end(request.headers()) {
        return Ok(ambiguous());
    }
    let destination = front.sites().find(request.uri().path());
    // A load balancer asks by whatever name it knows the server, or by none.
    if !matches!(destination, Destination::Health(_))
        && let Err(refused) = Admission::look_at(&request)
    {
        return Ok(refused.answer());
    }
    match (destination, own) {
        (Destination::Health(check), _) => Ok(check.answer(request.method(), front.condition())),
        (Destination::WebSocket, _) => Ok(open(front, request, peer)),
        (Destination::SockJs(site), _) => Ok(sockjs::answer(front, site, request, peer).await),
        (Destination::Elsewhere, None) => Ok(plain(StatusCode::NOT_FOUND, "Not found")),
        (Destination::Elsewhere, Some(own)) => {
            let own = TowerToHyperService::new(warp::service(own));
            own.call(request).await
        }
    }
}

/// Whether it is clear where a request's body ends. Hyper looks at the last transfer coding only;
/// what stands before it a proxy may have understood otherwise, and sent the next request within.
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
fn open<B>(front: &Arc<Front>, mut request: Request<B>, peer: SocketAddr) -> Response {
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

/// What no route has taken: 404, unless a route knows better.
async fn refuse(rejection: Rejection) -> Result<Response, Infallible> {
    if rejection.is_not_found() {
        return Ok(plain(StatusCode::NOT_FOUND, "Not found"));
    }
    let status = if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        StatusCode::METHOD_NOT_ALLOWED
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if rejection
        .find::<warp::reject::UnsupportedMediaType>()
        .is_some()
    {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        StatusCode::LENGTH_REQUIRED
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(plain(status, status.canonical_reason().unwrap_or_default()))
}
