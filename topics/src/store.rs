//! What topics stand on: a log, registers, and a bus for wake-ups.

use std::sync::Arc;

use updraft_bus::Channels;

use crate::{Log, Registers};

/// A store of topics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Store {
    /// The topics and their records.
    pub log: Arc<dyn Log>,
    /// Small values beside them.
    pub registers: Arc<dyn Registers>,
    /// What wakes readers. It must have been started, see [`Channels::open`]. Without wake-ups from
    /// other processes, readers find records at their next poll.
    pub channels: Arc<Channels>,
}

impl Store {
    /// A store of these parts.
    pub fn new(log: Arc<dyn Log>, registers: Arc<dyn Registers>, channels: Arc<Channels>) -> Self {
        Self {
            log,
            registers,
            channels,
        }
    }
}
