//! What is where: SockJS and WebSocket, the program's own routes, and answers for everything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::accept::{Front, PeerAddr};
use super::sockjs::{self, Sites};
use crate::shard::{Arrival, Framing, Peer};
use crate::sockjs::Service;
use crate::transport::encryption::Encryption;
use crate::transport::websocket::{self, Refusal};

/// The server's routes: SockJS and raw WebSocket first, then the program's own.
pub(super) fn routes(
    front: Front,
    own: Option<BoxedFilter<(Response,)>>,
) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let to_sockjs = front.clone();
    let sockjs = at(&front, Sites::find)
        .and(warp::method())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<PeerAddr>())
        .and(warp::body::stream())
        .then(
            move |site, method, query, headers, on_upgrade, PeerAddr(peer), body| {
                let request = sockjs::Request {
                    site,
                    method,
                    query,
                    headers,
                    on_upgrade,
                    peer,
                    body,
                };
                sockjs::answer(to_sockjs.clone(), request)
            },
        );
    let to_websocket = front.clone();
    let websocket = at(&front, |sites, path| sites.is_websocket(path).then_some(()))
        .untuple_one()
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<PeerAddr>())
        .map(move |method, headers, on_upgrade, peer| {
            answer(&to_websocket, &method, &headers, on_upgrade, peer)
        });
    let ours = sockjs.or(websocket).unify();
    match own {
        Some(own) => ours.or(own).unify().recover(refuse).unify().boxed(),
        None => ours.recover(refuse).unify().boxed(),
    }
}

/// Takes the requests whose path is found.
fn at<T: Send + 'static>(
    front: &Front,
    find: impl Fn(&Sites, &str) -> Option<T> + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (T,), Error = Rejection> + Clone + Send + Sync + 'static {
    let front = front.clone();
    warp::path::full().and_then(move |path: FullPath| {
        let found = find(front.sites(), path.as_str());
        std::future::ready(found.ok_or_else(warp::reject::not_found))
    })
}

/// Answers a request for a raw WebSocket.
fn answer(
    front: &Front,
    method: &Method,
    headers: &HeaderMap,
    on_upgrade: Option<OnUpgrade>,
    PeerAddr(peer): PeerAddr,
) -> Response {
    let ddp = front.sites().ddp();
    if !ddp.options.websocket {
        return plain(StatusCode::NOT_FOUND, "Not found");
    }
    if method != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    upgrade(front, ddp, Framing::Raw, headers, on_upgrade, peer)
}

/// Makes a WebSocket of a request, for the shard.
pub(super) fn upgrade(
    front: &Front,
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
    let admitted = match front.admit(headers, peer) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.answer(),
    };
    if !front.has_room() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Too much is queued");
    }
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
    let (socket, encryption, leftover) =
        match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => (parts.io.into_inner(), None, parts.read_buf),
            Err(upgraded) => encrypted(upgraded)?,
        };
    Ok(Taken {
        socket: socket.into_std().map_err(|error| error.to_string())?,
        encryption,
        leftover,
    })
}

/// The same, where it speaks TLS: the TCP socket, and the state of what was spoken on it.
fn encrypted(upgraded: Upgraded) -> Result<(TcpStream, Option<Box<Encryption>>, Bytes), String> {
    #[cfg(feature = "tls")]
    let upgraded = match auto::upgrade::downcast::<TokioIo<TlsStream<TcpStream>>>(upgraded) {
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
