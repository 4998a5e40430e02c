//! Servers whose Redis, or whose way to it, fails: events go on by themselves, and what is missing
//! is told. Messages are numbered, so that nothing is lost, repeated or reordered in silence.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long they have waited"
)]

use std::time::{Duration, Instant};

use crate::common::{Count, Gate, Running, eventually_within};
use updraft::prelude::*;
use updraft::{Builder, BusFault, EmitQueue, HealthChecks, VentOptions, WhenAway};
use updraft_test_support::checker::{Checker, Numbering, all_released, stamp_in};
use updraft_test_support::client::Client;
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::redis::RedisServer;

/// One subscription to the channel `c`, over a proxy to Redis, with every message numbered.
///
/// The order of the fields is that in which they are dropped.
struct Stream {
    client: Client,
    server: Running,
    proxy: Proxy,
    redis: RedisServer,
    numbering: Numbering,
    checker: Checker,
    gaps: Count,
    gaps_told: usize,
}

impl Stream {
    fn start(options: impl FnOnce(Redis) -> Redis) -> Self {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.port());
        let gaps = Count::default();
        let counted = gaps.clone();
        let builder = Server::builder().vent("tm", move |vent: Vent| {
            let gaps = counted.clone();
            async move {
                vent.on_gap(move || gaps.add());
                vent.relay("c").await
            }
        });
        let server = over(&proxy, builder, options);
        let mut client = server.client();
        subscribe(&mut client);
        let numbering = Numbering::default();
        let mut stream = Self {
            checker: Checker::new("the subscription", ["c"], &numbering),
            client,
            server,
            proxy,
            redis,
            numbering,
            gaps,
            gaps_told: 0,
        };
        stream.publish();
        stream.await_all();
        stream
    }

    fn publish(&mut self) {
        let stamp = self.numbering.stamp("c");
        self.redis.publish("c", format!("\"{stamp}\""));
    }

    /// Takes what comes within that time; whether that was a message.
    fn receive(&mut self, limit: Duration) -> bool {
        let Some(frame) = self.client.next_text(limit) else {
            return false;
        };
        self.hear_of_gaps();
        let stamp = stamp_in(&frame);
        stamp
            .inspect(|stamp| self.checker.received(stamp))
            .is_some()
    }

    fn hear_of_gaps(&mut self) {
        // The callback runs before anything is sent that came after the gap.
        for _ in self.gaps_told..self.gaps.get() {
            self.gaps_told += 1;
            self.checker.gap_told();
        }
    }

    fn await_all(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.checker.is_complete(&self.numbering) {
            assert!(Instant::now() < deadline, "{:?}", self.checker);
            self.receive(Duration::from_millis(50));
        }
    }

    /// Publishes until something arrives.
    fn until_live(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            self.publish();
            if self.receive(Duration::from_millis(20)) {
                return;
            }
        }
        panic!("deaf: {:?}", self.server.stats());
    }

    /// Events flow, exactly one gap was told, and nothing else was lost; then the client leaves,
    /// and nothing stays.
    fn finish_with_one_gap(mut self, fault: BusFault) {
        for _ in 0..20 {
            self.publish();
        }
        self.finish_stream();
        assert_eq!(self.gaps.get(), 1);
        let faults = self.server.stats().bus_faults;
        assert!(faults.of(fault) >= 1, "{faults:?}");
        self.client.close();
        let server = self.server;
        // What was lost in a black hole is still open at its far end.
        self.proxy.cut();
        all_released(
            || {
                let stats = server.stats();
                [
                    ("connections", stats.connections as u64),
                    ("subscriptions", stats.subscriptions as u64),
                    ("channels", stats.channels as u64),
                ]
            },
            Some((&self.redis, &["c"])),
        );
    }

    /// All that was published has come or was told to be missing, to the last message.
    fn finish_stream(&mut self) {
        self.await_all();
        self.publish();
        let count = self.numbering.count("c");
        let last = format!("c#{}", count - 1);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            assert!(Instant::now() < deadline, "{last} never came");
            let frame = self.client.next_text(Duration::from_millis(50));
            self.hear_of_gaps();
            let Some(stamp) = frame.as_deref().and_then(stamp_in) else {
                continue;
            };
            self.checker.received(stamp);
            if stamp == last {
                return;
            }
        }
    }
}

