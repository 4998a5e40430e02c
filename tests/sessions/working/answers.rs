//! What clients are given, and what they answer.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long a record is held back, or held"
)]

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use updraft::topics::{Entry, Order};

use super::world::{Hand, World, entry};
use crate::common::{Running, VID, eventually_within};
use updraft_test_support::client::PATIENCE;

fn stale() -> Result<(), Json> {
    Err(json!("stale"))
}

#[test]
fn topic_047_051_a_client_is_given_records_and_acknowledges_them() {
    for world in World::each(|settings| settings) {
        let server = Running::start(world.builder());
        world.publish([Entry::value(&json!({ "total": 7 }))
            .key("ada")
            .meta("by", "web")]);
        let mut hand = Hand::working(&server, 4);
        let mut delivery = hand.delivery();
        let time = delivery["time"].take();
        assert!(time.as_u64().unwrap() > 1_600_000_000_000);
        let token = delivery["token"].clone();
        assert!(token.is_string());
        assert!(delivery["generation"].take().as_u64().unwrap() > 0);
        assert_eq!(
            delivery,
            json!({
                "token": token, "topic": "orders", "payload": { "total": 7 }, "key": "ada",
                "meta": { "by": "web" }, "time": null, "deliveries": 1,
                "generation": null, "ackWait": 30_000,
            })
        );
        assert_eq!(hand.ack(&delivery), Ok(()));
        assert_eq!(hand.ack(&delivery), Ok(()), "twice");
        assert_eq!(hand.answer("nack", json!([token])), stale());
        world.becomes_idle(0);
        // In the other encoding, with a type of EJSON.
        hand.unsubscribe("s");
        hand.subscribe("t", &json!([VID]));
        hand.until_ready("t");
        world.publish([Entry::ejson(r#"{"at":{"$date":5}}"#)]);
        let delivery = hand.delivery();
        assert_eq!(
            delivery["payload"],
            json!({ "at": "1970-01-01T00:00:00.005Z" })
        );
        assert_eq!(hand.ack(&delivery), Ok(()));
        world.becomes_idle(0);
    }
}

#[test]
fn topic_060_a_client_has_no_more_than_its_credit() {
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    world.publish((0..40).map(entry));
    let mut hand = Hand::working(&server, 3);
    let mut deliveries: Vec<_> = (0..3).map(|_| hand.delivery()).collect();
    assert_eq!(hand.delivered(), None);
    // Each answer makes room for one more, whatever it says.
    for verb in ["ack", "nack", "reject", "ack"] {
        let first = deliveries.remove(0);
        let params = json!([first["token"]]);
        assert_eq!(hand.answer(verb, params), Ok(()), "{verb}");
        deliveries.push(hand.delivery());
        assert_eq!(hand.delivered(), None, "{verb}");
    }
    // Without a word it is 16.
    let mut other = Hand::connect(&server);
    other.subscribe("s", &json!(["vent.work"]));
    other.until_ready("s");
    for _ in 0..16 {
        other.delivery();
    }
    assert_eq!(other.delivered(), None);
}

#[test]
fn topic_060_the_settings_say_what_credit_there_is() {
    let world = World::memory(|settings| settings);
    // Also those that are made when the worker is known.
    let server = Running::start(world.builder().configure(|settings| {
        settings.workers.credit = 2;
        settings.workers.most_credit = 3;
    }));
    world.publish((0..9).map(entry));
    let mut hand = Hand::connect(&server);
    hand.subscribe("s", &json!(["vent.work"]));
    hand.until_ready("s");
    let deliveries = [hand.delivery(), hand.delivery()];
    assert_eq!(hand.delivered(), None);
    let mut other = Hand::connect(&server);
    other.subscribe("s", &json!(["vent.work", 4]));
    assert_eq!(other.until_nosub("s")["error"], 400);
    other.subscribe("s", &json!(["vent.work", 3]));
    other.until_ready("s");
    drop(deliveries);
}

#[test]
fn a_credit_that_no_client_could_have_is_refused_at_the_start() {
    let world = World::memory(|settings| settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (credit, most) in [(0, 1000), (1001, 1000), (1, 0)] {
        let builder = world.builder().configure(|settings| {
            settings.workers.credit = credit;
            settings.workers.most_credit = most;
        });
        let error = runtime.block_on(builder.bind("127.0.0.1:0")).unwrap_err();
        assert!(error.to_string().contains("workers.credit"), "{error}");
    }
}

#[test]
fn topic_060_a_credit_that_is_none_is_refused() {
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    let mut hand = Hand::connect(&server);
    for bad in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1001),
        json!(1e300),
        json!("4"),
        json!([4]),
        json!({ "credit": 4 }),
        json!({ "$InfNaN": 1 }),
    ] {
        hand.subscribe("s", &json!(["vent.work", bad]));
        let error = hand.until_nosub("s");
        assert_eq!(error["error"], 400, "{bad}");
        // Somebody on this machine is told what is wrong.
        let details = error["details"].as_str();
        assert!(details.is_some_and(|it| it.contains("credit")), "{error}");
    }
    for good in [json!(1), json!(1000), json!(null)] {
        hand.subscribe("s", &json!(["vent.work", good]));
        hand.until_ready("s");
        hand.unsubscribe("s");
    }
    world.becomes_idle(0);
}

#[test]
fn topic_052_055_a_client_refuses_a_record_and_says_why() {
    for world in World::each(|settings| settings.max_deliveries(3)) {
        let server = Running::start(world.builder());
        world.publish([entry(1)]);
        let mut hand = Hand::working(&server, 1);
        let delivery = hand.delivery();
        world.publish([entry(2)]);
        let begun = Instant::now();
        let params = json!([delivery["token"], 300, "busy"]);
        assert_eq!(hand.answer("nack", params), Ok(()));
        // The other one passes it.
        let other = hand.delivery();
        assert_eq!(other["payload"], 2);
        let params = json!([other["token"], "not an order"]);
        assert_eq!(hand.answer("reject", params), Ok(()));
        let again = hand.delivery();
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(
            (&again["payload"], &again["deliveries"]),
            (&json!(1), &json!(2))
        );
        assert_ne!(again["token"], delivery["token"]);
        assert!(again["generation"].as_u64() > delivery["generation"].as_u64());
        for params in [
            json!([again["token"], -1]),
            json!([again["token"], "1"]),
            json!([again["token"], 1e300]),
            json!([7]),
            json!([]),
        ] {
            assert_eq!(hand.answer("nack", params), Err(json!(400)));
        }
        // Without a delay it comes at once, and for the last time.
        assert_eq!(hand.answer("nack", json!([again["token"]])), Ok(()));
        let last = hand.delivery();
        assert_eq!(last["deliveries"], 3);
        let reason = "x".repeat(100_000);
        let params = json!([last["token"], null, reason]);
        assert_eq!(hand.answer("nack", params), Ok(()));
        world.becomes_idle(0);
        let letters = || world.wait(world.group.dead_letters().list(10)).unwrap();
        assert!(eventually_within(PATIENCE, || letters().len() == 2));
        let mut reasons: Vec<_> = letters().into_iter().map(|it| it.reason).collect();
        reasons.sort();
        assert_eq!(reasons[0], "not an order");
        assert!(reasons[1].starts_with("xxx") && reasons[1].len() <= 1000);
    }
}

#[test]
fn topic_053_a_client_extends_its_time() {
    let world = World::memory(|settings| {
        let settings = settings.ack_wait(Duration::from_secs(4));
        settings.max_extension(Duration::from_secs(6))
    });
    let server = Running::start(world.builder());
    world.publish([entry(1)]);
    let mut first = Hand::working(&server, 1);
    let delivery = first.delivery();
    assert_eq!(delivery["ackWait"], 4000);
    let mut second = Hand::working(&server, 1);
    let begun = Instant::now();
    let extended = loop {
        if first.answer("extend", json!([delivery["token"]])) == stale() {
            break begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "it can be extended for ever");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(extended >= Duration::from_millis(4500), "{extended:?}");
    assert_eq!(second.delivery()["deliveries"], 2);
    assert_eq!(first.ack(&delivery), stale());
}

#[test]
fn topic_069_071_a_later_record_of_a_key_is_not_answered_first() {
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    world.publish((1..=3).map(|number| entry(number).key("ada")));
    let mut hand = Hand::working(&server, 3);
    let deliveries: Vec<_> = (0..3).map(|_| hand.delivery()).collect();
    let out_of_order = Err(json!("out-of-order"));
    assert_eq!(hand.ack(&deliveries[1]), out_of_order);
    assert_eq!(hand.ack(&deliveries[0]), Ok(()));
    assert_eq!(hand.ack(&deliveries[2]), out_of_order);
    // With the second comes back what is behind it, which it does not count for.
    let params = json!([deliveries[1]["token"]]);
    assert_eq!(hand.answer("nack", params), Ok(()));
    assert_eq!(hand.ack(&deliveries[2]), stale());
    for (payload, count) in [(2, 2), (3, 1)] {
        let again = hand.delivery();
        assert_eq!(
            (&again["payload"], &again["deliveries"]),
            (&json!(payload), &json!(count))
        );
        assert_eq!(hand.ack(&again), Ok(()));
    }
    world.becomes_idle(0);
}

#[test]
fn topic_063_with_total_order_a_client_has_one_record_at_a_time() {
    let world = World::memory(|settings| settings.order(Order::Total));
    let server = Running::start(world.builder());
    world.publish((1..=4).map(entry));
    let mut first = Hand::working(&server, 16);
    let mut second = Hand::working(&server, 16);
    for number in 1..=4 {
        let (hand, delivery) = loop {
            if let Some(delivery) = first.delivered() {
                break (&mut first, delivery);
            }
            if let Some(delivery) = second.delivered() {
                break (&mut second, delivery);
            }
        };
        assert_eq!(delivery["payload"], number);
        assert_eq!(hand.delivered(), None);
        assert_eq!(hand.ack(&delivery), Ok(()));
    }
    world.becomes_idle(0);
}

#[test]
fn topic_051_what_is_sent_before_the_end_of_a_subscription_counts() {
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    for number in 0..50 {
        world.publish([entry(number)]);
        let mut hand = Hand::working(&server, 1);
        let delivery = hand.delivery();
        hand.begin_call("orders.work/ack", json!([delivery["token"]]));
        hand.unsubscribe("s");
        world.becomes_idle(0);
    }
}
