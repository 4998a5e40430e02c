//! A Meteor app that does what the test tells it, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};
use updraft_test_support::client::PATIENCE;
use updraft_test_support::process::free_port;

use crate::common::eventually_within;

/// The session id that the app gives, unless it is told another.
pub(crate) const SESSION: &str = "ZZtwoThreeFour5678";

/// An app that listens.
#[derive(Debug)]
pub(crate) struct App {
    listener: TcpListener,
}

/// The app's end of one connection.
#[derive(Debug)]
pub(crate) struct AppEnd {
    socket: WebSocket<TcpStream>,
    /// The headers of its handshake, as lines.
    pub(crate) headers: Vec<String>,
    /// The path and query of its handshake.
    pub(crate) path: String,
}

impl App {
    pub(crate) fn listen() -> Self {
        Self::listen_on(free_port())
    }

    pub(crate) fn listen_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("it can be polled");
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("it is bound").port()
    }

    /// The next connection, of which nothing was read.
    pub(crate) fn accept_tcp(&self) -> TcpStream {
        let socket = self.try_accept(PATIENCE);
        socket.expect("somebody connects to the app")
    }

    /// As [`accept_tcp`](Self::accept_tcp), if there is one within this time.
    pub(crate) fn try_accept(&self, limit: Duration) -> Option<TcpStream> {
        let mut accepted = None;
        eventually_within(limit, || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (socket, _) = accepted?;
        socket.set_nonblocking(false).expect("it can be waited for");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        socket.set_nodelay(true).expect("no delay");
        Some(socket)
    }

    /// Answers a request with this status.
    pub(crate) fn answer(mut socket: TcpStream, status: &str) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|count| count > 0) {
            head.extend_from_slice(&byte);
        }
        let answer = format!("HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).expect("it is read");
    }

    /// The next connection, after the WebSocket handshake.
    ///
    /// One that ends before it was only to see whether the app is there.
    pub(crate) fn shake_hands(&self) -> AppEnd {
        loop {
            if let Some(end) = self.try_shake_hands() {
                return end;
            }
        }
    }

    fn try_shake_hands(&self) -> Option<AppEnd> {
        let (mut headers, mut path) = (Vec::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
        let note = |request: &Request, response: Response| {
            path = request.uri().to_string();
            let line = |(name, value): (&_, &tungstenite::http::HeaderValue)| {
                format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
            };
            headers = request.headers().iter().map(line).collect();
            Ok(response)
        };
        let config = WebSocketConfig::default();
        let config = config.max_message_size(None).max_frame_size(None);
        let socket = self.accept_tcp();
        let socket = tungstenite::accept_hdr_with_config(socket, note, Some(config));
        Some(AppEnd {
            socket: socket.ok()?,
            headers,
            path,
        })
    }

    /// The next connection, on which the session has begun.
    pub(crate) fn accept(&self) -> AppEnd {
        self.accept_as(SESSION)
    }

    /// As [`accept`](Self::accept), with this session id.
    pub(crate) fn accept_as(&self, session: &str) -> AppEnd {
        let mut end = self.shake_hands();
        end.hears(r#"{"msg":"connect","version":"1","support":["1"]}"#);
        end.says(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
        end
    }
}

impl AppEnd {
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        let sent = self.socket.send(Message::text(text));
        sent.unwrap_or_else(|error| panic!("not said: {text}: {error}"));
    }

    /// The next message, which must be this one.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: &str) {
        assert_eq!(self.hears_any(), expected);
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn hears_any(&mut self) -> String {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return text.as_str().to_owned(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no message, but {other:?}"),
            }
        }
    }

    /// Pings as WebSocket does, and waits for the answer.
    #[track_caller]
    pub(crate) fn pings(&mut self, payload: &'static [u8]) {
        let sent = self.socket.send(Message::Ping(payload.into()));
        sent.expect("it can be sent");
        match self.socket.read() {
            Ok(Message::Pong(answer)) => assert_eq!(answer, payload),
            other => panic!("no pong, but {other:?}"),
        }
    }

    /// Nothing may come for this time.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self, limit: Duration) {
        let limit = Some(limit);
        self.tcp().set_read_timeout(limit).expect("a limit");
        let heard = self.socket.read();
        assert!(matches!(heard, Err(Error::Io(_))), "heard {heard:?}");
        self.tcp().set_read_timeout(Some(PATIENCE)).expect("none");
    }

    /// The session must end at the gateway's wish: it says so, then closes.
    #[track_caller]
    pub(crate) fn is_left(&mut self) {
        self.hears(r#"{"msg":"disconnect"}"#);
        let closed = self.socket.read();
        assert!(matches!(closed, Ok(Message::Close(_))), "{closed:?}");
    }

    /// Closes with a close frame.
    pub(crate) fn closes(mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        self.socket.close(Some(frame)).expect("it can be closed");
        self.socket.flush().ok();
        // Until the other end has read it.
        while self.socket.read().is_ok() {}
    }

    /// Ends without a word.
    pub(crate) fn resets(self) {
        let linger = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        linger.expect("lingering can be turned off");
    }

    /// Sends bytes below WebSocket.
    pub(crate) fn writes(&mut self, bytes: &[u8]) {
        self.socket
            .get_mut()
            .write_all(bytes)
            .expect("they are taken");
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}
