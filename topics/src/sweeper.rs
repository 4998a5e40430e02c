//! Who sweeps a topic, and when: a process that has it open, about once a second. Of the processes
//! that share a store it is the one that has the topic's lease, since one is enough.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::sweep::sweep;
use crate::sweep_lease::SweepLeases;
use crate::{Lease, Store};

/// How often retention and compaction are applied.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Sweeps the open topics of a process.
#[derive(Debug)]
pub(crate) struct Sweeper {
    pub(crate) leases: Arc<SweepLeases>,
    /// One topic at a time.
    turn: Arc<Semaphore>,
}

impl Sweeper {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            leases: Arc::new(SweepLeases::new(store)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Sweeps a topic for as long as it is open here.
    pub(crate) fn start(&self, core: &Arc<Core>, tasks: &TaskTracker) {
        if !core.settings.needs_sweeps() {
            return;
        }
        let lease = self.leases.of(&core.name);
        let (ended, turn) = (core.ended().clone(), Arc::clone(&self.turn));
        let core = Arc::downgrade(core);
        tasks.spawn(async move {
            let sweeping = async {
                match lease {
                    Some(lease) => sweep_with(&lease, &core, &turn).await,
                    None => sweep_again_and_again(&core, &turn).await,
                }
            };
            ended.run_until_cancelled(sweeping).await;
        });
    }
}

/// Sweeps whenever this process has the lease, until the topic is not open any more.
async fn sweep_with(lease: &Lease, core: &Weak<Core>, turn: &Semaphore) {
    loop {
        let held = lease.take().await;
        // A sweep that comes late removes nothing that the next one would not.
        let sweeping = sweep_again_and_again(core, turn);
        if held.run(sweeping).await.is_some() {
            return;
        }
    }
}

async fn sweep_again_and_again(core: &Weak<Core>, turn: &Semaphore) {
    loop {
        sleep(SWEEP_EVERY).await;
        let Ok(_turn) = turn.acquire().await else {
            return;
        };
        let Some(core) = core.upgrade() else {
            return;
        };
        if let Err(error) = sweep(&core).await {
            tracing::debug!(topic = %core.name, %error, "retention was not applied");
        }
    }
}
