//! The PROXY protocol, versions 1 and 2: a header before everything else on a connection, in which
//! a proxy says who has connected to it. What it means is for the crate `proxy-header`; here
//! exactly its bytes are taken off.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What begins a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What begins one of version 1.
const WORD: &[u8] = b"PROXY ";

/// The bytes of the shortest one of version 1, which is `PROXY UNKNOWN` and the end of the line.
const SHORTEST: usize = 15;

/// The most bytes of a line of version 1.
const LONGEST_LINE: usize = 107;

/// The most bytes behind the fixed part of version 2: addresses, and what else proxies say, which
/// is not used.
const LONGEST_REST: u16 = 4096;

/// Reads the header of a connection. The client's address, unless the proxy speaks for itself or
/// does not know.
///
/// # Errors
///
/// It is no header, or the connection fails.
pub(super) async fn read_header(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>> {
    let mut beginning = [0; SHORTEST];
    socket.read_exact(&mut beginning).await?;
    let header = if beginning.starts_with(&SIGNATURE) {
        rest_of_version_2(socket, beginning.to_vec()).await?
    } else if beginning.starts_with(WORD) {
        rest_of_line(socket, beginning.to_vec()).await?
    } else {
        return Err(invalid("it does not begin as one"));
    };
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(&header, config) {
        Ok((parsed, length)) if length == header.len() => {
            Ok(parsed.proxied_address().map(|both| both.source))
        }
        _ => Err(invalid("it is malformed")),
    }
}

async fn rest_of_version_2(
    socket: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Vec<u8>> {
    let low = socket.read_u8().await?;
    let high = header.last().copied().unwrap_or_default();
    header.push(low);
    let length = u16::from_be_bytes([high, low]);
    if length > LONGEST_REST {
        return Err(invalid("it is too long"));
    }
    let mut rest = vec![0; length.into()];
    socket.read_exact(&mut rest).await?;
    header.append(&mut rest);
    Ok(header)
}

/// Byte by byte, for nobody knows where it ends, and what follows is the client's.
async fn rest_of_line(socket: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> Result<Vec<u8>> {
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE {
            return Err(invalid("its line has no end"));
        }
        line.push(socket.read_u8().await?);
    }
    Ok(line)
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection says of the client, in words, and what is left of it.
    async fn read(mut bytes: &[u8]) -> (String, &[u8]) {
        let said = match read_header(&mut bytes).await {
            Ok(Some(client)) => client.to_string(),
            Ok(None) => "nothing".to_owned(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => "cut".to_owned(),
            Err(error) => error.to_string(),
        };
        (said, bytes)
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn found_318_exactly_the_header_is_taken_off() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let with_more = [&v4[..], &[0x04, 0, 1, 0]].concat();
        let v6: Vec<u8> = [[0x20; 16], [0; 16]].concat();
        let v6 = [&v6[..], &[0, 1, 0, 2]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
                "192.0.2.1:4711",
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".to_vec(),
                "[2001:db8::1]:4711",
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), "nothing"),
            (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), "nothing"),
            (version_2(0x21, 0x11, &v4), "192.0.2.1:4711"),
            (version_2(0x21, 0x11, &with_more), "192.0.2.1:4711"),
            (
                version_2(0x21, 0x21, &v6),
                "[2020:2020:2020:2020:2020:2020:2020:2020]:1",
            ),
            // The proxy asks for itself: whether the server is well.
            (version_2(0x20, 0x00, &[]), "nothing"),
            (version_2(0x20, 0x11, &v4), "nothing"),
            // Over a Unix socket.
            (version_2(0x21, 0x31, &[0; 216]), "nothing"),
        ] {
            let bytes = [&header[..], b"GET /"].concat();
            let (said, rest) = read(&bytes).await;
            assert_eq!(
                (said.as_str(), rest),
                (expected, &b"GET /"[..]),
                "{header:?}"
            );
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]).await.0, "cut", "{end} of {header:?}");
            }
        }
    }

    #[tokio::test]
    async fn found_318_what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        let two = b"PROXY TCP4 192.0.2.1, 192.0.2.2 10.0.0.1 4711 80\r\n";
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"PROXYTCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 unknown 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
            two.to_vec(),
            long.into_bytes(),
            version_2(0x11, 0x11, &[0; 12]),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x21, 0x11, &[0; 11]),
            version_2(0x21, 0x21, &[0; 12]),
            version_2(0x21, 0x11, &[0; 5000]),
        ] {
            let (said, _) = read(&bytes).await;
            assert!(said.starts_with("it"), "{said}: {bytes:?}");
        }
    }
}
