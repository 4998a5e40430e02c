//! SockJS services: what stands behind a prefix, DDP or messages of the program's own, and the connections of the latter.
//! How frames look and what URLs there are is in `updraft_protocol::sockjs`.

mod connection;
mod options;

pub use connection::SockJsConnection;
pub(crate) use connection::Stream;
pub use options::SockJs;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::base::error::Result;
use crate::handler::{Connection, guard};
use crate::mail::Mail;

/// What answers below one prefix.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) options: SockJs,
    pub(crate) speaks: Speaks,
}

/// What is said on a service's connections.
pub(crate) enum Speaks {
    Ddp,
    /// Whatever a handler of the program makes of the messages.
    Handler(StreamHandler),
}

/// A handler of plain messages.
pub(crate) type StreamHandler =
    Arc<dyn Fn(SockJsConnection) -> BoxFuture<'static, ()> + Send + Sync>;

/// Starts a handler for a new connection, which is closed when it ends.
pub(crate) fn start(service: &Service, stream: &Stream, connection: &Connection) {
    let Speaks::Handler(handler) = &service.speaks else {
        return;
    };
    let handling = handler(SockJsConnection::new(connection.clone(), stream.unread()));
    let handling = async move {
        handling.await;
        Ok(())
    };
    let done = |connection: &Connection, outcome: Result<()>| {
        let code = if outcome.is_ok() { 1000 } else { 1011 };
        connection.send(Mail::CloseWith(code, "".into()));
    };
    let name = service.options.prefix.as_str().into();
    // It ends by itself, when it hears that the client has gone.
    let handling = guard(connection, "service", name, handling, done);
    drop(connection.host().spawn(handling));
}

impl fmt::Debug for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ddp => "Ddp",
            Self::Handler(_) => "Handler",
        })
    }
}
