//! How connections to the app are opened: in order, not too many at once, and elsewhere where one
//! refuses.

use std::time::{Duration, Instant};

use updraft::{Builder, HealthChecks, Meteor, Server};
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::process::free_port;

use crate::app::{App, SESSION};
use crate::common::Running;
use crate::world::{in_front_of, url};

fn waiting(server: &Running) -> Client {
    let mut client = Client::connect(server.url());
    client.send_text(CONNECT);
    client
}

fn connected() -> String {
    format!(r#"{{"msg":"connected","session":"{SESSION}"}}"#)
}

#[test]
fn gateway_029_clients_wait_in_their_order_until_the_app_is_there() {
    let port = free_port();
    let server = in_front_of(port, |builder| {
        builder.configure(|settings| settings.gateway.connects = 1)
    });
    let mut clients = Vec::new();
    for count in 1..=3 {
        clients.push(waiting(&server));
        eventually("it waits", || server.stats().connections == count);
    }
    eventually("the app was asked", || server.stats().refused_upstreams > 0);
    let app = App::listen_on(port);
    for (number, client) in clients.iter_mut().enumerate() {
        let session = format!("{SESSION}{number}");
        let _there = app.accept_as(&session);
        client.expect_text(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
    }
}

#[test]
fn gateway_030_clients_are_sent_away_when_the_app_stays_away() {
    let server = in_front_of(free_port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.away_timeout = Duration::from_millis(300);
            settings.gateway.left_out = Duration::from_millis(100);
        })
    });
    let mut first = waiting(&server);
    first.expect_silence(100);
    first.expect_close(1013, "Try again later");
    // One that comes back at once waits as long, so that it does not do so all the time.
    let mut second = waiting(&server);
    second.expect_silence(200);
    second.expect_close(1013, "Try again later");
}

#[test]
fn gateway_030_a_client_waits_only_so_long_for_its_turn() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.connects = 1;
            settings.gateway.queue_timeout = Duration::from_millis(300);
            settings.gateway.away_timeout = Duration::from_millis(300);
        })
    });
    let mut first = waiting(&server);
    let _silent = app.accept_tcp();
    let mut second = waiting(&server);
    first.expect_close(1013, "Try again later");
    second.expect_close(1013, "Try again later");
}

#[test]
fn gateway_031_032_who_refuses_is_passed_over() {
    for status in ["301 Moved", "502 Bad Gateway", "404 Not Found", ""] {
        let (bad, good) = (App::listen(), App::listen());
        let (bad_port, good_port) = (bad.port(), good.port());
        let bad = (!status.is_empty()).then_some(bad);
        let meteor = Meteor::at(url(bad_port)).and_at(url(good_port));
        let server = Running::start(Server::builder().meteor(meteor));
        std::thread::scope(|scope| {
            // By their address clients are sent to one of the two, and it may be the good one.
            let refusing = bad.as_ref();
            scope.spawn(move || {
                if let Some(bad) = refusing
                    && let Some(socket) = bad.try_accept(Duration::from_secs(1))
                {
                    App::answer(socket, status);
                }
            });
            let mut client = waiting(&server);
            let _there = good.accept();
            client.expect_text(&connected());
        });
    }
}

#[test]
fn gateway_033_an_app_that_does_not_answer_is_passed_over() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.connect_timeout = Duration::from_millis(200);
            settings.gateway.left_out = Duration::ZERO;
        })
    });
    let mut client = waiting(&server);
    // It never answers the handshake, then never answers `connect`.
    let _silent = app.accept_tcp();
    let _silent_too = app.shake_hands();
    let _there = app.accept();
    client.expect_text(&connected());
    assert_eq!(server.stats().refused_upstreams, 2);
}

#[test]
fn gateway_042_connections_are_opened_at_a_limited_rate() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.connects_per_second = 20;
            settings.gateway.connects = 2;
        })
    });
    #[expect(clippy::disallowed_methods, reason = "it takes at least so long")]
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..5).map(|_| waiting(&server)).collect();
    let first = app.accept_tcp();
    let second = app.accept_tcp();
    let third = app.try_accept(Duration::from_millis(150));
    assert!(third.is_none(), "two at once");
    drop((first, second));
    let mut ends = Vec::new();
    for _ in &clients {
        ends.push(app.accept());
    }
    // Seven were opened: those that were dropped were tried again.
    assert!(begin.elapsed() >= Duration::from_millis(6 * 50));
    for client in &mut clients {
        client.expect_text(&connected());
    }
}

#[test]
fn gateway_049_a_server_is_ready_while_an_app_is_there() {
    let port = free_port();
    let ready = |builder: Builder| builder.health_checks(HealthChecks::new());
    let server = in_front_of(port, ready);
    let status = || {
        let mut http = Http::connect(&server.address().to_string());
        http.ask("GET /readyz", &[], "").status
    };
    assert_eq!(status(), 200, "nobody has asked");
    let client = waiting(&server);
    eventually("it is not ready", || status() == 503);
    let app = App::listen_on(port);
    let _there = app.accept();
    eventually("it is ready", || status() == 200);
    drop(client);
}
