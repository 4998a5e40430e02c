//! Logins by password, where the store is slow and the passwords are costly.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::common::{Gate, Running, talk};
use updraft::account::{
    Accounts, HashedToken, LoginToken, MemoryUsers, Password, PasswordRecord, TokenKey, TokenOwner,
    User, UserSelector, Users,
};
use updraft::{Call, Result, Server, ejson};

const LOGIN: &str = r#"-> {"msg":"method","id":"1","method":"login","params":[{"user":{"username":"ada"},"password":"secret"}]}"#;
const WRONG: &str = r#"-> {"msg":"method","id":"1","method":"login","params":[{"user":{"username":"ada"},"password":"wrong"}]}"#;
const UNKNOWN: &str = r#"-> {"msg":"method","id":"1","method":"login","params":[{"user":{"username":"eve"},"password":"secret"}]}"#;
const UPDATED: &str = r#"<- {"msg":"updated","methods":["1"]}"#;
const REFUSED: &str = r#"
    <- {"msg":"updated","methods":["1"]}
    <- {"msg":"result","id":"1","error":{"isClientSafe":true,"error":403,"reason":"Something went wrong. Please check your credentials.","message":"Something went wrong. Please check your credentials. [403]","errorType":"Meteor.Error"}}"#;

/// A store in which looking for a password waits at a gate.
#[derive(Debug)]
struct Gated(MemoryUsers, Gate);

impl Users for Gated {
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
        self.1.pass().await;
        self.0.find_password(user).await
    }
}

/// Ada, whose password is `secret`.
fn users(rounds: u32) -> MemoryUsers {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(b"secret");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let bcrypt = bcrypt::hash(digest, rounds).unwrap();
    let users = MemoryUsers::new();
    users.insert(
        "ada",
        ejson!({ "username": "ada", "services": { "password": { "bcrypt": bcrypt } } }),
    );
    users
}

async fn hello(_: Call) -> Result<&'static str> {
    Ok("hello")
}

#[test]
fn row_062_deviation_038_logins_that_find_no_place_are_refused() {
    let gate = Gate::new();
    let password = Password::new().rounds(4);
    let builder = Server::builder()
        .accounts(Accounts::new(Gated(users(4), gate.clone())).own_fields([""; 0]))
        .authenticator(password.at_once(NonZeroUsize::MIN, 1));
    let server = Running::start(builder);
    let [mut first, mut second, mut third] = [(); 3].map(|()| server.client());
    for client in [&mut first, &mut second] {
        talk(client, LOGIN);
        gate.await_arrival(&server);
    }
    talk(
        &mut third,
        &format!(
            r#"{LOGIN}
            {UPDATED}
            <- {{"msg":"result","id":"1","error":{{"isClientSafe":true,"error":503,"reason":"Too many logins at once",…"#
        ),
    );
    // The places are given back, and the second has its turn after the first.
    gate.open(3);
    for client in [&mut first, &mut second] {
        await_login(client);
    }
    talk(&mut third, LOGIN);
    await_login(&mut third);
}

#[test]
fn row_062_passwords_are_hashed_off_the_async_threads() {
    let builder = Server::builder()
        .accounts(Accounts::new(users(4)))
        // More than the runtime of these tests has threads; the work of each takes a second or so.
        .authenticator(
            Password::new()
                .rounds(10)
                .at_once(NonZeroUsize::new(3).unwrap(), 0),
        )
        .method("hello", hello);
    let server = Running::start(builder);
    let mut clients = [(); 3].map(|()| server.client());
    for client in &mut clients {
        // Nobody is known by that name, so this takes the configured rounds.
        talk(client, UNKNOWN);
    }
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"method","id":"1","method":"hello","params":[]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":"hello"}"#,
    );
    for client in &mut clients {
        assert_eq!(client.receive(Duration::from_millis(1)), None);
    }
    for client in &mut clients {
        // However busy the machine is.
        let updated = client.receive(Duration::from_secs(60));
        let result = client.receive(Duration::from_secs(60));
        let results = [updated, result].map(|frame| frame.expect("an answer").to_string());
        assert!(results[1].contains("check your credentials"), "{results:?}");
    }
}

#[test]
fn nobody_learns_whether_the_user_or_the_password_is_wrong() {
    let users = users(4);
    let spoiled = "é".repeat(30);
    for (id, bcrypt) in [
        ("spoiled", ejson!(spoiled)),
        ("number", ejson!(5)),
        ("none", ejson!(null)),
    ] {
        let services = ejson!({ "password": { "bcrypt": bcrypt } });
        users.insert(id, ejson!({ "username": id, "services": services }));
    }
    let builder = Server::builder()
        .accounts(Accounts::new(users))
        .authenticator(Password::new().rounds(4));
    let server = Running::start(builder);
    for login in [WRONG, UNKNOWN] {
        talk(&mut server.client(), &format!("{login}{REFUSED}"));
    }
    for name in ["spoiled", "number", "none"] {
        let login = UNKNOWN.replace("eve", name);
        talk(&mut server.client(), &format!("{login}{REFUSED}"));
    }
    let mut client = server.client();
    talk(&mut client, LOGIN);
    await_login(&mut client);
}

fn await_login(client: &mut updraft_test_support::client::Client) {
    loop {
        let frame = client.expect_any_text();
        if frame.starts_with(r#"{"msg":"result""#) {
            let granted = r#"{"msg":"result","id":"1","result":{"id":"ada","token":""#;
            assert!(frame.starts_with(granted), "{frame}");
            assert!(frame.ends_with(r#","type":"password"}}"#), "{frame}");
            return;
        }
    }
}
