//! Which requests are passed, and where to.

use std::thread;

use updraft::{Meteor, Server};
use updraft_test_support::eventually;
use warp::Filter;

use super::{exchange, gate, http, in_front_of, pass, plain};
use crate::common::Running;
use crate::web::{App, say};

#[test]
fn gateway_060_a_request_and_its_answer_pass_piece_by_piece() {
    let (open, gate) = gate();
    let app = App::start(move |_, peer| {
        say(
            peer,
            "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        );
        pass(&gate);
        say(peer, "3\r\ntwo\r\n0\r\n\r\n")
    });
    let server = plain(&app);
    let mut http = http(&server);
    let mut answer = http.ask("GET /page?q=1", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.piece().as_deref(), Some("one"));
    open.send(()).unwrap();
    assert_eq!(answer.piece().as_deref(), Some("two"));
    assert_eq!(answer.piece(), None);
    assert!(app.head().starts_with("GET /page?q=1 HTTP/1.1\r\n"));
    eventually("counted", || server.stats().passed_requests == 1);
}

#[test]
fn gateway_061_where_a_request_goes_is_not_the_clients_to_say() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
    let elsewhere = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nevil");
    let server = plain(&app);
    let target = format!(
        "http://127.0.0.1:{}/a%2Fb/../c?x=%00&y=/?",
        elsewhere.port()
    );
    let answer = exchange(
        &server,
        &format!("GET {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"),
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let head = app.head();
    assert!(
        head.starts_with("GET /a%2Fb/../c?x=%00&y=/? HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: app.example\r\n"), "{head}");
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn gateway_062_connect_and_trace_are_not_passed() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let server = plain(&app);
    for line in ["CONNECT app.example:80", "TRACE /"] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: app.example:80\r\nConnection: close\r\n\r\n");
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD, POST"), "{answer}");
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn gateway_077_a_request_is_sent_once_more_when_a_waiting_connection_has_ended() {
    let app = App::start(|head, peer| {
        if head.contains("x-end") {
            return false;
        }
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
            && !head.starts_with("GET /last")
    });
    let server = plain(&app);
    let mut http = http(&server);
    let mut status = |head: &str, headers: &[(&str, &str)], body: &str| {
        let answer = http.ask(head, headers, body);
        let status = answer.status;
        drop(answer.text());
        status
    };
    let end = [("X-End", "1")];
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(app.connections(), 1, "it is used again");
    assert_eq!(status("GET /", &end, ""), 502);
    assert_eq!(
        app.connections(),
        2,
        "tried on a fresh one, which ended too"
    );
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(app.connections(), 3);
    assert_eq!(status("POST /", &end, "body"), 502);
    assert_eq!(app.connections(), 3, "it may have been carried out");
    // One that ends while nobody asks is not used.
    assert_eq!(status("GET /last", &[], ""), 200);
    assert_eq!(status("POST /", &[], ""), 200);
    assert_eq!(app.connections(), 5);
    eventually("at rest", || server.is_at_rest());
}

#[test]
fn gateway_092_what_is_registered_here_comes_first_and_http_is_passed_only_when_said_so() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\napp");
    let hook = warp::service(warp::any().map(|| "here"));
    let server = in_front_of(&[app.port()], |builder| builder.route("/hook", hook));
    let mut http = http(&server);
    assert_eq!(http.body("GET /hook", ""), "here");
    assert_eq!(http.body("GET /hooks", ""), "app");
    assert!(http.body("GET /sockjs/info", "").contains("websocket"));
    let silent = Meteor::at(format!("http://127.0.0.1:{}", app.port()));
    let server = Running::start(Server::builder().meteor(silent));
    assert_eq!(super::http(&server).ask("GET /", &[], "").status, 404);
}

#[test]
fn gateway_093_many_requests_pass_at_once() {
    let app = App::start(|_, peer| {
        let body = "z".repeat(200_000);
        say(
            peer,
            &format!("HTTP/1.1 200 Fine\r\nContent-Length: 200000\r\n\r\n{body}"),
        )
    });
    let server = plain(&app);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut http = http(&server);
                for _ in 0..20 {
                    assert_eq!(http.ask("GET /", &[], "").text().len(), 200_000);
                }
            });
        }
    });
    assert!(app.connections() <= 40, "{}", app.connections());
    eventually("all are counted", || server.stats().passed_requests == 160);
}
