//! Following a topic: which of its records a subscription sends, and from where on.

use std::error::Error as StdError;
use std::fmt;
use std::future::IntoFuture;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::Value;
use updraft_topics::{Lost, Message, OnLoss, Position, Start, Topic, TopicError};

use super::Vent;
use super::context::Continuation;
use crate::base::error::Result;
use crate::cursor::{Cursor, CursorKey, Found, Kept};
use crate::feed::{Beginning, Feed, Policies};
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
    keeps_cursor: bool,
}

/// Where a subscription begins.
struct Opened {
    feed: Arc<Feed>,
    beginning: Beginning,
    cursor: Option<Cursor>,
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
            keeps_cursor: false,
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

    /// Keeps the place of a client that does not know positions: when it subscribes again, it goes
    /// on behind what it has received, wherever the handler says to begin. The place, its *cursor*,
    /// is kept in the store of the topic, so the client may come back to another process.
    ///
    /// The client comes back if it subscribes again with the same Vent id and parameters to the same
    /// publication, as the same user, within
    /// [10 minutes](crate::config::CursorSettings::expires). Two kinds of clients have no cursor,
    /// and begin where the handler says: those whose Vent id is not one of a single subscription
    /// (17 characters of Meteor's alphabet, a UUID, or 22 and more letters, digits, `-` and `_`),
    /// and those for which the handler begins at a [position](Start::Position).
    ///
    /// Nothing is skipped. Some records may come twice: at most those that wait for the client, and
    /// those of the last second. The client confirms what it has received by answering pings, which
    /// it is sent more often then: once a second while there are records, and after each 64 KiB.
    /// [`CursorSettings`](crate::config::CursorSettings) has these values. A client of DDP `pre1`
    /// has no pings; its cursor moves when records are written to its socket, so it may miss those
    /// that were on their way.
    ///
    /// The handler runs first each time, so it decides what a client may see before anything is
    /// read. With [`after`](Self::after), the query runs each time too, and changes that are older
    /// than what it finds may follow.
    pub fn cursor(mut self) -> Self {
        self.keeps_cursor = true;
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
            keeps_cursor,
        } = self;
        if vent.is_streamer() {
            return Err(FollowError::Streamer.into());
        }
        if !vent.begin_following() {
            return Err(FollowError::Twice.into());
        }
        vent.flowing().await;
        let former = vent.continuation(&topic);
        let key = match start {
            // The client, or the program, keeps its place itself.
            Ok(Start::Position(_)) | Err(_) => None,
            Ok(_) if keeps_cursor => vent.cursor_key(&topic).await,
            Ok(_) => None,
        };
        let opening = async {
            match (key, former) {
                (Some(key), former) => {
                    with_cursor(&vent, &topic, key, start?, former, policies).await
                }
                (None, former) => {
                    let feed = vent.connection().host().feeds.open(&topic).await?;
                    let beginning = match former {
                        Some(former) => behind(&feed, former.sent, policies).await?,
                        None => feed.begin(start?, policies).await?,
                    };
                    Ok(Opened {
                        feed,
                        beginning,
                        cursor: None,
                    })
                }
            }
        };
        let Opened {
            feed,
            beginning,
            cursor,
        } = vent.patiently(pin!(opening)).await?;
        if let Some(query) = first {
            query.await?;
        }
        let follow = FollowTopic {
            feed,
            beginning,
            mapper,
            policies,
            on_lost,
            cursor,
        };
        vent.send(Mail::Follow(vent.run_id(), Box::new(follow)));
        Ok(())
    }
}

/// Opens the cursor of a subscription, and begins behind it if it was there before.
async fn with_cursor(
    vent: &Vent,
    topic: &Topic,
    key: CursorKey,
    start: Start,
    former: Option<Continuation>,
    policies: Policies,
) -> Result<Opened, TopicError> {
    /// How often a cursor is opened that others open at the same time.
    const TRIES: usize = 5;
    let host = vent.connection().host();
    let feed = host.feeds.open(topic).await?;
    for _ in 0..TRIES {
        let found = host.cursors.find(topic.registers(), &key).await?;
        let (beginning, kept) = match places(former.as_ref(), &found) {
            Some((from, kept)) => (behind(&feed, from, policies).await?, kept),
            None => {
                let beginning = feed.begin(start, policies).await?;
                let kept = Kept {
                    position: Position::at(topic.name(), beginning.place),
                    horizon: beginning.horizon,
                };
                (beginning, kept)
            }
        };
        if let Some(cursor) = host.cursors.open(found, kept).await? {
            return Ok(Opened {
                feed,
                beginning,
                cursor: Some(cursor),
            });
        }
    }
    Err(TopicError::Busy)
}

/// From where on a subscription is sent records, and what its cursor keeps until its client has
/// confirmed more; `None` if it begins anew. A user who has a cursor, and comes after another in the
/// same session, begins where either of them has not been.
fn places(former: Option<&Continuation>, found: &Found) -> Option<(Kept, Kept)> {
    match (former, found.kept) {
        (Some(former), Some(kept)) => Some((
            former.sent.or_earlier(kept),
            former.confirmed.or_earlier(kept),
        )),
        (Some(former), None) => Some((former.sent, former.confirmed)),
        (None, Some(kept)) => Some((kept, kept)),
        (None, None) => None,
    }
}

async fn behind(feed: &Feed, kept: Kept, policies: Policies) -> Result<Beginning, TopicError> {
    feed.begin_behind(kept.position, kept.horizon, policies)
        .await
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
