//! Clients that do not read, handlers that do not keep up, and the bounds on what waits for either.
//! Nobody else notices, and nothing is left afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::sync::Semaphore;
use updraft::prelude::*;
use updraft::{Builder, Handle};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::transcript::Received;

use crate::common::{Running, serve};

/// A server with a publication `flood` that relays the channel it is told, and little room in the
/// kernel.
fn flooding() -> Builder {
    let flood = |vent: Vent, channel: String| async move { vent.relay(channel![channel]).await };
    Server::builder()
        .vent("flood", flood)
        .configure(|settings| settings.listener.send_buffer = 16 * 1024)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/websocket")
}

/// A client for which the kernel holds little, and which follows a channel.
fn follow(address: SocketAddr, channel: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a socket");
    socket.connect(&address.into()).expect("listens");
    let mut client = Client::over(socket.into(), &url(address)).expect("a handshake");
    client.send_text(r#"{"msg":"connect","version":"1","support":["1"]}"#);
    assert!(client.expect_any_text().contains("connected"));
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"flood","params":["vent.v","{channel}"]}}"#
    ));
    client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    client
}

/// Emits a numbered message.
async fn emit(handle: &Handle, channel: &str, number: usize, bytes: usize) {
    let message = ejson!([number, "x".repeat(bytes)]);
    handle
        .emit(channel![channel], message)
        .await
        .expect("emits");
}

