//! The store of a server's users, with its type erased.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::token::{HashedToken, LoginToken, TokenKey};
use super::users::{Changes, PasswordRecord, TokenOwner, User, UserSelector, Users};
use crate::base::error::Result;

/// The store of a server's users. Clones are the same store.
#[derive(Clone, Debug)]
pub struct UserStore(Arc<dyn AnyUsers>);

impl UserStore {
    pub(super) fn new(users: impl Users) -> Self {
        Self(Arc::new(users))
    }
}

impl Users for UserStore {
    async fn find_by_token(&self, token: TokenKey<'_>) -> Result<Option<TokenOwner>> {
        self.0.find_by_token(token).await
    }

    async fn insert_token(&self, user: &str, token: &LoginToken) -> Result<()> {
        self.0.insert_token(user, token).await
    }

    async fn remove_token(&self, user: &str, token: TokenKey<'_>) -> Result<()> {
        self.0.remove_token(user, token).await
    }

    async fn remove_other_tokens(&self, user: &str, keep: Option<&HashedToken>) -> Result<()> {
        self.0.remove_other_tokens(user, keep).await
    }

    async fn read(&self, ids: &[String], fields: &[String]) -> Result<Vec<User>> {
        self.0.read(ids, fields).await
    }

    async fn find_password(&self, user: &UserSelector) -> Result<Option<PasswordRecord>> {
        self.0.find_password(user).await
    }

    async fn watch(&self, changes: &Changes) -> Result<()> {
        self.0.watch(changes).await
    }
}

/// [`Users`] of any type.
trait AnyUsers: std::fmt::Debug + Send + Sync {
    fn find_by_token<'a>(
        &'a self,
        token: TokenKey<'a>,
    ) -> BoxFuture<'a, Result<Option<TokenOwner>>>;

    fn insert_token<'a>(
        &'a self,
        user: &'a str,
        token: &'a LoginToken,
    ) -> BoxFuture<'a, Result<()>>;

    fn remove_token<'a>(&'a self, user: &'a str, token: TokenKey<'a>) -> BoxFuture<'a, Result<()>>;

    fn remove_other_tokens<'a>(
        &'a self,
        user: &'a str,
        keep: Option<&'a HashedToken>,
    ) -> BoxFuture<'a, Result<()>>;

    fn read<'a>(
        &'a self,
        ids: &'a [String],
        fields: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<User>>>;

    fn find_password<'a>(
        &'a self,
        user: &'a UserSelector,
    ) -> BoxFuture<'a, Result<Option<PasswordRecord>>>;

    fn watch<'a>(&'a self, changes: &'a Changes) -> BoxFuture<'a, Result<()>>;
}

impl<U: Users> AnyUsers for U {
    fn find_by_token<'a>(
        &'a self,
        token: TokenKey<'a>,
    ) -> BoxFuture<'a, Result<Option<TokenOwner>>> {
        Box::pin(Users::find_by_token(self, token))
    }

    fn insert_token<'a>(
        &'a self,
        user: &'a str,
        token: &'a LoginToken,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(Users::insert_token(self, user, token))
    }

    fn remove_token<'a>(&'a self, user: &'a str, token: TokenKey<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(Users::remove_token(self, user, token))
    }

    fn remove_other_tokens<'a>(
        &'a self,
        user: &'a str,
        keep: Option<&'a HashedToken>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(Users::remove_other_tokens(self, user, keep))
    }

    fn read<'a>(
        &'a self,
        ids: &'a [String],
        fields: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<User>>> {
        Box::pin(Users::read(self, ids, fields))
    }

    fn find_password<'a>(
        &'a self,
        user: &'a UserSelector,
    ) -> BoxFuture<'a, Result<Option<PasswordRecord>>> {
        Box::pin(Users::find_password(self, user))
    }

    fn watch<'a>(&'a self, changes: &'a Changes) -> BoxFuture<'a, Result<()>> {
        Box::pin(Users::watch(self, changes))
    }
}
