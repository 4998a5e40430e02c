//! The edge: handshakes, paths, frames, and what a session is before anybody subscribes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::Message as Sent;
use updraft::Handle;
use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use warp::Filter;

async fn serve(builder: updraft::Builder) -> (SocketAddr, Handle) {
    // No session outlives its connection here.
    let builder = builder.resumption_grace(Duration::ZERO);
    let bound = builder.bind("127.0.0.1:0").await.expect("a free port");
    let (address, handle) = (bound.local_addr(), bound.handle());
    let serving = async move { bound.serve().await.expect("serves") };
    let runtime = tokio::runtime::Handle::current();
    runtime.spawn(serving);
    (address, handle)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/websocket")
}

/// Sends a request as it stands; the answer up to the end of its head, or of the connection.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket.write_all(request.as_bytes()).expect("writes");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn handshake(path: &str, changed: &str, value: &str) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    for (name, usual) in [
        ("Host", "127.0.0.1"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ] {
        let value = if name == changed { value } else { usual };
        if !value.is_empty() {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request + "\r\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_217_219_row_018_row_020_the_handshake() {
    let (address, _handle) = serve(Server::builder()).await;
    let good = ask(address, &handshake("/websocket", "", ""));
    assert!(good.starts_with("http/1.1 101 "), "{good}");
    assert!(
        good.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{good}"
    );
    assert!(
        !good.contains("extensions"),
        "compression is declined: {good}"
    );
    for path in [
        "/websocket/",
        "/websocket/?x=1",
        "/app/websocket",
        "/websocket/websocket",
    ] {
        let answer = ask(address, &handshake(path, "", ""));
        assert!(answer.starts_with("http/1.1 101 "), "{path}: {answer}");
    }
    for path in [
        "/",
        "/sockjs/websocket",
        "/sockjs/000/abcdefgh/websocket",
        "/websocketx",
    ] {
        let answer = ask(address, &handshake(path, "", ""));
        assert!(answer.starts_with("http/1.1 404 "), "{path}: {answer}");
    }
    for (header, value) in [
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Connection", "keep-alive"),
        ("Upgrade", ""),
    ] {
        let answer = ask(address, &handshake("/websocket", header, value));
        assert!(
            answer.starts_with("http/1.1 400 "),
            "{header}: {value}: {answer}"
        );
    }
    let old = ask(
        address,
        &handshake("/websocket", "Sec-WebSocket-Version", "7"),
    );
    assert!(
        old.starts_with("http/1.1 426 ") && old.contains("version: 13"),
        "{old}"
    );
    let plain = ask(address, "GET /websocket HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(plain.starts_with("http/1.1 400 "), "{plain}");
    let post = ask(
        address,
        "POST /websocket HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(
        post.starts_with("http/1.1 405 ") && post.contains("allow: get"),
        "{post}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_stands_beside_ddp() {
    let route = warp::path!("hello").and(warp::get()).map(|| "hi");
    let stats = |handle: Handle| {
        warp::path!("connections").map(move || handle.stats().connections.to_string())
    };
    let (address, _handle) = serve(Server::builder().route(route).route_with(stats)).await;
    let answer = ask(
        address,
        "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let answer = ask(
        address,
        "GET /connections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let answer = ask(
        address,
        "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 405 "), "{answer}");
    Client::ddp_connect(&url(address)).0.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_001_003_session_ids_differ_and_are_meteors() {
    let (address, handle) = serve(Server::builder()).await;
    let (first, one) = Client::ddp_connect(&url(address));
    let (second, two) = Client::ddp_connect(&url(address));
    assert_ne!(one, two);
    assert!(updraft::random::is_meteor_id(&one) && updraft::random::is_meteor_id(&two));
    assert_eq!(
        (handle.stats().connections, handle.stats().sessions),
        (2, 2)
    );
    first.close();
    second.reset();
    eventually("both have left", || {
        handle.stats() == updraft::Stats::default()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_087_a_universal_publication_starts_by_itself() {
    let universal = |subscription: Subscription| async move {
        subscription.added("uni", "u", ejson!({ "uid": subscription.user_id() }));
        Ok::<_, Error>(())
    };
    let failing = |_: Subscription| async { Err::<(), _>(Error::new("no", "reason")) };
    let server = Server::builder()
        .publish_universal(universal)
        .publish_universal(failing);
    let (address, handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    client.expect_text(r#"{"msg":"added","collection":"uni","id":"u","fields":{"uid":null}}"#);
    client.expect_silence(100);
    client.close();
    eventually("nothing is left", || {
        handle.stats() == updraft::Stats::default()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_218_row_028_binary_frames_count_as_text() {
    let (address, _handle) = serve(Server::builder()).await;
    let mut client = Client::connect(&url(address));
    client
        .send(Sent::binary(CONNECT.as_bytes()))
        .expect("sends");
    assert!(
        client
            .expect_any_text()
            .starts_with(r#"{"msg":"connected""#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_024_a_message_above_the_limit_closes_with_1009() {
    let (address, handle) = serve(Server::builder().message_limit(1000, 2000)).await;
    let mut client = Client::connect(&url(address));
    client.send_text(&format!(r#"{{"msg":"{}"}}"#, "x".repeat(1000)));
    client.expect_close(1009, "Message too big");

    let (mut client, _) = Client::ddp_connect(&url(address));
    client.send_text(&format!(
        r#"{{"msg":"ping","id":"x","pad":"{}"}}"#,
        "x".repeat(1500)
    ));
    client.expect_text(r#"{"msg":"pong","id":"x"}"#);
    client.send_text(&format!(r#"{{"msg":"ping","pad":"{}"}}"#, "x".repeat(2000)));
    client.expect_close(1009, "Message too big");
    eventually("both have left", || handle.stats().connections == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_221_a_message_of_a_mebibyte_goes_both_ways() {
    let echo = |_: Call, text: String| async { Ok::<_, Error>(text) };
    // With its head it is more than the output limit; but a client that reads is not slow.
    let server = Server::builder().method("echo", echo);
    let (address, _handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    let text = "x".repeat(1 << 20);
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"echo","params":["{text}"]}}"#
    ));
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(&format!(r#"{{"msg":"result","id":"1","result":"{text}"}}"#));
}
