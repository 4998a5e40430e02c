//! The limit for a gateway: what is read from one socket is written to another, and nobody looks at
//! it. No gateway can be cheaper, because each has to read and to write.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;

/// Passes connections to a port of the loopback interface on to another address, until the process
/// is ended.
///
/// # Errors
///
/// The port is in use, the other address does not answer, or the kernel refuses to poll.
pub fn run(port: u16, to: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    // The two ends of a connection are neighbours.
    let mut ends: Vec<Option<End>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, to, &poll, &mut ends)?;
                continue;
            }
            let from = event.token().0;
            let to = from ^ 1;
            // Written to again, a socket may free the reading of the other.
            let passed = (|| {
                if event.is_writable() && is_waiting(&mut ends, from)? {
                    pass(&mut ends, to, from, &mut buffer)?;
                }
                pass(&mut ends, from, to, &mut buffer)
            })();
            if passed.is_err() {
                ends[from] = None;
                ends[to] = None;
            }
        }
    }
}

/// One of the two sockets of a connection.
struct End {
    socket: TcpStream,
    /// What it has not taken. While there is any the other one is not read.
    waiting: Vec<u8>,
}

fn accept(
    listener: &TcpListener,
    to: SocketAddr,
    poll: &Poll,
    ends: &mut Vec<Option<End>>,
) -> Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let server = std::net::TcpStream::connect(to)?;
        server.set_nonblocking(true)?;
        for mut socket in [client, TcpStream::from_std(server)] {
            socket.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut socket, Token(ends.len()), both)?;
            let waiting = Vec::new();
            ends.push(Some(End { socket, waiting }));
        }
    }
}

/// Writes what waits for a socket. Returns whether there was any, and all of it is written.
fn is_waiting(ends: &mut [Option<End>], number: usize) -> Result<bool> {
    let Some(end) = &mut ends[number] else {
        return Ok(false);
    };
    if end.waiting.is_empty() {
        return Ok(false);
    }
    let written = write(&mut end.socket, &end.waiting)?;
    end.waiting.drain(..written);
    Ok(end.waiting.is_empty())
}

/// Reads from one socket and writes to the other, as long as there is anything and it is taken.
fn pass(ends: &mut [Option<End>], from: usize, to: usize, buffer: &mut [u8]) -> Result<()> {
    loop {
        if ends[to].as_ref().is_none_or(|end| !end.waiting.is_empty()) {
            return Ok(());
        }
        let Some(source) = &mut ends[from] else {
            return Ok(());
        };
        let count = match source.socket.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(end) = &mut ends[to] {
            let written = write(&mut end.socket, &buffer[..count])?;
            end.waiting.extend_from_slice(&buffer[written..count]);
        }
        if count < buffer.len() {
            return Ok(());
        }
    }
}

/// Writes as much as the socket takes.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
