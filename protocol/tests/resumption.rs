//! A session that loses its connection, in virtual time: what it keeps, for how long, and who may
//! have it. The transcripts have the conversations; here is what no client sees.

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::message::Frames;
use updraft_protocol::session::{
    Action, Output, PublicationKind, Resumption, Run, Session, SessionConfig,
};

const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1","pre2","pre1"]}"#;
const ID: &str = "kpNzWxsDHYcxAHj5M";
const NOW: Duration = Duration::ZERO;
const CONNECTED: &str = r#"{"msg":"connected","session":"kpNzWxsDHYcxAHj5M"}"#;

/// A session, and a host that does nothing for it but carry frames.
struct Host {
    session: Session,
    out: Output,
    /// What its client has been sent.
    sent: Vec<String>,
    /// What it was asked for.
    actions: Vec<Action>,
}

impl Host {
    fn connected(resumption: impl FnOnce(&mut Resumption)) -> Self {
        let mut config = SessionConfig::default();
        resumption(&mut config.settings.resumption);
        config
            .names
            .publication("live", 0, PublicationKind::Ordinary)
            .unwrap();
        config.names.method("slow", 0).unwrap();
        let mut host = Self {
            session: Session::new(ID, Arc::new(config), NOW),
            out: Output::default(),
            sent: Vec::new(),
            actions: Vec::new(),
        };
        host.receive(CONNECT);
        host
    }

    fn receive(&mut self, text: &str) {
        self.session.receive(text, NOW, &mut self.out);
        self.settle();
    }

    fn settle(&mut self) {
        self.sent
            .extend(self.out.frames.iter().map(|it| it.to_text()));
        let mut frames: Frames = self.out.frames.drain(..).collect();
        let count = frames.len();
        self.session.written(&mut frames, count);
        self.actions.append(&mut self.out.actions);
    }

    /// Has so many messages sent, each of 25 bytes or a little more.
    fn chat(&mut self, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            self.receive(&unsub(id));
        }
    }

    /// A subscription to `live`, which is ready.
    fn subscribe(&mut self) -> Run {
        self.receive(r#"{"msg":"sub","id":"s","name":"live"}"#);
        let run = self.actions.iter().find_map(|action| match action {
            Action::Publish { run, .. } => Some(*run),
            _ => None,
        });
        let run = run.unwrap();
        self.session.published(run, Ok(()), NOW, &mut self.out);
        self.settle();
        run
    }

    fn add(&mut self, run: Run, id: usize) {
        let fields = Object::new();
        let id = id.to_string();
        self.session.added(run, "live", &id, fields, &mut self.out);
        self.settle();
    }

    fn park(&mut self) -> bool {
        let parked = self.session.park(&Frames::default(), NOW, &mut self.out);
        self.settle();
        parked
    }

    /// What comes when the client is back with this count.
    fn resume(&mut self, received: u64) -> Option<Vec<String>> {
        self.sent.clear();
        let resumed = self.session.resume(Some(received), NOW, &mut self.out);
        self.settle();
        resumed.then(|| std::mem::take(&mut self.sent))
    }

    fn is_closed(&self) -> bool {
        let is_close = |action: &Action| matches!(action, Action::Close { .. });
        self.actions.iter().any(is_close)
    }
}

