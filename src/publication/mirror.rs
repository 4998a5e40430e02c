//! Showing a topic as documents, for clients that render lists.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::view::{Fields, IntoFields};
use updraft_topics::{Message, Position, Topic};

use super::Subscription;
use crate::base::error::{Error, Result};
use crate::feed::{Change, Changes, Document, Watched, Window};
use crate::mapping::insert_details;

/// A subscription that is about to show the records of a topic as documents: awaiting it begins.
/// Made by [`Subscription::mirror`].
///
/// Without [`map`](Self::map) the fields of a document are the members of its record's payload. A
/// payload that is not an object is the one field `value`. A record whose payload is not EJSON, and
/// a tombstone, is not shown. What is not shown has a place in the [`Window`] all the same.
///
/// Awaiting it resolves when the documents are sent that the topic has at the moment. Afterwards
/// documents come, change and go with the topic, as long as the subscription lives. Records that
/// retention, [`trim`](Topic::trim) or compaction remove go within the topic's
/// [`poll`](crate::topics::Settings::poll), 5 s by default.
///
/// What a client has is always on its way to what the topic has. Whatever happens in between, to
/// the client, to the store or to the topic, it is sent the difference only, and no more of it than
/// it takes ([`Subscription::flowing`]): a slow client is not sent what has come and gone meanwhile.
/// When the topic is closed, its documents stay.
///
/// These are ordinary documents. Other subscriptions may publish into the same collection, and when
/// the user of the client changes, it is sent what the handler's next run shows differently. Two
/// mirrors of one subscription need different collections, or must not have the same ids.
///
/// # Errors
///
/// What awaiting returns is meant for the client, if `?` passes it on: `unknown-topic`;
/// `backend-unavailable`. If the topic is deleted later, the subscription ends with an error.
///
/// # Cancel safety
///
/// If the future is dropped, what was sent stays, and nothing more is sent.
#[must_use = "nothing is shown until it is awaited"]
pub struct Mirror {
    subscription: Subscription,
    topic: Topic,
    window: Window,
    collection: String,
    mapping: Mapping,
}

/// What a function that makes documents of records may return: an `Option` of fields, or a
/// [`Result`](crate::Result) of that. Fields are what [`Subscription::added`] takes.
#[diagnostic::on_unimplemented(
    message = "a function that makes documents cannot return `{Self}`",
    note = "it returns `Option<T>`, where `T` serializes to an object, or an `updraft::Result` of that",
    note = "the error is `updraft::Error`, to which `?` converts others"
)]
pub trait IntoDocument {
    /// The fields; `None` for no document.
    ///
    /// # Errors
    ///
    /// The record is not shown to this one subscriber; it is logged and counted.
    fn into_document(self) -> Result<Option<Fields>>;
}

/// How the documents of a subscription are made.
struct Mapping {
    function: Option<MapDocument>,
    /// The field for what is known of the record beside its payload.
    record_field: Option<String>,
}

type MapDocument = Box<dyn FnMut(&Message) -> Result<Option<Fields>> + Send>;

/// A subscription that shows documents.
struct Mirroring {
    subscription: Subscription,
    collection: String,
    mapping: Mapping,
    list: Watched,
    /// What the client has been sent. Filled by `show`, drained by `remove`; no more than the list
    /// has.
    shown: HashMap<Arc<str>, Shown>,
}

/// A document that the client has been sent.
struct Shown {
    position: Position,
    fields: Fields,
}

impl Subscription {
    /// Shows the records of a topic that a [`Window`] has as documents of the collection that is
    /// named as the topic: `added`, `changed` and `removed`, as they come and go. See [`Mirror`].
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::Window;
    /// use updraft::topics::{Message, Topic};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Order {
    ///     customer: String,
    ///     total: f64,
    /// }
    ///
    /// /// The last hundred orders, except the small ones.
    /// async fn latest_orders(subscription: Subscription, orders: Topic) -> Result<()> {
    ///     subscription
    ///         .mirror(&orders, Window::Last(100))
    ///         .collection("latestOrders")
    ///         .map(|record: &Message| Ok(Some(record.parse::<Order>()?).filter(|it| it.total > 5.0)))
    ///         .await
    /// }
    ///
    /// /// The latest state of each table, which is published with the table's name as compact id.
    /// async fn tables(subscription: Subscription, tables: Topic) -> Result<()> {
    ///     subscription.mirror(&tables, Window::ById(500)).await
    /// }
    /// ```
    pub fn mirror(&self, topic: &Topic, window: Window) -> Mirror {
        Mirror {
            subscription: self.clone(),
            topic: topic.clone(),
            window,
            collection: topic.name().as_str().to_owned(),
            mapping: Mapping {
                function: None,
                record_field: None,
            },
        }
    }
}

impl Mirror {
    /// Shows the documents in this collection.
    pub fn collection(mut self, name: impl Into<String>) -> Self {
        self.collection = name.into();
        self
    }

