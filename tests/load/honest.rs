//! Clients that do nothing wrong: they want much, or they are slow, or they are many. All of them
//! get what they want.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use updraft::prelude::*;
use updraft::{Builder, PublicationStrategy, SockJs, SockJsConnection};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::proxy::{Direction, Proxy};
use updraft_test_support::transcript::Received;
use updraft_test_support::transport::{Transport, Way};

use crate::common::{Gate, Running};

/// What a client asks of `flood`.
#[derive(Deserialize)]
struct Flood {
    count: u32,
    size: usize,
    #[serde(default)]
    flow: bool,
}

/// Many documents: as fast as they can be made, or no faster than the client takes them.
async fn flood(subscription: Subscription, Flood { count, size, flow }: Flood) -> Result<()> {
    for id in 0..count {
        // Of its own each, as from a database.
        subscription.added(
            "flood",
            id.to_string(),
            ejson!({ "text": "x".repeat(size) }),
        );
        if flow {
            subscription.flowing().await;
        }
    }
    Ok(())
}

fn flooding() -> Builder {
    Server::builder()
        .sockjs(SockJs::meteor().disconnect_delay(Duration::from_secs(2)))
        .publish("flood", flood)
        .publication_strategy("flood", PublicationStrategy::NoMergeNoHistory)
        .vent("relay", |vent: Vent, channel: String| async move {
            vent.relay(channel![channel]).await
        })
        .method(
            "big",
            |_: Call, size: usize| async move { Ok("x".repeat(size)) },
        )
        .method("login", |call: Call, user: String| async move {
            call.set_user_id(Some(user)).await
        })
}

/// A client for which the kernel holds little, so that it is seen what it takes.
fn narrow(server: &Running) -> Client {
    let address: std::net::SocketAddr = host(server.url()).parse().expect("an address");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a socket");
    socket.connect(&address.into()).expect("listens");
    let mut client = Client::over(socket.into(), server.url()).expect("a handshake");
    client.send_text(CONNECT);
    assert!(client.expect_any_text().contains("connected"));
    client
}

fn host(url: &str) -> &str {
    let host = url.strip_prefix("ws://").expect("a URL");
    host.strip_suffix("/websocket").expect("a URL")
}

