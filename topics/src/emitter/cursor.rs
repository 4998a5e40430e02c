//! Up to where the events of an emitter have fired, kept for the next one of the same name, if that
//! comes within a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::seat::namespace;
use crate::random::random;
use crate::{
    Position, Register, RegisterKey, Registers, Swap, Swapped, Topic, TopicError, Version,
};

/// After how long the register is written again when that has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The shortest time after which a cursor at rest is written again.
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// A cursor that this process has. Its register holds `OWNER POSITION`: who opens it becomes its
/// owner, and the former one finds that out when it writes.
pub(super) struct Cursor {
    registers: Arc<dyn Registers>,
    key: RegisterKey,
    /// Longest time for one answer of the store.
    patience: Duration,
    /// For how long the register is kept, from each write on.
    expires: Duration,
    owner: String,
    /// What the register has. `None` if there is none.
    version: Option<Version>,
    /// Whether the last swap may have happened.
    is_unsure: bool,
}

impl Cursor {
    /// Opens a cursor, and says where it is, if there was one of this name.
    pub(super) async fn open(
        topic: &Topic,
        name: &str,
        expires: Duration,
    ) -> Result<(Self, Option<Position>), TopicError> {
        let core = topic.core();
        let mut cursor = Self {
            registers: Arc::clone(&core.registers),
            key: RegisterKey::new(&namespace(topic.name()), &format!("cursor {name}"))?,
            patience: core.settings.deadline,
            expires,
            owner: format!("{:016x}", random()),
            version: None,
            is_unsure: false,
        };
        loop {
            let found = cursor.read().await?;
            let Some(register) = found else {
                return Ok((cursor, None));
            };
            cursor.version = Some(register.version);
            // What is not of this form is as if it were not there.
            let Some(position) = decode(&register).and_then(|(_, position)| position.ok()) else {
                return Ok((cursor, None));
            };
            if position.check(topic.name()).is_err() {
                return Ok((cursor, None));
            }
            match cursor.write(position).await {
                Ok(()) => return Ok((cursor, Some(position))),
                // Another emitter was faster, and is the former one now.
                Err(TopicError::LeaseLost) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes each new position, or the latest of them, until the sender is dropped: then once more,
    /// so that the register is kept for its whole time. At rest it is written twice within that time.
    ///
    /// # Errors
    ///
    /// [`TopicError::LeaseLost`] if another emitter has opened the cursor.
    pub(super) async fn keep(
        mut self,
        mut fired: watch::Receiver<Option<Position>>,
    ) -> Result<(), TopicError> {
        let rest = (self.expires / 3).max(SHORTEST_REST);
        let mut written = None;
        let mut written_at = Instant::now();
        loop {
            let (is_over, is_due) = tokio::select! {
                changed = fired.changed() => (changed.is_err(), false),
                () = sleep(rest.saturating_sub(written_at.elapsed())) => (false, true),
            };
            if is_due {
                // Also if there is no position to write yet.
                written_at = Instant::now();
            }
            let position = *fired.borrow_and_update();
            let is_to_write = is_over || is_due || position != written;
            if let Some(position) = position.filter(|_| is_to_write) {
                match self.write(position).await {
                    Ok(()) => {
                        written = Some(position);
                        written_at = Instant::now();
                    }
                    Err(TopicError::LeaseLost) => return Err(TopicError::LeaseLost),
                    Err(error) => {
                        tracing::debug!(key = ?self.key, %error, "a cursor was not written");
                        written = None;
                        if !is_over {
                            sleep(PAUSE).await;
                            fired.mark_changed();
                        }
                    }
                }
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// Writes a position.
    ///
    /// # Errors
    ///
    /// [`TopicError::LeaseLost`] if the cursor is another emitter's, or that of the store.
    pub(super) async fn write(&mut self, position: Position) -> Result<(), TopicError> {
        if self.is_unsure {
            match self.read().await? {
                Some(register) if !self.is_of_this(&register) => return Err(TopicError::LeaseLost),
                found => self.version = found.map(|register| register.version),
            }
        }
        let value = format!("{} {position}", self.owner);
        loop {
            let swap = Swap::write(self.key.clone(), self.version, value.clone())?;
            let swap = swap.expires(self.expires);
            self.is_unsure = true;
            let swapped = timeout(self.patience, self.registers.swap(vec![swap])).await;
            let swapped = swapped.unwrap_or(Err(TopicError::Unavailable(None)))?;
            self.is_unsure = false;
            match swapped.first() {
                Some(Swapped::Written(version)) => {
                    self.version = Some(*version);
                    return Ok(());
                }
                // The store has lost it.
                Some(Swapped::Conflict { actual: None }) if self.version.is_some() => {
                    self.version = None;
                }
                _ => return Err(TopicError::LeaseLost),
            }
        }
    }

    async fn read(&self) -> Result<Option<Register>, TopicError> {
        let keys = [self.key.clone()];
        let found = timeout(self.patience, self.registers.get(&keys)).await;
        let found = found.unwrap_or(Err(TopicError::Unavailable(None)))?;
        Ok(found.into_iter().next().flatten())
    }

    fn is_of_this(&self, register: &Register) -> bool {
        decode(register).is_some_and(|(owner, _)| owner == self.owner)
    }
}

/// The owner and the position in a register.
fn decode(register: &Register) -> Option<(&str, Result<Position, crate::InvalidPosition>)> {
    let text = std::str::from_utf8(&register.value).ok()?;
    let (owner, position) = text.split_once(' ')?;
    Some((owner, position.parse()))
}
