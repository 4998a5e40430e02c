//! Logins of another kind than by token, and how they end.

use std::time::{Duration, SystemTime};

use serde_json::json;
use updraft::account::{Accounts, Authenticator, Login, LoginRequest};
use updraft::prelude::*;
use updraft_test_support::client::PATIENCE;

use crate::common::{Gate, Running, eventually_within};
use crate::world::{ALICE, World, builder, call, closes, log_in, millis, whoami};

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
fn a_client_that_vanishes_while_it_logs_in_leaves_nothing() {
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
    assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    // A token was issued, which nobody has heard of.
    assert_eq!(world.tokens(ALICE).len(), 3);
}

/// Logs in whoever names a user; what else it does stands in the request.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    pub(crate) kind: &'static str,
    pub(crate) gate: Option<Gate>,
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
    async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
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
    }
}
