//! What a server of Redistribute was asked to do, call by call.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use updraft::prelude::*;
use updraft::topics::{
    Codec, Entry, Message as Record, RedisSettings, RedisStore, Settings, Store, Topic, Topics,
};
use updraft::{ClientEntry, Connection, TopicAccess};
use updraft_bus::{ChannelSettings, Channels};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::redis::RedisServer;

use super::world::{Got, World, next, until_ready};
use crate::common::{Count, Running, eventually_within, talk};

fn open() -> TopicAccess {
    TopicAccess::new()
        .authorize_read(async |_: Subscription| Ok(()))
        .authorize_publish(async |_: Call, entry: ClientEntry| Ok(entry))
}

/// Subscribes to a topic by its name, and waits for `ready`.
fn read(client: &mut Client, topic: &str, from: &str) -> Vec<Got> {
    let params = json!(["vent.t", { "topic": topic, "from": from }]);
    let message = json!({ "msg": "sub", "id": "s", "name": "topic", "params": params });
    client.send_text(&message.to_string());
    until_ready(client)
}

/// The next record's payload, and its position.
fn payload(client: &mut Client) -> (Json, String) {
    loop {
        match next(client) {
            Got::Event(event, position) => return (event["payload"].clone(), position.unwrap()),
            Got::Place(_) => {}
            got => panic!("{got:?}"),
        }
    }
}

fn publish(client: &mut Client, record: &Json) -> Result<Json, Json> {
    call(client, "publish", record)
}

/// What a method returns, or its error.
fn call(client: &mut Client, method: &str, parameter: &Json) -> Result<Json, Json> {
    let message = json!({ "msg": "method", "id": "1", "method": method, "params": [parameter] });
    client.send_text(&message.to_string());
    let (mut outcome, mut is_updated) = (None, false);
    while outcome.is_none() || !is_updated {
        let text = client.next_text(2 * PATIENCE).expect("an answer");
        let json: Json = serde_json::from_str(&text).unwrap();
        match (json["msg"].as_str().unwrap(), &json["error"]) {
            ("result", Json::Null) => outcome = Some(Ok(json["result"].clone())),
            ("result", error) => outcome = Some(Err(error.clone())),
            ("updated", _) => is_updated = true,
            _ => {}
        }
    }
    outcome.unwrap()
}

/// The topic as one of several processes has it.
async fn in_redis(url: &str) -> (Topics, Topic) {
    let mut settings = RedisSettings::default();
    settings.deadline = Duration::from_secs(2);
    let store = Arc::new(RedisStore::open(url, settings).await.unwrap());
    let bus = Redis::connect(url).await.unwrap();
    let bus = Channels::open(bus, ChannelSettings::default()).unwrap();
    let topics = Topics::open(Store::new(store.clone(), store, Arc::new(bus)));
    let topic = topics.topic("orders", Settings::default()).await.unwrap();
    (topics, topic)
}

#[test]
fn seed_057_060_073_a_message_reaches_the_clients_of_other_servers_or_is_an_error() {
    let world = World::memory();
    let redis = RedisServer::start();
    let servers = [(); 2].map(|()| {
        let (topics, topic) = world.wait(in_redis(&redis.url()));
        let server = Running::start(Server::builder().topic(&topic, open()));
        (topics, server)
    });
    let [mut here, mut there] = servers.each_ref().map(|(_, server)| server.client());
    read(&mut there, "orders", "latest");
    let record = json!({ "topic": "orders", "payload": { "some": "data" } });
    let published = publish(&mut here, &record).unwrap();
    let (got, position) = payload(&mut there);
    assert_eq!(got, json!({ "some": "data" }));
    assert_eq!(json!(position), published["position"]);
    drop(redis);
    let error = publish(&mut here, &record).unwrap_err();
    assert_eq!(error["error"], "backend-unavailable");
}

