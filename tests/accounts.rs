//! Accounts, as a stock client uses them, over real sockets: logging in and out, tokens and their ends, the user's own
//! document.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use common::{Gate, Running, eventually_within, received, talk};
use futures_util::future::BoxFuture;
use serde_json::json;
use updraft::account::{
    Accounts, Authenticator, Changes, HashedToken, Login, LoginRequest, LoginToken, MemoryUsers,
    PasswordRecord, Token, TokenKey, TokenOwner, User, UserSelector, Users,
};
use updraft::prelude::*;
use updraft::{Builder, Server};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::process::Example;
use updraft_test_support::transcript::Received;

const ALICE: &str = "alice0000000000aa";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store with Alice, and a server of accounts that is told of changes.
struct World {
    users: MemoryUsers,
    now: SystemTime,
}

impl World {
    fn new() -> Self {
        let (users, now) = (MemoryUsers::new(), SystemTime::now());
        let world = Self { users, now };
        world.users.insert(ALICE, world.alice(1));
        world
    }

    fn alice(&self, n: i32) -> Value {
        ejson!({
            "username": "alice",
            "emails": [{ "address": "a@example.com", "verified": true }],
            "profile": { "n": n },
            "roles": ["admin"],
            "services": {
                "password": { "bcrypt": "secret" },
                "resume": { "loginTokens": [
                    stored("tokA", self.now),
                    stored("tokA2", self.now),
                    stored("tokExpired", self.now - 91 * DAY),
                ] },
            },
        })
    }

    fn server(&self) -> Running {
        Running::start(builder().accounts(Accounts::new(self.users.clone())))
    }

    /// When a token expires that was issued now.
    fn expiry(&self) -> i64 {
        millis(self.now + 90 * DAY)
    }

    fn tokens(&self, user: &str) -> Vec<Value> {
        let document = Value::Object(self.users.get(user).unwrap());
        let resume = document.get("services").and_then(|it| it.get("resume"));
        let tokens = resume.and_then(|it| it.get("loginTokens")?.as_array());
        tokens.unwrap().to_vec()
    }

    fn pull(&self, server: &Running, token: &str) {
        let hashed = Token::new(token).hashed();
        let pulled = self.users.remove_token(ALICE, TokenKey::Hashed(&hashed));
        server.wait(pulled).unwrap();
    }
}

fn stored(token: &str, when: SystemTime) -> Value {
    ejson!({
        "hashedToken": Token::new(token).hashed().as_str(),
        "when": Date::from(when),
        "extra": "kept",
    })
}

fn millis(time: SystemTime) -> i64 {
    Date::from(time).millis().unwrap()
}

/// What all servers here have besides accounts.
fn builder() -> Builder {
    Server::builder()
        .publish("whose", async |subscription: Subscription| {
            let user = subscription.user_id();
            subscription.added("whose", "x", ejson!({ "uid": user }));
            Ok::<_, Error>(())
        })
        .publish("silent", async |_: Subscription| Ok::<_, Error>(()))
        .method("whoami", |call: Call| async move {
            Ok::<_, Error>(call.user_id())
        })
}

/// Calls a method and answers with the message `result`; what comes before it is dropped.
#[track_caller]
fn call(client: &mut Client, method: &str, params: &str) -> serde_json::Value {
    let id = format!("{method}-call");
    client.send_text(&format!(
        r#"{{"msg":"method","id":"{id}","method":"{method}","params":{params}}}"#
    ));
    loop {
        let message: serde_json::Value = serde_json::from_str(&client.expect_any_text()).unwrap();
        if message["msg"] == "result" && message["id"] == *id {
            return message;
        }
    }
}

