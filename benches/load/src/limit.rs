//! The kernel's limit: prepared frames are written to loopback sockets, and another process drains
//! them. There is no protocol on either side, so no server can be cheaper per write.

use std::collections::BTreeMap;
use std::env;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::clock::Clock;
use crate::frame::{TEXT, unmasked};
use crate::job::Limit;
use crate::process;
use crate::report::{Report, Usage};

/// Writes broadcasts for the given time; the cost is reported as that of the process `server`.
///
/// # Errors
///
/// The draining process cannot be started, or ends.
pub fn run(job: &Limit) -> Result<Report> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut drain = Command::new("taskset")
        .args(["-c", &job.drain_on.to_string()])
        .arg(env::current_exe()?)
        .args(["drain", &listener.local_addr()?.to_string()])
        .arg(job.connections.to_string())
        .spawn()?;
    let written = broadcast(job, &listener);
    if written.is_err() {
        drain.kill()?;
    }
    drain.wait()?;
    written
}

fn broadcast(job: &Limit, listener: &TcpListener) -> Result<Report> {
    let mut sockets = Vec::with_capacity(job.connections);
    for _ in 0..job.connections {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let write = unmasked(TEXT, &vec![b'x'; job.size]).repeat(job.frames_per_write);
    let clock = Clock::start();
    let before = process::cpu("self")?;
    let mut broadcasts = 0_u64;
    while clock.now() < job.time {
        if let Some(rate) = job.rate {
            let due = Duration::from_secs_f64(broadcasts as f64 / rate);
            sleep(due.saturating_sub(clock.now()));
        }
        for socket in &mut sockets {
            socket.write_all(&write)?;
        }
        broadcasts += 1;
    }
    let time = clock.now();
    let after = process::cpu("self")?;
    let usage = Usage {
        user: after.user - before.user,
        system: after.system - before.system,
        ..Usage::default()
    };
    Ok(Report {
        delivered: broadcasts * (job.connections * job.frames_per_write) as u64,
        time,
        processes: BTreeMap::from([("server".into(), usage)]),
        ..Report::default()
    })
}

/// Connects, then reads until the other side has closed all connections.
///
/// # Errors
///
/// A connection fails.
pub fn drain(address: SocketAddr, connections: usize) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(connections);
    for number in 0..connections {
        let socket = TcpStream::connect(address)?;
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::TcpStream::from_std(socket);
        poll.registry()
            .register(&mut socket, Token(number), Interest::READABLE)?;
        sockets.push(socket);
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut open = connections;
    while open > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if let Some(socket) = sockets.get_mut(event.token().0)
                && is_at_end(socket, &mut buffer)?
            {
                poll.registry().deregister(socket)?;
                open -= 1;
            }
        }
    }
    Ok(())
}

fn is_at_end(socket: &mut mio::net::TcpStream, buffer: &mut [u8]) -> Result<bool> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            // The other side may close with a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(Error::new(error.kind(), format!("drain: {error}"))),
        }
    }
}
