//! What can happen while a user changes, in virtual time against the session alone: the transcripts
//! have what a client sees when all goes well.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing should stop")]

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::message::{Frame, WireError};
use updraft_protocol::session::{
    Action, Output, PublicationKind, Run, Session, SessionConfig, Unblocked,
};
use updraft_protocol::vent::VentOptions;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A session, and what its host knows of it.
struct Host {
    session: Session,
    now: Duration,
    out: Output,
    /// The runs of publications that were started, and those that are over.
    started: Vec<Run>,
    over: Vec<Run>,
    /// The latest call.
    call: Option<Run>,
    /// Changes of the user that have come to their end.
    changes: usize,
    gaps: Vec<Run>,
}

impl Host {
    fn new() -> Self {
        Self::configured(|_| {})
    }

    fn configured(configure: impl FnOnce(&mut SessionConfig)) -> Self {
        let mut config = SessionConfig::default();
        configure(&mut config);
        config.settings.publication_timeout = TIMEOUT;
        config.settings.heartbeat_interval = Duration::ZERO;
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            let kind = PublicationKind::Ordinary;
            config.names.publication(name, number, kind).unwrap();
        }
        let kind = PublicationKind::Vent(VentOptions::new());
        config.names.publication("tm", 3, kind).unwrap();
        config.names.method("login", 0).unwrap();
        let mut host = Self {
            session: Session::new("s", Arc::new(config), Duration::ZERO),
            now: Duration::ZERO,
            out: Output::default(),
            started: Vec::new(),
            over: Vec::new(),
            call: None,
            changes: 0,
            gaps: Vec::new(),
        };
        host.receive(r#"{"msg":"connect","version":"1","support":["1"]}"#);
        host
    }

    fn receive(&mut self, text: &str) -> Vec<String> {
        self.session.receive(text, self.now, &mut self.out);
        self.said()
    }

    /// What the client was told since the last look.
    fn said(&mut self) -> Vec<String> {
        for action in self.out.actions.drain(..) {
            match action {
                Action::Publish { run, .. } => self.started.push(run),
                Action::Call { run, .. } => self.call = Some(run),
                Action::Stop(run) | Action::Deactivate { run, .. } => self.over.push(run),
                Action::UserChanged => self.changes += 1,
                Action::Gap(run) => self.gaps.push(run),
                _ => {}
            }
        }
        let frames = self.out.frames.drain(..);
        frames.map(|frame| frame.to_text()).collect()
    }

