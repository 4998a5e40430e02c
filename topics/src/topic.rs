//! A topic in this process: to publish, to read, and to look after.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::core::Core;
use crate::entry::Entry;
use crate::heads::{Heads, heads};
use crate::message::Message;
use crate::publish::{Published, publish, publish_many};
use crate::reader::{OnLoss, Reader};
use crate::resume::gap;
use crate::seek::{Start, seek};
use crate::settings::Settings;
use crate::sweep::{Swept, sweep};
use crate::{Bounds, End, Limit, Offset, Position, Registers, TopicError, TopicName};

/// A topic. Its clones are handles of the same topic.
#[derive(Clone, Debug)]
pub struct Topic(Arc<Core>);

/// The half of a topic that only publishes, for a process that never reads it.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Core>);

/// What one read returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The records, by offset.
    pub messages: Vec<Message>,
    /// Where to read on.
    pub next: Position,
    /// What the topic held at the time. There was nothing more to read if `next` has its last
    /// offset.
    pub bounds: Bounds,
}

impl Topic {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0
    }

    /// The name.
    pub fn name(&self) -> &TopicName {
        &self.0.name
    }

    /// The registers of its store, for what is to be kept beside the topic.
    pub fn registers(&self) -> &Arc<dyn Registers> {
        &self.0.registers
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The half that publishes.
    pub fn producer(&self) -> Producer {
        Producer(Arc::clone(&self.0))
    }

    /// As [`Producer::publish`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn publish(&self, entry: impl Into<Entry>) -> Result<Published, TopicError> {
        publish(&self.0, entry.into()).await
    }

    /// As [`Producer::publish_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn publish_many(
        &self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Published>, TopicError> {
        publish_many(&self.0, entries, None).await
    }

    /// As [`Producer::publish_after`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn publish_after(
        &self,
        last: Offset,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Published>, TopicError> {
        publish_many(&self.0, entries, Some(last)).await
    }

    /// The records behind a position, as far as there are any now.
    ///
    /// # Errors
    ///
    /// [`TopicError::Gap`] if some of them are gone, [`TopicError::Reset`] if the position is not
    /// one of this topic any more, [`TopicError::Damaged`] if the first of them is damaged.
    pub async fn read(&self, after: Position, limit: Limit) -> Result<Batch, TopicError> {
        let batch = self.read_held(after, limit).await?;
        if let Some(gap) = gap(after.place(), 0, &batch.bounds) {
            return Err(TopicError::Gap(gap));
        }
        Ok(batch)
    }

    /// As [`read`](Self::read), for several readers at once: what is held behind the position,
    /// whatever is gone. [`Bounds::gap`] says for each of them what it has missed.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), without [`TopicError::Gap`].
    pub async fn read_held(&self, after: Position, limit: Limit) -> Result<Batch, TopicError> {
        after.check(&self.0.name)?;
        let page = self.0.page(after.place(), limit).await?;
        let epoch = page.bounds.epoch;
        let records = page.records.into_iter();
        Ok(Batch {
            messages: records
                .map(|it| Message::new(&self.0.name, epoch, it))
                .collect(),
            next: Position::at(&self.0.name, page.next),
            bounds: page.bounds,
        })
    }

    /// A reader of all records from here, those to come included. Where that is, is fixed by this
    /// call: what is published later is behind [`Start::Latest`].
    ///
    /// `on_loss` says what the reader does when it has lost records: see [`OnLoss`].
    ///
    /// # Errors
    ///
    /// [`TopicError::BadPosition`], or that of the store.
    pub async fn reader(
        &self,
        start: impl Into<Start>,
        on_loss: OnLoss,
    ) -> Result<Reader, TopicError> {
        Reader::open(Arc::clone(&self.0), start.into(), on_loss).await
    }

    /// A position to read from. It is fixed by this call: what is published later is behind
    /// [`Start::Latest`].
    ///
    /// # Errors
    ///
    /// [`TopicError::BadPosition`], or that of the store.
    pub async fn seek(&self, start: impl Into<Start>) -> Result<Position, TopicError> {
        let (place, _) = seek(&self.0, start.into()).await?;
        Ok(Position::at(&self.0.name, place))
    }

    /// The offsets of the records that a [snapshot](Start::Snapshot) has now. Reads the whole topic.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn heads(&self) -> Result<Heads, TopicError> {
        heads(&self.0).await
    }

    /// What the topic holds.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn bounds(&self) -> Result<Bounds, TopicError> {
        self.0.bounds().await
    }

    /// Removes the records of all offsets up to and with this one.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn trim(&self, up_to: Offset) -> Result<Bounds, TopicError> {
        let epoch = self.0.bounds().await?.epoch;
        let core = &self.0;
        core.call(core.log.trim(&core.name, epoch, up_to)).await
    }

    /// Applies retention and compaction now.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn sweep(&self) -> Result<Swept, TopicError> {
        sweep(&self.0).await
    }

    /// Ends the topic: it takes no more records, and readers end behind the last one. Closing it
    /// again changes nothing.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn close(&self) -> Result<(), TopicError> {
        let core = &self.0;
        core.call_again(|| core.log.end(&core.name, End::Close))
            .await?;
        core.grew();
        Ok(())
    }

    /// Removes the topic with its records. Its handles and readers in this process end with
    /// [`TopicError::UnknownTopic`]. If it is used in other processes, it is created there again,
    /// empty, and their readers are told.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn delete(&self) -> Result<(), TopicError> {
        self.0.delete().await
    }
}

/// Handles of the same topic are equal.
impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Topic {}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Producer {
    /// Publishes one record, and resolves when the store has it as safe as the store promises.
    ///
    /// After an error the record may be stored, unless the error says that it is not. Publishing it
    /// again is safe with an [id for deduplication](Entry::dedup).
    ///
    /// # Errors
    ///
    /// [`TopicError::TooLarge`], [`TopicError::WrongCodec`], [`TopicError::NotEncoded`],
    /// [`TopicError::Busy`], [`TopicError::Full`], [`TopicError::Closed`],
    /// [`TopicError::Unsupported`], or that of the store.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the record may or may not be stored.
    pub async fn publish(&self, entry: impl Into<Entry>) -> Result<Published, TopicError> {
        publish(&self.0, entry.into()).await
    }

    /// Publishes records, which get consecutive offsets. Where the store says
    /// [`atomic_batch`](crate::Features::atomic_batch), all of them are stored or none; else the
    /// first ones may be stored.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_many(
        &self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Published>, TopicError> {
        publish_many(&self.0, entries, None).await
    }

    /// Publishes records if the last offset is this one.
    ///
    /// # Errors
    ///
    /// [`TopicError::Conflict`] if it is another, or as [`publish`](Self::publish).
    pub async fn publish_after(
        &self,
        last: Offset,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Published>, TopicError> {
        publish_many(&self.0, entries, Some(last)).await
    }
}
