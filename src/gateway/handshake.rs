//! The opening of a connection to a Meteor server: TCP, the WebSocket handshake, then DDP's
//! `connect`.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warp::http::{HeaderValue, Request, StatusCode, header};

use super::address::UpstreamAddress;
use super::headers::ClientHeaders;
use super::opened::{Opened, UpstreamEnd};
use crate::transport::websocket::{
    self, ClientKey, FrameRate, Incoming, Limits, Reader, Receiver, Sender,
};

/// Bytes of one read before the connection belongs to a shard.
const READ_BYTES: usize = 16 * 1024;

/// What is sent first. Meteor has known no other version since 2014.
const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1"]}"#;

/// Why a server has refused a connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It cannot be reached, or has broken the connection off.
    Unreachable(std::io::Error),
    /// It speaks no HTTP, or none that can be understood.
    NotHttp(hyper::Error),
    /// It answers the handshake with this status.
    Status(StatusCode),
    /// What it answers is no WebSocket, or no DDP.
    NotDdp(&'static str),
    /// It takes too long.
    Silent,
}

/// Opens a connection and says `connect`. Limited in time by the caller.
pub(super) async fn open(
    address: &UpstreamAddress,
    client: ClientHeaders,
    largest: usize,
) -> Result<Opened, Refusal> {
    let socket = TcpStream::connect(address.host_and_port()).await?;
    socket.set_nodelay(true)?;
    let (socket, leftover) = upgrade(socket, address, client).await?;
    connect(socket, &leftover, largest).await
}

/// The WebSocket handshake. Returns the socket, and bytes that came behind the handshake.
async fn upgrade(
    socket: TcpStream,
    address: &UpstreamAddress,
    client: ClientHeaders,
) -> Result<(TcpStream, Bytes), Refusal> {
    let key = ClientKey::new()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = request(address, client, &key)?;
    let mut connection = pin!(connection.with_upgrades());
    let mut exchange = pin!(async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::Status(response.status()));
        }
        if !key.is_accepted(response.headers()) {
            return Err(Refusal::NotDdp("its WebSocket handshake is wrong"));
        }
        Ok(hyper::upgrade::on(response).await?)
    });
    let upgraded: Upgraded = tokio::select! {
        biased;
        upgraded = &mut exchange => upgraded?,
        // An error of the connection reaches the exchange as well.
        _ = &mut connection => exchange.await?,
    };
    let parts = upgraded.downcast::<TokioIo<TcpStream>>();
    let Parts { io, read_buf, .. } =
        parts.map_err(|_| Refusal::NotDdp("its connection is no TCP socket"))?;
    Ok((io.into_inner(), read_buf))
}

