//! What is where: SockJS and WebSocket, the program's own routes, and answers for everything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::service::Service as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::accept::Front;
use super::admission::Admission;
use super::incoming::Incoming;
use super::sockjs::{self, Place};
use super::unread::{self, RequestBody};
use crate::shard::{Arrival, Framing, Peer};
use crate::stream::Service;
use crate::transport::encryption::Encryption;
use crate::transport::websocket::{self, Refusal};

/// The program's own routes, with an answer for what none of them takes.
pub(super) fn own(routes: BoxedFilter<(Response,)>) -> BoxedFilter<(Response,)> {
    routes.recover(refuse).unify().boxed()
}

/// Answers any request.
pub(super) async fn answer(
    front: Arc<Front>,
    own: Option<BoxedFilter<(Response,)>>,
    peer: SocketAddr,
    request: Request<Incoming>,
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
    let place = front.sites().find(request.uri().path());
    // A load balancer asks by whatever name it knows the server, or by none.
    if !matches!(place, Place::Health(_))
        && let Err(refused) = Admission::look_at(&request)
    {
        return Ok(refused.answer());
    }
    match (place, own) {
        (Place::Health(check), _) => Ok(check.answer(request.method(), front.condition())),
        (Place::WebSocket, _) => Ok(open(front, request, peer)),
        (Place::SockJs(site), _) => Ok(sockjs::answer(front, site, request, peer).await),
        (Place::Elsewhere, None) => Ok(plain(StatusCode::NOT_FOUND, "Not found")),
        (Place::Elsewhere, Some(own)) => {
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

/// What hyper has for a request that may become something else.
pub(super) fn upgrade_of<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    request.extensions_mut().remove()
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

/// Makes a WebSocket of a request, for the shard.
pub(super) fn upgrade(
    front: &Arc<Front>,
    service: &Arc<Service>,
    framing: Framing,
    headers: &HeaderMap,
    on_upgrade: Option<OnUpgrade>,
    peer: SocketAddr,
) -> Response {
    let (accept, on_upgrade) = match (websocket::accept(headers), on_upgrade) {
        (Ok(accept), Some(on_upgrade)) => (accept, on_upgrade),
        (Ok(_), None) => return refusal(Refusal::Malformed),
        (Err(reason), _) => return refusal(reason),
    };
    let admitted = match front.admission().admit(headers, peer) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.answer(),
    };
    let (shards, service) = (front.clone(), service.clone());
    front.spawn(async move {
        match on_upgrade
            .await
            .map_err(|error| error.to_string())
            .and_then(socket)
        {
            Ok(Taken {
                socket,
                encryption,
                leftover,
            }) => {
                let arrival = Arrival {
                    peer: Peer::Socket {
                        socket,
                        encryption,
                        leftover,
                        framing,
                    },
                    service,
                    client_address: admitted.client_address,
                    headers: admitted.headers,
                    seat: admitted.seat,
                    room: None,
                };
                shards.hand_over(arrival).await;
            }
            Err(error) => tracing::debug!(error, "An upgrade came to nothing."),
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn refusal(reason: Refusal) -> Response {
    match reason {
        Refusal::Malformed => plain(StatusCode::BAD_REQUEST, "Not a valid websocket request"),
        Refusal::Version => {
            let mut response = plain(StatusCode::UPGRADE_REQUIRED, "");
            let version = HeaderValue::from_static("13");
            response
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_VERSION, version);
            response
        }
    }
}

/// A socket that hyper has let go of.
struct Taken {
    socket: std::net::TcpStream,
    encryption: Option<Box<Encryption>>,
    /// What the client sent behind its handshake.
    leftover: Bytes,
}

/// Takes the socket back from hyper.
fn socket(upgraded: Upgraded) -> Result<Taken, String> {
    let (socket, encryption, leftover) = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => (parts.io.into_inner(), None, parts.read_buf),
        Err(upgraded) => encrypted(upgraded)?,
    };
    let socket = socket.into_std().map_err(|error| error.to_string())?;
    // From here on the shard sees to it that a client which takes nothing is given up.
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(&socket).set_tcp_user_timeout(None) {
        tracing::debug!(%error, "The kernel's own time could not be restored.");
    }
    Ok(Taken {
        socket,
        encryption,
        leftover,
    })
}

/// The same, where it speaks TLS: the TCP socket, and the state of what was spoken on it.
fn encrypted(upgraded: Upgraded) -> Result<(TcpStream, Option<Box<Encryption>>, Bytes), String> {
    #[cfg(feature = "tls")]
    let upgraded = match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
        Ok(parts) => {
            let (socket, connection) = parts.io.into_inner().into_inner();
            let encryption = Box::new(Encryption::new(connection));
            return Ok((socket, Some(encryption), parts.read_buf));
        }
        Err(upgraded) => upgraded,
    };
    drop(upgraded);
    Err("the connection is not a TCP socket".to_owned())
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

fn plain(status: StatusCode, text: &'static str) -> Response {
    warp::reply::with_status(text, status).into_response()
}
