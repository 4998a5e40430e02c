//! What all sessions of a server have in common: the names it knows, and its limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ejson::{JsonLimits, ObjectId};
use crate::message::MessageBounds;
use crate::vent::{EncodingChoice, VentOptions};
use crate::view::Strategies;

/// What all sessions of a server share; one value serves them all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// What may be set.
    pub settings: SessionSettings,
    /// Bytes of memory of the parameters of one client's handlers that run; with as many, the next
    /// message waits until one has ended, although all may have let it begin. The host bounds them
    /// together with the messages that wait; by default nothing does.
    pub max_running_bytes: usize,
    /// Where the id comes from of an ObjectID that a client sends without one, as `{"$type":"oid","$value":""}`: Meteor
    /// makes up a random one. By default from nowhere, and such a value cannot be decoded.
    pub new_object_id: fn() -> Option<ObjectId>,
    /// What is remembered of the documents of each collection.
    pub strategies: Strategies,
    /// The publications and methods that exist.
    pub names: HandlerNames,
}

/// Settings of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSettings {
    /// How long nothing is heard of a client before it is pinged: 15 s by default. As Meteor looks
    /// once per interval, the ping comes between one and two intervals after the last message. Zero
    /// switches pings and the timeout off.
    pub heartbeat_interval: Duration,
    /// How long a client that was pinged may stay silent before its connection is closed: 15 s by
    /// default.
    pub heartbeat_timeout: Duration,
    /// Whether a client's ping is answered: yes by default. Meteor has the switch for its tests.
    pub respond_to_pings: bool,
    /// How long a client may take to send `connect` before its connection is closed: 15 s by
    /// default.
    pub connect_timeout: Duration,
    /// Whether every client is greeted with `{"server_id":"0"}` before it has said anything, as old
    /// Meteor servers did: no by default. There are clients that wait for it, and clients that take
    /// it for an error.
    pub greeting: bool,
    /// What is kept for clients whose connection is lost.
    pub resumption: Resumption,
    /// How long a publication's handler may take, unblocked or not: 60 s by default. Then it is
    /// dropped, and its subscription ends with `nosub` 503. Zero is for ever. What a handler ties
    /// to its subscription to run beside it is not meant.
    pub publication_timeout: Duration,
    /// Subscriptions that one session may have, universal ones not counted: 256 by default. One
    /// more gets `nosub` with the error `too-many-subscriptions`.
    pub max_subscriptions: usize,
    /// How long `updated` waits for the writes of a method that has ended: 30 s by default. Then it
    /// is sent without them.
    pub fence_timeout: Duration,
    /// Bytes of what a change of the user makes different that the client is told of at a time:
    /// 256 KiB by default. The host [asks for more](super::Session::tell_more) when these have been
    /// taken.
    pub difference_slice: usize,
    /// Events held for a subscription that is not ready yet: 256 by default. One more is a gap.
    pub held_events: usize,
    /// Bytes of events held for a subscription that is not ready yet: 256 KiB by default. More is a
    /// gap.
    pub held_bytes: usize,
    /// Depth and breadth of a client's JSON. What exceeds either is a `Bad request`.
    pub json: JsonLimits,
    /// Lengths of a client's ids and names, and of messages that are quoted.
    pub bounds: MessageBounds,
    /// Messages that are no JSON within [`json`](Self::json), or have no `msg`, within
    /// [`unreadable_window`](Self::unreadable_window): 100 by default. With as many the connection
    /// is closed with 1008.
    pub max_unreadable: usize,
    /// The time within which unreadable messages are counted: 10 s by default.
    pub unreadable_window: Duration,
    /// The encoding of Vent publications that do not choose their own: [`EncodingChoice::Auto`] by
    /// default.
    pub encoding: EncodingChoice,
    /// Names that no Vent id may take in the collection encoding, besides Meteor's own: those of
    /// the client's own collections. None by default.
    pub reserved: Vec<Box<str>>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            settings: SessionSettings::default(),
            max_running_bytes: usize::MAX,
            new_object_id: || None,
            strategies: Strategies::default(),
            names: HandlerNames::default(),
        }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(15),
            respond_to_pings: true,
            connect_timeout: Duration::from_secs(15),
            greeting: false,
            resumption: Resumption::default(),
            publication_timeout: Duration::from_secs(60),
            max_subscriptions: 256,
            fence_timeout: Duration::from_secs(30),
            difference_slice: 256 * 1024,
            held_events: 256,
            held_bytes: 256 * 1024,
            json: JsonLimits::default(),
            bounds: MessageBounds::default(),
            max_unreadable: 100,
            unreadable_window: Duration::from_secs(10),
            encoding: EncodingChoice::default(),
            reserved: Vec::new(),
        }
    }
}

