//! What all sessions in front of a Meteor server have in common.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What belongs to this server and what to Meteor, and how long each may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewayRules {
    /// The collections into which publications of this server publish. Documents of them that come
    /// from Meteor are dropped.
    pub owned: HashSet<Box<str>>,
    /// The methods of Meteor whose result says who the user is, as `{id, token}`.
    pub logins: HashSet<Box<str>>,
    /// The methods of Meteor after which there is no user.
    pub logouts: HashSet<Box<str>>,
    /// The methods of Meteor after whose success another one is called, by the session itself, whose
    /// result is the user's id or null. None by default. While there are any, calls of clients may
    /// have no id that begins with `updraft:`.
    pub questions: HashMap<Box<str>, Box<str>>,
    /// How long subscriptions and calls of this server wait for the result of a login before them:
    /// 30 s by default.
    pub login_patience: Duration,
    /// How long the result of a login waits until the subscriptions of this server have run again
    /// for the new user: 2 s by default.
    pub change_patience: Duration,
    /// How long the upstream may be silent before it is pinged: 15 s by default. Zero switches pings
    /// off.
    pub heartbeat_interval: Duration,
    /// How long an upstream that was pinged may stay silent: 15 s by default.
    pub heartbeat_timeout: Duration,
    /// Bytes of a client's message that this server answers itself. By default there is no limit
    /// besides the host's. A longer one closes the connection with 1009.
    pub local_message: usize,
    /// How many messages of the upstream may be unreadable within
    /// [`unreadable_window`](Self::unreadable_window): 10 by default; with as many the client is
    /// closed with 1011.
    pub max_unreadable: usize,
    /// The time within which they are counted: 10 s by default.
    pub unreadable_window: Duration,
}

/// What a method of Meteor means for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginKind {
    /// Its result may name the user.
    Login,
    /// Its success means that there is none.
    Logout,
    /// After its success this other method says who the user is.
    Question(Box<str>),
}

impl GatewayRules {
    pub(super) fn login_kind(&self, method: &str) -> Option<LoginKind> {
        if self.logins.contains(method) {
            Some(LoginKind::Login)
        } else if self.logouts.contains(method) {
            Some(LoginKind::Logout)
        } else {
            self.questions.get(method).cloned().map(LoginKind::Question)
        }
    }
}

impl Default for GatewayRules {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        Self {
            owned: HashSet::new(),
            logins: names(&[
                "login",
                "createUser",
                "resetPassword",
                "verifyEmail",
                "getNewToken",
            ]),
            logouts: names(&["logout"]),
            questions: HashMap::new(),
            login_patience: Duration::from_secs(30),
            change_patience: Duration::from_secs(2),
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(15),
            local_message: usize::MAX,
            max_unreadable: 10,
            unreadable_window: Duration::from_secs(10),
        }
    }
}
