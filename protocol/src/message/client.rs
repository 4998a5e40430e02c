//! What a client may send after `connect`, read in Meteor's order: JSON first, then `cleared`, then
//! EJSON, then the members of each message. A malformed message is kept, because the answer quotes
//! it.

use std::fmt;

use crate::ejson::{self, JsonLimits, Object, ObjectId, Value};

/// Limits on a client's messages, besides those of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageBounds {
    /// Longest id or name that a client may send, in bytes: 256 by default. It applies to
    /// subscriptions, publications, calls, methods and pings. A message with a longer one is
    /// refused as malformed.
    pub name: usize,
    /// Longest message that its `error` quotes as `offendingMessage`, in bytes: 1 KiB by default.
    /// For a longer message the client gets only the reason.
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

/// Why a frame could not be read as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not JSON, or JSON that is neither an object nor an array: `Bad request`, nothing quoted.
    NotAMessage,
    /// EJSON or `cleared` that cannot be decoded: `Parse error`, nothing quoted.
    Undecodable {
        /// Whether the message has a `msg`, which says what it was meant to be.
        has_msg: bool,
    },
}

/// A message that waits in the session's queue for its turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientRequest {
    /// `sub`
    Subscribe(Subscribe),
    /// `unsub`; the id may be any value, and is echoed.
    Unsubscribe(Value),
    /// `method`
    Call(MethodCall),
    /// Anything else. In its turn it is answered with an `error` that quotes it.
    Malformed {
        /// Meteor's text for what is wrong.
        reason: &'static str,
        /// The message to quote.
        offending: Option<Quote>,
    },
}

/// A refused message as its answer quotes it: after decoding, as plain JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote(Box<str>);

/// A well-formed `sub`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subscribe {
    /// The client's id for the subscription.
    pub id: Box<str>,
    /// The publication's name.
    pub name: Box<str>,
    /// The decoded parameters.
    pub params: Vec<Value>,
}

/// A well-formed `method`.
#[derive(Clone)]
#[non_exhaustive]
pub struct MethodCall {
    /// The client's id for the call.
    pub id: Box<str>,
    /// The method's name.
    pub method: Box<str>,
    /// The decoded parameters.
    pub params: Vec<Value>,
    /// `randomSeed`; an empty one counts as none.
    pub seed: Option<String>,
}

/// Reads one frame: parses JSON, moves `cleared` into `fields`, then decodes EJSON.
///
/// An ObjectID without an id gets one from `new_object_id`; if that returns `None`, the frame
/// cannot be decoded.
///
/// # Errors
///
/// [`Unreadable`] says which of Meteor's two answers to send.
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
    /// Whether the message starts a handler.
    pub(crate) fn begins_handler(&self) -> bool {
        matches!(self, Self::Subscribe(_) | Self::Call(_))
    }

    /// Reads the members of a decoded message, whose text had `bytes` bytes.
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

    /// About how many bytes of memory it takes.
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
    /// Quotes a decoded message whose text had `bytes` bytes. `None` if the text or the quote is
    /// too long.
    pub fn of(message: &Value, bytes: usize, bounds: &MessageBounds) -> Option<Self> {
        // A long message is not printed at all. A short one may still print long, as binary does.
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

/// About how many bytes of memory the parameters take.
pub(crate) fn memory(params: &[Value]) -> usize {
    let each = params.iter().map(Value::memory);
    each.fold(0, usize::saturating_add)
}

/// Whether an id is short enough to be echoed.
pub(crate) fn is_short(id: &Value, bounds: &MessageBounds) -> bool {
    match id {
        Value::String(id) => id.to_string_lossy().len() <= bounds.name,
        Value::Array(_) | Value::Object(_) => ejson::to_json(id).len() <= bounds.name,
        _ => true,
    }
}

/// Whether a text can be an id or a name. It may hold no invisible characters and no lone
/// surrogates.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    let unseen = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.len() <= longest && !text.chars().any(unseen)
}

fn name(message: &Value, key: &str, bounds: &MessageBounds) -> Option<Box<str>> {
    let name = message.get(key)?.as_str()?;
    is_name(name, bounds.name).then(|| name.into())
}

/// Takes `params` out if they are an array; absent ones count as an empty array.
///
/// Called last: a message that turns out malformed is quoted whole.
fn take_params(message: &mut Value) -> Option<Vec<Value>> {
    match message.as_object_mut()?.get_mut("params") {
        None => Some(Vec::new()),
        Some(Value::Array(params)) => Some(std::mem::take(params)),
        Some(_) => None,
    }
}

/// Turns `cleared` into undefined members of `fields`, which is what it means. `None` if that is
/// not possible.
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
            // All at once: integer-like names are sorted, which takes long if done after each one.
            fields.extend(names.into_iter().filter_map(|name| match name {
                Value::String(name) => Some((name, Value::Undefined)),
                _ => None,
            }));
            Some(())
        }
        // On an array the names would become properties, which no JSON shows.
        Some(Value::Array(_)) => Some(()),
        _ if names.is_empty() => Some(()),
        _ => None,
    }
}