#[test]
fn seed_058_values_are_ejson_and_anything_else_is_bytes() {
    let world = World::memory();
    let topics = &world.topics;
    let mut settings = Settings::default();
    settings.codec = Codec::Bytes("image/png".into());
    let images = world.wait(topics.topic("images", settings)).unwrap();
    let builder = Server::builder().topic(&images, open());
    let server = Running::start(builder.topic(&world.topic, open()));
    let image = Entry::bytes(&b"\x89PNG"[..]);
    world.wait(images.publish(image)).unwrap();
    let mut client = server.client();
    let got = read(&mut client, "images", "earliest");
    let expected = json!({ "$binary": "iVBORw==" });
    let is_image = |got: &Got| match got {
        Got::Event(event, _) => event["payload"] == expected && event["contentType"] == "image/png",
        _ => false,
    };
    assert!(got.iter().any(is_image), "{got:?}");

    let mut client = server.client();
    let value = json!({ "at": { "$date": 7 }, "list": [1, null, { "$InfNaN": 0 }] });
    publish(&mut client, &json!({ "topic": "orders", "payload": value })).unwrap();
    let got = read(&mut client, "orders", "earliest");
    let is_value = |got: &Got| matches!(got, Got::Event(event, _) if event["payload"] == value);
    assert!(got.iter().any(is_value), "{got:?}");
}

#[test]
fn seed_059_065_068_071_the_program_hears_who_comes_and_goes() {
    let world = World::memory();
    let (came, went, stopped) = (Count::default(), Count::default(), Count::default());
    let topic = world.topic.clone();
    let (coming, going, stopping) = (came.clone(), went.clone(), stopped.clone());
    let builder = Server::builder()
        .on_connect(move |connection: &Connection| {
            coming.add();
            let going = going.clone();
            connection.on_close(move || going.add());
        })
        .vent("orders", move |vent: Vent, ends: bool| {
            let (topic, stopping) = (topic.clone(), stopping.clone());
            async move {
                vent.on_stop(move || stopping.add());
                vent.follow(&topic, None::<Value>).await?;
                if ends {
                    vent.stop();
                }
                Ok(())
            }
        });
    let server = Running::start(builder);
    let mut client = server.client();
    came.becomes(1);
    let subscribe = |client: &mut Client, id: &str, ends: bool| {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{id}","name":"orders","params":["vent.{id}",{ends}]}}"#
        ));
    };
    // By the client, by the program, and at the end of the connection.
    subscribe(&mut client, "a", false);
    until_ready(&mut client);
    client.send_text(r#"{"msg":"unsub","id":"a"}"#);
    stopped.becomes(1);
    subscribe(&mut client, "b", true);
    stopped.becomes(2);
    subscribe(&mut client, "c", false);
    let has_begun = || server.stats().followed_topics == 1;
    assert!(
        eventually_within(PATIENCE, has_begun),
        "{:?}",
        server.stats()
    );
    assert_eq!(went.get(), 0);
    drop(client);
    went.becomes(1);
    stopped.becomes(3);
}

#[test]
fn seed_062_the_server_publishes_pairs_of_keys_and_values_and_gets_the_position() {
    let world = World::memory();
    let topic = world.topic.clone();
    let builder = Server::builder().topic(&world.topic, open()).method(
        "order",
        move |call: Call, (key, value): (String, String)| {
            let topic = topic.clone();
            async move {
                let pairs = [(key, value)];
                let pairs = pairs
                    .into_iter()
                    .collect::<std::collections::BTreeMap<_, _>>();
                call.publish(&topic, Entry::value(&pairs)).await
            }
        },
    );
    let server = Running::start(builder);
    let mut client = server.client();
    read(&mut client, "orders", "latest");
    let entry = Entry::value(&ejson!({ "foo": "bar", "baz": "bam", "words": "things" }));
    let published = world.wait(world.topic.publish(entry.clone())).unwrap();
    let pairs = json!({ "foo": "bar", "baz": "bam", "words": "things" });
    let got = payload(&mut client);
    assert_eq!(got, (pairs.clone(), published.position.to_string()));
    let published = server.wait(server.handle().publish(&world.topic, entry));
    let got = payload(&mut client);
    assert_eq!(got, (pairs, published.unwrap().position.to_string()));
    let order = r#"{"msg":"method","id":"2","method":"order","params":["foo","bar"]}"#;
    client.send_text(order);
    let mut texts = Vec::new();
    while texts.len() < 3 {
        let text = client.next_text(PATIENCE).expect("an event and an answer");
        texts.push(serde_json::from_str::<Json>(&text).unwrap());
        texts.retain(|json| json["msg"] != "ping");
    }
    let result = texts.iter().find(|json| json["msg"] == "result").unwrap();
    let event = texts.iter().find(|json| json["msg"] == "changed").unwrap();
    assert_eq!(result["result"]["position"], event["fields"]["position"]);
}

