//! The end of a server: it sends its clients away, waits for methods that have begun, and leaves
//! nothing running.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Count, Gate, Running, eventually_within, received, runtime, talk};
use tokio::sync::oneshot;
use updraft::prelude::*;
use updraft::warp::{self, Filter};
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
                    Ok(())
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
        async { Ok(()) }
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

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(1000 * 24 * 3600);

#[test]
fn found_109_a_server_serves_until_a_future_resolves() {
    let runtime = runtime();
    let bound = runtime.block_on(Server::builder().bind("127.0.0.1:0"));
    let bound = bound.unwrap();
    let (handle, url) = (
        bound.handle(),
        format!("ws://{}/websocket", bound.local_addr()),
    );
    let (end, ended) = oneshot::channel::<()>();
    let serving = runtime.spawn(bound.serve_until(async { drop(ended.await) }));
    let (mut client, _) = Client::ddp_connect(&url);
    assert!(!handle.is_draining());
    end.send(()).unwrap();
    client.expect_close(1001, "Going away");
    assert!(handle.is_draining());
    drop(client);
    runtime.block_on(serving).unwrap().unwrap();
    assert!(Client::try_connect(&url).is_err());
}

#[test]
fn found_109_a_program_that_sees_to_signals_can_still_shut_down() {
    let runtime = runtime();
    let bound = runtime.block_on(
        Server::builder()
            .configure(|settings| settings.drain.signals = false)
            .bind("127.0.0.1:0"),
    );
    let bound = bound.unwrap();
    let handle = bound.handle();
    let serving = runtime.spawn(bound.serve());
    runtime.block_on(handle.shutdown(NEVER));
    runtime.block_on(serving).unwrap().unwrap();
}

#[test]
fn found_110_until_its_turn_comes_a_client_is_served_by_a_server_that_is_not_ready() {
    let server = Server::builder()
        .vent("tm", async |vent: Vent| vent.relay("c").await)
        .method("say", async |call: Call, text: String| {
            call.emit("c", text).await
        });
    let server = Running::start(server.configure(|settings| {
        settings.drain.spread = NEVER;
        settings.drain.within = NEVER;
    }));
    let mut clients = [(); 3].map(|()| server.client());
    let shutdown = server.begin_shutdown(NEVER);
    assert!(eventually_within(PATIENCE, || server
        .handle()
        .is_draining()));
    let refused = || Client::try_connect(server.url()).is_err();
    assert!(eventually_within(PATIENCE, refused));
    for client in &mut clients {
        talk(
            client,
            r#"
            -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
            <- {"msg":"ready","subs":["S1"]}
            -> {"msg":"method","id":"1","method":"say","params":["on"]}
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"on"}
            <- {"msg":"updated","methods":["1"]}
            <- {"msg":"result","id":"1"}
            "#,
        );
        client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
        client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
        assert!(received(client).is_empty());
    }
    // A shorter deadline is one for all.
    let hurried = server.begin_shutdown(Duration::from_secs(60));
    drop(hurried);
    for mut client in clients {
        client.expect_close(1001, "Going away");
    }
    server.wait(shutdown).unwrap();
    assert_ended(&server);
}

#[test]
fn found_109_a_method_emits_when_all_clients_have_gone() {
    let redis = RedisServer::start();
    let (gate, emitted) = (Gate::new(), Count::default());
    let (waiting, counting) = (gate.clone(), emitted.clone());
    let pay = move |call: Call| {
        let (gate, emitted) = (waiting.clone(), counting.clone());
        async move {
            gate.pass().await;
            call.emit("paid", 1).await?;
            emitted.add();
            Ok(())
        }
    };
    let server = Running::over(&redis, Server::builder().method("pay", pay));
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"pay","params":[]}"#);
    gate.await_arrival(&server);
    let shutdown = server.begin_shutdown(NEVER);
    client.expect_close(1001, "Going away");
    drop(client);
    assert!(eventually_within(PATIENCE, || server.stats().connections == 0));
    gate.open(1);
    server.wait(shutdown).unwrap();
    emitted.becomes(1);
    assert_ended(&server);
}

#[test]
fn found_113_half_a_request_is_not_waited_for() {
    let gate = Gate::new();
    let asked = gate.clone();
    let hook = warp::path("hook")
        .map(move || asked.arrive())
        .untuple_one()
        .and(warp::body::bytes())
        .map(|_| "all of it");
    let server = Server::builder()
        .route("/", warp::service(hook))
        .configure(|settings| {
            settings.http.header_timeout = Duration::ZERO;
            settings.http.body_bytes = 1024;
            settings.http.body_progress_timeout = NEVER;
        });
    let server = Running::start(server);
    let address = server.url().trim_start_matches("ws://");
    let address = address.trim_end_matches("/websocket");
    let send = |text: &str| {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(text.as_bytes()).unwrap();
        socket
    };
    let mut session = send("POST /sockjs/000/abcdefgh/xhr HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut opened = [0; 12];
    session.read_exact(&mut opened).unwrap();
    let half = "HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[";
    let mut sockets = [
        send("GET /hook HTTP/1.1\r\nHost: loc"),
        send(&format!("POST /hook {half}")),
        send(&format!("POST /sockjs/000/abcdefgh/xhr_send {half}")),
    ];
    gate.await_arrival(&server);
    // The others are read at about the same time.
    std::thread::sleep(Duration::from_millis(100));
    let shutdown = server.begin_shutdown(NEVER);
    server.wait(shutdown).unwrap();
    for socket in &mut sockets {
        let mut answer = Vec::new();
        // An answer or none, and the end.
        drop(socket.read_to_end(&mut answer));
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    assert_ended(&server);
}

#[test]
fn found_113_what_was_asked_for_is_answered_however_long_that_takes() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let slow = warp::path("slow").then(move || {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            "done"
        }
    });
    let server = Running::start(Server::builder().route("/", warp::service(slow)));
    let address = server.url().trim_start_matches("ws://");
    let mut socket = TcpStream::connect(address.trim_end_matches("/websocket")).unwrap();
    let request = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).unwrap();
    gate.await_arrival(&server);
    let shutdown = server.begin_shutdown(NEVER);
    // Longer than half a request has.
    std::thread::sleep(Duration::from_millis(1_500));
    gate.open(1);
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    server.wait(shutdown).unwrap();
    assert_ended(&server);
}

#[test]
fn found_113_a_client_that_does_not_answer_is_not_waited_for() {
    let server = Running::start(
        Server::builder()
            .configure(|settings| settings.clients.close_timeout = Duration::from_secs(1)),
    );
    // It never reads, so it does not answer the close.
    let _client = server.client();
    server.wait(server.handle().shutdown(NEVER));
    assert_ended(&server);
}
