//! What the Vent client of redis-oplog sends and understands, byte for byte, over a socket.
//! Publications are those of the example `fixture`, which are named as that package's own client
//! tests want them; a few facts need a publication that it does not have, and a server of their
//! own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use updraft::prelude::{Args, Call, Result, Server, Vent, ejson};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::example::Example;
use updraft_test_support::redis::RedisServer;

use crate::common::serve;

/// Vent ids as the client makes them: 17 characters of Meteor's alphabet.
const ALICE: &str = "kpNzWxsDHYcxAHj5M";
const BOB: &str = "w7RoyC3yWt5nFQ3aS";

/// What the client compares, before it parses anything.
const PREFIX: &str = r#"{"msg":"changed","__vent":"1"#;

/// How long nothing may come, in milliseconds.
const SILENCE: u64 = 200;

#[test]
fn vent_001_002_003_004_005_006_007_one_subscription_to_the_byte() {
    let server = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);

    let mut publisher = VentClient::connect(&server.url());
    publisher.emit("c", json!({ "text": "Hello!" }));
    let event = client.expect_any_text();
    assert_eq!(PREFIX.len(), 28);
    assert_eq!(event.get(..PREFIX.len()), Some(PREFIX));
    assert_eq!(
        event,
        format!(
            r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.threadMessage","e":{{"text":"Hello!"}}}}"#
        )
    );

    client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    client.expect_silence(SILENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn vent_004_a_name_with_dots_is_not_escaped() {
    let server = Server::builder()
        .vent("a.b", |vent: Vent| async move { vent.relay("c").await })
        .method("emit", |call: Call| async move { call.emit("c", 1).await });
    let (address, _) = serve(server).await;
    let url = format!("ws://{address}/websocket");
    let (mut client, _) = Client::ddp_connect(&url);
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"S1","name":"a.b","params":["{ALICE}"]}}"#
    ));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    VentClient::connect(&url).call("emit", json!([]));
    client.expect_text(&format!(
        r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.a.b","e":1}}"#
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn vent_013_014_the_handler_gets_what_follows_the_vent_id() {
    async fn shows(vent: Vent, Args(args): Args) -> Result<()> {
        vent.added("args", "all", ejson!({ "args": args }));
        Ok(())
    }
    let server = Server::builder().vent("tm", shows);
    let (address, _) = serve(server).await;
    let url = format!("ws://{address}/websocket");
    let (mut client, _) = Client::ddp_connect(&url);
    for (params, args) in [(r#",{"channel":"c"}"#, r#"[{"channel":"c"}]"#), ("", "[]")] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{ALICE}"{params}]}}"#
        ));
        client.expect_text(&format!(
            r#"{{"msg":"added","collection":"args","id":"all","fields":{{"args":{args}}}}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
        client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
        client.expect_text(r#"{"msg":"removed","collection":"args","id":"all"}"#);
        client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    }
}

#[test]
fn vent_014_a_default_applies_to_what_is_missing() {
    let server = Example::start("fixture", &[]);
    let mut client = VentClient::connect(&server.url());
    // `shouldReturn` is true unless it is given.
    let with_default = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
    client.ready(&with_default);
    client.emit("c", json!("on"));
    assert_eq!(client.event(&with_default), json!("on"));
}

#[test]
fn vent_016_what_is_published_right_after_ready_arrives() {
    let redis = RedisServer::start();
    let server = Example::start("fixture", &[("REDIS_URL", &redis.url())]);
    let mut client = VentClient::connect(&server.url());
    for round in 1..=200 {
        // A channel that the server does not follow yet.
        let channel = format!("c{round}");
        let id = round.to_string();
        let subscription = client.subscribe(&id, ALICE, &json!({ "channel": channel }));
        client.ready(&subscription);
        redis.publish(&channel, &id);
        assert_eq!(client.event(&subscription), json!(round));
        client.unsubscribe(&subscription);
    }
}

#[test]
fn vent_019_022_every_subscription_gets_its_own() {
    let server = Example::start("fixture", &[]);
    let mut first = VentClient::connect(&server.url());
    let mut second = VentClient::connect(&server.url());
    let alice = first.subscribe("1", ALICE, &json!({ "channel": "c" }));
    first.ready(&alice);
    let bob = first.subscribe("2", BOB, &json!({ "channel": "c" }));
    first.ready(&bob);
    let elsewhere = second.subscribe("1", ALICE, &json!({ "channel": "c" }));
    second.ready(&elsewhere);
    first.emit("c", json!(7));
    assert_eq!(first.event(&alice), json!(7));
    assert_eq!(first.event(&bob), json!(7));
    assert_eq!(second.event(&elsewhere), json!(7));
}

#[test]
fn vent_020_one_vent_id_twice_is_two_frames() {
    let server = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    for id in ["S1", "S2"] {
        client.send_text(&sub(id, ALICE, r#"{"channel":"c"}"#));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{id}"]}}"#));
    }
    let mut publisher = VentClient::connect(&server.url());
    publisher.emit("c", json!(1));
    let frame = format!(r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.threadMessage","e":1}}"#);
    client.expect_text(&frame);
    client.expect_text(&frame);
    client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    publisher.emit("c", json!(1));
    client.expect_text(&frame);
    client.expect_silence(SILENCE);
}

#[test]
fn vent_021_a_live_subscription_id_is_not_subscribed_again() {
    let server = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    client.send_text(&sub("S1", BOB, r#"{"channel":"c"}"#));
    client.expect_silence(SILENCE);
    VentClient::connect(&server.url()).emit("c", json!(1));
    client.expect_text(&format!(
        r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.threadMessage","e":1}}"#
    ));
    client.expect_silence(SILENCE);
}

#[test]
fn vent_028_a_subscription_in_the_flight_of_connect() {
    let server = Example::start("fixture", &[]);
    let mut client = Client::connect(&server.url());
    client.send_text(CONNECT);
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    let connected = client.expect_any_text();
    assert!(
        connected.starts_with(r#"{"msg":"connected","session":""#),
        "{connected}"
    );
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    VentClient::connect(&server.url()).emit("c", json!(1));
    client.expect_text(&format!(
        r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.threadMessage","e":1}}"#
    ));
}

#[test]
fn vent_030_a_hundred_events_in_order() {
    let redis = RedisServer::start();
    for environment in [vec![], vec![("REDIS_URL", redis.url())]] {
        let environment: Vec<_> = environment
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let server = Example::start("fixture", &environment);
        let mut client = VentClient::connect(&server.url());
        let subscription = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
        client.ready(&subscription);
        for n in 0..100 {
            client.emit("c", json!({ "n": n }));
        }
        for n in 0..100 {
            assert_eq!(client.event(&subscription), json!({ "n": n }));
        }
        client.no_event();
    }
}

#[test]
fn vent_048_a_publisher_in_another_process() {
    let redis = RedisServer::start();
    let environment = [("REDIS_URL", redis.url())];
    let environment = environment
        .each_ref()
        .map(|(key, url)| (*key, url.as_str()));
    let here = Example::start("fixture", &environment);
    let there = Example::start("fixture", &environment);
    let mut client = VentClient::connect(&here.url());
    let subscription = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
    client.ready(&subscription);
    VentClient::connect(&there.url()).emit("c", json!({ "from": "there" }));
    assert_eq!(client.event(&subscription), json!({ "from": "there" }));
    client.no_event();
}

#[test]
fn vent_009_011_031_032_033_046_047_whatever_redis_is_told_to_publish() {
    let redis = RedisServer::start();
    let server = Example::start("fixture", &[("REDIS_URL", &redis.url())]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    for nothing in ["", "0", r#""""#, "false", "null", "{", "nonsense"] {
        assert_eq!(redis.publish("c", nothing), 1);
    }
    for event in [
        r#"{"b":"é 日本","a":{"z":1,"y":[]}}"#,
        r#""str""#,
        "5",
        "true",
        "[]",
        "{}",
    ] {
        assert_eq!(redis.publish("c", event), 1);
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{ALICE}.threadMessage","e":{event}}}"#
        ));
    }
}

#[test]
fn vent_050_051_unsub_is_always_answered() {
    let server = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    client.send_text(r#"{"msg":"unsub","id":"S9"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"S9"}"#);
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
}

#[test]
fn vent_052_no_event_follows_the_nosub_of_its_subscription() {
    let server = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&server.url());
    client.send_text(&sub("S1", ALICE, r#"{"channel":"c"}"#));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    let mut publisher = VentClient::connect(&server.url());
    let flood = json!([{ "channel": "c", "object": 1, "times": 5_000 }]);
    let call = publisher.begin_call("vent_emit", flood);
    for _ in 0..10 {
        assert!(client.expect_any_text().starts_with(PREFIX));
    }
    client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
    while client.expect_any_text().starts_with(PREFIX) {}
    publisher.result(&call);
    client.expect_silence(SILENCE);
}

#[test]
fn vent_053_057_a_channel_is_released_with_its_last_subscriber() {
    let redis = RedisServer::start();
    let server = Example::start("fixture", &[("REDIS_URL", &redis.url())]);
    let mut stays = VentClient::connect(&server.url());
    let mut leaves = VentClient::connect(&server.url());
    let first = stays.subscribe("1", ALICE, &json!({ "channel": "c" }));
    let second = leaves.subscribe("1", BOB, &json!({ "channel": "c" }));
    stays.ready(&first);
    leaves.ready(&second);
    assert_eq!(redis.numsub("c"), 1);
    leaves.unsubscribe(&second);
    leaves.control(&json!({ "msg": "nosub", "id": "1" }));
    stays.emit("c", json!(1));
    assert_eq!(stays.event(&first), json!(1));
    assert_eq!(redis.numsub("c"), 1);
    // Without it the session would wait for its client to come back.
    stays.socket.send_text(r#"{"msg":"disconnect"}"#);
    stays.socket.close();
    redis.await_numsub("c", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn vent_056_a_handler_that_stops_is_never_ready() {
    async fn stops(vent: Vent) -> Result<()> {
        vent.relay("c").await?;
        vent.stop();
        Ok(())
    }
    let server = Server::builder().vent("tm", stops);
    let (address, _) = serve(server).await;
    let url = format!("ws://{address}/websocket");
    let (mut client, _) = Client::ddp_connect(&url);
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"S1","name":"tm","params":["{ALICE}"]}}"#
    ));
    client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    client.expect_silence(SILENCE);
}

#[test]
fn vent_063_events_resume_in_a_new_session() {
    let mut server = Example::start("fixture", &[]);
    let port = server.port().to_string();
    let mut subscription = None;
    for run in 0..3 {
        if run == 2 {
            drop(server);
            server = Example::start("fixture", &[("PORT", &port)]);
        }
        // A new socket is a new session, to which a client sends its subscriptions again, as they
        // were.
        let mut client = VentClient::connect(&server.url());
        let again = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
        client.ready(&again);
        client.emit("c", json!({ "run": run }));
        assert_eq!(client.event(&again), json!({ "run": run }));
        assert_eq!(again, *subscription.get_or_insert_with(|| again.clone()));
    }
}

#[test]
fn vent_065_a_second_connect_is_an_error_and_nothing_more() {
    let server = Example::start("fixture", &[]);
    let mut client = VentClient::connect(&server.url());
    let subscription = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
    client.ready(&subscription);
    client.socket.send_text(CONNECT);
    client.socket.expect_text(&format!(
        r#"{{"msg":"error","reason":"Already connected","offendingMessage":{CONNECT}}}"#
    ));
    client.emit("c", json!(1));
    assert_eq!(client.event(&subscription), json!(1));
}

/// The four things that redis-oplog's own tests of its client hold, and the option that they leave
/// out.
#[test]
fn vent_015_054_055_076_077_078_what_redis_oplog_tests() {
    let server = Example::start("fixture", &[]);
    let mut client = VentClient::connect(&server.url());

    // An event that is emitted reaches who is subscribed.
    let subscription = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
    client.ready(&subscription);
    client.emit("c", json!({ "text": "Hello!" }));
    assert_eq!(client.event(&subscription), json!({ "text": "Hello!" }));
    client.unsubscribe(&subscription);

    // Who names no channel is told so; the subscription id can be used again.
    let refused = client.subscribe("1", ALICE, &json!({}));
    client.control(&json!({
        "msg": "nosub",
        "id": refused.id,
        "error": {
            "isClientSafe": true,
            "error": "invalid-arguments",
            "reason": "Please supply a valid channel",
            "message": "Please supply a valid channel [invalid-arguments]",
            "errorType": "Meteor.Error",
        },
    }));

    // Many events of one call all arrive.
    let subscription = client.subscribe("1", ALICE, &json!({ "channel": "c" }));
    client.ready(&subscription);
    client.call(
        "vent_emit",
        json!([{ "channel": "c", "object": { "text": "Hello!" }, "times": 100 }]),
    );
    for _ in 0..100 {
        assert_eq!(client.event(&subscription), json!({ "text": "Hello!" }));
    }
    client.no_event();
    client.unsubscribe(&subscription);

    // Nothing arrives for who stops in the same breath.
    let stopped = client.subscribe("2", BOB, &json!({ "channel": "c" }));
    client.unsubscribe(&stopped);
    client.emit("c", json!({ "text": "Hello!" }));
    client.no_event();

    // Nothing arrives when the mapping function returns nothing.
    let silent = client.subscribe("3", BOB, &json!({ "channel": "c", "shouldReturn": false }));
    client.ready(&silent);
    client.emit("c", json!({ "text": "Hello!" }));
    client.no_event();
}

/// The frame that `Vent.subscribe('threadMessage', OPTIONS)` causes.
fn sub(id: &str, vent: &str, options: &str) -> String {
    format!(r#"{{"msg":"sub","id":"{id}","name":"threadMessage","params":["{vent}",{options}]}}"#)
}

/// A client that does with frames what the one of redis-oplog does: a frame that begins with
/// [`PREFIX`] is an event, and belongs to the subscription whose Vent id and name its `id` joins.
struct VentClient {
    socket: Client,
    /// Filled from the socket, drained by [`event`](Self::event); as long as what a test emits.
    events: HashMap<String, VecDeque<Value>>,
    /// Frames of other kinds. Filled from the socket, drained by [`control`](Self::control).
    others: VecDeque<Value>,
    calls: u32,
}

/// A subscription of a [`VentClient`].
#[derive(Clone, Debug, PartialEq)]
struct Subscribed {
    id: String,
    /// `VENT.NAME`, by which events are found.
    key: String,
}

impl VentClient {
    fn connect(url: &str) -> Self {
        let (socket, _) = Client::ddp_connect(url);
        Self {
            socket,
            events: HashMap::new(),
            others: VecDeque::new(),
            calls: 0,
        }
    }

    fn subscribe(&mut self, id: &str, vent: &str, options: &Value) -> Subscribed {
        let key = format!("{vent}.threadMessage");
        self.socket.send_text(&sub(id, vent, &options.to_string()));
        let id = id.to_owned();
        Subscribed { id, key }
    }

    fn ready(&mut self, subscription: &Subscribed) {
        self.control(&json!({ "msg": "ready", "subs": [subscription.id] }));
    }

    /// Sends `unsub` and does not wait for an answer. Events that come all the same are seen by
    /// [`no_event`](Self::no_event).
    fn unsubscribe(&mut self, subscription: &Subscribed) {
        self.socket
            .send_text(&format!(r#"{{"msg":"unsub","id":"{}"}}"#, subscription.id));
    }

    fn emit(&mut self, channel: &str, object: Value) {
        self.call(
            "vent_emit",
            json!([{ "channel": channel, "object": object }]),
        );
    }

    /// Calls a method and waits for its result.
    fn call(&mut self, method: &str, params: Value) {
        let call = self.begin_call(method, params);
        self.result(&call);
    }

    /// Calls a method; the answer is the id of that call.
    fn begin_call(&mut self, method: &str, params: Value) -> String {
        self.calls += 1;
        let id = format!("m{}", self.calls);
        let call = json!({ "msg": "method", "method": method, "params": params, "id": id });
        self.socket.send_text(&call.to_string());
        id
    }

    fn result(&mut self, call: &str) {
        self.control(&json!({ "msg": "result", "id": call }));
    }

    /// Waits for a frame that is no event.
    fn control(&mut self, expected: &Value) {
        loop {
            if let Some(found) = self.others.iter().position(|frame| frame == expected) {
                self.others.remove(found);
                return;
            }
            assert!(
                self.receive(PATIENCE),
                "no {expected}, only {:?}",
                self.others
            );
        }
    }

    /// The next event of a subscription.
    fn event(&mut self, subscription: &Subscribed) -> Value {
        loop {
            let events = self.events.entry(subscription.key.clone()).or_default();
            if let Some(event) = events.pop_front() {
                return event;
            }
            assert!(self.receive(PATIENCE), "no event, only {:?}", self.others);
        }
    }

    /// Takes one frame in, if it comes in time.
    fn receive(&mut self, limit: Duration) -> bool {
        let Some(text) = self.socket.next_text(limit) else {
            return false;
        };
        let mut frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        if text.starts_with(PREFIX) {
            let key = frame["id"].as_str().expect("an event has an id");
            let events = self.events.entry(key.to_owned()).or_default();
            events.push_back(frame["e"].take());
        } else {
            self.others.push_back(frame);
        }
        true
    }

    /// No event may wait, and none come.
    fn no_event(&mut self) {
        while self.receive(Duration::from_millis(SILENCE)) {}
        let waiting: Vec<_> = self.events.values().flatten().collect();
        assert!(waiting.is_empty(), "{waiting:?}");
    }
}
