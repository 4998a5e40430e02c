//! Messages that come in while the user changes: kept for the functions of the new run, if it has
//! any.

use std::sync::Arc;

use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::redis::RedisServer;

use super::{server, stamped, who};
use crate::common::{Count, Gate, Running, VID, received, talk};

/// Waits at the gate once somebody has logged in, then does as [`stamped`].
pub(super) fn gated(gate: &Gate) -> Builder {
    let gate = gate.clone();
    server().vent("tm", move |vent: Vent, channel: String| {
        let gate = gate.clone();
        async move {
            if vent.user_id().is_some() {
                gate.pass().await;
            }
            stamped(vent, channel).await
        }
    })
}

#[test]
fn messages_of_the_meantime_are_held_for_the_new_function_and_follow_ready() {
    let gate = Gate::new();
    let server = Running::start(gated(&gate));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","c"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    gate.await_arrival(&server);
    (1..=3).for_each(|n| server.emit("c", n));
    talk(&mut client, "-- silence");
    assert_eq!(server.stats().channels, 1);
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":1,"as":"alice"}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":2,"as":"alice"}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":3,"as":"alice"}}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    assert_eq!(server.stats().gaps, 0);
}

#[test]
fn channels_keep_their_common_order_also_with_one_that_is_new() {
    let (gate, inside) = (Gate::new(), Gate::new());
    let (at_gate, on_new) = (gate.clone(), inside.clone());
    let tm = move |vent: Vent| {
        let (gate, inside) = (at_gate.clone(), on_new.clone());
        async move {
            if vent.user_id().is_some() {
                vent.relay("new").await?;
                inside.arrive();
                gate.pass().await;
            }
            vent.relay("b").await?;
            vent.relay("a").await
        }
    };
    let server = Running::start(server().vent("tm", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    inside.await_arrival(&server);
    // What the handler has sent is in the inbox before the ping is.
    talk(&mut client, "-- silence");
    for (channel, n) in [("a", 1), ("new", 2), ("b", 3), ("a", 4), ("new", 5)] {
        server.emit(channel, n);
    }
    gate.open(1);
    talk(&mut client, r#"<- {"msg":"ready","subs":["S1"]}"#);
    for n in 1..=5 {
        let event = format!(r#"<- {{"msg":"changed","__vent":"1","id":"VID.tm","e":{n}}}"#);
        talk(&mut client, &event);
    }
    talk(&mut client, r#"<- {"msg":"updated","methods":["1"]}"#);
}

#[test]
fn more_than_may_be_held_is_a_gap_that_the_new_run_is_told_of() {
    let (gate, gaps, old_gaps) = (Gate::new(), Count::default(), Count::default());
    let (inside, counted, old) = (gate.clone(), gaps.clone(), old_gaps.clone());
    let tm = move |vent: Vent| {
        let is_new = vent.user_id().is_some();
        let (gate, gaps) = (inside.clone(), if is_new { &counted } else { &old }.clone());
        async move {
            if is_new {
                gate.pass().await;
            }
            vent.on_gap(move || {
                gaps.add();
                Some("gap")
            });
            vent.relay("c").await
        }
    };
    // Three short messages.
    let builder = server()
        .configure(|settings| settings.clients.user_change = 200)
        .vent("tm", tm);
    let server = Running::start(builder);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    gate.await_arrival(&server);
    (1..=10).for_each(|n| server.emit("c", n));
    talk(&mut client, "-- silence");
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":2}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":3}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"gap"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    gaps.becomes(1);
    assert_eq!((old_gaps.get(), server.stats().gaps), (0, 1));
    server.emit("c", 11);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":11}"#,
    );
}

#[test]
fn what_an_asynchronous_function_has_not_answered_is_for_the_new_one() {
    let gate = Gate::new();
    let inside = gate.clone();
    let tm = move |vent: Vent| {
        let (gate, user) = (inside.clone(), who(&vent));
        async move {
            let map = move |m: Arc<Message>| {
                let (gate, user) = (gate.clone(), user.clone());
                async move {
                    if user == "nobody" && *m.value() != Value::from(1) {
                        gate.pass().await;
                    }
                    Some(ejson!({ "n": m.value(), "as": user }))
                }
            };
            vent.on_async("c", map).await
        }
    };
    let server = Running::start(server().vent("tm", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    let first = r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":1,"as":"nobody"}}"#;
    talk(&mut client, first);
    server.emit("c", 2);
    // The second is in the function's hands, 64 wait behind it, and the rest is lost.
    gate.await_arrival(&server);
    (3..=100).for_each(|n| server.emit("c", n));
    talk(
        &mut client,
        r#"
        -- silence
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    let mut texts = Vec::new();
    while texts.len() < 67 {
        texts.push(client.expect_any_text());
    }
    // The call goes on beside the function.
    let is_event = |text: &String| text.contains("__vent");
    let (events, answers): (Vec<String>, Vec<String>) = texts.into_iter().partition(is_event);
    assert_eq!(answers.len(), 2, "{answers:?}");
    for (n, event) in (2..).zip(&events) {
        let expected = format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{{"n":{n},"as":"alice"}}}}"#
        );
        assert_eq!(*event, expected);
    }
    gate.open(1);
    assert_eq!(received(&mut client), [""; 0]);
    assert_eq!(server.stats().gaps, 1);
}

#[test]
fn what_the_new_run_does_not_follow_is_dropped_and_let_go_of() {
    let gate = Gate::new();
    let inside = gate.clone();
    let tm = move |vent: Vent| {
        let gate = inside.clone();
        async move {
            if vent.user_id().is_none() {
                return vent.relay(["a", "b"]).await;
            }
            gate.pass().await;
            vent.relay("b").await
        }
    };
    let server = Running::start(server().vent("tm", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    gate.await_arrival(&server);
    server.emit("a", "for nobody");
    server.emit("b", "for alice");
    assert_eq!(server.stats().channels, 2);
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"for alice"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    assert_eq!(server.stats().channels, 1);
}

#[test]
fn vent_060_redis_hears_nothing_of_a_channel_that_is_still_wanted() {
    let redis = RedisServer::start();
    let gate = Gate::new();
    let server = Running::over(&redis, gated(&gate));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","c"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    let before = subscription_commands(&redis);
    talk(
        &mut client,
        r#"-> {"msg":"method","id":"1","method":"setUser","params":["alice"]}"#,
    );
    gate.await_arrival(&server);
    assert_eq!(redis.publish("c", "1"), 1);
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    // The message may still be on its way from Redis.
    let mut rest = [(); 3].map(|()| client.expect_any_text());
    rest.sort_unstable();
    let event = r#"{"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":1,"as":"alice"}}"#;
    assert_eq!(
        rest,
        [
            &event.replace("VID", VID),
            r#"{"msg":"result","id":"1"}"#,
            r#"{"msg":"updated","methods":["1"]}"#
        ]
    );
    assert_eq!(subscription_commands(&redis), before);
    drop(client);
    redis.await_numsub("c", 0);
    assert_ne!(subscription_commands(&redis), before);
}

/// What Redis counts of SUBSCRIBE and UNSUBSCRIBE: their lines of statistics, without the times.
fn subscription_commands(redis: &RedisServer) -> Vec<String> {
    let all: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut redis.connection())
        .unwrap();
    let lines = all.lines().filter(|line| line.contains("subscribe:"));
    lines
        .filter_map(|line| line.split(',').next().map(str::to_owned))
        .collect()
}

#[test]
fn found_108_a_gap_of_the_bus_meanwhile_is_told_to_the_new_run_in_its_place() {
    let mut redis = RedisServer::start();
    let (gate, gaps) = (Gate::new(), Count::default());
    let (inside, counted) = (gate.clone(), gaps.clone());
    let tm = move |vent: Vent| {
        let (gate, gaps) = (inside.clone(), counted.clone());
        async move {
            if vent.user_id().is_some() {
                vent.on_gap(move || {
                    gaps.add();
                    Some("gap")
                });
                gate.pass().await;
            }
            vent.relay("c").await
        }
    };
    let one = std::num::NonZero::new(1).unwrap();
    let builder = server()
        .configure(|settings| settings.shards = Some(one))
        .vent("tm", tm);
    let builder = builder.vent("other", async |vent: Vent| vent.relay("c").await);
    let server = Running::over(&redis, builder);
    let mut other = server.client();
    talk(
        &mut other,
        r#"
        -> {"msg":"sub","id":"S1","name":"other","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    gate.await_arrival(&server);
    let mut publish = |redis: &RedisServer, n: usize| {
        redis.publish("c", n.to_string());
        // What has reached the one is kept for the other.
        let event = format!(r#"<- {{"msg":"changed","__vent":"1","id":"VID.other","e":{n}}}"#);
        talk(&mut other, &event);
    };
    publish(&redis, 1);
    redis.restart();
    redis.await_numsub("c", 1);
    publish(&redis, 2);
    talk(&mut client, "-- silence");
    assert_eq!(gaps.get(), 0);
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"gap"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":2}
        "#,
    );
    gaps.becomes(1);
}
