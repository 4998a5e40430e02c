//! What a program can order about a user: the connections of every process hear of it, over the
//! bus.

use std::time::Duration;

use crate::common::{Running, received, talk};
use updraft::prelude::*;
use updraft::{Builder, Channel, EmitError, Server};
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

/// Repeats an order until a client hears of it: a process that has just started may not be on the
/// bus yet.
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
    let server = Running::start(builder().configure(|settings| settings.shards = Some(two)));
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
    let redis = RedisServer::start();
    let server = Running::over(&redis, builder());
    redis.await_numsub(ORDERS, 1);
    let mut alice = client(&server, "alice");
    for order in [
        "null",
        r#""disconnect""#,
        r#"{"order":"disconnect"}"#,
        r#"{"order":"disconnect","user":5}"#,
        r#"{"order":"stop","user":"alice"}"#,
        r#"{"order":"shave","user":"alice"}"#,
    ] {
        redis.publish(ORDERS, order);
    }
    obeyed(&server, &mut alice, &mut []);
}

/// The channel of orders, and the order that whoever reaches it would give.
const ORDERS: &str = "updraft:orders";
const DISCONNECT: &str = r#"{"order":"disconnect","user":"alice"}"#;

/// The next order reaches this client first; the others, which have been there before, stay.
#[track_caller]
fn obeyed(server: &Running, client: &mut Client, others: &mut [Client]) {
    let handle = server.handle();
    server
        .wait(handle.stop_subscriptions("alice", "news"))
        .unwrap();
    client.expect_text(r#"{"msg":"removed","collection":"news","id":"x"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"n"}"#);
    for client in others {
        assert_eq!(received(client), [""; 0]);
    }
}

#[test]
fn found_201_no_channel_that_a_client_chooses_is_that_of_orders() {
    let redis = RedisServer::start();
    let choosing = || {
        builder()
            .method("emit", async |call: Call, (parts, value): Chosen| {
                call.emit(Channel::from_parts(parts), value).await
            })
            .method("emitOne", async |call: Call, (part, value): Named| {
                call.emit(channel![part], value).await
            })
            .method("emitWhole", async |call: Call, (name, value): Named| {
                call.emit(Channel::trusted(name), value).await
            })
            .vent("relay", async |vent: Vent, part: String| {
                vent.relay(channel![part]).await
            })
            .vent("several", async |vent: Vent, parts: Vec<String>| {
                let channels: Vec<_> = parts.iter().map(|part| channel![part]).collect();
                vent.on(channels, |message: &Message| message.event()).await
            })
            .streamer("room", async |vent: Vent, name: String| {
                vent.relay(channel![name]).await
            })
    };
    let servers = [
        Running::over(&redis, choosing()),
        Running::start(choosing()),
    ];
    redis.await_numsub(ORDERS, 1);
    for server in servers {
        let mut alice = client(&server, "alice");
        let mut mallory = server.client();
        let calls = [
            format!(r#""emitOne","params":["{ORDERS}",{DISCONNECT}]"#),
            format!(r#""emitWhole","params":["{ORDERS}",{DISCONNECT}]"#),
            format!(r#""emit","params":[["updraft","orders"],{DISCONNECT}]"#),
            format!(r#""emit","params":[["updraft:","orders"],{DISCONNECT}]"#),
            format!(r#""emit","params":[["","{ORDERS}"],{DISCONNECT}]"#),
        ];
        for call in calls {
            talk(
                &mut mallory,
                &format!(
                    r#"
                    -> {{"msg":"method","id":"m","method":{call}}}
                    <- {{"msg":"updated","methods":["m"]}}
                    <- {{"msg":"result","id":"m","error":{{"isClientSafe":true,"error":400,…
                    "#
                ),
            );
        }
        let subscriptions = [
            format!(r#""relay","params":["vent.r","{ORDERS}"]"#),
            format!(r#""several","params":["vent.r",["c","{ORDERS}"]]"#),
            format!(r#""stream-room","params":["{ORDERS}",false]"#),
        ];
        for subscription in subscriptions {
            talk(
                &mut mallory,
                &format!(
                    r#"
                    -> {{"msg":"sub","id":"r","name":{subscription}}}
                    <- {{"msg":"nosub","id":"r","error":{{"isClientSafe":true,"error":400,…
                    "#
                ),
            );
        }
        obeyed(&server, &mut alice, &mut [mallory]);
    }
}

type Chosen = (Vec<String>, Value);
type Named = (String, Value);

#[test]
fn found_201_a_program_cannot_name_the_channel_of_orders() {
    let redis = RedisServer::start();
    let server = Running::over(&redis, builder());
    redis.await_numsub(ORDERS, 1);
    let mut alice = client(&server, "alice");
    let order = ejson!({ "order": "disconnect", "user": "alice" });
    let refused = server.wait(server.handle().emit(ORDERS, &order));
    assert_eq!(refused.unwrap_err().wire().error, 400.into());
    let emitter = server.wait(Emitter::connect(&redis.url())).unwrap();
    let refused = server.wait(emitter.emit(ORDERS, &order)).unwrap_err();
    assert!(
        matches!(refused, EmitError::InvalidArgument(_)),
        "{refused}"
    );
    // Nor does a prefix make one of what a client says.
    for prefix in ["updraft:", "updraft", "__keyspace@0__:", "a\nb"] {
        let redis = Redis::lazy(&redis.url()).unwrap();
        assert!(redis.prefix(prefix).is_err(), "{prefix}");
    }
    obeyed(&server, &mut alice, &mut []);
}

#[test]
fn found_201_orders_keep_to_the_prefix() {
    let redis = RedisServer::start();
    let shop = || {
        let bus = Redis::lazy(&redis.url()).unwrap().prefix("shop.").unwrap();
        Running::start(builder().bus(bus))
    };
    let (one, other) = (shop(), shop());
    redis.await_numsub("shop.updraft:orders", 2);
    let mut alice = client(&other, "alice");
    redis.publish(ORDERS, DISCONNECT);
    obeyed(&one, &mut alice, &mut []);
}

#[test]
fn found_201_with_a_secret_nobody_else_gives_orders() {
    let redis = RedisServer::start();
    let secret = "a secret of at least 32 characters";
    let one = Running::over(&redis, builder().orders_secret(secret));
    let other = Running::over(&redis, builder().orders_secret(secret));
    let stranger = Running::over(&redis, builder().orders_secret(secret.replace('a', "b")));
    redis.await_numsub(ORDERS, 3);
    let mut alice = client(&other, "alice");
    redis.publish(ORDERS, DISCONNECT);
    stranger
        .wait(stranger.handle().disconnect_user("alice"))
        .unwrap();
    obeyed(&one, &mut alice, &mut []);
    one.wait(one.handle().disconnect_user("alice")).unwrap();
    alice.expect_close(1000, "Normal closure");
    let short =
        crate::common::runtime().block_on(builder().orders_secret("short").bind("127.0.0.1:0"));
    let error = short.expect_err("a mistake").to_string();
    assert!(error.contains("32 bytes"), "{error}");
}
