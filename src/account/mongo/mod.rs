//! Users as Meteor keeps them in MongoDB: the collection `users` of the app's database. It is read
//! and written as accounts-base does, so that a Meteor app and this server share their logins.

mod document;
mod search;

use std::fmt;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};
use tokio::time::timeout;
use updraft_protocol::ejson::Value;

use self::document::{to_object, to_value};
use super::document::{hashed, is_token, records, restricted, when};
use super::token::{HashedToken, LoginToken, TokenKey};
use super::users::{Changes, PasswordRecord, TokenOwner, User, UserSelector, Users};
use crate::base::error::{Error, Result};

/// The path of a user's login tokens.
const TOKENS: &str = "services.resume.loginTokens";

/// A store of users in MongoDB. Clones share its connections.
///
/// ```no_run
/// # async fn run() -> updraft::Result<()> {
/// use updraft::Server;
/// use updraft::account::{Accounts, MongoUsers};
///
/// let users = MongoUsers::connect("mongodb://127.0.0.1/meteor").await?;
/// let builder = Server::builder().accounts(Accounts::new(users));
/// # Ok(())
/// # }
/// ```
///
/// Tokens are found through the indexes that Meteor creates. Only `services.resume.loginTokens` is
/// ever written.
///
/// On a replica set, users are watched through a change stream. A standalone server has no change
/// streams, nor have some databases that are only compatible with MongoDB. There users are read
/// every few seconds.
#[derive(Clone)]
pub struct MongoUsers {
    users: Collection<Document>,
    patience: Duration,
}

impl MongoUsers {
    /// Connects to a database. The URL is the app's `MONGO_URL`: it names the database, and its
    /// options are used, for example `maxPoolSize` (10 connections by default). Do not read from
    /// secondaries: a new token may be missing there.
    ///
    /// `mongodb+srv:` needs the feature `dns-resolver` of the crate `mongodb`, and TLS the feature
    /// `tls` of this crate.
    ///
    /// # Errors
    ///
    /// The URL is not valid or names no database, or MongoDB does not answer.
    pub async fn connect(url: &str) -> Result<Self> {
        const PATIENCE: Duration = Duration::from_secs(10);
        // The crate's error may quote a password.
        let not_valid = |_| {
            let text = "the URL of MongoDB is not valid; its form is \
                        mongodb://HOST:27017/DATABASE, with USER:PASSWORD@ before HOST if need \
                        be, in which %40 stands for @";
            Error::configuration(text)
        };
        let mut options = ClientOptions::parse(url).await.map_err(not_valid)?;
        options.app_name.get_or_insert_with(|| "updraft".into());
        options.server_selection_timeout.get_or_insert(PATIENCE);
        let hosts = options.hosts.iter().map(ToString::to_string);
        let hosts = hosts.collect::<Vec<_>>().join(", ");
        let client = Client::with_options(options).map_err(not_valid)?;
        let Some(database) = client.default_database() else {
            let text = "the URL of MongoDB names no database; it stands behind the host, as in \
                        mongodb://127.0.0.1/meteor";
            return Err(Error::configuration(text));
        };
        let users = Self {
            users: database.collection("users"),
            patience: PATIENCE,
        };
        let ping = users.answered(database.run_command(doc! { "ping": 1 }));
        ping.await.map_err(|error| {
            // The crate's own words have all that it knows of the servers, and fill a screen.
            let source = error.source();
            let source = source.and_then(|it| it.downcast_ref::<mongodb::error::Error>());
            let why = match source.map(|source| &*source.kind) {
                Some(ErrorKind::ServerSelection { .. }) => "no server answers".to_owned(),
                Some(kind) => kind.to_string(),
                None => error.to_string(),
            };
            let text = format!("MongoDB at {hosts}: {why}; is it running, and is this its URL?");
            Error::configuration(text)
        })?;
        Ok(users)
    }

