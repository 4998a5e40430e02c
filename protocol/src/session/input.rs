//! What a client sends: negotiation, pings past the queue, and the queue itself, one message after the other.

use std::time::Duration;

use super::heartbeat::Heartbeat;
use super::resumption::claim_of;
use super::{Action, Output, Run, Session, SessionState, Version, Work};
use crate::ejson::Value;
use crate::message::{self, ClientRequest, Quote, ServerMessage, Unreadable};

impl Session {
    /// Takes in one message of the client: the text of one WebSocket message, or one string of a SockJS array.
    pub fn receive(&mut self, text: &str, now: Duration, out: &mut Output) {
        if matches!(self.state, SessionState::Closed | SessionState::Parked(_)) {
            return;
        }
        if let SessionState::Resuming { backlog, bytes, .. } = &mut self.state {
            backlog.push(text.into());
            *bytes = bytes.saturating_add(text.len());
            return;
        }
        // Any message counts as life, a malformed one too.
        self.heard();
        let config = &self.config;
        let message = match message::decode(text, &config.settings.json, config.new_object_id) {
            Ok(message) => message,
            Err(Unreadable::NotAMessage) => return self.unreadable("Bad request", None, now, out),
            // A client of DDP, with a value that only it has a name for.
            Err(Unreadable::Undecodable { has_msg: true }) => {
                return self.complain("Parse error", None, out);
            }
            Err(Unreadable::Undecodable { has_msg: false }) => {
                return self.unreadable("Parse error", None, now, out);
            }
        };
        let quote = || Quote::of(&message, text.len(), &self.config.settings.bounds);
        let Some(msg) = message.get("msg").filter(|msg| !msg.is_falsy()) else {
            return self.unreadable("Bad request", quote(), now, out);
        };
        match &self.state {
            SessionState::AwaitingConnect { .. } if msg.as_str() == Some("connect") => {
                self.connect(&message, now, out);
            }
            SessionState::AwaitingConnect { .. } => {
                self.complain("Must connect first", quote(), out);
            }
            SessionState::Connected { .. } if msg.as_str() == Some("connect") => {
                self.complain("Already connected", quote(), out);
            }
            SessionState::Connected { version, .. } => match msg.as_str() {
                Some("ping") if version.has_heartbeat() => {
                    let id = message.get("id").unwrap_or(&Value::Undefined);
                    if message::is_short(id, &self.config.settings.bounds) {
                        self.answer_ping(id, out);
                    } else {
                        self.complain("Bad request", quote(), out);
                    }
                }
                Some("pong") if version.has_heartbeat() => self.pong(),
                // Said by a client that leaves on purpose; what follows is the end of its connection.
                Some("disconnect") => self.leaving(),
                _ => {
                    let request =
                        ClientRequest::parse(message, text.len(), &self.config.settings.bounds);
                    if self.is_repeated(&request) {
                        return;
                    }
                    let is_next = self.queued() == 0 && self.may_start(request.begins_handler());
                    if is_next || self.may_overtake(&request) {
                        self.start(request, now, out);
                    } else {
                        self.work().queue.push(request, text);
                    }
                }
            },
            SessionState::Resuming { .. } | SessionState::Parked(_) | SessionState::Closed => {}
        }
    }

    /// The client is alive, as far as anybody can tell: it is not pinged in this interval.
    ///
    /// For a host that does not read from it at the moment; [`receive`](Self::receive) says it by itself.
    pub fn heard(&mut self) {
        if let Some(heartbeat) = self.heartbeat_mut() {
            heartbeat.heard();
        }
    }

    /// As [`heard`](Self::heard), and the client is not pinged before `until`.
    ///
    /// For a host that knows how long the way to the client takes: what was sent before a ping has to arrive first.
    pub fn busy_until(&mut self, until: Duration) {
        if let Some(heartbeat) = self.heartbeat_mut() {
            heartbeat.busy_until(until);
        }
    }

    fn heartbeat_mut(&mut self) -> Option<&mut Heartbeat> {
        match &mut self.state {
            SessionState::Connected { heartbeat, .. } => heartbeat.as_mut(),
            _ => None,
        }
    }

    /// The client has much to take: nothing that it asks for begins until [`let_go_on`](Self::let_go_on). Its pings are
    /// answered, and what it unsubscribes from ends.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// The client has taken what was sent: what it has asked for meanwhile begins.
    pub fn let_go_on(&mut self, now: Duration, out: &mut Output) {
        self.is_held = false;
        self.proceed(now, out);
    }

    /// Whether a message need not wait for those before it: while the session is held, a subscription that sends too
    /// much can be ended.
    fn may_overtake(&self, request: &ClientRequest) -> bool {
        let ClientRequest::Unsubscribe(Value::String(id)) = request else {
            return false;
        };
        let names = |known: &str| *id == *known;
        let is_asked_for = |work: &Work| work.queue.may_subscribe(names);
        let mut subscriptions = self.subscriptions.iter();
        self.is_held
            && !self.is_changing_user()
            && subscriptions.any(|found| found.id.as_deref().is_some_and(names))
            && !self.work.as_deref().is_some_and(is_asked_for)
    }