    /// Subscribes, adds a document of the same name as the publication, and is ready.
    fn subscribe(&mut self, name: &str) -> Run {
        self.receive(&format!(r#"{{"msg":"sub","id":"{name}","name":"{name}"}}"#));
        let run = *self.started.last().unwrap();
        self.publish(run, name);
        run
    }

    fn publish(&mut self, run: Run, id: &str) -> Vec<String> {
        let out = &mut self.out;
        self.session.added(run, "docs", id, Object::new(), out);
        self.session.published(run, Ok(()), self.now, out);
        self.said()
    }

    fn fail(&mut self, run: Run) -> Vec<String> {
        let error = WireError::bare("no");
        let out = &mut self.out;
        self.session.published(run, Err(error), self.now, out);
        self.said()
    }

    /// Begins a change of the user; the runs that it starts.
    fn login(&mut self) -> Vec<Run> {
        self.receive(r#"{"msg":"method","id":"m","method":"login"}"#);
        self.login_again()
    }

    fn login_again(&mut self) -> Vec<Run> {
        self.started.clear();
        let call = self.call.unwrap();
        let out = &mut self.out;
        self.session.set_user(call, self.now, out).unwrap();
        assert_eq!(self.said(), [""; 0]);
        self.started.clone()
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.session.handle_timeout(self.now, &mut self.out);
        self.said()
    }

    fn event(&mut self, run: Run, body: &'static str) {
        let encoding = self.session.encoding(run).unwrap();
        let tail = encoding.own_tail(body.into(), false);
        if let Some(head) = self.session.event(run, &tail, &mut self.out) {
            let head = head.clone();
            self.out.frames.push(Frame::Event { head, tail });
        }
    }
}

fn ready(ids: &str) -> String {
    format!(r#"{{"msg":"ready","subs":[{ids}]}}"#)
}

fn removed(id: &str) -> String {
    format!(r#"{{"msg":"removed","collection":"docs","id":"{id}"}}"#)
}

#[test]
fn ddp_161_ready_after_the_end_of_the_change_is_said_as_ever() {
    let mut host = Host::new();
    host.subscribe("a");
    let runs = host.login();
    host.session.hold_ready(runs[0]);
    assert_eq!(host.publish(runs[0], "a"), [""; 0]);
    assert_eq!(host.changes, 1);
    host.session.ready(runs[0], &mut host.out);
    assert_eq!(host.said(), [ready(r#""a""#)]);
    host.session.ready(runs[0], &mut host.out);
    assert_eq!(host.said(), [""; 0]);
}

#[test]
fn ddp_156_ready_is_listed_in_the_order_of_the_subscriptions() {
    let mut host = Host::new();
    for name in ["a", "b", "c"] {
        host.subscribe(name);
    }
    let runs = host.login();
    assert_eq!(host.publish(runs[2], "c"), [""; 0]);
    assert_eq!(host.publish(runs[0], "a"), [""; 0]);
    assert_eq!(host.publish(runs[1], "b"), [ready(r#""a","b","c""#)]);
    assert_eq!(host.changes, 1);
}

#[test]
fn ddp_162_a_run_that_fails_or_stops_is_not_waited_for() {
    let mut host = Host::new();
    for name in ["a", "b", "c"] {
        host.subscribe(name);
    }
    let runs = host.login();
    assert_eq!(
        host.fail(runs[0]),
        [
            r#"{"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":"no","message":"[no]","errorType":"Meteor.Error"}}"#
        ]
    );
    // It stops itself when it was ready: the list is without it.
    host.session.ready(runs[1], &mut host.out);
    host.session.stop(runs[1], None, &mut host.out);
    assert_eq!(host.said(), [r#"{"msg":"nosub","id":"b"}"#]);
    assert_eq!(host.publish(runs[1], "late"), [""; 0]);
    // The last one stops too: nothing is ready, but the change is complete.
    host.session.stop(runs[2], None, &mut host.out);
    let said = host.said();
    let gone = [removed("a"), removed("b"), removed("c")];
    assert_eq!(said[0], r#"{"msg":"nosub","id":"c"}"#);
    assert_eq!(said[1..], gone);
    assert_eq!(host.changes, 1);
}

#[test]
fn a_run_that_takes_too_long_ends_and_the_change_is_complete() {
    let mut host = Host::new();
    host.subscribe("a");
    host.subscribe("b");
    let runs = host.login();
    host.publish(runs[1], "b");
    assert_eq!(host.pass(TIMEOUT - Duration::from_millis(1)), [""; 0]);
    let said = host.pass(Duration::from_millis(1));
    assert!(
        said[0].starts_with(r#"{"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":503"#),
        "{said:?}"
    );
    assert_eq!(said[1..], [removed("a"), ready(r#""b""#)]);
    assert_eq!(host.changes, 1);
}

#[test]
fn calls_of_the_old_run_are_ignored() {
    let mut host = Host::new();
    let old = host.subscribe("a");
    let runs = host.login();
    assert_eq!(host.over, [old]);
    assert_eq!(host.publish(old, "late"), [""; 0]);
    host.session.stop(old, None, &mut host.out);
    host.session.removed(old, "docs", "a", &mut host.out);
    assert_eq!(host.said(), [""; 0]);
    assert_eq!(host.changes, 0);
    assert_eq!(host.publish(runs[0], "a"), [ready(r#""a""#)]);
}

#[test]
fn messages_pass_a_change_whose_call_has_let_them() {
    let mut host = Host::new();
    for name in ["a", "b"] {
        host.subscribe(name);
    }
    let runs = host.login();
    let call = host.call.unwrap();
    assert_eq!(host.receive(r#"{"msg":"unsub","id":"a"}"#), [""; 0]);
    host.session.unblock(call, host.now, &mut host.out);
    assert_eq!(host.said(), [r#"{"msg":"nosub","id":"a"}"#]);
    assert_eq!(host.over.last(), Some(&runs[0]));
    // A subscription that is new takes part without being waited for.
    let new = host.subscribe("c");
    assert_eq!(host.said(), [""; 0]);
    assert_eq!(host.changes, 0);
    assert_eq!(
        host.publish(runs[1], "b"),
        [
            removed("a"),
            r#"{"msg":"added","collection":"docs","id":"c"}"#.to_owned(),
            ready(r#""b","c""#)
        ]
    );
    assert_eq!(host.changes, 1);
    // And this call cannot begin another.
    let (now, out) = (host.now, &mut host.out);
    assert_eq!(host.session.set_user(call, now, out), Err(Unblocked));
    assert_eq!(host.session.set_user(new, now, out), Err(Unblocked));
    assert_eq!(host.said(), [""; 0]);
}

#[test]
fn ddp_160_a_second_change_in_the_middle_begins_everything_once_more() {
    let mut host = Host::new();
    for name in ["a", "b"] {
        host.subscribe(name);
    }
    let first = host.login();
    host.publish(first[0], "of the first");
    let second = host.login_again();
    assert_eq!(host.over[2..], first);
    assert_eq!(host.publish(first[1], "of the first"), [""; 0]);
    host.publish(second[0], "a");
    assert_eq!(host.changes, 0);
    assert_eq!(
        host.publish(second[1], "of the second"),
        [
            removed("b"),
            r#"{"msg":"added","collection":"docs","id":"of the second"}"#.to_owned(),
            ready(r#""a","b""#)
        ]
    );
    assert_eq!(host.changes, 1);
}

#[test]
fn the_end_of_the_session_ends_the_change() {
    let mut host = Host::new();
    host.subscribe("a");
    let runs = host.login();
    host.session.end(&mut host.out);
    assert_eq!(host.said(), [""; 0]);
    assert_eq!(host.over.last(), Some(&runs[0]));
    assert_eq!(host.publish(runs[0], "late"), [""; 0]);
    let call = host.call.unwrap();
    let result = Ok(Value::Undefined);
    host.session.returned(call, result, host.now, &mut host.out);
    assert_eq!(host.said(), [""; 0]);
    assert_eq!((host.changes, host.session.next_timeout()), (0, None));
}

#[test]
fn vent_059_events_wait_for_the_ready_list_and_those_of_the_old_run_go() {
    let mut host = Host::new();
    host.receive(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}"#);
    let old = host.started[0];
    host.session.unblock(old, host.now, &mut host.out);
    // It was never ready, so its events have not been sent, and now never are.
    host.event(old, "1");
    host.subscribe("a");
    let runs = host.login();
    host.event(runs[0], "2");
    let (now, out) = (host.now, &mut host.out);
    host.session.published(runs[0], Ok(()), now, out);
    host.event(runs[0], "3");
    assert_eq!(host.said(), [""; 0]);
    assert_eq!(
        host.publish(runs[1], "a"),
        [
            r#"{"msg":"added","collection":"vent.a","id":"id","fields":{}}"#.to_owned(),
            ready(r#""S1","a""#),
            r#"{"msg":"changed","collection":"vent.a","id":"id","fields":{"event":2}}"#.to_owned(),
            r#"{"msg":"changed","collection":"vent.a","id":"id","fields":{"event":3}}"#.to_owned(),
        ]
    );
    assert_eq!(host.gaps, [runs[0]]);
}

#[test]
fn a_gap_is_told_also_when_the_user_changes_once_more() {
    let mut host = Host::new();
    host.receive(r#"{"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}"#);
    let old = host.started[0];
    host.session.unblock(old, host.now, &mut host.out);
    host.event(old, "1");
    host.login();
    let runs = host.login_again();
    let (now, out) = (host.now, &mut host.out);
    host.session.published(runs[0], Ok(()), now, out);
    host.said();
    assert_eq!(host.gaps, [runs[0]]);
}

/// A host that is told of a difference one document at a time.
fn sliced() -> Host {
    let mut host = Host::configured(|config| config.settings.difference_slice = 1);
    for name in ["a", "b", "c"] {
        host.subscribe(name);
    }
    host
}

#[test]
fn found_101_the_difference_is_told_in_slices_and_ends_with_the_change() {
    let mut host = sliced();
    let runs = host.login();
    for run in &runs[..2] {
        host.session
            .published(*run, Ok(()), host.now, &mut host.out);
    }
    assert!(!host.session.is_telling());
    assert_eq!(host.publish(runs[2], "c"), [removed("a")]);
    assert!(host.session.is_telling());
    host.session.tell_more(&mut host.out);
    assert_eq!(host.said(), [removed("b")]);
    assert_eq!(host.changes, 0);
    host.session.tell_more(&mut host.out);
    assert_eq!(host.said(), [ready(r#""a","b","c""#)]);
    assert_eq!((host.changes, host.session.is_telling()), (1, false));
    host.session.tell_more(&mut host.out);
    assert_eq!(host.said(), [""; 0]);
}

#[test]
fn found_101_what_happens_to_documents_has_the_rest_of_the_difference_told_first() {
    let actions: [fn(&mut Session, Run, &mut Output); 4] = [
        |session, run, out| session.added(run, "docs", "new", Object::new(), out),
        |session, run, out| session.changed(run, "docs", "a", Object::new(), out),
        |session, run, out| session.removed(run, "docs", "c", out),
        |session, run, out| session.stop(run, None, out),
    ];
    for act in actions {
        let mut host = sliced();
        let runs = host.login();
        for run in &runs[..2] {
            host.session
                .published(*run, Ok(()), host.now, &mut host.out);
        }
        assert_eq!(host.publish(runs[2], "c"), [removed("a")]);
        act(&mut host.session, runs[2], &mut host.out);
        let said = host.said();
        assert_eq!(said[..2], [removed("b"), ready(r#""a","b","c""#)]);
        assert_eq!((host.changes, host.session.is_telling()), (1, false));
    }
}

#[test]
fn found_101_another_change_of_the_user_ends_the_one_that_is_being_told() {
    let mut host = sliced();
    let runs = host.login();
    for run in &runs[..2] {
        host.session
            .published(*run, Ok(()), host.now, &mut host.out);
    }
    assert_eq!(host.publish(runs[2], "c"), [removed("a")]);
    host.started.clear();
    let call = host.call.unwrap();
    host.session
        .set_user(call, host.now, &mut host.out)
        .unwrap();
    assert_eq!(host.said(), [removed("b"), ready(r#""a","b","c""#)]);
    assert_eq!((host.changes, host.started.len()), (1, 3));
}
