//! Subscriptions to events beside subscriptions to documents, in one session.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing should stop")]

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::Object;
use updraft_protocol::session::{Action, Config, Kind, Output, Run, Session};

#[test]
fn a_streamer_is_not_announced_in_a_collection_that_holds_documents() {
    let mut config = Config::default();
    let kind = Kind::Streamer("stream-room".into());
    config.names.publication("stream-room", 0, kind).unwrap();
    let kind = Kind::Ordinary;
    config.names.publication("documents", 1, kind).unwrap();
    let mut session = Session::new("s", Arc::new(config), Duration::ZERO);
    let mut out = Output::default();
    let mut receive = |session: &mut Session, text| {
        session.receive(text, Duration::ZERO, &mut out);
        std::mem::take(&mut out)
    };
    let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
    receive(&mut session, connect);
    let begun = receive(&mut session, r#"{"msg":"sub","id":"1","name":"documents"}"#);
    let run = begun.actions.iter().find_map(started).unwrap();
    let ignored = &mut Output::default();
    session.added(run, "stream-room", "id", Object::new(), ignored);
    session.published(run, Ok(()), ignored);

    let announced = r#"{"msg":"sub","id":"2","name":"stream-room","params":["1/typing",true]}"#;
    let refused = receive(&mut session, announced);
    assert!(refused.actions.is_empty());
    let answer = refused.frames[0].to_text();
    assert!(
        answer.starts_with(r#"{"msg":"nosub","id":"2","error":{"isClientSafe":true,"error":400,"#),
        "{answer}"
    );

    // Without a document of its own there is nothing to clash with.
    let silent = r#"{"msg":"sub","id":"3","name":"stream-room","params":["1/typing",false]}"#;
    let begun = receive(&mut session, silent);
    assert!(begun.actions.iter().any(|action| started(action).is_some()));
}

fn started(action: &Action) -> Option<Run> {
    match action {
        Action::Publish { run, .. } => Some(*run),
        _ => None,
    }
}
