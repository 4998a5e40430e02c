//! Rocket.Chat's streams: shared collections whose events carry a name and arguments.

use crate::common::{Running, talk};
use updraft::Args;
use updraft::prelude::*;

/// Everything on the channel `c`, as it came.
async fn tm(vent: Vent) -> Result<()> {
    vent.relay("c").await
}

#[test]
fn a_streamers_events_carry_name_and_arguments() {
    let server = Running::start(Server::builder().streamer("notify-room", tm));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"stream-notify-room","params":["R1/user-activity",{"useCollection":false,"args":[]}]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    server.emit("c", ejson!(["bob", ["user-typing"]]));
    server.emit("c", ejson!({ "not": "an array" }));
    server.emit("c", ejson!([]));
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","collection":"stream-notify-room","id":"id","fields":{"eventName":"R1/user-activity","args":["bob",["user-typing"]]}}
        <- {"msg":"changed","collection":"stream-notify-room","id":"id","fields":{"eventName":"R1/user-activity","args":[{"not":"an array"}]}}
        <- {"msg":"changed","collection":"stream-notify-room","id":"id","fields":{"eventName":"R1/user-activity","args":[]}}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
}

#[test]
fn a_streamer_announces_its_document_to_those_who_want_a_collection() {
    let server = Running::start(Server::builder().streamer("x", tm));
    let mut client = server.client();
    for wish in ["true", r#"{"useCollection":true,"args":[1]}"#] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"stream-x","params":["n",{wish}]}}"#
        ));
        talk(
            &mut client,
            r#"
            <- {"msg":"added","collection":"stream-x","id":"id","fields":{"eventName":"n"}}
            <- {"msg":"ready","subs":["S1"]}
            "#,
        );
        server.emit("c", 1);
        talk(
            &mut client,
            r#"
            <- {"msg":"changed","collection":"stream-x","id":"id","fields":{"eventName":"n","args":[1]}}
            -> {"msg":"unsub","id":"S1"}
            <- {"msg":"removed","collection":"stream-x","id":"id"}
            <- {"msg":"nosub","id":"S1"}
            "#,
        );
    }
}

#[test]
fn a_streamers_handler_gets_the_event_name_and_the_arguments() {
    let server = Running::start(
        Server::builder().streamer("x", async |vent: Vent, args: Args| {
            vent.added("seen", "args", ejson!({ "args": args.0 }));
            Ok(())
        }),
    );
    let mut client = server.client();
    for (given, seen) in [
        (r#""n""#, r#"["n"]"#),
        (r#""n",false"#, r#"["n"]"#),
        (r#""n",false,"ignored""#, r#"["n"]"#),
        (
            r#""n",{"useCollection":false,"args":["t",{"a":1}]}"#,
            r#"["n","t",{"a":1}]"#,
        ),
        (
            r#""n",{"useCollection":false,"args":[null]}"#,
            r#"["n",null]"#,
        ),
        (r#""n",null"#, r#"["n"]"#),
    ] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"stream-x","params":[{given}]}}"#
        ));
        client.expect_text(&format!(
            r#"{{"msg":"added","collection":"seen","id":"args","fields":{{"args":{seen}}}}}"#
        ));
        talk(
            &mut client,
            r#"
            <- {"msg":"ready","subs":["S1"]}
            -> {"msg":"unsub","id":"S1"}
            <- {"msg":"removed","collection":"seen","id":"args"}
            <- {"msg":"nosub","id":"S1"}
            "#,
        );
    }
}

#[test]
fn a_streamer_without_an_event_name_is_refused() {
    let server = Running::start(Server::builder().streamer("x", tm));
    let mut client = server.client();
    let long = format!("{:?}", "x".repeat(257));
    for name in ["", "null", "5", r#""""#, &long] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"stream-x","params":[{name}]}}"#
        ));
        client.expect_text(r#"{"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":"invalid-event-name","message":"[invalid-event-name]","errorType":"Meteor.Error"}}"#);
    }
}
