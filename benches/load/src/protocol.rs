//! What a subscriber sends in each protocol: to follow its channel, and to stay alive.

use std::borrow::Cow;

use memchr::memmem::find;

use crate::frame::{BINARY, TEXT, masked};
use crate::job::{Job, Pace, Protocol};

/// What a subscriber does after a message.
pub(crate) enum Step {
    Nothing,
    /// It sends this.
    Answer(Vec<u8>),
    /// It notes that its subscription is confirmed.
    Ready,
    /// It gives up.
    Refused,
}

/// A subscriber's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) job: &'a Job,
    pub(crate) number: usize,
}

/// The name of a channel.
pub(crate) fn channel(number: usize) -> String {
    format!("channel{number}")
}

impl Subscriber<'_> {
    /// The request that opens the WebSocket.
    pub(crate) fn upgrade(self) -> String {
        let path = self.job.path.replace("{client}", &self.number.to_string());
        let path = path.replace("{channel}", &self.channel());
        let address = self.job.address;
        let subprotocol = match self.job.protocol {
            Protocol::Mqtt => "Sec-WebSocket-Protocol: mqtt\r\n",
            _ => "",
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n{subprotocol}\r\n"
        )
    }

    /// The first message, once the WebSocket is open.
    pub(crate) fn greeting(self) -> Option<Vec<u8>> {
        match self.job.protocol {
            Protocol::Plain | Protocol::SockJs | Protocol::SocketIo => None,
            Protocol::Ddp => Some(self.say(DDP_CONNECT)),
            Protocol::Nats => {
                let channel = self.channel();
                let text = format!("CONNECT {{\"verbose\":false}}\r\nSUB {channel} 1\r\nPING\r\n");
                Some(masked(BINARY, text.as_bytes()))
            }
            Protocol::Mqtt => Some(masked(BINARY, &mqtt::connect(&format!("c{}", self.number)))),
        }
    }

    /// What to do after a message without a stamp.
    pub(crate) fn hear(self, body: &[u8]) -> Step {
        match self.job.protocol {
            Protocol::Plain if body == b"ready" => Step::Ready,
            Protocol::Plain => Step::Nothing,
            Protocol::SockJs if body == b"o" => Step::Answer(self.say(DDP_CONNECT)),
            Protocol::Ddp | Protocol::SockJs => self.hear_ddp(&self.unwrapped(body)),
            Protocol::SocketIo => self.hear_socket_io(body),
            Protocol::Nats if has(body, "PONG") => Step::Ready,
            Protocol::Nats if has(body, "PING") => Step::Answer(masked(BINARY, b"PONG\r\n")),
            Protocol::Nats => Step::Nothing,
            Protocol::Mqtt => match body.first() {
                Some(&mqtt::CONNACK) => {
                    Step::Answer(masked(BINARY, &mqtt::subscribe(&self.channel())))
                }
                Some(&mqtt::SUBACK) => Step::Ready,
                _ => Step::Nothing,
            },
        }
    }

    /// A DDP message in the subscriber's framing.
    pub(crate) fn say(self, message: &str) -> Vec<u8> {
        match self.job.protocol {
            // In these messages only quotes need an escape.
            Protocol::SockJs => text(&format!(r#"["{}"]"#, message.replace('"', r#"\""#))),
            _ => text(message),
        }
    }

    /// A DDP message without its framing; there may be several in it.
    pub(crate) fn unwrapped<'b>(self, body: &'b [u8]) -> Cow<'b, [u8]> {
        match self.job.protocol {
            Protocol::SockJs => body.iter().copied().filter(|byte| *byte != b'\\').collect(),
            _ => body.into(),
        }
    }

    /// A DDP client's subscription to the publication.
    pub(crate) fn subscribe(self, id: u64) -> String {
        let (publication, number) = (&self.job.publication, self.number);
        let channel = self.channel();
        format!(
            r#"{{"msg":"sub","id":"{id}","name":"{publication}","params":["vent.{number}",{{"channel":"{channel}"}}]}}"#
        )
    }

    fn hear_ddp(self, body: &[u8]) -> Step {
        if has(body, r#""msg":"ready""#) {
            Step::Ready
        } else if has(body, r#""msg":"connected""#) {
            match self.job.pace {
                Pace::Requests(_) | Pace::Calls(_) | Pace::Missed(_) => Step::Ready,
                _ => Step::Answer(self.say(&self.subscribe(1))),
            }
        } else if has(body, r#""msg":"ping""#) {
            Step::Answer(self.say(r#"{"msg":"pong"}"#))
        } else if has(body, r#""msg":"nosub""#) {
            Step::Refused
        } else {
            Step::Nothing
        }
    }

    fn hear_socket_io(self, body: &[u8]) -> Step {
        match body {
            [b'0', b'{', ..] => Step::Answer(text("40")),
            [b'4', b'0', ..] => Step::Answer(text(&format!(r#"42["join","{}"]"#, self.channel()))),
            [b'4', b'2', ..] if has(body, "joined") => Step::Ready,
            [b'4', b'4', ..] => Step::Refused,
            b"2" => Step::Answer(text("3")),
            _ => Step::Nothing,
        }
    }

    fn channel(self) -> String {
        channel(self.number % self.job.channels)
    }
}

/// A DDP client's first message.
pub(crate) const DDP_CONNECT: &str =
    r#"{"msg":"connect","version":"1","support":["1","pre2","pre1"]}"#;

fn text(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

fn has(body: &[u8], part: &str) -> bool {
    find(body, part.as_bytes()).is_some()
}

/// The part of MQTT 3.1.1 that delivers messages at most once.
pub(crate) mod mqtt {
    pub(crate) const CONNACK: u8 = 0x20;
    pub(crate) const SUBACK: u8 = 0x90;

    /// A clean session, without keep-alive.
    pub(crate) fn connect(client: &str) -> Vec<u8> {
        packet(0x10, &[&string("MQTT"), &[4, 2, 0, 0], &string(client)])
    }

    pub(crate) fn subscribe(channel: &str) -> Vec<u8> {
        packet(0x82, &[&[0, 1], &string(channel), &[0]])
    }

    pub(crate) fn publish(channel: &str, payload: &[u8]) -> Vec<u8> {
        packet(0x30, &[&string(channel), payload])
    }

    fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let low = (length & 0x7f) as u8;
            length >>= 7;
            if length == 0 {
                packet.push(low);
                break;
            }
            packet.push(low | 0x80);
        }
        packet.extend(body);
        packet
    }

    fn string(text: &str) -> Vec<u8> {
        let mut string = (text.len() as u16).to_be_bytes().to_vec();
        string.extend_from_slice(text.as_bytes());
        string
    }
}
