//! A store with one user, a server of accounts around it, and what its clients do all the time.

use std::time::{Duration, SystemTime};

use updraft::account::{Accounts, MemoryUsers, Token, TokenKey, Users};
use updraft::prelude::*;
use updraft::{Builder, Server};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::transcript::Received;

use crate::common::Running;

pub(crate) const ALICE: &str = "alice0000000000aa";

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store with Alice, and a server of accounts that is told of changes.
pub(crate) struct World {
    pub(crate) users: MemoryUsers,
    pub(crate) now: SystemTime,
}

impl World {
    pub(crate) fn new() -> Self {
        let (users, now) = (MemoryUsers::new(), SystemTime::now());
        let world = Self { users, now };
        world.users.insert(ALICE, world.alice(1));
        world
    }

    pub(crate) fn alice(&self, n: i32) -> Value {
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

    pub(crate) fn server(&self) -> Running {
        Running::start(builder().accounts(Accounts::new(self.users.clone())))
    }

    /// When a token expires that was issued now.
    pub(crate) fn expiry(&self) -> i64 {
        millis(self.now + 90 * DAY)
    }

    pub(crate) fn tokens(&self, user: &str) -> Vec<Value> {
        let document = Value::Object(self.users.get(user).unwrap());
        let resume = document.get("services").and_then(|it| it.get("resume"));
        let tokens = resume.and_then(|it| it.get("loginTokens")?.as_array());
        tokens.unwrap().to_vec()
    }

    pub(crate) fn pull(&self, server: &Running, token: &str) {
        let hashed = Token::new(token).hashed();
        let pulled = self.users.remove_token(ALICE, TokenKey::Hashed(&hashed));
        server.wait(pulled).unwrap();
    }
}

pub(crate) fn stored(token: &str, when: SystemTime) -> Value {
    ejson!({
        "hashedToken": Token::new(token).hashed().as_str(),
        "when": Date::from(when),
        "extra": "kept",
    })
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    Date::from(time).millis().unwrap()
}

/// What all servers here have besides accounts.
pub(crate) fn builder() -> Builder {
    Server::builder()
        .publish("whose", async |subscription: Subscription| {
            let user = subscription.user_id();
            subscription.added("whose", "x", ejson!({ "uid": user }));
            Ok(())
        })
        .publish("silent", async |_: Subscription| Ok(()))
        .method("whoami", |call: Call| async move { Ok(call.user_id()) })
}

/// Calls a method and answers with the message `result`; what comes before it is dropped.
#[track_caller]
pub(crate) fn call(client: &mut Client, method: &str, params: &str) -> serde_json::Value {
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
pub(crate) fn log_in(client: &mut Client, token: &str) {
    let answer = call(client, "login", &format!(r#"[{{"resume":"{token}"}}]"#));
    assert_eq!(answer["result"]["token"], token, "{answer}");
}

#[track_caller]
pub(crate) fn whoami(client: &mut Client) -> serde_json::Value {
    call(client, "whoami", "[]")["result"].clone()
}

/// Whatever still comes, and then the end, with 1000.
#[track_caller]
pub(crate) fn closes(client: &mut Client) {
    loop {
        match client.receive(PATIENCE) {
            Some(Received::Text(_)) => {}
            Some(Received::Close { code: 1000, .. }) => return,
            other => panic!("expected the end, got {other:?}"),
        }
    }
}

pub(crate) fn error(code: &str, reason: &str) -> String {
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

pub(crate) const OWN: &str = r#"{"username":"alice","emails":[{"address":"a@example.com","verified":true}],"profile":{"n":1}}"#;
