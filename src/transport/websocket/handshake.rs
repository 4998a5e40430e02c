//! The opening handshake. It is checked here, because warp answers a bad key with 101.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use warp::http::{HeaderMap, HeaderValue, header};

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeRefusal {
    /// Not a handshake, or one with a bad key.
    Malformed,
    /// A version of the protocol other than 13.
    Version,
}

/// Checks the headers of a handshake. Returns the value of `Sec-WebSocket-Accept`.
///
/// Extensions and subprotocols are only offers; they are declined.
pub(crate) fn accept(headers: &HeaderMap) -> Result<HeaderValue, HandshakeRefusal> {
    if !list_contains(headers, header::CONNECTION, "upgrade")
        || !list_contains(headers, header::UPGRADE, "websocket")
        || has_body(headers)
    {
        return Err(HandshakeRefusal::Malformed);
    }
    let version = single_value(headers, header::SEC_WEBSOCKET_VERSION)?;
    if version.as_bytes() != b"13" {
        return Err(HandshakeRefusal::Version);
    }
    let key = single_value(headers, header::SEC_WEBSOCKET_KEY)?.as_bytes();
    if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(HandshakeRefusal::Malformed);
    }
    HeaderValue::try_from(answer_to(key)).map_err(|_| HandshakeRefusal::Malformed)
}

/// The key of a handshake that this server begins itself.
#[derive(Debug)]
pub(crate) struct ClientKey(String);

impl ClientKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// The operating system cannot provide random bytes.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        Ok(Self(STANDARD.encode(nonce)))
    }

    /// The value of `Sec-WebSocket-Key`.
    pub(crate) fn header(&self) -> HeaderValue {
        // Base64 is always one.
        HeaderValue::try_from(&self.0).unwrap_or(HeaderValue::from_static(""))
    }

    /// Whether the headers of a response accept it, and ask for nothing that was not offered.
    pub(crate) fn is_accepted(&self, headers: &HeaderMap) -> bool {
        let answer = answer_to(self.0.as_bytes());
        single_value(headers, header::SEC_WEBSOCKET_ACCEPT).is_ok_and(|value| *value == *answer)
            && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
    }
}

/// The value of `Sec-WebSocket-Accept` for a key.
fn answer_to(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Whether the request has a body. Nobody would read it, so its bytes would be taken for frames.
fn has_body(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    headers.contains_key(header::TRANSFER_ENCODING) || lengths.any(|length| length != "0")
}

/// The value of a header that must occur exactly once.
fn single_value(
    headers: &HeaderMap,
    name: header::HeaderName,
) -> Result<&HeaderValue, HandshakeRefusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(HandshakeRefusal::Malformed),
    }
}

/// Whether a header's comma-separated list contains a word, ignoring case.
fn list_contains(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            all.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            all.remove(*name);
            if let Some(value) = value {
                all.insert(*name, HeaderValue::from_static(value));
            }
        }
        all
    }

    #[test]
    fn the_accept_key_is_that_of_the_standard() {
        assert_eq!(
            accept(&headers(&[])).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let empty = headers(&[("content-length", Some("0"))]);
        assert!(accept(&empty).is_ok(), "a body of nothing is none");
    }

    #[test]
    fn row_020_bad_handshakes_are_refused() {
        for (name, value, refusal) in [
            ("connection", None, HandshakeRefusal::Malformed),
            (
                "connection",
                Some("keep-alive"),
                HandshakeRefusal::Malformed,
            ),
            ("upgrade", Some("h2c"), HandshakeRefusal::Malformed),
            ("sec-websocket-key", None, HandshakeRefusal::Malformed),
            ("sec-websocket-key", Some("x"), HandshakeRefusal::Malformed),
            (
                "sec-websocket-key",
                Some("c2hvcnQ="),
                HandshakeRefusal::Malformed,
            ),
            (
                "sec-websocket-version",
                Some("12"),
                HandshakeRefusal::Version,
            ),
            ("sec-websocket-version", None, HandshakeRefusal::Malformed),
            ("content-length", Some("5"), HandshakeRefusal::Malformed),
            (
                "transfer-encoding",
                Some("chunked"),
                HandshakeRefusal::Malformed,
            ),
        ] {
            assert_eq!(
                accept(&headers(&[(name, value)])),
                Err(refusal),
                "{name}: {value:?}"
            );
        }
        for name in ["sec-websocket-key", "sec-websocket-version"] {
            let mut twice = headers(&[]);
            let value = twice.get(name).unwrap().clone();
            twice.append(name, value);
            assert_eq!(
                accept(&twice),
                Err(HandshakeRefusal::Malformed),
                "{name} twice"
            );
        }
    }
}
