//! The settings of a SockJS service.

use std::time::Duration;

/// What a SockJS service offers, and how long it waits.
///
/// ```
/// use std::time::Duration;
/// use updraft::SockJs;
///
/// let options = SockJs::at("/chat").websocket(false).disconnect_delay(Duration::from_secs(20));
/// ```
#[derive(Clone, Debug)]
pub struct SockJs {
    pub(crate) prefix: String,
    pub(crate) websocket: bool,
    pub(crate) cookies: bool,
    pub(crate) cors: bool,
    pub(crate) script: String,
    pub(crate) heartbeat: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) disconnect_delay: Duration,
    pub(crate) response_limit: usize,
}

impl SockJs {
    /// A service below `prefix`, such as `/echo`, with the times of sockjs-node: a heartbeat every
    /// 25 s, and 5 s that a session without a request waits for the next one.
    ///
    /// The prefix must begin with a slash and must not end with one; otherwise `bind` fails.
    pub fn at(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            websocket: true,
            cookies: false,
            cors: true,
            script: String::from("https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js"),
            heartbeat: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(10),
            disconnect_delay: Duration::from_secs(5),
            response_limit: 128 * 1024,
        }
    }

    /// The service of Meteor's server: below `/sockjs`, with a heartbeat every 45 s, and 60 s for
    /// the next request.
    pub fn meteor() -> Self {
        Self::at("/sockjs")
            .heartbeat(Duration::from_secs(45), Duration::from_secs(10))
            .disconnect_delay(Duration::from_secs(60))
    }

    /// Sets the path of the service.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Whether WebSockets are offered; yes by default. Without them `/info` says so, and clients
    /// poll. For DDP this also turns off the raw WebSocket, like Meteor's `DISABLE_WEBSOCKETS`.
    #[must_use]
    pub fn websocket(mut self, offered: bool) -> Self {
        self.websocket = offered;
        self
    }

    /// Whether responses set the cookie `JSESSIONID`, with which some load balancers keep a session
    /// on one server; no by default.
    #[must_use]
    pub fn cookies(mut self, set: bool) -> Self {
        self.cookies = set;
        self
    }

    /// Whether pages of other origins may read the responses; yes by default. Which origins are
    /// admitted is decided before.
    #[must_use]
    pub fn cors(mut self, allowed: bool) -> Self {
        self.cors = allowed;
        self
    }

    /// The URL of the client's script for the iframe page; by default that of sockjs-client 1 on a
    /// public CDN.
    ///
    /// The iframe page connects on behalf of the page that contains it, so only admitted pages may
    /// contain it. Browsers keep the iframe page for a year, together with the list of those pages.
    #[must_use]
    pub fn script(mut self, url: impl Into<String>) -> Self {
        self.script = url.into();
        self
    }

    /// The interval between heartbeats (zero: none), and how long a WebSocket may take to answer
    /// one (10 s by default) before it is closed.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.heartbeat = interval;
        self.heartbeat_timeout = timeout;
        self
    }

    /// How long a session may be without a request that waits for its frames. Then it ends.
    #[must_use]
    pub fn disconnect_delay(mut self, delay: Duration) -> Self {
        self.disconnect_delay = delay;
        self
    }

    /// After how many bytes of frames a streaming response ends, so that the client sends the next
    /// request: 128 KiB by default.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// What is wrong with the options; `None` if nothing is.
    pub(crate) fn mistake(&self) -> Option<String> {
        let prefix = &self.prefix;
        let fits = prefix.len() > 1 && prefix.starts_with('/') && !prefix.ends_with('/');
        (!fits).then(|| {
            format!("the SockJS prefix '{prefix}' must begin with a slash and not end with one")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddp_216_row_108_the_times_are_meteors() {
        let (meteor, node) = (SockJs::meteor(), SockJs::at("/echo"));
        let seconds = |options: &SockJs| {
            let SockJs {
                heartbeat,
                heartbeat_timeout,
                disconnect_delay,
                ..
            } = options;
            [heartbeat, heartbeat_timeout, disconnect_delay].map(Duration::as_secs)
        };
        assert_eq!(
            (meteor.prefix.as_str(), seconds(&meteor)),
            ("/sockjs", [45, 10, 60])
        );
        assert_eq!(
            (node.prefix.as_str(), seconds(&node)),
            ("/echo", [25, 10, 5])
        );
        assert_eq!(
            (meteor.response_limit, node.response_limit),
            (128 * 1024, 128 * 1024)
        );
    }
}
