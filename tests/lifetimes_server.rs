//! The end of a server: it sends its clients away, waits for methods that have begun, and leaves nothing running.

mod common;

use std::time::Duration;

use common::{Count, Gate, Running, eventually_within, runtime, talk};
use updraft::prelude::*;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::redis::RedisServer;
use updraft_test_support::transcript::Received;

/// A server with a method that waits, and a client that has called it and subscribed to something.
fn with_a_method_under_way(gate: &Gate, effects: &Count) -> (Running, Client) {
    let (waiting, counting) = (gate.clone(), effects.clone());
    let server = Running::start(
        Server::builder()
            .vent("tm", async |vent: Vent| vent.relay("c").await)
            .method("pay", move |_: Call| {
                let (gate, effects) = (waiting.clone(), counting.clone());
                async move {
                    gate.pass().await;
                    effects.add();
                    Ok::<(), Error>(())
                }
            }),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"pay","params":[]}
        "#,
    );
    gate.await_arrival(&server);
    (server, client)
}

fn assert_ended(server: &Running) {
    assert!(eventually_within(PATIENCE, || server.has_ended()));
    assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    assert!(Client::try_connect(server.url()).is_err());
}

#[test]
fn a_shutdown_sends_clients_away_and_waits_for_methods() {
    let (gate, effects) = (Gate::new(), Count::default());
    let (server, mut client) = with_a_method_under_way(&gate, &effects);
    let shutdown = server.begin_shutdown(Duration::from_secs(60));
    client.expect_close(1001, "Going away");
    drop(client);
    assert!(eventually_within(PATIENCE, || server.stats().connections == 0));
    assert!(!shutdown.is_finished() && !server.has_ended());
    gate.open(1);
    server.wait(shutdown).unwrap();
    effects.becomes(1);
    assert_ended(&server);
}

#[test]
fn a_method_under_way_is_counted_during_a_shutdown() {
    let (gate, effects) = (Gate::new(), Count::default());
    let (server, mut client) = with_a_method_under_way(&gate, &effects);
    let shutdown = server.begin_shutdown(Duration::from_secs(60));
    client.expect_close(1001, "Going away");
    drop(client);
    assert!(eventually_within(PATIENCE, || server.stats().connections == 0));
    // The shards end after their last client.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.stats().tasks, 1);
    gate.open(1);
    server.wait(shutdown).unwrap();
    assert_ended(&server);
}

#[test]
fn a_shutdown_waits_for_the_callbacks_of_its_clients() {
    let called = Count::default();
    let slow = Duration::from_millis(100);
    let counting = called.clone();
    let server = Running::start(Server::builder().publish("tm", move |tm: Subscription| {
        let (stopped, closed) = (counting.clone(), counting.clone());
        tm.on_stop(move || stopped.add());
        tm.connection().on_close(move || {
            std::thread::sleep(slow);
            closed.add();
        });
        async { Ok::<(), Error>(()) }
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    let shutdown = server.begin_shutdown(Duration::from_secs(60));
    client.expect_close(1001, "Going away");
    // Its connection has not ended before it agrees.
    std::thread::sleep(slow);
    drop(client);
    server.wait(shutdown).unwrap();
    assert_eq!(called.get(), 2);
    assert_ended(&server);
}

#[test]
fn a_shutdown_waits_no_longer_than_its_deadline() {
    let (gate, effects) = (Gate::new(), Count::default());
    let (server, client) = with_a_method_under_way(&gate, &effects);
    server.wait(server.handle().shutdown(Duration::from_millis(100)));
    assert!(eventually_within(PATIENCE, || server.has_ended()));
    effects.becomes(0);
    gate.open(1);
    effects.becomes(1);
    drop(client);
    assert_ended(&server);
}

#[test]
fn a_server_whose_future_is_dropped_has_stopped() {
    let (gate, effects) = (Gate::new(), Count::default());
    let (server, mut client) = with_a_method_under_way(&gate, &effects);
    server.drop_serve();
    match client.receive(PATIENCE) {
        Some(Received::Other(_)) => {}
        got => panic!("expected the end of the connection, got {got:?}"),
    }
    // The method is not dropped with it.
    gate.open(1);
    effects.becomes(1);
    assert_ended(&server);
}

#[test]
fn a_server_that_is_dropped_before_it_serves_has_stopped() {
    let redis = RedisServer::start();
    let runtime = runtime();
    for is_future in [false, true] {
        let bound = runtime.block_on(async {
            let bus = Redis::connect(&redis.url()).await.unwrap();
            Server::builder()
                .bus(bus)
                .bind("127.0.0.1:0")
                .await
                .unwrap()
        });
        let handle = bound.handle();
        assert!(eventually_within(PATIENCE, || !handle.stats().bus_is_away));
        if is_future {
            drop(bound.serve());
        } else {
            drop(bound);
        }
        assert!(eventually_within(PATIENCE, || handle.stats().bus_is_away));
    }
}
