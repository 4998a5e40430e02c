//! The message envelope: whatever a client sends is read or refused, and a quoted message is JSON
//! again. A well-formed message has exactly the members with which it was sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_protocol::ejson::{self, JsonLimits, Value};
use updraft_protocol::message::{
    ClientRequest, MessageBounds, MethodCall, Quote, ServerMessage, Subscribe, decode,
};

/// An echo is deeper than the message that it quotes, and `$escape` of a string has a member for
/// each of its characters.
const ECHO: JsonLimits = JsonLimits::new(512, usize::MAX);

fuzz_target!(|text: &str| {
    let Ok(message) = decode(text, &JsonLimits::default(), || None) else {
        return;
    };
    let bounds = MessageBounds::default();
    let quote = Quote::of(&message, text.len(), &bounds);
    check_echo(quote.as_ref(), text.len(), &bounds);
    let whole = message.clone();
    match ClientRequest::parse(message, text.len(), &bounds) {
        ClientRequest::Subscribe(Subscribe {
            id, name, params, ..
        }) => {
            assert_eq!(text_of(&whole, "id"), Some(&*id));
            assert_eq!(text_of(&whole, "name"), Some(&*name));
            assert!(id.len().max(name.len()) <= bounds.name);
            check_params(&whole, &params);
        }
        ClientRequest::Call(MethodCall {
            id, method, params, ..
        }) => {
            assert_eq!(text_of(&whole, "id"), Some(&*id));
            assert_eq!(text_of(&whole, "method"), Some(&*method));
            assert!(id.len().max(method.len()) <= bounds.name);
            check_params(&whole, &params);
        }
        ClientRequest::Unsubscribe(id) => {
            let nosub = ServerMessage::Nosub(&id, None).print();
            let nosub = ejson::parse(&nosub, &ECHO).expect("a frame is JSON");
            assert_eq!(nosub.get("id").is_some(), !id.is_undefined());
        }
        ClientRequest::Malformed { offending, .. } => assert_eq!(offending, quote),
        other => panic!("nothing checks {other:?}"),
    }
});

fn text_of<'a>(message: &'a Value, key: &str) -> Option<&'a str> {
    message.get(key)?.as_str()
}

fn check_echo(quote: Option<&Quote>, bytes: usize, bounds: &MessageBounds) {
    let error = ServerMessage::Error("Bad request", quote).print();
    let envelope = ServerMessage::Error("Bad request", None).print();
    assert!(error.len() <= envelope.len() + r#","offendingMessage":"#.len() + bounds.quote);
    let error = ejson::parse(&error, &ECHO).expect("an error is JSON");
    assert_eq!(error.get("offendingMessage").is_some(), quote.is_some());
    assert!(quote.is_none() || bytes <= bounds.quote);
}

fn check_params(whole: &Value, params: &[Value]) {
    let sent = whole.get("params").and_then(Value::as_array);
    assert_eq!(sent.unwrap_or_default(), params);
}