#[track_caller]
fn log_in(client: &mut Client, token: &str) {
    let answer = call(client, "login", &format!(r#"[{{"resume":"{token}"}}]"#));
    assert_eq!(answer["result"]["token"], token, "{answer}");
}

#[track_caller]
fn whoami(client: &mut Client) -> serde_json::Value {
    call(client, "whoami", "[]")["result"].clone()
}

/// Whatever still comes, and then the end, with 1000.
#[track_caller]
fn closes(client: &mut Client) {
    loop {
        match client.receive(PATIENCE) {
            Some(Received::Text(_)) => {}
            Some(Received::Close { code: 1000, .. }) => return,
            other => panic!("expected the end, got {other:?}"),
        }
    }
}

fn error(code: &str, reason: &str) -> String {
    let number = code.parse::<u16>().is_ok();
    let quoted = if number {
        code.to_owned()
    } else {
        format!("\"{code}\"")
    };
    format!(
        r#"{{"isClientSafe":true,"error":{quoted},"reason":"{reason}","message":"{reason} [{code}]","errorType":"Meteor.Error"}}"#
    )
}

const OWN: &str = r#"{"username":"alice","emails":[{"address":"a@example.com","verified":true}],"profile":{"n":1}}"#;

#[test]
fn ddp_166_180_login_with_a_stored_token() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"sub","id":"s","name":"whose"}}
            <- {{"msg":"added","collection":"whose","id":"x","fields":{{"uid":null}}}}
            <- {{"msg":"ready","subs":["s"]}}
            -> {{"msg":"method","id":"1","method":"login","params":[{{"resume":"tokA"}}]}}
            <- {{"msg":"changed","collection":"whose","id":"x","fields":{{"uid":"{ALICE}"}}}}
            <- {{"msg":"added","collection":"users","id":"{ALICE}","fields":{OWN}}}
            <- {{"msg":"ready","subs":["s"]}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1","result":{{"id":"{ALICE}","token":"tokA","tokenExpires":{{"$date":{}}},"type":"resume"}}}}
            -> {{"msg":"method","id":"2","method":"whoami"}}
            <- {{"msg":"updated","methods":["2"]}}
            <- {{"msg":"result","id":"2","result":"{ALICE}"}}
            -- silence
            "#,
            world.expiry()
        ),
    );
    assert_eq!(server.stats().logins, 1);
}

