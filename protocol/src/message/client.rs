//! What a client may say after `connect`, read the way Meteor reads it: JSON first, then `cleared`, then EJSON, then
//! the members of each message. What does not fit is kept, because the answer quotes it.

use std::fmt;

use crate::ejson::{self, JsonLimits, Object, ObjectId, Value};

/// What a client may write into a message, beyond what its JSON may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageBounds {
    /// Bytes of an id or a name that a client sends: 256 by default. It is of a subscription, a
    /// publication, a call, a method or a ping; a longer one is refused as malformed.
    pub name: usize,
    /// Bytes of a refused message that its `error` quotes as `offendingMessage`: 1 KiB by default.
    /// Of a longer one the client hears the reason only.
    pub quote: usize,
}

impl Default for MessageBounds {
    fn default() -> Self {
        Self {
            name: 256,
            quote: 1024,
        }
    }
}

/// Why a frame could not be taken in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not JSON, or JSON that is neither an object nor an array: `Bad request`, nothing quoted.
    NotAMessage,
    /// EJSON or `cleared` that cannot be decoded: `Parse error`, nothing quoted.
    Undecodable {
        /// Whether there is a `msg` that says what it was meant to be.
        has_msg: bool,
    },
}

/// A message that waits in the session's queue for its turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientRequest {
    /// `sub`
    Subscribe(Subscribe),
    /// `unsub`; the id may be anything, and is echoed.
    Unsubscribe(Value),
    /// `method`
    Call(MethodCall),
    /// Anything else: answered in its turn with an `error` that quotes it.
    Malformed {
        /// Meteor's words for what is wrong.
        reason: &'static str,
        /// The message, to be quoted.
        offending: Option<Quote>,
    },
}

/// A refused message as its answer shows it: after decoding, as plain JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote(Box<str>);

/// `sub`, well formed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subscribe {
    /// The client's name for the subscription.
    pub id: Box<str>,
    /// The publication's name.
    pub name: Box<str>,
    /// The parameters, decoded.
    pub params: Vec<Value>,
}

/// `method`, well formed.
#[derive(Clone)]
#[non_exhaustive]
pub struct MethodCall {
    /// The client's name for the call.
    pub id: Box<str>,
    /// The method's name.
    pub method: Box<str>,
    /// The parameters, decoded.
    pub params: Vec<Value>,
    /// `randomSeed`; an empty one counts as none.
    pub seed: Option<String>,
}

/// Reads one frame: JSON, then `cleared` folded into `fields`, then EJSON.
///
/// An ObjectID without an id gets one of `new_object_id`; if there is none to be had, it cannot be decoded.
///
/// # Errors
///
/// [`Unreadable`] says which of Meteor's two answers is due.
pub fn decode(
    text: &str,
    limits: &JsonLimits,
    new_object_id: impl FnMut() -> Option<ObjectId>,
) -> Result<Value, Unreadable> {
    match ejson::parse(text, limits) {
        Ok(Value::Object(mut message)) => match decode_members(&mut message, new_object_id) {
            Some(()) => Ok(Value::Object(message)),
            None => Err(Unreadable::Undecodable {
                has_msg: message.get("msg").is_some_and(|msg| !msg.is_falsy()),
            }),
        },
        Ok(array @ Value::Array(_)) => Ok(array),
        _ => Err(Unreadable::NotAMessage),
    }
}

fn decode_members(
    message: &mut Object,
    mut new_object_id: impl FnMut() -> Option<ObjectId>,
) -> Option<()> {
    fold_cleared(message)?;
    for key in ["fields", "params", "result"] {
        if let Some(value) = message.get_mut(key) {
            *value = value.take().decode_with(&mut new_object_id).ok()?;
        }
    }
    Some(())
}

impl ClientRequest {
    /// Whether it asks for a handler to begin.
    pub(crate) fn begins_handler(&self) -> bool {
        matches!(self, Self::Subscribe(_) | Self::Call(_))
    }

