//! From message to event: what mapping functions make of a message, for whom, and in which order.

use crate::common::{Count, Gate, Running, VID, talk};
use updraft::prelude::*;
use updraft::{Builder, Channel};
use updraft_test_support::client::Client;

/// Everything on the channel `c`, as it came.
fn relaying() -> Builder {
    Server::builder().vent("tm", async |vent: Vent| vent.relay("c").await)
}

fn subscribe(client: &mut Client) {
    talk(
        client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
}

#[test]
fn vent_029_030_a_hundred_messages_are_a_hundred_events_in_order() {
    let server = Running::start(relaying());
    let mut client = server.client();
    subscribe(&mut client);
    for number in 1..=100 {
        server.emit("c", ejson!({ "number": number }));
    }
    for number in 1..=100 {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{{"number":{number}}}}}"#
        ));
    }
    talk(&mut client, "-- silence");
}

#[test]
fn vent_012_031_032_033_only_what_javascript_takes_for_true_is_an_event() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        let map = |m: &Message| match m.parse::<String>().unwrap().as_str() {
            "none" => None,
            "undefined" => Some(Value::Undefined),
            "NaN" => Some(ejson!(f64::NAN)),
            text => Some(serde_json::from_str::<serde_json::Value>(text).unwrap())
                .map(|json| ejson::to_value(&json).unwrap()),
        };
        vent.on("c", map).await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    let falsy = [
        "0",
        "-0.0",
        r#""""#,
        "false",
        "null",
        "none",
        "undefined",
        "NaN",
    ];
    let truthy = [
        "1", "-1", r#""a""#, r#""0""#, "true", "[]", "{}", "[1]", "[null]",
    ];
    for text in falsy.iter().chain(&truthy) {
        server.emit("c", text);
    }
    for text in truthy {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{text}}}"#
        ));
    }
    assert_eq!(server.stats().failed_mappings, 0);
}

#[test]
fn vent_031_032_033_a_relayed_message_follows_the_same_rule() {
    let server = Running::start(relaying());
    let mut client = server.client();
    subscribe(&mut client);
    for falsy in [
        ejson!(0),
        ejson!(""),
        ejson!(false),
        ejson!(null),
        ejson!(f64::NAN),
    ] {
        server.emit("c", falsy);
    }
    for truthy in [ejson!(1), ejson!("a"), ejson!(true), ejson!([]), ejson!({})] {
        server.emit("c", truthy);
    }
    for text in ["1", r#""a""#, "true", "[]", "{}"] {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{text}}}"#
        ));
    }
}

#[test]
fn vent_033_an_event_can_be_sent_always() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.on("c", |m: &Message| Event::always(m.value())).await?;
        vent.on("nothing", |_: &Message| Event::always(())).await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    for falsy in [ejson!(0), ejson!(""), ejson!(false), ejson!(null)] {
        server.emit("c", falsy);
    }
    server.emit("nothing", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":0}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":""}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":false}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":null}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":null}
        "#,
    );
}

#[test]
fn vent_036_undefined_members_are_left_out() {
    #[derive(Serialize)]
    struct Text {
        text: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'static str>,
        at: Option<u32>,
    }
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        let text = |_: &Message| {
            let (text, by, at) = ("hi", None, None);
            Some(Text { text, by, at })
        };
        vent.on("c", text).await?;
        let undefined = ejson!({ "a": 1, "b": Value::Undefined, "c": [Value::Undefined] });
        vent.on("c", move |_: &Message| Some(undefined.clone()))
            .await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"text":"hi","at":null}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"a":1,"c":[null]}}
        "#,
    );
}

#[test]
fn vent_037_038_several_functions_of_one_subscription_are_called_in_order() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.on("c", |_: &Message| Some("first")).await?;
        vent.on("d", |_: &Message| Some("other channel")).await?;
        vent.on("c", |_: &Message| Some("second")).await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    server.emit("c", 1);
    server.emit("d", 1);
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"first"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"second"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"other channel"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"first"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"second"}
        "#,
    );
}

