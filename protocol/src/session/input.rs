//! What a client sends: version negotiation, pings (which skip the queue), and the queue itself,
//! which starts one message after the other.

use std::time::Duration;

use super::heartbeat::Heartbeat;
use super::resumption::resume_request;
use super::{Action, Output, Run, Session, SessionState, Version, Work};
use crate::ejson::Value;
use crate::message::{self, ClientRequest, Quote, ServerMessage, Unreadable};

impl Session {
    /// Receives one message of the client: the text of one WebSocket message, or one string of a
    /// SockJS array.
    pub fn receive(&mut self, text: &str, now: Duration, out: &mut Output) {
        if matches!(self.state, SessionState::Closed | SessionState::Parked(_)) {
            return;
        }
        if let SessionState::Resuming { backlog, bytes, .. }
        | SessionState::Opening { backlog, bytes, .. } = &mut self.state
        {
            backlog.push(text.into());
            *bytes = bytes.saturating_add(text.len());
            return;
        }
        // Any message shows that the client is alive, even a malformed one.
        self.heard();
        if self.pass_on(text, now, out) {
            return;
        }
        let config = &self.config;
        let message = match message::decode(text, &config.settings.json, config.new_object_id) {
            Ok(message) => message,
            Err(Unreadable::NotAMessage) => return self.unreadable("Bad request", None, now, out),
            // A DDP client sent an EJSON custom type, which only the application could decode.
            Err(Unreadable::Undecodable { has_msg: true }) => {
                return self.send_error("Parse error", None, out);
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
                self.send_error("Must connect first", quote(), out);
            }
            SessionState::Connected { .. } if msg.as_str() == Some("connect") => {
                self.send_error("Already connected", quote(), out);
            }
            SessionState::Connected { version, .. } => match msg.as_str() {
                Some("ping") if version.has_heartbeat() => {
                    let id = message.get("id").unwrap_or(&Value::Undefined);
                    if message::is_short(id, &self.config.settings.bounds) {
                        self.answer_ping(id, out);
                    } else {
                        self.send_error("Bad request", quote(), out);
                    }
                }
                Some("pong") if version.has_heartbeat() => self.pong(),
                // The client leaves on purpose; the connection ends next.
                Some("disconnect") => self.mark_leaving(),
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
            SessionState::Resuming { .. }
            | SessionState::Opening { .. }
            | SessionState::Parked(_)
            | SessionState::Closed => {}
        }
    }

    /// Notes that the client is alive: it is not pinged in this interval.
    ///
    /// This is for a host that does not read from the client at the moment.
    /// [`receive`](Self::receive) does the same by itself.
    pub fn heard(&mut self) {
        if let Some(heartbeat) = self.heartbeat_mut() {
            heartbeat.heard();
        }
    }

    /// As [`heard`](Self::heard), and the client is not pinged before `until`.
    ///
    /// This is for a host that knows how long its output takes to reach the client: what was sent
    /// before a ping has to arrive first.
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

    /// The client has much output to receive: none of its requests starts a handler until
    /// [`let_go_on`](Self::let_go_on). Its pings are still answered, and its `unsub` messages still
    /// end subscriptions.
    pub fn hold(&mut self) {
        self.work().is_held = true;
    }

    /// The client has received the output: its waiting requests start.
    pub fn let_go_on(&mut self, now: Duration, out: &mut Output) {
        if let Some(work) = &mut self.work {
            work.is_held = false;
        }
        self.proceed(now, out);
    }

    fn is_held(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.is_held)
    }

    /// Whether a message need not wait for earlier ones: while the session is held, a client can
    /// still end a subscription that sends too much.
    fn may_overtake(&self, request: &ClientRequest) -> bool {
        let ClientRequest::Unsubscribe(Value::String(id)) = request else {
            return false;
        };
        let names = |known: &str| *id == *known;
        let is_asked_for = |work: &Work| id.to_str().is_some_and(|id| work.queue.subscribes(id));
        let mut subscriptions = self.subscriptions.iter();
        self.is_held()
            && !self.is_changing_user()
            && subscriptions.any(|found| found.id.as_deref().is_some_and(names))
            && !self.work.as_deref().is_some_and(is_asked_for)
    }