    /// How long MongoDB may take to answer; 10 s by default. Then a login fails with `Internal
    /// server error`, except a login by token, which
    /// [waits](crate::config::HandlerSettings::login_patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// MongoDB's answer, unless it takes too long.
    async fn answered<T>(
        &self,
        question: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        match timeout(self.patience, question.into_future()).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::internal("MongoDB has not answered in time")),
        }
    }

    /// Removes the records of a user's tokens for which `is_meant` is true, exactly as they were
    /// read. Records that another process adds meanwhile stay.
    async fn remove_tokens(&self, user: &str, is_meant: impl Fn(&Value) -> bool) -> Result<()> {
        let find = self.users.find_one(doc! { "_id": user });
        let found = self.answered(find.projection(doc! { TOKENS: 1 })).await?;
        for record in found.iter().flat_map(stored_records) {
            if to_value(record).is_some_and(|record| is_meant(&record)) {
                let change = doc! { "$pull": { TOKENS: record } };
                self.answered(self.users.update_one(doc! { "_id": user }, change))
                    .await?;
            }
        }
        Ok(())
    }

    /// The user with exactly this text at a path, or else the only user with this text in other
    /// case.
    ///
    /// Both queries always run, so that the time they take reveals nothing.
    async fn find_by_text(&self, path: &str, text: &str) -> Result<Option<Document>> {
        let exact = self.users.find_one(doc! { path: text });
        let exact = exact.projection(password_fields());
        let like = self.users.find(search::without_case(path, text)?);
        let like = like.projection(password_fields()).limit(2);
        let like = async { like.await?.try_collect::<Vec<_>>().await };
        let (exact, like) = tokio::join!(self.answered(exact), self.answered(like));
        let mut like: Vec<Document> = like?;
        let alone = like.pop().filter(|_| like.is_empty());
        Ok(exact?.or(alone))
    }
}

impl Users for MongoUsers {
    async fn find_by_token(&self, token: TokenKey<'_>) -> Result<Option<TokenOwner>> {
        let selector = match token {
            TokenKey::Hashed(hashed) => doc! { format!("{TOKENS}.hashedToken"): hashed.as_str() },
            TokenKey::Clear(token) => doc! { format!("{TOKENS}.token"): token.as_str() },
        };
        let find = self.users.find_one(selector);
        let found = self.answered(find.projection(doc! { TOKENS: 1 })).await?;
        Ok(found.and_then(|document| {
            let mut records = stored_records(&document).filter_map(to_value);
            Some(TokenOwner {
                user: id(&document)?,
                when: when(&records.find(|record| is_token(record, token))?),
            })
        }))
    }

    async fn insert_token(&self, user: &str, token: &LoginToken) -> Result<()> {
        let when = token.when.millis().map(DateTime::from_millis);
        let record = doc! { "when": when, "hashedToken": token.hashed.as_str() };
        let change = doc! { "$addToSet": { TOKENS: record } };
        self.answered(self.users.update_one(doc! { "_id": user }, change))
            .await?;
        Ok(())
    }

    async fn remove_token(&self, user: &str, token: TokenKey<'_>) -> Result<()> {
        self.remove_tokens(user, move |record| is_token(record, token))
            .await
    }

    async fn remove_other_tokens(&self, user: &str, keep: Option<&HashedToken>) -> Result<()> {
        let keep = keep.map(TokenKey::Hashed);
        self.remove_tokens(user, move |record| {
            !keep.is_some_and(|keep| is_token(record, keep))
        })
        .await
    }

    async fn read(&self, ids: &[String], fields: &[String]) -> Result<Vec<User>> {
        // MongoDB refuses two paths if one is within the other.
        let mut paths: Vec<&str> = fields.iter().map(String::as_str).collect();
        paths.push(TOKENS);
        let outermost = paths.iter().filter(|path| {
            let mut others = paths.iter();
            !others.any(|other| is_within(path, other))
        });
        let projection: Document = outermost
            .map(|path| ((*path).to_owned(), Bson::Int32(1)))
            .collect();
        let find = self.users.find(doc! { "_id": { "$in": ids } });
        let found = async { find.projection(projection).await?.try_collect().await };
        let found: Vec<Document> = self.answered(found).await?;
        let paths: Vec<&str> = fields.iter().map(String::as_str).collect();
        let users = found.iter().filter_map(|document| {
            let object = to_object(document);
            Some(User {
                id: id(document)?,
                tokens: records(&object).iter().filter_map(hashed).collect(),
                fields: restricted(&object, &paths),
            })
        });
        Ok(users.collect())
    }

