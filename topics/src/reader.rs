//! A reader: all records from one place on, in order, those to come included.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::Core;
use crate::message::{Message, Received};
use crate::resume::gap;
use crate::seek::{Start, seek};
use crate::snapshot::Snapshot;
use crate::wake::Watcher;
use crate::{Limit, Offset, Place, Position, Record, TopicError};

/// Reads a topic, waits at its end for more, and ends when the topic is closed.
///
/// It holds one page of records at a time: a slow reader falls behind in the log, and delays
/// nobody.
#[derive(Debug)]
#[must_use = "a reader does nothing until it is asked for the next record"]
pub struct Reader {
    core: Arc<Core>,
    watcher: Watcher,
    phase: Phase,
    on_loss: OnLoss,
    /// Behind the last record that was returned; `None` before the first one of a snapshot.
    place: Option<Place>,
    /// Behind the last record in `ready`.
    read: Option<Place>,
    /// Records of the latest page that were not returned yet. Bounded by the limits of a page.
    ready: VecDeque<Record>,
    /// The tombstone horizon of which the reader knows.
    horizon: Offset,
    limit: Limit,
    is_live: bool,
}

/// What a reader does when it has lost records, through a gap or a reset. It is told first, except
/// for [`Fail`](Self::Fail).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoss {
    /// Ends with [`TopicError::Gap`] or [`TopicError::Reset`].
    #[default]
    Fail,
    /// Goes on with the first record that is held.
    Earliest,
    /// Goes on with what comes next.
    Latest,
    /// Goes on with the latest record of each id, see [`Start::Snapshot`].
    Snapshot,
}

#[derive(Debug)]
enum Phase {
    /// Records were lost, and where to go on is still to be looked up.
    Starting(Start),
    Snapshot(Snapshot),
    Reading,
    Ended,
}

/// What a step of a reader came to.
enum Step {
    /// Something was done, and there may be more to do.
    Taken,
    /// The topic holds nothing more now.
    AtEnd,
}

impl Reader {
    pub(crate) async fn open(
        core: Arc<Core>,
        start: Start,
        on_loss: OnLoss,
    ) -> Result<Self, TopicError> {
        let mut reader = Self {
            watcher: core.watch(),
            core,
            phase: Phase::Starting(start),
            on_loss,
            place: None,
            read: None,
            ready: VecDeque::new(),
            horizon: 0,
            limit: Limit::default(),
            is_live: false,
        };
        reader.start(start).await?;
        Ok(reader)
    }