    /// A handler lets the next message start while it goes on.
    pub fn unblock(&mut self, run: Run, now: Duration, out: &mut Output) {
        self.running.take_if(|running| *running == run);
        self.proceed(now, out);
    }

    /// Whether the next message may start: no handler holds the queue. For another handler to begin, those that run must
    /// hold little enough as well, and the client must not have too much to take.
    fn may_start(&self, begins_handler: bool) -> bool {
        let is_full = || {
            let bytes = self.running_bytes();
            bytes > 0 && bytes >= self.config.max_running_bytes
        };
        self.running.is_none() && (!begins_handler || !self.is_held && !is_full())
    }

    /// Starts messages from the queue until one of them has a handler that must be waited for.
    fn proceed(&mut self, now: Duration, out: &mut Output) {
        while let Some(work) = &self.work
            && self.may_start(work.queue.begins_handler())
            && self.is_connected()
            && let Some(work) = &mut self.work
            && let Some(request) = work.queue.pop(&self.config)
        {
            match request {
                Ok(request) => self.start(request, now, out),
                Err(_) => self.complain("Parse error", None, out),
            }
        }
        self.rest();
    }

    fn start(&mut self, request: ClientRequest, now: Duration, out: &mut Output) {
        match request {
            ClientRequest::Subscribe(subscribe) => self.subscribe(subscribe, now, out),
            ClientRequest::Unsubscribe(id) => self.unsubscribe(&id, out),
            ClientRequest::Call(call) => self.call(call, out),
            ClientRequest::Malformed { reason, offending } => {
                self.complain(reason, offending, out);
            }
        }
    }

    fn complain(&mut self, reason: &'static str, offending: Option<Quote>, out: &mut Output) {
        self.send(&ServerMessage::Error(reason, offending.as_ref()), out);
    }

    /// Answers a message that says nothing; who sends many of them is no DDP client.
    fn unreadable(
        &mut self,
        reason: &'static str,
        offending: Option<Quote>,
        now: Duration,
        out: &mut Output,
    ) {
        self.complain(reason, offending, out);
        let since = now.saturating_sub(self.config.settings.unreadable_window);
        let latest = &mut self.work().unreadable;
        while latest.front().is_some_and(|at| *at < since) {
            latest.pop_front();
        }
        latest.push_back(now);
        let count = latest.len();
        if count >= self.config.settings.max_unreadable {
            self.close_with(1008, "Too many unreadable messages", out);
        }
    }

    fn answer_ping(&mut self, id: &Value, out: &mut Output) {
        // As Meteor: an id that is neither a string nor falsy gets no answer.
        let answerable = id.as_str().is_some() || matches!(id, Value::String(_)) || id.is_falsy();
        if self.config.settings.respond_to_pings && answerable {
            self.send(&ServerMessage::Pong(id), out);
        }
    }

    /// The client goes on purpose, and will not come back.
    fn leaving(&mut self) {
        if let SessionState::Connected { is_leaving, .. } = &mut self.state {
            *is_leaving = true;
        }
    }

    fn connect(&mut self, message: &Value, now: Duration, out: &mut Output) {
        match negotiate(message) {
            Ok(version) => {
                // Clients that resume are younger than the versions without pings.
                match claim_of(message).filter(|_| version.has_heartbeat()) {
                    Some((session, received)) => {
                        self.state = SessionState::Resuming {
                            version,
                            backlog: Vec::new(),
                            bytes: 0,
                        };
                        out.actions.push(Action::Resume { session, received });
                    }
                    None => self.welcome(version, now, out),
                }
            }
            Err(best) => {
                self.send(&ServerMessage::Failed(best.as_str()), out);
                self.close(out);
            }
        }
    }
}

/// Versions that a client may name. There are three.
const MAX_SUPPORT: usize = 100;

/// The version in use, or the one to suggest: the first of the client's `support` that is known, else our best.
fn negotiate(message: &Value) -> Result<Version, Version> {
    let Some(Value::String(version)) = message.get("version") else {
        return Err(Version::One);
    };
    let Some(support) = message.get("support").and_then(Value::as_array) else {
        return Err(Version::One);
    };
    let all_strings = support
        .iter()
        .all(|entry| matches!(entry, Value::String(_)));
    if support.len() > MAX_SUPPORT
        || !all_strings
        || !support
            .iter()
            .any(|entry| *entry == Value::String(version.clone()))
    {
        return Err(Version::One);
    }
    let known = |entry: &Value| {
        Version::BEST_FIRST
            .into_iter()
            .find(|known| entry.as_str() == Some(known.as_str()))
    };
    let best = support.iter().find_map(known).unwrap_or(Version::One);
    if *version == *best.as_str() {
        Ok(best)
    } else {
        Err(best)
    }
}
