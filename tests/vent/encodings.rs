//! The three encodings of an event: which a subscription gets, what its frames say, and which Vent
//! ids it may use.

use crate::common::{Gate, Running, talk};
use updraft::prelude::*;
use updraft::{Binary, Builder, EncodingChoice, VentOptions};

/// Everything on the channel `c`, as it came.
async fn tm(vent: Vent) -> Result<()> {
    vent.relay("c").await
}

/// The same, mapped.
async fn mapped(vent: Vent) -> Result<()> {
    vent.on("c", |m: &Message| Some(m.value().clone())).await
}

fn emit_typed(server: &Running) {
    let oid: ObjectId = "0123456789abcdef01234567".parse().unwrap();
    server.emit(
        "c",
        ejson!({ "at": Date::from_millis(5.0), "b": Binary(vec![1, 2]), "o": oid, "n": [f64::NAN, f64::INFINITY] }),
    );
    server.emit("c", ejson!({ "$date": 5 }));
}

#[test]
fn vent_034_035_the_shipped_frame_carries_plain_json() {
    let server = Running::start(Server::builder().vent("tm", tm).vent("mapped", mapped));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"mapped","params":["VID"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    emit_typed(&server);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"at":"1970-01-01T00:00:00.005Z","b":{"0":1,"1":2},"o":{"_str":"0123456789abcdef01234567"},"n":[null,null]}}
        <- {"msg":"changed","__vent":"1","id":"VID.mapped","e":{"at":"1970-01-01T00:00:00.005Z","b":{"0":1,"1":2},"o":{"_str":"0123456789abcdef01234567"},"n":[null,null]}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"$date":5}}
        <- {"msg":"changed","__vent":"1","id":"VID.mapped","e":{"$date":5}}
        "#,
    );
}

#[test]
fn vent_034_035_with_the_option_it_carries_ejson() {
    let options = VentOptions::new().ejson();
    let server = Running::start(
        Server::builder()
            .vent_with("tm", options, tm)
            .vent_with("mapped", options, mapped),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"mapped","params":["VID"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    emit_typed(&server);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"at":{"$date":5},"b":{"$binary":"AQI="},"o":{"$type":"oid","$value":"0123456789abcdef01234567"},"n":[{"$InfNaN":0},{"$InfNaN":1}]}}
        <- {"msg":"changed","__vent":"1","id":"VID.mapped","e":{"at":{"$date":5},"b":{"$binary":"AQI="},"o":{"$type":"oid","$value":"0123456789abcdef01234567"},"n":[{"$InfNaN":0},{"$InfNaN":1}]}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"$escape":{"$date":5}}}
        <- {"msg":"changed","__vent":"1","id":"VID.mapped","e":{"$escape":{"$date":5}}}
        "#,
    );
}

#[test]
fn vent_034_035_collections_and_streams_carry_ejson() {
    let server = Running::start(Server::builder().vent("tm", tm).streamer("x", mapped));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"stream-x","params":["n",false]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    emit_typed(&server);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":{"at":{"$date":5},"b":{"$binary":"AQI="},"o":{"$type":"oid","$value":"0123456789abcdef01234567"},"n":[{"$InfNaN":0},{"$InfNaN":1}]}}}
        <- {"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"n","args":[{"at":{"$date":5},"b":{"$binary":"AQI="},"o":{"$type":"oid","$value":"0123456789abcdef01234567"},"n":[{"$InfNaN":0},{"$InfNaN":1}]}]}}
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":{"$escape":{"$date":5}}}}
        <- {"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"n","args":[{"$escape":{"$date":5}}]}}
        "#,
    );
}

#[test]
fn vent_079_a_collection_of_its_own_stands_for_a_subscription() {
    let server = Running::start(Server::builder().vent("tm", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.\"a\""]}
        <- {"msg":"added","collection":"vent.\"a\"","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", ejson!({ "text": "Hello!" }));
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.\"a\"","id":"id","fields":{"event":{"text":"Hello!"}}}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"removed","collection":"vent.\"a\"","id":"id"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
}

#[test]
fn vent_080_equal_events_are_sent_each() {
    let server = Running::start(Server::builder().vent("tm", tm).streamer("x", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S2"]}
        -> {"msg":"sub","id":"S3","name":"stream-x","params":["n",true]}
        <- {"msg":"added","collection":"stream-x","id":"id","fields":{"eventName":"n"}}
        <- {"msg":"ready","subs":["S3"]}
        "#,
    );
    for _ in 0..2 {
        server.emit("c", "same");
        talk(
            &mut client,
            r#"
            <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":"same"}}
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"same"}
            <- {"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"n","args":["same"]}}
            "#,
        );
    }
}

/// Subscribes with an id that looks like Meteor's, then with one that does not, and looks at which
/// frames come.
fn assert_chosen(builder: Builder, meteors: EncodingChoice, others: EncodingChoice) {
    let server = Running::start(builder);
    let mut client = server.client();
    for (id, choice) in [("23456789ABCDEFGHJ", meteors), ("vent.a", others)] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{id}"]}}"#
        ));
        let is_collection = choice == EncodingChoice::Collection;
        if is_collection {
            client.expect_text(&format!(
                r#"{{"msg":"added","collection":"{id}","id":"id","fields":{{}}}}"#
            ));
        }
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
        server.emit("c", 1);
        if is_collection {
            client.expect_text(&format!(
                r#"{{"msg":"changed","collection":"{id}","id":"id","fields":{{"event":1}}}}"#
            ));
        } else {
            client.expect_text(&format!(
                r#"{{"msg":"changed","__vent":"1","id":"{id}.tm","e":1}}"#
            ));
        }
        client.send_text(r#"{"msg":"unsub","id":"S1"}"#);
        if is_collection {
            client.expect_text(&format!(
                r#"{{"msg":"removed","collection":"{id}","id":"id"}}"#
            ));
        }
        client.expect_text(r#"{"msg":"nosub","id":"S1"}"#);
    }
}

