//! How the events of one subscription reach its client. It is read from the parameters once, when
//! the subscription begins.

use std::sync::Arc;

use super::{Encoding, EncodingChoice, VentOptions};
use crate::ejson::{self, Object, Text, Value};
use crate::message::{self, Head, WireError};
use crate::random;

/// Longest Vent id or event name, in bytes. The client chooses this text, and every event repeats
/// it.
const MAX_NAME: usize = 256;

/// How one subscription's events are encoded for its client.
#[derive(Debug)]
pub struct EventDelivery {
    encoding: Encoding,
    /// Everything before the event's value; where events are numbered, the head of the latest one.
    head: Head,
    /// Set if events are numbered.
    numbered: Option<Box<Numbered>>,
    /// The Vent id, or the collection of a streamer that announces a document.
    id: Option<Arc<str>>,
    /// The event name in a streamer's document, if one is announced.
    event_name: Option<Box<str>>,
}

/// How events are numbered.
#[derive(Debug)]
struct Numbered {
    /// The text before the number.
    before: Head,
    /// The number of the latest event, or of the gap after it.
    latest: u64,
}

impl EventDelivery {
    /// Reads the parameters of a Vent subscription. The first one is the Vent id; the others are
    /// the handler's, and stay in `params`.
    ///
    /// # Errors
    ///
    /// 400 for a Vent id that is missing, is not a string, is empty, is too long or has control
    /// characters; in the collection encoding also for a reserved name.
    pub fn vent(
        publication: &str,
        params: &mut Vec<Value>,
        options: VentOptions,
        server: EncodingChoice,
        reserved: &[Box<str>],
    ) -> Result<Self, WireError> {
        let id = take_name(params).ok_or_else(|| {
            let limit = format!("1 to {MAX_NAME} bytes without control characters");
            WireError::new(
                400,
                format!("The first parameter, the Vent id, must be a string of {limit}"),
            )
        })?;
        let native = match options.encoding.unwrap_or(server) {
            EncodingChoice::Auto => random::is_meteor_id(&id),
            EncodingChoice::Collection => false,
            EncodingChoice::Vent => true,
        };
        if native {
            let mut head = String::from(r#"{"msg":"changed","__vent":"1","id":"#);
            ejson::write_string(&format!("{id}.{publication}"), &mut head);
            head.push_str(r#","e":"#);
            let encoding = if options.ejson {
                Encoding::VentEjson
            } else {
                Encoding::Vent
            };
            return Ok(Self {
                encoding,
                head: head.into(),
                numbered: None,
                id: Some(id.into()),
                event_name: None,
            });
        }
        if is_reserved(&id, reserved) {
            return Err(WireError::new(
                400,
                "This Vent id is the name of another collection",
            ));
        }
        let mut head = collection_head(&id);
        head.push_str(if options.numbered {
            r#""n":"#
        } else {
            r#""event":"#
        });
        let head = Head::from(head);
        Ok(Self {
            encoding: Encoding::Collection,
            numbered: options.numbered.then(|| {
                let before = head.clone();
                Box::new(Numbered { before, latest: 0 })
            }),
            head,
            id: Some(id.into()),
            event_name: None,
        })
    }

    /// Reads the parameters of a streamer subscription: the event name, then a boolean or
    /// `{useCollection, args}`. Afterwards `params` holds what the handler gets: the event name and
    /// the arguments.
    ///
    /// # Errors
    ///
    /// `invalid-event-name` for a first parameter that is not a string of 1 to 256 bytes.
    pub fn streamer(collection: &Arc<str>, params: &mut Vec<Value>) -> Result<Self, WireError> {
        let name = take_name(params).ok_or_else(|| WireError::bare("invalid-event-name"))?;
        let options = if params.is_empty() {
            Value::Undefined
        } else {
            params.remove(0)
        };
        let announced = match &options {
            Value::Bool(announced) => *announced,
            options => options
                .get("useCollection")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        };
        params.clear();
        params.push(Value::from(name.as_str()));
        if let Some(Value::Array(arguments)) = options.get("args") {
            params.extend(arguments.iter().cloned());
        }
        let mut head = collection_head(collection);
        head.push_str(r#""eventName":"#);
        ejson::write_string(&name, &mut head);
        head.push_str(r#","args":"#);
        Ok(Self {
            encoding: Encoding::Streamer,
            head: head.into(),
            numbered: None,
            id: announced.then(|| collection.clone()),
            event_name: announced.then(|| name.into()),
        })
    }

    /// The encoding in use.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The collection of the document that represents the subscription, if one is announced.
    pub(crate) fn collection(&self) -> Option<&Arc<str>> {
        let is_native = matches!(self.encoding, Encoding::Vent | Encoding::VentEjson);
        self.id.as_ref().filter(|_| !is_native)
    }

    /// The Vent id; a streamer has none.
    pub(crate) fn vent_id(&self) -> Option<&Arc<str>> {
        let is_vent = self.encoding != Encoding::Streamer;
        self.id.as_ref().filter(|_| is_vent)
    }

    /// The fields of the announced document.
    pub(crate) fn introduction(&self) -> Object {
        let name = self.event_name.as_deref();
        name.map(|name| (Text::from("eventName"), Value::from(name)))
            .into_iter()
            .collect()
    }

    /// The head of every event, unless they are numbered.
    pub(crate) fn shared_head(&self) -> Option<&Head> {
        self.numbered.is_none().then_some(&self.head)
    }

    /// The head of the next event.
    pub(crate) fn next_head(&mut self) -> &Head {
        if let Some(numbered) = &mut self.numbered {
            numbered.latest = numbered.latest.saturating_add(1);
            let (before, number) = (numbered.before.as_str(), numbered.latest);
            self.head = format!(r#"{before}{number},"event":"#).into();
        }
        &self.head
    }

    /// Events may be missing: if they are numbered, skips a number.
    pub(crate) fn skip(&mut self) {
        if let Some(numbered) = &mut self.numbered {
            numbered.latest = numbered.latest.saturating_add(1);
        }
    }
}

fn collection_head(collection: &str) -> String {
    let mut head = String::from(r#"{"msg":"changed","collection":"#);
    ejson::write_string(collection, &mut head);
    head.push_str(r#","id":"id","fields":{"#);
    head
}

/// Takes the first parameter if it is a valid name.
fn take_name(params: &mut Vec<Value>) -> Option<String> {
    let name = params.first()?.as_str()?.to_owned();
    let fits = !name.is_empty() && message::is_name(&name, MAX_NAME);
    fits.then(|| {
        params.remove(0);
        name
    })
}

fn is_reserved(id: &str, reserved: &[Box<str>]) -> bool {
    id == "users"
        || ["meteor_", "__", "stream-"]
            .iter()
            .any(|prefix| id.starts_with(prefix))
        || reserved.iter().any(|name| **name == *id)
}
