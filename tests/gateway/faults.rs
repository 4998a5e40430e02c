//! Each way in which an app can be out of order, and what its client is told.

use std::io::Write;
use std::time::Duration;

use updraft::Builder;
use updraft_test_support::client::PATIENCE;
use updraft_test_support::eventually;
use updraft_test_support::transcript::Received;

use crate::app::App;
use crate::common::received;
use crate::world::{bare, both, in_front_of};

#[test]
fn gateway_034_an_app_that_is_silent_is_asked_and_then_gone() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.heartbeat_interval = Duration::from_millis(200);
            settings.gateway.heartbeat_timeout = Duration::from_millis(200);
        })
    });
    let (mut client, mut there) = both(&server, &app);
    there.hears(r#"{"msg":"ping"}"#);
    client.expect_close(1012, "Service restart");
    drop(there);
}

#[test]
fn gateway_036_what_is_no_message_is_dropped_and_ten_of_them_are_too_many() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let (mut client, mut there) = both(&server, &app);
    let bad = [
        "nonsense",
        "[]",
        "{}",
        r#"{"msg":5}"#,
        r#"{"msg":"added","collection":"c","id":"x","fields":{"a":"#,
    ];
    bad.iter().for_each(|text| there.says(text));
    there.says(r#"{"msg":"ready","subs":["s"]}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    assert_eq!(server.stats().unreadable_upstream, 5);
    bad.iter().for_each(|text| there.says(text));
    client.expect_close(1011, "The server behind is out of order");
    there.is_left();
}

#[test]
fn gateway_037_a_message_that_is_too_long_ends_the_session() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| settings.gateway.message = 10_000)
    });
    let (mut client, mut there) = both(&server, &app);
    let longest = format!(r#"{{"msg":"x","y":"{}"}}"#, "y".repeat(10_000 - 18));
    there.says(&longest);
    assert!(client.expect_any_text() == longest);
    there.says(&format!(" {longest}"));
    client.expect_close(1011, "The server behind is out of order");
    // And one that breaks the rules of WebSocket.
    let (mut client, mut there) = both(&server, &app);
    there.writes(&[0xff, 0xff]);
    client.expect_close(1011, "The server behind is out of order");
}

#[test]
fn gateway_038_an_app_is_not_read_from_while_its_client_has_much_to_receive() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder: Builder| {
        builder.configure(|settings| {
            settings.gateway.backlog = 256 * 1024;
            settings.clients.output_timeout = PATIENCE;
            settings.gateway.output_timeout = PATIENCE;
        })
    });
    let (mut client, mut there) = both(&server, &app);
    let message = format!(r#"{{"msg":"x","y":"{}"}}"#, "y".repeat(64 * 1024));
    let limit = Some(Duration::from_millis(300));
    there.tcp().set_write_timeout(limit).unwrap();
    // Until nothing more is taken: the client, this server and the kernel are full.
    let mut frame = vec![0x81, 127];
    frame.extend_from_slice(&(message.len() as u64).to_be_bytes());
    frame.extend_from_slice(message.as_bytes());
    let mut sent = Vec::new();
    let mut whole = 0;
    'sending: while whole < 4_000 {
        let mut rest = &frame[..];
        while !rest.is_empty() {
            match there.tcp().write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) => {
                    sent = rest.to_vec();
                    break 'sending;
                }
            }
        }
        whole += 1;
    }
    assert!(!sent.is_empty(), "250 MiB were taken");
    let waiting = server.stats().queued_bytes;
    assert!(waiting < 2 << 20, "{waiting}");
    // Then all of it arrives.
    for _ in 0..whole {
        assert!(client.expect_any_text() == message);
    }
    there.tcp().set_write_timeout(None).unwrap();
    there.writes(&sent);
    assert!(client.expect_any_text() == message);
}

#[test]
fn gateway_039_a_client_is_not_read_from_while_the_app_takes_nothing() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| {
            settings.gateway.output_timeout = Duration::from_secs(4);
        })
    });
    let (mut client, there) = both(&server, &app);
    let limit = Some(Duration::from_millis(100));
    client.tcp().set_write_timeout(limit).unwrap();
    let message = format!(
        r#"{{"msg":"method","id":"1","method":"m","params":["{}"]}}"#,
        "y".repeat(1 << 20)
    );
    let mut count = 0;
    while count < 200 && client.send(message.as_str().into()).is_ok() {
        count += 1;
    }
    assert!(count < 200, "200 MiB were taken");
    eventually("the app is gone", || server.stats().lost_upstreams == 1);
    // What was sent and not read may turn the close into a reset.
    let end = client.receive(PATIENCE);
    assert!(!matches!(end, Some(Received::Text(_)) | None), "{end:?}");
    drop(there);
    let mut other = both(&server, &app);
    assert_eq!(received(&mut other.0), [""; 0]);
}
