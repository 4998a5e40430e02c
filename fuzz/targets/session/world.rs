//! The server's side: one session, the handlers it has started, and a check of its output after
//! each action.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use updraft_protocol::ejson::Value;
use updraft_protocol::message::{self, ClientRequest, Frame, WireError};
use updraft_protocol::session::{self, Output, PublicationKind, Run, Session, SessionConfig};
use updraft_protocol::vent::{EncodingChoice, VentOptions};

use crate::client::Client;
use crate::documents::Documents;
use crate::script::{Action, HandlerAction};

/// The number of the publication that has no name.
const UNIVERSAL: usize = usize::MAX;

static CONFIG: LazyLock<Arc<SessionConfig>> = LazyLock::new(|| Arc::new(config()));

pub(crate) struct World {
    session: Session,
    out: Output,
    now: Duration,
    /// All runs so far.
    runs: Vec<Started>,
    /// Messages that the client has sent and the session has not started yet.
    waiting: VecDeque<ClientRequest>,
    /// Whether the client's version has pings, which skip the queue.
    has_heartbeat: bool,
    /// Whether the user is changing: the client does not see published documents yet.
    changing: bool,
    /// Runs that replace others, with the client's id for each.
    reruns: HashMap<Run, Option<String>>,
    closed: bool,
    documents: Documents,
    client: Client,
}

struct Started {
    run: Run,
    what: What,
    /// Whether the host has reported its end.
    ended: bool,
    writes: u32,
}

