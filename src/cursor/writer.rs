//! The task that writes cursors.

use std::sync::Arc;

use tokio::time::Instant;
use updraft_topics::{Registers, Swap, Swapped, TopicError};

use super::queue::Queue;
use super::shared::{SharedCursor, Stored};
use super::{Kept, within_deadline};

/// The most registers that are written by one call, which holds up the others of a store.
const AT_ONCE: usize = 512;

/// Writes cursors until the queue is closed.
pub(super) async fn run(queue: Arc<Queue>) {
    while let Some(mut cursors) = queue.next().await {
        // Those that are added from here on have moved again.
        cursors
            .iter()
            .for_each(|cursor| cursor.state().is_queued = false);
        while let Some(first) = cursors.first() {
            let registers = first.registers.clone();
            let mut room = AT_ONCE;
            let same = cursors.extract_if(.., |cursor| {
                let is_same = room > 0 && Arc::ptr_eq(&cursor.registers, &registers);
                room = room.saturating_sub(usize::from(is_same));
                is_same
            });
            let same: Vec<_> = same.collect();
            if let Err(error) = write(&queue, registers.as_ref(), &same).await {
                tracing::debug!(%error, cursors = same.len(), "Cursors cannot be written.");
                // Each of them may have been.
                for cursor in &same {
                    cursor.state().stored = Stored::Unknown;
                    write_later(&queue, cursor);
                }
            }
        }
    }
}

/// Writes cursors of one store.
async fn write(
    queue: &Queue,
    registers: &dyn Registers,
    cursors: &[Arc<SharedCursor>],
) -> Result<(), TopicError> {
    find_out(registers, cursors).await?;
    let mut swaps = Vec::with_capacity(cursors.len());
    let mut written = Vec::with_capacity(cursors.len());
    for cursor in cursors {
        let state = cursor.state();
        if let Stored::Version(version) = state.stored {
            let value = state.kept.print(cursor.generation);
            let swap = Swap::write(cursor.key.clone(), version, value)?;
            swaps.push(swap.expires(queue.settings.expires));
            written.push(cursor);
        }
    }
    if swaps.is_empty() {
        return Ok(());
    }
    let outcomes = within_deadline(registers.swap(swaps)).await?;
    for (cursor, outcome) in written.into_iter().zip(outcomes) {
        let mut state = cursor.state();
        match outcome {
            Swapped::Written(version) => {
                state.stored = Stored::Version(Some(version));
                state.written = Instant::now();
            }
            // It has expired, or the store was emptied.
            Swapped::Conflict { actual: None } | Swapped::Removed => {
                state.stored = Stored::Version(None);
                drop(state);
                write_later(queue, cursor);
            }
            Swapped::Conflict { actual: Some(_) } => state.stored = Stored::TakenOver,
        }
    }
    Ok(())
}

/// Reads the registers of which it is not known whether they were written.
async fn find_out(
    registers: &dyn Registers,
    cursors: &[Arc<SharedCursor>],
) -> Result<(), TopicError> {
    let is_unknown = |cursor: &&Arc<SharedCursor>| cursor.state().stored == Stored::Unknown;
    let cursors: Vec<_> = cursors.iter().filter(is_unknown).collect();
    if cursors.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = cursors.iter().map(|cursor| cursor.key.clone()).collect();
    let found = within_deadline(registers.get(&keys)).await?;
    for (cursor, register) in cursors.into_iter().zip(found) {
        let stored = match register {
            None => Stored::Version(None),
            Some(register) => match Kept::read(&register.value) {
                Some((generation, _)) if generation == cursor.generation => {
                    Stored::Version(Some(register.version))
                }
                _ => Stored::TakenOver,
            },
        };
        cursor.state().stored = stored;
    }
    Ok(())
}

/// Writes a cursor with the next ones.
fn write_later(queue: &Queue, cursor: &Arc<SharedCursor>) {
    if !queue.is_closed() {
        queue.add(cursor, false);
    }
}
