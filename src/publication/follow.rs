//! Following a topic: which of its records a subscription sends, and from where on.

use std::error::Error as StdError;
use std::fmt;
use std::future::IntoFuture;
use std::hash::Hash;
use std::pin::pin;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::Value;
use updraft_topics::{Lost, Message, OnLoss, Position, Start, Topic, TopicError};

use super::Vent;
use crate::base::error::Result;
use crate::feed::Policies;
use crate::mail::{FollowTopic, Mail};
use crate::mapping::{IntoEvent, IntoGapEvent, MessageEvent, OnLost, OneShared, RecordMapper};

/// A subscription that is about to follow a topic: awaiting it begins. Made by
/// [`Vent::follow`](crate::Vent::follow).
///
/// Without [`map`](Self::map) each record is sent unchanged: its payload is the event. Every event
/// has the position of its record, so that the client can subscribe again from there. Tombstones,
/// payloads that are not EJSON, and what JavaScript takes for false are not sent then.
///
/// Records up to the end that the topic has at the moment are sent before `ready`, the others after
/// it. At most 256 records or 256 KiB wait for a client
/// ([`followed_records`](crate::config::ClientLimits::followed_records),
/// [`followed_bytes`](crate::config::ClientLimits::followed_bytes)): a slow client falls behind in
/// the topic, and nothing is lost. It is told of a gap only if the topic removes what it has not
/// been sent.
///
/// A subscription follows one topic. When the topic is closed and all of it was sent, the
/// subscription ends without an error.
///
/// When the user of the client changes, the next run goes on where the former was, wherever its
/// handler says to begin.
///
/// # Errors
///
/// What awaiting returns is meant for the client, if `?` passes it on: `bad-position`; `gap` and
/// `reset` if records are lost and the policy is to fail; `unknown-topic`; `backend-unavailable`.
/// [`FollowError`] is the program's mistake, and internal.
///
/// # Cancel safety
///
/// If the future is dropped, nothing is followed.
#[must_use = "nothing is followed until it is awaited"]
pub struct Follow {
    vent: Vent,
    topic: Topic,
    start: Result<Start, TopicError>,
    mapper: RecordMapper,
    policies: Policies,
    on_lost: Option<OnLost>,
    first: Option<BoxFuture<'static, Result<()>>>,
}

/// A publication follows a topic in a way that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowError {
    /// A streamer's events have no place for a position. This is an error of the call, because
    /// what a handler does is not known when the server is built.
    Streamer,
    /// The subscription follows a topic already.
    Twice,
}

/// Where a subscription begins to read a topic.
///
/// A [`Value`] is what a client has sent: `"latest"`, `"earliest"`, `"snapshot"`, `{last: n}`,
/// `{time}` with a date or milliseconds since 1970, or the text of a position. Nothing, or `null`,
/// means the latest.
pub trait IntoStart {
    /// The start.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadPosition`] for what is none.
    fn into_start(self) -> Result<Start, TopicError>;
}

impl Vent {
    /// Follows a topic: sends its records from a place on as events, each with its position, and
    /// then those to come. See [`Follow`].
    ///
    /// `from` is a [`Start`](crate::topics::Start), a [`Position`](crate::topics::Position), or what
    /// the client has sent: see [`IntoStart`].
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::topics::{Message, OnLoss, Topic};
    ///
    /// #[derive(Deserialize)]
    /// struct Orders {
    ///     from: Option<Value>,
    /// }
    ///
    /// async fn orders(vent: Vent, orders: Topic, Orders { from }: Orders) -> Result<()> {
    ///     vent.follow(&orders, from)
    ///         .map(|order: &Message| order.value().ok())
    ///         .after_gap(OnLoss::Earliest)
    ///         .await
    /// }
    /// ```
    pub fn follow(&self, topic: &Topic, from: impl IntoStart) -> Follow {
        Follow::new(self.clone(), topic.clone(), from.into_start())
    }
}

impl Follow {
    fn new(vent: Vent, topic: Topic, start: Result<Start, TopicError>) -> Self {
        fn unchanged(record: &Message, (): &()) -> crate::mapping::Event {
            record.event()
        }
        Self {
            vent,
            topic,
            start,
            mapper: RecordMapper::Shared(Box::new(OneShared::new((), unchanged))),
            policies: Policies::default(),
            on_lost: None,
            first: None,
        }
    }

    /// Sends what `f` returns for each record, or nothing, as [`Vent::on`](crate::Vent::on) does. If
    /// `f` fails or panics, the record is passed over.
    pub fn map<E: IntoEvent>(mut self, mut f: impl FnMut(&Message) -> E + Send + 'static) -> Self {
        self.mapper = RecordMapper::Each(Box::new(move |record| f(record).into_event()));
        self
    }

    /// As [`map`](Self::map), with a function that is called once per record for all subscribers
    /// with the same function and an equal `arg`, as [`Vent::on_shared`](crate::Vent::on_shared).
    pub fn map_shared<A, E>(mut self, arg: A, f: fn(&Message, &A) -> E) -> Self
    where
        A: Hash + Eq + Send + 'static,
        E: IntoEvent + 'static,
    {
        self.mapper = RecordMapper::Shared(Box::new(OneShared::new(arg, f)));
        self
    }

