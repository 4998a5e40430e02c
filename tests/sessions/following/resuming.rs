//! Clients that come back with a position, and what they are told if they have missed records.

use serde_json::{Value as Json, json};
use updraft::prelude::*;
use updraft::topics::{Entry, Lost, OnLoss, Position};
use updraft_test_support::client::Client;

use super::world::{Got, ORDERS, World, follower, from, next, numbers, subscribe, until_ready};
use crate::common::{Running, received};

/// What a client gets that follows from this position, with this policy.
fn follow(server: &Running, position: &impl std::fmt::Display, policy: &str) -> (Client, Vec<Got>) {
    let params = format!(r#"{{"from":"{position}","onLoss":"{policy}"}}"#);
    let mut client = follower(server, &params);
    let mut all = Vec::new();
    loop {
        match next(&mut client) {
            Got::Ready => return (client, all),
            got @ Got::Nosub(_) => {
                all.push(got);
                return (client, all);
            }
            got => all.push(got),
        }
    }
}

fn error(got: &[Got]) -> &Json {
    match got {
        [Got::Nosub(error)] => error,
        _ => panic!("{got:?}"),
    }
}

fn events(got: &[Got]) -> Vec<u64> {
    let events = got.iter().filter_map(|got| match got {
        Got::Event(number, _) => number.as_u64(),
        _ => None,
    });
    events.collect()
}

/// What was told first of the place.
fn place(got: &[Got]) -> &Json {
    match got {
        [Got::Added, Got::Place(place), ..] => place,
        _ => panic!("{got:?}"),
    }
}

#[test]
fn topic_023_a_client_that_is_cut_anywhere_gets_everything_once_and_in_order() {
    const RECORDS: u64 = 600;
    for world in World::each() {
        let server = Running::start(world.builder());
        let mut all = Vec::new();
        let mut position = None;
        let mut published = 0;
        let mut round: usize = 0;
        while (all.len() as u64) < RECORDS {
            round += 1;
            if published < RECORDS {
                world.publish(published + 1..=published + 60);
                published += 60;
            }
            let params = position
                .as_ref()
                .map_or_else(|| r#"{"from":"earliest"}"#.to_owned(), from);
            let mut client = follower(&server, &params);
            let left = (published as usize) - all.len();
            // Some of it, however much is on its way.
            let count = if published < RECORDS {
                left.min(round * 7)
            } else {
                left
            };
            let (numbers, last) = numbers(&mut client, count);
            all.extend(numbers);
            position = last.or(position);
            client.reset();
        }
        assert_eq!(all, Vec::from_iter(1..=RECORDS));
    }
}

#[test]
fn topic_034_nothing_is_lost_or_doubled_where_live_begins() {
    const RECORDS: u64 = 3000;
    for world in World::each() {
        let server = Running::start(world.builder());
        world.publish(1..=RECORDS / 2);
        let mut clients = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for first in (RECORDS / 2..RECORDS).step_by(10) {
                    world.publish(first + 1..=first + 10);
                }
            });
            for _ in 0..10 {
                clients.push(follower(&server, r#"{"from":"earliest"}"#));
            }
        });
        for client in &mut clients {
            assert_eq!(
                numbers(client, RECORDS as usize).0,
                Vec::from_iter(1..=RECORDS)
            );
        }
    }
}

#[test]
fn topic_025_030_a_gap_is_told_before_any_data_or_ends_the_subscription() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let published = world.publish(1..=100);
        world.wait(world.topic.trim(50)).unwrap();
        let old = published[9].position;
        let (mut client, got) = follow(&server, &old, "fail");
        let refused = error(&got);
        assert_eq!(refused["error"], "gap");
        assert_eq!(
            refused["details"],
            json!({ "requested": 10, "first": 51, "lost": 40 })
        );
        // The connection stays, and what is not missing can be followed.
        subscribe(&mut client, "t", ORDERS, &from(&published[49].position));
        assert_eq!(events(&until_ready(&mut client)), Vec::from_iter(51..=100));
        let (_, got) = follow(&server, &old, "earliest");
        let told = place(&got);
        assert_eq!((&told["state"], &told["lost"]), (&json!("gap"), &json!(40)));
        assert_eq!(
            (&told["first"], &told["last"]),
            (&json!(51), &json!(published[99].position.to_string()))
        );
        assert_eq!(events(&got), Vec::from_iter(51..=100));
        let (mut client, got) = follow(&server, &old, "latest");
        assert_eq!(
            (place(&got)["state"].as_str(), events(&got)),
            (Some("gap"), Vec::new())
        );
        world.publish([101]);
        assert_eq!(numbers(&mut client, 1).0, [101]);
        world
            .wait(world.topic.publish(Entry::value(&7).compact("id")))
            .unwrap();
        let (_, got) = follow(&server, &old, "snapshot");
        assert_eq!(
            (place(&got)["state"].as_str(), events(&got)),
            (Some("gap"), vec![7])
        );
    }
}

