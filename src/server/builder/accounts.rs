//! Registers the methods and publications of accounts, and the publications that every stock client
//! subscribes to.

use std::sync::Arc;

use super::Builder;
use crate::account::{Accounts, Authenticator, Logins, MemoryUsers, nothing};
use crate::base::error::Error;
use crate::handler::Args;
use crate::method::{Call, Method};
use crate::publication::Subscription;
use crate::shard::orders::{Orders, Secret};

/// By this publication Meteor's client learns of a new version of its page. It is ready and silent,
/// so the client never reloads.
const CLIENT_VERSIONS: &str = "meteor_autoupdate_clientVersions";

/// By this publication clients learn how logins by other services are configured. There are none.
const LOGIN_SERVICES: &str = "meteor.loginServiceConfiguration";

/// The methods of accounts.
const METHODS: [&str; 5] = [
    "login",
    "logout",
    "getNewToken",
    "removeOtherTokens",
    "configureLoginService",
];

impl Builder {
    /// Switches [accounts](crate::account) on: `login`, `logout` and their like, resume tokens, the
    /// user's own document.
    ///
    /// ```
    /// # use updraft::account::{Accounts, MemoryUsers};
    /// # use updraft::prelude::*;
    /// let accounts = Accounts::new(MemoryUsers::new()).login_expiration(None);
    /// let builder = Server::builder().accounts(accounts);
    /// ```
    #[must_use]
    pub fn accounts(mut self, accounts: Accounts) -> Self {
        self.accounts = Some(accounts);
        self
    }

    /// Adds a kind of login. Authenticators are asked in the order of these calls, after resume
    /// tokens; the first that knows a request answers it.
    ///
    /// Without [`accounts`](Self::accounts) there are no stored users, and a login lasts as long as
    /// its session.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Box::new(authenticator));
        self
    }

    /// Signs the orders of [`Handle::disconnect_user`](crate::Handle::disconnect_user) and
    /// [`Handle::stop_subscriptions`](crate::Handle::stop_subscriptions), and refuses orders that
    /// are not signed with this secret. Every process on the bus needs the same secret, of 32 bytes
    /// or more, and a clock that is right within a minute.
    ///
    /// Without a secret, every program that may publish on the channel `updraft:orders` of that
    /// Redis can give orders. No client can, whatever channels the program lets it choose.
    #[must_use]
    pub fn orders_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        match Secret::new(secret.as_ref()) {
            Some(secret) => self.orders = Orders::signed(secret),
            None => {
                let text = "the secret for orders is shorter than 32 bytes";
                self.mistake
                    .get_or_insert_with(|| Error::configuration(text));
            }
        }
        self
    }

    /// Registers the methods and publications of accounts.
    ///
    /// In front of a Meteor app there are none: all of it is the app's.
    pub(super) fn with_accounts(mut self) -> (Self, Option<Arc<Logins>>) {
        if self.meteor.is_some() {
            return (self, None);
        }
        self = self.stock_publication(CLIENT_VERSIONS);
        let authenticators = std::mem::take(&mut self.authenticators);
        let users = (!authenticators.is_empty()).then(|| Accounts::new(MemoryUsers::new()));
        let switched_on_by = match &self.accounts {
            Some(_) => ".accounts(…)",
            None => ".authenticator(…)",
        };
        let Some(accounts) = self.accounts.take().or(users) else {
            return (self, None);
        };
        self.refuse_methods_of_accounts(switched_on_by);
        let logins = Arc::new(Logins::new(accounts, authenticators));
        let it = [(); 5].map(|()| logins.clone());
        let [login, logout, new_token, remove_others, own_document] = it;
        let server = self
            .method("login", move |call: Call, params: Args| {
                login.clone().login(call, params)
            })
            .method("logout", move |call: Call| logout.clone().logout(call))
            .method("getNewToken", move |call: Call| {
                new_token.clone().get_new_token(call)
            })
            .method("removeOtherTokens", move |call: Call| {
                remove_others.clone().remove_other_tokens(call)
            })
            .method("configureLoginService", Logins::configure_login_service)
            .publish_universal(move |subscription: Subscription| {
                own_document.clone().own_document(subscription)
            })
            .stock_publication(LOGIN_SERVICES);
        (server, Some(logins))
    }

    /// Notes as a mistake that the program has a method which accounts have too.
    fn refuse_methods_of_accounts(&mut self, switched_on_by: &str) {
        let mut names = self.methods.iter().map(Method::name);
        if let Some(name) = names.find(|name| METHODS.contains(name)) {
            let text = format!(
                "the method '{name}' is defined twice: by the program and by {switched_on_by}, \
                 which defines it itself; remove one"
            );
            self.mistake
                .get_or_insert_with(|| Error::configuration(text));
        }
    }

    /// Registers a publication that stock clients ask for, unless the program has registered it.
    fn stock_publication(self, name: &str) -> Self {
        let is_defined = self.publications.iter().any(|it| it.name() == name);
        if is_defined {
            self
        } else {
            self.publish(name, nothing)
        }
    }
}
