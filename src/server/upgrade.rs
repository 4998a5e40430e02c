//! A request that becomes a WebSocket: its handshake, the socket taken back from hyper, and the
//! hand-over to a shard.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;
use warp::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use warp::reply::Response;

use super::answer::plain;
use super::front::Front;
use crate::shard::{Arrival, Peer};
use crate::stream::Service;
use crate::transport::Framing;
use crate::transport::encryption::Encryption;
use crate::transport::metered::{Metered, OverTcp};
use crate::transport::websocket::{self, HandshakeRefusal};

/// Takes hyper's upgrade out of a request that may become a WebSocket.
pub(super) fn upgrade_of<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    request.extensions_mut().remove()
}

/// Answers the handshake of a WebSocket, and hands its socket to a shard in a task of its own.
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
        (Ok(_), None) => return refusal(HandshakeRefusal::Malformed),
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
            .and_then(take_socket)
        {
            Ok(UpgradedSocket {
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
                    for_meteor: admitted.for_meteor,
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

fn refusal(reason: HandshakeRefusal) -> Response {
    match reason {
        HandshakeRefusal::Malformed => {
            plain(StatusCode::BAD_REQUEST, "Not a valid websocket request")
        }
        HandshakeRefusal::Version => {
            let mut response = plain(StatusCode::UPGRADE_REQUIRED, "");
            let version = HeaderValue::from_static("13");
            response
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_VERSION, version);
            response
        }
    }
}

/// A socket that was taken back from hyper.
struct UpgradedSocket {
    socket: std::net::TcpStream,
    encryption: Option<Box<Encryption>>,
    /// Bytes that the client sent behind its handshake.
    leftover: Bytes,
}

/// Takes the socket back from hyper.
fn take_socket(upgraded: Upgraded) -> Result<UpgradedSocket, String> {
    let (socket, encryption, leftover) = match upgraded.downcast::<TokioIo<Metered<TcpStream>>>() {
        Ok(parts) => (unmetered(parts.io)?, None, parts.read_buf),
        Err(upgraded) => encrypted(upgraded)?,
    };
    let socket = socket.into_std().map_err(|error| error.to_string())?;
    // From here on the shard closes clients that take nothing.
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(&socket).set_tcp_user_timeout(None) {
        tracing::debug!(%error, "The kernel's own TCP timeout could not be restored.");
    }
    Ok(UpgradedSocket {
        socket,
        encryption,
        leftover,
    })
}

fn unmetered<S: OverTcp>(socket: TokioIo<Metered<S>>) -> Result<S, String> {
    let socket = socket.into_inner().into_inner();
    socket.map_err(|error| error.to_string())
}

/// The same for a TLS connection: the TCP socket, and the state of its TLS.
fn encrypted(upgraded: Upgraded) -> Result<(TcpStream, Option<Box<Encryption>>, Bytes), String> {
    #[cfg(feature = "tls")]
    let upgraded = match upgraded.downcast::<TokioIo<Metered<TlsStream<TcpStream>>>>() {
        Ok(parts) => {
            let (socket, connection) = unmetered(parts.io)?.into_inner();
            let encryption = Box::new(Encryption::new(connection));
            return Ok((socket, Some(encryption), parts.read_buf));
        }
        Err(upgraded) => upgraded,
    };
    drop(upgraded);
    Err("the connection is not a TCP socket".to_owned())
}