#[test]
fn ddp_167_168_169_170_row_063_a_refused_login_changes_nothing() {
    let world = World::new();
    let server = world.server();
    let logged_out = error(
        "403",
        "You've been logged out by the server. Please log in again.",
    );
    let expired = error("403", "Your session has expired. Please log in again.");
    let unfit = error("400", "Match failed");
    let unknown = error("400", "Unrecognized options for login request");
    let (mut nobody, mut alice) = (server.client(), server.client());
    log_in(&mut alice, "tokA2");
    for (params, refusal) in [
        (r#"[{"resume":"foreign"}]"#, &logged_out),
        // The stored hash is no token.
        (
            r#"[{"resume":"3dgk6p1oqWpm8Uv3KWPdsHak4/SZa0P75V/afq8G4HU="}]"#,
            &logged_out,
        ),
        (r#"[{"resume":"tokExpired"}]"#, &expired),
        ("[]", &unfit),
        ("[null]", &unfit),
        (r#"["x"]"#, &unfit),
        ("[[]]", &unfit),
        (r#"[{"resume":5}]"#, &unfit),
        (r#"[{"resume":{"$ne":""}}]"#, &unfit),
        ("[{}]", &unknown),
        (r#"[{"resume":""}]"#, &unknown),
        (r#"[{"password":"x","user":{"id":"y"}}]"#, &unknown),
    ] {
        for client in [&mut nobody, &mut alice] {
            talk(
                client,
                &format!(
                    r#"
                    -> {{"msg":"method","id":"1","method":"login","params":{params}}}
                    <- {{"msg":"updated","methods":["1"]}}
                    <- {{"msg":"result","id":"1","error":{refusal}}}
                    "#
                ),
            );
        }
    }
    assert_eq!(whoami(&mut nobody), json!(null));
    assert_eq!(whoami(&mut alice), ALICE);
    assert_eq!(received(&mut nobody), [""; 0]);
}

#[test]
fn ddp_171_a_token_in_clear_becomes_a_hashed_one() {
    let world = World::new();
    let when = millis(world.now);
    // As numbers they are just as good.
    world.users.insert(
        "old",
        ejson!({ "services": { "resume": { "loginTokens": [
            { "when": when, "token": "plainTok", "device": "phone" },
            { "when": when, "token": "otherTok" },
        ] } } }),
    );
    let server = world.server();
    let mut client = server.client();
    log_in(&mut client, "plainTok");
    assert_eq!(whoami(&mut client), "old");
    let hashed = Token::new("plainTok").hashed();
    assert_eq!(
        world.tokens("old"),
        [
            ejson!({ "when": when, "token": "otherTok" }),
            ejson!({ "when": Date::from_millis(when as f64), "hashedToken": hashed.as_str() }),
        ]
    );
    // Neither is gone as far as the watcher is concerned.
    log_in(&mut server.client(), "plainTok");
    assert_eq!(whoami(&mut client), "old");
}

#[test]
fn ddp_174_175_logout() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"0","method":"logout"}
        <- {"msg":"updated","methods":["0"]}
        <- {"msg":"result","id":"0"}
        -> {"msg":"sub","id":"s","name":"silent"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    log_in(&mut client, "tokA");
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"logout"}}
            <- {{"msg":"removed","collection":"users","id":"{ALICE}"}}
            <- {{"msg":"ready","subs":["s"]}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1"}}
            -> {{"msg":"method","id":"2","method":"login","params":[{{"resume":"tokA"}}]}}
            <- {{"msg":"updated","methods":["2"]}}
            <- {{"msg":"result","id":"2","error":{}}}
            -- silence
            "#,
            error(
                "403",
                "You've been logged out by the server. Please log in again."
            )
        ),
    );
    assert_eq!(whoami(&mut client), json!(null));
    assert_eq!(world.tokens(ALICE).len(), 2);
    // Logging in again and again leaves as much behind as doing it once.
    log_in(&mut client, "tokA2");
    assert_eq!(server.stats().logins, 1);
}

#[test]
fn ddp_176_177_178_new_tokens_for_old() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    let refusal = r#"{"isClientSafe":true,"error":"You are not logged in.","message":"[You are not logged in.]","errorType":"Meteor.Error"}"#;
    for method in ["getNewToken", "removeOtherTokens"] {
        talk(
            &mut client,
            &format!(
                r#"
                -> {{"msg":"method","id":"1","method":"{method}"}}
                <- {{"msg":"updated","methods":["1"]}}
                <- {{"msg":"result","id":"1","error":{refusal}}}
                "#
            ),
        );
    }
    let mut other = server.client();
    log_in(&mut other, "tokA2");
    log_in(&mut client, "tokA");
    client.send_text(r#"{"msg":"method","id":"2","method":"getNewToken"}"#);
    client.expect_text(r#"{"msg":"updated","methods":["2"]}"#);
    let answer = client.expect_any_text();
    let beginning = format!(r#"{{"msg":"result","id":"2","result":{{"id":"{ALICE}","token":""#);
    let rest = answer.strip_prefix(&beginning).unwrap();
    let (token, rest) = rest.split_once('"').unwrap();
    assert_eq!(token.len(), 43);
    let expected = format!(r#","tokenExpires":{{"$date":{}}}}}}}"#, world.expiry());
    assert_eq!(rest, expected);
    // The old one stays until the client says so.
    assert_eq!(world.tokens(ALICE).len(), 4);
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"3","method":"removeOtherTokens"}
        <- {"msg":"updated","methods":["3"]}
        <- {"msg":"result","id":"3"}
        "#,
    );
    other.expect_close(1000, "Normal closure");
    let [left] = &world.tokens(ALICE)[..] else {
        panic!("{:?}", world.tokens(ALICE));
    };
    let hashed = Token::new(token).hashed();
    assert_eq!(left.get("hashedToken"), Some(&hashed.as_str().into()));
    assert_eq!(whoami(&mut client), ALICE);
    log_in(&mut server.client(), token);
}

#[test]
fn get_new_token_needs_the_old_one() {
    let world = World::new();
    let tickets = Tickets::default();
    let server = builder().accounts(Accounts::new(world.users.clone()).poll_interval(PATIENCE));
    let server = Running::start(server.authenticator(tickets));
    let mut client = server.client();
    let answer = call(
        &mut client,
        "login",
        &format!(r#"[{{"ticket":"{ALICE}"}}]"#),
    );
    assert_eq!(answer["result"], json!({ "id": ALICE, "type": "ticket" }));
    let answer = call(&mut client, "getNewToken", "[]");
    assert_eq!(answer["error"]["error"], "You have been logged out.");
    // Somebody without a token keeps none.
    call(&mut client, "removeOtherTokens", "[]");
    assert!(world.tokens(ALICE).is_empty());
    assert_eq!(whoami(&mut client), ALICE);
}

#[test]
fn ddp_179_a_token_taken_away_closes_its_connections() {
    let world = World::new();
    let server = world.server();
    let mut clients = [server.client(), server.client(), server.client()];
    let [one, two, other] = &mut clients;
    log_in(one, "tokA");
    log_in(two, "tokA");
    log_in(other, "tokA2");
    world.pull(&server, "tokA");
    one.expect_close(1000, "Normal closure");
    two.expect_close(1000, "Normal closure");
    assert_eq!(whoami(other), ALICE);
    world.users.remove(ALICE);
    closes(other);
    drop(clients);
    assert!(eventually_within(PATIENCE, || server.stats().logins == 0));
}

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
fn a_login_ends_when_its_token_expires() {
    let world = World::new();
    // Half a second is left of it.
    let lifetime = Duration::from_millis(500) + world.now.elapsed().unwrap();
    let accounts = Accounts::new(world.users.clone()).login_expiration(Some(lifetime));
    let server = Running::start(builder().accounts(accounts));
    let mut client = server.client();
    let answer = call(&mut client, "login", r#"[{"resume":"tokA"}]"#);
    // Under load the login itself may come too late, and then it is refused as expired.
    if answer.get("error").is_none() {
        closes(&mut client);
    }
    assert!(eventually_within(PATIENCE, || world.now.elapsed().unwrap() > lifetime));
    let answer = call(&mut server.client(), "login", r#"[{"resume":"tokA2"}]"#);
    assert_eq!(
        answer["error"]["reason"],
        "Your session has expired. Please log in again."
    );
    let accounts = Accounts::new(world.users.clone()).login_expiration(None);
    let server = Running::start(builder().accounts(accounts));
    log_in(&mut server.client(), "tokExpired");
}

#[test]
fn ddp_181_a_new_session_is_anonymous() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    log_in(&mut client, "tokA");
    client.close();
    let mut client = server.client();
    assert_eq!(whoami(&mut client), json!(null));
    log_in(&mut client, "tokA");
    assert_eq!(whoami(&mut client), ALICE);
}

#[test]
fn one_user_after_another_on_one_connection() {
    let world = World::new();
    let tokens = [stored("tokB", world.now)];
    world.users.insert(
        "bob",
        ejson!({ "username": "bob", "services": { "resume": { "loginTokens": tokens } } }),
    );
    let server = world.server();
    let mut client = server.client();
    log_in(&mut client, "tokA");
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"login","params":[{{"resume":"tokB"}}]}}
            <- {{"msg":"removed","collection":"users","id":"{ALICE}"}}
            <- {{"msg":"added","collection":"users","id":"bob","fields":{{"username":"bob"}}}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1","result":{{"id":"bob","token":"tokB",…
            "#
        ),
    );
    // What happens to Alice is nothing to this connection any more.
    world.users.remove(ALICE);
    assert_eq!(received(&mut client), [""; 0]);
    assert_eq!(whoami(&mut client), "bob");
}

#[test]
fn logins_sent_at_once_happen_one_after_the_other() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    for (id, method, params) in [
        ("1", "login", r#"[{"resume":"tokA"}]"#),
        ("2", "whoami", "[]"),
        ("3", "logout", "[]"),
        ("4", "login", r#"[{"resume":"tokA"}]"#),
        ("5", "login", r#"[{"resume":"tokA2"}]"#),
        ("6", "whoami", "[]"),
    ] {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"{id}","method":"{method}","params":{params}}}"#
        ));
    }
    let mut results = Vec::new();
    while results.len() < 6 {
        let message: serde_json::Value = serde_json::from_str(&client.expect_any_text()).unwrap();
        if message["msg"] == "result" {
            results.push(message);
        }
    }
    let ids: Vec<&str> = results.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(results[1]["result"], ALICE);
    assert_eq!(results[3]["error"]["error"], 403);
    assert_eq!(results[5]["result"], ALICE);
}

#[test]
fn ddp_180_the_own_document_keeps_up() {
    let world = World::new();
    let accounts = Accounts::new(world.users.clone());
    let accounts = accounts.own_fields(["profile", "services.password.set", "status"]);
    let server = Running::start(builder().accounts(accounts));
    let mut client = server.client();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"login","params":[{{"resume":"tokA"}}]}}
            <- {{"msg":"added","collection":"users","id":"{ALICE}","fields":{{"profile":{{"n":1}},"services":{{"password":{{}}}}}}}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result",…
            "#
        ),
    );
    let mut document = world.alice(2);
    let members = document.as_object_mut().unwrap();
    members.insert("status", "away");
    world.users.insert(ALICE, document.clone());
    client.expect_text(&format!(
        r#"{{"msg":"changed","collection":"users","id":"{ALICE}","fields":{{"profile":{{"n":2}},"status":"away"}}}}"#
    ));
    document.as_object_mut().unwrap().remove("profile");
    world.users.insert(ALICE, document);
    client.expect_text(&format!(
        r#"{{"msg":"changed","collection":"users","id":"{ALICE}","cleared":["profile"]}}"#
    ));
    world.users.insert(ALICE, ejson!({}));
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
    let answer = call(&mut client, "login", r#"[{"resume":"tokA"}]"#);
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

#[test]
fn authenticators_are_asked_in_their_order() {
    let world = World::new();
    let accounts = Accounts::new(world.users.clone());
    let second = Tickets {
        kind: "never asked",
        ..Tickets::default()
    };
    let server = builder()
        .accounts(accounts)
        .authenticator(Tickets::default());
    let server = Running::start(server.authenticator(second));
    let mut client = server.client();
    let answer = call(
        &mut client,
        "login",
        &format!(r#"[{{"ticket":"{ALICE}","issue":true,"seat":7}}]"#),
    );
    let token = answer["result"]["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    let keys: Vec<&str> = answer["result"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys.len(), 5);
    assert_eq!(answer["result"]["type"], "ticket");
    assert_eq!(answer["result"]["seat"], 7);
    // Resume tokens come first.
    let both = format!(r#"[{{"ticket":"{ALICE}","resume":"tokA"}}]"#);
    assert_eq!(
        call(&mut client, "login", &both)["result"]["type"],
        "resume"
    );
    let refused = call(&mut client, "login", r#"[{"ticket":"nobody"}]"#);
    assert_eq!(refused["error"]["reason"], "Not a valid ticket");
    let panicked = call(&mut client, "login", r#"[{"ticket":"panic"}]"#);
    assert_eq!(panicked["error"]["error"], 500);
    assert_eq!(whoami(&mut client), ALICE);
    log_in(&mut server.client(), &token);
}

#[test]
fn a_login_without_a_token_ends_when_it_says() {
    let server = Running::start(builder().authenticator(Tickets::default()));
    let mut client = server.client();
    let until = millis(SystemTime::now() + Duration::from_millis(300));
    let answer = call(
        &mut client,
        "login",
        &format!(r#"[{{"ticket":"{ALICE}","until":{until}}}]"#),
    );
    assert_eq!(
        answer["result"],
        json!({ "id": ALICE, "tokenExpires": { "$date": until }, "type": "ticket" })
    );
    closes(&mut client);
    assert!(millis(SystemTime::now()) >= until);
}

#[test]
fn a_token_that_was_never_stored_is_one_that_is_gone() {
    let server = Running::start(builder().authenticator(Tickets::default()));
    let mut client = server.client();
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"login","params":[{{"ticket":"{ALICE}","issue":true}}]}}"#
    ));
    closes(&mut client);
}

#[test]
fn a_client_that_vanishes_while_it_logs_in_leaves_its_token_only() {
    let world = World::new();
    let gate = Gate::new();
    let tickets = Tickets {
        gate: Some(gate.clone()),
        ..Tickets::default()
    };
    let accounts = Accounts::new(world.users.clone());
    let server = Running::start(builder().accounts(accounts).authenticator(tickets));
    let mut client = server.client();
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"login","params":[{{"ticket":"{ALICE}","issue":true}}]}}"#
    ));
    gate.await_arrival(&server);
    client.reset();
    assert!(eventually_within(PATIENCE, || server.stats().connections == 0));
    gate.open(1);
    assert!(eventually_within(PATIENCE, || world.tokens(ALICE).len() == 4));
    assert!(eventually_within(PATIENCE, || server.is_at_rest()));
}

