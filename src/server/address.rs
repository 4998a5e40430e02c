//! Where a client is, as far as the server can know: the socket's other end, or what trusted
//! proxies have said of it.

use std::net::{IpAddr, SocketAddr};

use warp::http::{HeaderMap, HeaderName};

use crate::base::error::{Error, Result};
use crate::config::{AddressSource, TrustedProxies};

/// Whose word about a client's address counts, and where it stands: the settings, understood.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    trusted: Trusted,
    source: Source,
}

#[derive(Clone, Debug)]
enum Trusted {
    /// So many stand in a row before the server, whoever they are.
    Hops(usize),
    /// All that are in these networks.
    Networks(Vec<Subnet>),
}

#[derive(Clone, Debug)]
enum Source {
    /// A header to which each proxy appends an entry, and what reads one.
    Appended(HeaderName, fn(&[u8]) -> Option<IpAddr>),
    /// A header that one of them sets.
    Set(HeaderName),
    /// What the connection begins with, which has been read when it is asked for.
    Connection,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug)]
struct Subnet {
    address: IpAddr,
    /// How many bits of the address are those of the network.
    bits: u32,
}

impl Proxies {
    /// Refuses what is no network or no header, and a source that nobody may speak at.
    pub(super) fn parse(trusted: &TrustedProxies, source: &AddressSource) -> Result<Self> {
        let parse = |text: &String| {
            Subnet::parse(text).ok_or_else(|| {
                Error::configuration(format!(
                    "trusted_proxies: {text:?} is not an address or a network, such as 10.0.0.0/8"
                ))
            })
        };
        let trusted = match trusted {
            TrustedProxies::Hops(hops) => Trusted::Hops(*hops),
            TrustedProxies::Networks(networks) => {
                let networks = networks.iter().map(parse);
                Trusted::Networks(networks.collect::<Result<_>>()?)
            }
        };
        let proxies = Self {
            trusted,
            source: Source::parse(source)?,
        };
        if proxies.is_empty() && *source != AddressSource::default() {
            return Err(Error::configuration(
                "address_source: there are no trusted_proxies whose word would count",
            ));
        }
        Ok(proxies)
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.trusted {
            Trusted::Hops(hops) => *hops == 0,
            Trusted::Networks(networks) => networks.is_empty(),
        }
    }

    /// Whether a connection begins with what a proxy says of it.
    pub(super) fn speaks_first(&self, peer: SocketAddr) -> bool {
        matches!(self.source, Source::Connection) && self.trusts(peer.ip().to_canonical())
    }

    /// Whether what is at this address is a proxy whose word counts.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        match &self.trusted {
            Trusted::Hops(hops) => *hops > 0,
            Trusted::Networks(networks) => networks.iter().any(|it| it.contains(address)),
        }
    }
}

