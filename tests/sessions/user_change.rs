//! A client's user changes while its subscriptions run: who sees what, what is held meanwhile, what
//! is let go of. How it looks to the client, message by message, is in `transcripts/user.txt`.

mod kept;
mod load;

use std::sync::Arc;

use crate::common::{Count, Gate, Running, eventually_within, received, talk};
use kept::gated;
use updraft::prelude::*;
use updraft::{Builder, VentOptions};
use updraft_test_support::client::PATIENCE;

/// A server whose clients may be anybody.
fn server() -> Builder {
    Server::builder()
        .method("setUser", async |call: Call, user: Option<String>| {
            call.set_user_id(user).await
        })
        .method("whoami", async |call: Call| Ok(call.user_id()))
}

fn who(subscription: &Subscription) -> String {
    let user = subscription.user_id();
    user.as_deref().unwrap_or("nobody").to_owned()
}

/// Stamps each event of a channel with the user that the function was made for; mallory may not.
async fn stamped(vent: Vent, channel: String) -> Result<()> {
    let user = who(&vent);
    if user == "mallory" {
        return Err(Error::forbidden("not you"));
    }
    let map = move |m: &Message| Some(ejson!({ "n": m.value(), "as": user }));
    vent.on(channel![channel], map).await
}

#[test]
fn vent_059_row_064_events_follow_the_user() {
    let server = Running::start(server().vent("tm", stamped));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","c"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":1,"as":"nobody"}}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    server.emit("c", 2);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"n":2,"as":"alice"}}
        -> {"msg":"method","id":"2","method":"setUser","params":["mallory"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":403,"reason":"not you","message":"not you [403]","errorType":"Meteor.Error"}}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2"}
        "#,
    );
    server.emit("c", 3);
    talk(&mut client, "-- silence");
    assert_eq!(server.stats().channels, 0);
}

#[test]
fn vent_061_what_was_denied_to_nobody_works_when_sent_again_after_login() {
    let tm = async |vent: Vent| {
        vent.user_id().ok_or_else(|| Error::forbidden("log in"))?;
        vent.relay("c").await
    };
    let server = Running::start(server().vent("tm", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":403,"reason":"log in","message":"log in [403]","errorType":"Meteor.Error"}}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}"#,
    );
}

#[test]
fn vent_079_the_collection_encoding_says_added_once_and_removed_when_a_run_fails() {
    let options = VentOptions::new().numbered();
    let server = Running::start(server().vent_with("tm", options, stamped));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a","c"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"n":1,"event":{"n":1,"as":"nobody"}}}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    server.emit("c", 2);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"n":2,"event":{"n":2,"as":"alice"}}}
        -> {"msg":"method","id":"2","method":"setUser","params":["mallory"]}
        <- {"msg":"removed","collection":"vent.a","id":"id"}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":403,"reason":"not you","message":"not you [403]","errorType":"Meteor.Error"}}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2"}
        "#,
    );
}

#[test]
fn a_streamer_announces_its_document_once_and_takes_it_back_when_a_run_fails() {
    let tm = async |vent: Vent, (_, channel): (String, String)| stamped(vent, channel).await;
    let server = Running::start(server().streamer("x", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"stream-x","params":["e",{"useCollection":true,"args":["c"]}]}
        <- {"msg":"added","collection":"stream-x","id":"id","fields":{"eventName":"e"}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"e","args":[{"n":1,"as":"alice"}]}}
        -> {"msg":"method","id":"2","method":"setUser","params":["mallory"]}
        <- {"msg":"removed","collection":"stream-x","id":"id"}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":403,"reason":"not you","message":"not you [403]","errorType":"Meteor.Error"}}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2"}
        "#,
    );
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_nothing_behind() {
    let gate = Gate::new();
    let outcome = Arc::new(std::sync::Mutex::new(None));
    let told = outcome.clone();
    let builder = gated(&gate).method("login", move |call: Call| {
        let told = told.clone();
        async move {
            let outcome = call.set_user_id(Some("alice")).await;
            *told.lock().unwrap() = Some((outcome.is_ok(), call.user_id()));
            outcome
        }
    });
    let server = Running::start(builder);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","c"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"login"}
        "#,
    );
    gate.await_arrival(&server);
    server.emit("c", 1);
    client.reset();
    let ended = eventually_within(PATIENCE, || outcome.lock().unwrap().is_some());
    assert!(ended, "the method waits for ever");
    assert_eq!(*outcome.lock().unwrap(), Some((false, None)));
    assert!(eventually_within(PATIENCE, || server.stats().channels == 0));
    // Clients leave: that is no fault of a handler.
    assert_eq!(server.stats().failed_handlers, 0);
}

