//! Slow clients fall behind in the topic, and nobody else notices.

use updraft::prelude::*;
use updraft::topics::Entry;
use updraft_test_support::client::{Client, PATIENCE};

use super::world::{Got, World, follower, got, next, numbers, until_ready};
use crate::common::{Running, eventually_within};

/// The text of each large record; more than what the kernels hold waits in the topic.
const LARGE: usize = 64 * 1024;

fn publish_large(world: &World, count: u64) {
    let text = "x".repeat(LARGE);
    for number in 0..count {
        let entry = Entry::value(&ejson!([number as f64, text.as_str()]));
        world.wait(world.topic.publish(entry)).unwrap();
    }
}

#[track_caller]
fn next_large(client: &mut Client) -> Got {
    match next(client) {
        Got::Event(event, position) => Got::Event(event[0].clone(), position),
        got => got,
    }
}

#[test]
fn topic_043_a_client_that_stops_reading_takes_no_more_than_its_window() {
    const RECORDS: u64 = 400;
    for world in World::each() {
        let server = Running::start(world.builder());
        let mut stalled = follower(&server, "{}");
        let mut other = follower(&server, "{}");
        until_ready(&mut stalled);
        until_ready(&mut other);
        let text = "x".repeat(LARGE);
        for number in 0..RECORDS {
            let entry = Entry::value(&ejson!([number as f64, text.as_str()]));
            world.wait(world.topic.publish(entry)).unwrap();
            assert!(matches!(next_large(&mut other), Got::Event(it, _) if it == number));
            // Its window, the record that exceeds it, and the rest of a write.
            let queued = server.stats().queued_bytes;
            assert!(queued <= 256 * 1024 + 4 * LARGE, "{queued}");
        }
        for number in 0..RECORDS {
            assert!(matches!(next_large(&mut stalled), Got::Event(it, _) if it == number));
        }
        assert_eq!(server.stats().slow_clients, 0);
    }
}

#[test]
fn topic_043_slowness_does_not_end_who_only_follows() {
    let world = World::memory();
    let builder = world.builder().configure(|settings| {
        settings.clients.output_timeout = std::time::Duration::from_millis(200);
    });
    let server = Running::start(builder);
    let mut client = follower(&server, "{}");
    until_ready(&mut client);
    publish_large(&world, 200);
    assert!(eventually_within(PATIENCE, || server.stats().queued_bytes > 0));
    // Several times the limit.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(
        (server.stats().slow_clients, server.stats().connections),
        (0, 1)
    );
    for number in 0..200 {
        assert!(matches!(next_large(&mut client), Got::Event(it, _) if it == number));
    }
}

#[test]
fn topic_045_084_a_slow_client_that_is_overtaken_has_a_gap_and_stays() {
    for world in World::each() {
        let server = Running::start(world.builder());
        let mut client = follower(&server, r#"{"onLoss":"earliest"}"#);
        let mut fails = follower(&server, "{}");
        until_ready(&mut client);
        until_ready(&mut fails);
        publish_large(&world, 400);
        let stats = || server.stats().queued_bytes > 256 * 1024;
        assert!(eventually_within(PATIENCE, stats), "{:?}", server.stats());
        world.wait(world.topic.trim(395)).unwrap();
        // What was sent before comes first.
        let mut last = None;
        let place = loop {
            match next_large(&mut client) {
                Got::Event(number, _) => {
                    let number = number.as_u64().unwrap();
                    assert_eq!(number, last.map_or(0, |last: u64| last + 1));
                    last = Some(number);
                }
                Got::Place(place) => break place,
                got => panic!("{got:?}"),
            }
        };
        let last = last.unwrap();
        assert!(last < 394, "{last}");
        assert_eq!(
            (&place["state"], &place["first"]),
            (&"gap".into(), &396.into())
        );
        assert_eq!(place["lost"], 395 - (last + 1));
        for number in 395..400 {
            assert!(matches!(next_large(&mut client), Got::Event(it, _) if it == number));
        }
        assert!(matches!(next(&mut client), Got::Place(place) if place["state"] == "live"));
        // Another gets the error, and keeps its connection.
        let refused = loop {
            let text = fails.next_text(2 * PATIENCE).expect("something");
            if text.contains(r#""msg":"removed""#) {
                continue;
            }
            match got(&text) {
                Some(Got::Nosub(error)) => break error,
                Some(Got::Event(..)) | None => {}
                got => panic!("{got:?}"),
            }
        };
        assert_eq!(refused["error"], "gap");
        fails.send_text(r#"{"msg":"ping"}"#);
        fails.expect_text(r#"{"msg":"pong"}"#);
        assert_eq!(server.stats().gaps, 2);
    }
}

#[test]
fn topic_018_clients_at_different_places_get_their_own_backlog() {
    let world = World::memory();
    let server = Running::start(world.builder());
    let published = world.publish(0..2000);
    let mut clients: Vec<_> = [0, 900, 1500, 1998]
        .map(|at: usize| {
            let params = super::world::from(&published[at].position);
            (at as u64 + 1, follower(&server, &params))
        })
        .into();
    for (first, client) in &mut clients {
        let rest = 2000 - *first;
        assert_eq!(
            numbers(client, rest as usize).0,
            Vec::from_iter(*first..2000)
        );
    }
}

#[test]
#[ignore = "takes two minutes: run by cargo xtask soak"]
fn soak_topic_043_16_kib_a_second_are_enough_for_who_follows() {
    const RECORD: usize = 4096;
    let world = World::memory();
    let server = Running::start(world.builder());
    let mut client = follower(&server, "{}");
    until_ready(&mut client);
    let text = "x".repeat(RECORD);
    for number in 1..=4000 {
        let entry = Entry::value(&ejson!([number as f64, text.as_str()]));
        world.wait(world.topic.publish(entry)).unwrap();
    }
    let mut number = 0;
    for _ in 0..120 {
        for _ in 0..4 {
            number += 1;
            assert!(matches!(next_large(&mut client), Got::Event(it, _) if it == number));
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    while number < 4000 {
        number += 1;
        assert!(matches!(next_large(&mut client), Got::Event(it, _) if it == number));
    }
    assert_eq!(server.stats().slow_clients, 0);
}
