//! A server in front of a Meteor app.

use std::sync::Arc;

use updraft_protocol::session::GatewayRules;

use super::Builder;
use crate::base::error::{Error, Result};
use crate::config::Settings;
use crate::gateway::{Gateway, Meteor, Surroundings};
use crate::method::Method;

impl Builder {
    /// Stands in front of a Meteor app: publications and methods that are registered here are
    /// answered here, all others by the app, over a connection of its own for each client. The
    /// clients change nothing.
    ///
    /// The app says who a client's user is, so there can be no [`accounts`](Self::accounts),
    /// [`authenticator`](Self::authenticator) or method for logging in beside it. If the app's
    /// address has a path, DDP and SockJS are found below the same path here.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::Meteor;
    ///
    /// let builder = Server::builder().meteor(Meteor::at("http://127.0.0.1:4000"));
    /// ```
    #[must_use]
    pub fn meteor(mut self, meteor: Meteor) -> Self {
        self.meteor = Some(meteor);
        self
    }

    /// Says that publications of this server publish into a collection, in front of a
    /// [Meteor](Self::meteor) app. Such a collection is this server's alone: documents of it that
    /// come from Meteor are dropped. A publication that adds to any other collection is ended with
    /// an error. The collections of Vent subscriptions need not be named.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # use updraft::Meteor;
    /// let builder = Server::builder()
    ///     .meteor(Meteor::at("http://127.0.0.1:4000"))
    ///     .owns("scores");
    /// ```
    #[must_use]
    pub fn owns(mut self, collection: &str) -> Self {
        self.owned.insert(collection.into());
        self
    }

    /// Refuses what cannot be beside a Meteor app, and sets what its address says.
    pub(super) fn check_meteor(&mut self) -> Result<()> {
        let Some(meteor) = &self.meteor else {
            return match self.owned.iter().next() {
                Some(collection) => Err(Error::configuration(format!(
                    ".owns({collection:?}) means nothing without .meteor(…)"
                ))),
                None => Ok(()),
            };
        };
        let prefix = meteor.prefix()?;
        if self.accounts.is_some() || !self.authenticators.is_empty() {
            return Err(Error::configuration(
                "in front of a Meteor app there can be no .accounts(…) and no .authenticator(…): \
                 the app says who a user is",
            ));
        }
        let rules = rules(meteor, &self.settings);
        let is_login = |name: &str| {
            rules.logins.contains(name)
                || rules.logouts.contains(name)
                || rules.questions.contains_key(name)
        };
        let mut names = self.methods.iter().map(Method::name);
        if let Some(name) = names.find(|name| is_login(name)) {
            return Err(Error::configuration(format!(
                "the method '{name}' logs users in or out, which a Meteor app behind this server \
                 does itself; remove one"
            )));
        }
        let own = &mut self.settings.http.path_prefix;
        if own.is_empty() {
            *own = prefix;
        } else if *own != prefix {
            return Err(Error::configuration(format!(
                "http.path_prefix is '{own}', and the path of the Meteor app '{prefix}': they must \
                 be the same"
            )));
        }
        Ok(())
    }

    /// What sessions must know, if there is a Meteor app.
    pub(super) fn gateway_rules(&self, settings: &Settings) -> Option<GatewayRules> {
        let mut rules = rules(self.meteor.as_ref()?, settings);
        rules.owned = self.owned.clone();
        Some(rules)
    }
}

/// The way to the app.
pub(super) fn gateway(
    meteor: &Meteor,
    settings: &Settings,
    around: Surroundings,
) -> Result<Arc<Gateway>> {
    Gateway::new(meteor, settings.gateway, around).map(Arc::new)
}

fn rules(meteor: &Meteor, settings: &Settings) -> GatewayRules {
    let mut rules = GatewayRules::default();
    let methods = meteor.login_methods().iter();
    rules
        .logins
        .extend(methods.map(|name| name.as_str().into()));
    let questions = meteor.questions().iter();
    let questions =
        questions.map(|(method, question)| (method.as_str().into(), question.as_str().into()));
    rules.questions.extend(questions);
    rules.login_patience = settings.gateway.login_patience;
    rules.change_patience = settings.gateway.change_patience;
    rules.heartbeat_interval = settings.gateway.heartbeat_interval;
    rules.heartbeat_timeout = settings.gateway.heartbeat_timeout;
    rules.local_message = settings.clients.message;
    rules
}
