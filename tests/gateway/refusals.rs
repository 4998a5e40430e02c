//! What a server that cannot be used costs, and whom: a refusal that concerns one client costs no
//! other, and a server that hangs costs a few.

use std::time::Duration;

use updraft::{Meteor, Server, TrustedProxies};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};

use crate::app::App;
use crate::common::Running;
use crate::world::{bare, both, in_front_of, url};

/// A text frame of a server.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    assert!(length < 126, "it is short");
    [&[0x80 | opcode, length], payload].concat()
}

#[test]
fn gateway_098_an_app_that_closes_a_session_at_once_has_refused_nobody() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let connected = r#"{"msg":"connected","session":"ShortLived"}"#;
    let close = frame(8, &[&4_003_u16.to_be_bytes()[..], b"banned"].concat());
    for (end, code, reason) in [
        (close, 4003, "banned"),
        (vec![0xff, 0xff], 1011, "The server behind is out of order"),
    ] {
        let mut client = Client::connect(server.url());
        client.send_text(CONNECT);
        let mut there = app.shake_hands();
        there.hears_any();
        // In one write, so that they are read together.
        let both = [frame(1, connected.as_bytes()), end].concat();
        there.writes(&both);
        client.expect_text(connected);
        client.expect_close(code, reason);
    }
    let stats = server.stats();
    assert_eq!((stats.refused_upstreams, stats.meteor_servers_away), (0, 0));
    both(&server, &app);
}

#[test]
fn gateway_100_an_app_that_does_not_let_one_client_in_serves_the_others() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        bare(builder).configure(|settings| {
            settings.gateway.away_timeout = Duration::from_millis(300);
        })
    });
    for status in ["403 Forbidden", "431 Request Header Fields Too Large"] {
        let mut client = Client::connect(server.url());
        client.send_text(CONNECT);
        App::answer(app.accept_tcp(), status);
        client.expect_silence(100);
        client.expect_close(1013, "Try again later");
    }
    let stats = server.stats();
    assert_eq!((stats.refused_upstreams, stats.meteor_servers_away), (2, 0));
    both(&server, &app);
}

#[test]
fn gateway_101_a_server_that_hangs_keeps_one_client_waiting_and_no_other() {
    let (hangs, works) = (App::listen(), App::listen());
    let meteor = Meteor::at(url(hangs.port())).and_at(url(works.port()));
    let server = Running::start(Server::builder().meteor(meteor).configure(|settings| {
        settings.gateway.connect_timeout = Duration::from_millis(500);
        settings.gateway.left_out = 100 * PATIENCE;
        settings.trusted_proxies = TrustedProxies::Hops(1);
    }));
    let mut ends = Vec::new();
    let mut connect_from = |last: usize| {
        let address = format!("127.0.0.{last}");
        let client = Client::connect_with(server.url(), &[("x-forwarded-for", &address)]);
        let mut client = client.expect("it is let in");
        client.send_text(CONNECT);
        ends.push(works.accept());
        client.expect_any_text();
    };
    // By its address one of them begins at the server that hangs, and finds that out.
    let mut last = 1;
    while server.stats().refused_upstreams == 0 {
        assert!(last < 100, "none begins there");
        connect_from(last);
        last += 1;
    }
    let _unanswered = hangs.accept_tcp();
    // Its port is open, but that does not count.
    assert!(hangs.try_accept(Duration::from_secs(2)).is_none());
    (1..last).for_each(connect_from);
    assert!(hangs.try_accept(Duration::ZERO).is_none());
    let stats = server.stats();
    assert_eq!((stats.refused_upstreams, stats.meteor_servers_away), (1, 1));
}
