//! Writes slots to their registers, all that have changed at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{FLOORS_AFTER, Owner};
use crate::group::context::Context;
use crate::group::ids::ProcessId;
use crate::group::slot::owner_of;
use crate::{Swap, Swapped, TopicError, Version};

/// How long one answer of the store is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before an unknown outcome is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of the register of a slot.
pub(super) struct Written {
    number: usize,
    is_release: bool,
    /// `None` if another process owns the slot.
    version: Option<Version>,
}

/// A register to write.
struct Write {
    number: usize,
    is_release: bool,
    expected: Version,
    value: Bytes,
}

impl Owner {
    /// Begins to write, unless that is under way.
    pub(super) fn write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let now = self.both_now();
        let me = self.context.beats.id;
        let has_room = self.in_flight() <= self.quota();
        let mut writes = Vec::new();
        for (number, owned) in self.slots.iter_mut().enumerate() {
            let Some(owned) = owned else {
                continue;
            };
            let slot = &mut owned.slot;
            let is_release =
                owned.is_leaving && has_room && slot.in_flight() == 0 && !slot.has_parking();
            let floors_are_due = owned
                .moved
                .is_some_and(|moved| now.mono >= moved.saturating_add(FLOORS_AFTER));
            if !slot.is_changed() && !floors_are_due && !is_release {
                continue;
            }
            let value = slot.encode((!is_release).then_some(me), now);
            slot.set_written();
            owned.moved = None;
            owned.writing = std::mem::take(&mut owned.replies);
            writes.push(Write {
                number,
                is_release,
                expected: owned.version,
                value,
            });
        }
        let outgoing = std::mem::take(&mut self.outgoing);
        if writes.is_empty() {
            // Their slots were lost: the members wait for others.
            self.deliver(outgoing);
            return;
        }
        self.seat.is_stale = true;
        self.written_next = outgoing;
        let context = Arc::clone(&self.context);
        self.writing = Some(Box::pin(write_all(context, me, writes)));
    }

    pub(super) fn take_written(&mut self, written: Vec<Written>) {
        let mut was_released = false;
        for Written {
            number,
            is_release,
            version,
        } in written
        {
            let Some(place) = self.slots.get_mut(number) else {
                continue;
            };
            let Some(owned) = place else {
                continue;
            };
            let replies = std::mem::take(&mut owned.writing);
            let outcome = match version {
                Some(version) => {
                    owned.version = version;
                    Ok(())
                }
                None => Err(TopicError::Stale),
            };
            for reply in replies {
                drop(reply.send(outcome.clone()));
            }
            if is_release || version.is_none() {
                owned.slot.end();
                for reply in std::mem::take(&mut owned.replies) {
                    drop(reply.send(Err(TopicError::Stale)));
                }
                *place = None;
                was_released |= is_release;
                if version.is_none() {
                    let group = &self.context.name;
                    tracing::debug!(%group, number, "another process has taken a slot");
                    self.next_look = tokio::time::Instant::now();
                }
            }
        }
        let outgoing = std::mem::take(&mut self.written_next);
        self.deliver(outgoing);
        if was_released {
            self.context.wake();
        }
    }
}

/// Writes until it is known what became of each register.
async fn write_all(context: Arc<Context>, me: ProcessId, mut writes: Vec<Write>) -> Vec<Written> {
    let mut written = Vec::with_capacity(writes.len());
    loop {
        match swap(&context, &writes).await {
            Ok(swapped) => {
                written.extend(writes.iter().zip(swapped).map(|(write, swapped)| Written {
                    number: write.number,
                    is_release: write.is_release,
                    version: match swapped {
                        Swapped::Written(version) => Some(version),
                        Swapped::Removed | Swapped::Conflict { .. } => None,
                    },
                }));
                return written;
            }
            Err(error) => {
                let group = &context.name;
                tracing::debug!(%group, %error, "slots were not written");
                find_out(&context, me, &mut writes, &mut written).await;
            }
        }
    }
}

async fn swap(context: &Context, writes: &[Write]) -> Result<Vec<Swapped>, TopicError> {
    let swaps = writes.iter().map(|write| {
        let key = context.name.slot(write.number);
        Swap::write(key, Some(write.expected), write.value.clone())
    });
    let swaps = swaps.collect::<Result<_, _>>()?;
    let swapped = timeout(PATIENCE, context.registers.swap(swaps)).await;
    swapped.unwrap_or(Err(TopicError::Unavailable(None)))
}

/// Reads the registers of which it is not known whether they were written, until that is known: a
/// slot that still names this process is its own, whichever of its writes came last.
async fn find_out(
    context: &Context,
    me: ProcessId,
    writes: &mut Vec<Write>,
    written: &mut Vec<Written>,
) {
    let keys = writes.iter().map(|write| context.name.slot(write.number));
    let keys: Vec<_> = keys.collect();
    let registers = loop {
        sleep(PAUSE).await;
        let found = timeout(PATIENCE, context.registers.get(&keys)).await;
        if let Ok(Ok(found)) = found {
            break found;
        }
    };
    let mut found = registers.into_iter();
    writes.retain_mut(|write| {
        let register = found.next().flatten();
        let lost = |version| Written {
            number: write.number,
            is_release: write.is_release,
            version,
        };
        match register {
            Some(register) if owner_of(&register.value) == Some(me) => {
                write.expected = register.version;
                true
            }
            // A release may have happened: then the register is as it was written.
            Some(register) if write.is_release && register.value == write.value => {
                written.push(lost(Some(register.version)));
                false
            }
            _ => {
                written.push(lost(None));
                false
            }
        }
    });
}
