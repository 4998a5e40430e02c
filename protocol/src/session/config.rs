//! What all sessions of a server have in common: the names it knows, and its limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ejson::{JsonLimits, ObjectId};
use crate::message::MessageBounds;
use crate::vent::{EncodingChoice, VentOptions};
use crate::view::Strategies;

/// Settings of a session; one value serves all sessions of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Silence after which the server pings (15 s); zero switches pings and the timeout off.
    pub heartbeat_interval: Duration,
    /// How long a pinged client may stay silent before its session is closed (15 s).
    pub heartbeat_timeout: Duration,
    /// Whether a client's ping is answered (yes; Meteor has the switch for its tests).
    pub respond_to_pings: bool,
    /// How long a socket may stay without a `connect` (15 s).
    pub connect_timeout: Duration,
    /// Whether a client is greeted with `{"server_id":"0"}`, as old Meteor servers did (no).
    pub greeting: bool,
    /// What is kept for clients whose connection is lost.
    pub resumption: Resumption,
    /// How long a publication's handler may take (60 s); then its subscription ends. Zero is for ever.
    pub publication_timeout: Duration,
    /// Subscriptions of one session, universal ones not counted (256).
    pub max_subscriptions: usize,
    /// Bytes of memory of the parameters of one client's handlers that run (4 MiB); with as many, the next message waits
    /// until one has ended, although all may have let it begin.
    pub max_running_bytes: usize,
    /// How long `updated` waits for the writes of a method that has ended (30 s).
    pub fence_timeout: Duration,
    /// Bytes of what a change of the user makes different that the client is told of at a time (256 KiB): the host
    /// [asks for more](super::Session::tell_more) when these have been taken.
    pub difference_slice: usize,
    /// Events held for a subscription that is not ready yet (256); one more is a gap.
    pub held_events: usize,
    /// Bytes of events held for a subscription that is not ready yet (256 KiB).
    pub held_bytes: usize,
    /// Depth and breadth of a client's JSON.
    pub limits: JsonLimits,
    /// Lengths of a client's ids and names, and of messages that are quoted.
    pub bounds: MessageBounds,
    /// Messages that are no JSON within `limits` or have no `msg`, within
    /// [`unreadable_window`](Self::unreadable_window), that close the connection (100).
    pub max_unreadable: usize,
    /// The time within which unreadable messages are counted (10 s).
    pub unreadable_window: Duration,
    /// Where the id comes from of an ObjectID that a client sends without one, as `{"$type":"oid","$value":""}`: Meteor
    /// makes up a random one. By default from nowhere, and such a value cannot be decoded.
    pub new_object_id: fn() -> Option<ObjectId>,
    /// What is remembered of the documents of each collection.
    pub strategies: Strategies,
    /// The encoding of Vent publications that do not choose their own.
    pub encoding: EncodingChoice,
    /// Names that no Vent id may take in the collection encoding, besides Meteor's own.
    pub reserved: Vec<Box<str>>,
    /// The publications and methods that exist.
    pub names: HandlerNames,
}

impl Default for SessionConfig {
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
            max_running_bytes: 4 * 1024 * 1024,
            fence_timeout: Duration::from_secs(30),
            difference_slice: 256 * 1024,
            held_events: 256,
            held_bytes: 256 * 1024,
            limits: JsonLimits::default(),
            bounds: MessageBounds::default(),
            max_unreadable: 100,
            unreadable_window: Duration::from_secs(10),
            new_object_id: || None,
            strategies: Strategies::default(),
            encoding: EncodingChoice::default(),
            reserved: Vec::new(),
            names: HandlerNames::default(),
        }
    }
}

/// Settings of resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// How long a session waits for its client to come back (15 s); with zero none does.
    pub grace: Duration,
    /// Messages that are kept for a client because it may have missed them (100), and messages that a waiting session
    /// may have to send beside them; with one more it ends.
    pub messages: usize,
    /// Bytes of these messages, counted the same way (64 KiB).
    pub bytes: usize,
    /// Wrong attempts that end a waiting session (5).
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
pub struct DuplicateName(pub Box<str>);

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
