//! Users in this process, for tests, examples and small programs: documents in Meteor's layout,
//! lost when the process ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use updraft_protocol::ejson::{Object, Value};

use super::document::{hashed, is_token, records, restricted, when};
use super::token::{HashedToken, LoginToken, TokenKey};
use super::users::{Changes, PasswordRecord, TokenOwner, User, UserSelector, Users};
use crate::base::error::Result;

/// A store of users in memory. Clones are the same store.
///
/// Users are found by a linear search, which is good enough for hundreds.
///
/// ```
/// use updraft::account::{MemoryUsers, Token};
/// use updraft::{Date, ejson};
///
/// let users = MemoryUsers::new();
/// users.insert("ada", ejson!({
///     "username": "ada",
///     "services": { "resume": { "loginTokens": [{
///         "when": Date::from(std::time::SystemTime::now()),
///         "hashedToken": Token::new("a secret").hashed().as_str(),
///     }] } },
/// }));
/// assert!(users.get("ada").is_some());
/// ```
#[derive(Clone)]
pub struct MemoryUsers(Arc<Inner>);

struct Inner {
    /// Documents by `_id`, which they do not contain. Filled and emptied by the program, except for
    /// tokens.
    documents: Mutex<BTreeMap<String, Object>>,
    /// Gets the id of each user that was changed. Bounded; a watcher that falls behind is told so.
    changed: broadcast::Sender<String>,
}

/// Changes that may wait for one watcher.
const WAITING_CHANGES: usize = 1024;

impl MemoryUsers {
    /// An empty store.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            documents: Mutex::default(),
            changed: broadcast::Sender::new(WAITING_CHANGES),
        }))
    }

    /// Adds a user, or replaces its document. A value that is not an object is an empty document.
    /// `_id` in it is ignored.
    pub fn insert(&self, id: impl Into<String>, document: impl Into<Value>) {
        let id = id.into();
        let mut document = match document.into() {
            Value::Object(document) => document,
            _ => Object::new(),
        };
        document.remove("_id");
        self.lock().insert(id.clone(), document);
        self.tell(id);
    }

    /// Removes a user.
    pub fn remove(&self, id: &str) {
        if self.lock().remove(id).is_some() {
            self.tell(id.to_owned());
        }
    }

    /// A user's document, including secrets.
    pub fn get(&self, id: &str) -> Option<Object> {
        self.lock().get(id).cloned()
    }

    fn find(&self, is_it: impl Fn(&Object) -> bool) -> Vec<(String, Object)> {
        let documents = self.lock();
        let found = documents.iter().filter(|(_, document)| is_it(document));
        found.map(|(id, it)| (id.clone(), it.clone())).collect()
    }

    /// Finds a user by a text: exactly, or else ignoring case if only one user matches.
    fn find_by_text(
        &self,
        text: &str,
        is_it: impl Fn(&Object, &dyn Fn(&Value) -> bool) -> bool,
    ) -> Option<(String, Object)> {
        let same = |value: &Value| value.as_str() == Some(text);
        if let Some(found) = self.find(|document| is_it(document, &same)).pop() {
            return Some(found);
        }
        let lower = text.to_lowercase();
        let like = |value: &Value| value.as_str().is_some_and(|it| it.to_lowercase() == lower);
        let mut found = self.find(|document| is_it(document, &like));
        found.pop().filter(|_| found.is_empty())
    }

    /// Changes the records of a user's tokens.
    fn change_tokens(&self, user: &str, change: impl FnOnce(&mut Vec<Value>)) {
        let mut documents = self.lock();
        let Some(document) = documents.get_mut(user) else {
            return;
        };
        let Some(records) = child(document, "services")
            .and_then(|services| child(services, "resume"))
            .and_then(|resume| {
                if !resume.contains_key("loginTokens") {
                    resume.insert("loginTokens", Value::Array(Vec::new()));
                }
                resume.get_mut("loginTokens")?.as_array_mut()
            })
        else {
            return;
        };
        change(records);
        drop(documents);
        self.tell(user.to_owned());
    }

    fn tell(&self, id: String) {
        // There may be no receiver.
        drop(self.0.changed.send(id));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.0
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users for MemoryUsers {
    async fn find_by_token(&self, token: TokenKey<'_>) -> Result<Option<TokenOwner>> {
        let found = self.lock().iter().find_map(|(id, document)| {
            let record = records(document).iter().find(|it| is_token(it, token))?;
            Some(TokenOwner {
                user: id.clone(),
                when: when(record),
            })
        });
        Ok(found)
    }

    async fn insert_token(&self, user: &str, token: &LoginToken) -> Result<()> {
        self.change_tokens(user, |records| {
            let mut record = Object::new();
            record.insert("when", token.when);
            record.insert("hashedToken", token.hashed.as_str());
            let record = Value::Object(record);
            if !records.contains(&record) {
                records.push(record);
            }
        });
        Ok(())
    }

    async fn remove_token(&self, user: &str, token: TokenKey<'_>) -> Result<()> {
        self.change_tokens(user, |records| {
            records.retain(|record| !is_token(record, token));
        });
        Ok(())
    }

    async fn remove_other_tokens(&self, user: &str, keep: Option<&HashedToken>) -> Result<()> {
        self.change_tokens(user, |records| {
            records.retain(|record| keep.is_some_and(|it| is_token(record, TokenKey::Hashed(it))));
        });
        Ok(())
    }

    async fn read(&self, ids: &[String], fields: &[String]) -> Result<Vec<User>> {
        let documents = self.lock();
        let found = ids.iter().filter_map(|id| {
            let document = documents.get(id)?;
            let paths: Vec<&str> = fields.iter().map(String::as_str).collect();
            Some(User {
                id: id.clone(),
                tokens: records(document).iter().filter_map(hashed).collect(),
                fields: restricted(document, &paths),
            })
        });
        Ok(found.collect())
    }

    async fn find_password(&self, user: &UserSelector) -> Result<Option<PasswordRecord>> {
        let found = match user {
            UserSelector::Id(id) => self.get(id).map(|document| (id.clone(), document)),
            UserSelector::Username(name) => self.find_by_text(name, |document, is_it| {
                document.get("username").is_some_and(is_it)
            }),
            UserSelector::Email(address) => self.find_by_text(address, |document, is_it| {
                let emails = document.get("emails").and_then(Value::as_array);
                let mut emails = emails.into_iter().flatten();
                emails.any(|email| email.get("address").is_some_and(is_it))
            }),
        };
        let found = found.map(|(user, document)| PasswordRecord {
            user,
            bcrypt: document
                .get("services")
                .and_then(|services| services.get("password")?.get("bcrypt")?.as_str())
                .map(str::to_owned),
        });
        Ok(found)
    }

    async fn watch(&self, changes: &Changes) -> Result<()> {
        let mut changed = self.0.changed.subscribe();
        changes.any();
        loop {
            match changed.recv().await {
                Ok(id) => changes.user(&id),
                Err(RecvError::Lagged(_)) => changes.any(),
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

impl Default for MemoryUsers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUsers")
            .field("users", &self.lock().len())
            .finish()
    }
}

/// The member of this name. It is replaced by an empty object if it is not an object.
fn child<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    if object.get(name).and_then(Value::as_object).is_none() {
        object.insert(name, Value::Object(Object::new()));
    }
    object.get_mut(name)?.as_object_mut()
}
