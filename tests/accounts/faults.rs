//! Stores that fail, that are slow, and that cannot tell what changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use updraft::account::{
    Accounts, Changes, HashedToken, LoginToken, MemoryUsers, PasswordRecord, TokenKey, TokenOwner,
    User, UserSelector, Users,
};
use updraft::prelude::*;

use crate::authenticators::Tickets;
use crate::common::{Count, Gate, Running, received};
use crate::world::{ALICE, OWN, World, builder, call, closes, log_in, whoami};

#[test]
fn ddp_179_a_store_that_cannot_tell_is_asked() {
    for tells in [Tells::Nothing, Tells::NoMore] {
        let world = World::new();
        let mut store = Store::new(&world);
        store.tells = tells;
        let accounts = Accounts::new(store).poll_interval(Duration::from_millis(20));
        let server = Running::start(builder().accounts(accounts));
        let (mut client, mut other) = (server.client(), server.client());
        log_in(&mut client, "tokA");
        log_in(&mut other, "tokA2");
        world.pull(&server, "tokA");
        client.expect_close(1000, "Normal closure");
        world.users.insert(ALICE, world.alice(2));
        other.expect_text(&format!(
            r#"{{"msg":"changed","collection":"users","id":"{ALICE}","fields":{{"profile":{{"n":2}}}}}}"#
        ));
        assert_eq!(received(&mut other), [""; 0]);
    }
}

#[test]
fn ddp_179_a_token_that_goes_while_its_login_runs() {
    let world = World::new();
    let mut store = Store::new(&world);
    store.tells = Tells::Everything;
    store.found = Some(Gate::new());
    let found = store.found.clone().unwrap();
    let server = Running::start(builder().accounts(Accounts::new(store)));
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"tokA"}]}"#);
    found.await_arrival(&server);
    world.pull(&server, "tokA");
    found.open(1);
    closes(&mut client);
}

#[test]
fn a_read_from_before_a_login_does_not_end_it() {
    let world = World::new();
    let store = Store::new(&world);
    let accounts = Accounts::new(store.clone()).poll_interval(Duration::from_millis(20));
    let server = Running::start(builder().accounts(accounts));
    let mut client = server.client();
    log_in(&mut client, "tokA");
    store.holds_read.store(true, Ordering::Relaxed);
    store.read.await_arrival(&server);
    // The watcher has seen the tokens as they were, and is slow to say so.
    let answer = call(&mut client, "getNewToken", "[]");
    assert_eq!(answer["result"]["id"], ALICE);
    store.read.open(1);
    // The next read, which knows the new token, begins when this one has been used.
    store.holds_read.store(true, Ordering::Relaxed);
    store.read.await_arrival(&server);
    store.read.open(1);
    assert_eq!(whoami(&mut client), ALICE);
    assert_eq!(received(&mut client), [""; 0]);
}

