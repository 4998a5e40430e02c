//! How a session ends because the app wants it, or is gone.

use std::time::Duration;

use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::transcript::Received;

use crate::app::App;
use crate::common::{Count, talk};
use crate::world::{bare, both, fixture, in_front_of};

#[test]
fn gateway_026_a_close_frame_of_the_app_is_the_clients() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    for (code, reason) in [(1000, "Normal closure"), (4001, "a reason of its own")] {
        let (mut client, mut there) = both(&server, &app);
        there.says(r#"{"msg":"ready","subs":["last"]}"#);
        there.closes(code, reason);
        client.expect_text(r#"{"msg":"ready","subs":["last"]}"#);
        client.expect_close(code, reason);
    }
}

#[test]
fn gateway_026_a_token_that_is_revoked_closes_its_client() {
    let app = fixture();
    let server = in_front_of(app.port(), bare);
    let mut client = server.client();
    let mut other = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"tokA"}]}"#);
    while !client.expect_any_text().starts_with(r#"{"msg":"result""#) {}
    other.send_text(
        r#"{"msg":"method","id":"1","method":"pullToken","params":["alice0000000000aa","tokA"]}"#,
    );
    client.expect_close(1000, "Normal closure");
}

#[test]
fn gateway_027_when_the_app_is_gone_its_clients_are_closed_and_nothing_more_is_read() {
    let stopped = Count::default();
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        let stopped = stopped.clone();
        builder
            .configure(|settings| settings.gateway.close_spread = Duration::from_millis(500))
            .publish("here", move |mine: Subscription| {
                let stopped = stopped.clone();
                async move {
                    mine.on_stop(move || stopped.add());
                    Ok(())
                }
            })
    });
    let (mut client, there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s","name":"here"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    there.resets();
    stopped.becomes(1);
    client.send_text(r#"{"msg":"ping"}"#);
    client.expect_close(1012, "Service restart");
    assert_eq!(server.stats().lost_upstreams, 1);
    // An end without a close frame is no better.
    let (mut client, there) = both(&server, &app);
    drop(there);
    client.expect_close(1012, "Service restart");
}

#[test]
fn gateway_052_all_clients_are_back_after_a_restart_and_none_is_closed_twice() {
    const CLIENTS: usize = 2_000;
    // Each is three sockets of this process, and one of the app's.
    let files = updraft::raise_file_limit().expect("more files may be opened");
    assert!(files > 4 * CLIENTS as u64, "{files}");
    let mut first = fixture();
    let port = first.port();
    let server = in_front_of(port, |builder| {
        builder.configure(|settings| {
            settings.gateway.close_spread = Duration::from_millis(500);
            // By default 200, which would take the test half a minute.
            settings.gateway.connects_per_second = 2_000;
            // And the app starts slowly on a busy machine.
            settings.gateway.away_timeout = 6 * PATIENCE;
            settings.gateway.queue_timeout = 6 * PATIENCE;
        })
    });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    first.process().kill();
    drop(first);
    for client in &mut clients {
        let restart = Received::Close {
            code: 1012,
            reason: "Service restart".into(),
        };
        assert_eq!(next_but_pings(client), Some(restart));
    }
    // They come back before the app does.
    let mut clients: Vec<Client> = clients
        .drain(..)
        .map(|_| {
            let mut client = Client::connect(server.url());
            client.send_text(CONNECT);
            client
        })
        .collect();
    let number = port.to_string();
    let _second = Example::start("fixture", &[("PORT", &number)]);
    for client in &mut clients {
        match next_but_pings(client) {
            Some(Received::Text(text)) if text.starts_with(r#"{"msg":"connected""#) => {}
            other => panic!("not connected: {other:?}"),
        }
    }
    assert_eq!(server.stats().upstreams, CLIENTS);
    assert_eq!(server.stats().lost_upstreams, CLIENTS as u64);
    clients.into_iter().for_each(Client::close);
    eventually("all have left", || server.stats().upstreams == 0);
}

fn next_but_pings(client: &mut Client) -> Option<Received> {
    loop {
        match client.receive(3 * PATIENCE) {
            Some(Received::Text(text)) if text == r#"{"msg":"ping"}"# => {
                client.send_text(r#"{"msg":"pong"}"#);
            }
            other => return other,
        }
    }
}
