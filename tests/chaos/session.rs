//! A DDP session that proves its subscriptions: what it receives is handed to each one's proof, and
//! what cannot be is an error.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::proof::Proof;
use crate::server::GAPS;
use crate::socket::{Pace, Received, Socket};
use crate::world::{BULK, PATIENCE, ROOMS, World};

const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1"]}"#;

pub(crate) struct Session {
    socket: Socket,
    world: World,
    rng: Rng,
    /// By subscription id; those that have ended stay, so that an event too many is seen.
    subscriptions: HashMap<String, Subscription>,
    /// From what an event says of itself to the subscription it belongs to.
    sources: HashMap<String, String>,
    /// The close code, once the server has ended the connection.
    ended: Option<Option<u16>>,
}

struct Subscription {
    room: usize,
    proof: Proof,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    /// `unsub` is sent.
    Leaving,
    Ended,
}

/// A frame from the server, as far as anything here looks at it.
#[derive(Deserialize)]
struct Frame {
    msg: String,
    collection: Option<String>,
    id: Option<String>,
    subs: Option<Vec<String>>,
    e: Option<Numbered>,
    fields: Option<Fields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    event: Option<Numbered>,
    event_name: Option<String>,
    args: Option<Vec<Numbered>>,
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

impl Session {
    /// Connects and waits until the server has answered.
    pub(crate) async fn connect(world: &World, rng: Rng, pace: Pace) -> Result<Self, String> {
        let open = timeout(PATIENCE, Socket::open(world.address, pace)).await;
        let mut socket = open
            .map_err(said("connecting"))?
            .map_err(said("connecting"))?;
        socket
            .send_text(CONNECT)
            .await
            .map_err(said("connecting"))?;
        match timeout(PATIENCE, socket.receive())
            .await
            .map_err(said("connected"))?
        {
            Received::Text(text) if text.starts_with(r#"{"msg":"connected""#) => Ok(Self {
                socket,
                world: world.clone(),
                rng,
                subscriptions: HashMap::new(),
                sources: HashMap::new(),
                ended: None,
            }),
            other => Err(format!("not connected: {other:?}")),
        }
    }

    /// Asks for one to three rooms.
    pub(crate) async fn subscribe_some(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(1..=3) {
            let room = self.rng.usize(..ROOMS);
            self.subscribe(room).await?;
        }
        Ok(())
    }

    /// Asks for every room, with that whose messages are large.
    pub(crate) async fn subscribe_all(&mut self) -> Result<(), String> {
        for room in 0..=BULK {
            self.subscribe(room).await?;
        }
        Ok(())
    }

