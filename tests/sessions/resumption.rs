//! Clients that lose their connection and come back, over real sockets and across shards:
//! consecutive connections go to different shards, so that most returns move a client from one to
//! the other.

mod away;
mod polling;
mod returning;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Count, Gate, Running, eventually_within, meanwhile, received, talk};
use returning::*;
use socket2::{Domain, Socket, Type};
use updraft::prelude::*;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::transcript::Received;

#[test]
fn ddp_225_226_236_237_a_client_comes_back_from_shard_to_shard() {
    let (builder, seen) = noting(two_shards());
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    for round in 0..5 {
        // Zero is no event.
        let number = round * 10 + 1;
        server.emit("room", number);
        client.expect_events([number]);
        let past = client.cut(Client::reset);
        await_parked(&server, 1);
        let stats = server.stats();
        assert_eq!((stats.connections, stats.sessions), (0, 1));
        server.emit("room", number + 1);
        server.emit("room", number + 2);
        client = past.come_back(&server);
        // Its subscription lives, and it need not hear so again.
        client.client.send_text(SUBSCRIBE);
        server.emit("room", number + 3);
        client.expect_events(number + 1..number + 4);
        let stats = server.stats();
        assert_eq!((stats.connections, stats.parked_sessions), (1, 0));
    }
    assert_eq!(received(&mut client.client), [""; 0]);
    let notes = (seen.sessions.get(), seen.closed.get(), seen.stopped.get());
    assert_eq!(notes, (1, 0, 0));
    client.leave();
    seen.closed.becomes(1);
    seen.stopped.becomes(1);
}

#[test]
fn ddp_225_232_every_way_to_lose_a_connection_can_be_undone() {
    let (builder, _) = noting(two_shards());
    let server = Running::start_resumable(builder);
    let half_closed = |client: Client| {
        client.tcp().shutdown(Shutdown::Write).expect("a socket");
    };
    let ways: [fn(Client); 4] = [Client::reset, Client::close, drop, half_closed];
    for cut in ways {
        let client = Returning::subscribed(&server);
        let past = client.cut(cut);
        await_parked(&server, 1);
        server.emit("room", 7);
        let mut client = past.come_back(&server);
        client.expect_events([7]);
        client.leave();
    }
}

#[test]
fn ddp_233_callbacks_run_when_the_grace_period_is_over() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.sessions.resumption.grace = SHORT));
    let server = Running::start_resumable(builder);
    let past = Returning::subscribed(&server).cut(Client::reset);
    await_parked(&server, 1);
    assert_eq!((seen.closed.get(), seen.stopped.get()), (0, 0));
    seen.closed.becomes(1);
    seen.stopped.becomes(1);
    assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    server.emit("room", 1);
    let mut client = past.expect_fresh(past.ask(&server));
    // Nothing is left of the former subscription.
    server.emit("room", 2);
    assert_eq!(received(&mut client.client), [""; 0]);
    client.leave();
}

#[test]
fn ddp_234_more_than_the_limit_ends_the_session() {
    for (limits, events) in [((10, 1 << 20), 11), ((1000, 1000), 12)] {
        let (builder, seen) = noting(two_shards().configure(|settings| {
            settings.sessions.resumption.messages = limits.0;
            settings.sessions.resumption.bytes = limits.1;
        }));
        let server = Running::start_resumable(builder);
        let past = Returning::subscribed(&server).cut(Client::reset);
        await_parked(&server, 1);
        // Of 100 bytes each, or a little more.
        (1..=events).for_each(|number| server.emit("room", number));
        seen.closed.becomes(1);
        assert!(eventually_within(PATIENCE, || server.is_at_rest()));
        past.expect_fresh(past.ask(&server)).leave();
    }
}

#[test]
fn ddp_235_a_session_that_the_server_closes_is_over() {
    for is_away in [false, true] {
        let (builder, seen) = noting(two_shards());
        let server = Running::start_resumable(builder);
        let mut client = Returning::subscribed(&server);
        let past = if is_away {
            let past = client.cut(Client::reset);
            await_parked(&server, 1);
            seen.connection().close();
            past
        } else {
            seen.connection().close();
            client.client.expect_close(1000, "Normal closure");
            client.cut(drop)
        };
        seen.closed.becomes(1);
        past.expect_fresh(past.ask(&server)).leave();
    }
}

