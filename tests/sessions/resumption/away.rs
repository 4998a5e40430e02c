//! What happens to a session while its client is away.

use std::time::Duration;

use tungstenite::Message as Said;
use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::client::{Client, PATIENCE};

use super::returning::*;
use crate::common::{Count, Gate, Running, eventually_within, meanwhile, talk};

/// A publication that waits at its gate once it has begun, then does this; what it began is counted
/// when it is over.
fn afterwards(builder: Builder, gate: &Gate, over: &Count, then: fn(&Vent)) -> Builder {
    let (gate, over) = (gate.clone(), over.clone());
    builder.vent("tm", move |vent: Vent| {
        let (gate, over) = (gate.clone(), over.clone());
        vent.on_stop(move || over.add());
        async move {
            vent.relay("c").await?;
            (0..20).for_each(|n| vent.added("things", format!("{n}"), ejson!({})));
            vent.ready();
            let context = vent.clone();
            vent.run(async move {
                gate.pass().await;
                then(&context);
                Ok(())
            });
            Ok(())
        }
    })
}

/// A client of such a publication that has seen its documents.
fn subscribed(server: &Running) -> Returning {
    let mut client = Returning::connect(server);
    let sub = r#"{"msg":"sub","id":"s","name":"tm","params":["events.tm"]}"#;
    client.client.send_text(sub);
    client.expect(r#"{"msg":"added","collection":"events.tm","id":"id","fields":{}}"#);
    for n in 0..20 {
        client.expect(&format!(
            r#"{{"msg":"added","collection":"things","id":"{n}"}}"#
        ));
    }
    client.expect(READY);
    client
}

#[test]
fn ddp_234_a_subscription_whose_end_is_more_than_may_wait_is_let_go_of() {
    let (gate, over) = (Gate::new(), Count::default());
    let builder = two_shards().configure(|settings| {
        settings.sessions.resumption.messages = 10;
        settings.sessions.resumption.bytes = 1 << 20;
    });
    // Which takes its documents away, one message for each.
    let server = Running::start_resumable(afterwards(builder, &gate, &over, |vent| vent.stop()));
    let past = subscribed(&server).cut(Client::reset);
    await_parked(&server, 1);
    gate.open(1);
    over.becomes(1);
    let is_at_rest = || server.is_at_rest();
    assert!(
        eventually_within(PATIENCE, is_at_rest),
        "{:?}",
        server.stats()
    );
    past.expect_fresh(past.ask(&server)).leave();
}

#[test]
fn ddp_234_nothing_begins_behind_what_is_too_much() {
    let (gate, begun) = (Gate::new(), Count::default());
    let (inside, beginning) = (gate.clone(), begun.clone());
    let wait = move |_: Call| {
        let gate = inside.clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    };
    let tm = move |_: Subscription| {
        beginning.add();
        async { Ok(()) }
    };
    let builder = two_shards().configure(|settings| settings.clients.close_timeout = GRACE);
    let builder = builder.configure(|settings| {
        settings.sessions.resumption.messages = 10;
        settings.sessions.resumption.bytes = 1 << 20;
    });
    let server = Running::start_resumable(builder.method("wait", wait).publish("tm", tm));
    let mut client = Returning::connect(&server);
    let wait = r#"{"msg":"method","id":"1","method":"wait"}"#;
    client.client.send_text(wait);
    for id in 0..20 {
        let unknown = format!(r#"{{"msg":"unsub","id":"{id}"}}"#);
        client.client.send_text(&unknown);
    }
    let sub = r#"{"msg":"sub","id":"s","name":"tm"}"#;
    client.client.send_text(sub);
    // Says that it goes, and stays.
    client.client.send(Said::Close(None)).expect("a connection");
    await_parked(&server, 1);
    gate.open(1);
    await_parked(&server, 0);
    drop(client);
    let is_at_rest = || server.is_at_rest();
    assert!(
        eventually_within(PATIENCE, is_at_rest),
        "{:?}",
        server.stats()
    );
    assert_eq!(begun.get(), 0);
}

#[test]
fn a_session_whose_handlers_say_too_much_ends_also_while_its_connection_does() {
    for is_gone in [true, false] {
        let (gate, over) = (Gate::new(), Count::default());
        let builder = two_shards().configure(|settings| settings.clients.close_timeout = GRACE);
        let server = Running::start_resumable(afterwards(builder, &gate, &over, |vent| {
            let long = "x".repeat(100 * 1024);
            vent.added("things", "long", ejson!({ "long": long }));
        }));
        let mut client = subscribed(&server);
        let past = client.past.clone();
        if is_gone {
            client.cut(Client::reset);
        } else {
            // Says that it goes, and stays.
            client.client.send(Said::Close(None)).expect("a connection");
        }
        await_parked(&server, 1);
        gate.open(1);
        over.becomes(1);
        await_parked(&server, 0);
        assert_eq!(server.stats().slow_clients, 0);
        past.expect_fresh(past.ask(&server)).leave();
    }
}

/// A server whose clients may be anybody, and whose events are stamped with who they are for.
fn stamping(gate: &Gate) -> Builder {
    let gate = gate.clone();
    let tm = move |vent: Vent| {
        let gate = gate.clone();
        async move {
            let user = vent.user_id();
            if user.is_some() {
                gate.pass().await;
            }
            let map = move |m: &Message| Some(ejson!({ "n": m.value(), "as": user }));
            vent.on("c", map).await
        }
    };
    let set_user = async |call: Call, user: Option<String>| call.set_user_id(user).await;
    two_shards().vent("tm", tm).method("setUser", set_user)
}

const LOGIN: &str = r#"{"msg":"method","id":"1","method":"setUser","params":["alice"]}"#;

fn as_alice(n: usize) -> String {
    format!(
        r#"{{"msg":"changed","collection":"events.tm","id":"id","fields":{{"event":{{"n":{n},"as":"alice"}}}}}}"#
    )
}

/// A client that has begun to log in, and waits at the gate.
fn half_alice(server: &Running, gate: &Gate) -> Returning {
    let mut client = Returning::connect(server);
    let sub = r#"{"msg":"sub","id":"s","name":"tm","params":["events.tm"]}"#;
    client.client.send_text(sub);
    client.expect(r#"{"msg":"added","collection":"events.tm","id":"id","fields":{}}"#);
    client.expect(READY);
    client.client.send_text(LOGIN);
    gate.await_arrival(server);
    client
}

#[test]
fn a_connection_that_is_lost_while_the_user_changes_changes_nothing_about_it() {
    // The change is complete before the client is back, or after.
    for comes_late in [false, true] {
        let gate = Gate::new();
        let server = Running::start_resumable(stamping(&gate));
        let client = half_alice(&server, &gate);
        server.emit("c", 1);
        let past = client.cut(Client::reset);
        await_parked(&server, 1);
        server.emit("c", 2);
        if comes_late {
            gate.open(1);
            let has_waited = || server.stats().queued_bytes > 0;
            assert!(eventually_within(PATIENCE, has_waited));
        }
        let mut client = past.ask(&server);
        // As a client does that has had no answer.
        client.send_text(LOGIN);
        let mut client = past.expect_back(client);
        if !comes_late {
            server.emit("c", 3);
            talk(&mut client.client, "-- silence");
            gate.open(1);
        }
        client.expect(READY);
        for n in 1..=if comes_late { 2 } else { 3 } {
            client.expect(&as_alice(n));
        }
        client.expect(r#"{"msg":"updated","methods":["1"]}"#);
        client.expect(r#"{"msg":"result","id":"1"}"#);
        server.emit("c", 4);
        client.expect(&as_alice(4));
        talk(&mut client.client, "-- silence");
        client.leave();
    }
}

#[test]
fn a_session_that_ends_while_its_user_changes_leaves_nothing_behind() {
    let gate = Gate::new();
    let builder = stamping(&gate)
        .configure(|settings| settings.sessions.resumption.grace = Duration::from_millis(300));
    let server = Running::start_resumable(builder);
    half_alice(&server, &gate).cut(Client::reset);
    server.emit("c", 1);
    let is_at_rest = || server.is_at_rest();
    assert!(
        eventually_within(PATIENCE, is_at_rest),
        "{:?}",
        server.stats()
    );
}

#[test]
fn an_order_to_disconnect_a_user_reaches_those_who_are_away() {
    let gate = Gate::new();
    gate.open(1);
    let server = Running::start_resumable(stamping(&gate));
    let mut client = half_alice(&server, &gate);
    client.expect(READY);
    client.expect(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect(r#"{"msg":"result","id":"1"}"#);
    let past = client.cut(Client::reset);
    await_parked(&server, 1);
    server
        .wait(server.handle().disconnect_user("alice"))
        .expect("a bus");
    await_parked(&server, 0);
    assert!(eventually_within(PATIENCE, || server.stats().sessions == 0));
    past.expect_fresh(past.ask(&server)).leave();
}

#[test]
fn ddp_230_a_client_that_leaves_is_not_waited_for_whatever_is_on_its_way_to_it() {
    let (builder, _) = noting(two_shards());
    let server = Running::start_resumable(builder);
    let leave = || {
        for _ in 0..200 {
            let mut client = Returning::subscribed(&server).client;
            // The rest is a reset: there is more that it has not read.
            std::thread::sleep(Duration::from_millis(3));
            client.send_text(DISCONNECT);
        }
    };
    meanwhile(|| server.emit("room", 1), leave);
    assert!(eventually_within(PATIENCE, || server.stats().sessions == 0));
}
