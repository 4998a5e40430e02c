//! The settings of a server: [`Settings`], which has a member for each part, and the parts.
//!
//! Each part is a plain struct, defined with its defaults in the folder that uses it. What is more
//! than a value, such as a publication, a rule or a certificate, is given to the
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

pub use crate::cursor::CursorSettings;
pub use crate::gateway::{GatewaySettings, PassedHttpSettings};
pub use crate::handler::HandlerSettings;
pub use crate::limit::{AddressLimits, RequestRate, RuleLimits};
pub use crate::shard::polling_sessions::PollingLimits;
pub use crate::shard::{ClientLimits, InboxLimits, SilenceLimit, TakeoverLimits};
pub use crate::transport::websocket::FrameRate;
pub use crate::worker::WorkerSettings;
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

/// All settings of a server. [`Builder::settings`](crate::Builder::settings) takes them as a whole,
/// [`Builder::configure`](crate::Builder::configure) changes single members.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// How many threads own connections: `None` by default, which means one per core.
    pub shards: Option<NonZero<usize>>,
    /// Bytes that may wait in the whole process, for clients that have not taken them and for
    /// handlers that do not keep up. `None` by default, which means a quarter of the machine's
    /// memory or, if less, a quarter of its control group's limit, and 1 GiB if neither is known.
    /// The log says how much that is.
    ///
    /// While more output than this waits for clients, handlers wait: none starts, and a handler
    /// with output on its way to its client waits where it awaits a future of its context. All
    /// clients are served nevertheless, in turns. While more than this waits in total, clients
    /// whose messages wait are not read from.
    ///
    /// What handlers send without waiting is accepted all the same. Above twice the limit, the
    /// clients that hold most on their shard are closed with 1013, and new connections are answered
    /// with 503.
    pub memory_limit: Option<usize>,
    /// The sessions of clients.
    pub sessions: SessionSettings,
    /// What a client may send, how long it may take, and how much may wait for it.
    pub clients: ClientLimits,
    /// Places in topics that are kept for clients.
    pub cursors: CursorSettings,
    /// Clients that work for groups.
    pub workers: WorkerSettings,
    /// How much may wait for a shard.
    pub inbox: InboxLimits,
    /// SockJS sessions over HTTP requests.
    pub polling: PollingLimits,
    /// How long handlers may keep others waiting.
    pub handlers: HandlerSettings,
    /// A Meteor server behind this one, if there is [one](crate::Builder::meteor).
    pub gateway: GatewaySettings,
    /// Channels of the bus.
    pub bus: ChannelSettings,
    /// The listening socket, and the sockets that it accepts.
    pub listener: ListenerSettings,
    /// Limits for HTTP requests.
    pub http: HttpSettings,
    /// Pages that may connect to the server.
    pub origins: OriginSettings,
    /// Proxies whose information about a client's address is used: none by default.
    pub trusted_proxies: TrustedProxies,
    /// Where trusted proxies pass on a client's address: in `X-Forwarded-For` by default.
    pub address_source: AddressSource,
    /// Limits for one address.
    pub addresses: AddressLimits,
    /// How much [rate limits](crate::RateLimit) may remember.
    pub rules: RuleLimits,
    /// TLS for clients, if there is a [certificate](crate::Builder::tls).
    #[cfg(feature = "tls")]
    pub tls: TlsSettings,
    /// How the server shuts down.
    pub drain: DrainSettings,
}

impl Settings {
    /// Refuses settings with which nobody could connect.
    pub(crate) fn check(&self) -> Result<()> {
        self.workers.check()?;
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
            include_str!("../../docs/beside-meteor.md"),
            include_str!("../../docs/connections.md"),
            include_str!("../../docs/deviations.md"),
            include_str!("../../docs/memory.md"),
            include_str!("../../docs/topics-over-ddp.md"),
            include_str!("../../docs/vent.md"),
            include_str!("../../docs/workers.md"),
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