    /// Reads the members of a decoded message, whose text had so many bytes.
    pub fn parse(message: Value, bytes: usize, bounds: &MessageBounds) -> Self {
        match message.get("msg").and_then(Value::as_str) {
            Some("sub") => Self::subscribe(message, bytes, bounds),
            Some("unsub") => {
                let id = message.get("id").unwrap_or(&Value::Undefined);
                if is_short(id, bounds) {
                    return Self::Unsubscribe(id.clone());
                }
                Self::malformed("Bad request", &message, bytes, bounds)
            }
            Some("method") => Self::call(message, bytes, bounds),
            _ => Self::malformed("Bad request", &message, bytes, bounds),
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        let inner = match self {
            Self::Subscribe(it) => it.id.len() + it.name.len() + memory(&it.params),
            Self::Unsubscribe(id) => id.memory(),
            Self::Call(it) => {
                let seed = it.seed.as_ref().map_or(0, String::len);
                it.id.len() + it.method.len() + seed + memory(&it.params)
            }
            Self::Malformed { offending, .. } => offending.as_ref().map_or(0, |it| it.0.len()),
        };
        size_of::<Self>().saturating_add(inner)
    }

    fn subscribe(mut message: Value, bytes: usize, bounds: &MessageBounds) -> Self {
        let name = |key| name(&message, key, bounds);
        if let (Some(id), Some(name)) = (name("id"), name("name"))
            && let Some(params) = take_params(&mut message)
        {
            return Self::Subscribe(Subscribe { id, name, params });
        }
        Self::malformed("Malformed subscription", &message, bytes, bounds)
    }

    fn call(mut message: Value, bytes: usize, bounds: &MessageBounds) -> Self {
        let seed = match message.get("randomSeed") {
            None => Some(None),
            Some(Value::String(seed)) if seed.is_empty() => Some(None),
            Some(Value::String(seed)) => Some(Some(seed.to_string_lossy().into_owned())),
            Some(_) => None,
        };
        let name = |key| name(&message, key, bounds);
        if let (Some(id), Some(method), Some(seed)) = (name("id"), name("method"), seed)
            && let Some(params) = take_params(&mut message)
        {
            return Self::Call(MethodCall {
                id,
                method,
                params,
                seed,
            });
        }
        Self::malformed("Malformed method invocation", &message, bytes, bounds)
    }

    fn malformed(
        reason: &'static str,
        message: &Value,
        bytes: usize,
        bounds: &MessageBounds,
    ) -> Self {
        Self::Malformed {
            reason,
            offending: Quote::of(message, bytes, bounds),
        }
    }
}

impl Quote {
    /// Quotes a decoded message whose text had so many bytes, unless one or the other is too long.
    pub fn of(message: &Value, bytes: usize, bounds: &MessageBounds) -> Option<Self> {
        // A long message is not even printed; a short one may still print long, for binary does.
        (bytes <= bounds.quote)
            .then(|| ejson::to_json(message))
            .filter(|text| text.len() <= bounds.quote)
            .map(|text| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without the parameters: they may hold a password.
impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Without the parameters: they may hold a password.
impl fmt::Debug for MethodCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodCall")
            .field("id", &self.id)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Bytes of memory that parameters take, about.
pub(crate) fn memory(params: &[Value]) -> usize {
    let each = params.iter().map(Value::memory);
    each.fold(0, usize::saturating_add)
}

/// Whether an id that is only echoed is short enough for it.
pub(crate) fn is_short(id: &Value, bounds: &MessageBounds) -> bool {
    match id {
        Value::String(id) => id.to_string_lossy().len() <= bounds.name,
        Value::Array(_) | Value::Object(_) => ejson::to_json(id).len() <= bounds.name,
        _ => true,
    }
}

/// Whether a text can be an id or a name. What no eye can see, or no Rust string can hold, is not part of one.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    let unseen = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.len() <= longest && !text.chars().any(unseen)
}

fn name(message: &Value, key: &str, bounds: &MessageBounds) -> Option<Box<str>> {
    let name = message.get(key)?.as_str()?;
    is_name(name, bounds.name).then(|| name.into())
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

/// Turns `cleared` into members of `fields` that are undefined, which is what it stands for. Nothing if it cannot.
fn fold_cleared(message: &mut Object) -> Option<()> {
    let Some(cleared) = message.remove("cleared") else {
        return Some(());
    };
    let Value::Array(names) = cleared else {
        return None;
    };
    if !message.contains_key("fields") {
        message.insert("fields", Object::new());
    }
    match message.get_mut("fields") {
        Some(Value::Object(fields)) => {
            // All at once: integer-like names are put in order, and one by one that takes time.
            fields.extend(names.into_iter().filter_map(|name| match name {
                Value::String(name) => Some((name, Value::Undefined)),
                _ => None,
            }));
            Some(())
        }
        // An array would take the names as properties that no JSON shows.
        Some(Value::Array(_)) => Some(()),
        _ if names.is_empty() => Some(()),
        _ => None,
    }
}
