//! Who the user is: Meteor decides, and its answer to a login says so. What this server answers
//! itself waits behind a login that was sent before; and the answer waits until subscriptions of
//! this server have run again for the new user.

use std::collections::VecDeque;
use std::time::Duration;

use super::passing_of;
use super::rules::LoginKind;
use crate::ejson;
use crate::session::{Action, Output, Session};

/// Logins that were passed on and are not answered. Filled as they are passed on, drained as their
/// results come; bounded by the calls, of which they are some.
#[derive(Debug, Default)]
pub(super) struct Logins {
    pending: Vec<PendingLogin>,
    /// How many there were.
    count: u64,
}

#[derive(Debug)]
struct PendingLogin {
    number: u64,
    id: Box<str>,
    kind: LoginKind,
    /// Until when what is behind it waits; `None` if that waits no more.
    until: Option<Duration>,
}

/// What the answer to a login says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginOutcome {
    /// Nothing changes.
    Failed,
    /// The user that the result names, if it names one.
    Succeeded { user: Option<Box<str>> },
}

/// Messages of the upstream that wait for the change of the user: the result of the login, and what
/// came behind it. Filled by `from_upstream`, drained when the change is complete or takes too
/// long; bounded because the host reads no more meanwhile.
#[derive(Debug)]
pub(super) struct HeldMessages {
    login: u64,
    until: Duration,
    /// The question whose answer is awaited first. Meanwhile the host reads on, for at most the
    /// same time.
    question: Option<Box<str>>,
    texts: VecDeque<Box<str>>,
    bytes: usize,
}

impl Logins {
    /// A login is passed on. What is behind it waits until this time. Returns its number.
    pub(super) fn begin(&mut self, id: &str, kind: LoginKind, until: Duration) -> u64 {
        self.count = self.count.saturating_add(1);
        self.pending.push(PendingLogin {
            number: self.count,
            id: id.into(),
            kind,
            until: Some(until),
        });
        self.count
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.pending.iter().any(|login| *login.id == *id)
    }

    fn take(&mut self, id: &str) -> Option<PendingLogin> {
        let at = self.pending.iter().position(|login| *login.id == *id)?;
        Some(self.pending.remove(at))
    }

    fn blocks(&self, number: u64) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|login| login.number == number && login.until.is_some())
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.pending.iter().filter_map(|login| login.until).min()
    }

    /// Nothing waits longer for the logins that have taken too long. Returns whether there were
    /// any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let mut any = false;
        for login in &mut self.pending {
            any |= login.until.take_if(|until| *until <= now).is_some();
        }
        any
    }
}

/// Calls of the session's own, by which it asks who the user is. Filled by `ask`, drained as their
/// two answers come; bounded by the calls after which they are asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// With the number of answers that each lacks.
    open: Vec<(Box<str>, u8)>,
    count: u64,
}

/// How the ids of the session's own calls begin.
pub(super) const OWN_ID: &str = "updraft:";

