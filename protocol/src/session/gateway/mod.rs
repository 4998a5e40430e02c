//! A session in front of a Meteor server: what it does not answer itself it passes on, and what
//! comes back it counts and keeps like its own messages. So a client can be resumed without
//! Meteor's noticing.
//!
//! A message is looked at only as far as its receiver depends on it, and forwarded as it came. The
//! host owns the connection to Meteor, the *upstream*: it opens one when the session asks by
//! [`Action::OpenUpstream`], and hands each of its messages to
//! [`from_upstream`](Session::from_upstream).

mod envelope;
mod logins;
mod rules;
mod tables;

pub use envelope::connected;
pub use rules::GatewayRules;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::heartbeat::{Due, Heartbeat};
use super::{Action, Output, Session, SessionState, Version, Work};
use crate::ejson;
use crate::message::Frame;
use envelope::{ClientEnvelope, UpstreamEnvelope};
use logins::{HeldMessages, Logins, OWN_ID, Questions};
use tables::{Calls, Found, Subscriptions};

/// What a session keeps of its upstream.
#[derive(Debug)]
pub(super) struct Passing {
    subscriptions: Subscriptions,
    calls: Calls,
    logins: Logins,
    questions: Questions,
    /// Who the user is, as Meteor has last said.
    user: Option<Box<str>>,
    /// Set while the user changes because of a login's result.
    held: Option<HeldMessages>,
    heartbeat: Option<Heartbeat>,
    /// When the latest unreadable messages of the upstream came. Filled by `unreadable_upstream`,
    /// drained as they grow old; bounded by the rules, because too many end the session.
    unreadable: VecDeque<Duration>,
}

impl Passing {
    fn new(rules: &GatewayRules, now: Duration) -> Self {
        let interval = rules.heartbeat_interval;
        Self {
            subscriptions: Subscriptions::default(),
            calls: Calls::default(),
            logins: Logins::default(),
            questions: Questions::default(),
            user: None,
            held: None,
            heartbeat: (!interval.is_zero()).then(|| Heartbeat::new(interval, now)),
            unreadable: VecDeque::new(),
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::next_timeout);
        let held = self.held.as_ref().map(HeldMessages::until);
        let times = [heartbeat, held, self.logins.next_timeout()];
        times.into_iter().flatten().min()
    }

    fn bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, HeldMessages::bytes);
        let tables = self
            .subscriptions
            .bytes()
            .saturating_add(self.calls.bytes());
        tables.saturating_add(held)
    }
}

impl Session {
    /// A client has said `connect`, and its session begins: at once, or when there is an upstream.
    pub(super) fn open_session(&mut self, version: Version, now: Duration, out: &mut Output) {
        if self.config.gateway.is_none() {
            return self.begin_session(version, now, out);
        }
        self.state = SessionState::Opening {
            version,
            backlog: Vec::new(),
            bytes: 0,
        };
        out.actions.push(Action::OpenUpstream);
    }

    /// Meteor has answered the `connect` of this session's upstream, with this session id. The
    /// client is told the same id, and what it has sent meanwhile is read.
    pub fn upstream_connected(&mut self, id: Arc<str>, now: Duration, out: &mut Output) {
        let SessionState::Opening { version, .. } = self.state else {
            return;
        };
        let Some(rules) = &self.config.gateway else {
            return;
        };
        let passing = Passing::new(rules, now);
        self.work().passing = Some(Box::new(passing));
        self.id = id;
        let backlog = self.take_backlog();
        self.begin_session(version, now, out);
        for text in backlog {
            self.receive(&text, now, out);
        }
    }

    /// Whether messages of the upstream wait in the session, so that the host reads no more of
    /// them.
    pub fn holds_upstream(&self) -> bool {
        let held = self.passing().and_then(|it| it.held.as_ref());
        held.is_some_and(HeldMessages::is_complete)
    }

    /// The host does not read from the upstream at the moment, so that its silence means nothing.
    pub fn upstream_heard(&mut self) {
        let passing = passing_of(&mut self.work);
        if let Some(heartbeat) = passing.and_then(|passing| passing.heartbeat.as_mut()) {
            heartbeat.heard();
        }
    }

