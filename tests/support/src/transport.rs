//! The ways to a DDP server: raw WebSocket, and SockJS over WebSocket, by streaming and by polling.
//! What comes over either looks the same to a test.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::client::{Client, PATIENCE};
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
    /// SockJS's `xhr_streaming` and `xhr_send`.
    XhrStreaming,
    /// SockJS's `xhr` and `xhr_send`.
    XhrPolling,
}

impl Way {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::Raw,
        Self::SockJsWebSocket,
        Self::XhrStreaming,
        Self::XhrPolling,
    ];

    /// What tests call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "socket",
            Self::SockJsWebSocket => "sockjs",
            Self::XhrStreaming => "streaming",
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
            Self::XhrStreaming => Ok(Box::new(Requests::stream(&http(base), path))),
            Self::XhrPolling => Ok(Box::new(Requests::poll(&http(base), path))),
        }
    }
}

/// The server of this WebSocket, as [`Http::connect`] takes it.
fn http(base: &str) -> String {
    match base.strip_prefix("wss://") {
        Some(host) => format!("https://{host}"),
        None => base.strip_prefix("ws://").unwrap_or(base).to_owned(),
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

/// SockJS by requests: one always waits, on a thread of its own; others send.
struct Requests {
    frames: Receiver<Received>,
    sender: Http,
    path: String,
    /// Of the request that waits.
    socket: std::net::TcpStream,
}

impl Requests {
    /// Each answer brings one frame.
    fn poll(host: &str, path: String) -> Self {
        let mut poller = Http::connect(host);
        let poll = format!("POST {path}/xhr");
        let opened = poller.body(&poll, "");
        assert_eq!(opened, "o\n", "a new session begins so");
        Self::start(host, path, poller, move |poller, to_test| {
            while let Ok(frame) = poller.try_body(&poll) {
                if !pass_on(frame.trim_end(), to_test) {
                    return;
                }
            }
        })
    }

    /// An answer brings frames until the server thinks that it is long enough.
    fn stream(host: &str, path: String) -> Self {
        let (opened, has_opened) = sync_channel(1);
        let request = format!("POST {path}/xhr_streaming");
        let requests = Self::start(host, path, Http::connect(host), move |streamer, to_test| {
            while let Ok(mut answer) = streamer.try_ask(&request) {
                let mut text = String::new();
                while let Ok(Some(piece)) = answer.try_piece() {
                    text.push_str(&piece);
                    // The last one may lack its end.
                    let whole = text.rfind('\n').map_or(0, |end| end + 1);
                    for frame in text.drain(..whole).collect::<String>().lines() {
                        let goes_on = match frame {
                            "o" => opened.send(()).is_ok(),
                            // What an answer begins with, for browsers that keep its first bytes.
                            _ if frame.starts_with("hh") => true,
                            _ => pass_on(frame, to_test),
                        };
                        if !goes_on {
                            return;
                        }
                    }
                }
            }
        });
        let opened = has_opened.recv_timeout(PATIENCE);
        opened.expect("a new session begins with an o");
        requests
    }

    fn start(
        host: &str,
        path: String,
        mut waiting: Http,
        wait: impl FnOnce(&mut Http, &SyncSender<Received>) + Send + 'static,
    ) -> Self {
        let socket = waiting.tcp().try_clone().expect("a socket");
        let (to_test, frames) = sync_channel(10_000);
        thread::spawn(move || wait(&mut waiting, &to_test));
        Self {
            frames,
            sender: Http::connect(host),
            path,
            socket,
        }
    }
}

/// Gives the test what a frame brings; whether the session and the test go on.
fn pass_on(frame: &str, to_test: &SyncSender<Received>) -> bool {
    unframe(frame).into_iter().all(|received| {
        let goes_on = matches!(received, Received::Text(_));
        to_test.send(received).is_ok() && goes_on
    })
}

impl Transport for Requests {
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
                Some(Received::Other("the request was cut".to_owned()))
            }
        }
    }

    fn close(self: Box<Self>) {
        // As a page does that is left: its request is cut.
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