    /// Makes the fields of each document by `f`. If `f` returns `None`, fails or panics, the record
    /// is not shown, and the document that had its id is removed.
    ///
    /// `f` is called for each subscription, on the handlers' runtime; it must not block. It may be
    /// called again for a record that it has not shown, and is not called for records that others
    /// have replaced before this client was sent them.
    pub fn map<D: IntoDocument>(
        mut self,
        mut f: impl FnMut(&Message) -> D + Send + 'static,
    ) -> Self {
        self.mapping.function = Some(Box::new(move |record| f(record).into_document()));
        self
    }

    /// Adds a field of this name to each document: an object with the record's `position`, its
    /// `time` in milliseconds since 1970, and its `key`, `compact` and `meta` if it has them.
    pub fn record_field(mut self, name: impl Into<String>) -> Self {
        self.mapping.record_field = Some(name.into());
        self
    }

    async fn begin(self) -> Result<()> {
        let Self {
            subscription,
            topic,
            window,
            collection,
            mapping,
        } = self;
        subscription.flowing().await;
        let feeds = &subscription.connection().host().feeds;
        let opening = pin!(feeds.list(&topic, window));
        let list = subscription.patiently(opening).await?;
        let mut mirroring = Mirroring {
            list,
            subscription: subscription.clone(),
            collection,
            mapping,
            shown: HashMap::new(),
        };
        mirroring.catch_up().await;
        subscription.run(mirroring.go_on());
        Ok(())
    }
}

impl IntoFuture for Mirror {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

impl Mirroring {
    async fn go_on(mut self) -> Result<()> {
        loop {
            self.list.changed().await?;
            self.catch_up().await;
        }
    }

    /// Sends what differs from what the client has been sent.
    async fn catch_up(&mut self) {
        match self.list.changes() {
            Changes::Some(changes) => {
                for change in changes {
                    match change {
                        Change::Show(document) => self.show(&document),
                        Change::Remove(id) => self.remove(&id),
                    }
                    self.subscription.flowing().await;
                }
            }
            Changes::All(documents) => {
                let ids: HashSet<_> = documents.iter().map(|it| &it.id).collect();
                let gone = self.shown.keys().filter(|id| !ids.contains(id));
                for id in gone.cloned().collect::<Vec<_>>() {
                    self.remove(&id);
                }
                for document in documents {
                    self.show(&document);
                    self.subscription.flowing().await;
                }
            }
        }
    }

    fn show(&mut self, document: &Document) {
        let position = document.record.position();
        let known = self.shown.get(&document.id);
        if known.is_some_and(|shown| shown.position == position) {
            return;
        }
        let fields = self.mapping.fields(document).unwrap_or_else(|error| {
            self.subscription.record_failed(&error);
            None
        });
        let Some(fields) = fields else {
            return self.remove(&document.id);
        };
        let (collection, id) = (&*self.collection, &*document.id);
        match known {
            Some(before) => {
                let difference = difference(&before.fields, &fields);
                self.subscription.changed(collection, id, difference);
            }
            None => self.subscription.added(collection, id, &fields),
        }
        let shown = Shown { position, fields };
        self.shown.insert(document.id.clone(), shown);
    }

    fn remove(&mut self, id: &str) {
        if self.shown.remove(id).is_some() {
            self.subscription.removed(&self.collection, id);
        }
    }
}

impl Mapping {
    fn fields(&mut self, document: &Document) -> Result<Option<Fields>> {
        let record = &document.record;
        let fields = match &mut self.function {
            None => document.fields.get_or_init(|| unchanged(record)).clone(),
            Some(f) => catch_unwind(AssertUnwindSafe(|| f(record)))
                .unwrap_or_else(|panic| Err(Error::panicked(&*panic)))?,
        };
        let Some(name) = &self.record_field else {
            return Ok(fields);
        };
        Ok(fields.map(|fields| {
            let mut about = Object::new();
            about.insert("position", Value::from(record.position().to_string()));
            insert_details(&mut about, record);
            let mut fields = Object::clone(&fields);
            fields.insert(name.as_str(), Value::Object(about));
            Fields::from(fields)
        }))
    }
}

/// The payload of a record as fields.
fn unchanged(record: &Message) -> Option<Fields> {
    let fields = match record.value().ok()? {
        Value::Object(members) => members,
        value => {
            let mut fields = Object::new();
            fields.insert("value", value);
            fields
        }
    };
    Some(Fields::from(fields))
}

/// The fields by which one state of a document becomes another: those of the new one, and those
/// that it does not have any more, cleared.
fn difference(before: &Fields, now: &Fields) -> Fields {
    let mut gone = before.keys().filter(|name| now.get_text(name).is_none());
    let Some(first) = gone.next() else {
        return now.clone();
    };
    let mut fields = Object::clone(now);
    for name in std::iter::once(first).chain(gone) {
        fields.insert(name.clone(), Value::Undefined);
    }
    Fields::from(fields)
}

impl<F: IntoFields> IntoDocument for Option<F> {
    fn into_document(self) -> Result<Option<Fields>> {
        Ok(self.map(IntoFields::into_fields).transpose()?)
    }
}

impl<D: IntoDocument> IntoDocument for Result<D> {
    fn into_document(self) -> Result<Option<Fields>> {
        self?.into_document()
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("topic", self.topic.name())
            .field("window", &self.window)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}
