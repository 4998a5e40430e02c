//! What a follower is sent, byte for byte, and what is refused.

use serde_json::json;
use updraft::prelude::*;
use updraft::topics::{Entry, Message as Record};
use updraft_test_support::client::Client;

use super::world::{Got, ORDERS, World, follower, from, next, numbers, subscribe, until_ready};
use crate::common::{Running, VID, received, talk};

#[test]
fn topic_024_a_client_goes_on_behind_its_position() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let published = world.publish(1..=3);
        let [one, two, three] = [0, 1, 2].map(|it| published[it].position.to_string());
        let conversation = |from: &str, rest: &str| {
            let mut client = server.client();
            talk(
                &mut client,
                &format!(
                    r#"
                    -> {{"msg":"sub","id":"s","name":"orders","params":["vent.orders",{{"from":"{from}"}}]}}
                    <- {{"msg":"added","collection":"vent.orders","id":"id","fields":{{}}}}
                    <- {{"msg":"added","collection":"vent.orders","id":"_","fields":{{"state":"resumed","position":"{from}","first":1,"last":"{three}"}}}}
                    {rest}
                    <- {{"msg":"changed","collection":"vent.orders","id":"_","fields":{{"state":"live","position":"{three}"}}}}
                    <- {{"msg":"ready","subs":["s"]}}
                    -- silence
                    -> {{"msg":"unsub","id":"s"}}
                    <- {{"msg":"removed","collection":"vent.orders","id":"_"}}
                    <- {{"msg":"removed","collection":"vent.orders","id":"id"}}
                    <- {{"msg":"nosub","id":"s"}}
                    "#
                ),
            );
        };
        let event = |number: u64, position: &str| {
            format!(
                r#"<- {{"msg":"changed","collection":"vent.orders","id":"id","fields":{{"event":{number},"position":"{position}"}}}}"#
            )
        };
        conversation(&one, &format!("{}\n{}", event(2, &two), event(3, &three)));
        // With nothing new, nothing comes and the position stays, however often.
        for _ in 0..3 {
            conversation(&three, "");
        }
    }
}

