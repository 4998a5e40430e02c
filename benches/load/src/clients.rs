//! The subscribers: many WebSockets on one thread, which reads their messages, finds the stamps and
//! drops the rest.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::clock::Clock;
use crate::frame::{self, CLOSE, PING, PONG};
use crate::histogram::Histogram;
use crate::job::{Job, Pace, Request};
use crate::protocol::{Step, Subscriber};
use crate::request::{Requests, Turn};
use crate::stamp::Search;

/// Connections that are made at the same time.
const AT_ONCE: usize = 128;
/// Connections from one source address: there are no more than 28,000 ports for each.
const PER_SOURCE: usize = 20_000;
/// Longest time until all are ready.
const PATIENCE: Duration = Duration::from_secs(120);
const BUFFER: usize = 256 * 1024;

/// All subscribers of a run.
pub(crate) struct Clients<'a> {
    job: &'a Job,
    clock: Clock,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    /// Calls at a pace, once they have begun.
    calls: Option<Calls>,
    /// The results of all subscribers together.
    pub(crate) tally: Tally,
}

/// Calls that are made at a pace.
struct Calls {
    since: Duration,
    made: u64,
}

/// What the subscribers have received.
pub(crate) struct Tally {
    search: Search,
    ready: usize,
    pub(crate) delivered: u64,
    pub(crate) disordered: u64,
    /// Latencies while they are measured.
    pub(crate) latencies: Option<Histogram>,
}

struct Client {
    socket: TcpStream,
    stage: Stage,
    /// The beginning of a frame whose rest has not come.
    unparsed: Vec<u8>,
    /// The beginning of a stamp that the next frame completes.
    cut: Vec<u8>,
    /// The number of the last message.
    last: u64,
    requests: Requests,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Subscribing,
    Ready,
}

impl<'a> Clients<'a> {
    /// Connects and subscribes all of them.
    pub(crate) fn connect(job: &'a Job, clock: Clock) -> Result<Self> {
        let mut clients = Self {
            job,
            clock,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER],
            clients: Vec::with_capacity(job.clients),
            calls: None,
            tally: Tally {
                search: Search::new(),
                ready: 0,
                delivered: 0,
                disordered: 0,
                latencies: None,
            },
        };
        let deadline = clock.now() + PATIENCE;
        while clients.tally.ready < job.clients {
            while clients.clients.len() < job.clients.min(clients.tally.ready + AT_ONCE) {
                clients.open()?;
            }
            clients.poll(Duration::from_millis(100))?;
            if clock.now() > deadline {
                let ready = clients.tally.ready;
                return Err(Error::other(format!(
                    "{ready} of {} subscribers became ready",
                    job.clients
                )));
            }
        }
        Ok(clients)
    }

    fn open(&mut self) -> Result<()> {
        let number = self.clients.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if number < self.job.silent {
            // A small buffer, so that the server soon notices.
            socket.set_recv_buffer_size(4096)?;
        }
        // Without its own source address, a socket shares its port with connections to other
        // addresses, and with those of the run before, which the kernel remembers for a minute.
        if number >= PER_SOURCE {
            let source = u8::try_from(1 + number / PER_SOURCE).unwrap_or(u8::MAX);
            let source = Ipv4Addr::new(127, 0, 0, source);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.job.address.into()) {
            Err(error) if !is_in_progress(&error) => return Err(error),
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, Token(number), both)?;
        self.clients.push(Client {
            socket,
            stage: Stage::Connecting,
            unparsed: Vec::new(),
            cut: Vec::new(),
            last: 0,
            requests: Requests::default(),
        });
        Ok(())
    }

    /// All are ready: some stop reading, others begin with their requests, or subscribe.
    pub(crate) fn begin(&mut self) -> Result<()> {
        for client in self.clients.iter_mut().take(self.job.silent) {
            self.poll.registry().deregister(&mut client.socket)?;
        }
        let job = self.job;
        if let Pace::Calls(_) = job.pace {
            let since = self.clock.now();
            self.calls = Some(Calls { since, made: 0 });
        }
        for (number, client) in self.clients.iter_mut().enumerate() {
            let subscriber = Subscriber { job, number };
            let text = match job.pace {
                Pace::Requests(request) => {
                    client.requests.next(request, subscriber, self.clock.now())
                }
                Pace::Missed(_) => subscriber.subscribe(1),
                Pace::Idle | Pace::Rate(_) | Pace::Window(_) | Pace::Calls(_) => return Ok(()),
            };
            client.socket.write_all(&subscriber.say(&text))?;
        }
        Ok(())
    }

    /// Makes the calls that are due, and returns the time until the next. A client whose last call
    /// is not answered makes none.
    fn call(&mut self) -> Result<Option<Duration>> {
        let (Pace::Calls(rate), Some(calls)) = (self.job.pace, &mut self.calls) else {
            return Ok(None);
        };
        loop {
            let due = calls.since + Duration::from_secs_f64(calls.made as f64 / rate);
            let now = self.clock.now();
            if now < due {
                return Ok(Some(due - now));
            }
            let number = (calls.made % self.job.clients as u64) as usize;
            let client = &mut self.clients[number];
            if client.requests.is_open() {
                return Ok(None);
            }
            let job = self.job;
            let subscriber = Subscriber { job, number };
            let text = client.requests.next(Request::Echo, subscriber, now);
            client.socket.write_all(&subscriber.say(&text))?;
            calls.made += 1;
        }
    }

    /// Reads messages until the time is over or something came.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Result<()> {
        let timeout = self.call()?.map_or(timeout, |due| due.min(timeout));
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let number = event.token().0;
            let Some(client) = self.clients.get_mut(number) else {
                continue;
            };
            let subscriber = Subscriber {
                job: self.job,
                number,
            };
            client
                .on_event(
                    event,
                    subscriber,
                    self.clock,
                    &mut self.buffer,
                    &mut self.tally,
                )
                .map_err(|error| {
                    Error::new(error.kind(), format!("subscriber {number}: {error}"))
                })?;
        }
        Ok(())
    }
}