#[test]
fn what_belongs_to_meteor_alone_is_not_found() {
    let world = World::new();
    let server = world.server();
    let mut client = server.client();
    for method in [
        "createUser",
        "forgotPassword",
        "resetPassword",
        "verifyEmail",
        "changePassword",
        "logoutOtherClients",
    ] {
        let answer = call(&mut client, method, "[{}]");
        let reason = format!("Method '{method}' not found");
        assert_eq!(
            (&answer["error"]["error"], &answer["error"]["reason"]),
            (&json!(404), &json!(reason))
        );
    }
    let answer = call(&mut client, "configureLoginService", r#"[{"service":"x"}]"#);
    assert_eq!(answer["error"]["message"], "Service unknown [403]");
    let answer = call(&mut client, "configureLoginService", "[]");
    assert_eq!(answer["error"]["message"], "Match failed [400]");
}

#[test]
fn what_a_stock_page_subscribes_to_is_ready_and_silent() {
    let stock = r#"
        -> {"msg":"sub","id":"1","name":"meteor_autoupdate_clientVersions","params":["app"]}
        <- {"msg":"ready","subs":["1"]}
        -> {"msg":"sub","id":"2","name":"meteor.loginServiceConfiguration","params":[]}
        "#;
    let server = World::new().server();
    talk(
        &mut server.client(),
        &format!("{stock}<- {{\"msg\":\"ready\",\"subs\":[\"2\"]}}\n-- silence"),
    );
    let without = Running::start(builder());
    talk(
        &mut without.client(),
        &format!("{stock}<- {{\"msg\":\"nosub\",\"id\":\"2\",\"error\"…"),
    );
    // A program that knows better says so itself.
    let own = builder().publish(
        "meteor_autoupdate_clientVersions",
        async |subscription: Subscription| {
            subscription.added("meteor_autoupdate_clientVersions", "version", ejson!({}));
            Ok::<_, Error>(())
        },
    );
    let server = Running::start(own);
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"1","name":"meteor_autoupdate_clientVersions"}
        <- {"msg":"added","collection":"meteor_autoupdate_clientVersions","id":"version"}
        <- {"msg":"ready","subs":["1"]}
        "#,
    );
}