#[test]
fn ddp_238_a_silent_client_can_come_back() {
    let beat = Duration::from_millis(200);
    let (builder, _) = noting(two_shards().configure(|settings| {
        settings.sessions.heartbeat_interval = beat;
        settings.sessions.heartbeat_timeout = beat;
    }));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    client.client.expect_text(PING);
    client.client.expect_close(1000, "Normal closure");
    let past = client.cut(drop);
    let client = past.come_back(&server);
    client.leave();
}

#[test]
fn ddp_239_without_a_grace_period_nobody_comes_back() {
    let (builder, seen) = noting(
        two_shards().configure(|settings| settings.sessions.resumption.grace = Duration::ZERO),
    );
    let server = Running::start_resumable(builder);
    let past = Returning::subscribed(&server).cut(Client::reset);
    seen.closed.becomes(1);
    past.expect_fresh(past.ask(&server)).leave();
}

#[test]
fn ddp_240_a_client_that_never_resumes_gets_new_sessions() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.sessions.resumption.grace = SHORT));
    let server = Running::start_resumable(builder);
    for _ in 0..5 {
        let client = Returning::subscribed(&server);
        client.cut(Client::reset);
    }
    seen.closed.becomes(5);
}

#[test]
fn deviation_026_a_live_connection_keeps_its_session() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.clients.takeover.timeout = PATIENCE * 2));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    for _ in 0..2 {
        let mut rival = client.past.ask(&server);
        // What it says meanwhile is not lost.
        rival.send_text(SUBSCRIBE);
        client.client.expect_text(PING);
        client.client.send_text(PONG);
        let mut rival = client.past.expect_fresh(rival);
        rival.expect(READY);
        server.emit("room", 1);
        rival.expect_events([1]);
        client.expect_events([1]);
        rival.leave();
    }
    assert_eq!(received(&mut client.client), [""; 0]);
    client.leave();
    seen.closed.becomes(3);
}

#[test]
fn deviation_026_a_connection_that_does_not_answer_loses_its_session() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.clients.takeover.timeout = SHORT));
    let server = Running::start_resumable(builder);
    let client = Returning::subscribed(&server);
    let past = client.past.clone();
    let mut silent = client;
    let rival = past.ask(&server);
    let mut client = past.expect_back(rival);
    silent.client.expect_text(PING);
    let end = silent.client.receive(PATIENCE);
    assert!(matches!(end, Some(Received::Other(_))), "{end:?}");
    server.emit("room", 1);
    client.expect_events([1]);
    assert_eq!((seen.sessions.get(), server.stats().connections), (1, 1));
    client.leave();
}

#[test]
fn deviation_026_a_rival_that_has_left_takes_no_session() {
    let timeout = Duration::from_millis(1500);
    let (builder, _) =
        noting(two_shards().configure(|settings| settings.clients.takeover.timeout = timeout));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    let mut rival = client.past.ask(&server);
    client.client.expect_text(PING);
    // It closes in order, but its end of the connection stays open.
    rival
        .send(tungstenite::Message::Close(None))
        .expect("it is open");
    client.client.expect_silence(2 * 1500);
    server.emit("room", 1);
    client.expect_events([1]);
    drop(rival);
    client.leave();
}

#[test]
fn a_session_that_waits_anew_goes_to_the_one_who_waits_for_it() {
    let (builder, _) =
        noting(two_shards().configure(|settings| settings.clients.takeover.timeout = GRACE));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    let past = client.past.clone();
    let first = past.ask(&server);
    client.client.expect_text(PING);
    // The latest of several is the client.
    let second = past.ask(&server);
    past.expect_fresh(first).leave();
    client.client.expect_text(PING);
    client.cut(Client::reset);
    past.expect_back(second).leave();
}

