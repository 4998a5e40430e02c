//! Workers whose client is away, or gone.

use std::time::Duration;

use serde_json::json;
use updraft_test_support::client::PATIENCE;

use super::world::{Hand, World, entry};
use crate::common::{Running, eventually_within};

#[test]
fn topic_054_what_a_client_leaves_in_good_order_is_given_to_others_and_does_not_count() {
    for world in World::each(|settings| settings) {
        let server = Running::start_resumable(world.builder());
        world.publish([entry(1), entry(2)]);
        let mut first = Hand::working(&server, 2);
        let (one, two) = (first.delivery(), first.delivery());
        let mut second = Hand::working(&server, 2);
        first.unsubscribe("s");
        for _ in 0..2 {
            assert_eq!(second.delivery()["deliveries"], 1);
        }
        // The seat is given up with its tokens.
        for delivery in [one, two] {
            assert_eq!(first.ack(&delivery), Err(json!("stale")));
        }
        first.subscribe("t", &json!(["vent.work", 2]));
        first.until_ready("t");
        second.leave();
        for _ in 0..2 {
            let delivery = first.delivery();
            assert_eq!(delivery["deliveries"], 1);
            assert_eq!(first.ack(&delivery), Ok(()));
        }
        world.becomes_idle(0);
        first.leave();
    }
}

#[test]
fn topic_054_a_server_that_shuts_down_gives_back_what_its_clients_have() {
    let world = World::memory(|settings| settings);
    let first = Running::start_resumable(world.builder());
    world.publish([entry(1), entry(2)]);
    let mut here = Hand::working(&first, 1);
    here.delivery();
    let mut away = Hand::working(&first, 1);
    away.delivery();
    away.cut(&first);
    first.wait(first.handle().shutdown(PATIENCE));
    let second = Running::start(world.builder());
    let mut hand = Hand::working(&second, 2);
    for _ in 0..2 {
        let delivery = hand.delivery();
        assert_eq!(delivery["deliveries"], 1);
        assert_eq!(hand.ack(&delivery), Ok(()));
    }
    world.becomes_idle(0);
}

#[test]
fn topic_049_what_a_client_had_that_vanishes_is_given_to_others_at_once_and_counts() {
    // The ack wait is 30 s.
    for world in World::each(|settings| settings) {
        let server = Running::start(world.builder());
        let keyed = |number| entry(number).key("ada");
        world.publish([keyed(1), keyed(2), entry(3)]);
        let mut first = Hand::working(&server, 3);
        for _ in 0..3 {
            assert_eq!(first.delivery()["deliveries"], 1);
        }
        let mut second = Hand::working(&server, 3);
        first.vanish();
        let mut got = Vec::new();
        for _ in 0..3 {
            let delivery = second.delivery();
            assert_eq!(delivery["deliveries"], 2);
            assert_eq!(second.ack(&delivery), Ok(()));
            got.push(delivery["payload"].as_u64().unwrap());
        }
        let place = |number| got.iter().position(|it| *it == number);
        assert!(place(1) < place(2), "{got:?}");
        world.becomes_idle(0);
    }
}

#[test]
fn topic_055_a_record_that_ends_its_clients_is_set_aside() {
    let world = World::memory(|settings| settings.max_deliveries(3));
    let server = Running::start(world.builder());
    world.publish([entry(1)]);
    for count in 1..=3 {
        let mut hand = Hand::working(&server, 1);
        assert_eq!(hand.delivery()["deliveries"], count);
        hand.vanish();
    }
    let letters = || world.wait(world.group.dead_letters().list(10)).unwrap();
    assert!(eventually_within(PATIENCE, || letters().len() == 1));
    assert_eq!(letters()[0].reason, "its client was lost");
    assert_eq!(letters()[0].deliveries, 3);
    world.becomes_idle(0);
}

#[test]
fn topic_050_a_session_that_is_resumed_keeps_what_it_has_and_is_given_nothing_meanwhile() {
    for world in World::each(|settings| settings) {
        let server = Running::start_resumable(world.builder());
        world.publish([entry(1)]);
        let mut first = Hand::working(&server, 4);
        let one = first.delivery();
        let away = first.cut(&server);
        let mut second = Hand::working(&server, 1);
        world.publish([entry(2), entry(3)]);
        // There would be room for both of them at the first.
        let two = second.delivery();
        assert_eq!(two["deliveries"], 1);
        // Nor are its tokens those of others.
        assert_eq!(second.ack(&one), Err(json!("stale")));
        let mut first = Hand::come_back(&server, away);
        let three = first.delivery();
        assert_eq!(three["deliveries"], 1);
        assert_ne!(three["payload"], two["payload"]);
        assert_eq!(first.ack(&two), Err(json!("stale")));
        for delivery in [one, three] {
            assert_eq!(first.ack(&delivery), Ok(()));
        }
        assert_eq!(second.ack(&two), Ok(()));
        world.becomes_idle(0);
        first.leave();
        second.leave();
    }
}

#[test]
fn topic_049_the_time_of_a_client_that_is_away_runs_on() {
    let world = World::memory(|settings| settings.ack_wait(Duration::from_millis(300)));
    let server = Running::start_resumable(world.builder());
    world.publish([entry(1)]);
    let mut first = Hand::working(&server, 1);
    let one = first.delivery();
    let away = first.cut(&server);
    let mut second = Hand::working(&server, 1);
    let again = second.delivery();
    assert!(again["deliveries"].as_u64().unwrap() >= 2);
    let mut first = Hand::come_back(&server, away);
    assert_eq!(first.ack(&one), Err(json!("stale")));
    first.leave();
    second.leave();
}

#[test]
fn topic_049_what_a_client_had_that_does_not_come_back_counts() {
    // The ack wait is 30 s.
    let world = World::memory(|settings| settings);
    let grace = Duration::from_millis(100);
    let server = Running::start_resumable(
        world
            .builder()
            .configure(|settings| settings.sessions.resumption.grace = grace),
    );
    world.publish([entry(1)]);
    let mut first = Hand::working(&server, 1);
    first.delivery();
    first.vanish();
    let mut second = Hand::working(&server, 1);
    let again = second.delivery();
    assert_eq!(again["deliveries"], 2);
    assert_eq!(second.ack(&again), Ok(()));
    world.becomes_idle(0);
    second.leave();
}
