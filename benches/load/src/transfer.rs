//! Big bodies over HTTP: a source that sends and takes them as fast as it can, and clients that
//! fetch or send so many.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use memchr::memmem::find;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::process;
use crate::report::{Report, Usage};

const BUFFER: usize = 256 * 1024;
/// The longest time in which nothing moves.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run of requests with big bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Where the server listens; a loopback address.
    pub address: SocketAddr,
    /// How many connections work at the same time.
    pub connections: usize,
    /// How many requests each makes, one after the other.
    pub requests: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Whether the bodies are those of requests, and not of answers.
    pub is_upload: bool,
    /// Ids of the processes whose CPU time is reported.
    pub processes: BTreeMap<String, u32>,
}

/// Makes the requests. Each is a delivery.
///
/// # Errors
///
/// The server does not answer as the [source](serve) does.
pub fn run(job: &Transfer) -> Result<Report> {
    if !job.address.ip().is_loopback() {
        return Err(Error::other("only loopback addresses are measured"));
    }
    let connect = |_| {
        let connection = TcpStream::connect(job.address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    };
    let connections: Vec<TcpStream> = (0..job.connections).map(connect).collect::<Result<_>>()?;
    let (clock, before) = (Clock::start(), used(job)?);
    thread::scope(|scope| {
        let workers = connections.into_iter().map(|connection| {
            scope.spawn(move || {
                let mut connection = connection;
                let mut buffer = vec![b'x'; BUFFER];
                (0..job.requests).try_for_each(|_| exchange(job, &mut connection, &mut buffer))
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().try_for_each(|worker| {
            let done = worker.join();
            done.map_err(|_| Error::other("a client panicked"))?
        })
    })?;
    let (time, after) = (clock.now(), used(job)?);
    let processes = after.into_iter().map(|(name, cpu)| {
        let before = before.get(&name).copied();
        let usage = Usage {
            user: cpu.user - before.map_or(0.0, |before| before.user),
            system: cpu.system - before.map_or(0.0, |before| before.system),
            ..Usage::default()
        };
        (name, usage)
    });
    Ok(Report {
        delivered: (job.connections * job.requests) as u64,
        time,
        processes: processes.collect(),
        ..Report::default()
    })
}

fn used(job: &Transfer) -> Result<BTreeMap<String, process::Cpu>> {
    let processes = job.processes.iter();
    processes
        .map(|(name, id)| Ok((name.clone(), process::cpu(&id.to_string())?)))
        .collect()
}

fn exchange(job: &Transfer, connection: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let (host, size) = (job.address, job.size);
    let head = if job.is_upload {
        format!("POST /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n")
    } else {
        format!("GET /download/{size} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    };
    connection.write_all(head.as_bytes())?;
    if job.is_upload {
        send(connection, size, buffer)?;
    }
    let expected = if job.is_upload { 0 } else { size };
    let (head, early) = read_head(connection)?;
    let length = content_length(&head);
    if !head.starts_with("HTTP/1.1 200") || length != expected {
        return Err(Error::other(format!(
            "not the answer of the source: {head}"
        )));
    }
    take(connection, length - early.len(), buffer)
}

/// Serves bodies on a port of the loopback interface until the process is ended: `GET` with a path
/// that ends in their length, or `POST` with a `Content-Length`. A thread for each connection.
///
/// # Errors
///
/// The port is in use.
pub fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for connection in listener.incoming() {
        let connection = connection?;
        // An error ends this connection only.
        thread::spawn(move || drop(answer_all(connection)));
    }
    Ok(())
}

fn answer_all(mut connection: TcpStream) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![b'x'; BUFFER];
    loop {
        let (head, early) = read_head(&mut connection)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let size = target.rsplit('/').next().and_then(|size| size.parse().ok());
        let size: usize = size.unwrap_or(0);
        take(
            &mut connection,
            content_length(&head) - early.len(),
            &mut buffer,
        )?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        );
        connection.write_all(answer.as_bytes())?;
        send(&mut connection, size, &buffer)?;
    }
}

/// Reads up to the end of the headers. Returns them, and what came behind them.
fn read_head(connection: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match connection.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    length.unwrap_or(0)
}

fn send(connection: &mut TcpStream, mut left: usize, buffer: &[u8]) -> Result<()> {
    while left > 0 {
        let part = &buffer[..left.min(buffer.len())];
        connection.write_all(part)?;
        left -= part.len();
    }
    Ok(())
}

fn take(connection: &mut TcpStream, mut left: usize, buffer: &mut [u8]) -> Result<()> {
    while left > 0 {
        let most = left.min(buffer.len());
        match connection.read(&mut buffer[..most])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => left -= count,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_read() {
        assert_eq!(
            content_length("GET / HTTP/1.1\r\ncontent-length: 17\r\n\r\n"),
            17
        );
        assert_eq!(content_length("GET / HTTP/1.1\r\nHost: a:5\r\n\r\n"), 0);
    }
}
