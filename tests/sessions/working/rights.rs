//! Who may work, and whose records are whose.

use serde_json::json;
use updraft::Builder;
use updraft::prelude::*;

use super::world::{Hand, World, entry};
use crate::common::Running;

/// Whoever is logged in may work, but mallory.
fn guarded(world: &World) -> Builder {
    let authorize = async |subscription: Subscription| match subscription.user_id() {
        Some(user) if user.as_str() != "mallory" => Ok(()),
        _ => Err(Error::forbidden("not you")),
    };
    Server::builder()
        .worker("orders.work", &world.group, authorize)
        .method("setUser", async |call: Call, user: Option<String>| {
            call.set_user_id(user).await
        })
}

fn work(hand: &mut Hand, user: &str) {
    hand.call("setUser", json!([user])).unwrap();
    hand.subscribe("s", &json!(["vent.work", 2]));
    hand.until_ready("s");
}

#[test]
fn topic_109_who_may_not_work_is_given_nothing() {
    let world = World::memory(|settings| settings);
    let server = Running::start(guarded(&world));
    world.publish([entry(1)]);
    let mut hand = Hand::connect(&server);
    hand.subscribe("s", &json!(["vent.work"]));
    assert_eq!(hand.until_nosub("s")["error"], 403);
    let mut other = Hand::connect(&server);
    work(&mut other, "ada");
    let delivery = other.delivery();
    // A token is good for nobody else, whoever that is.
    hand.call("setUser", json!(["ada"])).unwrap();
    for verb in ["ack", "nack", "extend", "reject"] {
        let params = json!([delivery["token"]]);
        assert_eq!(hand.answer(verb, params), Err(json!("stale")), "{verb}");
    }
    for token in ["", "x", "00000000.0.0.1.1", &"9".repeat(10_000)] {
        assert_eq!(other.answer("ack", json!([token])), Err(json!("stale")));
    }
    assert_eq!(other.ack(&delivery), Ok(()));
    world.becomes_idle(0);
}

#[test]
fn topic_109_a_change_of_the_user_asks_again() {
    for world in World::each(|settings| settings) {
        let server = Running::start(guarded(&world));
        world.publish([entry(1), entry(2)]);
        let mut hand = Hand::connect(&server);
        work(&mut hand, "ada");
        let (one, two) = (hand.delivery(), hand.delivery());
        hand.call("setUser", json!(["bob"])).unwrap();
        // Who may work too keeps what the client has, which fills its credit.
        world.publish([entry(3)]);
        assert_eq!(hand.delivered(), None);
        assert_eq!(hand.ack(&one), Ok(()));
        let three = hand.delivery();
        assert_eq!(three["payload"], 3);
        hand.call("setUser", json!(["mallory"])).unwrap();
        assert_eq!(hand.until_nosub("s")["error"], 403);
        for delivery in [two, three] {
            assert_eq!(hand.ack(&delivery), Err(json!("stale")));
        }
        let mut other = Hand::connect(&server);
        work(&mut other, "ada");
        for _ in 0..2 {
            let delivery = other.delivery();
            assert_eq!(delivery["deliveries"], 1);
            assert_eq!(other.ack(&delivery), Ok(()));
        }
        world.becomes_idle(0);
    }
}

#[test]
fn topic_109_while_the_user_changes_no_delivery_is_lost() {
    // The ack wait is 30 s.
    let world = World::memory(|settings| settings);
    let server = Running::start(guarded(&world));
    let mut hand = Hand::connect(&server);
    work(&mut hand, "ada");
    let mut seen = Vec::new();
    for number in 0..100 {
        world.publish([entry(2 * number), entry(2 * number + 1)]);
        // What is on its way may be for the run before.
        let user = if number % 2 == 0 { "bob" } else { "ada" };
        hand.call("setUser", json!([user])).unwrap();
        for _ in 0..2 {
            let delivery = hand.delivery();
            assert_eq!(delivery["deliveries"], 1);
            assert_eq!(hand.ack(&delivery), Ok(()));
            seen.push(delivery["payload"].as_u64().unwrap());
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..200));
    world.becomes_idle(0);
}

#[test]
fn topic_109_a_right_that_is_withdrawn_ends_the_work() {
    let world = World::memory(|settings| settings);
    let server = Running::start(guarded(&world));
    world.publish([entry(1)]);
    let mut hand = Hand::connect(&server);
    work(&mut hand, "ada");
    let one = hand.delivery();
    let stop = server.handle().stop_subscriptions("ada", "orders.work");
    server.wait(stop).unwrap();
    hand.until_nosub("s");
    assert_eq!(hand.ack(&one), Err(json!("stale")));
    let mut other = Hand::connect(&server);
    work(&mut other, "bob");
    assert_eq!(other.delivery()["deliveries"], 1);
}

#[test]
fn topic_066_a_group_that_is_deleted_ends_the_work() {
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    let mut hand = Hand::working(&server, 1);
    let topics = &world.topics;
    world.wait(topics.delete_group("billing")).unwrap();
    assert_eq!(hand.until_nosub("s")["error"], "unknown-group");
}
