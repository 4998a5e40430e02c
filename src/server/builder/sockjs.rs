//! SockJS: where it is, what else it serves, and how much of it there may be.

use std::sync::Arc;

use futures_util::FutureExt;

use super::Builder;
use crate::base::error::{Error, Result};
use crate::stream::{Service, SockJs, SockJsConnection, Speaks};

impl Builder {
    /// How DDP is served over SockJS; [`SockJs::meteor`] by default.
    #[must_use]
    pub fn sockjs(mut self, options: SockJs) -> Self {
        self.sockjs = options;
        self
    }

    /// Where SockJS is: below `/sockjs` by default.
    #[must_use]
    pub fn sockjs_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.sockjs = self.sockjs.prefix(prefix);
        self
    }

    /// What stands before all paths of DDP and SockJS, as the path of Meteor's `ROOT_URL`: with `/app` they are
    /// `/app/websocket` and `/app/sockjs`. Nothing by default, and then `/websocket` is found behind any path.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.http.path_prefix = prefix.into();
        self
    }

    /// Serves plain messages over SockJS, apart from DDP. The handler is called for each connection, which is closed when
    /// the handler ends.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::{SockJs, SockJsConnection};
    ///
    /// async fn echo(mut connection: SockJsConnection) {
    ///     while let Some(message) = connection.recv().await {
    ///         connection.send(message);
    ///     }
    /// }
    ///
    /// let builder = Server::builder().sockjs_service(SockJs::at("/echo"), echo);
    /// ```
    #[must_use]
    pub fn sockjs_service<F, Fut>(mut self, options: SockJs, handler: F) -> Self
    where
        F: Fn(SockJsConnection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = move |connection| {
            let handler = handler.clone();
            // Called where a panic in it harms nobody else.
            async move { handler(connection).await }.boxed()
        };
        self.services.push(Service {
            options,
            speaks: Speaks::Handler(Arc::new(handler)),
        });
        self
    }

    /// Sessions that may live on HTTP requests at a time: 10,000 by default. One more is answered with 503.
    #[must_use]
    pub fn polling_limit(mut self, sessions: usize) -> Self {
        self.settings.polling.sessions = sessions;
        self
    }

    /// Sessions that one [client address](crate::Connection::client_address) may have on HTTP
    /// requests: a quarter of [`polling_limit`](Self::polling_limit) by default. With one more, the
    /// oldest of its sessions that has not said `connect` ends; if all have, the new one is
    /// answered with 429.
    ///
    /// Behind a proxy that [`trusted_proxies`](Self::trusted_proxies) does not know everybody is
    /// one address.
    #[must_use]
    pub fn polling_limit_per_address(mut self, sessions: usize) -> Self {
        self.settings.polling.sessions_per_address = Some(sessions);
        self
    }
}

/// Refuses services whose paths are of no use.
pub(super) fn check(ddp: &SockJs, services: &[Service]) -> Result<()> {
    let others = services.iter().map(|service| &service.options);
    let mut seen = Vec::new();
    for options in std::iter::once(ddp).chain(others) {
        if let Some(mistake) = options.mistake() {
            return Err(Error::configuration(mistake));
        }
        let prefix = &options.prefix;
        if seen.contains(&prefix) {
            let mistake = format!("two SockJS services are at '{prefix}'");
            return Err(Error::configuration(mistake));
        }
        seen.push(prefix);
    }
    Ok(())
}