    /// Asks for a room, in any encoding.
    async fn subscribe(&mut self, room: usize) -> Result<(), String> {
        let id = format!("s{}", self.subscriptions.len());
        let name = ["relayed", "mapped", "shared", "awaited"];
        let name = name[self.rng.usize(..name.len())];
        let room_and_tag = format!(r#"{{"room":{room},"tag":"{id}"}}"#);
        let streamed = format!("stream-rooms/{room}");
        let (source, name, params) = match self.rng.u8(..3) {
            // Two of one event name cannot be told apart.
            0 if !self.is_live(&streamed) => {
                let params = format!(r#""{room}",{{"useCollection":false,"args":["{id}"]}}"#);
                (streamed, "stream-rooms", params)
            }
            1 => {
                let vent = meteor_id(&mut self.rng);
                (
                    format!("{vent}.{name}"),
                    name,
                    format!(r#""{vent}",{room_and_tag}"#),
                )
            }
            _ => {
                let vent = format!("vent.{id}");
                let params = format!(r#""{vent}",{room_and_tag}"#);
                (vent, name, params)
            }
        };
        self.sources.insert(source, id.clone());
        let subscription = Subscription {
            room,
            proof: Proof::new(),
            state: State::Live,
        };
        let text = format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":[{params}]}}"#);
        self.subscriptions.insert(id, subscription);
        self.send(&text).await
    }

    /// Gives up one subscription, if there is any.
    pub(crate) async fn unsubscribe_one(&mut self) -> Result<(), String> {
        let live = self.subscriptions.iter_mut();
        let live = live.filter(|(_, it)| it.state == State::Live);
        // A map has no order, and what a seed repeats needs one.
        let Some((id, subscription)) = live.min_by_key(|(id, _)| (*id).clone()) else {
            return Ok(());
        };
        subscription.state = State::Leaving;
        let text = format!(r#"{{"msg":"unsub","id":"{id}"}}"#);
        self.send(&text).await
    }

    /// Gives up all subscriptions, and waits for the answers.
    pub(crate) async fn unsubscribe_all(&mut self) -> Result<(), String> {
        while self.live() > 0 {
            self.unsubscribe_one().await?;
        }
        self.complete().await
    }

    /// How many subscriptions it has not given up.
    pub(crate) fn live(&self) -> usize {
        let all = self.subscriptions.values();
        all.filter(|it| it.state == State::Live).count()
    }

    /// Takes in what comes until the round is over, which must be before the server ends the
    /// connection.
    pub(crate) async fn listen(&mut self) -> Result<(), String> {
        let mut over = self.world.over.clone();
        while !*over.borrow() {
            let received = tokio::select! {
                received = self.socket.receive() => received,
                _ = over.wait_for(|over| *over) => break,
            };
            self.take_in(received).await?;
            self.is_kept()?;
        }
        Ok(())
    }

    /// Takes in what comes for some time, or until the server ends the connection: then answers
    /// with the code of its close frame, if there was one.
    pub(crate) async fn listen_for(
        &mut self,
        time: Duration,
    ) -> Result<Option<Option<u16>>, String> {
        let until = Instant::now() + time;
        while self.ended.is_none() {
            match timeout_at(until, self.socket.receive()).await {
                Ok(received) => self.take_in(received).await?,
                Err(_) => break,
            }
        }
        Ok(self.ended)
    }

    /// Takes in what comes until every subscription has what it is owed, and those given up have
    /// ended.
    pub(crate) async fn complete(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while let Some(lacks) = self.lacking() {
            match timeout_at(until, self.socket.receive()).await {
                Ok(received) => self.take_in(received).await?,
                Err(_) => return Err(format!("never had everything: {lacks}")),
            }
            self.is_kept()?;
        }
        Ok(())
    }

    /// The most that any subscription has been told of gaps.
    pub(crate) fn gaps(&self) -> usize {
        let gaps = self.subscriptions.values().map(|it| it.proof.gaps());
        gaps.max().unwrap_or(0)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    async fn send(&self, text: &str) -> Result<(), String> {
        self.socket.send_text(text).await.map_err(said(text))
    }

    fn is_kept(&self) -> Result<(), String> {
        match self.ended {
            None => Ok(()),
            Some(code) => Err(format!("the server ended the connection: {code:?}")),
        }
    }

    fn is_live(&self, source: &str) -> bool {
        let id = self.sources.get(source);
        let subscription = id.and_then(|id| self.subscriptions.get(id));
        subscription.is_some_and(|it| it.state != State::Ended)
    }

    fn lacking(&self) -> Option<String> {
        let numbers = &self.world.numbers;
        let lacking = self.subscriptions.iter().find(|(_, it)| match it.state {
            State::Live => !it.proof.is_complete(numbers.unused(it.room)),
            State::Leaving => true,
            State::Ended => false,
        });
        lacking.map(|(id, it)| {
            let end = numbers.unused(it.room);
            format!("{id}, {:?} of {end} in room {}", it.proof, it.room)
        })
    }

    async fn take_in(&mut self, received: Received) -> Result<(), String> {
        let text = match received {
            Received::Text(text) => text,
            Received::Close(code) => {
                self.ended = Some(code);
                return Ok(());
            }
            Received::End => {
                self.ended.get_or_insert(None);
                return Ok(());
            }
        };
        let frame: Frame = serde_json::from_str(&text).map_err(said(&text))?;
        match frame.msg.as_str() {
            // To a client that has said that it sends no more, the answer is owed no more.
            "ping" => drop(self.socket.send_text(r#"{"msg":"pong"}"#).await),
            "ready" => {
                for id in frame.subs.unwrap_or_default() {
                    let subscription = self.subscriptions.get_mut(&id).ok_or("ready of nobody")?;
                    let unused = self.world.numbers.unused(subscription.room);
                    subscription.proof.ready(unused)?;
                }
            }
            "nosub" => {
                let subscription = frame.id.and_then(|id| self.subscriptions.get_mut(&id));
                let subscription = subscription.ok_or("nosub of nobody")?;
                if subscription.state != State::Leaving {
                    return Err(format!("not asked for: {text}"));
                }
                subscription.state = State::Ended;
                subscription.proof.end();
            }
            "added" if frame.collection.as_deref() == Some(GAPS) => {
                let id = frame.id.unwrap_or_default();
                let tag = id.split('#').next().unwrap_or_default();
                let told = self.subscriptions.get_mut(tag).ok_or("a gap of nobody")?;
                told.proof.told();
            }
            "changed" => {
                let (source, number) = frame.event().ok_or_else(|| format!("no event: {text}"))?;
                let id = self.sources.get(&source);
                let subscription = id.and_then(|id| self.subscriptions.get_mut(id));
                let subscription =
                    subscription.ok_or_else(|| format!("an event of nobody: {text}"))?;
                subscription.proof.event(number)?;
            }
            "added" | "removed" => {}
            _ => return Err(format!("not expected: {text}")),
        }
        Ok(())
    }
}

impl Frame {
    /// What the event says of its subscription, and its number.
    fn event(self) -> Option<(String, u64)> {
        if let Some(event) = self.e {
            return Some((self.id?, event.n));
        }
        let (collection, fields) = (self.collection?, self.fields?);
        if let Some(event) = fields.event {
            return Some((collection, event.n));
        }
        let source = format!("{collection}/{}", fields.event_name?);
        Some((source, fields.args?.first()?.n))
    }
}

/// An id as Meteor's clients make them.
fn meteor_id(rng: &mut Rng) -> String {
    const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
    let mut letter = || char::from(ALPHABET[rng.usize(..ALPHABET.len())]);
    (0..17).map(|_| letter()).collect()
}

/// Puts what was done before what came of it.
fn said<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
