//! The results of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The outcome of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Messages that arrived in the measured time, at all subscribers together.
    pub delivered: u64,
    /// How long it took until all were connected and subscribed.
    #[serde(default)]
    pub connecting: Duration,
    /// How long was measured.
    pub time: Duration,
    /// From just before a message is published until a subscriber has read it.
    pub latency: Option<Latency>,
    /// Deliveries that never came, over the whole run.
    pub lost: u64,
    /// Deliveries that came twice or after a later one, over the whole run.
    pub disordered: u64,
    /// The longest time that the publisher fell behind its pace.
    pub late: Duration,
    /// What each process used; `load` is the load generator itself.
    pub processes: BTreeMap<String, Usage>,
}

/// Latencies in microseconds, to about 3 %.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half were no slower.
    pub p50: u64,
    /// 99 of 100 were no slower.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// What one process used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds in the measured time, spent in the program.
    pub user: f64,
    /// CPU seconds in the measured time, spent in the kernel.
    pub system: f64,
    /// KiB of memory that each subscriber added, at the end of the run.
    pub kib_per_client: f64,
    /// CPU milliseconds that each subscriber took to connect and subscribe.
    pub connect_ms_per_client: f64,
}

impl Report {
    /// Deliveries a second.
    pub fn per_second(&self) -> f64 {
        self.delivered as f64 / self.time.as_secs_f64()
    }

    /// Microseconds of CPU that a process used for each delivery; also its seconds for a million
    /// deliveries.
    pub fn cpu_per_delivery(&self, process: &str) -> Option<f64> {
        let usage = self.processes.get(process)?;
        let delivered = (self.delivered > 0).then_some(self.delivered as f64)?;
        Some((usage.user + usage.system) * 1e6 / delivered)
    }
}
