//! TLS towards clients: the certificate, and how long they may take over it.

use std::time::Duration;

use super::Builder;
use crate::server::tls::Tls;
use crate::shard::Shared;

/// Has the certificate's files looked at until the server begins to end.
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
    /// An idle client takes 7 to 8 KiB more than one in the open. Pages of the server's own origin
    /// are then those that came over `https:`, unless
    /// [`trusted_proxies`](crate::Settings::trusted_proxies) stand in between.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}