#[test]
fn the_fixture_has_the_accounts_of_the_transcripts() {
    let fixture = Example::start("fixture", &[]);
    let (mut client, _) = Client::ddp_connect(&fixture.url());
    let stored = call(&mut client, "tokens", &format!(r#"["{ALICE}"]"#));
    let stored = stored["result"].as_array().unwrap();
    assert_eq!(stored.len(), 3);
    let hashed = Token::new("tokA").hashed();
    assert_eq!(stored[0]["hashedToken"], hashed.as_str());
    let issued = stored[0]["when"]["$date"].as_i64().unwrap();
    let lifetime = i64::try_from((90 * DAY).as_millis()).unwrap();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"login","params":[{{"resume":"tokA"}}]}}
            <- {{"msg":"added","collection":"users","id":"{ALICE}","fields":{OWN}}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1","result":{{"id":"{ALICE}","token":"tokA","tokenExpires":{{"$date":{}}},"type":"resume"}}}}
            "#,
            issued + lifetime
        ),
    );
    let (mut other, _) = Client::ddp_connect(&fixture.url());
    log_in(&mut other, "plainTok");
    assert_eq!(whoami(&mut other), "oldstyle000000000");
    let pulled = call(&mut other, "pullToken", &format!(r#"["{ALICE}","tokA"]"#));
    assert_eq!(pulled["result"], "pulled");
    closes(&mut client);
}

/// Logs in whoever names a user; what else it does stands in the request.
#[derive(Clone, Debug)]
struct Tickets {
    kind: &'static str,
    gate: Option<Gate>,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            kind: "ticket",
            gate: None,
        }
    }
}

