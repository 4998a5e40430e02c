//! Servers on a real Redis: what is published reaches the clients, also when Redis was away, and
//! what goes out is what other programs expect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Count, Running, VID, eventually_within, meanwhile, received, talk};
use updraft::prelude::*;
use updraft::{Binary, Builder, EmitError, ErrorKind, Handle, ListenerGuard, Received, WhenAway};
use updraft_test_support::client::Client;
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

const LIMIT: Duration = Duration::from_secs(10);

async fn relay(vent: Vent, channel: String) -> Result<()> {
    vent.relay(channel![channel]).await
}

async fn stream(vent: Vent, (_, channel): (String, String)) -> Result<()> {
    vent.relay(channel![channel]).await
}

fn relaying() -> Builder {
    Server::builder().vent("tm", relay).streamer("x", stream)
}

/// Subscribes to a channel under the id and the Vent id of this number, in the collection encoding.
fn follow(client: &mut Client, number: usize, channel: &str) {
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"{number}","name":"tm","params":["vent.{number}","{channel}"]}}"#
    ));
    client.expect_text(&format!(
        r#"{{"msg":"added","collection":"vent.{number}","id":"id","fields":{{}}}}"#
    ));
    client.expect_text(&format!(r#"{{"msg":"ready","subs":["{number}"]}}"#));
}

fn expect_event(client: &mut Client, number: usize, event: &str) {
    client.expect_text(&format!(
        r#"{{"msg":"changed","collection":"vent.{number}","id":"id","fields":{{"event":{event}}}}}"#
    ));
}

/// Whatever is published right after `ready` arrives, ten times over.
///
/// `before` is what comes ahead of `ready`; an event stands between `head` and `tail`.
fn nothing_is_lost_after_ready(subscribe: &str, before: &[&str], head: &str, tail: &str) {
    let redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let mut client = server.client();
    redis.publish("c", "so that the connection is there");
    for round in 0..10 {
        let channel = format!("c{round}");
        client.send_text(&subscribe.replace("CHANNEL", &channel));
        before.iter().for_each(|frame| client.expect_text(frame));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
        for number in 0..200 {
            assert_eq!(redis.publish(&channel, format!(r#"{{"n":{number}}}"#)), 1);
        }
        for number in 0..200 {
            client.expect_text(&format!(r#"{head}{{"n":{number}}}{tail}"#));
        }
        client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
        if !before.is_empty() {
            assert!(client.expect_any_text().starts_with(r#"{"msg":"removed""#));
        }
        client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    }
}

#[test]
fn vent_016_two_hundred_of_two_hundred_arrive_in_the_shipped_encoding() {
    nothing_is_lost_after_ready(
        &format!(r#"{{"msg":"sub","id":"S1","name":"tm","params":["{VID}","CHANNEL"]}}"#),
        &[],
        &format!(r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":"#),
        "}",
    );
}

#[test]
fn vent_016_two_hundred_of_two_hundred_arrive_in_the_collection_encoding() {
    nothing_is_lost_after_ready(
        r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.a","CHANNEL"]}"#,
        &[r#"{"msg":"added","collection":"vent.a","id":"id","fields":{}}"#],
        r#"{"msg":"changed","collection":"vent.a","id":"id","fields":{"event":"#,
        "}}",
    );
}

#[test]
fn vent_016_two_hundred_of_two_hundred_arrive_in_the_streamer_encoding() {
    nothing_is_lost_after_ready(
        r#"{"msg":"sub","id":"S1","name":"stream-x","params":["n",{"useCollection":true,"args":["CHANNEL"]}]}"#,
        &[r#"{"msg":"added","collection":"stream-x","id":"id","fields":{"eventName":"n"}}"#],
        r#"{"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"n","args":["#,
        "]}}",
    );
}

#[test]
fn vent_010_043_044_046_047_payloads_of_other_programs() {
    let redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let mut client = server.client();
    follow(&mut client, 1, "c");
    let events: [(&[u8], &str); 6] = [
        (br#"{"a":1}"#, r#"{"a":1}"#),
        (br#""str""#, r#""str""#),
        (b"5", "5"),
        // Numbers are passed on as they were written.
        (
            br#"{"n":[1.0,9007199254740993]}"#,
            r#"{"n":[1.0,9007199254740993]}"#,
        ),
        (br#"{"at":{"$date":5}}"#, r#"{"at":{"$date":5}}"#),
        (br#"{"\u0024date":5}"#, r#"{"$date":5}"#),
    ];
    for (payload, event) in events {
        redis.publish("c", payload);
        expect_event(&mut client, 1, event);
    }
    let broken: [&[u8]; 6] = [b"", b"{", b"not json", b"1 2", b"\"\xff\"", b"{\"a\":01}"];
    for payload in broken {
        redis.publish("c", payload);
    }
    redis.publish("c", r#"{"odd":{"$type":"of nobody","$value":1}}"#);
    let text = client.expect_any_text();
    assert!(text.contains("of nobody"), "{text}");
    assert_eq!(server.stats().dropped_payloads, broken.len() as u64);
    talk(&mut client, "-- silence");
}

#[test]
fn vent_044_an_unknown_type_passes_in_the_shipped_encoding_too() {
    let redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","c"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    redis.publish("c", r#"{"odd":{"$type":"of nobody","$value":1}}"#);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"odd":{"$type":"of nobody","$value":1}}}"#,
    );
}

#[test]
fn vent_048_what_one_process_emits_reaches_the_clients_of_another() {
    let redis = RedisServer::start();
    let servers = [
        Running::over(&redis, relaying()),
        Running::over(&redis, relaying()),
    ];
    let mut clients = [servers[0].client(), servers[1].client()];
    for client in &mut clients {
        follow(client, 1, "c");
    }
    assert_eq!(redis.numsub("c"), 2);
    for (number, server) in servers.iter().enumerate() {
        server.emit("c", ejson!({ "from": number }));
        for client in &mut clients {
            expect_event(client, 1, &format!(r#"{{"from":{number}}}"#));
        }
    }
}

#[test]
fn vent_053_057_072_a_channel_costs_one_subscription_however_many_follow_it() {
    let redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let mut clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for client in &mut clients {
        (0..4).for_each(|number| follow(client, number, "c"));
    }
    assert_eq!(redis.numsub("c"), 1);
    assert_eq!(
        (server.stats().channels, server.stats().subscriptions),
        (1, 20)
    );
    assert_eq!(redis.publish("c", "1"), 1);
    for client in &mut clients {
        (0..4).for_each(|number| expect_event(client, number, "1"));
    }
    let mut last = clients.pop().unwrap();
    drop(clients);
    for number in 0..3 {
        last.send_text(&format!(r#"{{"msg":"unsub","id":"{number}"}}"#));
        last.expect_text(&format!(
            r#"{{"msg":"removed","collection":"vent.{number}","id":"id"}}"#
        ));
        last.expect_text(&format!(r#"{{"msg":"nosub","id":"{number}"}}"#));
    }
    assert!(eventually_within(LIMIT, || server.stats().subscriptions == 1));
    assert_eq!(redis.numsub("c"), 1);
    redis.publish("c", "2");
    expect_event(&mut last, 3, "2");
    last.reset();
    redis.await_numsub("c", 0);
}

#[test]
fn vent_066_after_a_restart_of_redis_events_go_on_and_each_subscription_is_told_once() {
    let mut redis = RedisServer::start();
    let gaps: [Count; 3] = Default::default();
    let counting = gaps.clone();
    let builder = Server::builder().vent(
        "tm",
        move |vent: Vent, (number, channels): (usize, Vec<String>)| {
            let gaps = counting[number].clone();
            vent.on_gap(move || gaps.add());
            async move {
                for channel in channels {
                    vent.relay(channel![channel]).await?;
                }
                Ok(())
            }
        },
    );
    let server = Running::over(&redis, builder);
    let mut clients = [server.client(), server.client(), server.client()];
    for (number, client) in clients.iter_mut().enumerate() {
        let channels = [r#"["c"]"#, r#"["c","d"]"#, r#"["c","c"]"#][number];
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{VID}",{number},{channels}]}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    }
    let expect_events = |clients: &mut [Client; 3], event: &str| {
        let frame = format!(r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{event}}}"#);
        for (client, times) in clients.iter_mut().zip([1, 1, 2]) {
            (0..times).for_each(|_| client.expect_text(&frame));
        }
    };
    let told = || [0, 1, 2].map(|number| gaps[number].get());
    for outage in 1..=2 {
        redis.publish("c", "1");
        expect_events(&mut clients, "1");
        redis.restart();
        redis.await_numsub("c", 1);
        redis.await_numsub("d", 1);
        redis.publish("c", "2");
        expect_events(&mut clients, "2");
        assert!(eventually_within(LIMIT, || !told().contains(&(outage - 1))));
        clients
            .iter_mut()
            .for_each(|client| assert!(received(client).is_empty()));
        assert_eq!(told(), [outage; 3]);
        assert_eq!(server.stats().gaps, 3 * outage as u64);
    }
}

#[test]
fn vent_066_067_a_stream_goes_on_over_a_restart_in_order_and_nothing_comes_twice() {
    let mut redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let emitter = server.wait(Emitter::connect(&redis.url())).unwrap();
    let mut client = server.client();
    follow(&mut client, 1, "c");
    let next = |client: &mut Client| -> u64 {
        let text = client.expect_any_text();
        let number = text
            .strip_prefix(r#"{"msg":"changed","collection":"vent.1","id":"id","fields":{"event":"#)
            .and_then(|rest| rest.strip_suffix("}}"));
        number.expect("an event").parse().unwrap()
    };
    let mut numbers = 1_u64..;
    // Which of them fail is not the question here.
    let emit = || drop(server.wait(emitter.emit("c", numbers.next())));
    meanwhile(emit, || {
        let mut latest = 0;
        for restarts in 0..=3 {
            if restarts > 0 {
                redis.restart();
                redis.await_numsub("c", 1);
            }
            for _ in 0..50 {
                let number = next(&mut client);
                assert!(number > latest, "{number} after {latest}");
                latest = number;
            }
        }
    });
    assert!(eventually_within(LIMIT, || server.stats().gaps == 3));
}

#[test]
fn vent_017_066_a_subscription_made_while_redis_is_away_waits_and_holds_nobody_up() {
    let mut redis = RedisServer::start();
    let server = Running::over(&redis, relaying().method("now", async |_: Call| Ok(1)));
    let mut client = server.client();
    follow(&mut client, 1, "c");
    redis.kill();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S2","name":"tm","params":["VID","d"]}
        -> {"msg":"method","id":"m","method":"now","params":[]}
        <- {"msg":"updated","methods":["m"]}
        <- {"msg":"result","id":"m","result":1}
        "#,
    );
    redis.restart();
    talk(&mut client, r#"<- {"msg":"ready","subs":["S2"]}"#);
    redis.publish("d", "1");
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}"#,
    );
    redis.await_numsub("c", 1);
    redis.publish("c", "2");
    expect_event(&mut client, 1, "2");
}

#[test]
fn vent_017_without_redis_a_subscription_is_refused_at_once_or_after_a_while() {
    let mut redis = RedisServer::start();
    let while_ = WhenAway::Hold(Duration::from_millis(500));
    for when_away in [WhenAway::Refuse, while_] {
        redis.restart();
        let server = Running::over(
            &redis,
            relaying().configure(|settings| settings.bus.when_away = when_away),
        );
        // At once: that the bus has not connected yet does not mean that it is away.
        let mut client = server.client();
        follow(&mut client, 1, "c");
        redis.kill();
        assert!(eventually_within(LIMIT, || server.stats().bus_is_away));
        talk(
            &mut client,
            r#"
            -> {"msg":"sub","id":"S2","name":"tm","params":["vent.b","d"]}
            <- {"msg":"nosub","id":"S2","error":{"isClientSafe":true,"error":503,"reason":"bus-unavailable","message":"bus-unavailable [503]","errorType":"Meteor.Error"}}
            "#,
        );
        // Who follows a channel already is not sent away.
        assert_eq!(
            (server.stats().channels, server.stats().subscriptions),
            (1, 1)
        );
        redis.restart();
        redis.await_numsub("c", 1);
        follow(&mut client, 2, "d");
        redis.publish("c", "1");
        expect_event(&mut client, 1, "1");
    }
}

#[test]
fn vent_067_what_is_emitted_while_redis_is_away_fails_visibly_and_never_arrives() {
    let mut redis = RedisServer::start();
    let server = Running::over(
        &redis,
        relaying().method("emit", async |call: Call, value: Value| {
            call.emit("c", value).await
        }),
    );
    let mut client = server.client();
    follow(&mut client, 1, "c");
    redis.kill();
    for _ in 0..3 {
        let error = server.wait(server.handle().emit("c", "lost")).unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::NotSent | ErrorKind::OutcomeUnknown),
            "{kind:?}"
        );
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"m","method":"emit","params":["lost"]}
        <- {"msg":"updated","methods":["m"]}
        <- {"msg":"result","id":"m","error":{"isClientSafe":true,"error":503,"reason":"bus-unavailable","message":"bus-unavailable [503]","errorType":"Meteor.Error"}}
        "#,
    );
    redis.restart();
    redis.await_numsub("c", 1);
    let emitted = || server.wait(server.handle().emit("c", "there")).is_ok();
    assert!(eventually_within(LIMIT, emitted));
    expect_event(&mut client, 1, r#""there""#);
    talk(&mut client, "-- silence");
}

#[test]
fn vent_068_069_070_emitters_write_ejson_on_exactly_the_channel() {
    let redis = RedisServer::start();
    let emit = async |call: Call, value: Value| call.emit("threads::7", value).await;
    let server = Running::over(&redis, relaying().method("emit", emit));
    let emitter = server.wait(Emitter::connect(&redis.url())).unwrap();
    let mut connection = redis.connection();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    let mut subscriber = connection.as_pubsub();
    subscriber.psubscribe("*").unwrap();
    let oid: ObjectId = "5f0123456789abcdef012345".parse().unwrap();
    let value = ejson!({
        "text": "Hällo!",
        "at": Date::from_millis(5.0),
        "n": f64::NAN,
        "b": Binary(vec![1, 2]),
        "o": oid,
        "z": null,
        "u": Value::Undefined,
    });
    let printed = r#"{"text":"Hällo!","at":{"$date":5},"n":{"$InfNaN":0},"b":{"$binary":"AQI="},"o":{"$type":"oid","$value":"5f0123456789abcdef012345"},"z":null}"#;
    let values = [
        (value, printed),
        (ejson!({ "$date": 5 }), r#"{"$escape":{"$date":5}}"#),
        (ejson!(null), "null"),
        (ejson!("a"), r#""a""#),
    ];
    let mut client = server.client();
    for (value, printed) in values {
        server.emit("threads::7", &value);
        server.wait(emitter.emit("threads::7", &value)).unwrap();
        client.send_text(&format!(
            r#"{{"msg":"method","id":"m","method":"emit","params":[{printed}]}}"#
        ));
        client.expect_text(r#"{"msg":"updated","methods":["m"]}"#);
        client.expect_text(r#"{"msg":"result","id":"m"}"#);
        for _ in 0..3 {
            let message = subscriber.get_message().unwrap();
            assert_eq!(message.get_channel_name(), "threads::7");
            assert_eq!(
                std::str::from_utf8(message.get_payload_bytes()).unwrap(),
                printed
            );
        }
    }
}

#[test]
fn vent_069_what_looks_like_ejson_arrives_as_what_it_was() {
    let redis = RedisServer::start();
    let server = Running::over(
        &redis,
        Server::builder().vent("tm", async |vent: Vent| {
            let map = |m: &Message| {
                let date = m.value().get("$date").cloned();
                Some(ejson!({ "member": date.unwrap_or_default() }))
            };
            vent.on("c", map).await
        }),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", ejson!({ "$date": 5 }));
    server.emit("c", Date::from_millis(5.0));
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"member":5}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{}}
        "#,
    );
}

#[test]
fn vent_071_undefined_cannot_be_emitted() {
    let redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let emitter = server.wait(Emitter::connect(&redis.url())).unwrap();
    let error = server.wait(server.handle().emit("c", Value::Undefined));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Client);
    let error = server.wait(emitter.emit("c", Value::Undefined));
    assert!(matches!(error, Err(EmitError::InvalidArgument(_))));
    for channel in ["", "a\nb"] {
        let error = server.wait(emitter.emit(channel, 1));
        assert!(matches!(error, Err(EmitError::InvalidArgument(_))));
        let error = server.wait(server.handle().emit(channel, 1));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Client);
    }
}

#[test]
fn an_emitter_outlives_a_restart_of_redis() {
    let mut redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let emitter = server.wait(Emitter::connect(&redis.url())).unwrap();
    let mut client = server.client();
    follow(&mut client, 1, "c");
    server.wait(emitter.emit("c", 1)).unwrap();
    expect_event(&mut client, 1, "1");
    redis.kill();
    for _ in 0..2 {
        let failed = server.wait(emitter.emit("c", "lost")).unwrap_err();
        let visible = matches!(failed, EmitError::NotSent(_) | EmitError::OutcomeUnknown(_));
        assert!(visible, "{failed:?}");
    }
    assert!(server.wait(Emitter::connect(&redis.url())).is_err());
    redis.restart();
    redis.await_numsub("c", 1);
    assert!(eventually_within(LIMIT, || server
        .wait(emitter.emit("c", 2))
        .is_ok()));
    expect_event(&mut client, 1, "2");
}

/// What a program hears of a channel, in words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, received: &Received) {
        let word = match received {
            Received::Message(message) => ejson::to_json(message.value()),
            Received::Gap => "gap".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(word);
    }

    fn is(&self, expected: &[&str]) -> bool {
        *self.0.lock().unwrap() == expected
    }

    /// Has it note all that comes on the channel `orders`.
    async fn listen(&self, handle: &Handle) -> Result<ListenerGuard> {
        let heard = self.clone();
        let listening = handle.on(channel!["orders"], move |received| {
            let heard = heard.clone();
            async move {
                heard.note(&received);
                let Received::Message(message) = &received else {
                    return;
                };
                assert_ne!(*message.value(), "panic".into(), "as was asked for");
            }
        });
        listening.await
    }
}

#[test]
fn found_317_a_program_listens_to_a_channel_until_it_drops_what_it_got() {
    let server = Running::start(relaying());
    let heard = Heard::default();
    let listening = server.wait(heard.listen(server.handle())).unwrap();
    assert_eq!(server.stats().channels, 1);
    server.emit("orders", 1);
    server.emit("others", 2);
    // It costs one call, not those that follow.
    server.emit("orders", "panic");
    server.emit("orders", 3);
    let expected = ["1", "\"panic\"", "3"];
    eventually("they are heard", || heard.is(&expected));
    drop(listening);
    eventually("the channel is free", || server.stats().channels == 0);
    server.emit("orders", 4);
    assert!(heard.is(&expected));

    let again = server.wait(heard.listen(server.handle())).unwrap();
    again.detach();
    server.emit("orders", 5);
    eventually("it is heard", || heard.is(&["1", "\"panic\"", "3", "5"]));
    server.wait(server.handle().shutdown(LIMIT));
    assert_eq!(server.stats().channels, 0, "it ends with the server");
    let late = server.wait(heard.listen(server.handle()));
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn found_317_over_redis_a_program_hears_of_gaps() {
    let mut redis = RedisServer::start();
    let server = Running::over(&redis, relaying());
    let heard = Heard::default();
    let listening = server.wait(heard.listen(server.handle())).unwrap();
    assert_eq!(redis.publish("orders", r#"{"n":1}"#), 1);
    eventually("it is heard", || heard.is(&[r#"{"n":1}"#]));
    redis.restart();
    let is_told = || heard.is(&[r#"{"n":1}"#, "gap"]);
    assert!(eventually_within(6 * LIMIT, is_told), "{:?}", heard.0);
    assert_eq!(
        redis.publish("orders", "2"),
        1,
        "the channel is there again"
    );
    eventually("it is heard", || heard.is(&[r#"{"n":1}"#, "gap", "2"]));
    drop(listening);
    redis.await_numsub("orders", 0);
}
