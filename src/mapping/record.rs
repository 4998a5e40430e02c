//! Records of topics as objects that clients get.

use updraft_protocol::ejson::{Binary, Object, Text, Value};
use updraft_topics::{Message, TopicError};

/// Inserts the payload, if there is one: bytes with their type if it is not EJSON.
///
/// # Errors
///
/// [`TopicError::NotDecoded`] if it should be EJSON and is not.
pub(crate) fn insert_payload(event: &mut Object, record: &Message) -> Result<(), TopicError> {
    let Some(payload) = record.payload() else {
        return Ok(());
    };
    let payload = match record.content_type() {
        None => record.value()?,
        Some(content_type) => {
            event.insert("contentType", Value::from(content_type));
            Value::Binary(Binary::from(payload.to_vec()))
        }
    };
    event.insert("payload", payload);
    Ok(())
}

/// Inserts what a record has beside its payload.
pub(crate) fn insert_details(event: &mut Object, record: &Message) {
    if let Some(key) = record.key() {
        event.insert("key", Value::from(key));
    }
    if let Some(id) = record.compact() {
        event.insert("compact", Value::from(id));
    }
    if !record.meta().is_empty() {
        let meta = record.meta().iter();
        let meta = meta.map(|(name, text)| (Text::from(name.as_str()), Value::from(text.as_str())));
        event.insert("meta", Value::Object(meta.collect()));
    }
    event.insert("time", Value::from(record.time() as f64));
}