impl Authenticator for Tickets {
    fn login<'a>(&'a self, request: &'a LoginRequest) -> BoxFuture<'a, Result<Option<Login>>> {
        Box::pin(async move {
            let options = request.options();
            let Some(ticket) = options.get("ticket").and_then(Value::as_str) else {
                return Ok(None);
            };
            if let Some(gate) = &self.gate {
                gate.pass().await;
            }
            assert_ne!(ticket, "panic");
            if ticket != ALICE {
                return Err(Error::forbidden("Not a valid ticket"));
            }
            let mut login = Login::new(ticket, self.kind);
            if options.contains_key("issue") {
                login = login.issue_token();
            }
            if let Some(until) = options.get("until").and_then(Value::as_f64) {
                login = login.expires(Date::from_millis(until));
            }
            if let Some(seat) = options.get("seat") {
                login = login.member("seat", seat.clone());
            }
            Ok(Some(login))
        })
    }
}

/// Whether a store tells what changes.
#[derive(Clone, Copy, Debug)]
enum Tells {
    Everything,
    Nothing,
    /// It says that it does, and fails.
    NoMore,
}

/// A store with the faults of one far away.
#[derive(Clone, Debug)]
struct Store {
    users: MemoryUsers,
    tells: Tells,
    /// Where look-ups by token wait with what they have found.
    found: Option<Gate>,
    /// Whether the next read that is not a login's waits with what it has found.
    holds_read: Arc<AtomicBool>,
    read: Gate,
    fails: Arc<AtomicBool>,
}

