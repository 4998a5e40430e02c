//! What handlers and clients may do to a server over a real socket, and what it costs the others: nothing.
//! Each test ends with the gauges back at zero.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long a bus holds others up"
)]

mod common;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Count, Gate, Running};
use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

/// How long nothing may come, in milliseconds.
const SILENCE: u64 = 150;

const INTERNAL: &str = r#"{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}"#;

fn sub(id: &str, name: &str, params: &str) -> String {
    format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":[{params}]}}"#)
}

fn unsub(id: &str) -> String {
    format!(r#"{{"msg":"unsub","id":"{id}"}}"#)
}

fn call(id: &str, name: &str, params: &str) -> String {
    format!(r#"{{"msg":"method","id":"{id}","method":"{name}","params":[{params}]}}"#)
}

fn ready(id: &str) -> String {
    format!(r#"{{"msg":"ready","subs":["{id}"]}}"#)
}

fn nosub(id: &str) -> String {
    format!(r#"{{"msg":"nosub","id":"{id}"}}"#)
}

fn nosub_with(id: &str, error: &str) -> String {
    format!(r#"{{"msg":"nosub","id":"{id}","error":{error}}}"#)
}

/// The two answers of a call.
fn expect_result(client: &mut Client, id: &str, rest: &str) {
    client.expect_text(&format!(r#"{{"msg":"updated","methods":["{id}"]}}"#));
    client.expect_text(&format!(r#"{{"msg":"result","id":"{id}"{rest}}}"#));
}

async fn nothing(_: Call) -> Result<()> {
    Ok(())
}

#[test]
fn a_greeting_is_sent_before_anything_is_said() {
    let server = Running::start(Server::builder().greeting(true));
    let mut client = Client::connect(server.url());
    client.expect_text(r#"{"server_id":"0"}"#);
    client.send_text(CONNECT);
    let connected = client.expect_any_text();
    assert!(
        connected.starts_with(r#"{"msg":"connected""#),
        "{connected}"
    );
}

#[test]
fn row_038_garbage_closes_one_connection_and_no_other() {
    let server = Running::start(Server::builder().method("nothing", nothing));
    let (mut good, mut bad) = (server.client(), server.client());
    for _ in 0..100 {
        bad.send_text("{bad");
    }
    for _ in 0..100 {
        bad.expect_text(r#"{"msg":"error","reason":"Bad request"}"#);
    }
    bad.expect_close(1008, "Too many unreadable messages");
    good.send_text(&call("1", "nothing", ""));
    expect_result(&mut good, "1", "");
}

#[test]
fn row_038_039_044_045_051_054_every_limit_can_be_set() {
    async fn any(_: Subscription) -> Result<()> {
        Ok(())
    }
    let server = Server::builder()
        .publish("any", any)
        .json_limits(3, 4)
        .name_limit(5)
        .quote_limit(60)
        .unreadable_limit(3, Duration::from_secs(60))
        .subscription_limit(1);
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(&sub("12345", "any", "[1,2,3,4]"));
    client.expect_text(&ready("12345"));
    client.send_text(&sub("2", "any", ""));
    client.expect_text(&nosub_with(
        "2",
        r#"{"isClientSafe":true,"error":"too-many-subscriptions","reason":"A session may have 1 subscriptions","message":"A session may have 1 subscriptions [too-many-subscriptions]","errorType":"Meteor.Error"}"#,
    ));
    let malformed = sub("123456", "any", "");
    client.send_text(&malformed);
    client.expect_text(&format!(
        r#"{{"msg":"error","reason":"Malformed subscription","offendingMessage":{malformed}}}"#
    ));
    client.send_text(&sub("123456", "any", "1000000000000"));
    client.expect_text(r#"{"msg":"error","reason":"Malformed subscription"}"#);
    for unreadable in [
        sub("3", "any", "[[1]]"),
        sub("3", "any", "1,2,3,4,5"),
        "5".into(),
    ] {
        client.send_text(&unreadable);
        client.expect_text(r#"{"msg":"error","reason":"Bad request"}"#);
    }
    client.expect_close(1008, "Too many unreadable messages");
}

#[test]
fn row_056_subscribing_in_a_tight_loop_leaks_nothing() {
    let redis = RedisServer::start();
    let (begun, dropped) = (Count::default(), Count::default());
    let (begins, drops) = (begun.clone(), dropped.clone());
    let follow = move |vent: Vent| {
        begins.add();
        let ended = drops.on_drop();
        async move {
            vent.on("loop", |m: &Message| m.event()).await?;
            vent.unblock();
            // Work for which nobody waits any more once the client has left.
            std::future::pending::<()>().await;
            drop(ended);
            Ok::<_, Error>(())
        }
    };
    let server = Running::over(&redis, Server::builder().vent("follow", follow));
    let mut client = server.client();
    for _ in 0..300 {
        client.send_text(&sub("s", "follow", r#""vent.loop""#));
        client.send_text(&unsub("s"));
    }
    for _ in 0..300 {
        // It ends before it is ready: nothing was announced, so nothing is withdrawn.
        client.expect_text(&nosub("s"));
    }
    client.expect_silence(SILENCE);
    eventually("no handler is left", || begun.get() == dropped.get());
    assert_eq!(server.stats().subscriptions, 0);
    redis.await_numsub("loop", 0);
}

#[test]
fn row_060_061_a_flood_of_calls_waits_in_its_socket() {
    let gate = Gate::new();
    let waits = gate.clone();
    let server = Server::builder()
        .method("waits", move |_: Call| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok::<_, Error>(())
            }
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    let (mut flood, mut other) = (server.client(), server.client());
    flood.send_text(&call("first", "waits", ""));
    gate.await_arrival(&server);
    for n in 0..1000 {
        // Each in a write of its own: most come while nobody reads.
        flood.send_text(&call(&n.to_string(), "nothing", ""));
    }
    other.send_text(&call("1", "nothing", ""));
    expect_result(&mut other, "1", "");
    gate.open(1);
    expect_result(&mut flood, "first", "");
    for n in 0..1000 {
        expect_result(&mut flood, &n.to_string(), "");
    }
}

#[test]
fn row_048_066_067_a_typed_parameter_takes_nothing_else() {
    async fn typed(_: Call, (text, number): (String, u32)) -> Result<String> {
        Ok(format!("{text} {number}"))
    }
    let server = Running::start(Server::builder().method("typed", typed));
    let mut client = server.client();
    let failed = r#","error":{"isClientSafe":true,"error":400,"reason":"Match failed","message":"Match failed [400]","errorType":"Meteor.Error"}"#;
    for params in [
        r#"{"$ne":null},1"#,
        r#"["a"],1"#,
        r#"null,1"#,
        r#"{"$binary":"AQ=="},1"#,
        r#"{"$regexp":"a","$flags":""},1"#,
        r#""a",1e400"#,
        r#""a",-1"#,
        r#""a",1.5"#,
        r#""a",4294967296"#,
        r#""a",{"$InfNaN":0}"#,
        r#""a","1""#,
        r#""a""#,
        "",
    ] {
        client.send_text(&call("1", "typed", params));
        expect_result(&mut client, "1", failed);
    }
    // Numbers have no types in JavaScript.
    for params in [r#""a",1.0"#, r#""a",1e0"#, r#""a",1,"surplus""#] {
        client.send_text(&call("1", "typed", params));
        expect_result(&mut client, "1", r#","result":"a 1""#);
    }
    assert_eq!(server.stats().failed_handlers, 0);
}

#[test]
fn row_068_a_parameter_cannot_choose_another_channel() {
    async fn thread(vent: Vent, id: String) -> Result<()> {
        vent.on(updraft::channel!["threads", id], |m: &Message| m.event())
            .await
    }
    let server = Running::start(Server::builder().vent("thread", thread));
    let mut client = server.client();
    let long = "x".repeat(129);
    for part in [
        "", "*", "a?", "[a-z]", "^", "a::b", ":a", "a:", "a b", r"a\nb", r"\u0000", r"\\",
        r"\u007f", r"\u2003", &long,
    ] {
        client.send_text(&sub("s", "thread", &format!(r#""vent.thread","{part}""#)));
        client.expect_text(&nosub_with(
            "s",
            r#"{"isClientSafe":true,"error":400,"reason":"Not a valid part of a channel name","message":"Not a valid part of a channel name [400]","errorType":"Meteor.Error"}"#,
        ));
    }
    assert_eq!(server.stats().channels, 0);
    for (n, part) in ["../../etc", "__proto__", "a:b", "%2a", "é"]
        .iter()
        .enumerate()
    {
        let id = n.to_string();
        client.send_text(&sub(&id, "thread", &format!(r#""vent.{n}","{part}""#)));
        client.expect_text(&format!(
            r#"{{"msg":"added","collection":"vent.{n}","id":"id","fields":{{}}}}"#
        ));
        client.expect_text(&ready(&id));
    }
    // What is published elsewhere reaches none of them.
    for channel in ["threads", "threads::*", "threads::etc", "etc", "a", "b"] {
        server.emit(channel, 1);
    }
    client.expect_silence(SILENCE);
}

#[test]
fn row_069_what_a_peer_says_is_harmless_in_logs() {
    async fn complains(_: Call, Args(args): Args) -> Result<()> {
        let text = args.first().and_then(Value::as_str).unwrap_or_default();
        if text.starts_with('p') {
            panic!("{text}");
        }
        Err(Error::internal(text))
    }
    let logs = Logs::default();
    tracing::subscriber::set_global_default(logs.clone()).expect("no other test logs");
    let server = Running::start(Server::builder().method("complains", complains));
    let (mut client, session) = Client::ddp_connect(server.url());
    let long = "x".repeat(100_000);
    for said in [
        r"\u001b[31m\r\nERROR forged",
        r#"panic \u001b]0;title\u0007"#,
        r#"user {\"password\":\"hunter2\",\"resume\":\"hunter2\",\"token\":\"hunter2\"}"#,
        r#"panic token=hunter2"#,
        &long,
    ] {
        client.send_text(&call("1", "complains", &format!(r#""{said}""#)));
        expect_result(&mut client, "1", &format!(r#","error":{INTERNAL}"#));
    }
    client.close();
    eventually("everybody is gone", || server.is_at_rest());
    let logged = logs.text();
    assert!(
        logged.contains("ERROR forged") && logged.contains("[hidden]"),
        "{logged}"
    );
    assert!(
        !logged.contains("hunter2") && !logged.contains(&session),
        "{logged}"
    );
    assert!(!logged.contains(['\u{1b}', '\u{7}', '\r']), "{logged}");
    assert!(!logged.contains(&"x".repeat(2000)));
}

/// Keeps what this library logs.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<String>>);

impl Logs {
    fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

impl tracing::Subscriber for Logs {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("updraft")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text.push_str(&format!("{field}={value:?} "));
            },
        );
        text.push('\n');
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn row_070_071_a_panic_costs_one_answer() {
    async fn publication(subscription: Subscription) -> Result<()> {
        subscription.added("c", "x", ejson!({}));
        panic!("secret text");
    }
    async fn method(_: Call) -> Result<()> {
        tokio::task::yield_now().await;
        panic!("secret text");
    }
    let server = Server::builder()
        .publish("panics", publication)
        .method("panics", method)
        // One that panics before there is a future.
        .method("early", |_: Call| -> std::future::Ready<Result<()>> {
            panic!("secret text")
        })
        .method("io", |_: Call| async {
            Err::<(), _>(std::io::Error::other("secret text"))
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(&sub("s", "panics", ""));
    client.expect_text(r#"{"msg":"added","collection":"c","id":"x"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"c","id":"x"}"#);
    client.expect_text(&nosub_with("s", INTERNAL));
    for name in ["panics", "early", "io"] {
        client.send_text(&call("1", name, ""));
        expect_result(&mut client, "1", &format!(r#","error":{INTERNAL}"#));
    }
    client.send_text(&call("2", "nothing", ""));
    expect_result(&mut client, "2", "");
    assert_eq!(server.stats().failed_handlers, 4);
}

#[test]
fn row_072_a_publication_that_never_ends_is_dropped() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (begins, blocked, unblocked) = (begun.clone(), dropped.clone(), dropped.clone());
    let server = Server::builder()
        .publish("blocks", move |_: Subscription| {
            begins.add();
            let ended = blocked.on_drop();
            async move {
                std::future::pending::<()>().await;
                drop(ended);
                Ok::<_, Error>(())
            }
        })
        .publish("unblocks", move |subscription: Subscription| {
            let ended = unblocked.on_drop();
            async move {
                subscription.unblock();
                subscription.added("c", "x", ejson!({}));
                subscription.ready();
                std::future::pending::<()>().await;
                drop(ended);
                Ok::<_, Error>(())
            }
        })
        .method("nothing", nothing)
        .publication_timeout(Duration::from_millis(400));
    let server = Running::start(server);
    let timed_out = r#"{"isClientSafe":true,"error":503,"reason":"Publication timed out","message":"Publication timed out [503]","errorType":"Meteor.Error"}"#;

    // After its time, while it blocks the queue.
    let mut client = server.client();
    client.send_text(&sub("s", "blocks", ""));
    client.send_text(&call("1", "nothing", ""));
    client.expect_text(&nosub_with("s", timed_out));
    expect_result(&mut client, "1", "");
    dropped.becomes(1);
    assert_eq!(server.stats().expired_publications, 1);

    // After its time, though it has unblocked and is ready.
    let added = r#"{"msg":"added","collection":"c","id":"x"}"#;
    let removed = r#"{"msg":"removed","collection":"c","id":"x"}"#;
    client.send_text(&sub("s", "unblocks", ""));
    client.expect_text(added);
    client.expect_text(&ready("s"));
    client.expect_text(removed);
    client.expect_text(&nosub_with("s", timed_out));
    dropped.becomes(2);
    assert_eq!(server.stats().expired_publications, 2);

    // At `unsub`, once it has unblocked.
    client.send_text(&sub("s", "unblocks", ""));
    client.expect_text(added);
    client.expect_text(&ready("s"));
    client.send_text(&unsub("s"));
    client.expect_text(removed);
    client.expect_text(&nosub("s"));
    dropped.becomes(3);

    // With its session.
    client.send_text(&sub("s", "blocks", ""));
    begun.becomes(2);
    client.reset();
    dropped.becomes(4);
    eventually("everybody is gone", || server.is_at_rest());
    assert_eq!(server.stats().expired_publications, 2);
}

#[test]
fn row_072_a_method_runs_to_its_end_and_is_counted_when_slow() {
    let (gate, ended) = (Gate::new(), Count::default());
    let (waits, ends) = (gate.clone(), ended.clone());
    let server = Server::builder()
        .method("waits", move |_: Call| {
            let (gate, ended) = (waits.clone(), ends.clone());
            async move {
                gate.pass().await;
                ended.add();
                Ok::<_, Error>("done")
            }
        })
        .slow_method(Duration::from_millis(100));
    let server = Running::start(server);
    let slow = || server.stats().slow_methods;

    let mut client = server.client();
    client.send_text(&call("1", "waits", ""));
    eventually("the call is slow", || slow() == 1);
    gate.open(1);
    expect_result(&mut client, "1", r#","result":"done""#);
    eventually("it is over", || slow() == 0);

    client.send_text(&call("2", "waits", ""));
    eventually("the call is slow", || slow() == 1);
    client.reset();
    eventually("the client is gone", || server.stats().connections == 0);
    assert_eq!((slow(), ended.get()), (1, 1));
    gate.open(1);
    ended.becomes(2);
}

#[test]
fn row_073_a_handler_that_blocks_the_thread_shows() {
    let server = Server::builder()
        .method("blocks", |_: Call| async {
            sleep(Duration::from_millis(400));
            Ok::<_, Error>(())
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    // The runtime has two threads.
    let mut blocking = [server.client(), server.client()];
    let mut client = server.client();
    let before = server.stats().late_handlers;
    for blocking in &mut blocking {
        blocking.send_text(&call("1", "blocks", ""));
    }
    sleep(Duration::from_millis(50));
    client.send_text(&call("1", "nothing", ""));
    expect_result(&mut client, "1", "");
    for blocking in &mut blocking {
        expect_result(blocking, "1", "");
    }
    assert!(server.stats().late_handlers > before);
}

#[test]
fn row_074_what_is_published_after_the_end_is_dropped() {
    let kept: Arc<Mutex<Vec<Subscription>>> = Arc::default();
    let keep = kept.clone();
    let server = Server::builder()
        .publish("kept", move |subscription: Subscription| {
            let keep = keep.clone();
            async move {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(subscription);
                Ok::<_, Error>(())
            }
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    let publish_all = || {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        for subscription in kept.iter() {
            assert!(subscription.is_stopped());
            subscription.added("c", "x", ejson!({ "n": 1 }));
            subscription.changed("c", "x", ejson!({ "n": 2 }));
            subscription.removed("c", "x");
            subscription.ready();
            subscription.error(Error::forbidden("late"));
            subscription.stop();
            subscription.run(async { panic!("never polled") });
        }
        kept.len()
    };
    let mut client = server.client();
    for _ in 0..2 {
        client.send_text(&sub("s", "kept", ""));
        client.expect_text(&ready("s"));
        client.send_text(&unsub("s"));
        client.expect_text(&nosub("s"));
    }
    eventually("both are over", || {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().all(Subscription::is_stopped)
    });
    assert_eq!(publish_all(), 2);
    client.expect_silence(SILENCE);
    client.close();
    eventually("everybody is gone", || server.is_at_rest());
    // The place in the shard may belong to somebody else by now.
    let mut other = server.client();
    assert_eq!(publish_all(), 2);
    other.expect_silence(SILENCE);
    assert_eq!(server.stats().unpublished_changes, 0);
    kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[test]
fn row_075_a_handler_that_outruns_its_client_loses_that_client() {
    async fn floods(subscription: Subscription) -> Result<()> {
        let text = "x".repeat(10_000);
        subscription.unblock();
        for n in 0_u32.. {
            if subscription.is_stopped() {
                break;
            }
            subscription.added("c", n, ejson!({ "text": text.as_str() }));
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    let server = Server::builder()
        .publish("floods", floods)
        .method("nothing", nothing)
        .output_limit(256 * 1024);
    let server = Running::start(server);
    let (mut slow, mut other) = (server.client(), server.client());
    slow.send_text(&sub("s", "floods", ""));
    eventually("the slow client is closed", || {
        server.stats().slow_clients == 1
    });
    other.send_text(&call("1", "nothing", ""));
    expect_result(&mut other, "1", "");
    // What was under way is whole, then it is told why.
    let end = loop {
        match slow.receive(PATIENCE) {
            Some(updraft_test_support::transcript::Received::Text(_)) => {}
            end => break end,
        }
    };
    assert_eq!(
        end.map(|end| end.to_string()).as_deref(),
        Some("-- close 1013 Slow consumer")
    );
    drop(slow);
}

#[test]
fn row_077_a_change_of_what_is_not_published_is_counted() {
    async fn confused(subscription: Subscription) -> Result<()> {
        subscription.changed("c", "x", ejson!({ "n": 1 }));
        subscription.removed("c", "x");
        subscription.added("c", "y", ejson!({}));
        subscription.changed("c", "y", ejson!({}));
        Ok(())
    }
    let server = Running::start(Server::builder().publish("confused", confused));
    let mut client = server.client();
    client.send_text(&sub("s", "confused", ""));
    client.expect_text(r#"{"msg":"added","collection":"c","id":"y"}"#);
    client.expect_text(&ready("s"));
    assert_eq!(server.stats().unpublished_changes, 2);
}

#[test]
fn row_081_083_ids_are_unlike_and_everything_is_let_go() {
    let server = Running::start(Server::builder());
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let (clients, new): (Vec<_>, Vec<_>) =
            (0..20).map(|_| Client::ddp_connect(server.url())).unzip();
        for id in new {
            assert!(updraft::random::is_meteor_id(&id), "{id}");
            assert!(ids.insert(id), "an id came twice");
        }
        assert_eq!(server.stats().sessions, 20);
        // Half of them say goodbye.
        for (n, client) in clients.into_iter().enumerate() {
            if n % 2 == 0 {
                client.close();
            } else {
                client.reset();
            }
        }
        eventually("everybody is gone", || server.is_at_rest());
    }
}

/// A vent that follows as many channels as it is told, one after the other.
async fn follows(vent: Vent, channels: usize) -> Result<()> {
    for n in 0..channels {
        vent.on(format!("channel{n}"), |m: &Message| m.event())
            .await?;
    }
    Ok(())
}

#[test]
fn vent_017_a_bus_that_does_not_answer_holds_the_queue_for_250_ms() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing);
    let server = Running::over(&redis, server);
    let mut client = server.client();
    // It answers at first, so that it is not taken for away.
    client.send_text(&sub("live", "follows", r#""vent.live",1"#));
    client.expect_text(r#"{"msg":"added","collection":"vent.live","id":"id","fields":{}}"#);
    client.expect_text(&ready("live"));
    redis.process().signal("STOP");
    // Several subscriptions wait one after the other, each for its own time.
    let asked = Instant::now();
    client.send_text(&sub("s", "follows", r#""vent.s",3"#));
    client.send_text(&call("1", "nothing", ""));
    expect_result(&mut client, "1", "");
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(240), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // It goes on waiting, and is served as soon as the bus is.
    redis.process().signal("CONT");
    client.expect_text(r#"{"msg":"added","collection":"vent.s","id":"id","fields":{}}"#);
    client.expect_text(&ready("s"));
}

#[test]
fn the_time_for_the_bus_is_one_for_all_channels_and_can_be_set() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing)
        .bus_patience(Duration::from_secs(5));
    let server = Running::over(&redis, server);
    let mut client = server.client();
    redis.process().signal("STOP");
    client.send_text(&sub("s", "follows", r#""vent.s",1"#));
    client.send_text(&call("1", "nothing", ""));
    // Longer than the default, and the method still waits for its turn.
    client.expect_silence(600);
    redis.process().signal("CONT");
    client.expect_text(r#"{"msg":"added","collection":"vent.s","id":"id","fields":{}}"#);
    client.expect_text(&ready("s"));
    expect_result(&mut client, "1", "");
}

#[test]
fn vent_017_066_sub_method_unsub_in_one_flight_without_redis() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing);
    let server = Running::over(&redis, server);
    redis.kill();
    eventually("the bus is away", || server.stats().bus_is_away);
    let mut client = server.client();
    // A machine with much to do may be late once, not always.
    let quick = (0..10).any(|_| {
        let asked = Instant::now();
        client.send_text(&sub("s", "follows", r#""vent.s",1"#));
        client.send_text(&call("1", "nothing", ""));
        client.send_text(&unsub("s"));
        expect_result(&mut client, "1", "");
        let took = asked.elapsed();
        client.expect_text(&nosub("s"));
        assert!(took >= Duration::from_millis(240), "{took:?}");
        took <= Duration::from_millis(300)
    });
    assert!(quick, "no method was answered within 300 ms");
    // One `nosub`, and nothing more.
    client.expect_silence(SILENCE);
    assert_eq!(server.stats().subscriptions, 0);
    assert_eq!(server.stats().channels, 0);
}
