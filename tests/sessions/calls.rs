//! Calls of methods: what the function is given, what its client hears and when, and what one call
//! may do with others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::common::{Gate, Running, runtime, talk};
use updraft::prelude::*;
use updraft::{Args, Builder, ErrorKind};
use updraft_test_support::client::{Client, PATIENCE};

/// Calls a method and answers with what its `result` says, from the first member on.
#[track_caller]
fn call(client: &mut Client, method: &str, params: &str) -> String {
    client.send_text(&format!(
        r#"{{"msg":"method","id":"call","method":"{method}","params":{params}}}"#
    ));
    client.expect_text(r#"{"msg":"updated","methods":["call"]}"#);
    let answer = client.expect_any_text();
    let answer = answer.strip_prefix(r#"{"msg":"result","id":"call""#);
    let answer = answer.and_then(|rest| rest.strip_suffix('}'));
    answer.expect("a result").to_owned()
}

const MATCH_FAILED: &str = r#","error":{"isClientSafe":true,"error":400,"reason":"Match failed","message":"Match failed [400]","errorType":"Meteor.Error"}"#;

/// What a method saw of its parameters.
macro_rules! echo {
    ($type:ty) => {
        async |_: Call, given: $type| Ok(format!("{given:?}"))
    };
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its Debug form is looked at")]
struct Search {
    first_word: String,
    limit: Option<u8>,
}

#[test]
fn ddp_127_144_parameters_are_read_as_the_type_that_the_function_takes() {
    let server = Running::start(
        // Its clients are told no more than Meteor's are.
        Server::builder()
            .configure(|settings| settings.trusted_proxies = updraft::TrustedProxies::Hops(1))
            .method("nothing", async |_: Call| Ok("called"))
            .method("string", echo!(String))
            .method("tuple", echo!((String, u8)))
            .method("mixed", echo!((Search, Option<bool>)))
            .method("struct", echo!(Search))
            .method("option", echo!(Option<u8>))
            .method("list", echo!(Vec<u8>))
            .method("map", echo!(BTreeMap<String, u8>))
            .method("args", async |_: Call, args: Args| Ok(args.0)),
    );
    let mut client = server.client();
    for (method, params, seen) in [
        ("nothing", "[]", "called"),
        ("nothing", r#"["surplus"]"#, "called"),
        ("string", r#"["a","surplus"]"#, r#"\"a\""#),
        ("tuple", r#"["a",5]"#, r#"(\"a\", 5)"#),
        ("tuple", r#"["a",5,"surplus"]"#, r#"(\"a\", 5)"#),
        (
            "mixed",
            r#"[{"firstWord":"a"}]"#,
            r#"(Search { first_word: \"a\", limit: None }, None)"#,
        ),
        (
            "mixed",
            r#"[{"firstWord":"a","limit":null},true]"#,
            r#"(Search { first_word: \"a\", limit: None }, Some(true))"#,
        ),
        (
            "struct",
            r#"[{"limit":7,"unknown":[],"firstWord":"ü"},"surplus"]"#,
            r#"Search { first_word: \"ü\", limit: Some(7) }"#,
        ),
        ("option", "[]", "None"),
        ("option", "[null]", "None"),
        ("option", "[8]", "Some(8)"),
        ("list", "[[1,2]]", "[1, 2]"),
        ("map", "[]", "{}"),
        ("map", r#"[{"a":1}]"#, r#"{\"a\": 1}"#),
    ] {
        let expected = format!(r#","result":"{seen}""#);
        assert_eq!(
            call(&mut client, method, params),
            expected,
            "{method}{params}"
        );
    }
    assert_eq!(
        call(&mut client, "args", r#"[1,null,{"$date":5}]"#),
        r#","result":[1,null,{"$date":5}]"#
    );
    assert_eq!(call(&mut client, "args", "[]"), r#","result":[]"#);
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"option"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":"None"}
        "#,
    );
    for (method, params) in [
        ("string", "[]"),
        ("string", "[null]"),
        ("string", "[5]"),
        ("string", r#"[{"$ne":null}]"#),
        ("tuple", "[]"),
        ("tuple", r#"["a"]"#),
        ("tuple", r#"["a",256]"#),
        ("tuple", r#"["a",1.5]"#),
        ("tuple", r#"[["a",1]]"#),
        ("mixed", r#"[{"firstWord":"a"},1]"#),
        ("struct", "[]"),
        ("struct", "[null]"),
        ("struct", r#"["a"]"#),
        ("struct", r#"[{"firstWord":"a","limit":-1}]"#),
        ("option", r#"["8"]"#),
        ("list", "[]"),
        ("list", "[[1,-2]]"),
    ] {
        assert_eq!(
            call(&mut client, method, params),
            MATCH_FAILED,
            "{method}{params}"
        );
    }
}

#[test]
fn ddp_144_a_publication_whose_parameters_do_not_fit_is_refused() {
    let server = Running::start(
        // Its clients are told no more than Meteor's are.
        Server::builder()
            .configure(|settings| settings.trusted_proxies = updraft::TrustedProxies::Hops(1))
            .publish("things", async |_: Subscription, _: Search| Ok(()))
            .vent(
                "tm",
                async |vent: Vent, Search { first_word, .. }: Search| {
                    vent.relay(channel![first_word]).await
                },
            ),
    );
    talk(
        &mut server.client(),
        r#"
        -> {"msg":"sub","id":"S1","name":"things","params":[5]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,"reason":"Match failed","message":"Match failed [400]","errorType":"Meteor.Error"}}
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,"reason":"Match failed","message":"Match failed [400]","errorType":"Meteor.Error"}}
        -> {"msg":"sub","id":"S1","name":"tm","params":["vent.a",{"firstWord":"a::b"}]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":400,…
        "#,
    );
}

#[test]
fn ddp_128_129_what_a_method_returns() {
    let server = Running::start(
        Server::builder()
            .method("unit", async |_: Call| Ok(()))
            .method("none", async |_: Call| Ok(None::<u8>))
            .method("value", async |_: Call, value: Value| Ok(value)),
    );
    let mut client = server.client();
    assert_eq!(call(&mut client, "unit", "[]"), "");
    assert_eq!(call(&mut client, "none", "[]"), r#","result":null"#);
    assert_eq!(call(&mut client, "value", "[]"), "");
    for value in ["null", "0", "false", r#""""#, r#"{"$date":5}"#] {
        let result = call(&mut client, "value", &format!("[{value}]"));
        assert_eq!(result, format!(r#","result":{value}"#));
    }
}

/// A publication that the test and methods can reach, and methods that write to it.
fn writing(gate: &Gate) -> Builder {
    let live = Arc::new(Mutex::new(None::<Subscription>));
    let publish = {
        let live = live.clone();
        move |things: Subscription| {
            *live.lock().unwrap() = Some(things);
            async { Ok(()) }
        }
    };
    let write = move |live: &Mutex<Option<Subscription>>, id: &str| {
        let things = live
            .lock()
            .unwrap()
            .clone()
            .expect("somebody has subscribed");
        things.added("things", id, ejson!({ "n": 1 }));
    };
    let (gate, at_once) = (gate.clone(), live.clone());
    Server::builder()
        .publish("things", publish)
        .method("write later", move |call: Call| {
            let (gate, live) = (gate.clone(), live.clone());
            let guard = call.begin_write();
            call.run(async move {
                gate.pass().await;
                write(&live, "later");
                drop(guard);
            });
            async { Ok("begun") }
        })
        .method("write", move |call: Call| {
            let guard = call.begin_write();
            write(&at_once, "at once");
            drop(guard);
            async { Ok("written") }
        })
        .method("other", async |_: Call| Ok(()))
}

#[test]
fn ddp_148_149_updated_waits_for_writes_and_holds_nobody_up() {
    let gate = Gate::new();
    let server = Running::start(writing(&gate));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"things","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"write later","params":[]}
        <- {"msg":"result","id":"1","result":"begun"}
        -> {"msg":"method","id":"2","method":"other","params":[]}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2"}
        "#,
    );
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"added","collection":"things","id":"later","fields":{"n":1}}
        <- {"msg":"updated","methods":["1"]}
        -> {"msg":"method","id":"3","method":"write","params":[]}
        <- {"msg":"added","collection":"things","id":"at once","fields":{"n":1}}
        <- {"msg":"updated","methods":["3"]}
        <- {"msg":"result","id":"3","result":"written"}
        "#,
    );
}

#[test]
fn ddp_148_a_write_goes_on_when_its_client_has_gone() {
    let gate = Gate::new();
    let server = Running::start(writing(&gate));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"things","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"method","id":"1","method":"write later","params":[]}
        <- {"msg":"result","id":"1","result":"begun"}
        "#,
    );
    client.reset();
    let gone = crate::common::eventually_within(PATIENCE, || server.stats().connections == 0);
    assert!(gone);
    assert_eq!(server.stats().tasks, 1);
    gate.open(1);
}

#[test]
fn ddp_150_an_id_may_be_used_again() {
    let server = Running::start(Server::builder().method("one", async |_: Call| Ok(1)));
    let mut client = server.client();
    for _ in 0..2 {
        talk(
            &mut client,
            r#"
            -> {"msg":"method","id":"1","method":"one","params":[]}
            <- {"msg":"updated","methods":["1"]}
            <- {"msg":"result","id":"1","result":1}
            "#,
        );
    }
}

#[test]
fn ddp_151_a_method_may_close_its_connection_and_nothing_more_is_sent() {
    let server = Running::start(Server::builder().method("close me", async |call: Call| {
        call.connection().close();
        Ok("not to be seen")
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"-> {"msg":"method","id":"1","method":"close me","params":[]}"#,
    );
    client.expect_close(1000, "Normal closure");
}

#[test]
fn ddp_145_146_calls_wait_for_each_other_unless_they_unblock() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let server = Running::start(
        Server::builder()
            .method("slow", move |call: Call, unblock: bool| {
                let gate = waiting.clone();
                async move {
                    if unblock {
                        call.unblock();
                        call.unblock();
                    }
                    gate.pass().await;
                    Ok("slow")
                }
            })
            .method("fast", async |_: Call| Ok("fast")),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"slow","params":[false]}
        -> {"msg":"method","id":"2","method":"fast","params":[]}
        "#,
    );
    gate.await_arrival(&server);
    talk(&mut client, "-- silence");
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":"slow"}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"fast"}
        -> {"msg":"method","id":"1","method":"slow","params":[true]}
        -> {"msg":"method","id":"2","method":"fast","params":[]}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"fast"}
        "#,
    );
    gate.open(1);
    talk(
        &mut client,
        r#"
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":"slow"}
        "#,
    );
}

#[test]
fn ddp_152_methods_call_each_other_on_the_same_connection() {
    let server = Running::start(
        Server::builder()
            .method("add", async |_: Call, (a, b): (u32, u32)| Ok(a + b))
            .method("unit", async |_: Call| Ok(()))
            .method("fails", async |_: Call, code: u16| {
                Err::<(), _>(Error::new(code, "No"))
            })
            .method("id", async |call: Call| {
                Ok(call.connection().session_id().to_owned())
            })
            .method(
                "outer",
                async |call: Call, which: String| -> Result<Value> {
                    Ok(match which.as_str() {
                        "add" => ejson!(call.call::<u32>("add", (1, 2)).await?),
                        "unit" => {
                            call.call::<()>("unit", ()).await?;
                            ejson!("nothing")
                        }
                        "id" => {
                            let inner: String = call.call("id", ()).await?;
                            ejson!([inner == call.connection().session_id(), inner])
                        }
                        "fails" => call.call("fails", [409]).await?,
                        "wrong result" => ejson!(call.call::<u32>("id", ()).await?),
                        unknown => call.call(unknown, ()).await?,
                    })
                },
            ),
    );
    let (mut client, session) = Client::ddp_connect(server.url());
    for (which, result) in [
        ("add", r#","result":3"#),
        ("unit", r#","result":"nothing""#),
        ("id", &format!(r#","result":[true,"{session}"]"#)),
        (
            "fails",
            r#","error":{"isClientSafe":true,"error":409,"reason":"No","message":"No [409]","errorType":"Meteor.Error"}"#,
        ),
        (
            "wrong result",
            r#","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}"#,
        ),
        (
            "zz",
            r#","error":{"isClientSafe":true,"error":404,"reason":"Method 'zz' not found","message":"Method 'zz' not found [404]","errorType":"Meteor.Error"}"#,
        ),
    ] {
        assert_eq!(
            call(&mut client, "outer", &format!(r#"["{which}"]"#)),
            result
        );
    }
}

#[test]
fn ddp_153_154_ids_follow_the_clients_seed_and_are_random_without_one() {
    let server = Running::start(
        Server::builder()
            .method("ids", async |call: Call| {
                let ids = ["default", "default", "/collection/things"];
                Ok(ids.map(|sequence| call.random_id(sequence)))
            })
            .method("seed", async |call: Call| Ok(call.random_seed()))
            .method("ctx", async |call: Call| Ok(call.random_seed()))
            .method("outer", async |call: Call| {
                call.call::<String>("ctx", ()).await
            }),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"ids","params":[],"randomSeed":"abcdef0123456789abcd"}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":["phtRHPzRKuyQiqu8M","NMnvmSwHxAw8FdQCP","sCEWu9KNiKn3R7CGa"]}
        -> {"msg":"method","id":"2","method":"outer","params":[],"randomSeed":"abcdef0123456789abcd"}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"810f5f16c4d1d66ad998"}
        "#,
    );
    let first = call(&mut client, "ids", "[]");
    let second = call(&mut client, "ids", "[]");
    assert!(
        first != second && !first.contains("error"),
        "{first} {second}"
    );
    assert_ne!(
        call(&mut client, "seed", "[]"),
        call(&mut client, "seed", "[]")
    );
}

#[test]
fn vent_073_074_a_name_that_is_defined_twice_is_an_error_when_the_server_is_built() {
    async fn vent(_: Vent) -> Result<()> {
        Ok(())
    }
    async fn publication(_: Subscription) -> Result<()> {
        Ok(())
    }
    async fn method(_: Call) -> Result<()> {
        Ok(())
    }
    let builder = Server::builder;
    let refused = [
        (builder().vent("a", vent).vent("a", vent), "publication 'a'"),
        (
            builder().publish("a", publication).vent("a", vent),
            "publication 'a'",
        ),
        (
            builder().vent("a", vent).publish("a", publication),
            "publication 'a'",
        ),
        (
            builder().streamer("x", vent).vent("stream-x", vent),
            "publication 'stream-x'",
        ),
        (
            builder().streamer("x", vent).streamer("x", vent),
            "publication 'stream-x'",
        ),
        (
            builder().method("a", method).method("a", method),
            "method 'a'",
        ),
    ];
    let runtime = runtime();
    for (builder, what) in refused {
        let error = runtime.block_on(builder.bind("127.0.0.1:0")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(what), "{error}");
    }
    let fine = builder()
        .publish_universal(publication)
        .publish_universal(publication)
        .vent("a", vent)
        .streamer("a", vent)
        .method("a", method);
    Running::start(fine);
}

#[test]
fn found_316_an_empty_name_is_an_error_when_the_server_is_built() {
    async fn vent(_: Vent) -> Result<()> {
        Ok(())
    }
    async fn publication(_: Subscription) -> Result<()> {
        Ok(())
    }
    async fn method(_: Call) -> Result<()> {
        Ok(())
    }
    let refused = [
        (Server::builder().publish("", publication), "a publication"),
        (Server::builder().vent("", vent), "a publication"),
        (Server::builder().streamer("", vent), "a streamer"),
        (Server::builder().method("", method), "a method"),
    ];
    let runtime = runtime();
    for (builder, what) in refused {
        let error = runtime.block_on(builder.bind("127.0.0.1:0")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = error.to_string();
        assert!(
            text.starts_with(what) && text.contains("empty name"),
            "{text}"
        );
    }
}

#[test]
fn found_307_closures_infer_their_error() {
    fn fails() -> std::io::Result<u8> {
        Err(std::io::Error::other("secret text"))
    }
    let pool = Arc::new(7);
    let (state, events) = (pool.clone(), pool);
    let server = Running::start(
        Server::builder()
            .method("unit", |_: Call| async move { Ok(()) })
            .method("text", async |_: Call| Ok("text"))
            .method("fails", |_: Call| async move { Ok(fails()?) })
            .method("state", move |_: Call, add: u8| {
                let state = state.clone();
                async move { Ok(*state + add) }
            })
            .publish("mapped", move |_: Subscription| async { Ok(()) })
            .vent("events", move |vent: Vent| {
                let events = events.clone();
                async move {
                    let map = move |message: &Message| {
                        let given: u8 = message.parse()?;
                        Ok(Some(given + *events))
                    };
                    vent.on("c", map).await?;
                    vent.on_async("d", async |message| Ok(Some(message.parse::<Value>()?)))
                        .await?;
                    Ok(())
                }
            }),
    );
    let mut client = server.client();
    assert_eq!(call(&mut client, "unit", "[]"), "");
    assert_eq!(call(&mut client, "text", "[]"), r#","result":"text""#);
    assert_eq!(call(&mut client, "state", "[1]"), r#","result":8"#);
    assert_eq!(call(&mut client, "fails", "[]"), INTERNAL);
    let subscribe = r#"
        -> {"msg":"sub","id":"S","name":"events","params":["VID"]}
        <- {"msg":"ready","subs":["S"]}
        "#;
    talk(&mut client, subscribe);
    server.emit("c", 1);
    let event = r#"<- {"msg":"changed","__vent":"1","id":"VID.events","e":8}"#;
    talk(&mut client, event);
    server.emit("d", 2);
    let event = r#"<- {"msg":"changed","__vent":"1","id":"VID.events","e":2}"#;
    talk(&mut client, event);
}

const INTERNAL: &str = r#","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}"#;

#[test]
fn found_305_texts_and_foreign_errors_are_not_the_clients() {
    let server = Running::start(
        Server::builder()
            .method("text", async |_: Call, given: Option<u8>| {
                given.ok_or("secret text")?;
                Ok(())
            })
            .method("boxed", async |_: Call| {
                let error: Box<dyn std::error::Error + Send + Sync> = "secret text".into();
                Err::<(), _>(error)?;
                Ok(())
            })
            .method("told", async |_: Call| {
                Err::<(), _>(Error::new(409, "No").into_boxed())?;
                Ok(())
            }),
    );
    let mut client = server.client();
    assert_eq!(call(&mut client, "text", "[]"), INTERNAL);
    assert_eq!(call(&mut client, "text", "[1]"), "");
    assert_eq!(call(&mut client, "boxed", "[]"), INTERNAL);
    let told = call(&mut client, "told", "[]");
    assert!(told.contains(r#""error":409,"reason":"No""#), "{told}");
}

#[test]
fn found_314_no_debug_form_shows_the_session_id() {
    let server = Running::start(
        Server::builder()
            .method("shown", async |call: Call| {
                Ok(format!("{call:?} {:?}", call.connection()))
            })
            .publish("shown", async |subscription: Subscription| {
                let shown = format!("{subscription:?} {:?}", subscription.connection());
                subscription.added("shown", "x", ejson!({ "as": shown }));
                Ok(())
            }),
    );
    let (mut client, session) = Client::ddp_connect(server.url());
    let shown = call(&mut client, "shown", "[]");
    client.send_text(r#"{"msg":"sub","id":"S","name":"shown","params":[]}"#);
    let document = client.expect_any_text();
    for text in [shown, document] {
        assert!(text.contains("log_id"), "{text}");
        assert!(!text.contains(session.as_str()), "{text}");
    }
}
