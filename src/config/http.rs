//! Limits for HTTP requests, before a connection becomes a client: heads and bodies. The defaults
//! suit a server on the open internet.

use std::time::Duration;

use crate::base::error::{Error, Result};

/// How large HTTP requests may be, how long they may take, and where they find DDP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpSettings {
    /// The prefix of all paths of DDP and SockJS, like the path of Meteor's `ROOT_URL`: with `/app`
    /// they are `/app/websocket` and `/app/sockjs`. Empty by default, and then `/websocket` is
    /// found behind any path. It begins with a slash and does not end with one.
    pub path_prefix: String,
    /// How long a request may take to send its headers: 10 s by default; zero means no limit. Then
    /// its connection is closed. A connection that sends no next request within this time is closed
    /// too.
    pub header_timeout: Duration,
    /// Headers that a request may have: 64 by default, at most 1,024. One more is answered with
    /// 431, and the connection is closed.
    pub headers: usize,
    /// Bytes of a request's headers together with its first line: 16 KiB by default, at least 8
    /// KiB. More is answered with 431, and the connection is closed.
    pub header_bytes: usize,
    /// Bytes of a request body for SockJS: 1 MiB by default. More is answered with 413.
    pub body_bytes: usize,
    /// How long a request body for SockJS may make no progress: 30 s by default. Then it is
    /// answered with 408.
    pub body_progress_timeout: Duration,
    /// How long a request body for SockJS may take in total: 60 s by default. Then it is answered
    /// with 408. Bodies for [routes](crate::Builder::route) are read by their services, which must
    /// limit the time themselves.
    pub body_timeout: Duration,
    /// How long posted messages may wait for room in their session, which is limited by
    /// [`ClientLimits::queued_bytes`](crate::config::ClientLimits::queued_bytes): 30 s by default.
    /// Then the request is answered with 503.
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

/// The smallest limit for a head that hyper accepts, in bytes.
const SMALLEST_HEAD: usize = 8 * 1024;

/// The largest limit for headers. Memory for that many is used whenever a head is read.
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

    /// The error for settings that were changed in this way.
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
