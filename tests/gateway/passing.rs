//! What is passed on, and what comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use updraft::account::{Accounts, MemoryUsers};
use updraft::prelude::*;
use updraft::{Builder, ErrorKind, Meteor};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::transcript::Received;
use updraft_test_support::transport::{Transport, Way};

use crate::app::{App, SESSION};
use crate::common::{Running, received, runtime, talk};
use crate::world::{at, bare, both, fixture, in_front_of, url};

#[test]
fn gateway_001_what_is_not_registered_here_is_answered_by_the_app() {
    let app = fixture();
    let server = in_front_of(app.port(), |builder| {
        builder
            .method("here", async |_: Call| Ok("here"))
            .publish("mine", async |mine: Subscription| {
                mine.added("own", "a", ejson!({ "n": 1 }));
                Ok(())
            })
            .owns("own")
    });
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s1","name":"two"}
        <- {"msg":"added","collection":"things","id":"a","fields":{"n":1,"s":"x"}}
        <- {"msg":"added","collection":"things","id":"b","fields":{"n":2}}
        <- {"msg":"ready","subs":["s1"]}
        -> {"msg":"sub","id":"s2","name":"mine"}
        <- {"msg":"added","collection":"own","id":"a","fields":{"n":1}}
        <- {"msg":"ready","subs":["s2"]}
        -> {"msg":"method","id":"1","method":"echo","params":[5]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":[5]}
        -> {"msg":"method","id":"2","method":"here"}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"here"}
        -> {"msg":"unsub","id":"s1"}
        <- {"msg":"removed","collection":"things","id":"a"}
        <- {"msg":"removed","collection":"things","id":"b"}
        <- {"msg":"nosub","id":"s1"}
        -> {"msg":"unsub","id":"s2"}
        <- {"msg":"removed","collection":"own","id":"a"}
        <- {"msg":"nosub","id":"s2"}
        -> {"msg":"ping","id":"p"}
        <- {"msg":"pong","id":"p"}
        "#,
    );
    assert_eq!(server.stats().upstreams, 1);
    drop(client);
}

