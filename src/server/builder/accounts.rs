//! What makes the methods and publications of accounts part of a server, and what a stock client's page asks of any.

use std::sync::Arc;

use super::Builder;
use crate::account::{Accounts, Authenticator, Logins, MemoryUsers, nothing};
use crate::base::error::Error;
use crate::handler::Args;
use crate::method::Call;
use crate::publication::Subscription;
use crate::shard::orders::{Orders, Secret};

/// What Meteor's client asks for to learn of a new version of its page. Ready and silent, it never reloads.
const CLIENT_VERSIONS: &str = "meteor_autoupdate_clientVersions";

/// How logins by other services are configured: there are none that a client could configure.
const LOGIN_SERVICES: &str = "meteor.loginServiceConfiguration";

impl Builder {
    /// Switches [accounts](crate::account) on: `login` and its kin, resume tokens, the user's own document.
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

    /// Adds a kind of login. Authenticators are asked in the order of these calls, after resume tokens; the first that
    /// knows a request answers it.
    ///
    /// Without [`accounts`](Self::accounts) there are no stored users, and logins last as long as their connection.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Box::new(authenticator));
        self
    }

    /// Signs the orders of [`Handle::disconnect_user`](crate::Handle::disconnect_user) and
    /// [`Handle::stop_subscriptions`](crate::Handle::stop_subscriptions), and obeys none that is not signed so. Every
    /// process on the bus has the same secret, of 32 bytes or more, and a clock that is right within a minute.
    ///
    /// Without a secret anybody who may publish on the channel `updraft:orders` of that Redis can give orders; no client
    /// can, whatever channels the program lets it choose.
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

    /// Registers what accounts offer to clients.
    pub(super) fn with_accounts(mut self) -> (Self, Option<Arc<Logins>>) {
        self = self.stock_publication(CLIENT_VERSIONS);
        let authenticators = std::mem::take(&mut self.authenticators);
        let users = (!authenticators.is_empty()).then(|| Accounts::new(MemoryUsers::new()));
        let Some(accounts) = self.accounts.take().or(users) else {
            return (self, None);
        };
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

    /// Answers for a publication that stock clients ask for, unless the program does.
    fn stock_publication(self, name: &str) -> Self {
        let is_defined = self.publications.iter().any(|it| it.name() == name);
        if is_defined {
            self
        } else {
            self.publish(name, nothing)
        }
    }
}