    /// Receives one message of the upstream.
    pub fn from_upstream(&mut self, text: &str, now: Duration, out: &mut Output) {
        self.upstream_heard();
        let Some(passing) = passing_of(&mut self.work) else {
            return;
        };
        if let Some(held) = &mut passing.held
            && held.is_complete()
        {
            return held.push(text);
        }
        let Passing {
            logins, questions, ..
        } = &*passing;
        let is_read = |id: &str| logins.has(id) || questions.has(id);
        let Some(message) = UpstreamEnvelope::read(text, is_read) else {
            return self.unreadable_upstream(now, out);
        };
        if let Some(held) = &mut passing.held {
            let id = message.id_string().filter(|_| message.msg == "result");
            if !id.is_some_and(|id| held.awaits(&id)) {
                return held.push(text);
            }
        }
        match &*message.msg {
            "ping" => return out.upstream.push(pong(message.id)),
            // The legs' pings are their own, and the greeting was read when the upstream opened.
            "pong" | "connected" | "failed" | "" => return,
            "added" | "changed" | "removed" | "addedBefore" | "movedBefore" => {
                let collection = message.collection.unwrap_or_default();
                if self.owns(&collection) {
                    let collection = collection.into_owned().into();
                    return out.actions.push(Action::NotMeteors(collection));
                }
            }
            "ready" => {
                for id in message.subs() {
                    passing.subscriptions.ready(&id);
                }
            }
            "nosub" => {
                if let Some(id) = message.id_string() {
                    passing.subscriptions.ended(&id, message.is_not_found());
                }
            }
            "result" => match message.id_string() {
                Some(id) if passing.logins.has(&id) => {
                    return self.login_answered(&id, message.outcome(), text, now, out);
                }
                Some(id) if passing.questions.answered(&id) => {
                    return self.question_answered(&id, message.user(), now, out);
                }
                id => id.iter().for_each(|id| passing.calls.answered(id)),
            },
            "updated" => {
                for id in message.methods() {
                    if passing.questions.answered(&id) {
                        return;
                    }
                    passing.calls.answered(&id);
                }
            }
            _ => {}
        }
        self.forward(text, out);
    }

    /// Passes a client's message on, unless this server is to answer it. Returns whether nothing is
    /// left to do.
    pub(super) fn pass_on(&mut self, text: &str, now: Duration, out: &mut Output) -> bool {
        let Some(rules) = self.config.gateway.as_ref() else {
            return false;
        };
        if self.passing().is_none() {
            return false;
        }
        let largest = rules.local_message;
        let message = ClientEnvelope::read(text);
        let is_done = message.is_some_and(|message| self.route(&message, text, now, out));
        if !is_done && text.len() > largest {
            self.close_with(1009, "Message too big", out);
            return true;
        }
        is_done
    }

    fn route(
        &mut self,
        message: &ClientEnvelope<'_>,
        text: &str,
        now: Duration,
        out: &mut Output,
    ) -> bool {
        match message.msg().as_deref() {
            Some("connect" | "ping" | "pong" | "disconnect") => false,
            Some("sub") => self.route_sub(message, text, out),
            Some("unsub") => self.route_unsub(message, text, out),
            Some("method") => self.route_method(message, text, now, out),
            _ if message.is_without_msg() => false,
            // Meteor says what is wrong with it, in its turn.
            _ => pass(text, out),
        }
    }

    fn route_sub(&mut self, message: &ClientEnvelope<'_>, text: &str, out: &mut Output) -> bool {
        let (id, name) = (message.id(), message.name());
        let is_here = |name: &str| self.config.names.find_publication(name).is_some();
        let is_here = name.as_deref().is_some_and(is_here);
        let (Some(id), Some(name)) = (id.filter(|_| message.is_well_formed()), name) else {
            return !is_here && pass(text, out);
        };
        let is_taken = !is_here && self.has_own_subscription(&id);
        let Some(passing) = passing_of(&mut self.work) else {
            return false;
        };
        match passing.subscriptions.find(&id, &name) {
            Found::Free if is_here => false,
            Found::Free if is_taken => true,
            Found::Free => {
                passing.subscriptions.begin(&id, &name);
                pass(text, out)
            }
            // The id is in use.
            Found::Ready => true,
            Found::Asked | Found::OtherName if is_here => true,
            Found::Asked => pass(text, out),
            // If there is no such publication, Meteor says so, and the other one goes on.
            Found::OtherName => {
                passing.subscriptions.asked_again(&id);
                pass(text, out)
            }
        }
    }

    fn route_unsub(&mut self, message: &ClientEnvelope<'_>, text: &str, out: &mut Output) -> bool {
        let Some(passing) = passing_of(&mut self.work) else {
            return false;
        };
        let id = message.id();
        id.is_some_and(|id| passing.subscriptions.unsubscribe(&id)) && pass(text, out)
    }

    fn route_method(
        &mut self,
        message: &ClientEnvelope<'_>,
        text: &str,
        now: Duration,
        out: &mut Output,
    ) -> bool {
        let (id, method) = (message.id(), message.method());
        let is_here = |name: &str| self.config.names.find_method(name).is_some();
        if method.as_deref().is_some_and(is_here) {
            return false;
        }
        let (Some(id), Some(method)) = (id.filter(|_| message.is_well_formed()), method) else {
            return pass(text, out);
        };
        if self.take_repeat(&id) {
            return true;
        }
        let (Some(passing), Some(rules)) = (passing_of(&mut self.work), &self.config.gateway)
        else {
            return false;
        };
        let login = rules.login_kind(&method);
        if !rules.questions.is_empty() && id.starts_with(OWN_ID) {
            self.close_with(1008, "The id of a call is reserved", out);
            return true;
        }
        // The result of another call with the id of a login could be taken for the login's, and a
        // client may be able to choose what another call returns.
        if passing.logins.has(&id) || login.is_some() && passing.calls.is_open(&id) {
            self.close_with(1008, "The id of a login is in use", out);
            return true;
        }
        passing.calls.begin(&id);
        if let Some(kind) = login {
            let until = now.saturating_add(rules.login_patience);
            let number = passing.logins.begin(&id, kind, until);
            self.work().queue.push_login(number);
        }
        pass(text, out)
    }

