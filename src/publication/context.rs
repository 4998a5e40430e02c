//! The context of a publication: Meteor's `this` in a publish function.

mod failures;
mod following;
mod observer;
mod patience;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::AbortHandle;
use updraft_bus::IntoChannel;
use updraft_protocol::ejson::{self, ObjectId, Value};
use updraft_protocol::session::Run;
use updraft_protocol::view::IntoFields;
use updraft_topics::{Entry, Published, Topic};

use super::PublicationLog;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::redact::Redacted;
use crate::handler::{Callback, Connection, Lifetime, UserId, unpanicked};
use crate::mail::{Document, Mail};
pub(crate) use following::Continuation;
pub(crate) use observer::ClientObserver;

/// One subscription of one client, to publish to.
///
/// Clones are the same subscription. Once it is over, every call is ignored, so a task that
/// publishes too late does no harm.
#[derive(Clone)]
pub struct Subscription(Arc<Inner>);

struct Inner {
    connection: Connection,
    user: Option<Arc<str>>,
    run: Run,
    /// For logs.
    publication: Arc<PublicationLog>,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    over: bool,
    /// The handler, while it runs.
    handler: Option<AbortHandle>,
    handler_ended: bool,
    /// How long it has waited for the bus, over all its channels.
    waited_for_bus: Duration,
    /// Whether the client is away, and may come back.
    is_away: bool,
    /// Whether it follows a topic.
    is_following: bool,
    /// Where the run before this one was in its topic.
    continuation: Option<Box<Continuation>>,
    /// Set if more than the handler ends with the subscription, which is rare.
    at_end: Option<Box<AtEnd>>,
}

/// What happens at the end of a subscription.
#[derive(Default)]
struct AtEnd {
    /// Tasks of [`Subscription::run`], aborted at the end; bounded by what the handler starts.
    tasks: Vec<AbortHandle>,
    /// Filled by the handler, called at the end.
    on_stop: Vec<Callback>,
    /// Dropped at the end, or given to the next run.
    observer: Option<Arc<dyn ClientObserver>>,
}

impl Subscription {
    pub(super) fn new(
        connection: Connection,
        user: Option<Arc<str>>,
        run: Run,
        publication: Arc<PublicationLog>,
    ) -> Self {
        Self(Arc::new(Inner {
            connection,
            user,
            run,
            publication,
            life: Mutex::default(),
        }))
    }

    /// The user who subscribes; `None` while nobody is logged in.
    ///
    /// It never changes. When the user of the client changes, this subscription is over, and the
    /// handler is called again with a new one.
    pub fn user_id(&self) -> Option<UserId> {
        self.0.user.clone().map(UserId::new)
    }

    /// The client's connection.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Publishes a document: its collection, its id and its fields. Fields are anything that
    /// serializes to an object, or [`Fields`](crate::Fields), which many sessions share as one
    /// copy.
    ///
    /// The client is sent what its other subscriptions have not sent it yet. `_id` among the fields
    /// is ignored. An undefined field is sent as cleared. If the subscription has added the
    /// document before, these fields are merged into it; the others stay.
    ///
    /// Fields that do not serialize to an object end the subscription with an internal error.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// let news = Fields::new(ejson!({ "text": "All sessions share this copy." })).unwrap();
    /// let builder = Server::builder().publish("news", move |subscription: Subscription| {
    ///     let news = news.clone();
    ///     async move {
    ///         subscription.added("news", "today", news);
    ///         Ok(())
    ///     }
    /// });
    /// ```
    pub fn added(&self, collection: &str, id: impl DocumentId, fields: impl IntoFields) {
        if let Some(document) = self.document(collection, id, fields) {
            self.send(Mail::Added(self.0.run, document));
        }
    }

    /// Changes fields of a document that this subscription has added. An undefined field is
    /// cleared. Other documents are ignored.
    pub fn changed(&self, collection: &str, id: impl DocumentId, fields: impl IntoFields) {
        if let Some(document) = self.document(collection, id, fields) {
            self.send(Mail::Changed(self.0.run, document));
        }
    }

    /// Removes a document that this subscription has added. Other documents are ignored.
    pub fn removed(&self, collection: &str, id: impl DocumentId) {
        match id.to_wire() {
            Some(id) => self.send(Mail::Removed(
                self.0.run,
                Box::new((collection.to_owned(), id)),
            )),
            None => self.error(Error::internal(format!(
                "a document of '{collection}': {NO_ID}"
            ))),
        }
    }

    /// Sends `ready`: the initial data are complete. The server sends it when the handler returns;
    /// only the first time counts.
    pub fn ready(&self) {
        self.send(Mail::Ready(self.0.run));
    }

    /// Leaves `ready` to a later call of [`ready`](Self::ready): it is not sent when the handler
    /// returns.
    pub fn hold_ready(&self) {
        self.send(Mail::HoldReady(self.0.run));
    }