fn unsub(id: usize) -> String {
    format!(r#"{{"msg":"unsub","id":"{id}"}}"#)
}

fn nosub(id: usize) -> String {
    format!(r#"{{"msg":"nosub","id":"{id}"}}"#)
}

/// `connected`, then the answers to these.
fn welcome(ids: impl IntoIterator<Item = usize>) -> Option<Vec<String>> {
    let answers = ids.into_iter().map(nosub);
    Some(
        std::iter::once(CONNECTED.to_owned())
            .chain(answers)
            .collect(),
    )
}

#[test]
fn deviation_024_the_latest_hundred_messages_are_kept() {
    let mut host = Host::connected(|_| {});
    host.chat(0..150);
    assert!(host.park());
    assert_eq!(host.resume(51), welcome(50..150));
}

#[test]
fn deviation_024_nobody_comes_back_from_before_the_history_and_the_session_ends() {
    let mut host = Host::connected(|_| {});
    host.chat(0..150);
    host.park();
    assert_eq!(host.resume(50), None);
    assert!(host.is_closed());
    assert_eq!(host.resume(51), None);
}

#[test]
fn no_more_bytes_are_kept_than_may_be() {
    let mut host = Host::connected(|resumption| resumption.bytes = 100);
    host.chat(10..20);
    assert!((1..=100).contains(&host.session.kept_bytes()));
    host.park();
    // Four answers of 24 bytes fit.
    assert_eq!(host.resume(7), welcome(16..20));
}

#[test]
fn an_idle_session_keeps_nothing() {
    let mut host = Host::connected(|_| {});
    host.chat(0..10);
    assert!(host.session.kept_bytes() > 0);
    while !host.sent.iter().any(|text| text.contains("ping")) {
        let now = host.session.next_timeout().unwrap();
        host.session.handle_timeout(now, &mut host.out);
        host.settle();
    }
    host.chat(10..12);
    host.receive(r#"{"msg":"pong"}"#);
    // What was sent behind the ping is not confirmed by its answer.
    assert_eq!(host.session.kept_bytes(), nosub(10).len() * 2);
    host.park();
    assert_eq!(host.resume(11), welcome(10..12));
}

#[test]
fn another_sign_of_life_confirms_nothing() {
    let mut host = Host::connected(|_| {});
    host.chat(0..1);
    let kept = host.session.kept_bytes();
    host.receive(r#"{"msg":"pong"}"#);
    host.receive(r#"{"msg":"ping"}"#);
    assert_eq!(host.session.kept_bytes(), kept);
}

#[test]
fn ddp_234_a_waiting_session_keeps_a_hundred_messages_and_ends_with_one_more() {
    let mut host = Host::connected(|_| {});
    let run = host.subscribe();
    host.park();
    (0..100).for_each(|id| host.add(run, id));
    assert!(!host.is_closed());
    assert_eq!(host.resume(2).unwrap().len(), 101);
    host.park();
    (100..201).for_each(|id| host.add(run, id));
    assert!(host.is_closed());
    assert_eq!((host.resume(103), host.session.kept_bytes()), (None, 0));
}

#[test]
fn ddp_234_a_waiting_session_ends_with_too_many_bytes() {
    let mut host = Host::connected(|resumption| resumption.bytes = 200);
    let run = host.subscribe();
    host.park();
    (0..4).for_each(|id| host.add(run, id));
    assert!(!host.is_closed());
    host.add(run, 4);
    assert!(host.is_closed());
}

#[test]
fn ddp_236_what_was_not_written_comes_before_anything_newer() {
    let mut host = Host::connected(|_| {});
    let run = host.subscribe();
    host.receive(&unsub(1));
    host.session.receive(&unsub(2), NOW, &mut host.out);
    // A pong of the old connection is of no use on the new one.
    host.session
        .receive(r#"{"msg":"ping"}"#, NOW, &mut host.out);
    let unwritten: Frames = host.out.frames.drain(..).collect();
    assert!(host.session.park(&unwritten, NOW, &mut host.out));
    host.add(run, 7);
    // It cannot have received what was never written.
    assert_eq!(host.resume(4), None);
    let added = r#"{"msg":"added","collection":"live","id":"7"}"#;
    let expected = [CONNECTED, &nosub(1), &nosub(2), added].map(str::to_owned);
    assert_eq!(host.resume(2), Some(expected.to_vec()));
    // Counted from two: `connected`, and three more.
    assert_eq!(host.session.sent(), 6);
}

#[test]
fn deviation_025_five_wrong_attempts_end_a_waiting_session() {
    let mut host = Host::connected(|_| {});
    host.park();
    for _ in 0..2 {
        assert_eq!((host.resume(2), host.resume(0)), (None, None));
        assert!(!host.is_closed());
    }
    let mut other = Host::connected(|_| {});
    other.park();
    (0..4).for_each(|_| other.session.wrong_attempt(&mut other.out));
    assert_eq!(other.resume(1), welcome([]));
    // This one waits again, and its attempts are counted anew.
    other.park();
    other.session.wrong_attempt(&mut other.out);
    assert_eq!(other.resume(2), welcome([]));
    assert!(!host.session.resume(None, NOW, &mut host.out));
    host.settle();
    assert!(host.is_closed());
    assert_eq!(host.resume(1), None);
}

#[test]
fn ddp_239_without_a_grace_period_nothing_is_kept() {
    let mut host = Host::connected(|resumption| resumption.grace = Duration::ZERO);
    host.chat(0..10);
    assert_eq!(host.session.kept_bytes(), 0);
    assert!(!host.park() && !host.session.is_parked());
}

#[test]
fn ddp_230_who_has_said_goodbye_is_not_waited_for() {
    let mut host = Host::connected(|_| {});
    host.receive(r#"{"msg":"disconnect"}"#);
    assert!(!host.park());
}

#[test]
fn ddp_233_subscriptions_end_with_the_grace_period() {
    let mut host = Host::connected(|_| {});
    let run = host.subscribe();
    host.park();
    let end = host.session.next_timeout().unwrap();
    assert_eq!(end, Duration::from_secs(15));
    let before = end - Duration::from_nanos(1);
    host.session.handle_timeout(before, &mut host.out);
    assert!(host.session.is_parked() && host.out.actions.is_empty());
    host.session.handle_timeout(end, &mut host.out);
    host.settle();
    let is_stop = |action: &Action| matches!(action, Action::Stop(stopped) if *stopped == run);
    assert!(host.actions.iter().any(is_stop) && host.is_closed());
}

#[test]
fn ddp_235_a_waiting_session_can_be_closed() {
    let mut host = Host::connected(|_| {});
    host.park();
    host.session.close(&mut host.out);
    host.settle();
    assert!(host.is_closed());
    assert_eq!(host.resume(1), None);
}

#[test]
fn a_method_that_ends_while_nobody_is_there_is_answered_later() {
    let mut host = Host::connected(|_| {});
    let call = r#"{"msg":"method","id":"m","method":"slow"}"#;
    host.receive(call);
    let run = host.actions.iter().find_map(|action| match action {
        Action::Call { run, .. } => Some(*run),
        _ => None,
    });
    host.park();
    let done = Ok(Value::from("done"));
    host.session
        .returned(run.unwrap(), done, NOW, &mut host.out);
    host.settle();
    host.actions.clear();
    let answers = [
        CONNECTED,
        r#"{"msg":"updated","methods":["m"]}"#,
        r#"{"msg":"result","id":"m","result":"done"}"#,
    ];
    assert_eq!(host.resume(1), Some(answers.map(str::to_owned).to_vec()));
    host.receive(call);
    assert!(host.actions.is_empty(), "it ran again");
    // On a healthy connection it would run again.
    host.receive(call);
    assert!(matches!(*host.actions, [Action::Call { .. }]));
}

#[test]
fn a_live_session_is_asked_for_a_sign_of_life_if_it_could_be_resumed() {
    let mut host = Host::connected(|_| {});
    host.chat(0..1);
    host.sent.clear();
    for wrong in [Some(0), Some(3), None] {
        assert!(!host.session.probe(wrong, &mut host.out));
    }
    assert!(host.session.probe(Some(1), &mut host.out));
    host.settle();
    assert_eq!(host.sent, [r#"{"msg":"ping"}"#]);
}

#[test]
fn a_newcomer_waits_with_all_that_it_says() {
    let mut host = Host::connected(|_| {});
    let mut newcomer = Session::new("3pNzWxsDHYcxAHj5M", Arc::default(), NOW);
    let connect = CONNECT.replace('}', r#","session":"kpNzWxsDHYcxAHj5M","receivedCount":1}"#);
    newcomer.receive(&connect, NOW, &mut host.out);
    let action = host.out.actions.pop().unwrap();
    assert!(
        matches!(&action, Action::Resume { session, received: Some(1) } if session.as_str() == ID),
        "{action:?}"
    );
    assert!(!format!("{action:?}").contains(ID));
    for text in [unsub(1), r#"{"msg":"ping"}"#.into(), unsub(2)] {
        newcomer.receive(&text, NOW, &mut host.out);
    }
    assert!(host.out.frames.is_empty());
    let bytes = unsub(1).len() * 2 + 14;
    assert_eq!((newcomer.queued(), newcomer.queued_bytes()), (3, bytes));
    newcomer.resume_refused(NOW, &mut host.out);
    let texts: Vec<String> = host.out.frames.iter().map(|it| it.to_text()).collect();
    let connected = CONNECTED.replace('k', "3");
    let pong = r#"{"msg":"pong"}"#.to_owned();
    assert_eq!(texts, [connected, nosub(1), pong, nosub(2)]);
    assert_eq!((newcomer.queued(), newcomer.queued_bytes()), (0, 0));
}
