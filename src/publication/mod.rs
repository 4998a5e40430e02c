//! Publications: functions that a client subscribes to, in one registry, whether they send
//! documents or events.

mod context;
mod follow;
mod mirror;
mod turn;
mod vent;

pub(crate) use context::{ClientObserver, Continuation};
pub use context::{DocumentId, Subscription};
pub use follow::{Follow, FollowError, IntoStart};
pub use mirror::{IntoDocument, Mirror};
pub use vent::Vent;

pub use crate::feed::Window;
pub(crate) use turn::{Begun, Turn};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use updraft_protocol::ejson::Value;
use updraft_protocol::session::Run;
use updraft_protocol::vent::{Encoding, EncodingChoice};

use crate::base::ThrottledLog;
use crate::base::error::{Error, Result};
use crate::handler::{self, Body, Connection, Handler, HandlerResult, Start, guard};
use crate::mail::Mail;

/// A registered publication.
pub(crate) struct Publication {
    log: Arc<PublicationLog>,
    body: Body<Vent>,
    /// Its own choice of the encoding, if it makes one.
    choice: Option<EncodingChoice>,
    /// The encodings that its events have had, as bits. The first is logged. A second causes a
    /// warning: perhaps the name of a collection looks like a Vent id of redis-oplog.
    encodings: AtomicU8,
}

/// What the logs of all subscriptions of a publication share.
#[derive(Debug)]
struct PublicationLog {
    /// Empty for a universal publication.
    name: Arc<str>,
    /// Whether its events are those of a streamer, which have no place for a position.
    is_streamer: bool,
    /// Lines about functions that fail. Each publication has its own, so that one which always
    /// fails hides no other.
    failures: ThrottledLog,
}

impl Publication {
    /// A publication whose handler takes a [`Subscription`].
    pub(crate) fn ordinary<M>(name: &str, handler: impl Handler<Subscription, M>) -> Self {
        let body = handler::body(handler);
        let of_vent = move |vent: Vent, params| body(vent.into_subscription(), params);
        Self::new(name, false, Box::new(of_vent))
    }

    /// A publication whose handler takes a [`Vent`].
    pub(crate) fn vent<M>(name: &str, handler: impl Handler<Vent, M>) -> Self {
        Self::new(name, false, handler::body(handler))
    }

    /// A streamer's publication.
    pub(crate) fn streamer<M>(name: &str, handler: impl Handler<Vent, M>) -> Self {
        Self::new(name, true, handler::body(handler))
    }

    /// The same publication, which chooses the encoding of its events.
    pub(crate) fn with_encoding(self, choice: Option<EncodingChoice>) -> Self {
        Self { choice, ..self }
    }

    fn new(name: &str, is_streamer: bool, body: Body<Vent>) -> Self {
        Self {
            log: Arc::new(PublicationLog {
                name: name.into(),
                is_streamer,
                failures: ThrottledLog::default(),
            }),
            body,
            choice: None,
            encodings: AtomicU8::new(0),
        }
    }

    /// Empty for a universal publication.
    pub(crate) fn name(&self) -> &str {
        &self.log.name
    }

    /// Logs once how events of this publication are encoded, and warns once if not all have the
    /// same encoding. `server` is the server's choice for publications that do not choose.
    pub(crate) fn log_encoding(&self, encoding: Encoding, server: EncodingChoice) {
        let bit = if encoding == Encoding::Collection {
            1
        } else {
            2
        };
        let publication = self.name();
        match self.encodings.fetch_or(bit, Ordering::Relaxed) {
            0 if matches!(encoding, Encoding::Vent | Encoding::VentEjson)
                && self.choice.unwrap_or(server) == EncodingChoice::Auto =>
            {
                tracing::info!(
                    publication,
                    ?encoding,
                    "Events are sent as redis-oplog's frames, because the Vent id has 17 \
                     characters of Meteor's id alphabet. A collection of that name stays empty."
                );
            }
            0 => tracing::info!(publication, ?encoding, "Events have this encoding."),
            seen if seen & bit == 0 => tracing::warn!(
                publication,
                "Some subscriptions get redis-oplog's frames, others those of a collection. A Vent id \
                 of 17 characters of Meteor's id alphabet, such as Random.id(), selects the former. \
                 Prefix the names of collections, for example with \"vent.\", or choose one \
                 encoding (VentOptions::encoding)."
            ),
            _ => {}
        }
    }

    /// Prepares the handler of one subscription. It starts in its turn. However it ends, the
    /// session is told.
    pub(crate) fn prepare(
        &self,
        connection: Connection,
        user: Option<Arc<str>>,
        run: Run,
        (params, continuation): (Vec<Value>, Option<Continuation>),
        turn: Turn,
    ) -> (Subscription, Start) {
        let subscription = Subscription::new(connection.clone(), user, run, self.log.clone());
        subscription.continues_at(continuation);
        let counted = connection.count_parameters(&params);
        let publishing = (self.body)(Vent::new(subscription.clone()), params);
        let publishing = turn.clone().run(publishing);
        let to = subscription.clone();
        let publishing = async move {
            to.wait_for_memory().await;
            let outcome = publishing.await.map(drop);
            drop(counted);
            outcome
        };
        let name = self.log.name.clone();
        let over = subscription.clone();
        let handling = guard(
            &connection,
            "publication",
            name,
            publishing,
            move |connection, outcome| {
                over.handler_ended();
                connection.send(Mail::Published(run, outcome.map_err(Error::into_wire)));
                // The mail of the next handler must not arrive before this handler's end.
                drop(turn);
            },
        );
        (subscription.clone(), Start::within(subscription, handling))
    }
}

impl HandlerResult<Subscription> for Result<()> {
    fn into_value(self) -> Result<Value> {
        self.map(|()| Value::Undefined)
    }
}

impl HandlerResult<Vent> for Result<()> {
    fn into_value(self) -> Result<Value> {
        self.map(|()| Value::Undefined)
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
