//! A delivery as a client gets it.

use std::time::Duration;

use updraft_protocol::ejson::{Object, Value};
use updraft_topics::group::Delivery;

use crate::base::error::Result;
use crate::mapping::{Event, insert_details, insert_payload};

/// The event of a delivery. `ack_wait` is the time that the client has.
///
/// # Errors
///
/// If the payload cannot be read.
pub(super) fn event(delivery: &Delivery, ack_wait: Duration) -> Result<Event> {
    let mut event = Object::default();
    event.insert("token", Value::from(delivery.token().to_string().as_str()));
    event.insert("topic", Value::from(delivery.topic().as_str()));
    insert_payload(&mut event, delivery.message())?;
    insert_details(&mut event, delivery.message());
    event.insert("deliveries", Value::from(f64::from(delivery.deliveries())));
    event.insert("generation", Value::from(delivery.generation() as f64));
    event.insert("ackWait", Value::from(ack_wait.as_millis() as f64));
    Event::always(Value::Object(event))
}
