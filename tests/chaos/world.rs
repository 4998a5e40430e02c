//! What all clients of a round know: where the server is, how far each room's numbers have got, and
//! whether it is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How long anything may take that is sure to happen, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Rooms whose messages are small and that everybody uses.
pub(crate) const ROOMS: usize = 8;

/// The room whose messages are large, for those who are to have more than they can take.
pub(crate) const BULK: usize = ROOMS;

/// The channel of a room.
pub(crate) fn channel(room: usize) -> String {
    format!("chaos::room-{room}")
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Arc<Numbers>,
    /// True once the last message of each room has been published.
    pub(crate) over: watch::Receiver<bool>,
}

/// For each room, the first number that no message has yet.
#[derive(Debug, Default)]
pub(crate) struct Numbers([AtomicU64; ROOMS + 1]);

impl Numbers {
    /// Takes a number, before the message is published.
    pub(crate) fn take(&self, room: usize) -> u64 {
        self.0[room].fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn unused(&self, room: usize) -> u64 {
        self.0[room].load(Ordering::SeqCst)
    }
}

impl World {
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until the last messages are published. Cancel safe.
    pub(crate) async fn over(&mut self) {
        // The sender lives until every client has left.
        drop(self.over.wait_for(|over| *over).await);
    }

    /// Waits a while, or until it is over.
    pub(crate) async fn pass(&mut self, time: Duration) {
        // Either will do.
        drop(tokio::time::timeout(time, self.over()).await);
    }
}
