//! What a client may say after `connect`, read the way Meteor reads it: JSON first, then `cleared`, then EJSON, then
//! the members of each message. What does not fit is kept, because the answer quotes it.

use crate::ejson::{self, Limits, Object, Text, Value};

/// Why a frame could not be taken in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON, or JSON that is neither an object nor an array: `Bad request`, nothing quoted.
    NotAMessage,
    /// EJSON or `cleared` that cannot be decoded: `Parse error`, nothing quoted.
    Undecodable,
}

/// A message that waits in the session's queue for its turn.
#[derive(Clone, Debug)]
pub enum Request {
    /// `sub`
    Subscribe(Subscribe),
    /// `unsub`; the id may be anything, and is echoed.
    Unsubscribe(Value),
    /// `method`
    Call(Call),
    /// Anything else: answered in its turn with an `error` that quotes it.
    Malformed {
        /// Meteor's words for what is wrong.
        reason: &'static str,
        /// The message after decoding.
        offending: Value,
    },
}

/// `sub`, well formed.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The client's name for the subscription.
    pub id: Text,
    /// The publication's name.
    pub name: Text,
    /// The parameters, decoded.
    pub params: Vec<Value>,
}

/// `method`, well formed.
#[derive(Clone, Debug)]
pub struct Call {
    /// The client's name for the call.
    pub id: Text,
    /// The method's name.
    pub method: Text,
    /// The parameters, decoded.
    pub params: Vec<Value>,
    /// `randomSeed`; an empty one counts as none.
    pub seed: Option<String>,
}

/// Reads one frame: JSON, then `cleared` folded into `fields`, then EJSON.
///
/// # Errors
///
/// [`Unreadable`] says which of Meteor's two answers is due.
pub fn decode(text: &str, limits: &Limits) -> Result<Value, Unreadable> {
    match ejson::parse(text, limits) {
        Ok(Value::Object(mut message)) => {
            fold_cleared(&mut message)?;
            for key in ["fields", "params", "result"] {
                if let Some(value) = message.get_mut(key) {
                    let plain = std::mem::take(value);
                    *value = plain.decode().map_err(|_| Unreadable::Undecodable)?;
                }
            }
            Ok(Value::Object(message))
        }
        Ok(array @ Value::Array(_)) => Ok(array),
        _ => Err(Unreadable::NotAMessage),
    }
}

impl Request {
    /// Reads the members of a decoded message.
    pub fn parse(message: Value) -> Self {
        match message.get("msg").and_then(Value::as_str) {
            Some("sub") => Self::subscribe(message),
            Some("unsub") => {
                Self::Unsubscribe(message.get("id").cloned().unwrap_or(Value::Undefined))
            }
            Some("method") => Self::call(message),
            _ => Self::Malformed {
                reason: "Bad request",
                offending: message,
            },
        }
    }

    fn subscribe(mut message: Value) -> Self {
        let (id, name) = (text(&message, "id"), text(&message, "name"));
        if let (Some(id), Some(name)) = (id, name)
            && let Some(params) = take_params(&mut message)
        {
            return Self::Subscribe(Subscribe { id, name, params });
        }
        Self::Malformed {
            reason: "Malformed subscription",
            offending: message,
        }
    }

    fn call(mut message: Value) -> Self {
        let seed = match message.get("randomSeed") {
            None => Some(None),
            Some(Value::String(seed)) if seed.is_empty() => Some(None),
            Some(Value::String(seed)) => Some(Some(seed.to_string_lossy().into_owned())),
            Some(_) => None,
        };
        let (id, method) = (text(&message, "id"), text(&message, "method"));
        if let (Some(id), Some(method), Some(seed)) = (id, method, seed)
            && let Some(params) = take_params(&mut message)
        {
            return Self::Call(Call {
                id,
                method,
                params,
                seed,
            });
        }
        Self::Malformed {
            reason: "Malformed method invocation",
            offending: message,
        }
    }
}

fn text(message: &Value, key: &str) -> Option<Text> {
    match message.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Takes `params` out if they are an array; absent ones are none.
///
/// Called last: a message that turns out malformed is quoted whole.
fn take_params(message: &mut Value) -> Option<Vec<Value>> {
    match message.as_object_mut()?.get_mut("params") {
        None => Some(Vec::new()),
        Some(Value::Array(params)) => Some(std::mem::take(params)),
        Some(_) => None,
    }
}

/// Turns `cleared` into members of `fields` that are undefined, which is what it stands for.
fn fold_cleared(message: &mut Object) -> Result<(), Unreadable> {
    let Some(cleared) = message.remove("cleared") else {
        return Ok(());
    };
    let Value::Array(names) = cleared else {
        return Err(Unreadable::Undecodable);
    };
    if !message.contains_key("fields") {
        message.insert("fields", Object::new());
    }
    match message.get_mut("fields") {
        Some(Value::Object(fields)) => {
            for name in names {
                if let Value::String(name) = name {
                    fields.insert(name, Value::Undefined);
                }
            }
            Ok(())
        }
        // An array would take the names as properties that no JSON shows.
        Some(Value::Array(_)) => Ok(()),
        _ if names.is_empty() => Ok(()),
        _ => Err(Unreadable::Undecodable),
    }
}
