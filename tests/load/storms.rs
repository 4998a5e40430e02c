//! Many clients at once: they connect in a storm, follow one channel, subscribe and leave together.
//! Those who are there already are served meanwhile, and nothing is left afterwards.
//!
//! What `cargo test` runs is small; the tests that begin with `soak_` are of the size that they are
//! about.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use crate::common::{Gate, Running, eventually_within, received};
use tungstenite::Message as Sent;
use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::transcript::Received;

/// A publication that relays the channel it is told, and one with a function for each argument.
fn relaying() -> Builder {
    fn tagged(m: &Message, tag: &usize) -> Option<Value> {
        Some(ejson!([*tag as f64, m.value().clone()]))
    }
    let feed = |vent: Vent, channel: String| async move { vent.relay(channel![channel]).await };
    let tags = |vent: Vent, (channel, tag): (String, usize)| async move {
        vent.on_shared(channel![channel], tag, tagged).await
    };
    Server::builder().vent("feed", feed).vent("tags", tags)
}

fn follow(client: &mut Client, channel: &str) {
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"feed","params":["vent.v","{channel}"]}}"#
    ));
    client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
}

/// Adds a publication with a function that holds the only shard up.
fn holding(builder: Builder, gate: &Gate) -> Builder {
    let gate = gate.clone();
    let held = move |vent: Vent| {
        let gate = gate.clone();
        async move {
            vent.on("held", move |_| {
                gate.hold();
                None::<usize>
            })
            .await
        }
    };
    builder
        .vent("held", held)
        .configure(|settings| settings.shards = Some(NonZero::<usize>::MIN))
}

