//! The event broker: publishes to the streams of a registry and consumes them, under the names that
//! the registry declares and no others.

mod consumer;
mod flusher;
mod stats;

use serde::Serialize;

pub use self::consumer::{Consumed, EventConsumer};
pub use self::flusher::EventFlusher;
pub use self::stats::{StreamGroupStats, StreamStats};

use crate::registry::Engine;
use crate::{Entry, Published, TopicError};

/// Publishes to the streams of an [`Engine`], and consumes them. Its clones are the same broker.
#[derive(Clone, Debug)]
pub struct EventBroker {
    engine: Engine,
}

impl Engine {
    /// What publishes to the streams and consumes them.
    pub fn event_broker(&self) -> EventBroker {
        EventBroker {
            engine: self.clone(),
        }
    }
}

impl EventBroker {
    /// Publishes an event: a body, which is any value that serde can serialize, and named texts
    /// beside it. With the body `()` it is metadata alone.
    ///
    /// ```
    /// # use serde::Serialize;
    /// # use updraft_topics::{EventBroker, TopicError};
    /// #[derive(Serialize)]
    /// struct Sold {
    ///     color: String,
    ///     price: f64,
    /// }
    ///
    /// # async fn publish(broker: EventBroker) -> Result<(), TopicError> {
    /// broker.publish("stream-a", "hello", &[]).await?;
    /// let sold = Sold { color: "red".into(), price: 12.34 };
    /// broker.publish("stream-b", &sold, &[("version", "1")]).await?;
    /// broker.publish("stream-page-views", (), &[("url", "/about-us/")]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`] if there is no such stream, or as
    /// [`Topic::publish`](crate::Topic::publish).
    pub async fn publish(
        &self,
        stream: &str,
        body: impl Serialize,
        meta: &[(&str, &str)],
    ) -> Result<Published, TopicError> {
        self.publish_entry(stream, entry(body, meta)).await
    }

    /// The same for what has a key or an id as well.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_entry(
        &self,
        stream: &str,
        entry: impl Into<Entry>,
    ) -> Result<Published, TopicError> {
        self.engine.topic(stream)?.publish(entry).await
    }

    /// An empty buffer for events that are published together.
    pub fn new_flusher(&self) -> EventFlusher {
        EventFlusher::new(self.engine.clone())
    }

    /// What consumes the streams of a group.
    ///
    /// ```
    /// # use updraft_topics::{EventBroker, TopicError};
    /// # async fn consume(broker: EventBroker) -> Result<(), TopicError> {
    /// let consumer = broker.consumer("read-group-ab")?;
    /// let consumed = consumer.non_blocking().consume(5, async |events| {
    ///     for event in events {
    ///         let text: String = event.parse()?;
    ///         println!("{text} of {}, {:?}", event.topic(), event.message().meta());
    ///     }
    ///     Ok(())
    /// }).await?;
    /// println!("{consumed:?}"); // Drained, or NotOwner if another process consumes
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`].
    pub fn consumer(&self, group: &str) -> Result<EventConsumer, TopicError> {
        self.engine.group(group)?;
        Ok(EventConsumer::new(self.engine.clone(), group))
    }
}

fn entry(body: impl Serialize, meta: &[(&str, &str)]) -> Entry {
    let entry = Entry::value(&body);
    meta.iter()
        .fold(entry, |entry, (name, text)| entry.meta(*name, *text))
}
