//! What may be set of a server: [`Settings`], which has a member for each part, and the parts.
//!
//! Each part is a plain struct, which its folder owns together with its defaults. What is more than
//! a value, such as a publication, a rule or a certificate, is given to the
//! [`Builder`](crate::Builder) by a method of its own.
//!
//! ```
//! # use std::time::Duration;
//! # use updraft::prelude::*;
//! let builder = Server::builder().configure(|settings| {
//!     settings.clients.flow = 2 << 20;
//!     settings.http.header_timeout = Duration::from_secs(5);
//! });
//! ```

mod drain;
mod http;
mod listener;
mod origins;
mod proxies;
#[cfg(feature = "tls")]
mod tls;

use std::num::NonZero;

pub use crate::handler::HandlerSettings;
pub use crate::limit::{AddressLimits, RequestRate, RuleLimits};
pub use crate::shard::polling_sessions::PollingLimits;
pub use crate::shard::{ClientLimits, InboxLimits, SilenceLimit};
pub use crate::transport::websocket::FrameRate;
pub use drain::DrainSettings;
pub use http::HttpSettings;
pub use listener::ListenerSettings;
pub use origins::OriginSettings;
pub use proxies::{AddressSource, TrustedProxies};
#[cfg(feature = "tls")]
pub use tls::TlsSettings;
pub use updraft_bus::{ChannelSettings, PayloadLimits, WhenAway};
pub use updraft_protocol::ejson::JsonLimits;
pub use updraft_protocol::message::MessageBounds;
pub use updraft_protocol::session::{Resumption, SessionSettings};
pub use updraft_protocol::vent::EncodingChoice;

use crate::base::error::Result;

/// All settings of a server: [`Builder::settings`](crate::Builder::settings) takes them whole,
/// [`Builder::configure`](crate::Builder::configure) by member.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// How many threads own connections: `None`, which is one per core, by default.
    pub shards: Option<NonZero<usize>>,
    /// Bytes that may wait in the whole process, for clients that have not taken them and for
    /// handlers that do not keep up. `None` by default, which is a quarter of the machine's memory
    /// or, where that is less, of its control group's, and 1 GiB where neither can be told; the log
    /// says how much that is.
    ///
    /// While more waits for clients, handlers wait: none begins, and those who have something on its
    /// way to their client stop where they await something of their context. So everybody gets what
    /// they want, in turns. While more waits in all, clients whose messages wait are not read from.
    ///
    /// What handlers send without waiting is taken all the same. With twice the limit those who hold
    /// most on their shard are closed with 1013, and new connections are answered with 503.
    pub memory_limit: Option<usize>,
    /// What sessions are like.
    pub sessions: SessionSettings,
    /// What a client may send, how long it may take, and what may wait for it.
    pub clients: ClientLimits,
    /// What may wait for a shard.
    pub inbox: InboxLimits,
    /// SockJS sessions that live on HTTP requests.
    pub polling: PollingLimits,
    /// How long handlers may keep others waiting.
    pub handlers: HandlerSettings,
    /// Channels of the bus.
    pub bus: ChannelSettings,
    /// The socket that listens, and those that it accepts.
    pub listener: ListenerSettings,
    /// What HTTP may take before anybody is a client.
    pub http: HttpSettings,
    /// Pages that may talk to the server.
    pub origins: OriginSettings,
    /// Whose word about a client's address counts: nobody's by default.
    pub trusted_proxies: TrustedProxies,
    /// Where they say it: in `X-Forwarded-For` by default.
    pub address_source: AddressSource,
    /// What one address may have.
    pub addresses: AddressLimits,
    /// What [rules about rates](crate::RateLimit) may remember.
    pub rules: RuleLimits,
    /// TLS towards clients, where there is a [certificate](crate::Builder::tls).
    #[cfg(feature = "tls")]
    pub tls: TlsSettings,
    /// How the server ends.
    pub drain: DrainSettings,
}

impl Settings {
    /// Refuses what would let nobody in.
    pub(crate) fn check(&self) -> Result<()> {
        self.http.check()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All paths of members, such as `clients.flow`, as the settings print themselves.
    fn paths() -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut above: Vec<String> = Vec::new();
        for line in format!("{:#?}", Settings::default()).lines().skip(1) {
            let Some((name, value)) = line.trim().split_once(": ") else {
                if line.trim().starts_with('}') {
                    above.pop();
                }
                continue;
            };
            above.push(name.to_owned());
            paths.insert(above.join("."));
            if !value.ends_with('{') {
                above.pop();
            }
        }
        paths
    }

    #[test]
    fn found_406_what_pages_name_can_be_set() {
        let paths = paths();
        assert!(paths.contains("clients.flow"), "{paths:?}");
        assert!(paths.contains("sessions.resumption.grace"), "{paths:?}");
        for page in [
            include_str!("../../ARCHITECTURE.md"),
            include_str!("../../CHANGELOG.md"),
            include_str!("../../README.md"),
            include_str!("../../docs/accounts.md"),
            include_str!("../../docs/connections.md"),
            include_str!("../../docs/deviations.md"),
            include_str!("../../docs/memory.md"),
            include_str!("../../docs/vent.md"),
        ] {
            let named = page.split('`').skip(1).step_by(2);
            let named = named.map(|text| text.strip_prefix("settings.").unwrap_or(text));
            let is_path = |text: &&str| {
                let first = text.split('.').next().unwrap_or_default();
                text.contains('.')
                    && paths.contains(first)
                    && !text.ends_with(".rs")
                    && text
                        .bytes()
                        .all(|it| it.is_ascii_lowercase() || b"._".contains(&it))
            };
            for path in named.filter(is_path) {
                assert!(paths.contains(path), "there is no setting {path}");
            }
        }
    }
}
