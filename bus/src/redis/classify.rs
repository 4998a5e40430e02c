//! What an error of the crate `redis` means: which fault it shows, and whether Redis answered at
//! all.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ConnectionAddr, ErrorKind, RedisError, ServerErrorKind};

use crate::fault::{ClassifiedError, FailedConnection, Side};
use crate::{BusError, BusFault, SharedError};

impl BusFault {
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => Self::Loading,
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly,
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::Denied,
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
                Self::Authentication
            }
            (_, Some("OOM")) => Self::OutOfMemory,
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Refused,
            _ if is_tls(error) => Self::Tls,
            _ => Self::Unreachable,
        }
    }
}

/// Classifies an error, for use as the cause of an error of the bus.
pub(super) fn cause(error: RedisError) -> SharedError {
    Arc::new(ClassifiedError::new(BusFault::of(&error), None, error))
}

/// The error for a failed attempt to connect.
pub(super) fn not_connected(side: Side, address: &ConnectionAddr, error: RedisError) -> BusError {
    let fault = BusFault::of(&error);
    let is_refused = fault == BusFault::Authentication || is_refusal(&error);
    let failed_connection = FailedConnection {
        side,
        address: named(address),
        reason: reason(fault, address, &error),
    };
    tracing::debug!(redis = failed_connection.address, ?side, %error, "Redis cannot be used.");
    let cause = Arc::new(ClassifiedError::new(fault, Some(failed_connection), error));
    if is_refused {
        BusError::Refused(cause)
    } else {
        BusError::Unavailable(Some(cause))
    }
}

/// As it stands in a URL.
fn named(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }
            if host.contains(':') =>
        {
            format!("[{host}]:{port}")
        }
        other => other.to_string(),
    }
}

/// The error for a URL that cannot be used.
pub(super) fn unusable(url: &str, error: &RedisError) -> BusError {
    let error = error.to_string();
    let why = error.split(" - ").next().unwrap_or_default();
    let text = format!(
        "{}: {why}; its form is redis://HOST:6379/0, with USER:PASSWORD@ before HOST if need be",
        shown(url)
    );
    let cause: Box<dyn Error + Send + Sync> = text.into();
    BusError::InvalidUrl(cause.into())
}

/// What is wrong, and what to do about it, for a person. The answer of Redis is long; it is
/// repeated only for faults without a text here.
fn reason(fault: BusFault, address: &ConnectionAddr, error: &RedisError) -> String {
    let is_encrypted = matches!(address, ConnectionAddr::TcpTls { .. });
    let text = match fault {
        BusFault::Unreachable if error.is_connection_refusal() => {
            "connection refused; is it running?"
        }
        BusFault::Unreachable if error.is_timeout() && is_encrypted => {
            "no answer in time; does it speak TLS on this port?"
        }
        BusFault::Unreachable if error.is_timeout() => "no answer in time; is this its address?",
        BusFault::Unreachable => return format!("{error}; is this its address?"),
        BusFault::Tls => return format!("the TLS handshake failed: {error}"),
        BusFault::Authentication if error.code() == Some("NOAUTH") => {
            "it requires a password; put USER:PASSWORD@ before the host in its URL"
        }
        BusFault::Authentication => {
            "it refuses this user or password, or requires none; they stand before the host in its URL"
        }
        BusFault::Denied => {
            "this user has too few rights; its ACL must allow PING, PUBLISH, SUBSCRIBE and \
             UNSUBSCRIBE"
        }
        BusFault::Loading => "it is still loading its data; try again",
        BusFault::ReadOnly => "it is a replica, which accepts no messages; connect to its master",
        BusFault::OutOfMemory => "it has no memory left; see its maxmemory",
        BusFault::Lost | BusFault::Silent | BusFault::Detached | BusFault::Refused => {
            let said = error.detail().map(str::to_owned);
            let said = said.unwrap_or_else(|| error.to_string());
            return format!("it refused: {said}");
        }
    };
    text.to_owned()
}

/// A URL as it may be shown: without anything that could be a password.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+_:/[]".contains(c);
    let host = rest.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit() || c == ']');
    if rest.chars().all(is_plain) && scheme.chars().all(is_plain) && port.is_none_or(is_port) {
        format!("Redis URL \"{url}\"")
    } else {
        "Redis URL".to_owned()
    }
}

/// Whether Redis answered with an error: the connection is as good as before.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// A failed handshake appears as the operating system's "invalid data", with the reason in its
/// text.
fn is_tls(error: &RedisError) -> bool {
    // The crate returns the `Arc` in which it keeps the cause, not the cause itself.
    type Kept = Arc<dyn Error + Send + Sync>;
    let kept = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Kept>());
    let cause = kept.and_then(|kept| kept.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_304_an_address_is_named_as_in_a_url() {
        for (host, expected) in [("h", "h:6379"), ("::1", "[::1]:6379")] {
            let address = ConnectionAddr::Tcp(host.into(), 6379);
            assert_eq!(named(&address), expected);
        }
    }

    #[test]
    fn found_304_a_url_is_shown_without_what_could_be_a_password() {
        for (url, expected) in [
            ("localhost", "Redis URL \"localhost\""),
            ("http://example:80/x", "Redis URL \"http://example:80/x\""),
            ("redis://[::1]:x", "Redis URL"),
            ("redis://a:secret@host", "Redis URL"),
            ("redis://:secret", "Redis URL"),
            ("redis://:1secret/0", "Redis URL"),
            ("secret@host", "Redis URL"),
            (
                "redis+unix:///run/redis?pass=secret",
                "Redis URL \"redis+unix:///run/redis\"",
            ),
            ("\u{1b}[31m", "Redis URL"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }
}
