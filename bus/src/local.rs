//! The bus inside one process: emitted messages go straight to the shards. It is the default, for
//! servers that run alone and for tests.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, Bus, Publishing};
use crate::registry::ChannelRegistry;

#[derive(Debug, Default)]
pub(crate) struct Local {
    /// Held while a message is passed to the shards, so that all of them get messages in the same
    /// order.
    order: Mutex<()>,
}

/// The bus inside this process.
impl Default for Bus {
    fn default() -> Self {
        Self::new(Local::default())
    }
}

impl Backend for Local {
    fn is_immediate(&self) -> bool {
        true
    }

    fn start(
        &self,
        _: &Arc<ChannelRegistry>,
        _: &TaskTracker,
        _: &CancellationToken,
    ) -> io::Result<()> {
        Ok(())
    }

    fn publish<'a>(
        &'a self,
        registry: &'a ChannelRegistry,
        channel: &'a str,
        payload: Bytes,
    ) -> Publishing<'a> {
        Box::pin(async move {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            registry.deliver(std::iter::once((channel, payload)));
            Ok(())
        })
    }
}
