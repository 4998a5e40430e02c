//! Requests of which one end has gone, or that this server does not outlive.

use std::io::{BufReader, Read, Write};
use std::thread;
use std::time::Duration;

use updraft_test_support::client::PATIENCE;
use updraft_test_support::eventually;

use super::{HANDSHAKE, SWITCH, answer_head, exchange, exchange_open, gate, pass, plain};
use crate::web::{App, hear, say};

#[test]
fn gateway_078_the_apps_connection_ends_with_its_client() {
    let (gone, ended) = gate();
    let app = App::start(move |head, peer| {
        if head.starts_with("GET /half") {
            say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\nhalf");
        }
        drop(peer.read_to_end(&mut Vec::new()));
        gone.send(()).unwrap();
        false
    });
    let server = plain(&app);
    let waiting = exchange_open(&server, "GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("asked", || app.heads().len() == 1);
    drop(waiting);
    pass(&ended);
    let mut half = BufReader::new(exchange_open(
        &server,
        "GET /half HTTP/1.1\r\nHost: a\r\n\r\n",
    ));
    answer_head(&mut half);
    drop(half);
    pass(&ended);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    let upload = exchange_open(&server, upload);
    eventually("asked", || app.heads().len() == 3);
    drop(upload);
    pass(&ended);
}

#[test]
fn gateway_079_an_answer_that_breaks_off_does_not_end_cleanly() {
    let app = App::start(|_, peer| {
        say(
            peer,
            "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        );
        false
    });
    let server = plain(&app);
    let chunked = exchange(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!chunked.contains("0\r\n\r\n"), "{chunked}");
    // HTTP/1.0 knows no other end of an answer than that of the connection: it is reset.
    let mut socket = exchange_open(&server, "GET / HTTP/1.0\r\n\r\n");
    let ended = socket.read_to_end(&mut Vec::new());
    assert!(ended.is_err(), "{ended:?}");
    eventually("counted", || server.stats().failed_requests == 2);
}

#[test]
fn gateway_080_a_server_that_shuts_down_finishes_what_it_passes() {
    let (open, gate) = gate();
    let app = App::start(move |head, peer| {
        if head.starts_with("GET /__meteor__hmr__") {
            say(peer, SWITCH);
            drop(peer.read_to_end(&mut Vec::new()));
            return false;
        }
        assert_eq!(hear(peer, 8), "halfhalf");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 8\r\n\r\nhalf");
        pass(&gate);
        say(peer, "half")
    });
    let server = plain(&app);
    let mut tunnel = BufReader::new(exchange_open(&server, HANDSHAKE));
    answer_head(&mut tunnel);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf";
    let mut socket = BufReader::new(exchange_open(&server, upload));
    eventually("asked", || app.heads().len() == 2);
    let shutdown = server.begin_shutdown(2 * PATIENCE);
    assert_eq!(
        tunnel.read(&mut [0; 1]).unwrap(),
        0,
        "a tunnel ends at once"
    );
    // Longer than the rest of a request for this server itself is waited for.
    thread::sleep(Duration::from_millis(1500));
    socket.get_mut().write_all(b"half").unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    open.send(()).unwrap();
    let mut body = String::new();
    socket.read_to_string(&mut body).unwrap();
    assert_eq!(body, "halfhalf");
    server.wait(shutdown).unwrap();
}