/// A client that follows it, so that what is emitted there holds the shard up.
fn hold_up(server: &Running) -> Client {
    let mut client = server.client();
    client.send_text(r#"{"msg":"sub","id":"s","name":"held","params":["vent.v"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    client
}

fn event(text: &str) -> String {
    format!(r#"{{"msg":"changed","collection":"vent.v","id":"id","fields":{{"event":{text}}}}}"#)
}

/// Another client pings while something goes on, and gets its answers.
fn beside_pings(server: &Running, meanwhile: impl FnOnce()) {
    let mut client = server.client();
    let ping = || {
        client.send_text(r#"{"msg":"ping"}"#);
        client.expect_text(r#"{"msg":"pong"}"#);
    };
    crate::common::meanwhile(ping, meanwhile);
}

/// So many clients, each of which has connected, from so many threads.
fn storm(server: &Running, count: usize, threads: usize) -> Vec<Client> {
    scope(|scope| {
        let storms: Vec<_> = (0..threads)
            .map(|thread| {
                let share = (thread..count).step_by(threads).count();
                scope.spawn(move || -> Vec<Client> {
                    let mut clients: Vec<Client> = (0..share)
                        .map(|_| {
                            let mut client = Client::connect(server.url());
                            client.send_text(CONNECT);
                            client
                        })
                        .collect();
                    for client in &mut clients {
                        let answer = client.expect_any_text();
                        assert!(answer.contains("connected"), "{answer}");
                    }
                    clients
                })
            })
            .collect();
        let storms = storms.into_iter();
        storms.flat_map(|storm| storm.join().unwrap()).collect()
    })
}

/// What a client says first, all in one piece: the handshake, and `connect` in a frame behind it.
fn greeting(address: &str) -> Vec<u8> {
    let handshake = format!(
        "GET /websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    // Masked with zeros.
    let header = [0x81, 0x80 | CONNECT.len() as u8, 0, 0, 0, 0];
    [handshake.as_bytes(), &header, CONNECT.as_bytes()].concat()
}

/// Waits until a client has been told that it is connected.
fn await_connected(mut socket: &TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\"}") {
        let mut piece = [0; 1024];
        let count = socket.read(&mut piece).expect("an answer in time");
        assert!(count > 0, "refused: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(r#"{"msg":"connected","#), "{answer}");
}

/// All clients connect at once, none waiting for another, are cut off at once, and come back.
fn connect_storm(count: usize) {
    // Nobody answers pings while the others connect.
    let server = Running::start(relaying().configure(|settings| {
        settings.sessions.heartbeat_interval = Duration::ZERO;
        settings.sessions.heartbeat_timeout = PATIENCE;
    }));
    let address = server.url().split('/').nth(2).unwrap();
    let greeting = greeting(address);
    let mut steady = server.client();
    follow(&mut steady, "steady");
    beside_pings(&server, || {
        for _ in 0..2 {
            let connect = |_| {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.set_read_timeout(Some(6 * PATIENCE)).unwrap();
                socket.write_all(&greeting).unwrap();
                socket
            };
            let sockets: Vec<TcpStream> = (0..count).map(connect).collect();
            sockets.iter().for_each(await_connected);
            assert!(server.stats().sessions >= count);
            drop(sockets);
            server.emit("steady", "still here");
            steady.expect_text(&event(r#""still here""#));
        }
    });
    assert_eq!(server.stats().refused_connections, 0);
    steady.close();
}

#[test]
fn row_037_a_storm_of_connections_starves_nobody() {
    connect_storm(300);
}

#[test]
#[ignore = "takes 18,000 sockets"]
fn soak_row_037_nine_thousand_connect_at_once() {
    connect_storm(9_000);
}

/// One message to all clients is no matter for the others: they get their answers in between.
fn one_channel(count: usize, messages: usize) {
    // They are not read from while the others connect.
    let patient = relaying().configure(|settings| {
        settings.sessions.heartbeat_interval = Duration::ZERO;
        settings.sessions.heartbeat_timeout = PATIENCE;
    });
    let server =
        Running::start(patient.configure(|settings| settings.shards = Some(1.try_into().unwrap())));
    let mut clients = storm(&server, count, 8);
    clients.iter_mut().for_each(|client| follow(client, "all"));
    beside_pings(&server, || {
        for number in 1..=messages {
            server.emit("all", number);
        }
        for client in &mut clients {
            for number in 1..=messages {
                client.expect_text(&event(&number.to_string()));
            }
        }
    });
    assert_eq!(server.stats().slow_clients, 0);
    clients.into_iter().for_each(Client::reset);
}

#[test]
fn row_082_all_sessions_in_one_channel_get_each_message_and_others_their_answers() {
    // More than are written to in one turn.
    one_channel(600, 40);
}

#[test]
fn row_082_a_burst_is_written_while_it_is_delivered() {
    const MESSAGES: usize = 100;
    let held = Gate::new();
    let server = Running::start(holding(relaying(), &held));
    let holder = hold_up(&server);
    let mut other = server.client();
    let mut clients = storm(&server, 100, 2);
    clients.iter_mut().for_each(|client| follow(client, "all"));
    // While a mapping function holds the shard up, the burst comes in. Half-way it is held up
    // again.
    server.emit("held", 1);
    held.await_arrival(&server);
    let text = |number: usize| format!("{number} {}", "x".repeat(4096));
    for number in 0..MESSAGES {
        if number == MESSAGES / 2 {
            server.emit("held", 2);
        }
        server.emit("all", text(number));
    }
    other.send_text(r#"{"msg":"ping"}"#);
    held.open(1);
    held.await_arrival(&server);
    let first = clients[0].next_text(PATIENCE);
    let answer = other.next_text(PATIENCE);
    held.open(1);
    assert!(first.is_some(), "it all waits to be delivered first");
    assert!(answer.is_some(), "who asks waits until all is delivered");
    for (index, client) in clients.iter_mut().enumerate() {
        for number in usize::from(index == 0)..MESSAGES {
            client.expect_text(&event(&format!("{:?}", text(number))));
        }
    }
    assert_eq!(server.stats().gaps, 0);
    clients.into_iter().for_each(Client::reset);
    other.close();
    holder.close();
}

#[test]
fn row_037_who_finds_no_room_in_time_is_closed_and_the_rest_is_served() {
    let held = Gate::new();
    let builder = holding(Server::builder(), &held);
    let wait = Duration::from_millis(300);
    let server = Running::start(builder.configure(|settings| {
        settings.inbox.arrivals = 2;
        settings.inbox.arrival_timeout = wait;
    }));
    let holder = hold_up(&server);
    server.emit("held", 1);
    held.await_arrival(&server);
    let newcomers: Vec<Client> = (0..4).map(|_| Client::connect(server.url())).collect();
    let are_refused = || server.stats().refused_connections == 2;
    assert!(
        eventually_within(PATIENCE, are_refused),
        "{:?}",
        server.stats()
    );
    held.open(1);
    let mut connected = 0;
    for mut newcomer in newcomers {
        let is_sent = newcomer.send(Sent::text(CONNECT)).is_ok();
        let answer = newcomer.receive(PATIENCE).filter(|_| is_sent);
        if let Some(Received::Text(text)) = answer
            && text.starts_with(r#"{"msg":"connected""#)
        {
            connected += 1;
        }
    }
    assert_eq!(connected, 2);
    holder.close();
}

#[test]
#[ignore = "takes 18,000 sockets"]
fn soak_row_082_nine_thousand_sessions_in_one_channel() {
    one_channel(9_000, 20);
}

/// A subscription storm on one channel: all begin, all end.
fn subscription_storm(publication: &str, clients: usize, each: usize) {
    let server = Running::start(
        relaying().configure(|settings| settings.shards = Some(1.try_into().unwrap())),
    );
    let mut clients: Vec<Client> = (0..clients).map(|_| server.client()).collect();
    let next = AtomicUsize::new(0);
    let all = clients.len() * each;
    for client in &mut clients {
        for number in 0..each {
            let tag = next.fetch_add(1, Ordering::Relaxed);
            let parameters = format!(r#""vent.{number}","c",{tag}"#);
            client.send_text(&format!(
                r#"{{"msg":"sub","id":"{number}","name":"{publication}","params":[{parameters}]}}"#
            ));
        }
    }
    assert!(eventually_within(Duration::from_secs(60), || {
        server.stats().subscriptions == all && server.stats().tasks == 0
    }));
    for client in &mut clients {
        for number in 0..each {
            client.send_text(&format!(r#"{{"msg":"unsub","id":"{number}"}}"#));
        }
    }
    assert!(eventually_within(Duration::from_secs(60), || {
        server.stats().subscriptions == 0
    }));
    let sockets = clients.iter().map(Client::tcp);
    sockets.for_each(|socket: &TcpStream| assert!(socket.peer_addr().is_ok()));
    clients.into_iter().for_each(Client::reset);
}

#[test]
fn all_who_follow_a_channel_may_come_and_go_at_once() {
    subscription_storm("feed", 10, 50);
    subscription_storm("tags", 10, 50);
}

#[test]
#[ignore = "takes 20,000 subscriptions"]
fn soak_ten_thousand_subscriptions_of_one_channel_come_and_go() {
    subscription_storm("feed", 100, 100);
    subscription_storm("tags", 100, 100);
}

/// The number of the shard that has this client: mapping functions run there.
fn shard_of(server: &Running, client: &mut Client) -> String {
    client.send_text(r#"{"msg":"sub","id":"w","name":"where","params":["vent.w"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.w","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["w"]}"#);
    server.emit("where", 1);
    let event = client.expect_any_text();
    client.send_text(r#"{"msg":"unsub","id":"w"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"vent.w","id":"id"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"w"}"#);
    event
}

#[test]
fn connections_are_spread_evenly_whoever_leaves() {
    let whereabouts = |vent: Vent| async move {
        vent.on("where", |_| {
            std::thread::current().name().map(str::to_owned)
        })
        .await
    };
    let builder = relaying().vent("where", whereabouts);
    let server =
        Running::start(builder.configure(|settings| settings.shards = Some(2.try_into().unwrap())));
    let mut clients: Vec<(String, Client)> = Vec::new();
    let add = |clients: &mut Vec<_>| {
        let mut client = server.client();
        clients.push((shard_of(&server, &mut client), client));
    };
    (0..20).for_each(|_| add(&mut clients));
    let shard = clients[0].0.clone();
    let (mut here, there): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|(other, _)| *other == shard);
    assert_eq!((here.len(), there.len()), (10, 10));
    // All but one of a shard leave; those who come next are all for it.
    here.drain(1..).for_each(|(_, client)| client.reset());
    assert!(eventually_within(PATIENCE, || server.stats().connections == 11));
    assert_eq!(received(&mut here[0].1), [""; 0]);
    (0..9).for_each(|_| add(&mut here));
    assert!(here.iter().all(|(other, _)| *other == shard));
    let all = here.into_iter().chain(there);
    all.for_each(|(_, client)| client.close());
}
