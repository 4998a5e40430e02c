//! Events, and the records that they are: the payload is `{"event", "args", "from"}`. Emitters of
//! other languages write the same.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use updraft_protocol::ejson::{self, Object, Value};

use crate::{Entry, Message, TopicError};

/// An event that was triggered, as listeners get it.
#[derive(Clone, Debug)]
pub struct Event {
    name: Box<str>,
    args: Vec<Value>,
    message: Message,
}

#[derive(Deserialize)]
struct Payload {
    event: String,
    args: Vec<Value>,
    from: Option<String>,
}

impl Event {
    /// The event of a record, and which emitter has triggered it.
    pub(super) fn decode(message: Message) -> Result<(Self, Option<String>), TopicError> {
        let Payload { event, args, from } = message.parse()?;
        let event = Self {
            name: event.into(),
            args,
            message,
        };
        Ok((event, from))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments.
    pub fn args(&self) -> &[Value] {
        &self.args
    }

    /// Its arguments as types of the caller's choice: a tuple of as many.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotDecoded`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, TopicError> {
        let args = Value::Array(self.args.clone());
        ejson::from_value(args).map_err(|error| TopicError::NotDecoded {
            position: self.message.position(),
            cause: Arc::new(error),
        })
    }

    /// Its record: position, time, metadata. An event that fires a second time, because its process
    /// ended before it was known to have fired, has the same position again.
    pub const fn message(&self) -> &Message {
        &self.message
    }
}

/// The record of an event.
pub(super) fn entry(name: &str, args: impl Serialize, from: &str) -> Result<Entry, TopicError> {
    let args = ejson::to_value(&args).map_err(|error| TopicError::NotEncoded(Arc::new(error)))?;
    let args = match args {
        Value::Array(args) => args,
        Value::Null | Value::Undefined => Vec::new(),
        arg => vec![arg],
    };
    let mut payload = Object::with_capacity(3);
    payload.insert("event", Value::from(name));
    payload.insert("args", Value::Array(args));
    payload.insert("from", Value::from(from));
    Ok(Entry::from(Value::Object(payload)))
}
