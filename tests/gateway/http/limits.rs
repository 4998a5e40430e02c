//! Requests and answers that make no progress, or are too long.

use std::io::{BufReader, Read};
use std::time::Duration;

use updraft::Builder;
use updraft_test_support::eventually;

use super::{
    PIECE, PIECES, answer_head, exchange, exchange_open, flood, http, in_front_of, plain, settles,
};
use crate::web::{App, say};

fn impatient(builder: Builder) -> Builder {
    builder.configure(|settings| {
        settings.gateway.http.progress_timeout = Duration::from_millis(800);
    })
}

#[test]
fn gateway_070_what_makes_no_progress_is_cut() {
    let app = App::start(|head, peer| {
        if head.starts_with("GET /half") {
            say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\nhalf");
        }
        // Until the other end is gone.
        drop(peer.read_to_end(&mut Vec::new()));
        false
    });
    let server = in_front_of(&[app.port()], impatient);
    let mut silent = http(&server);
    let answer = silent.ask("GET /silent", &[], "");
    assert_eq!(answer.status, 504);
    let page = answer.text();
    assert_eq!(
        page,
        "The app behind this server does not answer (server 1 of 1).\n"
    );
    let half = exchange(&server, "GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(half.ends_with("\r\n\r\nhalf"), "{half}");
    let mut stuck = BufReader::new(exchange_open(
        &server,
        "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ));
    let head = answer_head(&mut stuck);
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert_eq!(server.stats().failed_requests, 3);
}

#[test]
fn gateway_071_a_client_that_takes_nothing_is_cut() {
    let (app, written) = flood();
    let server = in_front_of(&[app.port()], impatient);
    let mut socket = exchange_open(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(settles(&written) < PIECES);
    eventually("cut", || server.stats().failed_requests == 1);
    let mut body = Vec::new();
    let ended = socket.read_to_end(&mut body);
    assert!(ended.is_err() || body.len() < PIECE * PIECES);
}

#[test]
fn gateway_072_what_is_passed_may_have_longer_headers() {
    let app = App::start(|_, peer| {
        let long = "y".repeat(24 * 1024);
        say(
            peer,
            &format!("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nX-Long: {long}\r\n\r\n"),
        )
    });
    let server = plain(&app);
    let status = |path: &str, length: usize| {
        let long = "x".repeat(length);
        let answer = exchange(
            &server,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 X-Long: {long}\r\n\r\n"
            ),
        );
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!(status("/", 24 * 1024), "200");
    assert_eq!(status("/sockjs/info", 8 * 1024), "200");
    assert_eq!(status("/sockjs/info", 24 * 1024), "431");
    assert_eq!(status("/", 40 * 1024), "431");
}