    /// The same with another limit on a page: 256 records and 256 KiB by default.
    pub fn page(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// Waits for the next record; `None` when the topic is closed and all of it was read, and after
    /// the error that ended the reader.
    ///
    /// # Errors
    ///
    /// [`TopicError::Gap`] and [`TopicError::Reset`] with [`OnLoss::Fail`],
    /// [`TopicError::UnknownTopic`], [`TopicError::BadPosition`] and [`TopicError::ShuttingDown`]
    /// end the reader. After [`TopicError::Damaged`] it goes on behind the damaged record; after
    /// that of the store it tries again.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no record.
    pub async fn next(&mut self) -> Option<Result<Received, TopicError>> {
        loop {
            if let Some(received) = self.next_held().await {
                return Some(received);
            }
            if let Phase::Ended = self.phase {
                return None;
            }
            if let Err(error) = self.until_grown().await {
                return Some(self.fail(error));
            }
        }
    }

    /// As [`next`](Self::next), but does not wait at the end: `None` as soon as all that the topic
    /// holds was returned. What comes later is returned by a later call.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no record.
    pub async fn next_held(&mut self) -> Option<Result<Received, TopicError>> {
        loop {
            if let Some(message) = self.take() {
                return Some(Ok(Received::Message(message)));
            }
            if let Phase::Ended = self.phase {
                return None;
            }
            match self.fill().await {
                Ok(Step::Taken) => {}
                Ok(Step::AtEnd) => return None,
                Err(error) => return Some(self.fail(error)),
            }
        }
    }

    /// Waits for the next record, and returns it with those that have been read already: at most
    /// `most`.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no record.
    pub async fn next_batch(&mut self, most: usize) -> Option<Result<Vec<Received>, TopicError>> {
        let mut batch = match self.next().await? {
            Ok(first) => vec![first],
            Err(error) => return Some(Err(error)),
        };
        while batch.len() < most
            && let Some(message) = self.take()
        {
            batch.push(Received::Message(message));
        }
        Some(Ok(batch))
    }

    /// Goes to another start, which is fixed by this call. What was read and not returned is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// As [`Topic::reader`](crate::Topic::reader). The reader stays where it is.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the reader stays where it is.
    pub async fn seek(&mut self, start: impl Into<Start>) -> Result<(), TopicError> {
        self.start(start.into()).await
    }

    /// The position of the last record that was returned, else where the reader began. `None` if it
    /// begins with a snapshot of which nothing was returned.
    pub fn position(&self) -> Option<Position> {
        self.place.map(|place| Position::at(&self.core.name, place))
    }

    /// Whether everything that the topic held when it was last looked at was returned.
    pub fn is_live(&self) -> bool {
        self.is_live && self.ready.is_empty()
    }

    fn take(&mut self) -> Option<Message> {
        let record = self.ready.pop_front()?;
        let epoch = self.read?.epoch;
        self.place = Some(Place::new(epoch, record.offset, record.mark));
        Some(Message::new(&self.core.name, epoch, record))
    }

    /// Looks up the start, or reads a page.
    async fn fill(&mut self) -> Result<Step, TopicError> {
        match &mut self.phase {
            Phase::Starting(start) => {
                let start = *start;
                self.start(start).await?;
                Ok(Step::Taken)
            }
            Phase::Snapshot(snapshot) => {
                if let Some(records) = snapshot.next(&self.core, self.limit).await? {
                    self.ready = records.into();
                } else {
                    self.read = Some(snapshot.end());
                    self.place = self.read;
                    self.phase = Phase::Reading;
                }
                Ok(Step::Taken)
            }
            Phase::Reading => self.read_page().await,
            Phase::Ended => Ok(Step::AtEnd),
        }
    }

    /// Looks up where to begin.
    async fn start(&mut self, start: Start) -> Result<(), TopicError> {
        let (place, bounds) = seek(&self.core, start).await?;
        self.ready.clear();
        self.is_live = false;
        self.read = Some(place);
        let has_read = matches!(start, Start::Position(_)) && place.offset > 0;
        self.horizon = if has_read { 0 } else { bounds.horizon };
        (self.phase, self.place) = if start == Start::Snapshot {
            (Phase::Snapshot(Snapshot::new(&bounds)), None)
        } else {
            (Phase::Reading, Some(place))
        };
        Ok(())
    }

    async fn read_page(&mut self) -> Result<Step, TopicError> {
        let Some(place) = self.read else {
            return Ok(Step::AtEnd);
        };
        self.watcher.arm();
        let page = self.core.page(place, self.limit).await?;
        if let Some(gap) = gap(place, self.horizon, &page.bounds) {
            return Err(TopicError::Gap(gap));
        }
        self.horizon = page.bounds.horizon;
        self.read = Some(page.next);
        self.is_live = page.next.offset == page.bounds.last;
        if !page.records.is_empty() {
            self.ready = page.records.into();
            return Ok(Step::Taken);
        }
        self.place = self.read;
        if page.bounds.closed {
            self.phase = Phase::Ended;
        }
        Ok(Step::AtEnd)
    }

    /// Waits for records behind the page that was read last and was empty.
    async fn until_grown(&mut self) -> Result<(), TopicError> {
        let Some(Place { offset, .. }) = self.read else {
            return Ok(());
        };
        let patience = self.core.settings.poll;
        match self.core.log.grew(&self.core.name, offset, patience) {
            Some(growing) => self.core.until_closed(growing).await.map(drop),
            None => {
                let growing = self.watcher.grew(patience);
                self.core.until_closed(growing).await.map(drop)
            }
        }
    }

    fn fail(&mut self, error: TopicError) -> Result<Received, TopicError> {
        self.is_live = false;
        let start = match self.on_loss {
            OnLoss::Fail => None,
            OnLoss::Earliest => Some(Start::Earliest),
            OnLoss::Latest => Some(Start::Latest),
            OnLoss::Snapshot => Some(Start::Snapshot),
        };
        match (error, start) {
            (TopicError::Gap(gap), Some(start)) => {
                self.phase = Phase::Starting(start);
                Ok(Received::Gap(gap))
            }
            (TopicError::Reset(reset), Some(start)) => {
                self.phase = Phase::Starting(start);
                Ok(Received::Reset(reset))
            }
            (TopicError::Damaged { offset }, _) => {
                self.skip(offset);
                Err(TopicError::Damaged { offset })
            }
            (error, _) => {
                if ends(&error) {
                    self.phase = Phase::Ended;
                }
                Err(error)
            }
        }
    }

    /// Goes on behind a damaged record.
    fn skip(&mut self, offset: Offset) {
        if let Phase::Snapshot(snapshot) = &mut self.phase {
            snapshot.skip(offset);
        } else if let Some(read) = self.read {
            self.read = Some(Place::unmarked(read.epoch, offset));
            self.place = self.read;
        }
    }
}

fn ends(error: &TopicError) -> bool {
    matches!(
        error,
        TopicError::Gap(_)
            | TopicError::Reset(_)
            | TopicError::UnknownTopic
            | TopicError::BadPosition(_)
            | TopicError::ShuttingDown
    )
}