#[test]
fn topic_026_027_028_030_a_position_that_is_none_any_more_is_reset() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let published = world.publish(1..=10);
        let bounds = world.wait(world.topic.bounds()).unwrap();
        let name = world.topic.name();
        let other_life = Position::new(name, updraft::topics::Epoch::draw(), 3, 9);
        let ahead = Position::new(name, bounds.epoch, 11, 9);
        let diverged = world.position(5);
        let last = published[9].position.to_string();
        for (position, reason) in [
            (other_life, "unknown-epoch"),
            (ahead, "ahead"),
            (diverged, "diverged"),
        ] {
            let (_, got) = follow(&server, &position, "fail");
            let refused = error(&got);
            assert_eq!(refused["error"], "reset", "{reason}");
            assert_eq!(
                refused["details"],
                json!({ "reason": reason, "first": 1, "last": last })
            );
            let (_, got) = follow(&server, &position, "earliest");
            let told = place(&got);
            assert_eq!(
                (&told["state"], &told["reason"]),
                (&json!("reset"), &json!(reason))
            );
            assert_eq!(told["last"], last);
            assert_eq!(events(&got), Vec::from_iter(1..=10));
        }
    }
}

#[test]
fn topic_026_who_is_live_while_the_topic_is_made_anew_is_told() {
    let world = World::memory();
    let server = Running::start(world.builder());
    let mut fails = follower(&server, "{}");
    let mut goes_on = follower(&server, r#"{"onLoss":"earliest"}"#);
    until_ready(&mut fails);
    until_ready(&mut goes_on);
    world.publish(1..=3);
    assert_eq!(numbers(&mut fails, 3).0, [1, 2, 3]);
    assert_eq!(numbers(&mut goes_on, 3).0, [1, 2, 3]);
    // As another process would do it.
    let log = world.topics.store().log.clone();
    world
        .wait(log.end(world.topic.name(), updraft::topics::End::Delete))
        .unwrap();
    world.publish(11..=15);
    let removed = |client: &mut Client| client.expect_any_text();
    assert!(removed(&mut fails).contains(r#""id":"_"}"#));
    assert!(removed(&mut fails).contains(r#""id":"id"}"#));
    match next(&mut fails) {
        Got::Nosub(error) => {
            assert_eq!(error["error"], "reset");
            assert_eq!(error["details"]["reason"], "unknown-epoch");
        }
        got => panic!("{got:?}"),
    }
    match next(&mut goes_on) {
        Got::Place(place) => {
            assert_eq!(
                (&place["state"], &place["reason"]),
                (&json!("reset"), &json!("unknown-epoch"))
            );
        }
        got => panic!("{got:?}"),
    }
    assert_eq!(numbers(&mut goes_on, 5).0, Vec::from_iter(11..=15));
    assert_eq!(server.stats().gaps, 2);
}

#[test]
fn topic_030_a_function_makes_an_event_of_a_loss() {
    let world = World::memory();
    let topic = world.topic.clone();
    let builder = Server::builder().vent("orders", move |vent: Vent, from: Value| {
        let topic = topic.clone();
        async move {
            vent.follow(&topic, from)
                .after_gap(OnLoss::Earliest)
                .on_gap(|lost: &Lost| match lost {
                    Lost::Gap(gap) => Some(ejson!({ "missed": gap.lost as f64 })),
                    Lost::Reset(_) => None,
                })
                .await
        }
    });
    let server = Running::start(builder);
    let published = world.publish(1..=10);
    world.wait(world.topic.trim(5)).unwrap();
    let mut client = server.client();
    let old = published[2].position;
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"orders","params":["{}","{old}"]}}"#,
        crate::common::VID
    ));
    assert_eq!(next(&mut client), Got::Event(json!({ "missed": 2 }), None));
    assert_eq!(numbers(&mut client, 5).0, Vec::from_iter(6..=10));
    assert_eq!(next(&mut client), Got::Ready);
}

#[test]
fn topic_040_a_filtered_client_learns_where_it_is() {
    const RECORDS: u64 = 10_500;
    let world = World::memory();
    let topic = world.topic.clone();
    let builder = Server::builder().vent("orders", move |vent: Vent, from: Value| {
        let topic = topic.clone();
        async move {
            let map = |record: &updraft::topics::Message| {
                record
                    .parse::<u64>()
                    .ok()
                    .filter(|number| *number >= 1_000_000)
            };
            vent.follow(&topic, from).map(map).await
        }
    });
    let server = Running::start(builder);
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"s","name":"orders","params":["vent.orders","latest"]}"#);
    until_ready(&mut client);
    world.publish(1..=RECORDS);
    let position: Position = loop {
        let Got::Place(place) = next(&mut client) else {
            panic!("an event");
        };
        let position: Position = place["position"].as_str().unwrap().parse().unwrap();
        if position.offset() > 9_000 {
            break position;
        }
    };
    // Who comes back with that reads no more than the rest.
    let reads = world.reads.get();
    client.reset();
    let mut client = server.client();
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"orders","params":["vent.orders","{position}"]}}"#
    ));
    until_ready(&mut client);
    world.publish([1_000_000]);
    assert_eq!(numbers(&mut client, 1).0, [1_000_000]);
    assert!(
        world.reads.get() - reads < 10,
        "{}",
        world.reads.get() - reads
    );
    assert_eq!(received(&mut client), [""; 0]);
}
