//! What is known of a record beside its payload, as clients get it.

use updraft_protocol::ejson::{Object, Text, Value};
use updraft_topics::Message;

/// Adds `key`, `compact`, `meta` and `time` of a record, as far as it has them.
pub(crate) fn describe(record: &Message, object: &mut Object) {
    if let Some(key) = record.key() {
        object.insert("key", Value::from(key));
    }
    if let Some(id) = record.compact() {
        object.insert("compact", Value::from(id));
    }
    if !record.meta().is_empty() {
        let meta = record.meta().iter();
        let meta = meta.map(|(name, text)| (Text::from(name.as_str()), Value::from(text.as_str())));
        object.insert("meta", Value::Object(meta.collect()));
    }
    object.insert("time", Value::from(record.time() as f64));
}
