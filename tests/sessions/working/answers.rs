//! What clients are given, and what they answer.

use serde_json::{Value as Json, json};
use updraft::topics::Entry;

use super::world::{Hand, World, entry};
use crate::common::{Running, VID};

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
        assert_eq!(
            delivery,
            json!({
                "token": token, "topic": "orders", "payload": { "total": 7 }, "key": "ada",
                "meta": { "by": "web" }, "time": null, "deliveries": 1, "ackWait": 30_000,
            })
        );
        assert_eq!(hand.ack(&delivery), Ok(()));
        assert_eq!(hand.ack(&delivery), Ok(()), "twice");
        world.becomes_idle(0);
        // In the other encoding.
        hand.unsubscribe("s");
        hand.subscribe("t", &json!([VID]));
        hand.until_ready("t");
        world.publish([entry(2)]);
        let delivery = hand.delivery();
        assert_eq!(delivery["payload"], 2);
        assert_eq!(hand.ack(&delivery), Ok(()));
        world.becomes_idle(0);
    }
}
