//! A WebSocket client that can also do what a WebSocket client must not. It waits on tokio, so that
//! a thousand fit on one thread.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// The most that is read at a time.
const READ: usize = 4096;

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The end of the stream, or a reset.
    End,
}

impl Received {
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    /// Read and not yet taken; holds less than a frame and one read.
    received: Vec<u8>,
    pace: Pace,
}

/// How a client reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes at a time.
    pub(crate) sip: usize,
    /// How long it waits after each.
    pub(crate) pause: Duration,
    /// What the kernel may keep for it; as much as it likes if `None`.
    pub(crate) buffer: Option<u32>,
}

impl Pace {
    pub(crate) const FAST: Self = Self {
        sip: READ,
        pause: Duration::ZERO,
        buffer: None,
    };
    /// Slow, but faster than what it subscribes to.
    pub(crate) const SLOW: Self = Self {
        sip: 512,
        pause: Duration::from_millis(5),
        buffer: Some(4096),
    };
}

impl Socket {
    /// Opens a TCP connection and nothing more.
    pub(crate) async fn raw(address: SocketAddr, pace: Pace) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = pace.buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            pace,
        })
    }

    /// Opens a WebSocket.
    pub(crate) async fn open(address: SocketAddr, pace: Pace) -> io::Result<Self> {
        let mut socket = Self::raw(address, pace).await?;
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.send(request.as_bytes()).await?;
        loop {
            let end = socket.received.windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = socket.received.drain(..end + 4).collect();
                return if head.starts_with(b"HTTP/1.1 101 ") {
                    Ok(socket)
                } else {
                    Err(io::Error::other("not upgraded"))
                };
            }
            if socket.read().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a text message.
    pub(crate) async fn send_text(&self, text: &str) -> io::Result<()> {
        self.send(&frame(TEXT, text.as_bytes())).await
    }

    /// What comes next. Cancel safe: what was read is kept.
    pub(crate) async fn receive(&mut self) -> Received {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return Received::Text(String::from_utf8_lossy(&payload).into_owned()),
                    8 => {
                        let code = payload.first_chunk().copied().map(u16::from_be_bytes);
                        return Received::Close(code);
                    }
                    // The server sends no other messages; a pong answers what was garbage.
                    _ => {}
                }
            } else if self.read().await.unwrap_or(0) == 0 {
                return Received::End;
            }
        }
    }

    /// Whether the server, or its kernel, has reset the connection; known without reading.
    pub(crate) fn is_reset(&self) -> bool {
        !matches!(self.stream.take_error(), Ok(None))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) -> io::Result<()> {
        SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write)
    }

    /// Ends the connection as a crash would.
    pub(crate) fn reset(self) {
        // Fails only when the connection has gone already.
        drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
    }

    /// Reads as the pace allows; 0 at the end.
    async fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; READ];
        let sip = self.pace.sip.min(READ);
        loop {
            if !self.pace.pause.is_zero() {
                sleep(self.pace.pause).await;
            }
            self.stream.readable().await?;
            match self.stream.try_read(&mut buffer[..sip]) {
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A whole frame, if there is one: opcode and payload. Servers neither mask nor, here,
    /// fragment.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = *self.received.as_slice() else {
            return None;
        };
        let (header, length) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes(*self.received.get(2..)?.first_chunk()?)),
            ),
            127 => {
                let length = u64::from_be_bytes(*self.received.get(2..)?.first_chunk()?);
                (
                    10,
                    usize::try_from(length).expect("the server sends what can be kept"),
                )
            }
            length => (2, usize::from(length)),
        };
        let payload = self.received.get(header..header + length)?.to_vec();
        self.received.drain(..header + length);
        Some((first & 0x0f, payload))
    }
}

pub(crate) const TEXT: u8 = 0x81;

/// A masked frame, whose first byte says what it is.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = *b"mask";
    let mut frame = header(first, payload.len() as u64);
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The header of a masked frame, without its mask.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut header = vec![first];
    if let Ok(length @ ..126) = u8::try_from(length) {
        header.push(MASKED | length);
    } else if let Ok(length) = u16::try_from(length) {
        header.push(MASKED | 126);
        header.extend_from_slice(&length.to_be_bytes());
    } else {
        header.push(MASKED | 127);
        header.extend_from_slice(&length.to_be_bytes());
    }
    header
}
