//! Where a client is, as far as the server can know: the socket's other end, or what trusted proxies have said of it.

use std::net::{IpAddr, SocketAddr};

use warp::http::HeaderMap;

use crate::base::error::{Error, Result};
use crate::config::TrustedProxies;

/// Whose word about a client's address counts: the settings, understood.
#[derive(Clone, Debug)]
pub(super) enum Proxies {
    /// So many stand in a row before the server, whoever they are.
    Hops(usize),
    /// All that are in these networks.
    Networks(Vec<Subnet>),
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subnet {
    address: IpAddr,
    /// How many bits of the address are those of the network.
    bits: u32,
}

impl Proxies {
    /// Refuses what is no network.
    pub(super) fn parse(settings: &TrustedProxies) -> Result<Self> {
        let parse = |text: &String| {
            Subnet::parse(text).ok_or_else(|| {
                Error::configuration(format!(
                    "trusted_proxies: {text:?} is not an address or a network, such as 10.0.0.0/8"
                ))
            })
        };
        match settings {
            TrustedProxies::Hops(hops) => Ok(Self::Hops(*hops)),
            TrustedProxies::Networks(networks) => {
                let networks = networks.iter().map(parse);
                Ok(Self::Networks(networks.collect::<Result<_>>()?))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Hops(hops) => *hops == 0,
            Self::Networks(networks) => networks.is_empty(),
        }
    }
}

impl Subnet {
    /// Such as `10.0.0.0/8`, `2001:db8::/32` or an address.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, other: IpAddr) -> bool {
        // What differs must lie behind the bits of the network.
        let same = match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        same >= self.bits
    }
}

/// The client's address behind trusted proxies: without any the socket's, else an entry of
/// `X-Forwarded-For`. What stands to the left of that anybody may have written.
///
/// With a number of proxies it is the entry that the outermost of them has added, which is that
/// many from the right. With fewer entries, or when that entry is no address, the client has none.
/// So it was in Meteor up to 3.2.1. Later versions want exactly as many entries as there are
/// proxies, by which any client that sends the header itself loses its address, and with it every
/// limit on it.
///
/// With networks it is the first from the right that is in none of them, if the socket's other end
/// is in one. A client that no proxy has spoken of is the proxy itself.
pub(super) fn client_address(
    proxies: &Proxies,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut address = peer.ip().to_canonical();
    match proxies {
        Proxies::Hops(hops) => match hops.checked_sub(1) {
            None => Some(address),
            Some(behind) => parse(entries.nth(behind)?),
        },
        Proxies::Networks(networks) => {
            while networks.iter().any(|network| network.contains(address))
                && let Some(entry) = entries.next()
            {
                address = parse(entry)?;
            }
            Some(address)
        }
    }
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

    fn behind(proxies: usize, lines: &[&'static [u8]]) -> String {
        client(&Proxies::Hops(proxies), lines)
    }

    fn client(proxies: &Proxies, lines: &[&'static [u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line).unwrap();
            headers.append("x-forwarded-for", line);
        }
        let peer = "[::ffff:127.0.0.1]:4000".parse().unwrap();
        let address = client_address(proxies, peer, &headers);
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    }

    #[test]
    fn row_016_proxies_are_known_by_their_networks() {
        let networks = |texts: &[&str]| {
            let networks = texts.iter().map(|text| Subnet::parse(text).unwrap());
            Proxies::Networks(networks.collect())
        };
        let local = networks(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(client(&local, &[]), "127.0.0.1", "the proxy itself");
        assert_eq!(client(&local, &[b"192.0.2.1"]), "192.0.2.1");
        let chain: &[u8] = b"1.1.1.1, 192.0.2.1, 2001:db8::7, 10.1.2.3";
        assert_eq!(
            client(&local, &[chain]),
            "192.0.2.1",
            "the first in no network"
        );
        assert_eq!(client(&local, &[b"10.0.0.1, 10.0.0.2"]), "10.0.0.1");
        assert_eq!(client(&local, &[b"192.0.2.1, x"]), "none");
        let elsewhere = networks(&["10.0.0.0/8"]);
        assert_eq!(
            client(&elsewhere, &[b"192.0.2.1"]),
            "127.0.0.1",
            "no proxy's word"
        );
        assert_eq!(
            client(&networks(&["0.0.0.0/0"]), &[b"192.0.2.1"]),
            "192.0.2.1"
        );
    }

    #[test]
    fn networks_are_told_from_other_texts() {
        for text in [
            "",
            "x",
            "1",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "/8",
        ] {
            assert!(Subnet::parse(text).is_none(), "{text}");
        }
        let within = |network: &str, address: &str| {
            let network = Subnet::parse(network).unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.255.255.255") && !within("10.0.0.0/8", "11.0.0.0"));
        assert!(within("192.0.2.1", "192.0.2.1") && !within("192.0.2.1", "192.0.2.0"));
        assert!(within("::/0", "::1") && !within("::/0", "127.0.0.1"));
        assert!(
            within("2001:db8::/33", "2001:db8:7fff::")
                && !within("2001:db8::/33", "2001:db8:8000::")
        );
    }

    #[test]
    fn ddp_223_row_016_without_proxies_the_header_means_nothing() {
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
