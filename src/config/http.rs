//! What HTTP may take before anybody is a client: heads and bodies of requests.
//! The defaults suit a server in the open.

use std::time::Duration;

use crate::base::error::{Error, Result};

/// What requests over HTTP may have, how long they may take, and where they find DDP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpSettings {
    /// What stands before all paths of DDP and SockJS, as the path of Meteor's `ROOT_URL`: with
    /// `/app` they are `/app/websocket` and `/app/sockjs`. Nothing by default, and then
    /// `/websocket` is found behind any path. It begins with a slash and does not end with one.
    pub path_prefix: String,
    /// How long a request may take to send its headers: 10 s by default, and as long as it likes
    /// with zero. Then its connection is closed, as is one that sends no next request for so long.
    pub header_timeout: Duration,
    /// Headers that a request may have: 64 by default, and no more than 1,024. One more is answered
    /// with 431, and the connection is closed.
    pub headers: usize,
    /// Bytes of a request's headers together with its first line: 16 KiB by default, and no less
    /// than 8 KiB. More is answered with 431, and the connection is closed.
    pub header_bytes: usize,
    /// Bytes of a request's body for SockJS: 1 MiB by default. More is answered with 413.
    pub body_bytes: usize,
    /// How long a body for SockJS may make no progress: 30 s by default; then 408.
    pub body_progress_timeout: Duration,
    /// How long a body for SockJS may take altogether, however it comes: 60 s by default; then 408.
    /// Bodies for [routes](crate::Builder::route) are read by their filters, which have to see to
    /// it themselves.
    pub body_timeout: Duration,
    /// How long messages that a request has brought may wait for room in their session, which is
    /// that of [`ClientLimits::queued_bytes`](crate::config::ClientLimits::queued_bytes): 30 s by
    /// default. Then the request is answered with 503.
    pub post_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            path_prefix: String::new(),
            header_timeout: Duration::from_secs(10),
            headers: 64,
            header_bytes: 16 * 1024,
            body_bytes: 1024 * 1024,
            body_progress_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            post_timeout: Duration::from_secs(30),
        }
    }
}

/// The smallest head that hyper can be told to take, in bytes.
const SMALLEST_HEAD: usize = 8 * 1024;

/// The most headers that a request may be allowed: there is room for as many whenever one is read.
const MOST_HEADERS: usize = 1024;

impl HttpSettings {
    pub(super) fn check(&self) -> Result<()> {
        let Self {
            path_prefix: prefix,
            headers,
            header_bytes: bytes,
            ..
        } = self;
        let fits = prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/'));
        if !fits {
            return Err(Error::configuration(format!(
                "http.path_prefix must begin with a slash and not end with one: '{prefix}'"
            )));
        }
        if !(1..=MOST_HEADERS).contains(headers) {
            return Err(Error::configuration(format!(
                "http.headers must be 1 to {MOST_HEADERS}, and not {headers}"
            )));
        }
        if *bytes < SMALLEST_HEAD {
            return Err(Error::configuration(format!(
                "http.header_bytes must be at least {SMALLEST_HEAD}; {bytes} are too few"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of settings that were changed so.
    fn refusal(change: impl FnOnce(&mut HttpSettings)) -> String {
        let mut settings = HttpSettings::default();
        change(&mut settings);
        settings
            .check()
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn found_406_what_is_of_no_use_is_refused_by_its_name() {
        assert_eq!(refusal(|_| {}), "");
        assert_eq!(refusal(|http| http.path_prefix = "/app".to_owned()), "");
        for prefix in ["app", "/app/", "/"] {
            let refusal = refusal(|http| http.path_prefix = prefix.to_owned());
            assert_eq!(
                refusal,
                format!(
                    "http.path_prefix must begin with a slash and not end with one: '{prefix}'"
                )
            );
        }
        for headers in [0, 1025] {
            let refusal = refusal(|http| http.headers = headers);
            assert_eq!(
                refusal,
                format!("http.headers must be 1 to 1024, and not {headers}")
            );
        }
        let few = "http.header_bytes must be at least 8192; 8191 are too few";
        assert_eq!(refusal(|http| http.header_bytes = 8191), few);
    }
}
