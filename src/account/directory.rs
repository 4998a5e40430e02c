//! Who is logged in in this process: with which token, until when, and which documents of theirs
//! were sent. Users that are read from the store are compared with it: a connection whose token is
//! gone is closed, and a changed field is sent.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use updraft_protocol::ejson::{Date, Object, Value};
use uuid::Uuid;

use super::token::HashedToken;
use super::users::{StoreChange, User};
use crate::base::clock;
use crate::handler::Connection;
use crate::publication::Subscription;
use crate::telemetry::{GaugeGuard, Login};

/// The collection of users.
const USERS: &str = "users";

#[derive(Default)]
pub(super) struct Directory {
    state: Mutex<DirectoryState>,
    /// Notified when `unread` may have been filled.
    pub(super) unread_added: Notify,
    /// Notified of each login, because it may expire sooner than the earlier ones.
    pub(super) entered: Notify,
}

#[derive(Default)]
struct DirectoryState {
    /// All connections that have logged in. Filled by logins; an entry is removed when its
    /// connection ends.
    connections: HashMap<Uuid, ConnectionEntry>,
    /// The users of these logins and of documents that were sent. An entry exists while it contains
    /// something.
    users: HashMap<String, WatchedUser>,
    /// When logins expire: one entry for each login that does.
    expiries: BTreeSet<(Instant, Uuid)>,
    /// Users that may have changed. Filled by reports of the store and by failed reads, drained by
    /// the watcher. Bounded, because it only takes users that are in `users` at that time.
    unread: HashSet<String>,
    /// Whether the store reports changes, so that users need not be polled.
    reports_changes: bool,
    /// Counts logins and starts of reads, to order them.
    clock: u64,
}

struct ConnectionEntry {
    connection: Connection,
    /// `None` after a logout.
    login: Option<ActiveLogin>,
    _counted: GaugeGuard<Login>,
}

/// A user's current login on a connection.
#[derive(Clone, Debug)]
pub(super) struct ActiveLogin {
    pub(super) user: String,
    /// The token that must stay in the store.
    pub(super) token: Option<HashedToken>,
    /// When the login ends.
    pub(super) expires: Option<Instant>,
}

#[derive(Default)]
struct WatchedUser {
    /// The connections to close when their token is gone, and the clock value of each login.
    logins: Vec<(Uuid, u64)>,
    /// The subscriptions that show this user's document.
    documents: Vec<ShownDocument>,
    /// The clock value of the latest read of which a result was shown.
    read: u64,
}

struct ShownDocument {
    subscription: Subscription,
    /// The fields that were sent; `None` while there is no document.
    fields: Option<Arc<Object>>,
}

/// The start of a read. Its result is older than everything that has happened since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading(u64);

impl ActiveLogin {
    /// A login until `expires`. A time too far to be represented never comes.
    pub(super) fn new(user: &str, token: Option<HashedToken>, expires: Option<Date>) -> Self {
        let now = clock::date().millis().unwrap_or_default();
        let expires = expires.and_then(|at| {
            let left = at.millis().unwrap_or_default().saturating_sub(now);
            let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
            clock::now().checked_add(left)
        });
        Self {
            user: user.to_owned(),
            token,
            expires,
        }
    }
}

impl Directory {
    /// A user has logged in. Returns the login that it replaces. From here on reads decide whether
    /// the connection may stay.
    pub(super) fn enter(
        self: &Arc<Self>,
        connection: &Connection,
        login: ActiveLogin,
    ) -> Option<ActiveLogin> {
        let id = connection.log_id();
        let mut state = self.lock();
        let former = state.leave(id);
        state.clock += 1;
        let since = state.clock;
        state.expiries.extend(login.expires.map(|at| (at, id)));
        let watched = state.users.entry(login.user.clone()).or_default();
        watched.logins.push((id, since));
        let entry = ConnectionEntry {
            connection: connection.clone(),
            login: Some(login),
            _counted: GaugeGuard::new(&connection.host().gauges),
        };
        let is_new = state.connections.insert(id, entry).is_none();
        drop(state);
        self.entered.notify_one();
        if is_new {
            let directory = self.clone();
            // Once per connection, however often it logs in: the entry stays until the connection
            // ends.
            connection.on_close(move || directory.forget(id));
        }
        former
    }

    /// Restores a login after a failed logout or login. It is not known what has happened to the
    /// token meanwhile.
    pub(super) fn enter_again(self: &Arc<Self>, connection: &Connection, login: ActiveLogin) {
        let user = login.user.clone();
        self.enter(connection, login);
        self.changed(StoreChange::User(&user));
    }

    /// A user logs out: the connection no longer depends on a token.
    pub(super) fn leave(&self, connection: &Connection) -> Option<ActiveLogin> {
        self.lock().leave(connection.log_id())
    }

    /// The token with which a connection is logged in.
    pub(super) fn token(&self, connection: &Connection) -> Option<HashedToken> {
        let state = self.lock();
        let entry = state.connections.get(&connection.log_id())?;
        entry.login.as_ref()?.token.clone()
    }

    /// A subscription shows a user's document. Nothing is sent before the document has been read.
    pub(super) fn show(self: &Arc<Self>, user: &str, subscription: &Subscription) {
        let mut state = self.lock();
        let watched = state.users.entry(user.to_owned()).or_default();
        watched.documents.push(ShownDocument {
            subscription: subscription.clone(),
            fields: None,
        });
        drop(state);
        let (directory, user) = (self.clone(), user.to_owned());
        subscription.on_stop(move || directory.hide(&user));
    }

