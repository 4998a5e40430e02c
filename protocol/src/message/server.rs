//! What a server sends, with Meteor's key order and no spaces.

use super::{Members, Quote, WireError, string_of, strings_of};
use crate::ejson::{self, Object, Value};

/// A message to a client. It borrows its contents and lives only until it is printed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ServerMessage<'a> {
    /// The session has begun.
    Connected(&'a str),
    /// The version that would have been accepted. A close follows.
    Failed(&'a str),
    /// The server's own ping, which has no id.
    Ping,
    /// The answer to a ping; undefined if the ping had no id.
    Pong(&'a Value),
    /// The client sent something wrong; the connection stays open.
    Error(&'a str, Option<&'a Quote>),
    /// A subscription has ended, or was refused. The id is echoed, whatever it was.
    Nosub(&'a Value, Option<&'a WireError>),
    /// A document was added: collection, id, fields.
    Added(&'a str, &'a str, &'a Object),
    /// `added` of the document that represents a Vent subscription. Its empty `fields` are printed,
    /// because some clients demand them.
    Introduced(&'a str, &'a str),
    /// Fields of a document changed; undefined ones are listed in `cleared`.
    Changed(&'a str, &'a str, &'a Object),
    /// A document was removed.
    Removed(&'a str, &'a str),
    /// These subscriptions have sent their first data.
    Ready(&'a [&'a str]),
    /// The writes of this call are visible.
    Updated(&'a str),
    /// The result of a call; undefined is omitted.
    Result(&'a str, &'a Value),
    /// The error of a call.
    Failure(&'a str, &'a WireError),
}

impl ServerMessage<'_> {
    /// The message's text.
    pub fn print(&self) -> Box<str> {
        // Long enough for most messages: a string that grows from nothing is moved three or four
        // times.
        let mut out = String::with_capacity(128);
        self.write(&mut out);
        out.into_boxed_str()
    }

    /// Whether a resuming client counts it: all messages except `ping` and `pong`.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Ping | Self::Pong(_))
    }

    fn write(&self, out: &mut String) {
        match *self {
            Self::Connected(session) => {
                out.push_str(r#"{"msg":"connected","session":"#);
                ejson::write_string(session, out);
            }
            Self::Failed(version) => {
                out.push_str(r#"{"msg":"failed","version":"#);
                ejson::write_string(version, out);
            }
            Self::Ping => out.push_str(r#"{"msg":"ping""#),
            Self::Pong(id) => {
                out.push_str(r#"{"msg":"pong""#);
                write_id(id, out);
            }
            Self::Error(reason, offending) => {
                out.push_str(r#"{"msg":"error","reason":"#);
                ejson::write_string(reason, out);
                if let Some(offending) = offending {
                    out.push_str(r#","offendingMessage":"#);
                    out.push_str(offending.as_str());
                }
            }
            Self::Nosub(id, error) => {
                out.push_str(r#"{"msg":"nosub""#);
                write_id(id, out);
                write_error(error, out);
            }
            Self::Added(collection, id, fields) => {
                write_document("added", collection, id, out);
                write_fields(fields, out);
            }
            Self::Introduced(collection, id) => {
                write_document("added", collection, id, out);
                out.push_str(r#","fields":{}"#);
            }
            Self::Changed(collection, id, fields) => {
                write_document("changed", collection, id, out);
                write_fields(fields, out);
            }
            Self::Removed(collection, id) => write_document("removed", collection, id, out),
            Self::Ready(subscriptions) => {
                out.push_str(r#"{"msg":"ready","subs":["#);
                for (index, id) in subscriptions.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    ejson::write_string(id, out);
                }
                out.push(']');
            }
            Self::Updated(call) => {
                out.push_str(UPDATED);
                ejson::write_string(call, out);
                out.push(']');
            }
            Self::Result(call, result) => {
                out.push_str(RESULT);
                ejson::write_string(call, out);
                if !result.is_undefined() {
                    out.push_str(r#","result":"#);
                    ejson::write_ejson(result, out);
                }
            }
            Self::Failure(call, error) => {
                out.push_str(RESULT);
                ejson::write_string(call, out);
                write_error(Some(error), out);
            }
        }
        out.push('}');
    }
}

/// The call that a printed message answers, if the message is a `result` or an `updated`.
pub(crate) fn answered_call(text: &str) -> Option<Box<str>> {
    let Some(rest) = text
        .strip_prefix(RESULT)
        .or_else(|| text.strip_prefix(UPDATED))
    else {
        return answered_call_of_others(text);
    };
    // The id comes first. A result after it may be long, and is not read.
    serde_json::Deserializer::from_str(rest)
        .into_iter::<Box<str>>()
        .next()?
        .ok()
}

/// The same for a message of another server, whose members may be in another order.
fn answered_call_of_others(text: &str) -> Option<Box<str>> {
    let (mut msg, mut call) = (None, None);
    for member in Members::of(text)? {
        match &*member.key {
            "msg" => msg = string_of(member.value),
            "id" => call = string_of(member.value),
            "methods" => call = strings_of(member.value).into_iter().next(),
            _ => {}
        }
        let is_answer = msg
            .as_deref()
            .map(|msg| matches!(msg, "result" | "updated"));
        match (is_answer, &call) {
            (Some(false), _) => return None,
            (Some(true), Some(call)) => return Some(call.as_ref().into()),
            _ => {}
        }
    }
    None
}

const RESULT: &str = r#"{"msg":"result","id":"#;
const UPDATED: &str = r#"{"msg":"updated","methods":["#;

fn write_id(id: &Value, out: &mut String) {
    if !id.is_undefined() {
        out.push_str(r#","id":"#);
        ejson::write_json(id, out);
    }
}

fn write_error(error: Option<&WireError>, out: &mut String) {
    if let Some(error) = error {
        out.push_str(r#","error":"#);
        error.write(out);
    }
}

fn write_document(message: &str, collection: &str, id: &str, out: &mut String) {
    out.push_str(r#"{"msg":""#);
    out.push_str(message);
    out.push_str(r#"","collection":"#);
    ejson::write_string(collection, out);
    out.push_str(r#","id":"#);
    ejson::write_string(id, out);
}

/// Prints the defined members of `fields`, then the undefined ones as `cleared`; neither is printed
/// empty.
fn write_fields(fields: &Object, out: &mut String) {
    let mut lead = r#","fields":{"#;
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_undefined()) {
        out.push_str(lead);
        key.write_literal(out);
        out.push(':');
        ejson::write_ejson(value, out);
        lead = ",";
    }
    if lead == "," {
        out.push('}');
    }
    let mut lead = r#","cleared":["#;
    for (key, _) in fields.iter().filter(|(_, value)| value.is_undefined()) {
        out.push_str(lead);
        key.write_literal(out);
        lead = ",";
    }
    if lead == "," {
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_call_it_answers() {
        for id in ["1", "", "a\"b\\", "é\u{2028}"] {
            let result = Value::from("\"]}");
            let error = WireError::new(403, "no");
            for message in [
                ServerMessage::Result(id, &result),
                ServerMessage::Result(id, &Value::Undefined),
                ServerMessage::Failure(id, &error),
                ServerMessage::Updated(id),
            ] {
                assert_eq!(answered_call(&message.print()).as_deref(), Some(id));
            }
        }
        assert_eq!(answered_call(&ServerMessage::Ready(&["1"]).print()), None);
    }
}
