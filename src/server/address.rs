//! Where a client is, as far as the server can know: the socket's other end, or what trusted proxies have said of it.

use std::net::{IpAddr, SocketAddr};

use warp::http::HeaderMap;

/// The client's address behind so many trusted proxies: without any the socket's, else the entry of `X-Forwarded-For`
/// that the outermost of them has added, which is that many from the right. What stands to the left of it anybody may
/// have written. With fewer entries, or when that entry is no address, the client has none.
///
/// So it was in Meteor up to 3.2.1. Later versions want exactly as many entries as there are proxies, by which any
/// client that sends the header itself loses its address, and with it every limit on it.
pub(super) fn client_address(
    trusted_proxies: usize,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let Some(behind) = trusted_proxies.checked_sub(1) else {
        return Some(peer.ip().to_canonical());
    };
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    parse(entries.nth(behind)?)
}

/// An address, with or without a port.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bracketed = entry
        .strip_prefix('[')
        .and_then(|entry| entry.strip_suffix(']'));
    let address = bracketed.unwrap_or(entry).parse().ok();
    let address = address.or_else(|| entry.parse().ok().map(|both: SocketAddr| both.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::HeaderValue;

    fn behind(trusted_proxies: usize, lines: &[&'static [u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line).unwrap();
            headers.append("x-forwarded-for", line);
        }
        let peer = "[::ffff:127.0.0.1]:4000".parse().unwrap();
        let address = client_address(trusted_proxies, peer, &headers);
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    }

    #[test]
    fn ddp_223_row_016_without_trusted_proxies_the_header_means_nothing() {
        assert_eq!(behind(0, &[]), "127.0.0.1");
        assert_eq!(behind(0, &[b"192.0.2.1"]), "127.0.0.1");
    }

    #[test]
    fn ddp_223_row_016_the_entry_is_counted_from_the_end() {
        assert_eq!(behind(1, &[b"192.0.2.1"]), "192.0.2.1");
        assert_eq!(behind(1, &[b"forged, 10.0.0.1 ,192.0.2.1"]), "192.0.2.1");
        assert_eq!(behind(1, &[b"\xff\xfe, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(behind(2, &[b"1.1.1.1, 192.0.2.1, 10.0.0.1"]), "192.0.2.1");
        let lines: [&[u8]; 2] = [b"1.1.1.1, 192.0.2.1", b"10.0.0.1"];
        assert_eq!(behind(1, &lines), "10.0.0.1");
        assert_eq!(behind(2, &lines), "192.0.2.1");
    }

    #[test]
    fn ddp_223_fewer_entries_and_malformed_ones_are_no_address() {
        assert_eq!(behind(1, &[]), "none");
        assert_eq!(behind(2, &[b"192.0.2.1"]), "none");
        assert_eq!(behind(usize::MAX, &[b"192.0.2.1"]), "none");
        for bad in ["", " ", "unknown", "192.0.2.1,", "192.0.2", "[::1", "x:80"] {
            assert_eq!(behind(1, &[bad.as_bytes()]), "none", "{bad}");
        }
    }

    #[test]
    fn ddp_223_ports_and_mapped_addresses_are_taken_off() {
        for (entry, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(behind(1, &[entry.as_bytes()]), expected, "{entry}");
        }
    }
}
