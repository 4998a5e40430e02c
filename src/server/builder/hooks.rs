//! Functions of the program that are told of clients.

use super::Builder;
use crate::handler::Connection;

impl Builder {
    /// Calls `f` for each DDP client, once it has connected: Meteor's `onConnection`. What is to
    /// happen when it has left is for [`Connection::on_close`]. May be called several times, as
    /// [`on_login`](Self::on_login) and [`on_logout`](Self::on_logout).
    ///
    /// All three are called where the sockets are, before anything that the client has asked for is
    /// begun, and in the order in which things happen to that client. They must not block; they may
    /// start tasks, which run on the runtime that awaits `serve`. A client that resumes its session
    /// is the connection that it was.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let present = Arc::new(AtomicUsize::new(0));
    /// let builder = Server::builder().on_connect(move |connection| {
    ///     present.fetch_add(1, Ordering::Relaxed);
    ///     let present = present.clone();
    ///     connection.on_close(move || drop(present.fetch_sub(1, Ordering::Relaxed)));
    /// });
    /// ```
    #[must_use]
    pub fn on_connect(mut self, f: impl Fn(&Connection) + Send + Sync + 'static) -> Self {
        self.hooks.on_connect.push(Box::new(f));
        self
    }

    /// Calls `f` when a user logs in, with the user's id: whenever
    /// [`Call::set_user_id`](crate::Call::set_user_id) makes somebody the user of a connection who
    /// was not before, which is what `login` does. See [`on_connect`](Self::on_connect).
    #[must_use]
    pub fn on_login(mut self, f: impl Fn(&Connection, &str) + Send + Sync + 'static) -> Self {
        self.hooks.on_login.push(Box::new(f));
        self
    }

    /// Calls `f` when a user logs out, with the id of who it was; or when somebody else logs in on
    /// that connection, before that is told. Not when the connection ends. See
    /// [`on_connect`](Self::on_connect).
    #[must_use]
    pub fn on_logout(mut self, f: impl Fn(&Connection, &str) + Send + Sync + 'static) -> Self {
        self.hooks.on_logout.push(Box::new(f));
        self
    }
}
