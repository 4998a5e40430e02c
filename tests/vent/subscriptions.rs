//! Subscriptions to events: what begins one, what ends one, and what its client hears in between.

use std::time::Duration;

use crate::common::{Gate, Running, VID, eventually_within, meanwhile, received, talk};
use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::client::Client;

#[derive(Deserialize)]
struct Wish {
    channel: String,
}

/// Whatever comes on the channel that the client names.
async fn tm(vent: Vent, Wish { channel }: Wish) -> Result<()> {
    vent.relay(channel![channel]).await
}

fn tm_server() -> Builder {
    Server::builder().vent("tm", tm).vent("a.b", tm)
}

#[test]
fn vent_001_to_006_013_a_message_reaches_the_subscriber_in_the_shipped_frame() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"a.b","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    server.emit("c", ejson!({ "text": "Hello!" }));
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"text":"Hello!"}}
        <- {"msg":"changed","__vent":"1","id":"VID.a.b","e":{"text":"Hello!"}}
        "#,
    );
}

#[test]
fn vent_009_010_011_values_are_printed_as_javascript_does() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        let event = ejson!({ "b": 1.0, "2": 1e21, "ü": "€ 😀", "a": -0.5 });
        vent.on("c", move |_: &Message| Some(event.clone())).await
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"2":1e+21,"b":1,"ü":"€ 😀","a":-0.5}}"#,
    );
}

#[test]
fn vent_013_014_the_handler_gets_the_rest_of_the_parameters() {
    let gate = Gate::new();
    let seen = gate.clone();
    let server = Running::start(Server::builder().vent("tm", move |vent: Vent, args: Args| {
        seen.arrive();
        vent.added("seen", "args", ejson!({ "args": args.0 }));
        async { Ok(()) }
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"},null,[1]]}
        <- {"msg":"added","collection":"seen","id":"args","fields":{"args":[{"channel":"c"},null,[1]]}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"removed","collection":"seen","id":"args"}
        <- {"msg":"nosub","id":"S1"}
        -> {"msg":"sub","id":"S2","name":"tm","params":["VID"]}
        <- {"msg":"added","collection":"seen","id":"args","fields":{"args":[]}}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    gate.await_arrival(&server);
}

#[test]
fn vent_015_018_ready_comes_once_and_before_every_event() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let server = Running::start(Server::builder().vent("tm", move |vent: Vent| {
        let waiting = waiting.clone();
        async move {
            vent.relay("c").await?;
            waiting.pass().await;
            vent.ready();
            waiting.pass().await;
            vent.ready();
            Ok(())
        }
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"-> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}"#,
    );
    gate.await_arrival(&server);
    for event in 1..=3 {
        server.emit("c", event);
    }
    talk(&mut client, "-- silence");
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":2}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":3}
        "#,
    );
    gate.await_arrival(&server);
    server.emit("c", 4);
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":4}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
}

#[test]
fn vent_019_020_062_each_subscription_gets_each_event_and_a_ready_of_its_own() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        -> {"msg":"sub","id":"S2","name":"tm","params":["ABCDEFGHJKLMNPQRS",{"channel":"c"}]}
        -> {"msg":"sub","id":"S3","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"ready","subs":["S2"]}
        <- {"msg":"ready","subs":["S3"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"ABCDEFGHJKLMNPQRS.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        "#,
    );
    assert_eq!(server.stats().channels, 1);
}

#[test]
fn vent_021_a_subscription_id_in_use_is_ignored() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S1","name":"a.b","params":["VID",{"channel":"d"}]}
        -> {"msg":"sub","id":"S1","name":"tm","params":[5]}
        -- silence
        "#,
    );
    assert_eq!(server.stats().subscriptions, 1);
}

#[test]
fn vent_022_subscription_ids_belong_to_their_session() {
    let server = Running::start(tm_server());
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        talk(
            client,
            r#"
            -> {"msg":"sub","id":"1","name":"tm","params":["VID",{"channel":"c"}]}
            <- {"msg":"ready","subs":["1"]}
            "#,
        );
    }
    server.emit("c", "both");
    for client in &mut clients {
        talk(
            client,
            r#"
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"both"}
            -> {"msg":"unsub","id":"1"}
            <- {"msg":"nosub","id":"1"}
            "#,
        );
    }
}

#[test]
fn vent_023_024_what_is_no_subscription() {
    let server = Running::start(tm_server());
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"S1","name":"zz","params":["VID"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":404,"reason":"Subscription 'zz' not found","message":"Subscription 'zz' not found [404]","errorType":"Meteor.Error"}}
        -> {"msg":"sub","id":1,"name":"tm","params":["VID"]}
        <- {"msg":"error","reason":"Malformed subscription","offendingMessage":{"msg":"sub","id":1,"name":"tm","params":["VID"]}}
        -> {"msg":"sub","id":"S1","name":{},"params":["VID"]}
        <- {"msg":"error","reason":"Malformed subscription","offendingMessage":{"msg":"sub","id":"S1","name":{},"params":["VID"]}}
        -> {"msg":"sub","id":"S1","name":"tm","params":"VID"}
        <- {"msg":"error","reason":"Malformed subscription","offendingMessage":{"msg":"sub","id":"S1","name":"tm","params":"VID"}}
        "#,
    );
}