fn sub_flood(id: &str, count: u32, size: usize, flow: bool) -> String {
    let params = format!(r#"{{"count":{count},"size":{size},"flow":{flow}}}"#);
    format!(r#"{{"msg":"sub","id":"{id}","name":"flood","params":[{params}]}}"#)
}

/// The next message that is not a ping.
fn next(client: &mut dyn Transport) -> String {
    loop {
        match client.receive(PATIENCE) {
            Some(Received::Text(text)) if text == r#"{"msg":"ping"}"# => {
                client.send_text(r#"{"msg":"pong"}"#).expect("sent");
            }
            Some(Received::Text(text)) => return text,
            other => panic!("not a message, but {other:?}"),
        }
    }
}

/// Takes the documents of a flood, in order, then `ready`.
fn take_flood(client: &mut dyn Transport, id: &str, count: u32) {
    for number in 0..count {
        let added = format!(r#"{{"msg":"added","collection":"flood","id":"{number}","#);
        let text = next(client);
        assert!(text.starts_with(&added), "{added} {text:.100}");
    }
    assert_eq!(
        next(client),
        format!(r#"{{"msg":"ready","subs":["{id}"]}}"#)
    );
}

/// A client, and what it gets of a flood, to its end.
fn flooded(url: &str, way: Way, count: u32, size: usize, flow: bool) {
    let mut client = way.connect(url).expect("listens");
    client.send_text(CONNECT).expect("sent");
    assert!(next(&mut *client).contains("connected"));
    client
        .send_text(&sub_flood("s", count, size, flow))
        .expect("sent");
    take_flood(&mut *client, "s", count);
    client.close();
}

#[test]
fn found_101_a_large_subscription_arrives_over_each_transport() {
    let server = Running::start(flooding());
    for way in Way::ALL {
        for flow in [false, true] {
            flooded(server.url(), way, 5_000, 2_000, flow);
        }
    }
    assert_eq!(server.stats().slow_clients, 0);
}

#[test]
#[ignore = "100 MB over each transport: run by cargo xtask soak"]
fn soak_found_101_a_subscription_of_100_mb() {
    let server = Running::start(flooding());
    for way in Way::ALL {
        flooded(server.url(), way, 50_000, 2_000, false);
    }
    assert_eq!(server.stats().slow_clients, 0);
}

/// Clients that all want more than there is memory for; the most that was queued while they got it.
fn many(server: &Running, clients: usize, count: u32, size: usize, flow: bool) -> usize {
    let url = server.url();
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(move || flooded(url, Way::Raw, count, size, flow)))
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            most.fetch_max(server.stats().queued_bytes, Ordering::Relaxed);
            sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(server.stats().slow_clients, 0);
    most.into_inner()
}

#[test]
fn found_101_when_memory_is_short_all_get_what_they_want_in_turns() {
    const LIMIT: usize = 2 << 20;
    let server =
        Running::start(flooding().configure(|settings| settings.memory_limit = Some(LIMIT)));
    // Each may have one more document made than there is room for.
    let most = many(&server, 20, 200, 10_000, true);
    assert!(most < LIMIT + LIMIT / 2, "{most}");
}

#[test]
fn found_101_when_memory_is_short_no_further_handler_begins() {
    const LIMIT: usize = 8 << 20;
    let server =
        Running::start(flooding().configure(|settings| settings.memory_limit = Some(LIMIT)));
    // 40 MB in all; each takes its 2 MB at once.
    let most = many(&server, 20, 200, 10_000, false);
    assert!(most < 2 * LIMIT, "{most}");
}

#[test]
#[ignore = "a gigabyte, twice: run by cargo xtask soak"]
fn soak_found_101_a_hundred_clients_want_ten_megabytes_each() {
    for (limit, flow) in [(64 << 20, true), (256 << 20, false)] {
        let server =
            Running::start(flooding().configure(|settings| settings.memory_limit = Some(limit)));
        let most = many(&server, 100, 1_000, 10_000, flow);
        println!("limit {limit}, flow {flow}: at most {most} bytes queued");
        assert!(most < 2 * limit, "{most}");
    }
}

#[test]
fn found_101_large_results_and_many_of_them_arrive() {
    let server = Running::start(flooding());
    let mut client = server.client();
    for id in 0..5 {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"{id}","method":"big","params":[700000]}}"#
        ));
    }
    for id in 0..5 {
        client.expect_text(&format!(r#"{{"msg":"updated","methods":["{id}"]}}"#));
        let result = client.expect_any_text();
        assert!(result.starts_with(&format!(r#"{{"msg":"result","id":"{id}","result":"x"#)));
        assert!(result.len() > 700_000);
    }
    client.close();
}

#[test]
fn found_101_a_burst_of_large_events_arrives() {
    let server = Running::start(flooding());
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"s","name":"relay","params":["vent.v","c"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    let large = "x".repeat(300_000);
    for number in 0..20 {
        server.emit("c", ejson!([number, large.as_str()]));
    }
    for number in 0..20 {
        let event = client.expect_any_text();
        assert!(event.contains(&format!(r#""event":[{number},"#)));
    }
    assert_eq!(server.stats().gaps, 0);
    client.close();
}

/// A publication that shows each user other documents, so many of 10 kB.
fn private(count: u32) -> Builder {
    let mine = move |subscription: Subscription| async move {
        let user = subscription.user_id();
        let text = user.as_deref().unwrap_or_default().repeat(10_000);
        for id in 0..count {
            subscription.added("mine", id.to_string(), ejson!({ "text": text.as_str() }));
        }
        Ok(())
    };
    flooding().publish("mine", mine).publish_universal(mine)
}

#[test]
fn found_101_a_large_difference_is_told_when_the_user_changes() {
    const COUNT: u32 = 300;
    let server = Running::start(private(COUNT));
    for way in Way::ALL {
        let mut client = way.connect(server.url()).expect("listens");
        client.send_text(CONNECT).expect("sent");
        assert!(next(&mut *client).contains("connected"));
        for _ in 0..COUNT {
            assert!(next(&mut *client).contains(r#""msg":"added""#));
        }
        client
            .send_text(r#"{"msg":"sub","id":"s","name":"mine"}"#)
            .expect("sent");
        assert_eq!(next(&mut *client), r#"{"msg":"ready","subs":["s"]}"#);
        for user in ["u", "v"] {
            let login =
                format!(r#"{{"msg":"method","id":"{user}","method":"login","params":["{user}"]}}"#);
            client.send_text(&login).expect("sent");
            for number in 0..COUNT {
                let changed = next(&mut *client);
                let id = format!(r#"{{"msg":"changed","collection":"mine","id":"{number}","#);
                assert!(changed.starts_with(&id), "{changed:.100}");
                assert!(changed.len() > 10_000);
            }
            assert_eq!(next(&mut *client), r#"{"msg":"ready","subs":["s"]}"#);
            assert_eq!(
                next(&mut *client),
                format!(r#"{{"msg":"updated","methods":["{user}"]}}"#)
            );
            assert_eq!(
                next(&mut *client),
                format!(r#"{{"msg":"result","id":"{user}"}}"#)
            );
        }
        client.close();
    }
}

#[test]
fn found_101_a_difference_is_told_as_fast_as_it_is_taken() {
    const COUNT: u32 = 2_000;
    let server = private(COUNT).configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.flow = 512 * 1024;
    });
    let server = Running::start(server);
    let mut client = narrow(&server);
    for _ in 0..COUNT {
        assert!(client.expect_any_text().contains(r#""msg":"added""#));
    }
    client.send_text(r#"{"msg":"method","id":"1","method":"login","params":["u"]}"#);
    eventually("the client is being told", || {
        server.stats().queued_bytes > 500_000
    });
    // It does not read, and so no more is made.
    sleep(Duration::from_millis(200));
    let queued = server.stats().queued_bytes;
    assert!(queued < 1 << 20, "{queued}");
    for number in 0..COUNT {
        let changed = client.expect_any_text();
        let id = format!(r#"{{"msg":"changed","collection":"mine","id":"{number}","#);
        assert!(changed.starts_with(&id));
    }
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(r#"{"msg":"result","id":"1"}"#);
    client.close();
}

/// Waits until more is to be sent than may begin a handler. What is counted may still be in the only
/// shard's inbox, into which it looks before it answers a ping, or be written yet.
fn until_much_waits(server: &Running) {
    let waiting = || server.stats().queued_bytes;
    let mut other = server.client();
    loop {
        eventually("much waits", || waiting() > 1 << 20);
        let before = waiting();
        for _ in 0..3 {
            other.send_text(r#"{"msg":"ping"}"#);
            assert_eq!(other.expect_any_text(), r#"{"msg":"pong"}"#);
        }
        if waiting() == before {
            return;
        }
    }
}

/// Waits until the only shard has read what clients have sent before, and what it has begun then
/// has run: another client's calls are behind that.
fn until_others_are_answered(server: &Running) {
    let mut other = server.client();
    for id in 0..3 {
        let call = format!(r#"{{"msg":"method","id":"{id}","method":"big","params":[1]}}"#);
        other.send_text(&call);
        other.expect_text(&format!(r#"{{"msg":"updated","methods":["{id}"]}}"#));
        other.expect_text(&format!(r#"{{"msg":"result","id":"{id}","result":"x"}}"#));
    }
    other.close();
}

#[test]
fn found_101_who_has_much_to_get_is_answered_and_can_end_it() {
    let gate = Gate::new();
    let passed = gate.clone();
    let server = flooding()
        .configure(|settings| {
            settings.listener.send_buffer = 16 * 1024;
            settings.shards = Some(NonZero::<usize>::MIN);
        })
        .method("late", move |_: Call| {
            passed.arrive();
            async { Ok(()) }
        });
    let server = Running::start(server);
    let mut client = narrow(&server);
    client.send_text(&sub_flood("s", 1_000, 10_000, true));
    until_much_waits(&server);
    client.send_text(r#"{"msg":"ping","id":"1"}"#);
    client.send_text(r#"{"msg":"method","id":"m","method":"late"}"#);
    client.send_text(r#"{"msg":"unsub","id":"s"}"#);
    eventually("the subscription ends", || {
        server.stats().subscriptions == 0
    });
    let mut documents = 0;
    let mut rest = Vec::new();
    while rest.len() < 4 {
        match client.expect_any_text() {
            text if text.contains(r#""collection":"flood""#) => documents += 1,
            text => rest.push(text),
        }
    }
    // What waited when it was asked for: about the limit, and what the sockets hold.
    assert!(documents < 500, "{documents}");
    assert_eq!(
        rest,
        [
            r#"{"msg":"pong","id":"1"}"#,
            r#"{"msg":"nosub","id":"s"}"#,
            r#"{"msg":"updated","methods":["m"]}"#,
            r#"{"msg":"result","id":"m"}"#
        ]
    );
    gate.await_arrival(&server);
    client.close();
}

#[test]
fn found_101_nothing_begins_for_a_client_with_much_to_get() {
    let gate = Gate::new();
    let passed = gate.clone();
    let burst = |subscription: Subscription| async move {
        subscription.unblock();
        for id in 0..200 {
            subscription.added(
                "burst",
                id.to_string(),
                ejson!({ "text": "x".repeat(10_000) }),
            );
        }
        Ok(())
    };
    let server = flooding()
        .publish("burst", burst)
        .configure(|settings| {
            settings.listener.send_buffer = 16 * 1024;
            settings.shards = Some(NonZero::<usize>::MIN);
        })
        .method("late", move |_: Call| {
            passed.arrive();
            async { Ok(()) }
        });
    let server = Running::start(server);
    let mut client = narrow(&server);
    client.send_text(r#"{"msg":"sub","id":"s","name":"burst"}"#);
    until_much_waits(&server);
    client.send_text(r#"{"msg":"method","id":"m","method":"late"}"#);
    until_others_are_answered(&server);
    assert!(!gate.has_arrived(), "it began");
    for id in 0..200 {
        assert!(
            client
                .expect_any_text()
                .contains(&format!(r#""id":"{id}""#))
        );
    }
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    client.expect_text(r#"{"msg":"updated","methods":["m"]}"#);
    client.expect_text(r#"{"msg":"result","id":"m"}"#);
    gate.await_arrival(&server);
    client.close();
}

#[test]
fn found_101_who_neither_reads_nor_answers_is_closed_and_nobody_else_notices() {
    let server = flooding().configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.output_timeout = Duration::from_secs(1);
        settings.clients.close_timeout = Duration::from_millis(200);
    });
    let server = Running::start(server);
    let mut deaf = narrow(&server);
    deaf.send_text(&sub_flood("s", 1_000, 10_000, true));
    eventually("its handler waits", || {
        server.stats().queued_bytes > 1 << 20
    });
    let mut healthy = server.client();
    healthy.send_text(&sub_flood("s", 100, 10_000, false));
    take_flood(&mut healthy, "s", 100);
    eventually("it is closed", || server.stats().slow_clients == 1);
    eventually("its handler has ended", || server.stats().tasks == 0);
    eventually("nothing waits", || server.stats().queued_bytes == 0);
    healthy.close();
    drop(deaf);
}

#[test]
fn found_101_a_handler_that_waits_for_its_client_ends_when_that_goes() {
    let server =
        Running::start(flooding().configure(|settings| settings.listener.send_buffer = 16 * 1024));
    let mut client = narrow(&server);
    client.send_text(&sub_flood("s", 1_000, 10_000, true));
    eventually("its handler waits", || {
        server.stats().queued_bytes > 1 << 20
    });
    client.reset();
    eventually("its handler has ended", || server.stats().tasks == 0);
}

#[test]
fn found_101_the_time_for_which_a_handler_waits_for_its_client_is_not_its_own() {
    let server = flooding().configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.sessions.publication_timeout = Duration::from_millis(500);
    });
    let server = Running::start(server);
    let mut client = narrow(&server);
    client.send_text(&sub_flood("s", 500, 10_000, true));
    eventually("its handler waits", || {
        server.stats().queued_bytes > 1 << 20
    });
    sleep(Duration::from_millis(1_000));
    take_flood(&mut client, "s", 500);
    assert_eq!(server.stats().expired_publications, 0);
    client.close();
}

#[test]
fn found_101_a_client_that_says_something_is_alive() {
    let server = flooding().configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.output_timeout = Duration::from_millis(800);
    });
    let server = Running::start(server);
    let mut client = narrow(&server);
    client.send_text(&sub_flood("s", 300, 10_000, false));
    eventually("much waits", || server.stats().queued_bytes > 1 << 20);
    for id in 0..20 {
        client.send_text(&format!(r#"{{"msg":"ping","id":"{id}"}}"#));
        sleep(Duration::from_millis(100));
    }
    assert_eq!(server.stats().slow_clients, 0);
    take_flood_beside_pongs(&mut client, 300);
    client.close();
}

fn take_flood_beside_pongs(client: &mut Client, count: u32) {
    let mut number = 0;
    while number < count {
        let text = client.expect_any_text();
        if !text.starts_with(r#"{"msg":"pong""#) {
            assert!(text.contains(&format!(r#""id":"{number}""#)));
            number += 1;
        }
    }
}

#[test]
fn found_101_a_client_with_too_many_events_has_a_gap_and_stays() {
    let told = Arc::new(AtomicUsize::new(0));
    let gaps = told.clone();
    let follow = move |vent: Vent, channel: String| {
        let gaps = gaps.clone();
        async move {
            vent.on_gap(move || {
                gaps.fetch_add(1, Ordering::SeqCst);
            });
            vent.relay(channel![channel]).await
        }
    };
    let server = flooding().vent("follow", follow).configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.events = 500_000;
    });
    let server = Running::start(server);
    let mut client = narrow(&server);
    client.send_text(r#"{"msg":"sub","id":"s","name":"follow","params":["vent.v","c"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    let text = "x".repeat(10_000);
    for number in 0..200 {
        server.emit("c", ejson!([number, text.as_str()]));
    }
    let number = |client: &mut Client| -> usize {
        let event = client.expect_any_text();
        let (_, rest) = event.split_once(r#""event":["#).expect("an event");
        rest.split_once(',')
            .expect("a number")
            .0
            .parse()
            .expect("a number")
    };
    let mut expected = 0;
    // In order and without a hole up to the gap, which is told once.
    while told.load(Ordering::SeqCst) == 0 {
        assert_eq!(number(&mut client), expected);
        expected += 1;
    }
    assert!((1..150).contains(&expected), "{expected}");
    assert_eq!(server.stats().gaps, 1);
    server.emit("c", ejson!([1_000, ""]));
    let last = loop {
        match number(&mut client) {
            next if next == expected => expected += 1,
            next => break next,
        }
    };
    assert_eq!((last, told.load(Ordering::SeqCst)), (1_000, 1));
    assert_eq!(server.stats().slow_clients, 0);
    client.close();
}

/// Follows a connection through a link that carries so many bytes a second to the client.
fn slow_link(server: &Running, bandwidth: u32) -> (Proxy, Client) {
    let (_, port) = host(server.url()).split_once(':').expect("a port");
    let proxy = Proxy::start(port.parse().expect("a port"));
    proxy.set_one(Direction::ToClient, |faults| {
        faults.bandwidth = Some(bandwidth)
    });
    let client = Client::ddp_connect(&format!("ws://127.0.0.1:{}/websocket", proxy.port())).0;
    (proxy, client)
}

#[test]
fn found_104_a_slow_link_is_given_the_time_that_it_takes() {
    let beat = Duration::from_millis(400);
    let server = Running::start(flooding().configure(|settings| {
        settings.sessions.heartbeat_interval = beat;
        settings.sessions.heartbeat_timeout = beat;
        settings.listener.send_buffer = 16 * 1024;
    }));
    let (_proxy, mut client) = slow_link(&server, 400_000);
    client.send_text(&sub_flood("s", 150, 10_000, false));
    // Takes about four seconds, and answers each ping at once.
    take_flood(&mut client, "s", 150);
    client.send_text(r#"{"msg":"ping","id":"1"}"#);
    assert_eq!(next(&mut client), r#"{"msg":"pong","id":"1"}"#);
    client.close();
}

#[test]
fn found_104_what_a_sockjs_client_says_is_a_sign_of_life() {
    let echo = |mut connection: SockJsConnection| async move {
        while let Some(text) = connection.recv().await {
            connection.send(text);
        }
    };
    let beat = Duration::from_millis(200);
    let service = SockJs::at("/echo").heartbeat(beat, beat);
    let server = Running::start(flooding().sockjs_service(service, echo));
    let url = server
        .url()
        .replace("/websocket", "/echo/000/talks/websocket");
    let mut client = Client::connect(&url);
    client.expect_text("o");
    // What is not read is not answered either: a ping comes out of the socket with what is read.
    for number in 0..30 {
        client.send_text(&format!(r#"["{number}"]"#));
        sleep(Duration::from_millis(50));
    }
    for number in 0..30 {
        client.expect_text(&format!(r#"a["{number}"]"#));
    }
    client.close();
}

#[test]
fn found_101_the_last_words_of_a_connection_have_the_time_that_they_take() {
    let last = |subscription: Subscription| async move {
        for id in 0..150 {
            subscription.added(
                "last",
                id.to_string(),
                ejson!({ "text": "x".repeat(10_000) }),
            );
        }
        subscription.connection().close();
        Ok(())
    };
    let server = flooding().publish("last", last).configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.close_timeout = Duration::from_secs(1);
    });
    let server = Running::start(server);
    let (_proxy, mut client) = slow_link(&server, 400_000);
    client.send_text(r#"{"msg":"sub","id":"s","name":"last"}"#);
    for id in 0..150 {
        assert!(
            client
                .expect_any_text()
                .contains(&format!(r#""id":"{id}""#))
        );
    }
    client.expect_close(1000, "Normal closure");
}
