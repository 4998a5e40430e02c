//! Who the user is: the app says so, in its results.

use std::time::Duration;

use updraft::prelude::*;
use updraft::{Builder, Server};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::transcript::Received;

use crate::app::App;
use crate::common::{Gate, Running, talk};
use crate::world::{at, both, fixture, in_front_of};

/// A publication and a method that depend on the user.
fn with_mine(builder: Builder) -> Builder {
    builder
        .owns("mine")
        .publish("mine", async |mine: Subscription| {
            let user = mine.user_id();
            mine.added("mine", user.unwrap_or_else(|| "anon".into()), ejson!({}));
            Ok(())
        })
        .method("whoami", async |call: Call| Ok(call.user_id()))
}

const LOGIN: &str = r#"{"msg":"method","id":"l","method":"login","params":[{"resume":"t"}]}"#;
const LOGGED_IN: &str = r#"{"msg":"result","id":"l","result":{"id":"bob","token":"t","tokenExpires":{"$date":1},"type":"resume"}}"#;

#[test]
fn gateway_019_024_the_user_is_set_before_the_result_is_passed_on() {
    let app = App::listen();
    let server = in_front_of(app.port(), with_mine);
    let (mut client, mut there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s","name":"mine"}
        <- {"msg":"added","collection":"mine","id":"anon"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    client.send_text(LOGIN);
    there.hears(LOGIN);
    there.says(r#"{"msg":"added","collection":"users","id":"bob","fields":{}}"#);
    there.says(r#"{"msg":"updated","methods":["l"]}"#);
    there.says(LOGGED_IN);
    for number in 0..3 {
        there.says(&format!(r#"{{"msg":"ready","subs":["{number}"]}}"#));
    }
    talk(
        &mut client,
        r#"
        <- {"msg":"added","collection":"users","id":"bob","fields":{}}
        <- {"msg":"updated","methods":["l"]}
        <- {"msg":"removed","collection":"mine","id":"anon"}
        <- {"msg":"added","collection":"mine","id":"bob"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    client.expect_text(LOGGED_IN);
    for number in 0..3 {
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{number}"]}}"#));
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"w","method":"whoami"}
        <- {"msg":"updated","methods":["w"]}
        <- {"msg":"result","id":"w","result":"bob"}
        "#,
    );
}

#[test]
fn gateway_020_what_is_behind_a_login_in_one_flight_finds_the_user() {
    const ROUNDS: usize = 250;
    let app = fixture();
    let server = in_front_of(app.port(), with_mine);
    let url = server.url();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    login_and_subscribe(url);
                }
            });
        }
    });
}

fn login_and_subscribe(url: &str) {
    let mut client = Client::connect(url);
    for text in [
        CONNECT,
        r#"{"msg":"method","id":"l","method":"login","params":[{"resume":"tokA"}]}"#,
        r#"{"msg":"sub","id":"s","name":"mine"}"#,
        r#"{"msg":"method","id":"w","method":"whoami"}"#,
    ] {
        client.send_text(text);
    }
    let mut seen = Vec::new();
    while !seen
        .iter()
        .any(|text: &String| text.contains(r#""result","id":"w""#))
    {
        seen.push(client.expect_any_text());
    }
    let alice = "alice0000000000aa";
    let mine = seen
        .iter()
        .filter(|it| it.contains(r#""collection":"mine""#));
    let added = format!(r#"{{"msg":"added","collection":"mine","id":"{alice}"}}"#);
    assert_eq!(mine.collect::<Vec<_>>(), [&added], "{seen:?}");
    let result = format!(r#"{{"msg":"result","id":"w","result":"{alice}"}}"#);
    assert_eq!(seen.last(), Some(&result));
    client.send_text(r#"{"msg":"disconnect"}"#);
}

#[test]
fn gateway_021_logout_clears_the_user_and_an_error_changes_nothing() {
    let app = fixture();
    let server = in_front_of(app.port(), with_mine);
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"1","method":"login","params":[{"resume":"tokA2"}]}
        <- {"msg":"added","collection":"users","id":"alice0000000000aa","fields":{"username":"alice","emails":[{"address":"a@example.com","verified":true}],"profile":{"n":1}}}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":{"id":"alice0000000000aa",…
        -> {"msg":"sub","id":"s","name":"mine"}
        <- {"msg":"added","collection":"mine","id":"alice0000000000aa"}
        <- {"msg":"ready","subs":["s"]}
        -> {"msg":"method","id":"2","method":"login","params":[{"resume":"nobody's"}]}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","error":…
        -> {"msg":"method","id":"3","method":"whoami"}
        <- {"msg":"updated","methods":["3"]}
        <- {"msg":"result","id":"3","result":"alice0000000000aa"}
        -> {"msg":"method","id":"4","method":"logout"}
        <- {"msg":"removed","collection":"users","id":"alice0000000000aa"}
        <- {"msg":"updated","methods":["4"]}
        <- {"msg":"removed","collection":"mine","id":"alice0000000000aa"}
        <- {"msg":"added","collection":"mine","id":"anon"}
        <- {"msg":"ready","subs":["s"]}
        <- {"msg":"result","id":"4"}
        -> {"msg":"method","id":"5","method":"whoami"}
        <- {"msg":"updated","methods":["5"]}
        <- {"msg":"result","id":"5","result":null}
        "#,
    );
}

#[test]
fn gateway_022_a_login_that_is_not_answered_holds_nothing_up_for_ever() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        with_mine(builder)
            .configure(|settings| settings.gateway.login_patience = Duration::from_millis(300))
    });
    let (mut client, mut there) = both(&server, &app);
    client.send_text(LOGIN);
    client.send_text(r#"{"msg":"method","id":"w","method":"whoami"}"#);
    client.send_text(r#"{"msg":"method","id":"t","method":"theirs"}"#);
    there.hears(LOGIN);
    // What is the app's does not wait.
    there.hears(r#"{"msg":"method","id":"t","method":"theirs"}"#);
    client.expect_silence(100);
    client.expect_text(r#"{"msg":"updated","methods":["w"]}"#);
    client.expect_text(r#"{"msg":"result","id":"w","result":null}"#);
    there.says(LOGGED_IN);
    client.expect_text(LOGGED_IN);
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"x","method":"whoami"}
        <- {"msg":"updated","methods":["x"]}
        <- {"msg":"result","id":"x","result":"bob"}
        "#,
    );
}

#[test]
fn gateway_023_a_result_does_not_wait_long_for_a_slow_publication() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder
            .configure(|settings| settings.gateway.change_patience = Duration::from_millis(100))
            .publish("slow", move |mine: Subscription| {
                let held = held.clone();
                async move {
                    if mine.user_id().is_some() {
                        held.pass().await;
                    }
                    Ok(())
                }
            })
    });
    let (mut client, mut there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s","name":"slow"}
        <- {"msg":"ready","subs":["s"]}
        "#,
    );
    client.send_text(LOGIN);
    there.hears(LOGIN);
    there.says(LOGGED_IN);
    there.says(r#"{"msg":"ready","subs":["x"]}"#);
    gate.await_arrival(&server);
    client.expect_text(LOGGED_IN);
    client.expect_text(r#"{"msg":"ready","subs":["x"]}"#);
    // What comes now waits for nothing.
    there.says(r#"{"msg":"ready","subs":["y"]}"#);
    client.expect_text(r#"{"msg":"ready","subs":["y"]}"#);
    gate.open(1);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
}

#[test]
fn gateway_025_methods_of_the_apps_own_may_log_users_in() {
    let app = App::listen();
    let builder = with_mine(Server::builder());
    let server = Running::start(builder.meteor(at(app.port()).login_method("signIn")));
    let (mut client, mut there) = both(&server, &app);
    client.send_text(r#"{"msg":"method","id":"1","method":"signIn"}"#);
    client.send_text(r#"{"msg":"method","id":"w","method":"whoami"}"#);
    there.hears(r#"{"msg":"method","id":"1","method":"signIn"}"#);
    let result = r#"{"msg":"result","id":"1","result":{"id":"eve","token":"t"}}"#;
    there.says(result);
    client.expect_text(result);
    client.expect_text(r#"{"msg":"updated","methods":["w"]}"#);
    client.expect_text(r#"{"msg":"result","id":"w","result":"eve"}"#);
}

#[test]
fn gateway_053_no_other_call_can_pass_for_a_login() {
    let app = fixture();
    let server = in_front_of(app.port(), with_mine);
    let login = r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"x"}]}"#;
    let echo = r#"{"msg":"method","id":"1","method":"echo1","params":[{"id":"eve","token":"t"}]}"#;
    let slow = r#"{"msg":"method","id":"1","method":"slow","params":[100]}"#;
    for (first, second) in [(login, echo), (slow, login), (login, login)] {
        let mut client = server.client();
        client.send_text(first);
        client.send_text(second);
        let end = loop {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => assert!(!text.contains("eve"), "{text}"),
                end => break end,
            }
        };
        let refused = Received::Close {
            code: 1008,
            reason: "The id of a login is in use".into(),
        };
        assert_eq!(end, Some(refused), "{first} {second}");
    }
    // By itself it is a call like any other.
    let mut client = server.client();
    client.send_text(echo);
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(r#"{"msg":"result","id":"1","result":{"id":"eve","token":"t"}}"#);
    client.send_text(r#"{"msg":"method","id":"w","method":"whoami"}"#);
    client.expect_text(r#"{"msg":"updated","methods":["w"]}"#);
    client.expect_text(r#"{"msg":"result","id":"w","result":null}"#);
}

#[test]
fn gateway_054_the_app_is_asked_who_the_user_is_where_its_result_does_not_say_so() {
    let app = App::listen();
    let builder = with_mine(Server::builder());
    let meteor = at(app.port()).user_after("impersonate", "whoAmI");
    let server = Running::start(builder.meteor(meteor));
    let (mut client, mut there) = both(&server, &app);
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s","name":"mine"}
        <- {"msg":"added","collection":"mine","id":"anon"}
        <- {"msg":"ready","subs":["s"]}
        -> {"msg":"method","id":"1","method":"impersonate"}
        -> {"msg":"method","id":"w","method":"whoami"}
        "#,
    );
    there.hears(r#"{"msg":"method","id":"1","method":"impersonate"}"#);
    there.says(r#"{"msg":"updated","methods":["1"]}"#);
    there.says(r#"{"msg":"result","id":"1"}"#);
    there.hears(r#"{"msg":"method","id":"updraft:1","method":"whoAmI","params":[]}"#);
    there.says(r#"{"msg":"added","collection":"c","id":"x"}"#);
    there.says(r#"{"msg":"updated","methods":["updraft:1"]}"#);
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_silence(50);
    there.says(r#"{"msg":"result","id":"updraft:1","result":"eve"}"#);
    talk(
        &mut client,
        r#"
        <- {"msg":"removed","collection":"mine","id":"anon"}
        <- {"msg":"added","collection":"mine","id":"eve"}
        <- {"msg":"ready","subs":["s"]}
        <- {"msg":"result","id":"1"}
        <- {"msg":"added","collection":"c","id":"x"}
        <- {"msg":"updated","methods":["w"]}
        <- {"msg":"result","id":"w","result":"eve"}
        -> {"msg":"method","id":"2","method":"impersonate"}
        "#,
    );
    // The same user again changes nothing.
    there.hears(r#"{"msg":"method","id":"2","method":"impersonate"}"#);
    there.says(r#"{"msg":"result","id":"2"}"#);
    there.hears(r#"{"msg":"method","id":"updraft:2","method":"whoAmI","params":[]}"#);
    there.says(r#"{"msg":"result","id":"updraft:2","result":"eve"}"#);
    there.says(r#"{"msg":"updated","methods":["updraft:2"]}"#);
    client.expect_text(r#"{"msg":"result","id":"2"}"#);
    // Nobody else can answer.
    client.send_text(r#"{"msg":"method","id":"updraft:3","method":"echo"}"#);
    client.expect_close(1008, "The id of a call is reserved");
    there.is_left();
}
