//! SockJS services: what answers behind a prefix, DDP or messages for a handler of the program, and
//! the connections of the latter. Frames and URLs are defined in `updraft_protocol::sockjs`.

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

/// The service behind one prefix.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) options: SockJs,
    pub(crate) speaks: Speaks,
}

/// What the connections of a service carry.
pub(crate) enum Speaks {
    Ddp,
    /// Messages for a handler of the program.
    Handler(StreamHandler),
}

/// A handler of plain messages.
pub(crate) type StreamHandler =
    Arc<dyn Fn(SockJsConnection) -> BoxFuture<'static, ()> + Send + Sync>;

/// Starts the handler for a new connection. The connection is closed when the handler ends.
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
    // It ends by itself when it learns that the client is gone.
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
