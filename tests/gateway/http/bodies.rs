//! The bodies of requests and answers.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use updraft_test_support::client::PATIENCE;

use super::{
    PIECE, PIECES, answer_head, chunked, exchange, exchange_open, flood, gate, pass, plain,
    settles, socket,
};
use crate::web::{App, hear, say};

#[test]
fn gateway_064_a_body_has_one_end_for_the_app_too() {
    let app = App::start(|head, peer| {
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(chunked(peer), "smuggled");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    // A length that would end elsewhere is not passed on, whichever header comes first. What
    // stands behind the body is no request: the connection ends.
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n\
             GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    for line in [
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 3\r\nContent-Length: 4",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nabc");
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(app.heads().len(), 2);
}

#[test]
fn gateway_067_an_upload_passes_as_the_app_takes_it() {
    let (open, gate) = gate();
    let app = App::start(move |head, peer| {
        assert!(head.contains("content-encoding: gzip"), "{head}");
        if head.contains("content-length") {
            hear(peer, PIECE);
            pass(&gate);
            hear(peer, PIECE * (PIECES - 1));
        } else {
            assert_eq!(chunked(peer), "chunk");
        }
        say(peer, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    let mut socket = socket(&server);
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let length = PIECE * PIECES;
    let head = format!(
        "PUT /files HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; PIECE];
    // The app takes one piece: the rest does not fit into what lies between.
    let mut sent = 0;
    while let Ok(count) = socket.write(&piece[..PIECE.min(length - sent)]) {
        sent += count;
        assert!(sent < length, "all of it is held somewhere");
    }
    open.send(()).unwrap();
    socket.set_write_timeout(Some(2 * PATIENCE)).unwrap();
    while sent < length {
        sent += socket.write(&piece[..PIECE.min(length - sent)]).unwrap();
    }
    let mut socket = BufReader::new(socket);
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n";
    socket.get_mut().write_all(chunked.as_bytes()).unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    assert_eq!(app.connections(), 1, "it is used again");
}

#[test]
fn gateway_068_an_answer_waits_for_a_slow_client_at_the_app() {
    let (app, written) = flood();
    let server = plain(&app);
    let mut socket = exchange_open(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let pieces = settles(&written);
    assert!(pieces < PIECES, "all of it is held somewhere");
    let mut body = Vec::new();
    socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let mut buffer = vec![0; PIECE];
    while body.len() < PIECE * PIECES {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "cut at {}", body.len());
        body.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn gateway_069_a_body_is_asked_for_when_the_app_asks() {
    let app = App::start(|head, peer| {
        assert!(head.contains("expect: 100-continue"), "{head}");
        if head.starts_with("POST /refused") {
            return say(peer, "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
        }
        say(peer, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(hear(peer, 4), "body");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let mut socket = BufReader::new(exchange_open(&server, &request("/taken")));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    socket.get_mut().write_all(b"body").unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let answer = exchange(&server, &request("/refused"));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
