//! What clients send: too much of it, in a tight loop, of a shape that nobody asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::{
    INTERNAL, SILENCE, call, expect_result, nosub, nosub_with, nothing, ready, sub, unsub,
};
use crate::common::{Count, Gate, Running};

#[test]
fn a_greeting_is_sent_before_anything_is_said() {
    let server =
        Running::start(Server::builder().configure(|settings| settings.sessions.greeting = true));
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
    let server = Server::builder().publish("any", any).configure(|settings| {
        settings.sessions.json.depth = 3;
        settings.sessions.json.keys = 4;
        settings.sessions.bounds.name = 5;
        settings.sessions.bounds.quote = 60;
        settings.sessions.max_unreadable = 3;
        settings.sessions.unreadable_window = Duration::from_secs(60);
        settings.sessions.max_subscriptions = 1;
    });
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
fn found_502_an_object_id_without_an_id_gets_a_random_one() {
    async fn hex(_: Call, id: ObjectId) -> Result<String> {
        Ok(id.to_hex())
    }
    let server = Running::start(Server::builder().method("hex", hex));
    let mut client = server.client();
    let mut ids = Vec::new();
    for (number, value) in [r#""""#, r#""""#, "null"].iter().enumerate() {
        let number = number.to_string();
        let params = format!(r#"{{"$type":"oid","$value":{value}}}"#);
        client.send_text(&call(&number, "hex", &params));
        client.expect_text(&format!(r#"{{"msg":"updated","methods":["{number}"]}}"#));
        let answer = client.expect_any_text();
        let start = format!(r#"{{"msg":"result","id":"{number}","result":""#);
        let id = answer.strip_prefix(&start).expect("a result");
        let id = id.strip_suffix(r#""}"#).expect("a string");
        assert!(ObjectId::parse(id).is_some(), "{id}");
        ids.push(id.to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
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
            Ok(())
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
fn row_060_061_deviation_006_a_flood_of_calls_waits_in_its_socket() {
    let gate = Gate::new();
    let waits = gate.clone();
    let server = Server::builder()
        .method("waits", move |_: Call| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(())
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
fn row_061_long_messages_wait_in_their_socket_too() {
    let gate = Gate::new();
    let waits = gate.clone();
    let server = Server::builder()
        .method("waits", move |_: Call| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(())
            }
        })
        .method("nothing", nothing)
        .configure(|settings| {
            settings.clients.first_message = 64 * 1024;
            settings.clients.message = 64 * 1024;
        });
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(&call("first", "waits", ""));
    gate.await_arrival(&server);
    // Far fewer than may wait by number: after the second nothing is read, until there is room
    // again.
    let long = format!(r#""{}""#, "x".repeat(60_000));
    for n in 0..20 {
        client.send_text(&call(&n.to_string(), "nothing", &long));
    }
    gate.open(1);
    expect_result(&mut client, "first", "");
    for n in 0..20 {
        expect_result(&mut client, &n.to_string(), "");
    }
}

#[test]
fn found_205_parameters_count_at_what_they_take_until_their_handler_has_ended() {
    let gate = Gate::new();
    let inside = gate.clone();
    let wait = move |call: Call, params: Args| {
        let inside = inside.clone();
        async move {
            call.unblock();
            inside.pass().await;
            drop(params);
            Ok(())
        }
    };
    let server = Server::builder()
        .method("wait", wait)
        .method("nothing", nothing)
        .configure(|settings| {
            settings.clients.queued_messages = 100;
            settings.clients.queued_bytes = 200_000;
        });
    let server = Running::start(server);
    let (mut client, mut other) = (server.client(), server.client());
    // 4 KB of text, of which each item takes many times its own.
    let numbers = format!("[{}]", vec!["[1]"; 1000].join(","));
    let text = call("1", "wait", &numbers);
    client.send_text(&text);
    gate.await_arrival(&server);
    let each = server.stats().parameter_bytes;
    assert!(each > 10 * text.len(), "{each}");
    // No more begin while those that run hold as much as the limit; other clients are served.
    let held = 200_000_usize.div_ceil(each);
    for number in 2..=held + 1 {
        client.send_text(&call(&number.to_string(), "wait", &numbers));
    }
    (2..=held).for_each(|_| gate.await_arrival(&server));
    other.send_text(&call("o", "nothing", ""));
    expect_result(&mut other, "o", "");
    assert_eq!(server.stats().parameter_bytes, held * each);
    gate.open(1);
    gate.await_arrival(&server);
    gate.open(held);
    for _ in 0..2 * (held + 1) {
        client.expect_any_text();
    }
    assert_eq!(server.stats().parameter_bytes, 0);
}

#[test]
fn row_048_066_067_a_typed_parameter_takes_nothing_else() {
    async fn typed(_: Call, (text, number): (String, u32)) -> Result<String> {
        Ok(format!("{text} {number}"))
    }
    // On a loopback listener the error has details, which are found_302's matter.
    let server = Server::builder()
        .configure(|settings| settings.trusted_proxies = updraft::TrustedProxies::Hops(1));
    let server = Running::start(server.method("typed", typed));
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
fn row_068_found_201_a_parameter_cannot_choose_another_channel() {
    async fn thread(vent: Vent, id: String) -> Result<()> {
        vent.on(updraft::channel!["threads", id], |m: &Message| m.event())
            .await
    }
    let server = Server::builder()
        .configure(|settings| settings.trusted_proxies = updraft::TrustedProxies::Hops(1));
    let server = Running::start(server.vent("thread", thread));
    let mut client = server.client();
    let long = "x".repeat(129);
    for part in [
        "", "*", "a?", "[a-z]", "^", "a::b", ":a", "a:", "a:b", "a b", r"a\nb", r"\u0000", r"\\",
        r"\u007f", r"\u2003", &long,
    ] {
        client.send_text(&sub("s", "thread", &format!(r#""vent.thread","{part}""#)));
        client.expect_text(&nosub_with(
            "s",
            r#"{"isClientSafe":true,"error":400,"reason":"Not a valid part of a channel name","message":"Not a valid part of a channel name [400]","errorType":"Meteor.Error"}"#,
        ));
    }
    assert_eq!(server.stats().channels, 0);
    for (n, part) in ["../../etc", "__proto__", "%2a", "é"].iter().enumerate() {
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
