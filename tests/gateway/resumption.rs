//! Clients that lose their connection and come back. The app notices nothing of it.

use std::time::Duration;

use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::eventually;

use crate::app::{App, SESSION};
use crate::common::{Running, talk};
use crate::world::{bare, both, resumable};

/// Comes back as a client that has received so many messages.
fn come_back(server: &Running, session: &str, received: usize) -> Client {
    eventually("its session waits", || server.stats().parked_sessions == 1);
    let mut client = Client::connect(server.url());
    client.send_text(&format!(
        r#"{{"msg":"connect","version":"1","support":["1"],"session":"{session}","receivedCount":{received}}}"#
    ));
    client
}

fn connected(session: &str) -> String {
    format!(r#"{{"msg":"connected","session":"{session}"}}"#)
}

#[test]
fn gateway_010_011_a_client_that_comes_back_gets_what_it_missed_of_both() {
    let app = App::listen();
    let server = resumable(app.port(), |builder| {
        builder.vent("room", async |vent: Vent| vent.relay("room").await)
    });
    let (mut client, mut there) = both(&server, &app);
    client.send_text(r#"{"msg":"sub","id":"s","name":"theirs"}"#);
    there.hears(r#"{"msg":"sub","id":"s","name":"theirs"}"#);
    there.says(r#"{"msg":"ready","subs":["s"]}"#);
    talk(
        &mut client,
        r#"
        <- {"msg":"ready","subs":["s"]}
        -> {"msg":"sub","id":"v","name":"room","params":["vent.room"]}
        <- {"msg":"added","collection":"vent.room","id":"id","fields":{}}
        <- {"msg":"ready","subs":["v"]}
        "#,
    );
    there.says(r#"{"msg":"added","collection":"c","id":"seen","fields":{}}"#);
    client.expect_text(r#"{"msg":"added","collection":"c","id":"seen","fields":{}}"#);
    // The client has received five messages; the last of them may be lost on the way.
    client.reset();
    eventually("its session waits", || server.stats().parked_sessions == 1);
    there.says(r#"{"msg":"added","collection":"c","id":"missed","fields":{}}"#);
    there.says(r#"{"msg":"ping","id":"alive"}"#);
    there.hears(r#"{"msg":"pong","id":"alive"}"#);
    server.emit("room", 7);
    let mut client = come_back(&server, SESSION, 4);
    for text in [
        r#"{"msg":"sub","id":"s","name":"theirs"}"#,
        r#"{"msg":"sub","id":"v","name":"room","params":["vent.room"]}"#,
    ] {
        client.send_text(text);
    }
    client.expect_text(&connected(SESSION));
    talk(
        &mut client,
        r#"
        <- {"msg":"added","collection":"c","id":"seen","fields":{}}
        <- {"msg":"added","collection":"c","id":"missed","fields":{}}
        <- {"msg":"changed","collection":"vent.room","id":"id","fields":{"event":7}}
        -- silence
        "#,
    );
    there.hears_nothing(Duration::from_millis(50));
    there.says(r#"{"msg":"removed","collection":"c","id":"seen"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"c","id":"seen"}"#);
}

#[test]
fn gateway_009_a_method_that_is_sent_again_runs_once() {
    let app = App::listen();
    let server = resumable(app.port(), bare);
    let (mut client, mut there) = both(&server, &app);
    let calls = ["1", "2"].map(|id| format!(r#"{{"msg":"method","id":"{id}","method":"m"}}"#));
    for call in &calls {
        client.send_text(call);
        there.hears(call);
    }
    client.reset();
    eventually("its session waits", || server.stats().parked_sessions == 1);
    // One is answered while the client is away, in another order of members than Meteor's.
    there.says(r#"{"id":"1","msg":"result","result":1}"#);
    there.says(r#"{"methods":["1"],"msg":"updated"}"#);
    let mut client = come_back(&server, SESSION, 1);
    calls.iter().for_each(|call| client.send_text(call));
    client.expect_text(&connected(SESSION));
    client.expect_text(r#"{"id":"1","msg":"result","result":1}"#);
    client.expect_text(r#"{"methods":["1"],"msg":"updated"}"#);
    there.hears_nothing(Duration::from_millis(50));
    there.says(r#"{"msg":"updated","methods":["2"]}"#);
    there.says(r#"{"msg":"result","id":"2","result":2}"#);
    client.expect_text(r#"{"msg":"updated","methods":["2"]}"#);
    client.expect_text(r#"{"msg":"result","id":"2","result":2}"#);
    // Its id is free: it is another call.
    client.send_text(&calls[0]);
    there.hears(&calls[0]);
}

#[test]
fn gateway_013_in_a_new_session_a_method_is_passed_on_again() {
    let app = App::listen();
    let server = resumable(app.port(), bare);
    let (mut client, mut there) = both(&server, &app);
    let call = r#"{"msg":"method","id":"1","method":"m"}"#;
    client.send_text(call);
    there.hears(call);
    client.reset();
    let mut client = come_back(&server, "ZZtwoThreeFour9999", 1);
    client.send_text(call);
    let mut new = app.accept_as("anotherSession2345");
    client.expect_text(&connected("anotherSession2345"));
    new.hears(call);
}

#[test]
fn gateway_012_the_app_is_told_when_a_client_does_not_come_back() {
    let app = App::listen();
    let server = resumable(app.port(), |builder| {
        builder.configure(|settings| {
            settings.sessions.resumption.grace = Duration::from_millis(100);
        })
    });
    let (client, mut there) = both(&server, &app);
    client.reset();
    there.is_left();
    // One that says so is not waited for.
    let (mut client, mut there) = both(&server, &app);
    client.send_text(r#"{"msg":"disconnect"}"#);
    client.close();
    there.is_left();
    assert_eq!(server.stats().upstreams, 0);
}

#[test]
fn gateway_028_a_session_that_the_app_has_ended_is_not_resumed() {
    let app = App::listen();
    let server = resumable(app.port(), bare);
    for is_reset in [true, false] {
        let (client, there) = both(&server, &app);
        client.reset();
        eventually("its session waits", || server.stats().parked_sessions == 1);
        if is_reset {
            there.resets();
        } else {
            there.closes(1000, "Normal closure");
        }
        eventually("it waits no more", || server.stats().parked_sessions == 0);
        let mut client = Client::connect(server.url());
        client.send_text(&CONNECT.replace(
            "\"version\"",
            &format!(r#""session":"{SESSION}","receivedCount":1,"version""#),
        ));
        let _new = app.accept_as("anotherSession2345");
        client.expect_text(&connected("anotherSession2345"));
        client.send_text(r#"{"msg":"disconnect"}"#);
        client.close();
    }
}