    async fn find_password(&self, user: &UserSelector) -> Result<Option<PasswordRecord>> {
        let found = match user {
            UserSelector::Id(id) => {
                let find = self.users.find_one(doc! { "_id": id });
                self.answered(find.projection(password_fields())).await?
            }
            UserSelector::Username(name) => self.find_by_text("username", name).await?,
            UserSelector::Email(address) => self.find_by_text("emails.address", address).await?,
        };
        Ok(found.and_then(|document| {
            let object = to_object(&document);
            let services = object.get("services");
            let service = |name, member| services?.get(name)?.get(member)?.as_str();
            let bcrypt = service("password", "bcrypt").map(str::to_owned);
            let has_second_factor = service("twoFactorAuthentication", "type").is_some();
            Some(PasswordRecord {
                user: id(&document)?,
                bcrypt: bcrypt.filter(|_| !has_second_factor),
            })
        }))
    }

    async fn watch(&self, changes: &Changes) -> Result<()> {
        // Nobody is logged in as a new user. The content of a change is not needed, because the
        // user is read anyway.
        let pipeline = [
            doc! { "$match": { "operationType": { "$ne": "insert" } } },
            doc! { "$project": { "operationType": 1, "ns": 1, "documentKey": 1 } },
        ];
        let watching = self.users.watch().pipeline(pipeline).into_future();
        let mut stream = match timeout(self.patience, watching).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_not_offered(&error) => {
                tracing::info!("MongoDB has no change streams here; users are polled.");
                return Ok(());
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Error::internal("MongoDB has not answered in time")),
        };
        changes.any();
        while let Some(event) = stream.next().await {
            match event?.document_key {
                Some(key) => {
                    if let Ok(id) = key.get_str("_id") {
                        changes.user(id);
                    }
                }
                // The whole collection was dropped or renamed.
                None => changes.any(),
            }
        }
        Err(Error::internal("MongoDB has ended the change stream"))
    }
}

impl fmt::Debug for MongoUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoUsers")
            .field("collection", &self.users.namespace().to_string())
            .finish_non_exhaustive()
    }
}

/// The records of a user's tokens as BSON, to be written back unchanged.
fn stored_records(document: &Document) -> impl Iterator<Item = &Bson> {
    let services = document.get_document("services");
    let resume = services.and_then(|services| services.get_document("resume"));
    let records = resume.and_then(|resume| resume.get_array("loginTokens"));
    records.into_iter().flatten()
}

/// A document whose id is not a string is not a user of Meteor's accounts.
fn id(document: &Document) -> Option<String> {
    document.get_str("_id").ok().map(str::to_owned)
}

/// The fields that are read for a login by password.
///
/// A user with a second factor has no password here, because only Meteor checks that factor.
fn password_fields() -> Document {
    doc! { "services.password.bcrypt": 1, "services.twoFactorAuthentication.type": 1 }
}

/// Whether a path lies within another.
fn is_within(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// Whether the server has no change streams: a standalone server, or a database that is only
/// compatible with MongoDB.
fn is_not_offered(error: &mongodb::error::Error) -> bool {
    /// The stage is for replica sets only; or it, the command or the option is unknown or not
    /// implemented.
    const NOT_OFFERED: [i32; 5] = [40573, 40324, 59, 238, 115];
    matches!(&*error.kind, ErrorKind::Command(error) if NOT_OFFERED.contains(&error.code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn found_304_a_mongodb_that_is_no_use_is_said_in_a_line() {
        for (url, expected) in [
            (
                "mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=100",
                "MongoDB at 127.0.0.1:1: no server answers; is it running, and is this its URL?",
            ),
            (
                "redis://u:secret@127.0.0.1/x",
                "the URL of MongoDB is not valid; its form is mongodb://HOST:27017/DATABASE, with \
                 USER:PASSWORD@ before HOST if need be, in which %40 stands for @",
            ),
            (
                "mongodb://127.0.0.1:1",
                "the URL of MongoDB names no database; it stands behind the host, as in \
                 mongodb://127.0.0.1/meteor",
            ),
        ] {
            let error = MongoUsers::connect(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert_eq!(format!("{error:?}"), expected);
        }
    }
}
