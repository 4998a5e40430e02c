//! Topics that clients name themselves, by the publication `topic` and the method `publish`.

use serde_json::{Value as Json, json};
use updraft::prelude::*;
use updraft::topics::{Entry, Message as Record, Start};
use updraft::{ClientEntry, TopicAccess};
use updraft_test_support::client::Client;

use super::world::{Got, World, next, until_ready};
use crate::common::{Running, VID, eventually_within, received, talk};
use updraft_test_support::client::PATIENCE;

/// Everybody may do everything.
pub(super) fn open() -> TopicAccess {
    TopicAccess::new()
        .authorize_read(async |_: Subscription| Ok(()))
        .authorize_publish(async |_: Call, entry: ClientEntry| Ok(entry))
}

fn subscribe(client: &mut Client, params: &str) {
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"topic","params":["vent.t",{params}]}}"#
    ));
}

/// Calls a method; what it returns, or its error.
#[track_caller]
fn call(client: &mut Client, method: &str, params: &Json) -> Result<Json, Json> {
    let message = json!({ "msg": "method", "id": "1", "method": method, "params": [params] });
    client.send_text(&message.to_string());
    let mut outcome = None;
    let mut is_updated = false;
    while outcome.is_none() || !is_updated {
        let text = client.expect_any_text();
        let json: Json = serde_json::from_str(&text).unwrap();
        match json["msg"].as_str().unwrap() {
            "updated" => is_updated = true,
            "result" if json["error"].is_null() => outcome = Some(Ok(json["result"].clone())),
            "result" => outcome = Some(Err(json["error"].clone())),
            "ping" => client.send_text(r#"{"msg":"pong"}"#),
            _ => panic!("{text}"),
        }
    }
    outcome.unwrap()
}

#[test]
fn topic_014_021_024_a_client_publishes_and_reads_a_topic_that_it_names() {
    for world in World::each() {
        let server = Running::start(Server::builder().topic(&world.topic, open()));
        let mut writer = server.client();
        let record = json!({ "topic": "orders", "payload": { "total": 7 }, "key": "k", "meta": { "a": "b" } });
        let published = call(&mut writer, "publish", &record).unwrap();
        assert_eq!(published["duplicate"], false);
        let (position, time) = (published["position"].clone(), published["time"].clone());
        assert!(time.as_u64().unwrap() > 1_600_000_000_000);
        // The same id stores once.
        let record = json!({ "topic": "orders", "payload": 2, "id": "outbox 1" });
        let first = call(&mut writer, "publish", &record).unwrap();
        let second = call(&mut writer, "publish", &record).unwrap();
        assert_eq!(
            (&first["duplicate"], &second["duplicate"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(first["position"], second["position"]);
        let end = json!({ "topic": "orders", "compact": "order 1", "tombstone": true });
        call(&mut writer, "publish", &end).unwrap();
        for (bad, code) in [
            (json!({ "topic": "orders" }), json!(400)),
            (json!({ "topic": "orders", "tombstone": true }), json!(400)),
            (
                json!({ "topic": "orders", "payload": 1, "tombstone": true }),
                json!(400),
            ),
            (json!({ "payload": 1 }), json!(400)),
            (
                json!({ "topic": "orders", "payload": 1, "key": "x".repeat(2000) }),
                json!("too-large"),
            ),
        ] {
            assert_eq!(
                call(&mut writer, "publish", &bad).unwrap_err()["error"],
                code,
                "{bad}"
            );
        }
        let mut reader = server.client();
        subscribe(&mut reader, r#"{"topic":"orders","from":"earliest"}"#);
        let got = until_ready(&mut reader);
        let events: Vec<_> = got
            .iter()
            .filter(|it| matches!(it, Got::Event(..)))
            .collect();
        let with_time = |mut event: Json, of: &Got| {
            let Got::Event(got, _) = of else { panic!() };
            event["time"] = got["time"].clone();
            event
        };
        let first =
            json!({ "payload": { "total": 7 }, "key": "k", "meta": { "a": "b" }, "time": time });
        let position = position.as_str().map(str::to_owned);
        assert_eq!(*events[0], Got::Event(first, position.clone()));
        assert!(
            matches!(events[1], Got::Event(it, _) if *it == with_time(json!({ "payload": 2 }), events[1]))
        );
        let end = with_time(json!({ "compact": "order 1" }), events[2]);
        assert!(
            matches!(events[2], Got::Event(it, _) if *it == end),
            "{events:?}"
        );
        assert_eq!(events.len(), 3);
        // Another goes on behind the first, in the other encoding.
        let mut other = server.client();
        let from = position.unwrap();
        other.send_text(&format!(
            r#"{{"msg":"sub","id":"s","name":"topic","params":["{VID}",{{"topic":"orders","from":"{from}"}}]}}"#
        ));
        assert!(matches!(next(&mut other), Got::Event(event, Some(_)) if event["payload"] == 2));
    }
}

#[test]
fn topic_109_what_no_hook_allows_is_denied() {
    let world = World::memory();
    let topics = &world.topics;
    let other = world
        .wait(topics.topic("silent", Default::default()))
        .unwrap();
    let only_ada = TopicAccess::new()
        .authorize_read(
            async |subscription: Subscription| match subscription.user_id() {
                Some(user) if user.as_str() == "ada" => Ok(()),
                _ => Err(Error::forbidden("Ada only")),
            },
        )
        .authorize_publish(async |call: Call, mut entry: ClientEntry| {
            let user = call
                .user_id()
                .ok_or_else(|| Error::forbidden("Log in first"))?;
            entry.meta.insert("by".into(), user.to_string());
            entry.payload = Some(ejson!({ "said": (entry.payload.unwrap_or_default()) }));
            Ok(entry)
        });
    let builder = Server::builder()
        .topic(&world.topic, only_ada)
        .topic(&other, TopicAccess::new())
        .method("login", async |call: Call, user: Option<String>| {
            call.set_user_id(user).await
        });
    let server = Running::start(builder);
    let mut client = server.client();
    let refused = |client: &mut Client, topic: &str| -> Json {
        subscribe(client, &json!({ "topic": topic }).to_string());
        match next(client) {
            Got::Nosub(error) => error["error"].clone(),
            got => panic!("{got:?}"),
        }
    };
    for name in ["silent", "unknown", "!", ""] {
        assert_eq!(refused(&mut client, name), "not-authorized", "{name}");
        let record = json!({ "topic": name, "payload": 1 });
        let error = call(&mut client, "publish", &record).unwrap_err();
        assert_eq!(error["error"], "not-authorized", "{name}");
    }
    assert_eq!(refused(&mut client, "orders"), 403);
    let record = json!({ "topic": "orders", "payload": "hi" });
    assert_eq!(
        call(&mut client, "publish", &record).unwrap_err()["error"],
        403
    );
    assert_eq!(world.wait(world.topic.bounds()).unwrap().last, 0);
    call(&mut client, "login", &json!("ada")).unwrap();
    call(&mut client, "publish", &record).unwrap();
    subscribe(&mut client, r#"{"topic":"orders","from":"earliest"}"#);
    let got = until_ready(&mut client);
    let said = |got: &Got| match got {
        Got::Event(event, _) => event["payload"]["said"] == "hi" && event["meta"]["by"] == "ada",
        _ => false,
    };
    assert!(got.iter().any(said), "{got:?}");
    // With the user the right goes, and with it the subscription.
    client.send_text(r#"{"msg":"method","id":"2","method":"login","params":[null]}"#);
    let mut texts = Vec::new();
    while !texts.iter().any(|text: &String| text.contains("nosub")) {
        texts.push(client.expect_any_text());
    }
    assert!(
        texts.iter().any(|text| text.contains(r#""error":403"#)),
        "{texts:?}"
    );
    world.publish([1]);
    assert!(
        received(&mut client)
            .iter()
            .all(|text| !text.contains("vent.t"))
    );
}

#[test]
fn topic_110_a_transform_changes_drops_or_fails_for_one_record() {
    let world = World::memory();
    let access = open().transform(|record: &Record| match record.parse::<u64>()? {
        2 => Ok(None),
        3 => panic!("not three"),
        4 => Err(Error::internal("not four")),
        number => Ok(Some(ejson!({ "doubled": (number as f64 * 2.0) }))),
    });
    let shards = std::num::NonZero::new(1);
    let builder = Server::builder().topic(&world.topic, access);
    let server = Running::start(builder.configure(|settings| settings.shards = shards));
    world.publish(1..=5);
    let mut client = server.client();
    subscribe(&mut client, r#"{"topic":"orders","from":"earliest"}"#);
    let doubled = |got: Vec<Got>| -> Vec<Json> {
        let events = got.into_iter().filter_map(|got| match got {
            Got::Event(event, _) => Some(event["payload"]["doubled"].clone()),
            _ => None,
        });
        events.collect()
    };
    assert_eq!(doubled(until_ready(&mut client)), [2, 10]);
    // Once for all clients.
    let failed = || server.stats().failed_mappings == 2;
    assert!(eventually_within(PATIENCE, failed), "{:?}", server.stats());
    let mut other = server.client();
    subscribe(&mut other, r#"{"topic":"orders","from":"earliest"}"#);
    assert_eq!(doubled(until_ready(&mut other)), [2, 10]);
    assert_eq!(server.stats().failed_mappings, 2);
}

#[test]
fn topic_030_a_client_says_what_happens_when_records_are_lost() {
    let world = World::memory();
    let server = Running::start(Server::builder().topic(&world.topic, open()));
    let published = world.publish(1..=10);
    world.wait(world.topic.trim(8)).unwrap();
    let old = published[2].position;
    let mut client = server.client();
    subscribe(
        &mut client,
        &format!(r#"{{"topic":"orders","from":"{old}"}}"#),
    );
    assert!(matches!(next(&mut client), Got::Nosub(error) if error["error"] == "gap"));
    subscribe(
        &mut client,
        &format!(r#"{{"topic":"orders","from":"{old}","onGap":"no"}}"#),
    );
    assert!(matches!(next(&mut client), Got::Nosub(error) if error["error"] == 400));
    subscribe(
        &mut client,
        &format!(r#"{{"topic":"orders","from":"{old}","onGap":"earliest"}}"#),
    );
    let got = until_ready(&mut client);
    let payloads: Vec<_> = got
        .iter()
        .filter_map(|got| match got {
            Got::Event(event, _) => event["payload"].as_u64(),
            _ => None,
        })
        .collect();
    assert_eq!(payloads, [9, 10]);
    let mut other = server.client();
    let unknown = world.position(99);
    let params = format!(r#"{{"topic":"orders","from":"{unknown}","onReset":"latest"}}"#);
    subscribe(&mut other, &params);
    let got = until_ready(&mut other);
    assert!(
        matches!(&got[1], Got::Place(place) if place["state"] == "reset"),
        "{got:?}"
    );
}

#[test]
fn topic_014_every_context_publishes() {
    let world = World::memory();
    let (by_method, by_vent, by_publication) = (
        world.topic.clone(),
        world.topic.clone(),
        world.topic.clone(),
    );
    let builder = Server::builder()
        .method("order", move |call: Call, number: u64| {
            let topic = by_method.clone();
            async move { call.publish(&topic, Entry::value(&number)).await }
        })
        .vent("vent", move |vent: Vent| {
            let topic = by_vent.clone();
            async move {
                vent.publish(&topic, ejson!(2)).await?;
                vent.follow(&topic, Start::Earliest).await
            }
        })
        .publish("ordinary", move |subscription: Subscription| {
            let topic = by_publication.clone();
            async move { subscription.publish(&topic, ejson!(3)).await.map(drop) }
        });
    let server = Running::start(builder);
    let mut client = server.client();
    let published = call(&mut client, "order", &json!(1)).unwrap();
    assert!(published["position"].is_string(), "{published}");
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"o","name":"ordinary","params":[]}
        <- {"msg":"ready","subs":["o"]}
        "#,
    );
    server
        .wait(server.handle().publish(&world.topic, ejson!(4)))
        .unwrap();
    client.send_text(r#"{"msg":"sub","id":"s","name":"vent","params":["vent.t"]}"#);
    let got = until_ready(&mut client);
    let numbers: Vec<_> = got
        .iter()
        .filter_map(|got| match got {
            Got::Event(number, _) => number.as_u64(),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 3, 4, 2]);
}

#[test]
fn topic_109_a_topic_is_given_once_and_its_names_are_taken() {
    let world = World::memory();
    let builders = [
        Server::builder()
            .topic(&world.topic, open())
            .topic(&world.topic, open()),
        Server::builder()
            .topic(&world.topic, open())
            .vent("topic", async |_: Vent| Ok(())),
        Server::builder()
            .topic(&world.topic, open())
            .method("publish", async |_: Call| Ok(())),
    ];
    for builder in builders {
        let bound = world.wait(builder.bind("127.0.0.1:0"));
        let error = bound.map(drop).unwrap_err();
        assert_eq!(error.kind(), updraft::ErrorKind::Configuration);
    }
}