#[test]
fn vent_039_an_array_of_channels_is_followed_and_let_go_without_harm_to_others() {
    let tm = async |vent: Vent, channels: Vec<String>| {
        let channels: Vec<_> = channels.into_iter().map(Channel::trusted).collect();
        vent.on(channels, |m: &Message| {
            Some(ejson!([m.channel(), m.value()]))
        })
        .await
    };
    let server = Running::start(Server::builder().vent("tm", tm));
    let mut client = server.client();
    let mut other = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",["a","b"]]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"none","name":"tm","params":["VID",[]]}
        <- {"msg":"ready","subs":["none"]}
        "#,
    );
    talk(
        &mut other,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",["a"]]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("a", 1);
    server.emit("b", 2);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":["a",1]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":["b",2]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    assert_eq!(server.stats().channels, 1);
    server.emit("a", 3);
    talk(
        &mut other,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":["a",1]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":["a",3]}
        "#,
    );
    talk(&mut client, "-- silence");
}

#[test]
fn vent_040_a_channel_may_have_any_name_but_none() {
    let tm = async |vent: Vent, channel: String| vent.relay(Channel::trusted(channel)).await;
    let server = Running::start(Server::builder().vent("tm", tm));
    let mut client = server.client();
    for channel in ["__proto__", "constructor", "hasOwnProperty", "a b", "ü"] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{VID}","{channel}"]}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
        server.emit(channel, channel);
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":"{channel}"}}"#
        ));
        talk(
            &mut client,
            r#"
            -> {"msg":"unsub","id":"S1"}
            <- {"msg":"nosub","id":"S1"}
            "#,
        );
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",""]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,…
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","a\nb"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,…
        "#,
    );
}

#[test]
fn vent_077_a_function_that_returns_nothing_sends_nothing() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.on("c", |m: &Message| m.value().get("shouldReturn").cloned())
            .await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    server.emit("c", ejson!({ "shouldReturn": false }));
    server.emit("c", ejson!({}));
    server.emit("c", ejson!({ "shouldReturn": "this" }));
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"this"}
        -- silence
        "#,
    );
}

#[test]
fn found_108_events_between_confirmation_and_ready_are_held_up_to_a_limit_and_then_a_gap() {
    let gate = Gate::new();
    let gaps = Count::default();
    let (waiting, counting) = (gate.clone(), gaps.clone());
    let server = Running::start(Server::builder().vent("tm", move |vent: Vent| {
        let (waiting, gaps) = (waiting.clone(), counting.clone());
        vent.on_gap(move || {
            gaps.add();
            Some("gap")
        });
        async move {
            vent.relay("c").await?;
            waiting.pass().await;
            Ok(())
        }
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"-> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}"#,
    );
    gate.await_arrival(&server);
    for event in 1..=256 {
        server.emit("c", event);
    }
    talk(&mut client, "-- silence");
    assert_eq!((gaps.get(), server.stats().gaps), (0, 0));
    for event in 257..=300 {
        server.emit("c", event);
    }
    talk(&mut client, "-- silence");
    assert_eq!((gaps.get(), server.stats().gaps), (1, 1));
    gate.open(1);
    talk(&mut client, r#"<- {"msg":"ready","subs":["S1"]}"#);
    for event in 1..=256 {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{event}}}"#
        ));
    }
    server.emit("c", "after");
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"gap"}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"after"}
        "#,
    );
}

#[test]
fn a_subscription_may_emit_and_hear_itself() {
    let server = Running::start(
        Server::builder()
            .vent("tm", async |vent: Vent| {
                vent.relay("c").await?;
                vent.emit("c", "from the publication").await
            })
            .method("emit", async |call: Call, value: Value| {
                call.emit("c", value).await
            }),
    );
    let mut client = server.client();
    subscribe(&mut client);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":"from the publication"}"#,
    );
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"emit","params":["from a method"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"from a method"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        -> {"msg":"method","id":"2","method":"emit","params":[]}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","error":{"isClientSafe":true,"error":400,…
        -- silence
        "#,
    );
}