#[test]
fn gateway_004_006_the_client_is_told_the_session_that_the_app_gave() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.method("session", async |call: Call| {
            Ok(call.connection().session_id().to_owned())
        })
    });
    let mut client = Client::connect(server.url());
    client.send_text(CONNECT);
    // What comes before the app has answered waits.
    client.send_text(r#"{"msg":"method","id":"1","method":"session"}"#);
    client.send_text(r#"{"msg":"method","id":"2","method":"theirs"}"#);
    let mut there = app.shake_hands();
    there.hears(r#"{"msg":"connect","version":"1","support":["1"]}"#);
    client.expect_silence(50);
    there.says(r#"{"server_id":"0"}"#);
    there.says(r#"{"msg":"connected","session":"abcdefghij2345678"}"#);
    there.says(r#"{"msg":"added","collection":"u","id":"1","fields":{}}"#);
    there.hears(r#"{"msg":"method","id":"2","method":"theirs"}"#);
    client.expect_text(r#"{"msg":"connected","session":"abcdefghij2345678"}"#);
    let rest: BTreeSet<String> = (0..3).map(|_| client.expect_any_text()).collect();
    let expected = [
        r#"{"msg":"added","collection":"u","id":"1","fields":{}}"#,
        r#"{"msg":"updated","methods":["1"]}"#,
        r#"{"msg":"result","id":"1","result":"abcdefghij2345678"}"#,
    ];
    assert_eq!(rest, expected.map(String::from).into());
    // The greeting was not passed on.
    client.expect_silence(20);
    client.close();
    there.is_left();
}

#[test]
fn gateway_005_the_version_is_negotiated_here_and_compression_is_not_offered() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let mut client = Client::connect(server.url());
    client.send_text(r#"{"msg":"connect","version":"2","support":["2","pre2"]}"#);
    client.expect_text(r#"{"msg":"failed","version":"pre2"}"#);
    client.expect_close(1000, "Normal closure");
    let mut client = Client::connect(server.url());
    client.send_text(r#"{"msg":"connect","version":"pre1","support":["pre1"]}"#);
    let there = app.accept();
    client.expect_text(&format!(r#"{{"msg":"connected","session":"{SESSION}"}}"#));
    assert_eq!(there.path, "/websocket");
    let is_extension = |line: &String| line.starts_with("sec-websocket-extensions");
    assert!(!there.headers.iter().any(is_extension));
}

#[test]
fn gateway_007_each_leg_has_its_own_pings() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.heartbeat_interval = Duration::from_millis(200);
        })
    });
    let (mut client, mut there) = both(&server, &app);
    there.pings(b"below");
    there.says(r#"{"msg":"ping","id":"x"}"#);
    there.hears(r#"{"msg":"pong","id":"x"}"#);
    there.says(r#"{"msg":"ping"}"#);
    there.hears(r#"{"msg":"pong"}"#);
    there.says(r#"{"msg":"pong"}"#);
    talk(
        &mut client,
        r#"
        -> {"msg":"ping","id":"c"}
        <- {"msg":"pong","id":"c"}
        "#,
    );
    // It is silent, and is asked whether it is there.
    there.hears(r#"{"msg":"ping"}"#);
    there.says(r#"{"msg":"pong"}"#);
    assert_eq!(received(&mut client), [""; 0]);
}

#[test]
fn gateway_008_an_id_that_is_in_use_is_ignored_whoever_has_it() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.publish("here", async |_: Subscription| Ok(()))
    });
    let (mut client, mut there) = both(&server, &app);
    client.send_text(r#"{"msg":"sub","id":"a","name":"there"}"#);
    there.hears(r#"{"msg":"sub","id":"a","name":"there"}"#);
    there.says(r#"{"msg":"ready","subs":["a"]}"#);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["a"]}
        -> {"msg":"sub","id":"a","name":"here"}
        -> {"msg":"sub","id":"a","name":"there"}
        -> {"msg":"sub","id":"b","name":"here"}
        <- {"msg":"ready","subs":["b"]}
        -> {"msg":"sub","id":"b","name":"there"}
        -> {"msg":"unsub","id":"nobody's"}
        <- {"msg":"nosub","id":"nobody's"}
        -> {"msg":"unsub","id":"b"}
        <- {"msg":"nosub","id":"b"}
        -> {"msg":"unsub","id":"a"}
        "#,
    );
    there.hears(r#"{"msg":"unsub","id":"a"}"#);
    there.says(r#"{"msg":"nosub","id":"a"}"#);
    talk(
        &mut client,
        r#"
        <- {"msg":"nosub","id":"a"}
        -> {"msg":"sub","id":"a","name":"here"}
        <- {"msg":"ready","subs":["a"]}
        "#,
    );
}

#[test]
fn gateway_014_a_publication_may_not_publish_into_a_collection_of_the_app() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder
            .publish("theirs", async |mine: Subscription| {
                mine.added("things", "a", ejson!({}));
                Ok(())
            })
            .owns("scores")
    });
    let (mut client, _there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"a","name":"theirs"}
        <- {"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":500,"reason":"Collection 'things' is not this server's","message":"Collection 'things' is not this server's [500]","errorType":"Meteor.Error"}}
        "#,
    );
}

#[test]
fn gateway_015_016_what_the_app_sends_of_a_collection_of_this_server_is_dropped() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.owns("scores").vent("room", async |vent: Vent| {
            vent.on("room", |m: &Message| m.event()).await
        })
    });
    let (mut client, mut there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"v","name":"room","params":["vent.room"]}
        <- {"msg":"added","collection":"vent.room","id":"id","fields":{}}
        <- {"msg":"ready","subs":["v"]}
        "#,
    );
    for collection in ["scores", "vent.room"] {
        for msg in ["added", "changed", "removed"] {
            there.says(&format!(
                r#"{{"msg":"{msg}","collection":"{collection}","id":"x"}}"#
            ));
        }
    }
    there.says(r#"{"msg":"changed","__vent":"1","id":"x.room","e":1}"#);
    client.expect_text(r#"{"msg":"changed","__vent":"1","id":"x.room","e":1}"#);
    assert_eq!(server.stats().foreign_documents, 6);
}

#[test]
fn gateway_017_what_would_say_who_the_user_is_cannot_be_here() {
    let refused = |register: &dyn Fn(Builder) -> Builder| {
        let builder = register(Server::builder().meteor(at(4000)));
        let bound = runtime().block_on(builder.bind("127.0.0.1:0"));
        let error = bound.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    let text = refused(&|it| it.accounts(Accounts::new(MemoryUsers::new())));
    assert!(text.contains(".accounts"), "{text}");
    for name in ["login", "logout", "createUser", "getNewToken"] {
        let text = refused(&|it| it.method(name, async |_: Call| Ok(())));
        assert!(text.contains(name), "{text}");
    }
    let named = |it: Builder| it.meteor(at(4000).login_method("signIn"));
    let text = refused(&|it| named(it).method("signIn", async |_: Call| Ok(())));
    assert!(text.contains("signIn"), "{text}");
    for url in ["https://a", "a:4000", "http://a?x"] {
        let text = refused(&|it| it.meteor(Meteor::at(url)));
        assert!(text.contains(url), "{text}");
    }
    let text = refused(&|it| it.meteor(at(4000).and_at(url(4000))));
    assert!(text.contains("twice"), "{text}");
    let text = refused(&|it| it.meteor(at(4000).cookie_key("too short")));
    assert!(text.contains("9 bytes"), "{text}");
    let bound = runtime().block_on(Server::builder().owns("a").bind("127.0.0.1:0"));
    assert!(bound.is_err(), "it means nothing");
}

#[test]
fn gateway_018_nothing_is_registered_besides_what_the_program_registers() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let (mut client, mut there) = both(&server, &app);
    for text in [
        r#"{"msg":"sub","id":"1","name":"meteor_autoupdate_clientVersions","params":[]}"#,
        r#"{"msg":"sub","id":"2","name":"meteor.loginServiceConfiguration","params":[]}"#,
        r#"{"msg":"method","id":"3","method":"login","params":[{}]}"#,
        r#"{"msg":"method","id":"4","method":"logout","params":[]}"#,
        r#"{"msg":"nonsense","a":[1,{"b":"\u00e9"}]}"#,
    ] {
        client.send_text(text);
        there.hears(text);
    }
}

#[test]
fn gateway_040_041_the_limits_of_what_is_passed_on_are_the_apps() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder
            .configure(|settings| settings.clients.message = 1 << 20)
            .method("here", async |_: Call| Ok(()))
    });
    let (mut client, mut there) = both(&server, &app);
    let long = "x".repeat(3 << 20);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for text in [
        format!(r#"{{"msg":"method","id":"1","method":"m","params":["{long}"]}}"#),
        format!(r#"{{"msg":"method","id":"2","method":"m","params":{deep}}}"#),
        format!(
            r#"{{"msg":"method","id":"{}","method":"m"}}"#,
            "x".repeat(2000)
        ),
    ] {
        client.send_text(&text);
        assert!(there.hears_any() == text, "as it came");
    }
    for number in 0..300 {
        let text = format!(r#"{{"msg":"sub","id":"{number}","name":"s"}}"#);
        client.send_text(&text);
        there.hears(&text);
    }
    let result = format!(r#"{{"msg":"result","id":"1","result":"{long}"}}"#);
    there.says(&result);
    assert!(client.expect_any_text() == result, "as it came");
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"here","params":["{long}"]}}"#
    ));
    client.expect_close(1009, "Message too big");
    there.is_left();
}

#[test]
fn gateway_048_the_app_sees_the_clients_own_request() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let headers = [
        ("Cookie", "a=b"),
        ("User-Agent", "a browser"),
        ("X-Forwarded-For", "1.2.3.4"),
    ];
    let mut client = Client::connect_with(server.url(), &headers).unwrap();
    client.send_text(CONNECT);
    let there = app.accept();
    let host = format!("host: {}", server.address());
    for line in [
        &*host,
        "cookie: a=b",
        "user-agent: a browser",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
    ] {
        assert!(
            there.headers.iter().any(|it| it == line),
            "{line}: {:?}",
            there.headers
        );
    }
}

#[test]
fn gateway_045_sockjs_clients_reach_an_app_that_has_raw_websocket_only() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    for way in Way::ALL {
        println!("{}", way.name());
        let mut client = way.connect(server.url()).unwrap();
        let text = |client: &mut dyn Transport| match client.receive(PATIENCE) {
            Some(Received::Text(text)) => text,
            other => panic!("{way:?}: {other:?}"),
        };
        client.send_text(CONNECT).unwrap();
        let mut there = app.accept();
        assert_eq!(there.path, "/websocket");
        let connected = format!(r#"{{"msg":"connected","session":"{SESSION}"}}"#);
        assert_eq!(text(&mut *client), connected);
        let sub = r#"{"msg":"sub","id":"s","name":"theirs","params":["\\ \u2028 \"é\""]}"#;
        client.send_text(sub).unwrap();
        there.hears(sub);
        // More than a stream sends in one response.
        let document = format!(
            r#"{{"msg":"added","collection":"c","id":"1","fields":{{"a":"\\ \u2028 é {}"}}}}"#,
            "x".repeat(100_000)
        );
        for _ in 0..3 {
            there.says(&document);
            assert_eq!(text(&mut *client), document);
        }
        there.closes(4001, "over");
        let over = Received::Close {
            code: 4001,
            reason: "over".to_owned(),
        };
        assert_eq!(client.receive(PATIENCE), Some(over));
    }
}

#[test]
fn gateway_051_the_path_of_the_app_is_the_path_here() {
    let app = App::listen();
    let url = format!("{}/some/app", url(app.port()));
    let server = Running::start(Server::builder().meteor(Meteor::at(url)));
    let url = format!("ws://{}/some/app/websocket", server.address());
    let mut client = Client::connect(&url);
    client.send_text(CONNECT);
    let there = app.accept();
    assert_eq!(there.path, "/some/app/websocket");
    let elsewhere = format!("ws://{}/websocket", server.address());
    assert!(Client::try_connect(&elsewhere).is_err());
}
