//! Feeds messages to the measured system, from its own thread, so that a slow subscriber does not
//! slow it.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use crate::clock::Clock;
use crate::fan_out::per_message;
use crate::frame::split_upgrade;
use crate::job::{Feed, Job, Pace, Protocol};
use crate::protocol::{DDP_CONNECT, Subscriber, channel, mqtt};
use crate::stamp::{Stamp, document, parts, payload};

/// Shared counters of publisher and subscribers.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) stop: AtomicBool,
    /// Messages published.
    pub(crate) published: AtomicU64,
    /// Deliveries so far, at all subscribers together.
    pub(crate) delivered: AtomicU64,
    /// The most nanoseconds that the publisher fell behind its pace.
    pub(crate) late: AtomicU64,
}

/// Messages that share a write at the highest pace.
const BATCH: u64 = 64;
/// Longest wait for the server to accept a message, or to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The interval between checks for room.
const POLL_INTERVAL: Duration = Duration::from_micros(50);

/// Publishes until told to stop.
pub(crate) fn publish(job: &Job, clock: Clock, progress: &Progress) -> Result<()> {
    let raw;
    let job = match job.feed {
        Feed::Upstream => {
            raw = Job {
                protocol: Protocol::Ddp,
                path: "/websocket".into(),
                ..job.clone()
            };
            &raw
        }
        _ => job,
    };
    let mut connection = connect(job)?;
    let mut published = 0;
    let start = clock.now();
    let per_message = per_message(job);
    let mut out = Vec::new();
    while !progress.stop.load(Relaxed) {
        let due = match job.pace {
            Pace::Idle | Pace::Requests(_) | Pace::Calls(_) | Pace::Missed(_) => 0,
            Pace::Rate(rate) => {
                let elapsed = clock.now() - start;
                let due = (elapsed.as_secs_f64() * rate) as u64;
                if due <= published {
                    let next = Duration::from_secs_f64((published + 1) as f64 / rate);
                    sleep(next.saturating_sub(elapsed).min(Duration::from_millis(100)));
                    continue;
                }
                let late = elapsed.saturating_sub(Duration::from_secs_f64(published as f64 / rate));
                progress.late.fetch_max(late.as_nanos() as u64, Relaxed);
                due
            }
            Pace::Window(window) => {
                let delivered = progress.delivered.load(Relaxed);
                let room =
                    (delivered + window).saturating_sub(published * per_message) / per_message;
                published + room.min(BATCH)
            }
        };
        if due <= published {
            sleep(POLL_INTERVAL);
            continue;
        }
        let next = due.min(published + BATCH);
        for number in published..next {
            encode(job, number, clock, &mut out);
        }
        published = next;
        connection.write_all(&out)?;
        out.clear();
        if matches!(job.feed, Feed::Method | Feed::Upstream) {
            discard_answers(&mut connection)?;
        }
        progress.published.store(published, Relaxed);
    }
    Ok(())
}

fn connect(job: &Job) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(job.feed_address)?;
    connection.set_nodelay(true)?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    match job.feed {
        // Redis then sends no answers, so none need to be read.
        Feed::Redis | Feed::SocketIo => connection.write_all(b"CLIENT REPLY OFF\r\n")?,
        Feed::Nats => connection.write_all(b"CONNECT {\"verbose\":false}\r\n")?,
        Feed::Mqtt => {
            connection.write_all(&mqtt::connect("publisher"))?;
            let mut answer = [0; 4];
            connection.read_exact(&mut answer)?;
            if answer[0] != mqtt::CONNACK || answer[3] != 0 {
                return Err(Error::other("MQTT: the publisher is refused"));
            }
        }
        Feed::Method | Feed::Upstream => {
            let client = client(job);
            connection.write_all(client.upgrade().as_bytes())?;
            let mut answer = Vec::new();
            while split_upgrade(&answer)?.is_none() {
                let mut some = [0; 1024];
                match connection.read(&mut some)? {
                    0 => return Err(Error::other("the publisher is refused")),
                    read => answer.extend_from_slice(&some[..read]),
                }
            }
            connection.write_all(&client.say(DDP_CONNECT))?;
        }
    }
    Ok(connection)
}

