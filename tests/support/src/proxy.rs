//! A TCP proxy that does to a connection what networks do: it stands between a client and a server,
//! or between a server and Redis. Every fault can be switched while connections are open; two
//! threads and one buffer each carry a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::process::free_port;

/// What is carried at a time, and all that a direction of a connection ever holds.
const BUFFER: usize = 16 * 1024;
/// How often who waits looks whether the connection, or the proxy, has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Between the pieces of what is sliced, so that they do not leave in one segment.
const BETWEEN_SLICES: Duration = Duration::from_micros(100);
/// A pause with nobody to connect.
const IDLE: Duration = Duration::from_millis(1);

/// One way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to where the proxy leads.
    ToServer,
    /// Back.
    ToClient,
}

/// What happens to the bytes of one direction. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How late they arrive. What is carried at a time is 16 KiB, so this bounds the throughput
    /// too.
    pub latency: Duration,
    /// The longest piece that is written at once.
    pub slice: Option<usize>,
    /// Bytes per second.
    pub bandwidth: Option<u32>,
    /// Each so-many-th byte arrives altered.
    pub corrupt_each: Option<usize>,
    /// They are read and never arrive, nor does the end of the connection. A connection that has
    /// lost a byte stays lost when this is switched off: nobody ever gets a stream with a hole in
    /// it.
    pub black_hole: bool,
    /// After so many bytes of a connection both sides read its end.
    pub cut_after: Option<usize>,
}

/// A proxy on a port of the loopback interface, gone with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where new connections lead.
    target: AtomicU16,
    /// None while connections are refused.
    listener: Mutex<Option<TcpListener>>,
    /// By direction.
    faults: Mutex<[Faults; 2]>,
    /// Filled by `accept`, which also forgets those that have ended.
    connections: Mutex<Vec<Weak<Connection>>>,
    is_dropped: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    /// None for one that was made in a black hole.
    server: Option<TcpStream>,
    /// Something of it has vanished in a black hole.
    is_lost: AtomicBool,
    /// Both sockets are to be closed, and nothing else is to be done to them.
    has_ended: AtomicBool,
}

impl Proxy {
    /// Starts one that leads to this port of the loopback interface, where nobody need listen yet.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(target: u16) -> Self {
        let port = free_port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
            listener: Mutex::new(Some(listen(port))),
            faults: Mutex::default(),
            connections: Mutex::default(),
            is_dropped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept_all());
        Self { port, shared }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the faults of both directions, for open connections and for those to come.
    pub fn set(&self, change: impl Fn(&mut Faults)) {
        lock(&self.shared.faults).iter_mut().for_each(change);
    }

    /// Changes the faults of one direction.
    pub fn set_one(&self, direction: Direction, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.shared.faults)[direction as usize]);
    }

    /// Swallows everything, of open connections and of new ones, which are still accepted; or no
    /// longer does.
    pub fn black_hole(&self, on: bool) {
        self.set(|faults| faults.black_hole = on);
    }

    /// Refuses new connections, as a machine does on which nobody listens; or no longer does.
    ///
    /// # Panics
    /// When somebody else has taken the port meanwhile.
    pub fn refuse(&self, on: bool) {
        let mut listener = lock(&self.shared.listener);
        match (on, listener.is_some()) {
            (true, _) => *listener = None,
            (false, false) => *listener = Some(listen(self.port)),
            (false, true) => {}
        }
    }

    /// Leads new connections to another port, as a name does that is given another address.
    pub fn lead_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::Relaxed);
    }

    /// Ends every open connection as a process would that exits: both sides read the end.
    pub fn cut(&self) {
        self.open().iter().for_each(|connection| connection.cut());
    }

    /// Ends every open connection with a reset to both sides.
    pub fn reset(&self) {
        self.open().iter().for_each(|it| it.reset());
    }

    /// Ends one direction of every open connection: its receiver reads the end, the other direction
    /// goes on.
    pub fn half_close(&self, direction: Direction) {
        for connection in self.open() {
            let (from, to) = connection.ends(direction);
            end(from, Shutdown::Read);
            end(to, Shutdown::Write);
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> Vec<Arc<Connection>> {
        let connections = lock(&self.shared.connections);
        connections.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Relaxed);
        self.cut();
    }
}

impl Shared {
    fn accept_all(self: Arc<Self>) {
        while !self.is_dropped.load(Ordering::Relaxed) {
            let accepted = lock(&self.listener).as_ref().map(TcpListener::accept);
            match accepted {
                Some(Ok((client, _))) => drop(self.accept(client)),
                _ => thread::sleep(IDLE),
            }
        }
    }