enum What {
    Call,
    /// The id is the client's, if the subscription has one.
    Subscription {
        id: Option<String>,
        live: bool,
    },
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            session: Session::new("kpNzWxsDHYcxAHj5M", CONFIG.clone(), Duration::ZERO),
            out: Output::default(),
            now: Duration::ZERO,
            runs: Vec::new(),
            waiting: VecDeque::new(),
            has_heartbeat: true,
            changing: false,
            reruns: HashMap::new(),
            closed: false,
            documents: Documents::default(),
            client: Client::default(),
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Receive(text) => self.receive(&text),
            Action::Handle(back, action) => {
                let count = self.runs.len();
                if count > 0 {
                    self.handle(count - 1 - back % count, action);
                }
            }
            Action::Pass(time) => self.pass(self.now + time),
            Action::AwaitTimeout => {
                if let Some(until) = self.session.next_timeout() {
                    self.pass(until);
                }
            }
            Action::Close => self.session.close(&mut self.out),
            Action::End => {
                self.session.end(&mut self.out);
                self.check_output();
                self.closed = true;
            }
        }
        self.check_output();
        self.compare();
    }

    /// Ends every handler, then the connection.
    pub(crate) fn finish(mut self) {
        while let Some(index) = self.runs.iter().position(|started| !started.ended) {
            while self.runs[index].writes > 0 {
                self.act_on(index, HandlerAction::EndWrite);
            }
            let finish = HandlerAction::Finish {
                failed: false,
                value: Value::Null,
            };
            self.act_on(index, finish);
        }
        for index in 0..self.runs.len() {
            while self.runs[index].writes > 0 {
                self.act_on(index, HandlerAction::EndWrite);
            }
        }
        if !self.closed {
            assert_eq!(self.session.queued(), 0, "the queue stands still");
            self.client.expect_answers();
            assert!(!self.changing, "the change of the user has no end");
        }
        self.act(Action::End);
        assert_eq!(self.session.subscription_count(), 0);
        assert_eq!(self.session.next_timeout(), None);
        self.act(Action::Receive(r#"{"msg":"ping"}"#.into()));
        for index in 0..self.runs.len() {
            self.act_on(index, HandlerAction::Ready);
            self.act_on(index, HandlerAction::Event("1"));
        }
        self.act(Action::Close);
    }

    fn act_on(&mut self, index: usize, action: HandlerAction) {
        self.handle(index, action);
        self.check_output();
        self.compare();
    }

    /// Until the connection ends, the client sees the published documents, except during a change
    /// of the user.
    fn compare(&self) {
        if !self.closed && !self.changing {
            self.client.expect_documents(&self.documents);
        }
    }

    fn receive(&mut self, text: &str) {
        let message = message::decode(text, &CONFIG.settings.json, || None);
        let message = message.unwrap_or(Value::Undefined);
        let msg = message.get("msg").filter(|msg| !msg.is_falsy());
        let is_connected = self.session.is_connected();
        match msg.map(Value::as_str) {
            None => {}
            Some(Some("connect")) if !is_connected => {
                let version = message.get("version").and_then(Value::as_str);
                self.has_heartbeat = version != Some("pre1");
            }
            Some(Some("connect" | "disconnect")) => {}
            Some(Some("ping" | "pong")) if self.has_heartbeat => {}
            Some(_) if is_connected => self.waiting.push_back(ClientRequest::parse(
                message,
                text.len(),
                &CONFIG.settings.bounds,
            )),
            Some(_) => {}
        }
        self.session.receive(text, self.now, &mut self.out);
    }

    fn pass(&mut self, until: Duration) {
        while let Some(due) = self.session.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now, &mut self.out);
            self.check_output();
            let next = self.session.next_timeout();
            assert!(next.is_none_or(|next| next > self.now), "time stands still");
        }
        self.now = self.now.max(until);
    }

    fn handle(&mut self, index: usize, action: HandlerAction) {
        let run = self.runs[index].run;
        let error = WireError::new("no", "It failed");
        let (session, out) = (&mut self.session, &mut self.out);
        match action {
            HandlerAction::Add((collection, id), fields) => {
                session.added(run, collection, id, fields.clone(), out);
                self.check_output();
                if self.is_live(index) {
                    self.documents.add(run, (collection, id), fields);
                }
            }
            HandlerAction::Change((collection, id), fields) => {
                session.changed(run, collection, id, fields.clone(), out);
                self.documents.change(run, (collection, id), fields);
            }
            HandlerAction::Remove((collection, id)) => {
                session.removed(run, collection, id, out);
                self.documents.remove(run, (collection, id));
            }
            HandlerAction::Ready => session.ready(run, out),
            HandlerAction::HoldReady => session.hold_ready(run),
            HandlerAction::Stop { failed } => session.stop(run, failed.then_some(&error), out),
            HandlerAction::Finish { failed, value } => {
                // The host reports the end of a handler only once.
                let started = &mut self.runs[index];
                if std::mem::replace(&mut started.ended, true) {
                    return;
                }
                match started.what {
                    What::Call if failed => session.returned(run, Err(error), self.now, out),
                    What::Call => session.returned(run, Ok(value), self.now, out),
                    What::Subscription { .. } if failed => {
                        session.published(run, Err(error), self.now, out)
                    }
                    What::Subscription { .. } => session.published(run, Ok(()), self.now, out),
                }
            }
            HandlerAction::BeginWrite => {
                session.begin_write(run);
                self.runs[index].writes += 1;
            }
            HandlerAction::EndWrite => {
                session.end_write(run, out);
                let started = &mut self.runs[index];
                started.writes = started.writes.saturating_sub(1);
            }
            HandlerAction::Unblock => session.unblock(run, self.now, out),
            HandlerAction::SetUser => {
                if session.set_user(run, self.now, out).is_ok() {
                    assert!(matches!(self.runs[index].what, What::Call));
                    self.changing = true;
                }
            }
            HandlerAction::Event(body) => self.event(index, body),
        }
    }

    fn event(&mut self, index: usize, body: &'static str) {
        let run = self.runs[index].run;
        let Some(encoding) = self.session.encoding(run) else {
            return;
        };
        assert!(self.is_live(index));
        let tail = encoding.tail(Bytes::from_static(body.as_bytes()), body.starts_with('['));
        if let Some(head) = self.session.event(run, &tail, &mut self.out) {
            let What::Subscription { id: Some(id), .. } = &self.runs[index].what else {
                panic!("an event of what is no subscription");
            };
            assert!(self.client.is_ready(id), "an event before ready");
            let head = head.clone();
            self.out.frames.push(Frame::Event { head, tail });
        }
    }

    fn is_live(&self, index: usize) -> bool {
        matches!(self.runs[index].what, What::Subscription { live: true, .. })
    }

    /// Takes the session's output since the last call, and checks it.
    fn check_output(&mut self) {
        let frames: Vec<String> = self
            .out
            .frames
            .drain(..)
            .map(|frame| text(&frame))
            .collect();
        let actions = std::mem::take(&mut self.out.actions);
        if self.closed {
            assert!(frames.is_empty() && actions.is_empty(), "after the end");
            return;
        }
        self.closed = matches!(actions.last(), Some(session::Action::Close { .. }));
        let looked_at = self.waiting.len() - self.session.queued();
        let requests: Vec<ClientRequest> = self.waiting.drain(..looked_at).collect();
        assert!(!self.waiting.is_empty() || self.session.queued_bytes() == 0);
        for request in &requests {
            if let ClientRequest::Call(call) = request {
                self.client.called(call.id.to_string());
            }
        }
        let mut stopped = HashSet::new();
        for action in &actions {
            match action {
                session::Action::Stop(run) => stopped.extend(self.stop(*run)),
                session::Action::Deactivate { run, next } => {
                    let id = self.stop(*run);
                    id.iter()
                        .cloned()
                        .for_each(|id| self.client.starts_again(id));
                    self.reruns.insert(*next, id);
                }
                session::Action::UserChanged => {
                    assert!(std::mem::take(&mut self.changing), "no change has begun");
                }
                _ => {}
            }
        }
        if !self.session.is_connected() {
            // The client is not told of subscriptions that end with the connection.
            stopped.clear();
            assert!((0..self.runs.len()).all(|index| !self.is_live(index)));
        }
        self.client.receive(&frames, stopped);
        assert_eq!(self.session.sent(), self.client.counted);
        self.start(actions, requests.last());
    }

    /// Notes which handlers were started. At most one blocks the queue: that of the last started
    /// request.
    fn start(&mut self, actions: Vec<session::Action>, request: Option<&ClientRequest>) {
        let mut waited_for = 0;
        for action in actions {
            let (run, what) = match action {
                session::Action::Publish { run, .. } if self.reruns.contains_key(&run) => {
                    let id = self.reruns.remove(&run).flatten();
                    (run, What::Subscription { id, live: true })
                }
                session::Action::Publish {
                    run, publication, ..
                } if publication == UNIVERSAL => {
                    let what = What::Subscription {
                        id: None,
                        live: true,
                    };
                    (run, what)
                }
                session::Action::Publish { run, .. } => {
                    waited_for += 1;
                    let Some(ClientRequest::Subscribe(subscribe)) = request else {
                        panic!("{request:?} started a publication");
                    };
                    let id = Some(subscribe.id.to_string());
                    self.client.subscribed(subscribe.id.to_string());
                    (run, What::Subscription { id, live: true })
                }
                session::Action::Call { run, .. } => {
                    waited_for += 1;
                    assert!(
                        matches!(request, Some(ClientRequest::Call(_))),
                        "{request:?}"
                    );
                    (run, What::Call)
                }
                _ => continue,
            };
            assert!(self.runs.iter().all(|other| other.run != run));
            self.runs.push(Started {
                run,
                what,
                ended: false,
                writes: 0,
            });
        }
        assert!(waited_for <= 1, "the queue did not wait");
    }

    /// A subscription has ended, and must not have ended before. Returns the client's id for it.
    fn stop(&mut self, run: Run) -> Option<String> {
        let mut runs = self.runs.iter_mut();
        let started = runs.find(|started| started.run == run);
        let Some(What::Subscription {
            id,
            live: live @ true,
        }) = started.map(|found| &mut found.what)
        else {
            panic!("{run:?} stopped without being live");
        };
        *live = false;
        self.documents.remove_all(run);
        id.clone()
    }
}