#[test]
fn the_encoding_is_chosen_by_the_vent_id_the_publication_or_the_server() {
    use EncodingChoice::{Auto, Collection, Vent};
    let server = Server::builder;
    let with = |choice| VentOptions::new().encoding(choice);
    assert_chosen(server().vent("tm", tm), Vent, Collection);
    for choice in [Collection, Vent] {
        assert_chosen(
            server()
                .configure(|settings| settings.sessions.encoding = choice)
                .vent("tm", tm),
            choice,
            choice,
        );
        assert_chosen(server().vent_with("tm", with(choice), tm), choice, choice);
    }
    let over_server = server().configure(|settings| settings.sessions.encoding = Collection);
    assert_chosen(over_server.vent_with("tm", with(Vent), tm), Vent, Vent);
    let back_to_auto = server().configure(|settings| settings.sessions.encoding = Vent);
    assert_chosen(
        back_to_auto.vent_with("tm", with(Auto), tm),
        Vent,
        Collection,
    );
}

#[test]
fn numbered_events_count_from_one_in_each_subscription() {
    let options = VentOptions::new().numbered();
    let server = Running::start(Server::builder().vent_with("tm", options, tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", "x");
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"n":1,"event":"x"}}
        -> {"msg":"sub","id":"S2","name":"tm","params":["vent.b"]}
        <- {"msg":"added","collection":"vent.b","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S2"]}
        -> {"msg":"sub","id":"S3","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S3"]}
        "#,
    );
    server.emit("c", "x");
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"n":2,"event":"x"}}
        <- {"msg":"changed","collection":"vent.b","id":"id","fields":{"n":1,"event":"x"}}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":"x"}
        "#,
    );
}

#[test]
fn a_vent_id_may_not_be_the_name_of_another_collection() {
    let server = Running::start(
        Server::builder()
            .vent("tm", tm)
            .publish("things", async |things: Subscription| {
                things.added("things", "a", ejson!({ "n": 1 }));
                Ok(())
            })
            .configure(|settings| settings.sessions.reserved = vec!["mine".into()]),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"T","name":"things","params":[]}
        <- {"msg":"added","collection":"things","id":"a","fields":{"n":1}}
        <- {"msg":"ready","subs":["T"]}
        "#,
    );
    for id in [
        "users",
        "meteor_accounts_loginServiceConfiguration",
        "__x",
        "stream-x",
        "mine",
        "things",
    ] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{id}"]}}"#
        ));
        let refused = client.expect_any_text();
        let expected = r#"{"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,"#;
        assert!(refused.starts_with(expected), "{id}: {refused}");
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"unsub","id":"T"}
        <- {"msg":"removed","collection":"things","id":"a"}
        <- {"msg":"nosub","id":"T"}
        -> {"msg":"sub","id":"S1","name":"tm","params":["things"]}
        <- {"msg":"added","collection":"things","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"T","name":"things","params":[]}
        <- {"msg":"nosub","id":"T","error":{"isClientSafe":true,"error":400,…
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"removed","collection":"things","id":"id"}
        <- {"msg":"nosub","id":"S1"}
        -> {"msg":"sub","id":"T","name":"things","params":[]}
        <- {"msg":"added","collection":"things","id":"a","fields":{"n":1}}
        <- {"msg":"ready","subs":["T"]}
        "#,
    );
}

#[test]
fn a_vent_id_is_taken_before_its_subscription_is_ready() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let server = Running::start(
        Server::builder()
            .vent("slow", move |vent: Vent| {
                let waiting = waiting.clone();
                async move {
                    vent.unblock();
                    waiting.pass().await;
                    Ok(())
                }
            })
            .publish("things", async |things: Subscription| {
                things.added("things", "a", ejson!({ "n": 1 }));
                Ok(())
            }),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"slow","params":["things"]}
        -> {"msg":"sub","id":"T","name":"things","params":[]}
        <- {"msg":"nosub","id":"T","error":{"isClientSafe":true,"error":400,…
        "#,
    );
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"added","collection":"things","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
}

#[test]
fn in_the_shipped_encoding_a_vent_id_is_no_collection() {
    let server = Running::start(
        Server::builder()
            .configure(|settings| settings.sessions.encoding = EncodingChoice::Vent)
            .vent("tm", tm),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["users"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"users.tm","e":1}"#,
    );
}

#[test]
fn a_vent_id_used_twice_is_added_once_and_removed_with_the_last() {
    let server = Running::start(Server::builder().vent("tm", tm).vent("other", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"other","params":["vent.a"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    server.emit("c", 1);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":1}}
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":1}}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    server.emit("c", 2);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"vent.a","id":"id","fields":{"event":2}}
        -> {"msg":"unsub","id":"S2"}
        <- {"msg":"removed","collection":"vent.a","id":"id"}
        <- {"msg":"nosub","id":"S2"}
        "#,
    );
}

#[test]
fn a_handler_that_fails_first_leaves_no_trace_of_its_collection() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.relay("c").await?;
        vent.emit("c", "held, then dropped").await?;
        Err::<(), _>(Error::forbidden("No"))
    }));
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":403,…
        -- silence
        "#,
    );
}

#[test]
fn documents_and_events_of_one_subscription() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        vent.added("things", "a", ejson!({ "n": 1 }));
        vent.relay("c").await
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"added","collection":"things","id":"a","fields":{"n":1}}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"removed","collection":"things","id":"a"}
        <- {"msg":"removed","collection":"vent.a","id":"id"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
}
