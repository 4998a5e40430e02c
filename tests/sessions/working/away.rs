//! Workers whose client is away, or gone.

use serde_json::json;

use super::world::{Hand, World, entry};
use crate::common::Running;

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