    /// Subscriptions to a user's document have ended.
    fn hide(&self, user: &str) {
        let mut state = self.lock();
        if let Some(watched) = state.users.get_mut(user) {
            watched
                .documents
                .retain(|shown| !shown.subscription.is_stopped());
        }
        state.remove_if_unused(user);
    }

    fn forget(&self, id: Uuid) {
        let mut state = self.lock();
        state.leave(id);
        let entry = state.connections.remove(&id);
        // Not under the lock, because the connection may be the last owner of the server.
        drop(state);
        drop(entry);
    }

    /// Forgets all users and connections.
    pub(super) fn clear(&self) {
        let state = std::mem::take(&mut *self.lock());
        // Not under the lock, because the connections may be the last owners of the server.
        drop(state);
    }

    /// A read starts.
    pub(super) fn reading(&self) -> Reading {
        let mut state = self.lock();
        state.clock += 1;
        Reading(state.clock)
    }

    /// A read has found a user, or that there is none.
    pub(super) fn found(&self, reading: Reading, id: &str, user: Option<User>) {
        let mut state = self.lock();
        let DirectoryState {
            users, connections, ..
        } = &mut *state;
        let Some(watched) = users.get_mut(id) else {
            return;
        };
        let tokens = user.as_ref().map_or(&[][..], |user| &user.tokens);
        for (connection, since) in &watched.logins {
            let entry = connections.get(connection).filter(|_| *since < reading.0);
            let Some((connection, token)) = entry.and_then(ConnectionEntry::token) else {
                continue;
            };
            if !tokens.iter().any(|it| it.hashed == *token) {
                tracing::debug!(connection = %connection.log_id(), "A login token is gone.");
                connection.close();
            }
        }
        if watched.read < reading.0 {
            watched.read = reading.0;
            let fields = user.map(|user| Arc::new(user.fields));
            for shown in &mut watched.documents {
                shown.update(id, fields.as_ref());
            }
        }
    }

    /// The store reports a change.
    pub(super) fn changed(&self, change: StoreChange<'_>) {
        let mut state = self.lock();
        match change {
            StoreChange::User(id) if !state.users.contains_key(id) => return,
            StoreChange::User(id) => {
                state.unread.insert(id.to_owned());
            }
            StoreChange::Any => {
                state.reports_changes = true;
                state.mark_all_unread();
            }
        }
        drop(state);
        self.unread_added.notify_one();
    }

    /// The store does not report changes, or no longer does.
    pub(super) fn changes_not_reported(&self) {
        self.lock().reports_changes = false;
    }

    /// Notes all users as unread, unless the store reports changes.
    pub(super) fn poll(&self) {
        let mut state = self.lock();
        if !state.reports_changes {
            state.mark_all_unread();
        }
    }

    /// These users could not be read. The next poll reads them.
    pub(super) fn not_read(&self, ids: Vec<String>) {
        self.lock().unread.extend(ids);
    }

    /// Takes up to `count` users that must be read.
    pub(super) fn take_unread(&self, count: usize) -> Vec<String> {
        let mut state = self.lock();
        let ids: Vec<String> = state.unread.iter().take(count).cloned().collect();
        for id in &ids {
            state.unread.remove(id);
        }
        ids
    }

    /// Closes the connections whose login has expired. Returns when the next one expires.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        while let Some((at, id)) = state.expiries.first().copied() {
            if at > now {
                return Some(at);
            }
            state.expiries.remove(&(at, id));
            if let Some(entry) = state.connections.get(&id) {
                tracing::debug!(connection = %entry.connection.log_id(), "A login has expired.");
                entry.connection.close();
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, DirectoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectoryState {
    fn leave(&mut self, id: Uuid) -> Option<ActiveLogin> {
        let login = self.connections.get_mut(&id)?.login.take()?;
        if let Some(at) = login.expires {
            self.expiries.remove(&(at, id));
        }
        if let Some(watched) = self.users.get_mut(&login.user) {
            watched.logins.retain(|(other, _)| *other != id);
        }
        self.remove_if_unused(&login.user);
        Some(login)
    }

    fn remove_if_unused(&mut self, user: &str) {
        let watched = self.users.get(user);
        if watched.is_some_and(|it| it.logins.is_empty() && it.documents.is_empty()) {
            self.users.remove(user);
            self.unread.remove(user);
        }
    }

    fn mark_all_unread(&mut self) {
        self.unread.extend(self.users.keys().cloned());
    }
}

impl ConnectionEntry {
    /// The connection and its token, if it depends on one.
    fn token(&self) -> Option<(&Connection, &HashedToken)> {
        Some((&self.connection, self.login.as_ref()?.token.as_ref()?))
    }
}

impl ShownDocument {
    /// Sends what has changed in the document.
    fn update(&mut self, id: &str, fields: Option<&Arc<Object>>) {
        match (&self.fields, fields) {
            (None, None) => {}
            (None, Some(new)) => self.subscription.added(USERS, id, &**new),
            (Some(_), None) => self.subscription.removed(USERS, id),
            (Some(old), Some(new)) => {
                let difference = difference(old, new);
                if !difference.is_empty() {
                    self.subscription.changed(USERS, id, difference);
                }
            }
        }
        self.fields = fields.cloned();
    }
}

/// The changes from one document to another. A removed field is undefined.
fn difference(old: &Object, new: &Object) -> Object {
    let changed = new
        .iter()
        .filter(|(key, value)| old.get_text(key) != Some(value));
    let mut difference: Object = changed
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let gone = old.keys().filter(|key| new.get_text(key).is_none());
    difference.extend(gone.map(|key| (key.clone(), Value::Undefined)));
    difference
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("logins", &self.lock().connections.len())
            .finish_non_exhaustive()
    }
}