    /// Ends the subscription with an error: its documents are removed, and the client gets `nosub`.
    ///
    /// The handler is dropped at its next await, as at every end of a subscription.
    pub fn error(&self, error: impl Into<Error>) {
        let error = error.into();
        if error.kind() == ErrorKind::Internal {
            let id = self.0.connection.log_id();
            let publication = self.publication();
            tracing::error!(connection = %id, publication, ?error, "A publication failed.");
        }
        self.log_refusal(&error);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let (connection, name) = (self.connection().log_id(), self.publication());
            let code = error.wire().error.to_string();
            let outcome = format!("nosub {}", Redacted(&code));
            tracing::debug!(%connection, what = "publication", ?name, outcome, "A handler ends its subscription.");
        }
        self.send(Mail::Stop(self.0.run, Some(Box::new(error.into_wire()))));
    }

    /// Ends the subscription: its documents are removed, and the client gets `nosub`. The handler
    /// is dropped as with [`error`](Self::error).
    pub fn stop(&self) {
        self.send(Mail::Stop(self.0.run, None));
    }

    /// Calls `f` when the subscription is over, for whatever reason; at once if it is over already.
    pub fn on_stop(&self, f: impl FnOnce() + Send + 'static) {
        let mut life = self.life();
        if !life.over {
            let at_end = life.at_end.get_or_insert_default();
            return at_end.on_stop.push(Box::new(f));
        }
        drop(life);
        f();
    }

    /// Whether the subscription is over.
    pub fn is_stopped(&self) -> bool {
        self.life().over
    }

    /// Lets the client's next message start while this handler goes on.
    pub fn unblock(&self) {
        self.send(Mail::Unblock(self.0.run));
    }

    /// Ties a task to the subscription. The handler may return while the task goes on. The task is
    /// dropped when the subscription is over. If it fails or panics, the subscription ends with an
    /// error.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # use std::time::Duration;
    /// async fn uptime(subscription: Subscription) -> Result<()> {
    ///     let context = subscription.clone();
    ///     context.added("uptime", "now", ejson!({ "seconds": 0 }));
    ///     subscription.run(async move {
    ///         for seconds in 1.. {
    ///             tokio::time::sleep(Duration::from_secs(1)).await;
    ///             context.changed("uptime", "now", ejson!({ "seconds": seconds }));
    ///         }
    ///         Ok(())
    ///     });
    ///     Ok(())
    /// }
    /// ```
    pub fn run(&self, task: impl Future<Output = Result<()>> + Send + 'static) {
        let mut life = self.life();
        if life.over {
            return;
        }
        let subscription = self.clone();
        let task = self.0.connection.host().spawn(async move {
            if let Err(error) = unpanicked(task).await {
                subscription.error(error);
            }
        });
        let tasks = &mut life.at_end.get_or_insert_default().tasks;
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
    }

    /// Waits while much of what was published is still on its way to the client, so that a handler
    /// which publishes much does not fill the memory. Publishing itself never waits. Every other
    /// future of a subscription waits for this too.
    ///
    /// The time limit of the handler
    /// ([`publication_timeout`](crate::config::SessionSettings::publication_timeout)) does not run
    /// meanwhile. It waits as long as [`Connection::flowing`] does.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # async fn next_order() -> Option<(u32, Value)> { None }
    /// async fn all_orders(subscription: Subscription) -> Result<()> {
    ///     while let Some((id, order)) = next_order().await {
    ///         subscription.added("orders", id, order);
    ///         subscription.flowing().await;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn flowing(&self) {
        if !self.0.connection.is_flowing() {
            let _waiting = WaitingHandler::of(self);
            self.0.connection.flowing().await;
        }
    }

    /// Publishes a message to all who follow the channel, in this process and others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSent`] or [`ErrorKind::OutcomeUnknown`] when the bus fails; 400 for a bad
    /// channel or value.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not have been published.
    pub async fn emit(&self, channel: impl IntoChannel, value: impl Serialize) -> Result<()> {
        self.flowing().await;
        self.0.connection.host().emit(channel, value).await
    }

    /// Publishes a record to a topic, and resolves when the store has it.
    ///
    /// # Errors
    ///
    /// Those of [`Topic::publish`], as a client is told them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the record may or may not be stored.
    pub async fn publish(&self, topic: &Topic, entry: impl Into<Entry>) -> Result<Published> {
        self.flowing().await;
        Ok(topic.publish(entry).await?)
    }

    /// Waits until there is memory for its handler to start.
    pub(super) async fn wait_for_memory(&self) {
        if self.0.connection.is_short() {
            let _waiting = WaitingHandler::of(self);
            self.0.connection.room().await;
        }
    }

    pub(super) fn send(&self, mail: Mail) {
        self.0.connection.send(mail);
    }

    /// The publication's name; empty for a universal publication.
    pub(crate) fn publication(&self) -> &str {
        &self.0.publication.name
    }

    pub(super) fn run_id(&self) -> Run {
        self.0.run
    }

    pub(super) fn handler_ended(&self) {
        let mut life = self.life();
        life.handler_ended = true;
        life.handler = None;
    }

    /// Ends the subscription: aborts its handler and tasks, and runs its callbacks on the handlers'
    /// runtime.
    pub(crate) fn end(&self) {
        let ended = Life {
            over: true,
            ..Life::default()
        };
        let Life {
            handler, at_end, ..
        } = std::mem::replace(&mut *self.life(), ended);
        let AtEnd {
            tasks,
            on_stop,
            observer,
        } = at_end.map(|it| *it).unwrap_or_default();
        drop(observer);
        for task in handler.into_iter().chain(tasks) {
            task.abort();
        }
        self.0.connection.host().call_back(on_stop);
    }

    fn document(
        &self,
        collection: &str,
        id: impl DocumentId,
        fields: impl IntoFields,
    ) -> Option<Box<Document>> {
        let failed = |text: &str| {
            self.error(Error::internal(format!(
                "a document of '{collection}': {text}"
            )));
            None
        };
        let Some(id) = id.to_wire() else {
            return failed(NO_ID);
        };
        match fields.into_fields() {
            Ok(fields) => Some(Box::new(Document {
                collection: collection.to_owned(),
                id,
                fields,
            })),
            Err(error) => failed(&error.to_string()),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lifetime for Subscription {
    fn is_over(&self) -> bool {
        self.is_stopped()
    }

    fn began(&self, handler: AbortHandle) {
        let mut life = self.life();
        if life.over {
            handler.abort();
        } else if !life.handler_ended {
            life.handler = Some(handler);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("connection", &self.0.connection)
            .field("run", &self.0.run)
            .finish_non_exhaustive()
    }
}

/// A handler that waits for its client. The session is told of the beginning and the end, because
/// this time does not count as the handler's.
struct WaitingHandler<'a>(&'a Subscription);

impl<'a> WaitingHandler<'a> {
    fn of(subscription: &'a Subscription) -> Self {
        subscription.send(Mail::Waits(subscription.0.run));
        Self(subscription)
    }
}

impl Drop for WaitingHandler<'_> {
    fn drop(&mut self) {
        self.0.send(Mail::GoesOn(self.0.0.run));
    }
}

/// Why a document is not published.
const NO_ID: &str = "its id must be a string, an ObjectId, or a number that clients can tell from \
                     others; integers beyond 2^53 are not";

/// Values that can be the id of a document.
///
/// Numbers that clients could not tell from others cannot: NaN, the infinities, and integers beyond
/// ±(2⁵³ − 1), which JavaScript rounds. Publish such an id as text.
pub trait DocumentId {
    /// The id in DDP's spelling; `None` for a value that cannot be an id.
    fn to_wire(&self) -> Option<String>;
}

impl DocumentId for Value {
    fn to_wire(&self) -> Option<String> {
        ejson::wire_id(self)
    }
}

macro_rules! document_id {
    ($($id:ty),+) => {
        $(impl DocumentId for $id {
            fn to_wire(&self) -> Option<String> {
                ejson::wire_id(&Value::from(self.to_owned()))
            }
        })+
    };
}
document_id!(&str, String, ObjectId, i32, u32, f64);

impl DocumentId for UserId {
    fn to_wire(&self) -> Option<String> {
        self.as_str().to_wire()
    }
}

/// The largest integer up to which no two integers have the same `f64`.
const MAX_SAFE: u64 = (1 << 53) - 1;

impl DocumentId for i64 {
    fn to_wire(&self) -> Option<String> {
        (self.unsigned_abs() <= MAX_SAFE).then(|| format!("~{self}"))
    }
}

impl DocumentId for u64 {
    fn to_wire(&self) -> Option<String> {
        (*self <= MAX_SAFE).then(|| format!("~{self}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_202_deviation_039_an_id_is_exact_or_refused() {
        let safe = 9_007_199_254_740_991_i64;
        assert_eq!(safe.to_wire().unwrap(), "~9007199254740991");
        assert_eq!((-safe).to_wire().unwrap(), "~-9007199254740991");
        assert_eq!(5_u64.to_wire(), Value::from(5).to_wire());
        assert_eq!(0_i64.to_wire(), Value::from(-0.0).to_wire());
        for id in [safe + 1, safe + 2, -safe - 1, i64::MAX, i64::MIN] {
            assert_eq!(id.to_wire(), None, "{id}");
        }
        assert_eq!((MAX_SAFE + 1).to_wire(), None);
        assert_eq!(u64::MAX.to_wire(), None);
        assert_eq!(f64::NAN.to_wire(), None);
        assert_eq!(1e21.to_wire().unwrap(), "~1e+21");
    }
}