/// A server whose way to Redis leads through a proxy.
fn over(proxy: &Proxy, builder: Builder, options: impl FnOnce(Redis) -> Redis) -> Running {
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let redis = Redis::lazy(&url).unwrap();
    Running::start(builder.bus(options(redis)))
}

fn subscribe(client: &mut Client) {
    client.send_text(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.1"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.1","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
}

fn same(redis: Redis) -> Redis {
    redis
}

#[test]
fn row_086_a_black_hole_is_one_gap_and_events_flow_at_its_end() {
    let quick = Duration::from_millis(100);
    let mut stream = Stream::start(|redis| redis.heartbeat(quick, quick));
    stream.proxy.black_hole(true);
    eventually("noticed", || stream.server.stats().bus_is_away);
    for _ in 0..40 {
        stream.publish();
    }
    // Attempts to connect fall into it too.
    let failed = || stream.server.stats().bus_faults.of(BusFault::Unreachable);
    eventually("tried again", || failed() >= 1);
    stream.proxy.black_hole(false);
    stream.until_live();
    stream.finish_with_one_gap(BusFault::Silent);
}

/// Redis is away until that many attempts to connect have failed.
fn redis_stopped(attempts: u64, options: impl FnOnce(Redis) -> Redis) {
    let mut stream = Stream::start(options);
    stream.redis.kill();
    let failed = |stream: &Stream| stream.server.stats().bus_faults.of(BusFault::Unreachable);
    while failed(&stream) < attempts {
        std::thread::sleep(Duration::from_millis(20));
        // A client that says nothing for long would lose its connection.
        stream.client.send_text(r#"{"msg":"ping"}"#);
    }
    assert!(stream.server.stats().bus_is_away);
    stream.redis.restart();
    stream.until_live();
    stream.finish_with_one_gap(BusFault::Unreachable);
}

#[test]
fn row_085_redis_stopped_for_many_attempts_is_one_gap_and_events_flow_at_its_return() {
    let [shortest, longest] = [10, 100].map(Duration::from_millis);
    redis_stopped(20, |redis| redis.reconnect_delay(shortest, longest));
}

#[test]
#[ignore = "takes half a minute: run by cargo xtask soak"]
fn row_085_soak_redis_stopped_for_forty_attempts_is_one_gap_and_events_flow_at_its_return() {
    redis_stopped(40, same);
}

#[test]
fn row_089_a_listener_that_redis_kills_is_one_gap() {
    let stream = Stream::start(same);
    let mut admin = stream.redis.connection();
    let mut kill = redis::cmd("CLIENT");
    let killed: u64 = kill
        .arg("KILL")
        .arg("TYPE")
        .arg("pubsub")
        .query(&mut admin)
        .unwrap();
    assert_eq!(killed, 1);
    eventually("told", || stream.gaps.get() == 1);
    stream.finish_with_one_gap(BusFault::Lost);
}

#[test]
fn row_089_an_overrun_output_buffer_is_one_gap() {
    let stream = Stream::start(same);
    let mut admin = stream.redis.connection();
    let limit = ["SET", "client-output-buffer-limit", "pubsub 65536 0 0"];
    let set = redis::cmd("CONFIG").arg(&limit).exec(&mut admin);
    set.unwrap();
    // So slow that what Redis has to say waits there.
    stream.proxy.set(|faults| faults.bandwidth = Some(10_000));
    let padding = "x".repeat(500_000);
    let is_overrun = || stream.redis.publish("c", format!("\"{padding}\"")) == 0;
    eventually("overrun", is_overrun);
    stream.proxy.set(|faults| faults.bandwidth = None);
    eventually("told", || stream.gaps.get() == 1);
    // What got through before counts as received; it has no number.
    stream.finish_with_one_gap(BusFault::Lost);
}

#[test]
fn row_087_096_a_connection_that_no_longer_gets_the_traffic_is_replaced() {
    let mut stream = Stream::start(|redis| redis.probe(Duration::from_millis(300)));
    // The old Redis lives and answers; the name of Redis now means another one, which gets all the
    // traffic.
    let old = std::mem::replace(&mut stream.redis, RedisServer::start());
    stream.proxy.lead_to(stream.redis.port());
    let mut kill = redis::cmd("CLIENT");
    let kill = kill.arg("KILL").arg("TYPE").arg("normal");
    kill.exec(&mut old.connection()).unwrap();
    stream.until_live();
    let mut admin = old.connection();
    eventually("gone from the old one", || {
        let mut numsub = redis::cmd("PUBSUB");
        let numsub = numsub.arg("NUMSUB").arg("c").query(&mut admin);
        numsub == Ok(("c".to_owned(), 0))
    });
    stream.finish_with_one_gap(BusFault::Detached);
}

#[test]
fn row_087_silence_alone_is_no_reason_to_reconnect() {
    let mut stream = Stream::start(|redis| redis.probe(Duration::from_millis(100)));
    let published = stream.redis.calls_of("publish");
    eventually("it has been probed", || {
        stream.redis.calls_of("publish") >= published + 5
    });
    assert_eq!(stream.server.stats().bus_generation, 1);
    stream.publish();
    stream.await_all();
    assert_eq!(stream.gaps.get(), 0);
}

#[test]
fn row_094_over_cuts_and_resets_nothing_comes_twice_late_or_in_silence_not_at_all() {
    let mut stream = Stream::start(same);
    stream.proxy.set(|faults| faults.slice = Some(11));
    for round in 0..6 {
        for _ in 0..50 {
            stream.publish();
        }
        match round % 2 {
            0 => stream.proxy.cut(),
            _ => stream.proxy.reset(),
        }
        let gaps = round + 1;
        for _ in 0..50 {
            stream.publish();
        }
        eventually("told", || stream.gaps.get() == gaps);
        while stream.receive(Duration::from_millis(100)) {}
        stream.hear_of_gaps();
    }
    for _ in 0..50 {
        stream.publish();
    }
    stream.finish_stream();
    assert_eq!(stream.gaps.get(), 6);
}

#[test]
fn row_086_corrupted_bytes_never_end_the_process() {
    let mut stream = Stream::start(same);
    stream.proxy.set(|faults| faults.corrupt_each = Some(97));
    for _ in 0..50 {
        stream.publish();
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.proxy.set(|faults| faults.corrupt_each = None);
    stream.proxy.cut();
    let mut client = stream.server.client();
    eventually("heard again", || {
        stream.redis.publish("c", "1");
        client.send_text(r#"{"msg":"ping"}"#);
        client.expect_text(r#"{"msg":"pong"}"#);
        stream.client.next_text(Duration::from_millis(20)).is_some()
    });
}

#[test]
fn row_084_a_server_that_starts_before_its_redis_waits_for_it() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::start(redis.port());
    redis.kill();
    let builder = Server::builder().vent("tm", |vent: Vent| async move { vent.relay("c").await });
    let server = over(&proxy, builder, same);
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.1"]}"#);
    client.expect_silence(300);
    assert!(server.stats().bus_is_away);
    redis.restart();
    client.expect_text(r#"{"msg":"added","collection":"vent.1","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    assert_eq!(redis.publish("c", "1"), 1);
    client.expect_text(r#"{"msg":"changed","collection":"vent.1","id":"id","fields":{"event":1}}"#);
    assert_eq!(server.stats().gaps, 0, "nothing was live before");
    drop(client);
}

#[test]
fn row_088_why_redis_is_away_is_told_to_handlers() {
    let redis = RedisServer::start();
    let acl = ["SETUSER", "default", "resetpass", ">right"];
    redis::cmd("ACL")
        .arg(&acl)
        .exec(&mut redis.connection())
        .unwrap();
    let proxy = Proxy::start(redis.port());
    let builder = Server::builder()
        .configure(|settings| settings.bus.when_away = WhenAway::Hold(Duration::from_millis(500)))
        .vent("tm", |vent: Vent| async move {
            let error = vent.relay("c").await.unwrap_err();
            let label = error.bus_fault().map_or("none", BusFault::label);
            Result::<()>::Err(Error::new("told", label))
        });
    let server = over(&proxy, builder, same);
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.1"]}"#);
    let nosub = client.expect_any_text();
    assert!(nosub.contains(r#""reason":"authentication""#), "{nosub}");
    assert!(server.stats().bus_faults.of(BusFault::Authentication) >= 1);
    drop(client);
}

#[test]
fn row_088_subscriptions_of_a_channel_that_is_denied_later_end_with_an_error() {
    let mut stream = Stream::start(same);
    let acl = ["SETUSER", "default", "resetchannels", "&open*"];
    let mut admin = stream.redis.connection();
    redis::cmd("ACL").arg(&acl).exec(&mut admin).unwrap();
    // Redis ends connections that follow what they no longer may.
    let document = r#""collection":"vent.1","id":"id""#;
    stream
        .client
        .expect_text(&format!(r#"{{"msg":"removed",{document}}}"#));
    let nosub = stream.client.expect_any_text();
    assert!(
        nosub.contains(r#""error":503,"reason":"bus-unavailable""#),
        "{nosub}"
    );
    assert!(stream.server.stats().bus_faults.of(BusFault::Denied) >= 1);
    eventually("left", || stream.server.stats().channels == 0);
    drop(stream.client);
}

#[test]
fn row_093_a_message_between_the_confirmation_and_the_snapshot_comes_after_it() {
    let redis = RedisServer::start();
    let gate = Gate::new();
    let passing = gate.clone();
    let builder = Server::builder().vent("tm", move |vent: Vent| {
        let gate = passing.clone();
        async move {
            vent.relay("c").await?;
            // Here a handler reads the state that the events change.
            gate.pass().await;
            Result::<()>::Ok(())
        }
    });
    let server = Running::over(&redis, builder);
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.1"]}"#);
    gate.await_arrival(&server);
    for n in 1..=3 {
        assert_eq!(redis.publish("c", n.to_string()), 1);
    }
    client.expect_silence(200);
    gate.open(1);
    client.expect_text(r#"{"msg":"added","collection":"vent.1","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    for n in 1..=3 {
        client.expect_text(&format!(
            r#"{{"msg":"changed","collection":"vent.1","id":"id","fields":{{"event":{n}}}}}"#
        ));
    }
    drop(client);
}

#[test]
fn vent_049_a_payload_over_the_cap_is_dropped_and_counted_by_channel() {
    let redis = RedisServer::start();
    let builder = Server::builder()
        .configure(|settings| {
            settings.bus.payload.bytes = 100;
            settings.bus.payload.json.depth = 4;
        })
        .vent("tm", |vent: Vent| async move { vent.relay("c").await });
    let server = Running::over(&redis, builder);
    let mut client = server.client();
    subscribe(&mut client);
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    redis.publish("c", text(101));
    redis.publish("c", "[[[[[1]]]]]");
    redis.publish("c", "");
    redis.publish("c", text(100));
    let event = client.expect_any_text();
    assert!(event.contains(&text(100)), "{event}");
    assert_eq!(server.stats().dropped_payloads, 3);
    let failures = server.handle().failures_by_channel();
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].channel.as_str(), failures[0].dropped_payloads),
        ("c", 3)
    );
    let refused = server.wait(server.handle().emit("c", text(101)));
    assert!(refused.is_err());
    drop(client);
}

#[test]
fn row_091_a_mapping_function_that_fails_is_counted_by_channel() {
    let redis = RedisServer::start();
    let builder = Server::builder().vent("tm", |vent: Vent| async move {
        vent.on("c", |message: &Message| match message.payload()[0] {
            b'1' => panic!("a defect of the program"),
            _ => message.event(),
        })
        .await
    });
    let server = Running::over(&redis, builder);
    let mut client = server.client();
    subscribe(&mut client);
    redis.publish("c", "1");
    redis.publish("c", "2");
    client.expect_text(r#"{"msg":"changed","collection":"vent.1","id":"id","fields":{"event":2}}"#);
    let failures = server.handle().failures_by_channel();
    assert_eq!(
        (failures[0].channel.as_str(), failures[0].failed_mappings),
        ("c", 1)
    );
    drop(client);
}

#[test]
fn vent_070_a_prefix_is_put_before_channels_both_ways() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.port());
    let builder = Server::builder().vent("tm", |vent: Vent| async move { vent.relay("c").await });
    let server = over(&proxy, builder, |redis| redis.prefix("shop.").unwrap());
    let mut client = server.client();
    subscribe(&mut client);
    assert_eq!(redis.numsub("c"), 0);
    assert_eq!(redis.publish("shop.c", "1"), 1);
    server.emit("c", 2);
    for n in 1..=2 {
        client.expect_text(&format!(
            r#"{{"msg":"changed","collection":"vent.1","id":"id","fields":{{"event":{n}}}}}"#
        ));
    }
    drop(client);
    redis.await_numsub("shop.c", 0);
}

#[test]
fn vent_067_what_is_emitted_during_an_outage_is_delivered_once_and_in_order_with_a_queue() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::start(redis.port());
    let builder = Server::builder().vent("tm", |vent: Vent| async move { vent.relay("c").await });
    let server = over(&proxy, builder, |redis| {
        redis.queue_emits(EmitQueue::default())
    });
    let mut client = server.client();
    subscribe(&mut client);
    redis.kill();
    assert!(eventually_within(Duration::from_secs(5), || server
        .stats()
        .bus_is_away));
    let emits = |range: std::ops::Range<u32>| {
        let handle = server.handle().clone();
        async move {
            let mut outcomes = Vec::new();
            for n in range {
                outcomes.push((n, handle.emit("c", n).await));
            }
            outcomes
        }
    };
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            redis.restart();
            redis.await_numsub("c", 1);
        });
        // The first may have been handed to the connection that then failed: nobody repeats that.
        server.wait(emits(0..10))
    });
    let unsure = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_err())
        .count();
    assert!(unsure <= 1, "{outcomes:?}");
    let last = server.wait(emits(10..11));
    assert!(last[0].1.is_ok());
    let mut received = Vec::new();
    while received.last() != Some(&10) {
        let frame = client.expect_any_text();
        let number = frame.rsplit(':').next().unwrap().trim_end_matches('}');
        received.push(number.parse::<u32>().unwrap());
    }
    // What was published before the channel was subscribed to again is in the gap.
    assert!(received.is_sorted_by(|a, b| a < b), "{received:?}");
    drop(client);
}

#[test]
fn found_108_a_client_hears_of_a_gap_what_its_handler_says() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.port());
    let told = async |vent: Vent| {
        vent.on_gap(|| Some(ejson!({ "gap": true, "at": Date::from_millis(5.0) })));
        vent.relay("c").await
    };
    let untold = async |vent: Vent| {
        vent.on_gap(|| {});
        vent.relay("c").await
    };
    let failing = async |vent: Vent| {
        vent.on_gap(|| -> Option<()> { panic!("of no use") });
        vent.on_gap(|| Err::<Event, _>(Error::internal("nor this")));
        vent.on_gap(Event::none);
        vent.relay("c").await
    };
    let numbered = VentOptions::new().numbered();
    let builder = Server::builder()
        .vent_with("told", numbered, told)
        .streamer("told", told)
        .vent_with("untold", numbered, untold)
        .vent("failing", failing);
    let server = over(&proxy, builder, same);
    let vid = crate::common::VID;
    let mut clients = [
        (
            r#""told","params":["vent.v"]"#,
            r#""collection":"vent.v","id":"id","fields":{"n":1,"event":1}}"#,
        ),
        (
            r#""told","params":["VID"]"#,
            r#""__vent":"1","id":"VID.told","e":1}"#,
        ),
        (
            r#""stream-told","params":["e",false]"#,
            r#""collection":"stream-told","id":"id","fields":{"eventName":"e","args":[1]}}"#,
        ),
        (
            r#""untold","params":["vent.v"]"#,
            r#""collection":"vent.v","id":"id","fields":{"n":1,"event":1}}"#,
        ),
        (
            r#""failing","params":["VID"]"#,
            r#""__vent":"1","id":"VID.failing","e":1}"#,
        ),
    ]
    .map(|(subscription, first)| {
        let mut client = server.client();
        let subscription = subscription.replace("VID", vid);
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"s","name":{subscription}}}"#
        ));
        while !client.expect_any_text().contains(r#""msg":"ready""#) {}
        (client, first.replace("VID", vid))
    });
    redis.publish("c", "1");
    for (client, first) in &mut clients {
        client.expect_text(&format!(r#"{{"msg":"changed",{first}"#));
    }
    proxy.cut();
    eventually("told", || server.stats().gaps == 5);
    redis.await_numsub("c", 1);
    redis.publish("c", "2");
    let gap = r#"{"gap":true,"at":{"$date":5}}"#;
    let expected = [
        vec![
            format!(r#""collection":"vent.v","id":"id","fields":{{"n":3,"event":{gap}}}}}"#),
            r#""collection":"vent.v","id":"id","fields":{"n":4,"event":2}}"#.into(),
        ],
        vec![
            format!(
                r#""__vent":"1","id":"{vid}.told","e":{{"gap":true,"at":"1970-01-01T00:00:00.005Z"}}}}"#
            ),
            format!(r#""__vent":"1","id":"{vid}.told","e":2}}"#),
        ],
        vec![
            format!(
                r#""collection":"stream-told","id":"id","fields":{{"eventName":"e","args":[{gap}]}}}}"#
            ),
            r#""collection":"stream-told","id":"id","fields":{"eventName":"e","args":[2]}}"#.into(),
        ],
        // It is not told, but it can see it.
        vec![r#""collection":"vent.v","id":"id","fields":{"n":3,"event":2}}"#.into()],
        vec![format!(r#""__vent":"1","id":"{vid}.failing","e":2}}"#)],
    ];
    for ((client, _), frames) in clients.iter_mut().zip(expected) {
        for frame in frames {
            client.expect_text(&format!(r#"{{"msg":"changed",{frame}"#));
        }
    }
    assert_eq!(server.stats().failed_mappings, 2);
}

#[test]
fn found_112_while_the_bus_is_away_no_new_clients_are_to_come() {
    let mut redis = RedisServer::start();
    let builder = Server::builder().health_checks(HealthChecks::new());
    let server = Running::over(&redis, builder);
    let host = server.url().split('/').nth(2).expect("a host").to_owned();
    let ask = |method: &str, path: &str| {
        let mut http = Http::connect(&host);
        http.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: lb.example\r\n\r\n"
        ));
        let answer = http.answer();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.status
    };
    // It has begun to connect to Redis, but need not have an answer yet.
    eventually("it is ready", || ask("GET", "/readyz") == 200);
    for method in ["GET", "HEAD", "OPTIONS"] {
        let answers = ["/healthz", "/readyz"].map(|path| ask(method, path));
        assert_eq!(answers, [200, 200], "{method}");
    }
    let mut client = server.client();
    redis.kill();
    eventually("it is not ready", || ask("GET", "/readyz") == 503);
    assert_eq!(ask("GET", "/healthz"), 200);
    // Who is there stays.
    client.send_text(r#"{"msg":"ping"}"#);
    client.expect_text(r#"{"msg":"pong"}"#);
    redis.restart();
    eventually("it is ready again", || ask("GET", "/readyz") == 200);
    client.close();
}
