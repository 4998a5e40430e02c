//! Many clients of one topic share what is read of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use updraft::prelude::*;
use updraft::topics::Start;
use updraft_test_support::client::{Client, PATIENCE};

use super::world::{Got, ORDERS, World, follower, from, next, numbers, subscribe, until_ready};
use crate::common::{Running, eventually_within, meanwhile};

#[test]
fn topic_041_many_followers_cause_one_reader() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let mut clients: Vec<Client> = (0..200).map(|_| follower(&server, "{}")).collect();
        clients
            .iter_mut()
            .for_each(|client| drop(until_ready(client)));
        assert_eq!(server.stats().followed_topics, 1);
        let reads = world.reads.get();
        world.publish(1..=5);
        for client in &mut clients {
            assert_eq!(numbers(client, 5).0, [1, 2, 3, 4, 5]);
        }
        let reads = world.reads.get() - reads;
        // One that finds them, one that finds no more, and those of its regular polls.
        assert!(reads <= 20, "{reads}");
        assert_eq!(server.stats().topic_pages, 0);
    }
}

#[test]
fn topic_041_a_storm_of_clients_that_missed_much_shares_its_reads() {
    const CLIENTS: usize = 1000;
    const MISSED: u64 = 100;
    for world in World::each() {
        let server = Running::start(world.builder());
        let start = world.publish(0..50);
        let missed = world.publish(50..50 + MISSED);
        world.publish(1000..2000);
        let reads = world.reads.get();
        let mut left: VecDeque<usize> = (0..CLIENTS).collect();
        let mut clients = Vec::new();
        // Nobody follows at first; clients were cut off at different places.
        while let Some(number) = left.pop_front() {
            let position = start[number % start.len()].position;
            let mut client = Client::connect(server.url());
            client.send_text(r#"{"msg":"connect","version":"1","support":["1"]}"#);
            subscribe(&mut client, "s", ORDERS, &from(&position));
            clients.push((number, client));
        }
        for (number, client) in &mut clients {
            let text = client.expect_any_text();
            assert!(text.contains("connected"), "{text}");
            let first = (*number % start.len()) as u64 + 1;
            let (numbers, _) = numbers(client, (50 + MISSED - first) as usize);
            assert_eq!(numbers, Vec::from_iter(first..50 + MISSED));
        }
        let reads = world.reads.get() - reads;
        assert!(reads <= 50, "{reads}");
        assert_eq!(missed.len() as u64, MISSED);
        assert_eq!(server.stats().followed_topics, 1);
    }
}

#[test]
fn topic_042_storms_of_subscriptions_leave_nothing_behind() {
    for world in World::each() {
        let server = Running::start(world.builder());
        world.publish(1..=300);
        let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for round in 0..100 {
            for (number, client) in clients.iter_mut().enumerate() {
                let from = if round % 2 == 0 { "latest" } else { "earliest" };
                let id = format!("{round}-{number}");
                subscribe(client, &id, ORDERS, &format!(r#"{{"from":"{from}"}}"#));
                client.send_text(&format!(r#"{{"msg":"unsub","id":"{id}"}}"#));
            }
        }
        let nobody_follows = || {
            let stats = server.stats();
            (stats.followed_topics, stats.subscriptions) == (0, 0)
        };
        assert!(
            eventually_within(PATIENCE, nobody_follows),
            "{:?}",
            server.stats()
        );
        // And it works as before.
        let mut client = follower(&server, "{}");
        until_ready(&mut client);
        world.publish([7]);
        assert!(matches!(next(&mut client), Got::Event(number, _) if number == json!(7)));
    }
}

#[test]
fn topic_108_what_is_published_during_a_query_is_never_lost() {
    for world in World::each() {
        let topic = world.topic.clone();
        // The state of which the topic has the changes.
        let state = Arc::new(AtomicU64::new(0));
        let known = state.clone();
        let builder = Server::builder().vent("orders", move |vent: Vent| {
            let (topic, known, context) = (topic.clone(), known.clone(), vent.clone());
            async move {
                let query = async move {
                    // At some moment of a query that takes a while.
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(..2000))).await;
                    let seen = known.load(Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(..2000))).await;
                    context.added("states", "one", ejson!({ "seen": seen as f64 }));
                    Ok(())
                };
                vent.follow(&topic, Start::Latest).after(query).await
            }
        });
        let server = Running::start(builder);
        let publish = || {
            let number = state.load(Ordering::SeqCst) + 1;
            state.store(number, Ordering::SeqCst);
            world.publish([number]);
        };
        meanwhile(publish, || {
            let mut client = server.client();
            for round in 0..100 {
                client.send_text(&format!(
                    r#"{{"msg":"sub","id":"{round}","name":"orders","params":["vent.orders"]}}"#
                ));
                let mut seen = None;
                let mut last = None;
                while last.is_none_or(|last| last < seen.unwrap_or(u64::MAX) + 5) {
                    let text = client.next_text(2 * PATIENCE).expect("something");
                    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                    if json["collection"] == "states" && json["msg"] == "added" {
                        assert_eq!(last, None, "a record before the state");
                        seen = json["fields"]["seen"].as_u64();
                    } else if let Some(event) = json["fields"]["event"].as_u64() {
                        let seen = seen.expect("the state first");
                        // The first may be in the state; from then on none is missing.
                        assert!(last.is_some() || event <= seen + 1, "{event} after {seen}");
                        assert_eq!(last.map_or(event, |last| last + 1), event);
                        last = Some(event);
                    } else if json["msg"] == "ping" {
                        client.send_text(r#"{"msg":"pong"}"#);
                    }
                }
                client.send_text(&format!(r#"{{"msg":"unsub","id":"{round}"}}"#));
                while !client.expect_any_text().contains(r#""msg":"nosub""#) {}
            }
        });
    }
}