#[test]
fn a_login_that_fails_at_last_leaves_all_as_it_was() {
    let world = World::new();
    let late = |call: Call, request: Value| async move {
        // From here on the user cannot be changed any more.
        call.unblock();
        call.call::<Value>("login", (request,)).await
    };
    let accounts = builder().accounts(Accounts::new(world.users.clone()));
    let server = accounts.authenticator(Tickets::default());
    let server = Running::start(server.method("late", late));
    let mut client = server.client();
    log_in(&mut client, "tokA");
    let before = world.tokens(ALICE);
    for request in [
        format!(r#"[{{"ticket":"{ALICE}","issue":true}}]"#),
        r#"[{"resume":"tokA2"}]"#.to_owned(),
    ] {
        let answer = call(&mut client, "late", &request);
        assert_eq!(answer["error"]["error"], 500, "{answer}");
        assert_eq!(world.tokens(ALICE), before, "no token that nobody knows");
    }
    assert_eq!(whoami(&mut client), ALICE);
    // The login is still bound to its token, and to that one only.
    world.pull(&server, "tokA2");
    assert_eq!(whoami(&mut client), ALICE);
    world.pull(&server, "tokA");
    closes(&mut client);
}

#[test]
fn a_store_that_fails_costs_what_needs_it_and_no_more() {
    let world = World::new();
    let store = Store::new(&world);
    let accounts = Accounts::new(store.clone()).poll_interval(Duration::from_millis(20));
    let server = Running::start(
        builder()
            .accounts(accounts)
            .authenticator(Tickets::default()),
    );
    let mut client = server.client();
    store.fails.store(true, Ordering::Relaxed);
    let answer = call(
        &mut client,
        "login",
        &format!(r#"[{{"ticket":"{ALICE}","issue":true}}]"#),
    );
    assert_eq!(answer["error"]["message"], "Internal server error [500]");
    assert_eq!(whoami(&mut client), json!(null));
    // A login that needs no store goes through; the document comes when it can be read.
    call(
        &mut client,
        "login",
        &format!(r#"[{{"ticket":"{ALICE}"}}]"#),
    );
    assert_eq!(received(&mut client), [""; 0]);
    store.fails.store(false, Ordering::Relaxed);
    client.expect_text(&format!(
        r#"{{"msg":"added","collection":"users","id":"{ALICE}","fields":{OWN}}}"#
    ));
    log_in(&mut client, "tokA");
    store.fails.store(true, Ordering::Relaxed);
    let answer = call(&mut client, "logout", "[]");
    assert_eq!(answer["error"]["error"], 500);
    assert_eq!(whoami(&mut client), ALICE);
    store.fails.store(false, Ordering::Relaxed);
    // The login is still bound to its token.
    world.pull(&server, "tokA");
    closes(&mut client);
}

/// Whether a store tells what changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tells {
    Everything,
    Nothing,
    /// It says that it does, and fails.
    NoMore,
}

/// A store with the faults of one far away.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) users: MemoryUsers,
    pub(crate) tells: Tells,
    /// Where look-ups by token wait with what they have found.
    pub(crate) found: Option<Gate>,
    /// Whether the next read that is not a login's waits with what it has found.
    pub(crate) holds_read: Arc<AtomicBool>,
    pub(crate) read: Gate,
    pub(crate) fails: Arc<AtomicBool>,
    /// How often it has.
    pub(crate) failures: Count,
}

impl Store {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            users: world.users.clone(),
            tells: Tells::Nothing,
            found: None,
            holds_read: Arc::default(),
            read: Gate::new(),
            fails: Arc::default(),
            failures: Count::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            self.failures.add();
            return Err(Error::internal("the store is away"));
        }
        Ok(())
    }
}

impl Users for Store {
    async fn find_by_token(&self, token: TokenKey<'_>) -> Result<Option<TokenOwner>> {
        self.check()?;
        let found = self.users.find_by_token(token).await;
        if let Some(gate) = &self.found {
            gate.pass().await;
        }
        found
    }

    async fn insert_token(&self, user: &str, token: &LoginToken) -> Result<()> {
        self.check()?;
        self.users.insert_token(user, token).await
    }

    async fn remove_token(&self, user: &str, token: TokenKey<'_>) -> Result<()> {
        self.check()?;
        self.users.remove_token(user, token).await
    }

    async fn remove_other_tokens(&self, user: &str, keep: Option<&HashedToken>) -> Result<()> {
        self.users.remove_other_tokens(user, keep).await
    }

    async fn read(&self, ids: &[String], fields: &[String]) -> Result<Vec<User>> {
        self.check()?;
        let found = self.users.read(ids, fields).await;
        if self.holds_read.swap(false, Ordering::Relaxed) {
            self.read.pass().await;
        }
        found
    }

    async fn find_password(&self, user: &UserSelector) -> Result<Option<PasswordRecord>> {
        self.users.find_password(user).await
    }

    async fn watch(&self, changes: &Changes) -> Result<()> {
        match self.tells {
            Tells::Everything => self.users.watch(changes).await,
            Tells::Nothing => Ok(()),
            Tells::NoMore => {
                changes.any();
                Err(Error::internal("the stream has ended"))
            }
        }
    }
}
