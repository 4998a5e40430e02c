//! Accounts, as a stock client uses them, over real sockets: logging in and out, tokens and their
//! ends, the user's own document.

mod authenticators;
#[path = "../common/mod.rs"]
mod common;
mod faults;
#[cfg(feature = "jwt")]
mod jwt;
mod logs;
mod orders;
#[cfg(feature = "password")]
mod password;
mod undecided;
mod world;

use std::time::Duration;

use common::{Running, eventually_within, received, talk};
use serde_json::json;
use updraft::account::{Accounts, Token};
use updraft::prelude::*;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::example::Example;

use world::{ALICE, DAY, OWN, World, builder, call, closes, error, log_in, millis, stored, whoami};

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
    // More are refused here than a client is allowed.
    let unlimited = builder().login_rules([]);
    let server = Running::start(unlimited.accounts(Accounts::new(world.users.clone())));
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
fn deviation_036_a_login_ends_when_its_token_expires() {
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
fn deviation_037_what_belongs_to_meteor_alone_is_not_found() {
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
            Ok(())
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