#[test]
fn seed_064_066_067_the_program_decides_who_reads_what_is_stored_and_what_is_sent() {
    let world = World::memory();
    let access = TopicAccess::new()
        .authorize_read(async |subscription: Subscription| {
            let user = subscription.user_id();
            user.map(drop)
                .ok_or_else(|| Error::forbidden("Log in first"))
        })
        .authorize_publish(async |_: Call, mut entry: ClientEntry| {
            if entry.payload == Some(Value::from("spam")) {
                return Err(Error::forbidden("No spam"));
            }
            entry.meta.insert("seen".into(), "yes".into());
            Ok(entry)
        })
        .transform(|record: &Record| {
            let value = record.value()?;
            let is_public = value.as_str() != Some("secret");
            Ok(is_public.then(|| ejson!({ "text": (value) })))
        });
    let builder = Server::builder().topic(&world.topic, access);
    let server = Running::start(builder.method("login", async |call: Call, user: String| {
        call.set_user_id(Some(user)).await
    }));
    let mut client = server.client();
    client.send_text(
        r#"{"msg":"sub","id":"s","name":"topic","params":["vent.t",{"topic":"orders"}]}"#,
    );
    assert!(matches!(next(&mut client), Got::Nosub(error) if error["error"] == 403));
    for (text, is_stored) in [("spam", false), ("secret", true), ("hi", true)] {
        let stored = publish(&mut client, &json!({ "topic": "orders", "payload": text }));
        assert_eq!(stored.is_ok(), is_stored, "{text}");
    }
    call(&mut client, "login", &json!("ada")).unwrap();
    let got = read(&mut client, "orders", "earliest");
    let events = got.into_iter().filter_map(|got| match got {
        Got::Event(event, _) => Some((event["payload"].clone(), event["meta"].clone())),
        _ => None,
    });
    let expected = (json!({ "text": "hi" }), json!({ "seen": "yes" }));
    assert_eq!(events.collect::<Vec<_>>(), [expected]);
}

#[test]
fn seed_069_070_076_each_subscription_has_its_own_place_and_gets_each_message_once() {
    let world = World::memory();
    let topic = world.topic.clone();
    let builder = Server::builder();
    let server = Running::start(
        builder.vent("orders", move |vent: Vent, from: Option<Value>| {
            let topic = topic.clone();
            async move { vent.follow(&topic, from).await }
        }),
    );
    let first = world.publish(1..=3)[0].position;
    let mut client = server.client();
    let subscribe = |client: &mut Client, id: &str, vent: &str, from: &Json| {
        let params = json!([vent, from]);
        let message = json!({ "msg": "sub", "id": id, "name": "orders", "params": params });
        client.send_text(&message.to_string());
    };
    subscribe(&mut client, "latest", "vent.a", &Json::Null);
    assert!(!until_ready(&mut client).iter().any(is_event));
    subscribe(&mut client, "from", "vent.b", &json!(first.to_string()));
    let got = until_ready(&mut client);
    let events: Vec<_> = got.iter().filter(|got| is_event(got)).collect();
    assert!(
        matches!(events[..], [Got::Event(two, _), Got::Event(three, Some(_))]
        if *two == 2 && *three == 3)
    );
    // The same subscription again.
    subscribe(&mut client, "latest", "vent.a", &Json::Null);
    let last = world.publish([4])[0].position.to_string();
    for _ in 0..2 {
        let got = next(&mut client);
        assert_eq!(got, Got::Event(json!(4), Some(last.clone())));
    }
    let rest = crate::common::received(&mut client);
    assert!(
        rest.iter().all(|text| !text.contains("changed")),
        "{rest:?}"
    );
}

fn is_event(got: &Got) -> bool {
    matches!(got, Got::Event(..))
}

#[test]
fn seed_072_a_publication_sends_its_client_what_it_likes() {
    let builder = Server::builder().publish("hello", async |subscription: Subscription| {
        let hello = ejson!({ "text": "hello" });
        subscription.added("greetings", "1", &hello);
        subscription.changed("greetings", "1", &ejson!({ "text": "you" }));
        subscription.removed("greetings", "1");
        Ok(())
    });
    let server = Running::start(builder);
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"s","name":"hello","params":[]}
        <- {"msg":"added","collection":"greetings","id":"1","fields":{"text":"hello"}}
        <- {"msg":"changed","collection":"greetings","id":"1","fields":{"text":"you"}}
        <- {"msg":"removed","collection":"greetings","id":"1"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
}
