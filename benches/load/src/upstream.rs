//! A DDP server that costs little and does the same for everybody: what stands behind a gateway
//! that is measured. It reads only what the load generator sends, and is no server for anybody else.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::{find, rfind};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use sha1::{Digest, Sha1};

use crate::frame::{self, CLOSE, PING, PONG, TEXT, unmasked};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 256 * 1024;
/// What RFC 6455 appends to the key of a handshake.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Listens on a port of the loopback interface until the process is ended. A client is sent the
/// document `one` of `things` when it subscribes to anything, and each change that somebody makes by
/// calling `change`; `echo` returns its parameter.
///
/// # Errors
///
/// The port is in use, or the kernel refuses to poll.
pub fn run(port: u16) -> Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
                continue;
            }
            let number = event.token().0;
            let Some(client) = clients.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            let mut changes = Vec::new();
            let is_alive = client
                .flush()
                .and_then(|()| client.read(&mut buffer, &mut changes));
            if is_alive.is_err() {
                clients[number] = None;
            }
            for change in changes {
                for client in clients
                    .iter_mut()
                    .flatten()
                    .filter(|client| client.is_shown)
                {
                    // What is wrong with it shows when it is read.
                    client.output.extend_from_slice(&change);
                    drop(client.flush());
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Vec<Option<Client>>) -> Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut socket, Token(clients.len()), both)?;
        clients.push(Some(Client {
            socket,
            is_upgraded: false,
            is_shown: false,
            unparsed: Vec::new(),
            output: Vec::new(),
        }));
    }
}

struct Client {
    socket: TcpStream,
    is_upgraded: bool,
    /// Whether it is shown the document.
    is_shown: bool,
    /// The beginning of a message whose rest has not come.
    unparsed: Vec<u8>,
    /// What the socket has not taken.
    output: Vec<u8>,
}

impl Client {
    fn read(&mut self, buffer: &mut [u8], changes: &mut Vec<Vec<u8>>) -> Result<()> {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let bytes = &mut buffer[..count];
            if self.unparsed.is_empty() {
                let rest = self.take_in(bytes, changes)?;
                self.unparsed = bytes[count - rest..].to_vec();
            } else {
                let mut unparsed = std::mem::take(&mut self.unparsed);
                unparsed.extend_from_slice(bytes);
                let rest = self.take_in(&mut unparsed, changes)?;
                unparsed.drain(..unparsed.len() - rest);
                self.unparsed = unparsed;
            }
            // All answers to one read are one write.
            self.flush()?;
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Returns how many bytes at the end are an incomplete message.
    fn take_in(&mut self, mut bytes: &mut [u8], changes: &mut Vec<Vec<u8>>) -> Result<usize> {
        if !self.is_upgraded {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                return Ok(bytes.len());
            };
            let (head, rest) = bytes.split_at_mut(end + 4);
            self.upgrade(head)?;
            bytes = rest;
        }
        loop {
            let left = bytes.len();
            let Some(frame) = frame::take_masked(bytes) else {
                return Ok(left);
            };
            match frame.opcode {
                TEXT => self.on_message(frame.body, changes),
                PING => self.output.extend(unmasked(PONG, frame.body)),
                CLOSE => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            bytes = frame.rest;
        }
    }

    fn upgrade(&mut self, head: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(head);
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let is_key = name.eq_ignore_ascii_case("sec-websocket-key");
            is_key.then(|| value.trim().to_owned())
        };
        let key = text
            .lines()
            .find_map(header)
            .ok_or(ErrorKind::InvalidData)?;
        let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.output.extend_from_slice(answer.as_bytes());
        self.is_upgraded = true;
        Ok(())
    }

    fn on_message(&mut self, text: &[u8], changes: &mut Vec<Vec<u8>>) {
        let id = || value(text, br#""id":""#, b'"');
        match value(text, br#""msg":""#, b'"') {
            b"connect" => self.say(&[br#"{"msg":"connected","session":"upstream"}"#]),
            b"ping" => self.say(&[br#"{"msg":"pong"}"#]),
            b"sub" => {
                self.is_shown = true;
                self.say(&[br#"{"msg":"added","collection":"things","id":"one","fields":{}}"#]);
                self.say(&[br#"{"msg":"ready","subs":[""#, id(), br#""]}"#]);
            }
            b"unsub" => {
                self.is_shown = false;
                self.say(&[br#"{"msg":"nosub","id":""#, id(), br#""}"#]);
            }
            b"method" => {
                let parameter = parameter(text);
                let is_change = value(text, br#""method":""#, b'"') == b"change";
                if is_change {
                    let start = br#"{"msg":"changed","collection":"things","id":"one","fields":"#;
                    changes.push(unmasked(TEXT, &[&start[..], parameter, b"}"].concat()));
                }
                let result = if is_change { b"null" } else { parameter };
                self.say(&[br#"{"msg":"updated","methods":[""#, id(), br#""]}"#]);
                self.say(&[
                    br#"{"msg":"result","id":""#,
                    id(),
                    br#"","result":"#,
                    result,
                    b"}",
                ]);
            }
            _ => {}
        }
    }

    fn say(&mut self, parts: &[&[u8]]) {
        self.output.extend(unmasked(TEXT, &parts.concat()));
    }

    fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        Ok(())
    }
}

/// What stands behind the first `start`, up to `end`.
fn value<'a>(text: &'a [u8], start: &[u8], end: u8) -> &'a [u8] {
    let Some(at) = find(text, start) else {
        return &[];
    };
    let rest = &text[at + start.len()..];
    memchr::memchr(end, rest).map_or(&[], |end| &rest[..end])
}

/// The only parameter of a call, whose `params` are its last member.
fn parameter(text: &[u8]) -> &[u8] {
    let start = br#""params":["#;
    let (from, to) = (find(text, start), rfind(text, b"]}"));
    match (from, to) {
        (Some(from), Some(to)) => text.get(from + start.len()..to).unwrap_or(b"null"),
        _ => b"null",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_load_generator_sends_is_read() {
        let call = br#"{"msg":"method","id":"7","method":"echo","params":[{"a":[{"b":"]"}]}]}"#;
        assert_eq!(value(call, br#""msg":""#, b'"'), b"method");
        assert_eq!(value(call, br#""id":""#, b'"'), b"7");
        assert_eq!(parameter(call), br#"{"a":[{"b":"]"}]}"#);
        assert_eq!(parameter(br#"{"msg":"method"}"#), b"null");
    }
}
