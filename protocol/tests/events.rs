//! Subscriptions to events beside subscriptions to documents, in one session.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing should stop")]

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::Object;
use updraft_protocol::message::{Frame, Head, Tail};
use updraft_protocol::session::{Action, Output, PublicationKind, Run, Session, SessionConfig};
use updraft_protocol::vent::VentOptions;

#[test]
fn a_streamer_is_not_announced_in_a_collection_that_holds_documents() {
    let mut config = SessionConfig::default();
    let kind = PublicationKind::Streamer("stream-room".into());
    config.names.publication("stream-room", 0, kind).unwrap();
    let kind = PublicationKind::Ordinary;
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
    session.published(run, Ok(()), Duration::ZERO, ignored);

    let announced = r#"{"msg":"sub","id":"2","name":"stream-room","params":["1/typing",true]}"#;
    let refused = receive(&mut session, announced);
    assert!(matches!(*refused.actions, [Action::Refused { .. }]));
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

/// One subscription to numbered events, of which two are held before it is ready.
struct Numbered {
    session: Session,
    run: Run,
    out: Output,
}

type Send = fn(&mut Session, Run, &Tail, &mut Output) -> Option<Head>;

impl Numbered {
    fn subscribe() -> Self {
        let mut config = SessionConfig::default();
        config.settings.held_events = 2;
        let kind = PublicationKind::Vent(VentOptions::new().numbered());
        config.names.publication("tm", 0, kind).unwrap();
        let mut session = Session::new("s", Arc::new(config), Duration::ZERO);
        let mut out = Output::default();
        for text in [
            r#"{"msg":"connect","version":"1","support":["1"]}"#,
            r#"{"msg":"sub","id":"1","name":"tm","params":["v"]}"#,
        ] {
            session.receive(text, Duration::ZERO, &mut out);
        }
        let run = out.actions.iter().find_map(started).unwrap();
        let out = Output::default();
        Self { session, run, out }
    }

    fn event(&mut self, body: &'static str) {
        self.send(body, |session, run, tail, out| {
            session.event(run, tail, out).cloned()
        });
    }

    /// As a host does whose handler says something of a gap.
    fn gap(&mut self, body: Option<&'static str>) {
        self.session.gap(self.run);
        if let Some(body) = body {
            self.send(body, |session, run, tail, out| {
                session.gap_event(run, tail, out).cloned()
            });
        }
    }

    fn send(&mut self, body: &'static str, send: Send) {
        let encoding = self.session.encoding(self.run).unwrap();
        let tail = encoding.own_tail(body.into(), false);
        if let Some(head) = send(&mut self.session, self.run, &tail, &mut self.out) {
            self.out.frames.push(Frame::Event { head, tail });
        }
    }

    fn ready(&mut self) {
        self.session.ready(self.run, &mut self.out);
    }

    /// The fields of the events that were sent.
    fn sent(&mut self) -> Vec<String> {
        let frames = std::mem::take(&mut self.out.frames);
        let texts = frames.iter().map(Frame::to_text);
        let fields =
            texts.filter_map(|text| Some(text.split_once(r#""id":"id","fields":"#)?.1.to_owned()));
        fields.filter(|fields| fields != "{}}").collect()
    }

    fn told_gaps(&mut self) -> usize {
        let actions = std::mem::take(&mut self.out.actions);
        let gaps = actions.iter().filter(|it| matches!(it, Action::Gap(_)));
        gaps.count()
    }
}

#[test]
fn found_108_a_number_is_skipped_at_a_gap() {
    let mut numbered = Numbered::subscribe();
    numbered.ready();
    numbered.event("1");
    numbered.gap(None);
    numbered.event("2");
    numbered.gap(Some(r#""gap""#));
    numbered.event("3");
    assert_eq!(
        numbered.sent(),
        [
            r#"{"n":1,"event":1}}"#,
            r#"{"n":3,"event":2}}"#,
            r#"{"n":5,"event":"gap"}}"#,
            r#"{"n":6,"event":3}}"#,
        ]
    );
}

#[test]
fn found_108_what_is_said_of_a_gap_before_ready_is_held_in_its_place() {
    let mut numbered = Numbered::subscribe();
    numbered.event("1");
    numbered.gap(Some(r#""first""#));
    // No event between them: one gap.
    numbered.gap(Some(r#""again""#));
    numbered.event("2");
    assert_eq!(numbered.told_gaps(), 0);
    numbered.event("3");
    assert_eq!(numbered.told_gaps(), 1);
    // There is room for it, though there is none for events.
    numbered.gap(Some(r#""full""#));
    numbered.event("4");
    assert_eq!((numbered.told_gaps(), numbered.sent()), (0, vec![]));
    numbered.ready();
    assert_eq!(
        numbered.sent(),
        [
            r#"{"n":1,"event":1}}"#,
            r#"{"n":3,"event":"again"}}"#,
            r#"{"n":4,"event":2}}"#,
            r#"{"n":6,"event":"full"}}"#,
        ]
    );
    numbered.event("5");
    assert_eq!(numbered.sent(), [r#"{"n":7,"event":5}}"#]);
}