/// Appends the message with this number, counted from 0 over all channels, in turn.
fn encode(job: &Job, number: u64, clock: Clock, out: &mut Vec<u8>) {
    let channels = job.channels as u64;
    let channel = channel((number % channels) as usize);
    let stamp = Stamp {
        published: clock.now(),
        number: number / channels + 1,
    };
    let payload = || payload(stamp, job.size);
    match job.feed {
        Feed::Redis => redis_publish(channel.as_bytes(), payload().as_bytes(), out),
        Feed::SocketIo => {
            let (text, padding) = parts(stamp, job.size);
            let packet = socket_io::event(&channel, &text, &padding);
            redis_publish(format!("socket.io#/#{channel}#").as_bytes(), &packet, out);
        }
        Feed::Nats => {
            let payload = payload();
            let line = format!("PUB {channel} {}\r\n{payload}\r\n", payload.len());
            out.extend_from_slice(line.as_bytes());
        }
        Feed::Mqtt => out.extend(mqtt::publish(&channel, payload().as_bytes())),
        Feed::Upstream => {
            let text = parts(stamp, 0).0;
            let around = r#"{"t":"","d":}"#.len() + text.len();
            let document = document(job.size.saturating_sub(around));
            out.extend(client(job).say(&format!(
                r#"{{"msg":"method","id":"{number}","method":"change","params":[{{"t":"{text}","d":{document}}}]}}"#
            )));
        }
        Feed::Method => {
            let payload = payload();
            out.extend(client(job).say(&format!(
                r#"{{"msg":"method","id":"{number}","method":"change","params":[{payload}]}}"#
            )));
        }
    }
}

/// The publisher as one more client.
fn client(job: &Job) -> Subscriber<'_> {
    let number = job.clients;
    Subscriber { job, number }
}

/// Reads and drops the answers, to make room for more.
fn discard_answers(connection: &mut TcpStream) -> Result<()> {
    let mut answers = [0; 16 * 1024];
    connection.set_nonblocking(true)?;
    let outcome = loop {
        match connection.read(&mut answers) {
            Ok(0) => break Err(Error::other("the publisher was closed by the server")),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    connection.set_nonblocking(false)?;
    outcome
}

fn redis_publish(channel: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
    for part in [channel, payload] {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// The format of Socket.IO's Redis adapter, in MessagePack: sender, packet, options.
mod socket_io {
    /// The event `m` with one object as its argument, for a room.
    pub(super) fn event(room: &str, text: &str, padding: &str) -> Vec<u8> {
        const ARRAY: u8 = 0x90;
        const MAP: u8 = 0x80;
        const EVENT: u8 = 2;
        let key = |key: &str| string(key);
        [
            vec![ARRAY | 3],
            string("load"),
            [vec![MAP | 3], key("type"), vec![EVENT], key("data")].concat(),
            [vec![ARRAY | 2], string("m"), vec![MAP | 2]].concat(),
            [key("t"), string(text), key("p"), string(padding)].concat(),
            [key("nsp"), string("/"), vec![MAP | 3]].concat(),
            [key("rooms"), vec![ARRAY | 1], string(room)].concat(),
            [key("except"), vec![ARRAY], key("flags"), vec![MAP]].concat(),
        ]
        .concat()
    }

    fn string(text: &str) -> Vec<u8> {
        let mut string = match text.len() {
            length @ 0..32 => vec![0xa0 | length as u8],
            length => [&[0xdb], &(length as u32).to_be_bytes()[..]].concat(),
        };
        string.extend_from_slice(text.as_bytes());
        string
    }
}