fn refused(body: &[u8]) -> Error {
    let words = String::from_utf8_lossy(body);
    Error::other(format!("refused by the server: {words}"))
}

/// Whether a connect has begun: the error is 115, EINPROGRESS.
fn is_in_progress(error: &Error) -> bool {
    error.raw_os_error() == Some(115) || error.kind() == ErrorKind::WouldBlock
}

impl Client {
    fn on_event(
        &mut self,
        event: &Event,
        subscriber: Subscriber<'_>,
        clock: Clock,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<()> {
        if self.stage == Stage::Connecting && event.is_writable() {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            self.stage = Stage::Upgrading;
            self.socket.write_all(subscriber.upgrade().as_bytes())?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return Err(Error::other("closed by the server")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take_in(&buffer[..read], subscriber, clock.now(), tally)?;
            // A read that does not fill the buffer has emptied the socket; later data is a new
            // event.
            if read < buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    fn take_in(
        &mut self,
        bytes: &[u8],
        subscriber: Subscriber<'_>,
        now: Duration,
        tally: &mut Tally,
    ) -> Result<()> {
        if self.unparsed.is_empty() {
            let rest = self.parse(bytes, subscriber, now, tally)?;
            self.unparsed.extend_from_slice(rest);
        } else {
            let mut unparsed = std::mem::take(&mut self.unparsed);
            unparsed.extend_from_slice(bytes);
            let rest = self.parse(&unparsed, subscriber, now, tally)?.len();
            unparsed.drain(..unparsed.len() - rest);
            // An idle subscriber holds no memory.
            self.unparsed = if rest == 0 { Vec::new() } else { unparsed };
        }
        Ok(())
    }

    /// Returns the bytes of an incomplete frame.
    fn parse<'b>(
        &mut self,
        mut bytes: &'b [u8],
        subscriber: Subscriber<'_>,
        now: Duration,
        tally: &mut Tally,
    ) -> Result<&'b [u8]> {
        if self.stage == Stage::Upgrading {
            match frame::split_upgrade(bytes)? {
                Some(rest) => bytes = rest,
                None => return Ok(bytes),
            }
            self.stage = Stage::Subscribing;
            if let Some(greeting) = subscriber.greeting() {
                self.socket.write_all(&greeting)?;
            }
        }
        while let Some(frame) = frame::split(bytes) {
            bytes = frame.rest;
            match frame.opcode {
                CLOSE => {
                    let reason = String::from_utf8_lossy(frame.body.get(2..).unwrap_or_default());
                    return Err(Error::other(format!("closed by the server: {reason}")));
                }
                PING => self.socket.write_all(&frame::masked(PONG, frame.body))?,
                PONG => {}
                _ => self.on_message(frame.body, subscriber, now, tally)?,
            }
        }
        Ok(bytes)
    }

    fn on_message(
        &mut self,
        body: &[u8],
        subscriber: Subscriber<'_>,
        now: Duration,
        tally: &mut Tally,
    ) -> Result<()> {
        let request = match subscriber.job.pace {
            Pace::Requests(request) => Some(request),
            Pace::Calls(_) => Some(Request::Echo),
            _ => None,
        };
        if let Some(request) = request
            && self.stage == Stage::Ready
        {
            return match self
                .requests
                .hear(request, &subscriber.unwrapped(body), now)
            {
                Turn::Wait => self.on_other_message(body, subscriber, tally),
                Turn::Say(text) => self.socket.write_all(&subscriber.say(&text)),
                Turn::Done(latency) => {
                    tally.delivered += 1;
                    if let Some(latencies) = &mut tally.latencies {
                        latencies.add(latency);
                    }
                    if let Pace::Calls(_) = subscriber.job.pace {
                        return Ok(());
                    }
                    let text = self.requests.next(request, subscriber, now);
                    self.socket.write_all(&subscriber.say(&text))
                }
                Turn::Refused => Err(refused(body)),
            };
        }
        let before = tally.delivered;
        let Tally {
            search,
            delivered,
            disordered,
            latencies,
            ..
        } = tally;
        let last = &mut self.last;
        search.each(body, &mut self.cut, |stamp| {
            *delivered += 1;
            *disordered += u64::from(stamp.number <= *last);
            *last = stamp.number;
            if let Some(latencies) = latencies {
                latencies.add(now.saturating_sub(stamp.published));
            }
        });
        if tally.delivered > before || !self.cut.is_empty() {
            return Ok(());
        }
        self.on_other_message(body, subscriber, tally)
    }

    /// A message without a stamp.
    fn on_other_message(
        &mut self,
        body: &[u8],
        subscriber: Subscriber<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        match subscriber.hear(body) {
            Step::Nothing => {}
            Step::Answer(answer) => self.socket.write_all(&answer)?,
            Step::Refused => return Err(refused(body)),
            Step::Ready if self.stage == Stage::Ready => {}
            Step::Ready => {
                self.stage = Stage::Ready;
                tally.ready += 1;
            }
        }
        Ok(())
    }
}
