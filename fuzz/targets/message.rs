//! The message envelope: whatever a client sends is read or refused, and what the server quotes of it is JSON again.
//! A well-formed message has exactly the members it was sent with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_protocol::ejson::{self, Limits, Value};
use updraft_protocol::message::{Call, Request, ServerMessage, Subscribe, decode};

/// An echo is deeper than what it quotes, and `$escape` of a string makes members of its characters.
const ECHO: Limits = Limits {
    depth: 512,
    keys: usize::MAX,
};

fuzz_target!(|text: &str| {
    let Ok(message) = decode(text, &Limits::default()) else {
        return;
    };
    check_echo(&message);
    let whole = message.clone();
    match Request::parse(message) {
        Request::Subscribe(Subscribe { id, name, params }) => {
            assert_eq!(whole.get("id"), Some(&Value::String(id)));
            assert_eq!(whole.get("name"), Some(&Value::String(name)));
            check_params(&whole, &params);
        }
        Request::Call(Call {
            id, method, params, ..
        }) => {
            assert_eq!(whole.get("id"), Some(&Value::String(id)));
            assert_eq!(whole.get("method"), Some(&Value::String(method)));
            check_params(&whole, &params);
        }
        Request::Unsubscribe(id) => {
            let nosub = ServerMessage::Nosub(&id, None).print();
            let nosub = ejson::parse(&nosub, &ECHO).expect("a frame is JSON");
            assert_eq!(nosub.get("id").is_some(), !id.is_undefined());
        }
        Request::Malformed { offending, .. } => assert_eq!(offending, whole),
    }
});

fn check_echo(message: &Value) {
    let error = ServerMessage::Error("Bad request", Some(message)).print();
    let error = ejson::parse(&error, &ECHO).expect("an error is JSON");
    assert!(error.get("offendingMessage").is_some());
}

fn check_params(whole: &Value, params: &[Value]) {
    let sent = whole.get("params").and_then(Value::as_array);
    assert_eq!(sent.unwrap_or_default(), params);
}