/// The number of an event.
fn number(event: &str) -> usize {
    let rest = event.split_once(r#""event":["#).expect("an event").1;
    rest.split_once(',')
        .expect("a number")
        .0
        .parse()
        .expect("a number")
}

fn is_well(client: &mut Client) {
    client.send_text(r#"{"msg":"ping","id":"well"}"#);
    client.expect_text(r#"{"msg":"pong","id":"well"}"#);
}

fn nothing_is_left(handle: &Handle) {
    eventually("nothing is left", || {
        let stats = handle.stats();
        let alive = stats.connections + stats.sessions + stats.subscriptions + stats.tasks;
        alive + stats.channels + stats.queued_bytes == 0
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn row_034_the_frame_under_way_is_finished_and_then_comes_1013() {
    let server =
        flooding().configure(|settings| settings.clients.output_timeout = Duration::from_secs(1));
    let (address, handle) = serve(server).await;
    let (mut slow, mut healthy) = (follow(address, "c"), follow(address, "c"));
    let mut sent = 0;
    while handle.stats().slow_clients == 0 {
        emit(&handle, "c", sent, 50_000).await;
        assert_eq!(number(&healthy.expect_any_text()), sent);
        sent += 1;
    }
    let mut next = 0;
    loop {
        match slow.receive(PATIENCE) {
            Some(Received::Text(event)) => {
                assert_eq!(number(&event), next);
                next += 1;
            }
            Some(Received::Close { code, reason }) => {
                assert_eq!((code, &*reason), (1013, "Slow consumer"));
                break;
            }
            other => panic!("not closed, but {other:?}"),
        }
    }
    assert!(next < sent, "the queue was not dropped: {next} of {sent}");
    is_well(&mut healthy);
    drop((slow, healthy));
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_034_a_client_that_takes_nothing_for_too_long_is_closed() {
    let timeout = Duration::from_secs(1);
    let (address, handle) =
        serve(flooding().configure(|settings| settings.clients.output_timeout = timeout)).await;
    let (slow, mut steady) = (follow(address, "c"), follow(address, "c"));
    // Less than the limit on bytes; the slow one takes none of what follows, the other a little at
    // a time.
    for number in 0..20 {
        emit(&handle, "c", number, 40_000).await;
    }
    for expected in 0..20 {
        if handle.stats().slow_clients == 0 {
            sleep(timeout / 10);
        }
        assert_eq!(number(&steady.expect_any_text()), expected);
    }
    eventually("the slow one is closed", || {
        handle.stats().slow_clients == 1
    });
    is_well(&mut steady);
    drop((slow, steady));
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_034_a_client_that_does_not_even_take_its_end_is_reset() {
    let server = flooding().configure(|settings| {
        settings.clients.output_timeout = Duration::from_millis(500);
        settings.clients.close_timeout = Duration::from_millis(200);
    });
    let (address, handle) = serve(server).await;
    let slow = follow(address, "c");
    let mut sent = 0;
    while handle.stats().slow_clients == 0 {
        // So large that most of it stands in the frame under way, which the kernel has no room for.
        emit(&handle, "c", sent, 900_000).await;
        sent += 1;
    }
    nothing_is_left(&handle);
    let mut buffer = vec![0; 65536];
    let error = loop {
        match slow.tcp().read(&mut buffer) {
            Ok(0) => panic!("ended politely"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_035_a_client_that_reads_byte_by_byte_is_closed() {
    let server =
        flooding().configure(|settings| settings.clients.output_timeout = Duration::from_secs(1));
    let (address, handle) = serve(server).await;
    let (slow, mut healthy) = (follow(address, "c"), follow(address, "c"));
    let mut byte = [0];
    let mut sent = 0;
    while handle.stats().slow_clients == 0 {
        emit(&handle, "c", sent, 50_000).await;
        assert_eq!(number(&healthy.expect_any_text()), sent);
        slow.tcp().read_exact(&mut byte).expect("still open");
        sent += 1;
        assert!(sent < 100_000, "never closed");
    }
    drop((slow, healthy));
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_079_at_twice_the_memory_limit_the_slowest_goes_first() {
    let one = NonZero::new(1).expect("one");
    let server = flooding().configure(|settings| {
        settings.shards = Some(one);
        settings.memory_limit = Some(512 << 10);
    });
    let (address, handle) = serve(server).await;
    let (mut slower, mut slow) = (follow(address, "a"), follow(address, "b"));
    let mut healthy = follow(address, "a");
    for number in 0..5 {
        emit(&handle, "b", number, 50_000).await;
    }
    let mut sent = 0;
    while handle.stats().slow_clients == 0 {
        emit(&handle, "a", sent, 50_000).await;
        assert_eq!(number(&healthy.expect_any_text()), sent);
        sent += 1;
        assert!(sent < 1000, "never closed");
    }
    assert!(sent > 10, "{sent}");
    // The slowest, and only that.
    let end = loop {
        match slower.receive(PATIENCE) {
            Some(Received::Text(_)) => {}
            end => break end,
        }
    };
    assert!(
        matches!(end, Some(Received::Close { code: 1013, .. })),
        "{end:?}"
    );
    for expected in 0..5 {
        assert_eq!(number(&slow.expect_any_text()), expected);
    }
    is_well(&mut slow);
    is_well(&mut healthy);
    assert_eq!(handle.stats().slow_clients, 1);
    drop((slower, slow, healthy));
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_079_at_twice_the_memory_limit_nobody_new_is_taken_in() {
    let server = flooding().configure(|settings| {
        settings.memory_limit = Some(10_000);
        settings.clients.close_timeout = Duration::from_secs(30);
    });
    let (address, handle) = serve(server).await;
    let (slow, mut healthy) = (follow(address, "c"), follow(address, "d"));
    emit(&handle, "c", 0, 500_000).await;
    // It is closed, but the frame under way waits for it still.
    eventually("it is closed", || handle.stats().slow_clients == 1);
    assert!(handle.stats().queued_bytes > 20_000);
    let refused = Client::try_connect(&url(address)).expect_err("refused");
    assert!(refused.to_string().contains("503"), "{refused}");
    assert_eq!(handle.stats().refused_connections, 1);
    is_well(&mut healthy);
    slow.reset();
    eventually("there is room", || handle.stats().queued_bytes == 0);
    drop((Client::ddp_connect(&url(address)), healthy));
    nothing_is_left(&handle);
}

/// A client's frame whose mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("short");
    let mut out = vec![0x81, 0xfe];
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn row_060_061_a_client_whose_calls_wait_is_not_read_from() {
    let permits = Arc::new(Semaphore::new(0));
    let gate = permits.clone();
    let running = Arc::new(AtomicUsize::new(0));
    let begun = running.clone();
    let wait = move |_: Call, _pad: String| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            Ok(())
        }
    };
    let server = Server::builder()
        .method("wait", wait)
        .configure(|settings| {
            settings.clients.queued_messages = 100;
            settings.clients.queued_bytes = 100_000;
        });
    let (address, handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    let (mut other, _) = Client::ddp_connect(&url(address));
    const CALLS: usize = 20_000;
    let pad = "x".repeat(1000);
    let mut socket = client.tcp().try_clone().expect("a socket");
    let sending = std::thread::spawn(move || {
        for id in 0..CALLS {
            let call =
                format!(r#"{{"msg":"method","id":"{id:05}","method":"wait","params":["{pad}"]}}"#);
            socket.write_all(&frame(&call)).expect("sends");
        }
    });
    eventually("the first call runs", || {
        running.load(Ordering::SeqCst) == 1
    });
    sleep(Duration::from_millis(300));
    // The limit, and one read.
    let queued = handle.stats().queued_bytes;
    assert!((50_000..300_000).contains(&queued), "{queued}");
    assert!(!sending.is_finished(), "everything was taken in");
    assert_eq!(running.load(Ordering::SeqCst), 1);
    is_well(&mut other);
    permits.add_permits(CALLS);
    for id in 0..CALLS {
        client.expect_text(&format!(r#"{{"msg":"updated","methods":["{id:05}"]}}"#));
        client.expect_text(&format!(r#"{{"msg":"result","id":"{id:05}"}}"#));
    }
    sending.join().expect("all sent");
    client.close();
    other.close();
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_074_what_a_handler_sent_before_it_closed_the_connection_arrives() {
    let last_words = |subscription: Subscription| async move {
        for number in 0..1000 {
            subscription.added("numbers", number.to_string(), ejson!({ "number": number }));
        }
        subscription.connection().close();
        subscription.added("numbers", "late", ejson!({}));
        Ok(())
    };
    let (address, handle) = serve(Server::builder().publish("last", last_words)).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    client.send_text(r#"{"msg":"sub","id":"s","name":"last"}"#);
    for number in 0..1000 {
        let fields = format!(r#""id":"{number}","fields":{{"number":{number}}}}}"#);
        let added = client.expect_any_text();
        assert!(added.ends_with(&fields), "{added}");
    }
    client.expect_close(1000, "Normal closure");
    drop(client);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_075_a_handler_that_floods_costs_its_own_client_only() {
    let flood = |subscription: Subscription| async move {
        let text = "x".repeat(1000);
        for number in 0..20_000 {
            subscription.added("numbers", number.to_string(), ejson!({ "text": text }));
        }
        Ok(())
    };
    let server = Server::builder()
        .publish("flood", flood)
        .configure(|settings| {
            settings.clients.output_timeout = Duration::from_millis(500);
            settings.listener.send_buffer = 16 * 1024;
        });
    let (address, handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    let (mut other, _) = Client::ddp_connect(&url(address));
    client.send_text(r#"{"msg":"sub","id":"s","name":"flood"}"#);
    eventually("it is closed", || handle.stats().slow_clients == 1);
    let end = loop {
        match client.receive(PATIENCE) {
            Some(Received::Text(_)) => {}
            end => break end,
        }
    };
    assert!(
        matches!(end, Some(Received::Close { code: 1013, .. })),
        "{end:?}"
    );
    is_well(&mut other);
    drop((client, other));
    nothing_is_left(&handle);
}

#[test]
fn row_083_mail_to_a_client_or_a_server_that_is_gone_leaks_nothing() {
    let permits = Arc::new(Semaphore::new(0));
    let gate = permits.clone();
    let late = move |call: Call| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.expect("open").forget();
            let guard = call.begin_write();
            call.unblock();
            call.connection().close();
            drop(guard);
            Ok("x".repeat(10_000))
        }
    };
    let server = Running::start(flooding().method("late", late));
    let (address, handle) = (server.address(), server.handle());
    let call = r#"{"msg":"method","id":"1","method":"late"}"#;
    for round in 0..2 {
        let mut clients: Vec<_> = (0..10).map(|_| follow(address, "c")).collect();
        clients.iter_mut().for_each(|client| client.send_text(call));
        eventually("the methods run", || handle.stats().tasks == 10);
        if round == 0 {
            clients.into_iter().for_each(Client::reset);
            eventually("they have left", || handle.stats().connections == 0);
        } else {
            server.drop_serve();
            eventually("all are dropped", || handle.stats().connections == 0);
        }
        assert_eq!(handle.stats().channels, 0);
        permits.add_permits(10);
        nothing_is_left(handle);
    }
    drop(TcpStream::connect(address).expect_err("nobody listens"));
}
