//! TLS towards clients: its certificate, and the task that looks for a new one.

use std::time::Duration;

use super::Builder;
use crate::server::tls::Tls;
use crate::shard::Shared;

/// Spawns the task that looks at the certificate's files until the server begins to shut down.
pub(super) fn watch(tls: &Tls, interval: Duration, shared: &Shared) {
    if !interval.is_zero() {
        let background = &shared.background;
        let draining = shared.draining.clone();
        let watch = tls.clone().watch(interval, background.clone(), draining);
        background.spawn_on(watch, &shared.host.runtime);
    }
}

impl Builder {
    /// Speaks TLS with clients, and nothing else on this port: `wss:` and `https:`.
    ///
    /// ```no_run
    /// # use updraft::prelude::*;
    /// # use updraft::Tls;
    /// # fn main() -> Result<()> {
    /// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// let builder = Server::builder().tls(tls);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// An idle client takes 7 to 8 KiB more than one without TLS. Pages of the server's own origin
    /// must then have come over `https:`, unless
    /// [`trusted_proxies`](crate::Settings::trusted_proxies) are configured.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}