/// Settings of resumption: how long a session waits for a client whose connection is lost, and what
/// is kept for it.
///
/// A client that says `disconnect`, or that the server has closed, is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a session waits for its client to come back: 15 s by default, as Meteor. Until then
    /// its subscriptions go on; a client that comes back gets what it has missed, and is told
    /// nothing else. With zero no session waits.
    pub grace: Duration,
    /// Messages that are kept of what a client was sent, until it answers a ping: 100 by default. A
    /// client that comes back and has missed more gets a new session. As many again may come up
    /// while it is away; with one more its session ends.
    pub messages: usize,
    /// Bytes of these messages, counted the same way: 64 KiB by default.
    pub bytes: usize,
    /// How often somebody may try to resume a waiting session with a count that is impossible, or
    /// from the wrong address, before it ends: 5 times by default.
    pub attempts: u32,
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(15),
            messages: 100,
            bytes: 64 * 1024,
            attempts: 5,
        }
    }
}

/// The names that clients may use, each with the number by which the host knows it.
#[derive(Clone, Debug, Default)]
pub struct HandlerNames {
    publications: HashMap<Box<str>, (usize, PublicationKind)>,
    universal: Vec<usize>,
    methods: HashMap<Box<str>, usize>,
}

/// What a publication sends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublicationKind {
    /// Documents.
    Ordinary,
    /// Events on a Vent id, and documents if it likes.
    Vent(VentOptions),
    /// Events of the shared collection `stream-NAME`, which is also the publication's name.
    Streamer(Arc<str>),
}

/// A name that exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateName(Box<str>);

impl DuplicateName {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl HandlerNames {
    /// Adds a publication under the host's `number`.
    ///
    /// # Errors
    ///
    /// The name is taken by another publication, of whatever kind.
    pub fn publication(
        &mut self,
        name: &str,
        number: usize,
        kind: PublicationKind,
    ) -> Result<(), DuplicateName> {
        match self.publications.insert(name.into(), (number, kind)) {
            None => Ok(()),
            Some(_) => Err(DuplicateName(name.into())),
        }
    }

    /// Adds a publication without a name, which starts by itself in every session.
    pub fn universal(&mut self, number: usize) {
        self.universal.push(number);
    }

    /// Adds a method under the host's `number`.
    ///
    /// # Errors
    ///
    /// The name is taken by another method.
    pub fn method(&mut self, name: &str, number: usize) -> Result<(), DuplicateName> {
        match self.methods.insert(name.into(), number) {
            None => Ok(()),
            Some(_) => Err(DuplicateName(name.into())),
        }
    }

    /// The host's number of a method, for calls from within.
    pub fn find_method(&self, name: &str) -> Option<usize> {
        self.methods.get(name).copied()
    }

    pub(super) fn find_publication(&self, name: &str) -> Option<(usize, &PublicationKind)> {
        self.publications
            .get(name)
            .map(|(number, kind)| (*number, kind))
    }

    pub(super) fn universals(&self) -> &[usize] {
        &self.universal
    }
}
