//! What is where: the WebSocket endpoint, the program's own routes, and answers for everything else.

use std::convert::Infallible;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use tokio::net::TcpStream;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::accept::{Front, PeerAddr};
use crate::shard::Arrival;
use crate::transport::websocket::{self, Refusal};

/// Everything below this belongs to SockJS.
const SOCKJS: &str = "/sockjs";

/// The server's routes: WebSocket first, then the program's own.
pub(super) fn routes(
    front: Front,
    own: Option<BoxedFilter<(Response,)>>,
) -> BoxedFilter<(Response,)> {
    let websocket = warp::path::full()
        .and_then(|path: FullPath| async move {
            if is_websocket(path.as_str()) {
                Ok(())
            } else {
                Err(warp::reject::not_found())
            }
        })
        .untuple_one()
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<PeerAddr>())
        .map(move |method, headers, upgrade, peer| answer(&front, &method, headers, upgrade, peer));
    match own {
        Some(own) => websocket.or(own).unify().recover(refuse).unify().boxed(),
        None => websocket.recover(refuse).unify().boxed(),
    }
}

/// Raw WebSocket is at `/websocket`, `/websocket/`, and any path that ends so.
fn is_websocket(path: &str) -> bool {
    !is_below_sockjs(path)
        && path
            .strip_suffix('/')
            .unwrap_or(path)
            .ends_with("/websocket")
}

pub(super) fn is_below_sockjs(path: &str) -> bool {
    path.strip_prefix(SOCKJS)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn answer(
    front: &Front,
    method: &Method,
    headers: HeaderMap,
    on_upgrade: Option<OnUpgrade>,
    PeerAddr(peer): PeerAddr,
) -> Response {
    if method != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let (accept, on_upgrade) = match (websocket::accept(&headers), on_upgrade) {
        (Ok(accept), Some(on_upgrade)) => (accept, on_upgrade),
        (Ok(_), None) => return refusal(Refusal::Malformed),
        (Err(reason), _) => return refusal(reason),
    };
    let admitted = match front.admit(&headers, peer) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.answer(),
    };
    if !front.has_room() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Too much is queued");
    }
    let shards = front.clone();
    front.spawn(async move {
        match on_upgrade
            .await
            .map_err(|error| error.to_string())
            .and_then(socket)
        {
            Ok((socket, leftover)) => {
                shards.hand_over(Arrival {
                    socket,
                    leftover,
                    client_address: admitted.client_address,
                    headers: admitted.headers,
                    seat: admitted.seat,
                });
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

/// Takes the socket back from hyper, with what the client sent behind its handshake.
fn socket(upgraded: Upgraded) -> Result<(std::net::TcpStream, bytes::Bytes), String> {
    let parts = upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
        .map_err(|_| "the connection is not a TCP socket".to_owned())?;
    let socket = parts
        .io
        .into_inner()
        .into_std()
        .map_err(|error| error.to_string())?;
    Ok((socket, parts.read_buf))
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

#[cfg(test)]
mod tests {
    use super::is_websocket;

    #[test]
    fn ddp_217_raw_websocket_is_at_any_path_that_ends_so() {
        for path in [
            "/websocket",
            "/websocket/",
            "/websocket/websocket",
            "/app/websocket",
        ] {
            assert!(is_websocket(path), "{path}");
        }
        for path in [
            "/",
            "/websockets",
            "/xwebsocket/x",
            "/sockjs/websocket",
            "/sockjs/000/abcdefgh/websocket",
        ] {
            assert!(!is_websocket(path), "{path}");
        }
        assert!(is_websocket("/sockjsapp/websocket"));
        assert!(!is_websocket("/xwebsocket"));
    }
}