    /// A handler lets the next message start while it goes on.
    pub fn unblock(&mut self, run: Run, now: Duration, out: &mut Output) {
        self.running.take_if(|running| *running == run);
        self.proceed(now, out);
    }

    /// Whether the next message may start: no handler blocks the queue. To start another handler,
    /// the running ones must also use few enough bytes, and the client must not have too much
    /// output to receive.
    fn may_start(&self, begins_handler: bool) -> bool {
        let is_full = || {
            let bytes = self.running_bytes();
            bytes > 0 && bytes >= self.config.max_running_bytes
        };
        self.running.is_none() && (!begins_handler || !self.is_held() && !is_full())
    }

    /// Starts messages from the queue until one of them starts a handler that blocks it.
    pub(super) fn proceed(&mut self, now: Duration, out: &mut Output) {
        while self.is_past_logins()
            && let Some(work) = &self.work
            && self.may_start(work.queue.begins_handler())
            && self.is_connected()
            && let Some(work) = &mut self.work
            && let Some(request) = work.queue.pop(&self.config)
        {
            match request {
                Ok(request) => self.start(request, now, out),
                Err(_) => self.send_error("Parse error", None, out),
            }
        }
        self.free_idle_work();
    }

    /// Takes answered logins off the front of the queue. Returns whether no other is there.
    fn is_past_logins(&mut self) -> bool {
        while let Some(number) = self.work.as_ref().and_then(|work| work.queue.login()) {
            if self.awaits_login(number) {
                return false;
            }
            if let Some(work) = &mut self.work {
                work.queue.pop_login();
            }
        }
        true
    }

    fn start(&mut self, request: ClientRequest, now: Duration, out: &mut Output) {
        match request {
            ClientRequest::Subscribe(subscribe) => self.subscribe(subscribe, now, out),
            ClientRequest::Unsubscribe(id) => self.unsubscribe(&id, out),
            ClientRequest::Call(call) => self.call(call, out),
            ClientRequest::Malformed { reason, offending } => {
                self.send_error(reason, offending, out);
            }
        }
    }

    fn send_error(&mut self, reason: &'static str, offending: Option<Quote>, out: &mut Output) {
        self.send(&ServerMessage::Error(reason, offending.as_ref()), out);
    }

    /// Answers an unreadable message. A client that sends many of them is no DDP client and is
    /// closed.
    fn unreadable(
        &mut self,
        reason: &'static str,
        offending: Option<Quote>,
        now: Duration,
        out: &mut Output,
    ) {
        self.send_error(reason, offending, out);
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
        // As in Meteor, an id that is neither a string nor falsy gets no answer.
        let answerable = id.as_str().is_some() || matches!(id, Value::String(_)) || id.is_falsy();
        if self.config.settings.respond_to_pings && answerable {
            self.send(&ServerMessage::Pong(id), out);
        }
    }

    /// The client leaves on purpose, and will not come back.
    fn mark_leaving(&mut self) {
        if let SessionState::Connected { is_leaving, .. } = &mut self.state {
            *is_leaving = true;
        }
    }

    fn connect(&mut self, message: &Value, now: Duration, out: &mut Output) {
        match negotiate(message) {
            Ok(version) => {
                // Clients that resume are newer than the versions without pings.
                match resume_request(message).filter(|_| version.has_heartbeat()) {
                    Some((session, received)) => {
                        self.state = SessionState::Resuming {
                            version,
                            backlog: Vec::new(),
                            bytes: 0,
                        };
                        out.actions.push(Action::Resume { session, received });
                    }
                    None => self.open_session(version, now, out),
                }
            }
            Err(best) => {
                self.send(&ServerMessage::Failed(best.as_str()), out);
                self.close(out);
            }
        }
    }
}

/// How many versions a client may list. Three exist.
const MAX_SUPPORT: usize = 100;

/// The version in use, or the one to suggest: the first known version of the client's `support`,
/// else our best.
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