    fn accept(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let is_lost = self.faults(Direction::ToServer).black_hole;
        let target = self.target.load(Ordering::Relaxed);
        let server = match is_lost {
            true => None,
            false => Some(TcpStream::connect((Ipv4Addr::LOCALHOST, target))?),
        };
        for socket in [Some(&client), server.as_ref()].into_iter().flatten() {
            socket.set_nonblocking(false)?;
            socket.set_nodelay(true)?;
            socket.set_write_timeout(Some(LOOK))?;
        }
        let connection = Arc::new(Connection {
            client,
            server,
            is_lost: AtomicBool::new(is_lost),
            has_ended: AtomicBool::new(false),
        });
        let mut connections = lock(&self.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        drop(connections);
        for direction in [Direction::ToServer, Direction::ToClient] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn(move || shared.carry(&connection, direction))?;
        }
        Ok(())
    }

    fn faults(&self, direction: Direction) -> Faults {
        lock(&self.faults)[direction as usize]
    }

    /// Carries one direction of a connection to its end.
    fn carry(&self, connection: &Connection, direction: Direction) {
        let (Some(mut from), to) = connection.ends(direction) else {
            return;
        };
        let mut buffer = vec![0; BUFFER];
        let mut carried = 0_usize;
        loop {
            let read = from.read(&mut buffer);
            if connection.has_ended() {
                return;
            }
            let faults = self.faults(direction);
            if faults.black_hole {
                connection.is_lost.store(true, Ordering::Relaxed);
            }
            let is_lost = connection.is_lost.load(Ordering::Relaxed);
            let bytes = match read {
                Ok(0) | Err(_) if is_lost => return,
                Ok(0) => return end(to, Shutdown::Write),
                Ok(count) => &mut buffer[..count],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return connection.reset(),
            };
            if is_lost {
                continue;
            }
            let left = faults.cut_after.map(|most| most.saturating_sub(carried));
            let is_last = left.is_some_and(|left| bytes.len() >= left);
            let count = bytes.len().min(left.unwrap_or(usize::MAX));
            let bytes = &mut bytes[..count];
            for byte in bytes.iter_mut() {
                carried += 1;
                if faults
                    .corrupt_each
                    .is_some_and(|each| carried.is_multiple_of(each))
                {
                    *byte ^= 0x55;
                }
            }
            if !connection.wait(faults.latency) {
                return;
            }
            if let Some(to) = to
                && !connection.write(to, bytes, &faults)
            {
                return;
            }
            if is_last {
                return connection.cut();
            }
        }
    }
}

impl Connection {
    /// Where a direction begins and where it ends.
    fn ends(&self, direction: Direction) -> (Option<&TcpStream>, Option<&TcpStream>) {
        match direction {
            Direction::ToServer => (Some(&self.client), self.server.as_ref()),
            Direction::ToClient => (self.server.as_ref(), Some(&self.client)),
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn shut_down(&self, how: Shutdown) {
        end(Some(&self.client), how);
        end(self.server.as_ref(), how);
    }

    fn cut(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.shut_down(Shutdown::Both);
    }

    /// Without lingering, to close is to reset; the threads close when they are woken.
    fn reset(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        for socket in [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
        }
        self.shut_down(Shutdown::Read);
    }

    /// Whether it is still there after that time.
    fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.has_ended() {
                return !self.has_ended();
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Writes all of it, as slowly and in as small pieces as is wanted. Whether it could.
    fn write(&self, mut to: &TcpStream, bytes: &[u8], faults: &Faults) -> bool {
        let size = faults.slice.unwrap_or(BUFFER).max(1);
        for piece in bytes.chunks(size) {
            let mut left = piece;
            while !left.is_empty() {
                if self.has_ended() {
                    return false;
                }
                match to.write(left) {
                    Ok(written) => left = &left[written..],
                    Err(error) if is_passing(&error) => {}
                    Err(_) => {
                        self.reset();
                        return false;
                    }
                }
            }
            let pause = faults.bandwidth.map(|rate| {
                let seconds = piece.len() as f64 / f64::from(rate.max(1));
                Duration::from_secs_f64(seconds)
            });
            let pause = pause.or_else(|| faults.slice.map(|_| BETWEEN_SLICES));
            if !self.wait(pause.unwrap_or_default()) {
                return false;
            }
        }
        true
    }
}

fn end(socket: Option<&TcpStream>, how: Shutdown) {
    // Fails only when it has ended already.
    drop(socket.map(|socket| socket.shutdown(how)));
}

fn is_passing(error: &std::io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    // So that the listener can be taken away from the thread that accepts.
    listener
        .set_nonblocking(true)
        .expect("sockets can be polled");
    listener
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
