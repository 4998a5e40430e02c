//! What a program wants to be told of all clients: that one has connected, has logged in or out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

use super::Connection;

type OnConnection = Box<dyn Fn(&Connection) + Send + Sync>;
type OnUser = Box<dyn Fn(&Connection, &str) + Send + Sync>;

/// Filled by the builder, called by the shards, each list in its order.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) on_connect: Vec<OnConnection>,
    pub(crate) on_login: Vec<OnUser>,
    pub(crate) on_logout: Vec<OnUser>,
}

impl Hooks {
    /// A session has begun.
    pub(crate) fn connected(&self, connection: &Connection) {
        let calls = self.on_connect.iter();
        call_each(connection, calls.map(|f| move || f(connection)));
    }

    /// The user of a session has changed, or is the same again.
    pub(crate) fn user_changed(
        &self,
        connection: &Connection,
        former: Option<&str>,
        user: Option<&str>,
    ) {
        if former == user {
            return;
        }
        if let Some(former) = former {
            let calls = self.on_logout.iter();
            call_each(connection, calls.map(|f| move || f(connection, former)));
        }
        if let Some(user) = user {
            let calls = self.on_login.iter();
            call_each(connection, calls.map(|f| move || f(connection, user)));
        }
    }
}

/// Calls functions of the program, which may start tasks. A panic costs one call.
fn call_each(connection: &Connection, calls: impl ExactSizeIterator<Item = impl FnOnce()>) {
    if calls.len() == 0 {
        return;
    }
    let runtime: &Handle = &connection.host().runtime;
    let _entered = runtime.enter();
    for call in calls {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            let connection = connection.log_id();
            tracing::error!(%connection, "A function that is told of clients panicked.");
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
