//! Several processes of the app, and the cookie that keeps a browser at one of them.

use updraft::TrustedProxies;
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::eventually;
use updraft_test_support::process::free_port;

use super::{http, in_front_of, plain};
use crate::web::{App, hear, say};

#[test]
fn gateway_075_a_page_says_which_server_is_not_there_and_no_address() {
    let port = free_port();
    let server = in_front_of(&[port], |builder| builder);
    let mut http = http(&server);
    let answer = http.ask("GET /", &[], "");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let page = answer.text();
    assert_eq!(
        page,
        "The app behind this server is not there (server 1 of 1).\n"
    );
    let stats = server.stats();
    assert_eq!((stats.failed_requests, stats.meteor_servers_away), (1, 1));
    // One that breaks off, or speaks no HTTP.
    for answer in ["", "SSH-2.0-x\r\n\r\n"] {
        let app = App::start(move |_, peer| {
            say(peer, answer);
            false
        });
        let server = plain(&app);
        let mut http = super::http(&server);
        assert_eq!(http.ask("POST /", &[], "body").status, 502, "{answer:?}");
    }
}

/// Which of two apps has answered.
fn numbered(number: &'static str) -> App {
    App::start(move |head, peer| {
        if head.starts_with("GET /websocket") {
            return false;
        }
        let kind = match head.starts_with("GET /app.js") {
            true => "application/javascript",
            false => "text/html; charset=utf-8",
        };
        say(
            peer,
            &format!(
                "HTTP/1.1 200 Fine\r\nContent-Type: {kind}\r\nContent-Length: 1\r\n\r\n{number}"
            ),
        )
    })
}

#[test]
fn gateway_090_a_browser_keeps_its_server_over_http_and_ddp() {
    let apps = [numbered("0"), numbered("1")];
    let ports = apps.each_ref().map(App::port);
    let server = in_front_of(&ports, |builder| {
        builder.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
    });
    let from = |address: &'static str| ("X-Forwarded-For", address);
    let mut http = http(&server);
    // Two addresses that go to different servers.
    let addresses = [
        "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6",
    ];
    let mut first = None;
    let mut other = None;
    for address in addresses {
        let answer = http.ask("GET /", &[from(address)], "");
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let app = answer.text();
        match &first {
            None => first = Some((address, app, cookie)),
            Some((_, known, _)) if *known != app => other = Some((address, app, cookie)),
            Some(_) => {}
        }
    }
    let ((address, app, cookie), (elsewhere, ..)) = (first.unwrap(), other.unwrap());
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(
        http.ask("GET /", &[from(address)], "").text(),
        app,
        "by its address"
    );
    let kept = http.ask("GET /", &[from(elsewhere), ("Cookie", pair)], "");
    assert_eq!(kept.header("set-cookie"), None, "it has one");
    assert_eq!(kept.text(), app, "wherever it is");
    let script = http.ask("GET /app.js", &[from(elsewhere)], "");
    assert_eq!(script.header("set-cookie"), None, "scripts set none");
    drop(script.text());
    // DDP goes to the same server.
    let known = apps[usize::from(app == "1")].heads().len();
    let headers = [from(elsewhere), ("Cookie", pair)];
    let mut client = Client::connect_with(server.url(), &headers).unwrap();
    client.send_text(CONNECT);
    eventually("asked", || {
        let heads = apps[usize::from(app == "1")].heads();
        let is_asked = |head: &String| head.starts_with("GET /websocket");
        heads.iter().skip(known).any(is_asked)
    });
}

#[test]
fn gateway_091_a_server_that_refuses_is_passed_over() {
    let app = App::start(|_, peer| {
        assert_eq!(hear(peer, 4), "body");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let away = free_port();
    let server = in_front_of(&[away, app.port()], |builder| {
        builder.health_checks(updraft::HealthChecks::new())
    });
    let mut http = http(&server);
    for _ in 0..3 {
        // A body that was not begun to be sent goes to the next one.
        let answer = http.ask("POST /", &[], "body");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(http.ask("GET /readyz", &[], "").text(), "ok\n");
    let stats = server.stats();
    assert!(
        stats.meteor_servers_away <= 1 && stats.failed_requests == 0,
        "{stats:?}"
    );
    let nobody = in_front_of(&[free_port(), free_port()], |builder| {
        builder.health_checks(updraft::HealthChecks::new())
    });
    let mut http = super::http(&nobody);
    let answer = http.ask("GET /", &[], "");
    assert_eq!(answer.status, 502);
    drop(answer.text());
    assert_eq!(nobody.stats().meteor_servers_away, 2);
    let ready = http.ask("GET /readyz", &[], "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.text(), "Meteor is away\n");
}