fn text(frame: &Frame) -> String {
    let text = frame.to_text();
    assert_eq!(text.len(), frame.len());
    text
}

/// Some names are the fixture's, so that its transcripts are meaningful here; the limits are small
/// enough to be reached.
fn config() -> SessionConfig {
    let vent = |options| PublicationKind::Vent(options);
    let options = VentOptions::new();
    let mut config = SessionConfig::default();
    config.settings.held_events = 3;
    config.settings.held_bytes = 64;
    config.settings.max_subscriptions = 3;
    config.settings.max_unreadable = 5;
    // In this target, sessions end with their connections.
    config.settings.resumption.grace = Duration::ZERO;
    let publications = [
        ("two", PublicationKind::Ordinary),
        ("live", PublicationKind::Ordinary),
        ("threadMessage", vent(options)),
        ("numbered", vent(options.numbered())),
        ("native", vent(options.encoding(EncodingChoice::Vent))),
        (
            "stream-room",
            PublicationKind::Streamer("stream-room".into()),
        ),
    ];
    for (number, (name, kind)) in publications.into_iter().enumerate() {
        let added = config.names.publication(name, number, kind);
        added.expect("the names differ");
    }
    config.names.universal(UNIVERSAL);
    for (number, name) in ["echo", "poke"].into_iter().enumerate() {
        let added = config.names.method(name, number);
        added.expect("the names differ");
    }
    config
}