#[test]
fn topic_016_024_the_vent_encoding_has_the_position_beside_the_event() {
    let world = World::memory();
    let server = Running::start(world.builder());
    world.publish([1]);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s","name":"orders","params":["VID"]}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    let two = &world.publish([2])[0].position.to_string();
    let text =
        format!(r#"<- {{"msg":"changed","__vent":"1","id":"{VID}.orders","e":2,"p":"{two}"}}"#);
    talk(&mut client, &text);
    // What the client sends again is understood.
    let mut again = server.client();
    subscribe(&mut again, "t", VID, &from(two));
    talk(&mut again, r#"<- {"msg":"ready","subs":["t"]}"#);
    world.publish([3]);
    assert_eq!(numbers(&mut again, 1).0, [3]);
}

#[test]
fn topic_015_each_beginning_is_where_it_should_be() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let numbers_from = |params: &str| -> Vec<u64> {
            let mut client = follower(&server, params);
            let got = until_ready(&mut client);
            assert!(
                matches!(&got[1], Got::Place(place) if place["state"] == "live"),
                "{got:?}"
            );
            let events = got.into_iter().filter_map(|got| match got {
                Got::Event(number, _) => number.as_u64(),
                _ => None,
            });
            events.collect()
        };
        assert_eq!(numbers_from(r#"{"from":"earliest"}"#), [0; 0]);
        let published = world.publish(1..=400);
        let time = published[0].time;
        assert_eq!(
            numbers_from(r#"{"from":"earliest"}"#),
            Vec::from_iter(1..=400)
        );
        assert_eq!(numbers_from(r#"{"from":{"last":2}}"#), [399, 400]);
        assert_eq!(numbers_from(r#"{"from":{"last":0}}"#), [0; 0]);
        assert_eq!(numbers_from(r#"{"from":{"last":4000}}"#).len(), 400);
        assert_eq!(
            numbers_from(&format!(r#"{{"from":{{"time":{time}}}}}"#)).len(),
            400
        );
        let date = format!(r#"{{"from":{{"time":{{"$date":{}}}}}}}"#, time + 3_600_000);
        assert_eq!(numbers_from(&date), [0; 0]);
        assert_eq!(numbers_from("{}"), [0; 0]);
        assert_eq!(numbers_from(r#"{"from":"latest"}"#), [0; 0]);
    }
}

#[test]
fn topic_082_a_snapshot_has_the_latest_record_of_each_id() {
    for world in World::each() {
        let server = Running::start(world.builder());
        world.wait(async {
            for number in 0..600_u64 {
                let id = format!("order {}", number % 3);
                let entry = Entry::value(&(number + 1)).compact(id);
                world.topic.publish(entry).await.unwrap();
            }
            world
                .topic
                .publish(Entry::tombstone("order 1"))
                .await
                .unwrap();
            world.topic.publish(Entry::value(&7000)).await.unwrap();
        });
        let mut client = follower(&server, r#"{"from":"snapshot"}"#);
        let got = until_ready(&mut client);
        let events = got.iter().filter(|got| matches!(got, Got::Event(..)));
        let events: Vec<_> = events.cloned().collect();
        assert_eq!(events.len(), 2, "{got:?}");
        assert!(matches!(&events[0], Got::Event(number, _) if *number == 598));
        assert!(matches!(&events[1], Got::Event(number, _) if *number == 600));
        world.publish([8000]);
        assert_eq!(numbers(&mut client, 1).0, [8000]);
    }
}

#[test]
fn topic_017_033_a_bad_position_is_refused_and_the_connection_stays() {
    let world = World::memory();
    let server = Running::start(world.builder());
    let opening = world.topics.topic("other", Default::default());
    let other = world.wait(opening).unwrap();
    let foreign = world.wait(other.publish(ejson!(1))).unwrap().position;
    let mut client = server.client();
    for bad in [
        r#""0""#,
        r#""nonsense""#,
        r#"7"#,
        r#"{"last":-1}"#,
        r#"{"last":"x"}"#,
        r#"{"last":1.5}"#,
        r#"{"time":"noon"}"#,
        r#"{}"#,
        r#"[]"#,
        &format!(r#""{foreign}""#),
    ] {
        subscribe(&mut client, "s", ORDERS, &format!(r#"{{"from":{bad}}}"#));
        match next(&mut client) {
            Got::Nosub(error) => assert_eq!(error["error"], "bad-position", "{bad}"),
            got => panic!("{got:?}"),
        }
    }
    subscribe(&mut client, "s", ORDERS, "{}");
    until_ready(&mut client);
}

#[test]
fn topic_109_a_publication_that_cannot_follow_says_so() {
    let world = World::memory();
    let (first, second) = (world.topic.clone(), world.topic.clone());
    let builder = world.builder().streamer("orders", move |vent: Vent| {
        let topic = first.clone();
        async move { vent.follow(&topic, updraft::topics::Start::Latest).await }
    });
    let builder = builder.vent("twice", move |vent: Vent| {
        let topic = second.clone();
        async move {
            vent.follow(&topic, updraft::topics::Start::Latest).await?;
            let again = vent.follow(&topic, updraft::topics::Start::Latest).await;
            let error = again.unwrap_err();
            let source = error.source().and_then(|it| it.downcast_ref());
            assert_eq!(source, Some(&updraft::FollowError::Twice));
            Ok(())
        }
    });
    let server = Running::start(builder);
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"s","name":"stream-orders","params":["e",false]}
        <- {"msg":"nosub","id":"s","error":{"isClientSafe":true,"error":500,"reason":"Internal server error"…
        -> {"msg":"sub","id":"t","name":"twice","params":["VID"]}
        <- {"msg":"ready","subs":["t"]}
        "#,
    );
}

#[test]
fn topic_012_a_closed_topic_ends_its_followers() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let mut live = follower(&server, "{}");
        until_ready(&mut live);
        world.publish([1]);
        world.wait(world.topic.close()).unwrap();
        assert_eq!(numbers(&mut live, 1).0, [1]);
        let mut late = follower(&server, r#"{"from":"earliest"}"#);
        until_ready(&mut late);
        for client in [&mut live, &mut late] {
            let (_, id) = (removed(client), removed(client));
            assert_eq!(id, "id");
            assert_eq!(next(client), Got::Nosub(json!(null)));
        }
    }
}

#[test]
fn topic_010_a_topic_that_is_deleted_ends_its_followers_with_an_error() {
    let world = World::memory();
    let server = Running::start(world.builder());
    let mut client = follower(&server, "{}");
    until_ready(&mut client);
    world.wait(world.topic.delete()).unwrap();
    assert_eq!((removed(&mut client), removed(&mut client)).1, "id");
    let error = |client: &mut Client| match next(client) {
        Got::Nosub(error) => error["error"].clone(),
        got => panic!("{got:?}"),
    };
    assert_eq!(error(&mut client), "unknown-topic");
    // The handle is one of a topic that is gone.
    subscribe(&mut client, "t", ORDERS, "{}");
    assert_eq!(error(&mut client), "unknown-topic");
}

fn removed(client: &mut Client) -> String {
    let text = client.expect_any_text();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["msg"], "removed", "{text}");
    json["id"].as_str().unwrap().to_owned()
}

#[test]
fn topic_110_what_a_function_makes_of_a_record() {
    let world = World::memory();
    let (each, shared) = (world.topic.clone(), world.topic.clone());
    let builder = Server::builder()
        .vent("each", move |vent: Vent| {
            let topic = each.clone();
            async move {
                let map = |record: &Record| match record.parse::<u64>()? {
                    2 => panic!("not two"),
                    3 => Err(Error::new("three", "not three")),
                    4 => Ok(None),
                    number => Ok(Some(ejson!({
                        "number": number as f64,
                        "key": record.key().unwrap_or("none"),
                        "meta": record.meta().len() as f64
                    }))),
                };
                vent.follow(&topic, updraft::topics::Start::Earliest)
                    .map(map)
                    .await
            }
        })
        .vent("shared", move |vent: Vent| {
            let topic = shared.clone();
            async move {
                let from = updraft::topics::Start::Earliest;
                let factor = 10_u64;
                let map = |record: &Record, factor: &u64| {
                    record.parse::<u64>().ok().map(|number| number * factor)
                };
                vent.follow(&topic, from).map_shared(factor, map).await
            }
        });
    let server = Running::start(builder);
    world.publish(1..=4);
    let entry = Entry::value(&5).key("k").meta("a", "b");
    world.wait(world.topic.publish(entry)).unwrap();
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"s","name":"each","params":["vent.each"]}"#);
    let events = |got: Vec<Got>| -> Vec<serde_json::Value> {
        let events = got.into_iter().filter_map(|got| match got {
            Got::Event(event, Some(_)) => Some(event),
            _ => None,
        });
        events.collect()
    };
    let got = events(until_ready(&mut client));
    assert_eq!(
        got,
        [
            json!({ "number": 1, "key": "none", "meta": 0 }),
            json!({ "number": 5, "key": "k", "meta": 1 }),
        ]
    );
    assert_eq!(server.stats().failed_mappings, 2);
    client.send_text(r#"{"msg":"sub","id":"t","name":"shared","params":["vent.shared"]}"#);
    assert_eq!(events(until_ready(&mut client)), [10, 20, 30, 40, 50]);
    assert_eq!(received(&mut client), [""; 0]);
}
