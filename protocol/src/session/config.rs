//! What all sessions of a server share: its settings, and the names of its handlers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::GatewayRules;
use crate::ejson::{JsonLimits, ObjectId};
use crate::message::MessageBounds;
use crate::vent::{EncodingChoice, VentOptions};
use crate::view::Strategies;

/// The configuration of all sessions of a server; they share one value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The settings.
    pub settings: SessionSettings,
    /// Bytes of memory that the parameters of one client's running handlers may take. At this limit
    /// the next message waits until a handler has ended, even if all of them have unblocked. The
    /// host bounds these bytes together with the waiting messages. By default there is no limit.
    pub max_running_bytes: usize,
    /// Makes the id of an ObjectID that a client sends without one, as
    /// `{"$type":"oid","$value":""}`. Meteor makes a random one. By default it returns `None`, and
    /// such a value cannot be decoded.
    pub new_object_id: fn() -> Option<ObjectId>,
    /// What is remembered of the documents of each collection.
    pub strategies: Strategies,
    /// The publications and methods that exist.
    pub names: HandlerNames,
    /// Set if everything else belongs to a Meteor server. None by default.
    pub gateway: Option<GatewayRules>,
}

/// Settings of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSettings {
    /// How long a client may be silent before it is pinged: 15 s by default. As in Meteor the check
    /// runs once per interval, so the ping comes between one and two intervals after the last
    /// message. Zero switches pings and the timeout off.
    pub heartbeat_interval: Duration,
    /// How long a client that was pinged may stay silent before its connection is closed: 15 s by
    /// default.
    pub heartbeat_timeout: Duration,
    /// Whether a client's ping is answered: yes by default. Meteor has this switch for its tests.
    pub respond_to_pings: bool,
    /// How long a client may take to send `connect` before its connection is closed: 15 s by
    /// default.
    pub connect_timeout: Duration,
    /// Whether every new client is sent `{"server_id":"0"}` at once, as by old Meteor servers: no
    /// by default. Some clients wait for it, others treat it as an error.
    pub greeting: bool,
    /// What is kept for clients whose connection is lost.
    pub resumption: Resumption,
    /// How long a publication's handler may run, unblocked or not: 60 s by default. Then it is
    /// dropped, and its subscription ends with `nosub` 503. Zero means no limit. Tasks that a
    /// handler ties to its subscription are not limited by this.
    pub publication_timeout: Duration,
    /// How many subscriptions a session may have, not counting universal ones: 256 by default. One
    /// more gets `nosub` with the error `too-many-subscriptions`.
    pub max_subscriptions: usize,
    /// How long `updated` waits for the writes of a method that has ended: 30 s by default. Then it
    /// is sent without waiting for them.
    pub fence_timeout: Duration,
    /// When the user changes, the client is sent the difference in slices of this many bytes: 256
    /// KiB by default. The host asks for the next slice when the client has received one.
    pub difference_slice: usize,
    /// Events held for a subscription that is not ready yet: 256 by default. One more causes a gap.
    pub held_events: usize,
    /// Bytes of events held for a subscription that is not ready yet: 256 KiB by default. More
    /// cause a gap.
    pub held_bytes: usize,
    /// Depth and breadth of a client's JSON. A message that exceeds either is a `Bad request`.
    pub json: JsonLimits,
    /// Maximum lengths of a client's ids and names, and of the messages that an `error` quotes.
    pub bounds: MessageBounds,
    /// How many messages may be unreadable within [`unreadable_window`](Self::unreadable_window),
    /// that is: no JSON within the limits of [`json`](Self::json), or without `msg`. 100 by
    /// default; with as many the connection is closed with 1008.
    pub max_unreadable: usize,
    /// The time within which unreadable messages are counted: 10 s by default.
    pub unreadable_window: Duration,
    /// The encoding of Vent publications that do not choose their own: [`EncodingChoice::Auto`] by
    /// default.
    pub encoding: EncodingChoice,
    /// Names that no Vent id may take in the collection encoding, besides Meteor's own: the names
    /// of the client's own collections. None by default.
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
            gateway: None,
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

/// Settings of resumption: how long a session waits for a client whose connection is lost, and how
/// much is kept for it.
///
/// A session does not wait for a client that said `disconnect`, or that the server has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a session waits for its client to come back: 15 s by default, as in Meteor.
    /// Meanwhile its subscriptions go on. A client that comes back is sent the messages that it
    /// missed, and nothing else. With zero no session waits.
    pub grace: Duration,
    /// How many sent messages are kept until the client answers a ping: 100 by default. A client
    /// that comes back and has missed more gets a new session. While the client is away, as many
    /// new messages may be added; one more ends the session.
    pub messages: usize,
    /// Bytes of these messages, counted in the same way: 64 KiB by default.
    pub bytes: usize,
    /// How many sent records of topics are kept besides: 1,024 by default. They take little memory
    /// of their own, because their text is shared by all clients.
    pub records: usize,
    /// Bytes of these records: 1 MiB by default. While there are any, all messages together may
    /// have this many more.
    pub record_bytes: usize,
    /// How many attempts to resume a waiting session may fail, because of an impossible count or
    /// the wrong address, before the session ends: 5 by default.
    pub attempts: u32,
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(15),
            messages: 100,
            bytes: 64 * 1024,
            records: 1024,
            record_bytes: 1024 * 1024,
            attempts: 5,
        }
    }
}

/// The names that clients may use, each with the host's number for it.
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
    /// Events for a Vent id, and documents if the handler adds any.
    Vent(VentOptions),
    /// Events of the shared collection `stream-NAME`, which is also the publication's name.
    Streamer(Arc<str>),
}

/// The error for a name that exists already.
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
    /// Another publication, of any kind, has this name.
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
    /// Another method has this name.
    pub fn method(&mut self, name: &str, number: usize) -> Result<(), DuplicateName> {
        match self.methods.insert(name.into(), number) {
            None => Ok(()),
            Some(_) => Err(DuplicateName(name.into())),
        }
    }

    /// The host's number of a method, for calls from other handlers.
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
