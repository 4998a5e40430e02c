//! The ways to a DDP server: raw WebSocket, SockJS over WebSocket, and SockJS by polling.
//! What comes over either looks the same to a test.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::client::Client;
use crate::http::Http;
use crate::transcript::Received;

/// A connection over which DDP is spoken.
pub trait Transport {
    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is gone.
    fn send_text(&mut self, text: &str) -> Result<(), String>;

    /// What comes next: a message, or the end. `None` when nothing came in time.
    fn receive(&mut self, limit: Duration) -> Option<Received>;

    /// Leaves.
    fn close(self: Box<Self>);

    /// Breaks off.
    fn reset(self: Box<Self>);
}

/// A kind of transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One message in each WebSocket message.
    Raw,
    /// SockJS's frames in WebSocket messages.
    SockJsWebSocket,
    /// SockJS's `xhr` and `xhr_send`.
    XhrPolling,
}

impl Way {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Raw, Self::SockJsWebSocket, Self::XhrPolling];

    /// What tests call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "socket",
            Self::SockJsWebSocket => "sockjs",
            Self::XhrPolling => "xhr",
        }
    }

    /// Connects to the server of which `url` is the raw WebSocket, such as
    /// `ws://127.0.0.1:3000/websocket`.
    ///
    /// # Errors
    /// When there is no such server, or it does not want to.
    pub fn connect(self, url: &str) -> Result<Box<dyn Transport>, String> {
        let base = url.strip_suffix("/websocket").unwrap_or(url);
        let path = session_path();
        match self {
            Self::Raw => {
                let client = Client::try_connect(url).map_err(|error| error.to_string())?;
                Ok(Box::new(client))
            }
            Self::SockJsWebSocket => {
                let url = format!("{base}{path}/websocket");
                let mut client = Client::try_connect(&url).map_err(|error| error.to_string())?;
                client.expect_text("o");
                Ok(Box::new(SockJs {
                    client,
                    waiting: VecDeque::new(),
                }))
            }
            Self::XhrPolling => {
                let server = match base.strip_prefix("wss://") {
                    Some(host) => format!("https://{host}"),
                    None => base.strip_prefix("ws://").unwrap_or(base).to_owned(),
                };
                Ok(Box::new(Polling::start(&server, path)))
            }
        }
    }
}

/// The path of a session that nobody else uses.
pub fn session_path() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("/sockjs/000/{}-{number}", std::process::id())
}

impl Transport for Client {
    fn send_text(&mut self, text: &str) -> Result<(), String> {
        self.send(Message::text(text))
            .map_err(|error| error.to_string())
    }

    fn receive(&mut self, limit: Duration) -> Option<Received> {
        Self::receive(self, limit)
    }

    fn close(self: Box<Self>) {
        Self::close(*self);
    }

    fn reset(self: Box<Self>) {
        Self::reset(*self);
    }
}

/// SockJS over WebSocket.
struct SockJs {
    client: Client,
    /// Of the latest frame.
    waiting: VecDeque<Received>,
}

impl Transport for SockJs {
    fn send_text(&mut self, text: &str) -> Result<(), String> {
        Transport::send_text(&mut self.client, &array(text))
    }

    fn receive(&mut self, limit: Duration) -> Option<Received> {
        let deadline = Instant::now() + limit;
        while self.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.client.receive(left)? {
                Received::Text(frame) => self.waiting.extend(unframe(&frame)),
                end => return Some(end),
            }
        }
        self.waiting.pop_front()
    }

    fn close(self: Box<Self>) {
        self.client.close();
    }

    fn reset(self: Box<Self>) {
        self.client.reset();
    }
}

/// SockJS by polling: one request always waits, on a thread of its own; others send.
struct Polling {
    frames: Receiver<Received>,
    sender: Http,
    path: String,
    socket: std::net::TcpStream,
}

impl Polling {
    fn start(host: &str, path: String) -> Self {
        let mut poller = Http::connect(host);
        let opened = poller.body(&format!("POST {path}/xhr"), "");
        assert_eq!(opened, "o\n", "a new session begins so");
        let socket = poller.tcp().try_clone().expect("a socket");
        let (to_test, frames) = sync_channel(10_000);
        let poll = format!("POST {path}/xhr");
        thread::spawn(move || poll_on(&mut poller, &poll, &to_test));
        Self {
            frames,
            sender: Http::connect(host),
            path,
            socket,
        }
    }
}

/// Polls until the session or the test ends.
fn poll_on(poller: &mut Http, poll: &str, to_test: &SyncSender<Received>) {
    while let Ok(frame) = poller.try_body(poll) {
        for received in unframe(frame.trim_end()) {
            let is_end = !matches!(received, Received::Text(_));
            if to_test.send(received).is_err() || is_end {
                return;
            }
        }
    }
}

impl Transport for Polling {
    fn send_text(&mut self, text: &str) -> Result<(), String> {
        let send = format!("POST {}/xhr_send", self.path);
        let answer = self.sender.ask(&send, &[], &array(text));
        match answer.status {
            204 => Ok(()),
            status => Err(format!("xhr_send answered {status}")),
        }
    }

    fn receive(&mut self, limit: Duration) -> Option<Received> {
        match self.frames.recv_timeout(limit) {
            Ok(received) => Some(received),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Received::Other("the poll was cut".to_owned()))
            }
        }
    }

    fn close(self: Box<Self>) {
        // As a page does that is left: the poll is cut.
        self.reset();
    }

    fn reset(self: Box<Self>) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
    }
}

/// A message as SockJS sends it.
pub fn array(text: &str) -> String {
    serde_json::to_string(&[text]).expect("a string")
}

/// What a frame brings: messages, or the end.
///
/// # Panics
/// When it is not a frame.
pub fn unframe(frame: &str) -> Vec<Received> {
    if let Some(messages) = frame.strip_prefix('a') {
        let messages: Vec<String> = serde_json::from_str(messages)
            .unwrap_or_else(|error| panic!("not a frame: {frame}: {error}"));
        return messages.into_iter().map(Received::Text).collect();
    }
    if let Some(close) = frame.strip_prefix('c') {
        let (code, reason) = serde_json::from_str(close)
            .unwrap_or_else(|error| panic!("not a frame: {frame}: {error}"));
        return vec![Received::Close { code, reason }];
    }
    assert_eq!(frame, "h", "not a frame");
    Vec::new()
}
