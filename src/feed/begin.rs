//! Where a follower begins: its place is looked up or checked before it follows, and if it has lost
//! records, its policy says where it goes on.

use std::sync::Arc;

use updraft_topics::{Bounds, Heads, Lost, Offset, OnLoss, Place, Position, Start, TopicError};

use super::cache::{Look, Room};
use super::{Feed, Fetched};

/// Where a follower begins, or goes on after a loss.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) opening: Opening,
    /// It reads what is behind this.
    pub(crate) place: Place,
    /// The tombstone horizon of which it knows there.
    pub(crate) horizon: Offset,
    /// Set for a snapshot: until its end, only these records count.
    pub(crate) only: Option<Arc<Heads>>,
    /// The end of the topic: what comes behind it is live.
    pub(crate) until: Place,
    /// The first offset that the topic holds.
    pub(crate) first: Offset,
}

/// What a client is told of its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It begins where it has asked to.
    Live,
    /// It goes on behind its position, and has missed nothing.
    Resumed,
    /// It has lost records.
    Lost(Lost),
}

/// What a follower does when it has lost records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policies {
    pub(crate) gap: OnLoss,
    pub(crate) reset: OnLoss,
}

impl Policies {
    /// Where to go on; `None` to fail.
    pub(crate) fn start(self, lost: Lost) -> Option<Start> {
        let policy = match lost {
            Lost::Gap(_) => self.gap,
            Lost::Reset(_) => self.reset,
        };
        match policy {
            OnLoss::Earliest => Some(Start::Earliest),
            OnLoss::Latest => Some(Start::Latest),
            OnLoss::Snapshot => Some(Start::Snapshot),
            _ => None,
        }
    }
}

impl Feed {
    /// Where a follower begins that starts here.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadPosition`], [`TopicError::Gap`] and [`TopicError::Reset`] as the policies
    /// say, or that of the store.
    pub(crate) async fn begin(
        &self,
        start: Start,
        policies: Policies,
    ) -> Result<Beginning, TopicError> {
        match start {
            Start::Position(position) => self.begin_behind(position, 0, policies).await,
            start => self.begin_at(start, Opening::Live).await,
        }
    }

    /// Where a follower begins that starts behind a position, and knows of this tombstone horizon
    /// there.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin).
    pub(crate) async fn begin_behind(
        &self,
        position: Position,
        horizon: Offset,
        policies: Policies,
    ) -> Result<Beginning, TopicError> {
        position.check(self.topic.name())?;
        let place = position.place();
        match self.resume(place, horizon).await {
            Ok(()) => Ok(self.beginning(Opening::Resumed, place, horizon)),
            Err(error) => match lost(&error) {
                Some(lost) => self.go_on(lost, policies).await,
                None => Err(error),
            },
        }
    }

    /// Where a follower goes on that has lost records.
    ///
    /// # Errors
    ///
    /// The loss, if the policy is to fail, or that of the store.
    pub(crate) async fn go_on(
        &self,
        lost: Lost,
        policies: Policies,
    ) -> Result<Beginning, TopicError> {
        let start = policies.start(lost).ok_or(lost)?;
        self.begin_at(start, Opening::Lost(lost)).await
    }

    async fn begin_at(&self, start: Start, opening: Opening) -> Result<Beginning, TopicError> {
        if start == Start::Snapshot {
            let heads = self.heads().await?;
            let Bounds { epoch, first, .. } = heads.bounds;
            let place = match first.saturating_sub(1) {
                0 => Place::start(epoch),
                before => Place::unmarked(epoch, before),
            };
            let mut beginning = self.beginning(opening, place, heads.bounds.horizon);
            let end = heads.end.place();
            if end.offset > beginning.until.offset {
                beginning.until = end;
            }
            beginning.first = first;
            beginning.only = Some(heads);
            return Ok(beginning);
        }
        // Before the start is looked up: what is removed in between is a gap.
        let bounds = self.topic.bounds().await?;
        let place = self.topic.seek(start).await?.place();
        let mut beginning = self.beginning(opening, place, bounds.horizon);
        beginning.first = bounds.first;
        Ok(beginning)
    }

    /// The snapshot at this moment. Those who ask while nothing is published get the same.
    async fn heads(&self) -> Result<Arc<Heads>, TopicError> {
        let known = {
            let state = self.lock();
            let end = state.cache.end();
            let is_fresh = |heads: &&Arc<Heads>| heads.end.place() == end;
            state.heads.as_ref().filter(is_fresh).cloned()
        };
        if let Some(heads) = known {
            return Ok(heads);
        }
        let heads = Arc::new(self.topic.heads().await?);
        self.lock().heads = Some(heads.clone());
        Ok(heads)
    }

    fn beginning(&self, opening: Opening, place: Place, horizon: Offset) -> Beginning {
        let state = self.lock();
        let end = state.cache.end();
        let until = if place.epoch == end.epoch && place.offset < end.offset {
            end
        } else {
            place
        };
        Beginning {
            opening,
            place,
            horizon,
            only: None,
            until,
            first: state.bounds.first,
        }
    }

    /// Checks that a follower can go on behind a place.
    async fn resume(&self, place: Place, horizon: Offset) -> Result<(), TopicError> {
        let room = Room {
            records: 1,
            bytes: 0,
        };
        loop {
            match self.look(place, horizon, room) {
                Look::Records(..) | Look::End => return Ok(()),
                Look::Gap(gap) => return Err(TopicError::Gap(gap)),
                Look::Missing => {}
            }
            match self.fetch(place).await {
                Fetched::InMemory => {}
                Fetched::End => return Ok(()),
                Fetched::Failed(error) => return Err(error),
            }
        }
    }
}

impl Beginning {
    /// The position of the last record of the topic when it began.
    pub(crate) fn last(&self, feed: &Feed) -> Position {
        Position::at(feed.topic.name(), self.until)
    }
}

/// The loss, if the error is one.
pub(crate) fn lost(error: &TopicError) -> Option<Lost> {
    match error {
        TopicError::Gap(gap) => Some(Lost::Gap(*gap)),
        TopicError::Reset(reset) => Some(Lost::Reset(*reset)),
        _ => None,
    }
}