    /// Calls `f` when records are lost and the policy is not to fail. What `f` returns is sent as an
    /// event without a position, before any further record.
    pub fn on_gap<E: IntoGapEvent>(
        mut self,
        mut f: impl FnMut(&Lost) -> E + Send + 'static,
    ) -> Self {
        self.on_lost = Some(Box::new(move |lost| f(lost).into_gap_event()));
        self
    }

    /// What happens if records are gone that the client has not been sent: by default the
    /// subscription ends with the error `gap`.
    pub fn after_gap(mut self, policy: OnLoss) -> Self {
        self.policies.gap = policy;
        self
    }

    /// What happens if the client's position is not one of this topic any more, because the topic
    /// was created again or its store has lost records: by default the subscription ends with the
    /// error `reset`.
    pub fn after_reset(mut self, policy: OnLoss) -> Self {
        self.policies.reset = policy;
        self
    }

    /// Fixes the place where the topic is followed, then runs `query`, and sends records only when
    /// that has ended: the state of things first, and then each change that is not in it. What is
    /// published while the query runs is among those, whether or not the query has seen it.
    ///
    /// If the query fails, so does the subscription.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::topics::{Start, Topic};
    ///
    /// # async fn orders_in_database() -> Result<Vec<(String, Value)>> { Ok(Vec::new()) }
    /// async fn orders(vent: Vent, orders: Topic) -> Result<()> {
    ///     let context = vent.clone();
    ///     let query = async move {
    ///         for (id, order) in orders_in_database().await? {
    ///             context.added("orders", id, order);
    ///         }
    ///         Ok(())
    ///     };
    ///     vent.follow(&orders, Start::Latest).after(query).await
    /// }
    /// ```
    pub fn after(mut self, query: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        self.first = Some(Box::pin(query));
        self
    }

    async fn begin(self) -> Result<()> {
        let Self {
            vent,
            topic,
            start,
            mapper,
            policies,
            on_lost,
            first,
        } = self;
        if vent.is_streamer() {
            return Err(FollowError::Streamer.into());
        }
        if !vent.begin_following() {
            return Err(FollowError::Twice.into());
        }
        vent.flowing().await;
        let start = match vent.continuation(&topic) {
            Some(position) => Start::Position(position),
            None => start?,
        };
        let feeds = &vent.connection().host().feeds;
        let beginning = async {
            let feed = feeds.open(&topic).await?;
            let beginning = feed.begin(start, policies).await?;
            Ok::<_, TopicError>((feed, beginning))
        };
        let (feed, beginning) = vent.patiently(pin!(beginning)).await?;
        if let Some(query) = first {
            query.await?;
        }
        let follow = FollowTopic {
            feed,
            beginning,
            mapper,
            policies,
            on_lost,
        };
        vent.send(Mail::Follow(vent.run_id(), Box::new(follow)));
        Ok(())
    }
}

impl IntoFuture for Follow {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

impl IntoStart for Start {
    fn into_start(self) -> Result<Start, TopicError> {
        Ok(self)
    }
}

impl IntoStart for Position {
    fn into_start(self) -> Result<Start, TopicError> {
        Ok(Start::Position(self))
    }
}

impl IntoStart for Value {
    fn into_start(self) -> Result<Start, TopicError> {
        let start = match &self {
            Self::Undefined | Self::Null => Some(Start::Latest),
            Self::String(text) => return named(text.to_str().unwrap_or_default()),
            other => counted(other),
        };
        // No empty text is a position.
        start.map_or_else(|| named(""), Ok)
    }
}

impl IntoStart for Option<Value> {
    fn into_start(self) -> Result<Start, TopicError> {
        self.unwrap_or(Value::Undefined).into_start()
    }
}

fn named(text: &str) -> Result<Start, TopicError> {
    Ok(match text {
        "latest" => Start::Latest,
        "earliest" => Start::Earliest,
        "snapshot" => Start::Snapshot,
        token => Start::Position(token.parse()?),
    })
}

/// `{last}` or `{time}`.
fn counted(value: &Value) -> Option<Start> {
    let whole = |number: f64| {
        let is_whole = (0.0..=9_007_199_254_740_991.0).contains(&number) && number.fract() == 0.0;
        is_whole.then_some(number as u64)
    };
    if let Some(last) = value.get("last") {
        return last.as_f64().and_then(whole).map(Start::Last);
    }
    let time = match value.get("time")? {
        Value::Date(date) => date.millis()? as f64,
        other => other.as_f64()?,
    };
    whole(time).map(Start::Time)
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("topic", self.topic.name())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streamer => {
                "a streamer cannot follow a topic, because its events have no place for a \
                 position; register the publication by `Builder::vent`"
            }
            Self::Twice => {
                "a subscription follows one topic, and this one follows another already; register \
                 a publication for each"
            }
        })
    }
}

impl StdError for FollowError {}
