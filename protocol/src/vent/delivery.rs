//! How the events of one subscription reach its client: read from the parameters once, when it begins.

use std::sync::Arc;

use super::{Encoding, EncodingChoice, VentOptions};
use crate::ejson::{self, Object, Text, Value};
use crate::message::{self, Head, WireError};
use crate::random;

/// Longest Vent id or event name, in bytes: it is the client's text, and comes back in every event.
const MAX_NAME: usize = 256;

/// The client's side of one subscription to events.
#[derive(Debug)]
pub struct EventDelivery {
    encoding: Encoding,
    /// Everything up to the event's value; where they are numbered, that of the latest event.
    head: Head,
    /// There where they are numbered.
    numbered: Option<Box<Numbered>>,
    /// The collection that stands for the subscription, where a document is announced.
    collection: Option<Arc<str>>,
    /// The event name of a streamer's document, where one is announced.
    event_name: Option<Box<str>>,
}

/// How events are numbered.
#[derive(Debug)]
struct Numbered {
    /// What stands before the number.
    before: Head,
    /// The number of the latest event, or of the gap behind it.
    latest: u64,
}

impl EventDelivery {
    /// Reads the parameters of a Vent subscription: the Vent id, then the handler's own, which are left in `params`.
    ///
    /// # Errors
    ///
    /// 400 for a Vent id that is missing, not a string, empty, too long, holds control characters or, in the
    /// collection encoding, is a name that a client's other collections use.
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
                collection: None,
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
            collection: Some(id.into()),
            event_name: None,
        })
    }

    /// Reads the parameters of a streamer subscription: the event name, then a boolean or `{useCollection, args}`.
    /// What is left in `params` is for the handler: the event name and the arguments.
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
            collection: announced.then(|| collection.clone()),
            event_name: announced.then(|| name.into()),
        })
    }

    /// The encoding in use.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The collection that stands for the subscription, if a document is announced in one.
    pub(crate) fn collection(&self) -> Option<&Arc<str>> {
        self.collection.as_ref()
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

    /// Events may be missing: where they are numbered, a number is.
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

/// Takes the first parameter if it may serve as a name.
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
