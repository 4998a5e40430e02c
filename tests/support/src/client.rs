//! A WebSocket client for tests: it sends what it is told and says exactly what came back.
//! It blocks, with a time limit on everything.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Uri;
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Error, Message, WebSocket};

use crate::stream::Stream;
use crate::transcript::Received;

/// How long an answer may take that is sure to come, on a machine that does much else at the same
/// time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a client sends first.
pub const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1","pre2","pre1"]}"#;

/// How the address of a server begins that speaks TLS.
const SECURE: &str = "wss:";

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<Stream>,
}

impl Client {
    /// Opens a WebSocket, such as `ws://127.0.0.1:3000/websocket`, or over TLS `wss:`.
    ///
    /// # Panics
    /// When there is no such server.
    pub fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// As [`connect`](Self::connect), then introduces itself as a DDP client. Answers with the
    /// session id too.
    ///
    /// # Panics
    /// When the server does not answer `connected`.
    pub fn ddp_connect(url: &str) -> (Self, String) {
        let mut client = Self::connect(url);
        client.send_text(CONNECT);
        let answer = client.expect_any_text();
        let session = answer
            .strip_prefix(r#"{"msg":"connected","session":""#)
            .and_then(|rest| rest.strip_suffix(r#""}"#))
            .unwrap_or_else(|| panic!("not connected: {answer}"));
        let session = session.to_owned();
        (client, session)
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// When there is no such server, or it does not want to.
    pub fn try_connect(url: &str) -> Result<Self, Error> {
        Self::over(tcp(url)?, url)
    }

    /// Opens a WebSocket with headers beside the usual ones.
    ///
    /// # Errors
    /// When there is no such server, or it does not want to.
    ///
    /// # Panics
    /// When these are no headers.
    pub fn connect_with(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        let is_secure = url.starts_with(SECURE);
        for (name, value) in headers {
            let value = value.parse().expect("a header's value");
            request.headers_mut().insert(*name, value);
        }
        Self::open(tcp(url)?, is_secure, request)
    }

    /// Opens a WebSocket over a TCP connection that the test has prepared, with a small receive
    /// buffer for example.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub fn over(stream: TcpStream, url: &str) -> Result<Self, Error> {
        Self::open(stream, url.starts_with(SECURE), url)
    }

    fn open(
        tcp: TcpStream,
        is_secure: bool,
        request: impl IntoClientRequest,
    ) -> Result<Self, Error> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let stream = match is_secure {
            false => Stream::Plain(tcp),
            true => Stream::secure(tcp)?,
        };
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(interrupted) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, interrupted.to_string());
                Err(error.into())
            }
        }
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send_text(&mut self, text: &str) {
        self.send(Message::text(text))
            .unwrap_or_else(|error| panic!("not sent: {text}: {error}"));
    }

    /// Sends any frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message)
    }

    /// What comes next: a text frame, or the end. `None` when nothing came in time.
    ///
    /// WebSocket pings are answered on the way.
    pub fn receive(&mut self, limit: Duration) -> Option<Received> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean for ever.
            let left = left.max(Duration::from_micros(100));
            if let Err(error) = self.tcp().set_read_timeout(Some(left)) {
                return Some(Received::Other(error.to_string()));
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(Received::Text(text.as_str().to_owned())),
                Ok(Message::Close(frame)) => return Some(closed(frame)),
                Ok(Message::Binary(bytes)) => {
                    let length = bytes.len();
                    return Some(Received::Other(format!("a binary frame of {length} bytes")));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(&error) => {}
                Err(error) => return Some(Received::Other(error.to_string())),
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// The next text frame, or `None` when nothing came in time.
    ///
    /// # Panics
    /// When the connection ends.
    pub fn next_text(&mut self, limit: Duration) -> Option<String> {
        match self.receive(limit)? {
            Received::Text(text) => Some(text),
            end => panic!("the connection ended: {end}"),
        }
    }

    /// The next text frame, whatever it is.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect_any_text(&mut self) -> String {
        let text = self.next_text(PATIENCE);
        text.unwrap_or_else(|| panic!("nothing came within {PATIENCE:?}"))
    }

    /// The next text frame, which must be this one.
    ///
    /// # Panics
    /// When it is another, or does not come.
    #[track_caller]
    pub fn expect_text(&mut self, expected: &str) {
        match self.receive(PATIENCE) {
            Some(Received::Text(text)) if text == expected => {}
            Some(got) => panic!("expected <- {expected}\n     got {got}"),
            None => panic!("expected <- {expected}\n     got nothing within {PATIENCE:?}"),
        }
    }

    /// Nothing may come for that many milliseconds.
    ///
    /// # Panics
    /// When something does.
    #[track_caller]
    pub fn expect_silence(&mut self, milliseconds: u64) {
        if let Some(got) = self.receive(Duration::from_millis(milliseconds)) {
            panic!("expected silence\n     got {got}");
        }
    }

    /// The server must close now, with this code and reason.
    ///
    /// # Panics
    /// When it does anything else.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16, reason: &str) {
        let expected = Received::Close {
            code,
            reason: reason.to_owned(),
        };
        match self.receive(PATIENCE) {
            Some(got) if got == expected => {}
            Some(got) => panic!("expected {expected}\n     got {got}"),
            None => panic!("expected {expected}\n     got nothing within {PATIENCE:?}"),
        }
    }

    /// Closes as WebSocket wants it, and waits until the server has let go. What it still says is
    /// dropped.
    pub fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let mut open = self.socket.close(Some(frame)).is_ok();
        while open {
            let received = self.receive(PATIENCE);
            open = matches!(received, Some(Received::Text(_)));
        }
    }

    /// Ends the connection with a reset, as a machine that crashed and came back would.
    ///
    /// # Panics
    /// When the operating system refuses.
    pub fn reset(self) {
        let linger = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        linger.expect("lingering can be turned off");
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.socket.get_ref().tcp()
    }
}

fn tcp(url: &str) -> Result<TcpStream, Error> {
    let uri: Uri = url.parse().map_err(Error::from)?;
    let host = uri.host().unwrap_or("localhost");
    Ok(TcpStream::connect((host, uri.port_u16().unwrap_or(80)))?)
}

fn closed(frame: Option<CloseFrame>) -> Received {
    match frame {
        Some(frame) => Received::Close {
            code: frame.code.into(),
            reason: frame.reason.as_str().to_owned(),
        },
        None => Received::Other("a close frame without a code".into()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