impl Source {
    fn parse(source: &AddressSource) -> Result<Self> {
        Ok(match source {
            AddressSource::XForwardedFor => {
                Self::Appended(HeaderName::from_static("x-forwarded-for"), parse)
            }
            AddressSource::Forwarded => {
                Self::Appended(HeaderName::from_static("forwarded"), parse_forwarded)
            }
            AddressSource::Header(name) => Self::Set(name.parse().map_err(|_| {
                Error::configuration(format!("address_source: {name:?} is no name of a header"))
            })?),
            AddressSource::ProxyProtocol => Self::Connection,
        })
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

/// The client's address behind trusted proxies: without any the socket's, else an entry of the
/// header to which they append. What stands to the left of that anybody may have written.
///
/// With a number of proxies it is the entry that the outermost of them has added, which is that
/// many from the right. With fewer entries, or when that entry is no address, the client has none.
/// So it was in Meteor up to 3.2.1. Later versions want exactly as many entries as there are
/// proxies, by which any client that sends the header itself loses its address, and with it every
/// limit on it.
///
/// With networks it is the first from the right that is in none of them, if the socket's other end
/// is in one. A client that no proxy has spoken of is the proxy itself.
///
/// Where one of them sets a header, it is the last entry there, if the socket's other end is a
/// proxy.
pub(super) fn client_address(
    proxies: &Proxies,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let mut address = peer.ip().to_canonical();
    match (&proxies.source, &proxies.trusted) {
        (Source::Connection, _) => Some(address),
        (_, Trusted::Hops(0)) => Some(address),
        (Source::Set(header), trusted) => match entries(headers, header).next() {
            Some(entry) if proxies.trusts(address) => parse(entry),
            None if matches!(trusted, Trusted::Hops(_)) => None,
            _ => Some(address),
        },
        (Source::Appended(header, parse), Trusted::Hops(hops)) => {
            parse(entries(headers, header).nth(hops.checked_sub(1)?)?)
        }
        (Source::Appended(header, parse), Trusted::Networks(_)) => {
            let mut entries = entries(headers, header);
            while proxies.trusts(address)
                && let Some(entry) = entries.next()
            {
                address = parse(entry)?;
            }
            Some(address)
        }
    }
}

/// The entries of a header, from the right.
fn entries<'a>(headers: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
}

/// The address in an element of `Forwarded`.
///
/// Elements are told apart by their commas and parameters by their semicolons, within quotes too:
/// no parameter of the RFC has any there, and a quotation mark that a client leaves open must not
/// swallow what its proxies say.
fn parse_forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut found = element.split(|byte| *byte == b';').filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let (Some(node), None) = (found.next(), found.next()) else {
        return None;
    };
    let node = node.trim();
    let quoted = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'));
    let node = quoted.unwrap_or(node);
    // The port may be hidden where the address is not.
    let node = match node.rsplit_once(':') {
        Some((address, port)) if port.starts_with('_') => address,
        _ => node,
    };
    parse(node.as_bytes())
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
        client(Trusted::Hops(proxies), lines)
    }

    fn client(trusted: Trusted, lines: &[&'static [u8]]) -> String {
        of(
            "x-forwarded-for",
            &AddressSource::XForwardedFor,
            trusted,
            lines,
        )
    }

    /// The address by lines of a header, and one that it would be by another.
    fn of(
        header: &'static str,
        source: &AddressSource,
        trusted: Trusted,
        lines: &[&'static [u8]],
    ) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line).unwrap();
            headers.append(header, line);
        }
        for other in ["x-forwarded-for", "forwarded", "cf-connecting-ip"] {
            if other != header {
                let line = HeaderValue::from_static("for=6.6.6.6, 6.6.6.6");
                headers.append(other, line);
            }
        }
        let source = Source::parse(source).unwrap();
        let proxies = Proxies { trusted, source };
        let peer = "[::ffff:127.0.0.1]:4000".parse().unwrap();
        let address = client_address(&proxies, peer, &headers);
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    }

    fn networks(texts: &[&str]) -> Trusted {
        let networks = texts.iter().map(|text| Subnet::parse(text).unwrap());
        Trusted::Networks(networks.collect())
    }

    #[test]
    fn found_318_forwarded_is_read_from_the_right() {
        let behind = |hops: usize, line: &'static str| {
            let line = [line.as_bytes()];
            of(
                "forwarded",
                &AddressSource::Forwarded,
                Trusted::Hops(hops),
                &line,
            )
        };
        for (element, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=192.0.2.1;proto=http;by=203.0.113.43", "192.0.2.1"),
            ("proto=https ; for = \"192.0.2.1:4711\"", "192.0.2.1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:_port\"", "2001:db8::1"),
            ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
            ("for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
            ("for=unknown", "none"),
            ("for=_hidden", "none"),
            ("for=\"_hidden:4711\"", "none"),
            ("for=", "none"),
            ("for=\"", "none"),
            ("by=192.0.2.1", "none"),
            ("192.0.2.1", "none"),
            ("forx=192.0.2.1", "none"),
            ("for=192.0.2.1;for=192.0.2.2", "none"),
            // What the client says stands to the left, whatever it looks like.
            ("for=6.6.6.6, for=192.0.2.1", "192.0.2.1"),
            ("for=\"6.6.6.6, for=192.0.2.1", "192.0.2.1"),
            ("for=\"6.6.6.6\\\", for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1,", "none"),
        ] {
            assert_eq!(behind(1, element), expected, "{element}");
        }
        assert_eq!(
            behind(2, "for=6.6.6.6, for=192.0.2.1, for=10.0.0.1"),
            "192.0.2.1"
        );
        assert_eq!(behind(2, "for=192.0.2.1"), "none");
        let lines: [&[u8]; 2] = [b"for=6.6.6.6, for=192.0.2.1", b"for=10.0.0.1"];
        let local = networks(&["127.0.0.1", "10.0.0.0/8"]);
        let found = of("forwarded", &AddressSource::Forwarded, local, &lines);
        assert_eq!(found, "192.0.2.1", "lines are one list");
        let elsewhere = networks(&["10.0.0.0/8"]);
        let found = of("forwarded", &AddressSource::Forwarded, elsewhere, &lines);
        assert_eq!(found, "127.0.0.1", "no proxy's word");
    }

    #[test]
    fn found_318_a_named_header_counts_if_a_proxy_sends_it() {
        let source = AddressSource::Header("CF-Connecting-IP".to_owned());
        let by = |trusted: Trusted, lines: &[&'static [u8]]| {
            of("cf-connecting-ip", &source, trusted, lines)
        };
        let local = || networks(&["127.0.0.0/8"]);
        for trusted in [|| Trusted::Hops(1), || Trusted::Hops(2), local] {
            assert_eq!(by(trusted(), &[b"192.0.2.1"]), "192.0.2.1");
            assert_eq!(by(trusted(), &[b"[2001:db8::1]:80"]), "2001:db8::1");
            assert_eq!(by(trusted(), &[b"6.6.6.6, 192.0.2.1"]), "192.0.2.1");
            assert_eq!(by(trusted(), &[b"6.6.6.6", b"192.0.2.1"]), "192.0.2.1");
            for bad in [&b"unknown"[..], b"", b"_hidden", b"\xff", b"192.0.2"] {
                assert_eq!(by(trusted(), &[bad]), "none", "{bad:?}");
            }
        }
        // Nobody has spoken of the client: it is the proxy itself, if that is known.
        assert_eq!(by(local(), &[]), "127.0.0.1");
        assert_eq!(by(Trusted::Hops(1), &[]), "none");
        let elsewhere = networks(&["10.0.0.0/8"]);
        assert_eq!(by(elsewhere, &[b"6.6.6.6"]), "127.0.0.1", "no proxy's word");
    }

    #[test]
    fn found_318_a_source_that_is_of_no_use_is_refused() {
        let header = |name: &str| AddressSource::Header(name.to_owned());
        let one = TrustedProxies::Hops(1);
        let nobody = TrustedProxies::Networks(Vec::new());
        for (trusted, source, expected) in [
            (
                &one,
                header(""),
                "address_source: \"\" is no name of a header",
            ),
            (
                &one,
                header("a b"),
                "address_source: \"a b\" is no name of a header",
            ),
            (
                &nobody,
                header("a"),
                "address_source: there are no trusted_proxies",
            ),
            (
                &TrustedProxies::default(),
                AddressSource::ProxyProtocol,
                "address_source: there",
            ),
        ] {
            let error = Proxies::parse(trusted, &source).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(Proxies::parse(&nobody, &AddressSource::default()).is_ok());
    }

    #[test]
    fn row_016_proxies_are_known_by_their_networks() {
        let local = || networks(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(client(local(), &[]), "127.0.0.1", "the proxy itself");
        assert_eq!(client(local(), &[b"192.0.2.1"]), "192.0.2.1");
        let chain: &[u8] = b"1.1.1.1, 192.0.2.1, 2001:db8::7, 10.1.2.3";
        assert_eq!(
            client(local(), &[chain]),
            "192.0.2.1",
            "the first in no network"
        );
        assert_eq!(client(local(), &[b"10.0.0.1, 10.0.0.2"]), "10.0.0.1");
        assert_eq!(client(local(), &[b"192.0.2.1, x"]), "none");
        let elsewhere = networks(&["10.0.0.0/8"]);
        assert_eq!(
            client(elsewhere, &[b"192.0.2.1"]),
            "127.0.0.1",
            "no proxy's word"
        );
        assert_eq!(
            client(networks(&["0.0.0.0/0"]), &[b"192.0.2.1"]),
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