#[test]
fn vent_025_026_027_a_vent_id_is_a_short_string_without_control_characters() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    let wish = r#"{"channel":"c"}"#;
    let long = format!("{:?}", "é".repeat(129));
    let params = [
        String::new(),
        wish.to_owned(),
        format!("7,{wish}"),
        format!("null,{wish}"),
        format!(r#"["VID"],{wish}"#),
        format!(r#"{{"$type":"oid","$value":"0123456789abcdef01234567"}},{wish}"#),
        format!(r#""",{wish}"#),
        format!(r#""a\nb",{wish}"#),
        format!(r#""a\u007f",{wish}"#),
        format!(r#""\ud800",{wish}"#),
        format!("{long},{wish}"),
    ];
    for params in params {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":[{params}]}}"#
        ));
        talk(
            &mut client,
            r#"<- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,…"#,
        );
    }
    let longest = "é".repeat(128);
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"S1","name":"tm","params":["{longest}",{wish}]}}"#
    ));
    client.expect_text(&format!(
        r#"{{"msg":"added","collection":"{longest}","id":"id","fields":{{}}}}"#
    ));
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
}

#[test]
fn vent_028_a_subscription_may_follow_connect_in_the_same_flight() {
    let server = Running::start(tm_server());
    let mut client = Client::connect(server.url());
    talk(
        &mut client,
        r#"
        -> {"msg":"connect","version":"1","support":["1"]}
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"connected","session":"…
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
}

#[test]
fn vent_050_051_052_no_event_comes_after_nosub() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    let nosubs = [
        r#"{"msg":"nosub","id":"S1"}"#,
        r#"{"msg":"nosub","id":"S9"}"#,
    ];
    let event = format!(r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":1}}"#);
    meanwhile(
        || server.emit("c", 1),
        || {
            for _ in 0..50 {
                talk(
                    &mut client,
                    r#"
                    -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
                    <- {"msg":"ready","subs":["S1"]}
                    <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
                    -> {"msg":"unsub","id":"S1"}
                    -> {"msg":"unsub","id":"S9"}
                    "#,
                );
                let texts = received(&mut client);
                let after = texts.iter().position(|text| *text != event);
                assert_eq!(texts[after.unwrap()..], nosubs);
            }
        },
    );
}

#[test]
fn vent_053_a_channel_is_followed_until_its_last_subscriber_leaves() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    let mut other = server.client();
    for client in [&mut client, &mut other] {
        talk(
            client,
            r#"
            -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
            <- {"msg":"ready","subs":["S1"]}
            "#,
        );
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    assert_eq!(server.stats().channels, 1);
    server.emit("c", "still");
    talk(
        &mut other,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":"still"}"#,
    );
    drop(other);
    let limit = Duration::from_secs(5);
    assert!(eventually_within(limit, || server.stats().channels == 0));
}

#[test]
fn vent_054_055_a_failed_subscription_says_why_and_its_id_is_free_again() {
    let server = Running::start(tm_server().vent(
        "no",
        async |vent: Vent, code: Option<String>| {
            vent.relay("c").await?;
            match code {
                Some(code) => Err::<(), _>(Error::new(code, "No")),
                None => Err(std::io::Error::other("a secret").into()),
            }
        },
    ));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"D","name":"no","params":["VID","not-allowed"]}
        <- {"msg":"nosub","id":"D","error":{"isClientSafe":true,"error":"not-allowed","reason":"No","message":"No [not-allowed]","errorType":"Meteor.Error"}}
        -> {"msg":"sub","id":"D","name":"no","params":["vent.d"]}
        <- {"msg":"nosub","id":"D","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}}
        "#,
    );
    let limit = Duration::from_secs(5);
    assert!(eventually_within(limit, || server.stats().channels == 0));
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"D","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["D"]}
        "#,
    );
}

#[test]
fn vent_056_a_handler_that_stops_itself_sends_nosub_and_no_ready() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.relay("c").await?;
        vent.stop();
        Ok(())
    }));
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"nosub","id":"S1"}
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"nosub","id":"S1"}
        -- silence
        "#,
    );
}

#[test]
fn vent_063_064_a_client_that_comes_back_goes_on_under_its_vent_id_and_has_lost_the_gap() {
    let server = Running::start(tm_server());
    let subscribe = r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        <- {"msg":"ready","subs":["S1"]}
        "#;
    let mut client = server.client();
    talk(&mut client, subscribe);
    server.emit("c", "before");
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":"before"}"#,
    );
    client.reset();
    let limit = Duration::from_secs(5);
    assert!(eventually_within(limit, || server.is_at_rest()));
    server.emit("c", "in the gap");
    let mut client = server.client();
    talk(&mut client, subscribe);
    server.emit("c", "after");
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"after"}
        -- silence
        "#,
    );
}

#[test]
fn vent_078_stopped_right_after_subscribing_there_are_no_events() {
    let server = Running::start(tm_server());
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID",{"channel":"c"}]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    server.emit("c", 1);
    talk(&mut client, "-- silence");
}
