//! The cookie that keeps a browser at one of several Meteor servers: the app's bundle, its uploads
//! and its session belong together.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use warp::http::{HeaderMap, HeaderValue, header};

use super::super::address::UpstreamAddress;

/// The cookie's name.
const NAME: &str = "updraft-server";

/// What the cookie says for each server. With one server there is no cookie.
#[derive(Debug)]
pub(in crate::gateway) struct StickyCookies {
    /// In the order of the servers. A hash of the address with a key: nobody can read or guess the
    /// address from it.
    values: Vec<String>,
    /// Whether browsers may send it over TLS only.
    is_secure: bool,
}

impl StickyCookies {
    pub(in crate::gateway) fn new(
        servers: &[UpstreamAddress],
        key: &[u8],
        is_secure: bool,
    ) -> Self {
        let servers = if servers.len() > 1 { servers } else { &[] };
        let values = servers.iter().filter_map(|address| value(key, address));
        Self {
            values: values.collect(),
            is_secure,
        }
    }

    /// The server that a request names. None for a cookie with another key.
    pub(in crate::gateway) fn named(&self, request: &HeaderMap) -> Option<usize> {
        let lines = request.get_all(header::COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut values = pairs.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == NAME).then_some(value)
        });
        values.find_map(|value| self.values.iter().position(|known| known == value))
    }

    /// Adds the cookie to an answer of a server, if it is a page that nobody else may be given.
    pub(super) fn set(&self, answer: &mut HeaderMap, number: usize) {
        let Some(value) = self.values.get(number) else {
            return;
        };
        if !is_page(answer) || is_public(answer) {
            return;
        }
        let secure = if self.is_secure { "; Secure" } else { "" };
        let cookie = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            answer.append(header::SET_COOKIE, cookie);
        }
    }
}

fn value(key: &[u8], address: &UpstreamAddress) -> Option<String> {
    // A key of any length is one.
    let mut hash = Hmac::<Sha256>::new_from_slice(key).ok()?;
    hash.update(address.to_string().as_bytes());
    let hash = hash.finalize().into_bytes();
    Some(URL_SAFE_NO_PAD.encode(hash.get(..16)?))
}

fn is_page(answer: &HeaderMap) -> bool {
    let kind = answer.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html")
}

/// Whether a shared cache is told to keep it, and may hand it to others.
fn is_public(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(header::CACHE_CONTROL).iter();
    let mut directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    directives.any(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        ["public", "s-maxage"]
            .iter()
            .any(|it| name.eq_ignore_ascii_case(it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: usize) -> Vec<UpstreamAddress> {
        let urls = ["http://a:4000", "http://b:4000", "http://c:4000"];
        let urls = urls.iter().take(count);
        urls.map(|url| UpstreamAddress::parse(url).unwrap())
            .collect()
    }

    fn answer(kind: &'static str, cache: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers
    }

    fn set(cookies: &StickyCookies, mut answer: HeaderMap, number: usize) -> Option<String> {
        cookies.set(&mut answer, number);
        let cookie = answer.get(header::SET_COOKIE)?;
        Some(cookie.to_str().unwrap().to_owned())
    }

    #[test]
    fn gateway_088_the_cookie_is_opaque_and_read_back() {
        let cookies = StickyCookies::new(&servers(3), b"key", true);
        let page = || answer("text/html; charset=utf-8", "no-cache");
        let given = set(&cookies, page(), 1).unwrap();
        let (pair, attributes) = given.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(!pair.contains('b') || !pair.contains("4000"), "{pair}");
        let mut request = HeaderMap::new();
        let sent = format!("x=1; {pair}; y=2");
        request.insert(header::COOKIE, HeaderValue::try_from(sent).unwrap());
        assert_eq!(cookies.named(&request), Some(1));
        let others = StickyCookies::new(&servers(3), b"other", false);
        assert_eq!(others.named(&request), None, "another key");
        let plain = set(&others, page(), 1).unwrap();
        assert!(plain.ends_with("; HttpOnly; SameSite=Lax"), "{plain}");
        assert_eq!(others.named(&HeaderMap::new()), None);
    }

    #[test]
    fn gateway_088_only_pages_that_are_not_public_set_the_cookie() {
        let cookies = StickyCookies::new(&servers(2), b"key", false);
        for (kind, cache) in [
            ("application/javascript", "no-cache"),
            ("text/html-like", "no-cache"),
            ("text/html", "max-age=60, Public"),
            ("text/html", "S-MaxAge=60"),
        ] {
            assert_eq!(set(&cookies, answer(kind, cache), 0), None, "{kind}");
        }
        let alone = StickyCookies::new(&servers(1), b"key", false);
        assert_eq!(set(&alone, answer("text/html", "no-cache"), 0), None);
    }
}