#[test]
fn ddp_164_deviation_022_universal_publications_are_waited_for_and_part_of_the_difference() {
    let gate = Gate::new();
    let inside = gate.clone();
    let universal = move |subscription: Subscription| {
        let gate = inside.clone();
        async move {
            if subscription.user_id().is_some() {
                gate.pass().await;
            }
            let user = who(&subscription);
            subscription.added("uni", "u", ejson!({ "uid": user }));
            Ok(())
        }
    };
    let server = Running::start(server().publish_universal(universal));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        <- {"msg":"added","collection":"uni","id":"u","fields":{"uid":"nobody"}}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        "#,
    );
    gate.await_arrival(&server);
    talk(&mut client, "-- silence");
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"uni","id":"u","fields":{"uid":"alice"}}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
}

#[test]
fn what_belonged_to_the_old_run_ends_with_it() {
    let (stopped, dropped) = (Count::default(), Count::default());
    let (stops, drops) = (stopped.clone(), dropped.clone());
    let builder = server().publish("p", move |subscription: Subscription| {
        let (stops, task) = (stops.clone(), drops.on_drop());
        async move {
            let user = who(&subscription);
            let former = subscription.clone();
            subscription.on_stop(move || {
                // A late producer is harmless, and knows whom it was for.
                former.added("late", user, ejson!({}));
                assert_eq!(who(&former), "nobody");
                stops.add();
            });
            subscription.run(async move {
                std::future::pending::<()>().await;
                drop(task);
                Ok(())
            });
            Ok(())
        }
    });
    let server = Running::start(builder);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"1","name":"p"}
        <- {"msg":"ready","subs":["1"]}
        -> {"msg":"method","id":"1","method":"setUser","params":["alice"]}
        <- {"msg":"ready","subs":["1"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        "#,
    );
    stopped.becomes(1);
    dropped.becomes(1);
    talk(&mut client, "-- silence");
    assert_eq!(server.stats().subscriptions, 1);
}

#[test]
fn a_call_and_those_it_makes_know_whom_it_has_logged_in() {
    let builder = server()
        .method("inner", async |call: Call, user: String| {
            call.set_user_id(Some(user)).await
        })
        .method("outer", async |call: Call| {
            let before = call.user_id();
            call.call::<()>("inner", "alice").await?;
            let after: Option<String> = call.call("whoami", ()).await?;
            Ok((before, call.user_id(), after))
        });
    let server = Running::start(builder);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"outer"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":[null,"alice","alice"]}
        -> {"msg":"method","id":"2","method":"whoami"}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"alice"}
        "#,
    );
}

#[test]
fn two_changes_at_once_are_one_to_the_client() {
    let publish = async |subscription: Subscription| {
        tokio::task::yield_now().await;
        let user = who(&subscription);
        subscription.added("users", user, ejson!({}));
        Ok(())
    };
    let builder = server()
        .publish("p", publish)
        .method("both", async |call: Call| {
            let (first, second) = tokio::join!(
                call.set_user_id(Some("alice")),
                call.set_user_id(Some("bob"))
            );
            first.and(second)
        });
    let server = Running::start(builder);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"1","name":"p"}
        <- {"msg":"added","collection":"users","id":"nobody"}
        <- {"msg":"ready","subs":["1"]}
        -> {"msg":"method","id":"1","method":"both"}
        "#,
    );
    let mut texts = Vec::new();
    while !texts.iter().any(|text: &String| text.contains("result")) {
        texts.push(client.expect_any_text());
    }
    let last: Vec<&str> = texts.iter().rev().map(String::as_str).take(3).collect();
    assert_eq!(
        last,
        [
            r#"{"msg":"result","id":"1"}"#,
            r#"{"msg":"updated","methods":["1"]}"#,
            r#"{"msg":"ready","subs":["1"]}"#,
        ]
    );
    assert!(
        texts.iter().any(|it| it.contains(r#""id":"bob""#)),
        "{texts:?}"
    );
    assert!(received(&mut client).is_empty());
}

#[test]
fn handlers_begin_in_the_order_of_their_subscriptions() {
    let mut builder = server();
    for number in 0..20 {
        let publish = move |subscription: Subscription| async move {
            let user = who(&subscription);
            subscription.added("order", format!("{user}{number:02}"), ejson!({}));
            Ok(())
        };
        builder = builder.publish(&format!("p{number}"), publish);
    }
    let server = Running::start(builder);
    let mut client = server.client();
    for number in 0..20 {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{number}","name":"p{number}"}}"#
        ));
        client.expect_any_text();
        client.expect_any_text();
    }
    for user in ["alice", "bob"] {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"{user}","method":"setUser","params":["{user}"]}}"#
        ));
        for _ in 0..20 {
            let removed = client.expect_any_text();
            assert!(removed.starts_with(r#"{"msg":"removed""#), "{removed}");
        }
        for number in 0..20 {
            client.expect_text(&format!(
                r#"{{"msg":"added","collection":"order","id":"{user}{number:02}"}}"#
            ));
        }
        let rest = [(); 3].map(|()| client.expect_any_text());
        assert!(rest[0].starts_with(r#"{"msg":"ready""#), "{rest:?}");
    }
}
