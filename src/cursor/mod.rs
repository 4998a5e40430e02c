//! Cursors: where clients are in topics, kept in the registers of the topic's store for clients
//! that know nothing of positions.
//!
//! A cursor is opened by the subscription that uses it, which raises its generation: whoever had it
//! before can write it no more. Moves are collected, and a task writes them together, once in a
//! while and when a cursor is closed.

mod handle;
mod key;
mod queue;
mod settings;
mod shared;
mod writer;

pub(crate) use handle::Cursor;
pub(crate) use key::{CursorKey, Reader};
pub use settings::CursorSettings;

use std::fmt;
use std::sync::{Arc, Once};

use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use updraft_topics::{Offset, Position, Registers, Swap, Swapped, TopicError, Version};

use queue::Queue;
use settings::DEADLINE;
use shared::SharedCursor;

/// The cursors of a server.
pub(crate) struct Cursors {
    pub(crate) settings: CursorSettings,
    queue: Arc<Queue>,
    runtime: Handle,
    /// The task that writes, once there is a cursor.
    started: Once,
    tasks: TaskTracker,
}

/// What a cursor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The client has everything up to here.
    pub(crate) position: Position,
    /// The tombstone horizon that was known there.
    pub(crate) horizon: Offset,
}

/// A cursor as it was found, whether or not it is there.
pub(crate) struct Found {
    registers: Arc<dyn Registers>,
    key: CursorKey,
    version: Option<Version>,
    generation: u64,
    /// `None` if there is no such cursor.
    pub(crate) kept: Option<Kept>,
}

impl Cursors {
    pub(crate) fn new(settings: CursorSettings, runtime: Handle) -> Self {
        Self {
            queue: Arc::new(Queue::new(settings)),
            settings,
            runtime,
            started: Once::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Looks for a cursor.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) async fn find(
        &self,
        registers: &Arc<dyn Registers>,
        key: &CursorKey,
    ) -> Result<Found, TopicError> {
        let register = within_deadline(registers.get(std::slice::from_ref(&key.0))).await?;
        let register = register.into_iter().next().flatten();
        let version = register.as_ref().map(|it| it.version);
        let known = register.and_then(|it| Kept::read(&it.value));
        // A client may come back before the move is written that it has confirmed last.
        let known = known.map(|(generation, kept)| {
            let latest = self.queue.kept(&key.0, generation);
            (generation, latest.unwrap_or(kept))
        });
        Ok(Found {
            registers: registers.clone(),
            key: key.clone(),
            version,
            // One that has vanished may still be written by its owner, who is told apart by this.
            generation: known.map_or_else(draw_generation, |(it, _)| it),
            kept: known.map(|(_, kept)| kept),
        })
    }

    /// Opens a cursor, which keeps this at first. `None` if somebody else has written it since it
    /// was found.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) async fn open(
        &self,
        found: Found,
        kept: Kept,
    ) -> Result<Option<Cursor>, TopicError> {
        let generation = found.generation.saturating_add(1);
        let value = kept.print(generation);
        let swap = Swap::write(found.key.0.clone(), found.version, value)?;
        let swap = swap.expires(self.settings.expires);
        let swapped = within_deadline(found.registers.swap(vec![swap])).await?;
        let Some(Swapped::Written(version)) = swapped.first() else {
            return Ok(None);
        };
        self.started.call_once(|| {
            let writer = writer::run(self.queue.clone());
            self.tasks.spawn_on(writer, &self.runtime);
        });
        let cursor = SharedCursor::new(found.registers, found.key.0, generation, *version, kept);
        let cursor = Arc::new(cursor);
        self.queue.opened(&cursor);
        Ok(Some(Cursor::new(cursor, self.queue.clone())))
    }

    /// Writes what is left, once. No cursor is in use any more.
    pub(crate) async fn close(&self) {
        self.queue.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Cursors {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Kept {
    /// `GENERATION POSITION HORIZON`.
    fn print(&self, generation: u64) -> String {
        format!("{generation} {} {}", self.position, self.horizon)
    }

    fn read(value: &[u8]) -> Option<(u64, Self)> {
        let mut parts = std::str::from_utf8(value).ok()?.split(' ');
        let generation = parts.next()?.parse().ok()?;
        let kept = Self {
            position: parts.next()?.parse().ok()?,
            horizon: parts.next()?.parse().ok()?,
        };
        Some((generation, kept))
    }

    /// The one that is further back, if both are of one epoch; else this one.
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        let is_same = self.position.epoch() == other.position.epoch();
        if is_same && other.position.offset() < self.position.offset() {
            other
        } else {
            self
        }
    }
}

/// Half of all numbers are left for those that are counted from here.
fn draw_generation() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 1
}

async fn within_deadline<T>(answer: updraft_topics::Answer<'_, T>) -> Result<T, TopicError> {
    let answered = timeout(DEADLINE, answer).await;
    answered.unwrap_or(Err(TopicError::Unavailable(None)))
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursors").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