fn request(
    address: &UpstreamAddress,
    client: ClientHeaders,
    key: &ClientKey,
) -> Result<Request<Empty<Bytes>>, Refusal> {
    let mut request = Request::new(Empty::new());
    let path = address.websocket_path().parse();
    *request.uri_mut() = path.map_err(|_| Refusal::NotDdp("its path is no path"))?;
    let headers = request.headers_mut();
    *headers = client.into_map();
    if !headers.contains_key(header::HOST) {
        let (host, port) = address.host_and_port();
        let host = HeaderValue::try_from(format!("{host}:{port}"));
        headers.insert(
            header::HOST,
            host.map_err(|_| Refusal::NotDdp("its name is no host"))?,
        );
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    headers.insert(header::SEC_WEBSOCKET_KEY, key.header());
    Ok(request)
}

/// Says `connect`, and reads until Meteor has answered.
async fn connect(
    mut socket: TcpStream,
    leftover: &[u8],
    largest: usize,
) -> Result<Opened, Refusal> {
    let mut frame = Vec::new();
    websocket::write_masked_text(CONNECT, websocket::mask(), &mut frame);
    socket.write_all(&frame).await?;
    let mut reader = Reader::default();
    let mut early = Early {
        largest,
        session: None,
        messages: Vec::new(),
        pongs: Vec::new(),
        failure: None,
        end: None,
    };
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = leftover.to_vec();
    loop {
        let read = reader.read(&mut bytes, Duration::ZERO, &mut early);
        if !early.pongs.is_empty() {
            socket.write_all(&std::mem::take(&mut early.pongs)).await?;
        }
        if let Some(session) = early.session {
            // Whatever comes behind `connected` concerns this session. The server has refused
            // nobody.
            let violation = read.err().map(UpstreamEnd::Violation);
            return Ok(Opened {
                socket: socket.into_std()?,
                reader,
                session,
                messages: early.messages,
                end: violation.or(early.end),
            });
        }
        read.map_err(|violation| Refusal::NotDdp(violation.reason))?;
        if let Some(failure) = early.failure {
            return Err(Refusal::NotDdp(failure));
        }
        let count = socket.read(&mut buffer).await?;
        if count == 0 {
            return Err(Refusal::Unreachable(
                std::io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        bytes.clear();
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// What comes until `connected`, and behind it in the same read.
struct Early {
    largest: usize,
    /// The id in `connected`.
    session: Option<Arc<str>>,
    /// What came behind it; bounded by one read.
    messages: Vec<Box<str>>,
    /// Answers to pings.
    pongs: Vec<u8>,
    failure: Option<&'static str>,
    /// How the connection has ended behind `connected`.
    end: Option<UpstreamEnd>,
}

impl Receiver for Early {
    const FROM: Sender = Sender::Server;

    fn limits(&self) -> Limits {
        Limits {
            message: self.largest,
            small_frames: FrameRate::UNLIMITED,
        }
    }

    fn receive(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Message(text) if self.session.is_some() => self.messages.push(text.into()),
            Incoming::Message(text) => match updraft_protocol::session::connected(text) {
                Some(session) => self.session = Some(session),
                None if text.contains(r#""failed""#) => {
                    self.failure = Some("it does not speak version 1 of DDP");
                }
                // The greeting of old servers.
                None => {}
            },
            Incoming::Ping(payload) => {
                websocket::write_masked_pong(payload, websocket::mask(), &mut self.pongs);
            }
            Incoming::Pong => {}
            Incoming::Close { code, reason } if self.session.is_some() => {
                let reason = reason.into();
                self.end = Some(UpstreamEnd::Closed { code, reason });
            }
            Incoming::Close { .. } => self.failure = Some("it has closed the connection"),
        }
    }
}

impl Refusal {
    /// Whether it is said of this client, and not of the server: its cookies are too long, for
    /// example, or a proxy in front of the app does not let it in. A path that does not exist does
    /// not exist for anybody.
    pub(super) fn concerns_client(&self) -> bool {
        matches!(self, Self::Status(status)
            if status.is_client_error() && *status != StatusCode::NOT_FOUND)
    }

    /// Whether somebody is at the server's port who does not serve: that the port is open says
    /// nothing then.
    pub(super) fn listens(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::NotHttp(error) => error.is_parse(),
            Self::Status(_) | Self::NotDdp(_) | Self::Silent => true,
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error)
    }
}

impl From<hyper::Error> for Refusal {
    fn from(error: hyper::Error) -> Self {
        Self::NotHttp(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "it cannot be reached: {error}"),
            Self::NotHttp(error) => write!(f, "it does not answer as an HTTP server: {error}"),
            Self::Status(StatusCode::NOT_FOUND) => f.write_str(
                "it answers 404: it has no WebSocket there, because its path is another one, or \
                 because DISABLE_WEBSOCKETS is set",
            ),
            Self::Status(status) => write!(f, "it answers {status} to the WebSocket handshake"),
            Self::NotDdp(why) => write!(f, "it is no DDP server: {why}"),
            Self::Silent => f.write_str("it does not answer in time"),
        }
    }
}