#[test]
fn a_count_that_cannot_be_does_not_disturb_a_live_connection() {
    let (builder, _) =
        noting(two_shards().configure(|settings| settings.clients.takeover.timeout = GRACE));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    for count in [0, 3, 1 << 60] {
        let mut past = client.past.clone();
        past.count = count;
        past.expect_fresh(past.ask(&server)).leave();
    }
    assert_eq!(received(&mut client.client), [""; 0]);
    client.leave();
}

#[test]
fn the_last_wrong_attempt_ends_a_waiting_session() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.sessions.resumption.attempts = 3));
    let server = Running::start_resumable(builder);
    let past = Returning::subscribed(&server).cut(Client::reset);
    await_parked(&server, 1);
    let mut wrong = past.clone();
    wrong.count = 3;
    for _ in 0..2 {
        wrong.expect_fresh(wrong.ask(&server)).leave();
    }
    assert_eq!(server.stats().parked_sessions, 1);
    // A right one in between starts the count anew.
    let past = past.come_back(&server).cut(Client::reset);
    await_parked(&server, 1);
    wrong.count = past.count + 1;
    for left in (0..3).rev() {
        wrong.expect_fresh(wrong.ask(&server)).leave();
        await_parked(&server, usize::from(left > 0));
    }
    past.expect_fresh(past.ask(&server)).leave();
    seen.closed.becomes(1);
}

#[test]
fn a_session_can_be_bound_to_its_address() {
    let elsewhere = |server: &Running| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&address.into()).expect("a loopback address");
        let there = server.url().split('/').nth(2).expect("a host");
        let there: SocketAddr = there.parse().expect("an address");
        socket.connect(&there.into()).expect("listens");
        Client::over(TcpStream::from(socket), server.url()).expect("a handshake")
    };
    for bound in [false, true] {
        let (builder, _) = noting(two_shards().configure(|settings| {
            settings.clients.takeover.same_address = bound;
            settings.sessions.resumption.attempts = 2;
        }));
        let server = Running::start_resumable(builder);
        let past = Returning::subscribed(&server).cut(Client::reset);
        await_parked(&server, 1);
        let client = past.ask_over(elsewhere(&server));
        if !bound {
            past.expect_back(client).leave();
            continue;
        }
        past.expect_fresh(client).leave();
        let past = past.come_back(&server).cut(Client::reset);
        await_parked(&server, 1);
        for _ in 0..2 {
            past.expect_fresh(past.ask_over(elsewhere(&server))).leave();
        }
        await_parked(&server, 0);
    }
}

#[test]
fn deviation_027_a_method_goes_on_without_its_client_and_is_not_begun_again() {
    let (gate, begun) = (Gate::new(), Count::default());
    let (inside, counting) = (gate.clone(), begun.clone());
    let pay = move |_: Call| {
        let (inside, begun) = (inside.clone(), counting.clone());
        async move {
            begun.add();
            inside.pass().await;
            Ok("paid")
        }
    };
    let server = Running::start_resumable(two_shards().method("pay", pay));
    let call = r#"{"msg":"method","id":"m","method":"pay"}"#;
    let mut client = Returning::connect(&server);
    client.client.send_text(call);
    gate.await_arrival(&server);
    let past = client.cut(Client::reset);
    await_parked(&server, 1);
    let mut client = past.ask(&server);
    client.send_text(call);
    let mut client = past.expect_back(client);
    gate.open(1);
    talk(
        &mut client.client,
        r#"
        <- {"msg":"updated","methods":["m"]}
        <- {"msg":"result","id":"m","result":"paid"}
        -- silence
        "#,
    );
    assert_eq!(begun.get(), 1);
    client.leave();
}

#[test]
fn violations_and_slow_readers_do_not_come_back() {
    let (builder, _) = noting(two_shards().configure(|settings| {
        settings.clients.first_message = 1000;
        settings.clients.message = 1000;
    }));
    let server = Running::start_resumable(builder);
    let mut client = Returning::subscribed(&server);
    client.client.send_text(&" ".repeat(1001));
    client.client.expect_close(1009, "Message too big");
    let past = client.cut(drop);
    past.expect_fresh(past.ask(&server)).leave();
    let (builder, _) = noting(two_shards().configure(|settings| {
        settings.clients.output_timeout = Duration::from_millis(200);
        settings.listener.send_buffer = 16 * 1024;
    }));
    let server = Running::start_resumable(builder);
    let client = Returning::subscribed(&server);
    let long = "x".repeat(32 * 1024);
    let mut left = 10_000;
    while server.stats().slow_clients == 0 {
        server.emit("room", &long);
        left -= 1;
        assert!(left > 0, "the client is not found slow");
    }
    let past = client.cut(Client::reset);
    past.expect_fresh(past.ask(&server)).leave();
}

