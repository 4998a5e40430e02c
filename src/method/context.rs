//! The context of a method: Meteor's `this` in a method's body.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use updraft_bus::IntoChannel;
use updraft_protocol::ejson::{self, Value};
use updraft_protocol::message::WireError;
use updraft_protocol::random::RandomStream;
use updraft_protocol::session::Run;
use updraft_topics::{Entry, Published, Topic};

use super::Methods;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::ids;
use crate::handler::{Connection, UserId};
use crate::mail::Mail;

/// One call of a method. Clones are the same call.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    connection: Connection,
    /// The methods that this call may call.
    methods: Arc<Methods>,
    /// Shared by the calls that this one makes.
    user: Arc<Mutex<Option<Arc<str>>>>,
    run: Run,
    /// Created when the seed or something random is asked for.
    random: Mutex<Option<RandomStream>>,
    seed: Option<String>,
}

impl Call {
    pub(super) fn new(
        connection: Connection,
        methods: Arc<Methods>,
        user: Option<Arc<str>>,
        run: Run,
        seed: Option<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            connection,
            methods,
            user: Arc::new(Mutex::new(user)),
            run,
            random: Mutex::new(None),
            seed,
        }))
    }

    /// The user who calls, or whom this call has logged in; `None` while nobody is logged in.
    pub fn user_id(&self) -> Option<UserId> {
        self.user().clone().map(UserId::new)
    }

    /// Logs a user in, or with `None::<String>` out. All subscriptions of the client run again for
    /// the new user, and the client is sent the difference. Resolves when that is done.
    ///
    /// Methods that call this are not limited by default. Without a
    /// [`RateLimit`](crate::RateLimit), clients can guess codes as fast as the method answers.
    ///
    /// With [accounts](crate::Builder::accounts), the client also gets the user's own document, if
    /// the store has the user, and `logout` logs it out. It gets no token, and its connection is
    /// not closed when the user is removed from the store. An
    /// [authenticator](crate::Builder::authenticator) can issue tokens.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # use std::time::Duration;
    /// use updraft::RateLimit;
    ///
    /// # async fn owner_of(code: &str) -> Option<String> { None }
    /// async fn login_with_code(call: Call, code: String) -> Result<()> {
    ///     let user = owner_of(&code).await.ok_or(Error::forbidden("Unknown code"))?;
    ///     call.set_user_id(Some(user)).await
    /// }
    ///
    /// async fn logout(call: Call) -> Result<()> {
    ///     call.set_user_id(None::<String>).await
    /// }
    ///
    /// let guesses = RateLimit::failed_methods(["loginWithCode"]).per_address();
    /// let builder = Server::builder()
    ///     .method("loginWithCode", login_with_code)
    ///     .method("logout", logout)
    ///     .rate_limit(guesses.limit(20, Duration::from_secs(60)));
    /// ```
    ///
    /// # Errors
    ///
    /// Internal after [`unblock`](Self::unblock), because another call may run already.
    /// `disconnected` when the client has left before its subscriptions have run again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the user changes all the same, but [`user_id`](Self::user_id) of
    /// this call does not.
    pub async fn set_user_id(&self, user: Option<impl Into<String>>) -> Result<()> {
        let user: Option<Arc<str>> = user.map(|user| user.into().into());
        self.flowing().await;
        let (done, changed) = oneshot::channel();
        let mail = Mail::SetUser(self.0.run, user.clone(), done);
        self.0.connection.send(mail);
        match changed.await {
            Ok(Ok(())) => {
                *self.user() = user;
                Ok(())
            }
            Ok(Err(unblocked)) => Err(Error::internal(unblocked.to_string())),
            Err(_) => Err(Error::disconnected()),
        }
    }

    /// The client's connection.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Lets the client's next message start while this method goes on.
    pub fn unblock(&self) {
        self.0.connection.send(Mail::Unblock(self.0.run));
    }

    /// The seed from which client and server draw the same ids: the client's `randomSeed`, or a new
    /// one if the client sent none.
    pub fn random_seed(&self) -> String {
        self.with_random(|random| random.seed().to_owned())
    }

    /// The next id of a named random sequence, 17 characters.
    ///
    /// The stub of the same method on the client draws the same id. A collection's inserts use the
    /// name `/collection/NAME`.
    pub fn random_id(&self, sequence: &str) -> String {
        self.with_random(|random| random.sequence(sequence).id())
    }

    /// Draws from the call's random stream.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// async fn roll(call: Call) -> Result<Option<char>> {
    ///     Ok(call.with_random(|random| random.sequence("default").choice("123456")))
    /// }
    /// ```
    pub fn with_random<T>(&self, draw: impl FnOnce(&mut RandomStream) -> T) -> T {
        let mut random = self.random();
        let seed = || self.0.seed.clone().unwrap_or_else(ids::random_seed);
        draw(random.get_or_insert_with(|| RandomStream::new(seed())))
    }

    /// Begins a write whose effects the client is to see before it learns that the call is done:
    /// `updated` waits until the guard is dropped, at most 30 s.
    pub fn begin_write(&self) -> WriteGuard {
        self.0.connection.send(Mail::BeginWrite(self.0.run));
        WriteGuard { call: self.clone() }
    }

    /// Starts a task that may go on after the method has returned. Like a method, it runs to its
    /// end whether or not the client is still there. Shutdown waits for it.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.connection.host().spawn(task);
    }

    /// Calls another method as part of this call: with the same user, the same connection, and a
    /// seed derived from this call's.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// async fn outer(call: Call) -> Result<String> {
    ///     call.call("inner", ("a", 1)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// 404 for a name without a method, the error of the method itself, or an internal error when
    /// its result is not a `T`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T> {
        self.flowing().await;
        let methods = &self.0.methods;
        let Some(found) = methods.find(method) else {
            return Err(Error::with(
                ErrorKind::Client,
                WireError::method_not_found(method),
            ));
        };
        let params = match ejson::to_value(&params)? {
            Value::Array(params) => params,
            Value::Null | Value::Undefined => Vec::new(),
            one => vec![one],
        };
        let seed = self.with_random(|random| random.method_seed(method));
        let inner = Self(Arc::new(Inner {
            connection: self.0.connection.clone(),
            methods: methods.clone(),
            user: self.0.user.clone(),
            run: self.0.run,
            random: Mutex::new(None),
            seed: Some(seed),
        }));
        Ok(ejson::from_value(found.call(inner, params).await?)?)
    }

    /// Publishes a message to all who follow the channel, in this process and others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSent`] or [`ErrorKind::OutcomeUnknown`] when the bus fails; 400 for a bad
    /// channel or value.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not have been published.
    pub async fn emit(&self, channel: impl IntoChannel, value: impl Serialize) -> Result<()> {
        self.flowing().await;
        self.0.connection.host().emit(channel, value).await
    }

    /// Publishes a record to a topic, and resolves when the store has it. A method that returns
    /// what this returns tells its client `{position, time, duplicate}`.
    ///
    /// # Errors
    ///
    /// Those of [`Topic::publish`], as a client is told them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the record may or may not be stored.
    pub async fn publish(&self, topic: &Topic, entry: impl Into<Entry>) -> Result<Published> {
        self.flowing().await;
        Ok(topic.publish(entry).await?)
    }

    /// Waits while much output is on its way to the client, as [`Connection::flowing`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn flowing(&self) {
        self.0.connection.flowing().await;
    }

    fn user(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.0.user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, Option<RandomStream>> {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("connection", &self.0.connection)
            .field("run", &self.0.run)
            .finish_non_exhaustive()
    }
}

/// A write for which the `updated` of a call waits, until this guard is dropped.
#[derive(Debug)]
#[must_use = "dropping the guard ends the write"]
pub struct WriteGuard {
    call: Call,
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        self.call.0.connection.send(Mail::EndWrite(self.call.0.run));
    }
}
