//! What a program can order about a user: the connections of every process hear of it, over the bus.

mod common;

use std::time::Duration;

use common::{Running, received, talk};
use updraft::prelude::*;
use updraft::{Builder, Server};
use updraft_test_support::client::Client;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::transcript::Received;

/// Two publications, and a method by which anybody is anybody.
fn builder() -> Builder {
    async fn document(subscription: Subscription, collection: &str) -> Result<()> {
        let user = subscription.user_id();
        subscription.added(collection, "x", ejson!({ "uid": user }));
        Ok(())
    }
    Server::builder()
        .publish("secrets", |subscription: Subscription| {
            document(subscription, "secrets")
        })
        .publish("news", |subscription: Subscription| {
            document(subscription, "news")
        })
        .method("setUser", |call: Call, user: String| async move {
            call.set_user_id(Some(user)).await
        })
}

/// A client that is logged in, with both subscriptions.
fn client(server: &Running, user: &str) -> Client {
    let mut client = server.client();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"u","method":"setUser","params":["{user}"]}}
            <- {{"msg":"updated","methods":["u"]}}
            <- {{"msg":"result","id":"u"}}
            -> {{"msg":"sub","id":"s","name":"secrets"}}
            <- {{"msg":"added","collection":"secrets","id":"x","fields":{{"uid":"{user}"}}}}
            <- {{"msg":"ready","subs":["s"]}}
            -> {{"msg":"sub","id":"n","name":"news"}}
            <- {{"msg":"added","collection":"news","id":"x","fields":{{"uid":"{user}"}}}}
            <- {{"msg":"ready","subs":["n"]}}
            "#
        ),
    );
    client
}

/// Repeats an order until a client hears of it: a process that has just started may not be on the bus yet.
#[track_caller]
fn until_heard(client: &mut Client, mut order: impl FnMut()) -> Received {
    for _ in 0..60 {
        order();
        if let Some(heard) = client.receive(Duration::from_millis(500)) {
            return heard;
        }
    }
    panic!("the order never came");
}

#[test]
fn orders_reach_every_shard_of_a_server_alone() {
    let two = std::num::NonZero::new(2).unwrap();
    let server = Running::start(builder().shards(two));
    let mut alices: Vec<Client> = (0..4).map(|_| client(&server, "alice")).collect();
    let mut bob = client(&server, "bob");
    let handle = server.handle();
    server
        .wait(handle.stop_subscriptions("alice", "secrets"))
        .unwrap();
    for alice in &mut alices {
        talk(
            alice,
            r#"
            <- {"msg":"removed","collection":"secrets","id":"x"}
            <- {"msg":"nosub","id":"s"}
            -- silence
            "#,
        );
    }
    // It may try again.
    talk(
        &mut alices[0],
        r#"
        -> {"msg":"sub","id":"s","name":"secrets"}
        <- {"msg":"added","collection":"secrets","id":"x","fields":{"uid":"alice"}}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    server.wait(handle.disconnect_user("alice")).unwrap();
    for alice in &mut alices {
        alice.expect_close(1000, "Normal closure");
    }
    server.wait(handle.disconnect_user("nobody")).unwrap();
    assert_eq!(received(&mut bob), [""; 0]);
    // The channel of orders is the server's own.
    assert_eq!(server.stats().channels, 0);
}

#[test]
fn orders_reach_other_processes() {
    let redis = RedisServer::start();
    let (one, other) = (
        Running::over(&redis, builder()),
        Running::over(&redis, builder()),
    );
    let mut here = client(&one, "alice");
    let mut there = client(&other, "alice");
    let mut bob = client(&other, "bob");
    let handle = one.handle();
    let stopped = until_heard(&mut there, || {
        one.wait(handle.stop_subscriptions("alice", "news"))
            .unwrap();
    });
    let removed = r#"{"msg":"removed","collection":"news","id":"x"}"#;
    assert_eq!(stopped, Received::Text(removed.to_owned()));
    there.expect_text(r#"{"msg":"nosub","id":"n"}"#);
    let closed = until_heard(&mut there, || {
        one.wait(handle.disconnect_user("alice")).unwrap()
    });
    assert!(
        matches!(closed, Received::Close { code: 1000, .. }),
        "{closed}"
    );
    // By now this process is on the bus as well, or the order comes once more.
    let mut heard = until_heard(&mut here, || {
        one.wait(handle.disconnect_user("alice")).unwrap()
    });
    while let Received::Text(_) = heard {
        heard = here.receive(Duration::from_secs(10)).unwrap();
    }
    assert!(
        matches!(heard, Received::Close { code: 1000, .. }),
        "{heard}"
    );
    assert_eq!(received(&mut bob), [""; 0]);
}

#[test]
fn what_is_no_order_harms_nobody() {
    let server = Running::start(builder());
    let mut alice = client(&server, "alice");
    for order in [
        ejson!(null),
        ejson!("disconnect"),
        ejson!({ "order": "disconnect" }),
        ejson!({ "order": "disconnect", "user": 5 }),
        ejson!({ "order": "stop", "user": "alice" }),
        ejson!({ "order": "shave", "user": "alice" }),
    ] {
        server.emit("updraft:orders", order);
    }
    assert_eq!(received(&mut alice), [""; 0]);
}