#[test]
fn what_waits_for_those_who_are_away_counts_and_is_the_first_to_go() {
    let builder = two_shards().configure(|settings| {
        settings.sessions.resumption.messages = 1000;
        settings.sessions.resumption.bytes = 1 << 20;
    });
    let (builder, seen) =
        noting(builder.configure(|settings| settings.memory_limit = Some(100_000)));
    let server = Running::start_resumable(builder);
    let past: Vec<Past> = (0..4)
        .map(|_| Returning::subscribed(&server).cut(Client::reset))
        .collect();
    await_parked(&server, 4);
    let long = "x".repeat(10_000);
    server.emit("room", &long);
    let counted = || server.stats().queued_bytes >= 40_000;
    assert!(eventually_within(PATIENCE, counted), "{:?}", server.stats());
    (0..9).for_each(|_| server.emit("room", &long));
    let relieved = || server.stats().parked_sessions < 4 && server.stats().queued_bytes <= 200_000;
    assert!(
        eventually_within(PATIENCE, relieved),
        "{:?}",
        server.stats()
    );
    assert!(eventually_within(PATIENCE, || seen.closed.get() > 0));
    assert_eq!(server.stats().slow_clients, 0);
    for past in past {
        let mut client = past.ask(&server);
        drop(client.expect_any_text());
        client.send_text(DISCONNECT);
        client.close();
    }
}

#[test]
fn shutdown_does_not_wait_for_those_who_are_away() {
    let (builder, seen) = noting(two_shards());
    let server = Running::start_resumable(builder);
    Returning::subscribed(&server).cut(Client::reset);
    await_parked(&server, 1);
    server.wait(server.handle().shutdown(GRACE));
    assert_eq!((seen.closed.get(), seen.stopped.get()), (1, 1));
}

/// How a connection of [`a_client_that_is_cut_off_200_times`] is lost.
const CUTS: [fn(Client); 4] = [
    Client::reset,
    drop,
    Client::close,
    // As if the network were gone: nothing is heard of it any more.
    std::mem::forget,
];

#[test]
fn ddp_225_227_a_client_that_is_cut_off_200_times_misses_nothing_and_gets_nothing_twice() {
    let seed = std::env::var("UPDRAFT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("UPDRAFT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // Room for what comes up while this machine does something else.
    let builder = two_shards().configure(|settings| {
        settings.sessions.resumption.messages = 100_000;
        settings.sessions.resumption.bytes = 64 << 20;
        settings.clients.takeover.timeout = Duration::from_millis(50);
    });
    let (builder, seen) = noting(builder);
    let server = Running::start_resumable(builder);
    let client = Returning::subscribed(&server);
    let emitted = AtomicUsize::new(1);
    let emit = || {
        server.emit("room", emitted.fetch_add(1, Ordering::Relaxed));
    };
    let mut next = 1..;
    let cut_off = || {
        let mut client = client;
        for _ in 0..200 {
            for number in next.by_ref().take(random.usize(..30)) {
                client.expect_event_or_ping(number);
            }
            std::thread::sleep(Duration::from_micros(random.u64(..5000)));
            let past = client.cut(CUTS[random.usize(..CUTS.len())]);
            client = past.come_back(&server);
        }
        client
    };
    let mut client = meanwhile(emit, cut_off);
    let all = emitted.into_inner();
    for number in next.take_while(|number| *number < all) {
        client.expect_event_or_ping(number);
    }
    assert_eq!(received(&mut client.client), [""; 0]);
    println!("{} messages", all - 1);
    client.leave();
    seen.closed.becomes(1);
}