    /// Whether the client has, or waits for, a subscription with this id that this server answers.
    fn has_own_subscription(&self, id: &str) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        let waits = |work: &Work| work.queue.subscribes(id);
        subscriptions.any(|found| found.id.as_deref() == Some(id))
            || self.work.as_deref().is_some_and(waits)
    }

    /// Whether documents of this collection are this server's alone.
    fn owns(&self, collection: &str) -> bool {
        let rules = self.config.gateway.as_ref();
        rules.is_some_and(|rules| rules.owned.contains(collection))
            || self
                .subscriptions
                .iter()
                .any(|it| it.stands_for(collection))
    }

    /// Whether this server's own publications may publish documents of this collection.
    pub(super) fn may_publish(&self, collection: &str) -> bool {
        let rules = self.config.gateway.as_ref();
        rules.is_none_or(|rules| rules.owned.contains(collection))
    }

    /// Sends a message of the upstream as it came.
    fn forward(&mut self, text: &str, out: &mut Output) {
        self.emit(Frame::Text(text.into()), out);
    }

    /// A message of the upstream is dropped. With too many of them it is no DDP server.
    fn unreadable_upstream(&mut self, now: Duration, out: &mut Output) {
        let (Some(passing), Some(rules)) = (passing_of(&mut self.work), &self.config.gateway)
        else {
            return;
        };
        out.actions.push(Action::UnreadableUpstream);
        let since = now.saturating_sub(rules.unreadable_window);
        let latest = &mut passing.unreadable;
        while latest.front().is_some_and(|at| *at < since) {
            latest.pop_front();
        }
        latest.push_back(now);
        if latest.len() >= rules.max_unreadable {
            self.close_with(1011, "The server behind is out of order", out);
        }
    }

    fn passing(&self) -> Option<&Passing> {
        self.work.as_ref()?.passing.as_deref()
    }

    /// When something is due that concerns the upstream.
    pub(super) fn upstream_timeout(&self) -> Option<Duration> {
        self.passing()?.next_timeout()
    }

    /// Does what is due at this time for the upstream.
    pub(super) fn handle_upstream_timeout(&mut self, now: Duration, out: &mut Output) {
        let (Some(passing), Some(rules)) = (passing_of(&mut self.work), &self.config.gateway)
        else {
            return;
        };
        let (interval, timeout) = (rules.heartbeat_interval, rules.heartbeat_timeout);
        let heartbeat = passing.heartbeat.as_mut();
        match heartbeat.map(|it| it.poll(interval, timeout, now)) {
            Some(Due::Ping) => out.upstream.push(r#"{"msg":"ping"}"#.into()),
            Some(Due::Close) => return out.actions.push(Action::UpstreamLost),
            Some(Due::Nothing) | None => {}
        }
        let is_late = passing.held.as_ref().is_some_and(|it| it.until() <= now);
        if is_late {
            self.release_upstream(now, out);
        }
        if let Some(passing) = passing_of(&mut self.work)
            && passing.logins.expire(now)
        {
            self.proceed(now, out);
        }
    }

    /// Bytes that are kept for what was passed on.
    pub fn passing_bytes(&self) -> usize {
        self.passing().map_or(0, |passing| passing.bytes())
    }

    /// Calls that were passed on and lack an answer.
    pub(super) fn passed_calls(&self) -> impl Iterator<Item = Box<str>> {
        let passing = self.passing().into_iter();
        passing.flat_map(|passing| passing.calls.open().map(Box::from))
    }
}

/// What a session keeps of its upstream. It takes the field and not the session, whose
/// configuration is read beside it.
fn passing_of(work: &mut Option<Box<Work>>) -> Option<&mut Passing> {
    work.as_mut()?.passing.as_deref_mut()
}

/// Passes a message on to Meteor as it came. `true`: nothing is left to do.
fn pass(text: &str, out: &mut Output) -> bool {
    out.upstream.push(text.into());
    true
}

/// The answer to a ping of the upstream, with the ping's id if it has one.
fn pong(id: Option<&str>) -> Box<str> {
    let mut text = String::from(r#"{"msg":"pong""#);
    if let Some(id) = id.and_then(crate::message::string_of) {
        text.push_str(r#","id":"#);
        ejson::write_string(&id, &mut text);
    }
    text.push('}');
    text.into_boxed_str()
}