impl Store {
    fn new(world: &World) -> Self {
        Self {
            users: world.users.clone(),
            tells: Tells::Nothing,
            found: None,
            holds_read: Arc::default(),
            read: Gate::new(),
            fails: Arc::default(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::internal("the store is away"));
        }
        Ok(())
    }
}

impl Users for Store {
    fn find_by_token<'a>(
        &'a self,
        token: TokenKey<'a>,
    ) -> BoxFuture<'a, Result<Option<TokenOwner>>> {
        Box::pin(async move {
            self.check()?;
            let found = self.users.find_by_token(token).await;
            if let Some(gate) = &self.found {
                gate.pass().await;
            }
            found
        })
    }

    fn insert_token<'a>(
        &'a self,
        user: &'a str,
        token: &'a LoginToken,
    ) -> BoxFuture<'a, Result<()>> {
        self.users.insert_token(user, token)
    }

    fn remove_token<'a>(&'a self, user: &'a str, token: TokenKey<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.check()?;
            self.users.remove_token(user, token).await
        })
    }

    fn remove_other_tokens<'a>(
        &'a self,
        user: &'a str,
        keep: Option<&'a HashedToken>,
    ) -> BoxFuture<'a, Result<()>> {
        self.users.remove_other_tokens(user, keep)
    }

    fn read<'a>(
        &'a self,
        ids: &'a [String],
        fields: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<User>>> {
        Box::pin(async move {
            self.check()?;
            let found = self.users.read(ids, fields).await;
            if self.holds_read.swap(false, Ordering::Relaxed) {
                self.read.pass().await;
            }
            found
        })
    }

    fn find_password<'a>(
        &'a self,
        user: &'a UserSelector,
    ) -> BoxFuture<'a, Result<Option<PasswordRecord>>> {
        self.users.find_password(user)
    }

    fn watch<'a>(&'a self, changes: &'a Changes) -> BoxFuture<'a, Result<()>> {
        match self.tells {
            Tells::Everything => self.users.watch(changes),
            Tells::Nothing => Box::pin(std::future::ready(Ok(()))),
            Tells::NoMore => {
                changes.any();
                let failed = Err(Error::internal("the stream has ended"));
                Box::pin(std::future::ready(failed))
            }
        }
    }
}
