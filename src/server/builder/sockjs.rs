//! SockJS: its options for DDP, and services of the program's own.

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

    /// Serves plain messages over SockJS, apart from DDP. The handler is called for each
    /// connection, and the connection is closed when the handler ends.
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
            // Called inside the future, so that a panic costs only this connection.
            async move { handler(connection).await }.boxed()
        };
        self.services.push(Service {
            options,
            speaks: Speaks::Handler(Arc::new(handler)),
        });
        self
    }
}

/// Refuses services whose paths are not valid, or are taken.
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