impl Questions {
    /// Calls the method. Returns the call's id.
    fn ask(&mut self, method: &str, out: &mut Output) -> Box<str> {
        self.count = self.count.saturating_add(1);
        let id = format!("{OWN_ID}{}", self.count);
        let mut text = format!(r#"{{"msg":"method","id":"{id}","method":"#);
        ejson::write_string(method, &mut text);
        text.push_str(r#","params":[]}"#);
        out.upstream.push(text.into());
        self.open.push((id.as_str().into(), 2));
        id.into()
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.open.iter().any(|(open, _)| **open == *id)
    }

    /// One of the answers to a question has come. Returns whether there was such a question.
    pub(super) fn answered(&mut self, id: &str) -> bool {
        let Some(at) = self.open.iter().position(|(open, _)| **open == *id) else {
            return false;
        };
        if let Some((_, lacks)) = self.open.get_mut(at) {
            *lacks = lacks.saturating_sub(1);
            if *lacks == 0 {
                self.open.swap_remove(at);
            }
        }
        true
    }
}

impl HeldMessages {
    /// Whether the host is to read no more meanwhile.
    pub(super) fn is_complete(&self) -> bool {
        self.question.is_none()
    }

    /// Whether this is the question whose answer is awaited.
    pub(super) fn awaits(&self, id: &str) -> bool {
        self.question.as_deref() == Some(id)
    }

    pub(super) fn until(&self) -> Duration {
        self.until
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.texts.push_back(text.into());
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Session {
    /// Whether what waits behind the login of this number must go on waiting.
    pub(in crate::session) fn awaits_login(&self, number: u64) -> bool {
        self.passing().is_some_and(|passing| {
            let held = passing.held.as_ref();
            passing.logins.blocks(number) || held.is_some_and(|held| held.login == number)
        })
    }

    /// The result of a login has come.
    pub(super) fn login_answered(
        &mut self,
        id: &str,
        outcome: LoginOutcome,
        text: &str,
        now: Duration,
        out: &mut Output,
    ) {
        let (Some(passing), Some(rules)) = (passing_of(&mut self.work), &self.config.gateway)
        else {
            return;
        };
        let Some(login) = passing.logins.take(id) else {
            return;
        };
        passing.calls.answered(id);
        let until = now.saturating_add(rules.change_patience);
        let mut held = HeldMessages {
            login: login.number,
            until,
            question: None,
            texts: VecDeque::new(),
            bytes: 0,
        };
        held.push(text);
        match (login.kind, outcome) {
            (LoginKind::Login, LoginOutcome::Succeeded { user: Some(user) }) => {
                self.user_is(Some(user), now, out);
            }
            (LoginKind::Logout, LoginOutcome::Succeeded { .. }) => self.user_is(None, now, out),
            (LoginKind::Question(method), LoginOutcome::Succeeded { .. }) => {
                held.question = Some(passing.questions.ask(&method, out));
                passing.held = Some(held);
                return;
            }
            (LoginKind::Login, LoginOutcome::Succeeded { user: None })
            | (_, LoginOutcome::Failed) => {}
        }
        if self.is_changing_user()
            && let Some(passing) = passing_of(&mut self.work)
        {
            passing.held = Some(held);
            return;
        }
        self.forward(text, out);
        self.proceed(now, out);
    }

    /// Meteor has said who the user is.
    fn user_is(&mut self, user: Option<Box<str>>, now: Duration, out: &mut Output) {
        if let Some(passing) = passing_of(&mut self.work) {
            passing.user.clone_from(&user);
        }
        out.actions.push(Action::User(user));
        self.change_user(now, out);
    }

    /// The answer to a question has come; `None` if it is an error.
    pub(super) fn question_answered(
        &mut self,
        id: &str,
        user: Option<Option<Box<str>>>,
        now: Duration,
        out: &mut Output,
    ) {
        let (Some(passing), Some(rules)) = (passing_of(&mut self.work), &self.config.gateway)
        else {
            return;
        };
        let until = now.saturating_add(rules.change_patience);
        let held = passing.held.as_mut().filter(|held| held.awaits(id));
        let is_awaited = held.is_some();
        if let Some(held) = held {
            (held.question, held.until) = (None, until);
        }
        if let Some(user) = user.filter(|user| *user != passing.user) {
            self.user_is(user, now, out);
        }
        if is_awaited && !self.is_changing_user() {
            self.release_upstream(now, out);
        }
    }

    /// Sends the result of a login and what is behind it: the user has changed, or that takes too
    /// long.
    ///
    /// The host calls this when it has carried out [`Action::UserChanged`].
    pub fn release_upstream(&mut self, now: Duration, out: &mut Output) {
        let passing = passing_of(&mut self.work);
        let Some(mut held) = passing.and_then(|passing| passing.held.take()) else {
            return;
        };
        if let Some(result) = held.texts.pop_front() {
            self.forward(&result, out);
        }
        for text in held.texts {
            self.from_upstream(&text, now, out);
        }
        self.proceed(now, out);
    }
}
