//! WebSockets that are not DDP's.

use std::io::{BufReader, Read, Write};

use updraft_test_support::eventually;

use super::{HANDSHAKE, SWITCH, answer_head, exchange_open, plain, socket};
use crate::web::{App, hear, say};

#[test]
fn gateway_065_other_websockets_are_tunnelled_until_either_end_is_done() {
    let app = App::start(|head, peer| {
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: Upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: dGhl"), "{head}");
        // Bytes right behind the handshake pass too.
        say(peer, &format!("{SWITCH}early"));
        while hear(peer, 4) != "bye!" {
            say(peer, "echo");
        }
        false
    });
    let server = plain(&app);
    let mut socket = BufReader::new(socket(&server));
    socket.get_mut().write_all(HANDSHAKE.as_bytes()).unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLM"), "{head}");
    let mut early = [0; 5];
    socket.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    for _ in 0..3 {
        socket.get_mut().write_all(b"ping").unwrap();
        let mut echo = [0; 4];
        socket.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"echo");
    }
    assert_eq!(server.stats().tunnels, 1);
    socket.get_mut().write_all(b"bye!").unwrap();
    assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "the app has closed");
    eventually("the tunnel ends", || server.stats().tunnels == 0);
    // And from the other end.
    let second = exchange_open(&server, HANDSHAKE);
    eventually("a tunnel", || server.stats().tunnels == 1);
    drop(second);
    eventually("the tunnel ends", || server.stats().tunnels == 0);
    // The origin is the app's to judge: only DDP's paths are judged here.
    assert_eq!(server.stats().refused_origins, 0);
}

#[test]
fn gateway_066_an_app_may_refuse_a_websocket_and_may_not_switch_unasked() {
    let refusing = App::saying("HTTP/1.1 404 None\r\nContent-Length: 4\r\n\r\nnone");
    let server = plain(&refusing);
    let mut socket = BufReader::new(exchange_open(&server, HANDSHAKE));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let switching = App::saying(SWITCH);
    let server = plain(&switching);
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut socket = BufReader::new(exchange_open(&server, asked));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(!switching.head().contains("upgrade"));
}
