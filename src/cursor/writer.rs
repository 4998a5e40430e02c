//! The task that writes cursors.

use std::sync::Arc;

use tokio::time::Instant;
use updraft_topics::{Answer, Registers, Swap, Swapped, TopicError};

use super::cell::{Cell, Stored};
use super::queue::Queue;
use super::{Kept, within_deadline};

/// The most registers that are written by one call, which holds up the others of a store.
const AT_ONCE: usize = 512;

/// Writes cursors until the queue is closed.
pub(super) async fn run(queue: Arc<Queue>) {
    while let Some(mut cells) = queue.next().await {
        // Those that are added from here on have moved again.
        cells.iter().for_each(|cell| cell.state().is_queued = false);
        while let Some(first) = cells.first() {
            let registers = first.registers.clone();
            let mut room = AT_ONCE;
            let same = cells.extract_if(.., |cell| {
                let is_same = room > 0 && Arc::ptr_eq(&cell.registers, &registers);
                room = room.saturating_sub(usize::from(is_same));
                is_same
            });
            let same: Vec<_> = same.collect();
            if let Err(error) = write(&queue, registers.as_ref(), &same).await {
                tracing::debug!(%error, cursors = same.len(), "Cursors cannot be written.");
                // Each of them may have been.
                for cell in &same {
                    cell.state().stored = Stored::Unknown;
                    again(&queue, cell);
                }
            }
        }
    }
}

/// Writes cursors of one store.
async fn write(
    queue: &Queue,
    registers: &dyn Registers,
    cells: &[Arc<Cell>],
) -> Result<(), TopicError> {
    find_out(registers, cells).await?;
    let mut swaps = Vec::with_capacity(cells.len());
    let mut written = Vec::with_capacity(cells.len());
    for cell in cells {
        let state = cell.state();
        if let Stored::Version(version) = state.stored {
            let value = state.kept.print(cell.generation);
            let swap = Swap::write(cell.key.clone(), version, value)?;
            swaps.push(swap.expires(queue.settings.expires));
            written.push(cell);
        }
    }
    if swaps.is_empty() {
        return Ok(());
    }
    let outcomes = ask(registers.swap(swaps)).await?;
    for (cell, outcome) in written.into_iter().zip(outcomes) {
        let mut state = cell.state();
        match outcome {
            Swapped::Written(version) => {
                state.stored = Stored::Version(Some(version));
                state.written = Instant::now();
            }
            // It has expired, or the store was emptied.
            Swapped::Conflict { actual: None } | Swapped::Removed => {
                state.stored = Stored::Version(None);
                drop(state);
                again(queue, cell);
            }
            Swapped::Conflict { actual: Some(_) } => state.stored = Stored::TakenOver,
        }
    }
    Ok(())
}

/// Reads the registers of which it is not known whether they were written.
async fn find_out(registers: &dyn Registers, cells: &[Arc<Cell>]) -> Result<(), TopicError> {
    let is_unknown = |cell: &&Arc<Cell>| cell.state().stored == Stored::Unknown;
    let cells: Vec<_> = cells.iter().filter(is_unknown).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = cells.iter().map(|cell| cell.key.clone()).collect();
    let found = ask(registers.get(&keys)).await?;
    for (cell, register) in cells.into_iter().zip(found) {
        let stored = match register {
            None => Stored::Version(None),
            Some(register) => match Kept::read(&register.value) {
                Some((generation, _)) if generation == cell.generation => {
                    Stored::Version(Some(register.version))
                }
                _ => Stored::TakenOver,
            },
        };
        cell.state().stored = stored;
    }
    Ok(())
}

/// Writes a cursor the next time.
fn again(queue: &Queue, cell: &Arc<Cell>) {
    if !queue.is_closed() {
        queue.add(cell, false);
    }
}

async fn ask<T>(answer: Answer<'_, T>) -> Result<T, TopicError> {
    within_deadline(answer).await
}
