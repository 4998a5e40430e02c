//! Clients that know nothing of positions, whose place the server keeps.

use std::time::Duration;

use serde_json::json;
use updraft::prelude::*;
use updraft::topics::{Entry, OnLoss, Topic};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::world::{Got, World, got, subscribe};
use crate::common::{Count, Gate, Running, eventually_within};

/// Ids as clients draw them for each subscription: of Meteor's form, a UUID, and another.
const METEOR: &str = "kpNzWxsDHYcxAHj5M";
const UUID: &str = "9f8b5a52-3c3e-4a7a-9f58-5f7f6f0c2d11";
const NANO: &str = "V1StGXR8_Z5jdHi6B-myTA";

const EARLIEST: &str = r#"{"from":"earliest"}"#;
const LATEST: &str = "{}";

/// A server whose publication `orders` follows the topic for clients with cursors, and which
/// anybody may log in to.
fn builder(topic: &Topic) -> updraft::Builder {
    #[derive(Deserialize)]
    struct Params {
        from: Option<Value>,
    }
    let topic = topic.clone();
    Server::builder()
        .vent("orders", move |vent: Vent, Params { from }: Params| {
            let topic = topic.clone();
            async move {
                vent.follow(&topic, from)
                    .cursor()
                    .after_gap(OnLoss::Earliest)
                    .await
            }
        })
        .method("login", async |call: Call, user: Option<String>| {
            call.set_user_id(user).await
        })
        .configure(|settings| {
            settings.cursors.confirm_after = Duration::from_millis(20);
            settings.cursors.write_interval = Duration::from_millis(20);
        })
}

fn start(world: &World) -> Running {
    Running::start(builder(&world.topic))
}

/// A client that answers pings, and has no positions.
struct Reader {
    client: Client,
}

impl Reader {
    /// Subscribes under this Vent id.
    fn new(server: &Running, vent_id: &str, params: &str) -> Self {
        let mut client = server.client();
        subscribe(&mut client, "s", vent_id, params);
        Self { client }
    }

    fn of_user(server: &Running, user: &str, vent_id: &str, params: &str) -> Self {
        let mut client = server.client();
        login(&mut client, user);
        subscribe(&mut client, "s", vent_id, params);
        Self { client }
    }

    /// What comes next, except what it is told of its place.
    #[track_caller]
    fn next(&mut self) -> Got {
        loop {
            let text = self.client.next_text(2 * PATIENCE).expect("something");
            match got(&text) {
                None => self.client.send_text(r#"{"msg":"pong"}"#),
                Some(Got::Place(_) | Got::Added) => {}
                Some(got) => return got,
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            match self.next() {
                Got::Event(event, _) => assert_eq!(event, json!(number)),
                got => panic!("{got:?} instead of {number}"),
            }
        }
    }

    #[track_caller]
    fn expect_ready(&mut self) {
        assert_eq!(self.next(), Got::Ready);
    }

    /// Answers pings until the server keeps the place behind this record.
    #[track_caller]
    fn confirm(&mut self, world: &World, offset: u64) {
        let is_kept = || {
            if let Some(text) = self.client.next_text(Duration::from_millis(5)) {
                match got(&text) {
                    None => self.client.send_text(r#"{"msg":"pong"}"#),
                    got => assert!(matches!(got, Some(Got::Place(_))), "{text}"),
                }
            }
            cursors(world).contains(&offset)
        };
        assert!(
            eventually_within(2 * PATIENCE, is_kept),
            "{:?}",
            cursors(world)
        );
    }

    /// What comes next, without an answer to any ping. Tells whether there was one before.
    #[track_caller]
    fn next_unanswered(&mut self) -> (Got, bool) {
        let mut is_pinged = false;
        loop {
            let text = self.client.next_text(2 * PATIENCE).expect("something");
            match got(&text) {
                None => is_pinged = true,
                Some(Got::Place(_) | Got::Added) => {}
                Some(got) => return (got, is_pinged),
            }
        }
    }

    #[track_caller]
    fn expect_unanswered(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            match self.next_unanswered().0 {
                Got::Event(event, _) => assert_eq!(event, json!(number)),
                got => panic!("{got:?} instead of {number}"),
            }
        }
    }

    /// Loses its connection.
    fn cut(self, server: &Running) {
        let before = server.stats().connections;
        self.client.reset();
        let is_gone = || server.stats().connections < before;
        assert!(eventually_within(PATIENCE, is_gone));
    }
}

/// Logs in, before anything else.
fn login(client: &mut Client, user: &str) {
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"login","params":["{user}"]}}"#
    ));
    let mut left = 2;
    while left > 0 {
        let text = client.next_text(2 * PATIENCE).expect("an answer");
        if text.contains(r#""msg":"result""#) || text.contains(r#""msg":"updated""#) {
            left -= 1;
        }
    }
}

/// The offsets that the store keeps.
fn cursors(world: &World) -> Vec<u64> {
    let found = world.wait(world.topic.registers().scan("cursors", "", None, 10_000));
    let positions = found.unwrap().into_iter().map(|(_, register)| {
        let text = String::from_utf8(register.value.to_vec()).unwrap();
        let position = text.split(' ').nth(1).unwrap();
        position
            .parse::<updraft::topics::Position>()
            .unwrap()
            .offset()
    });
    positions.collect()
}

#[test]
fn topic_032_a_client_that_comes_back_goes_on_behind_what_it_has_confirmed() {
    for world in World::each() {
        let server = start(&world);
        for (round, vent_id) in [METEOR, UUID, NANO].into_iter().enumerate() {
            let first = 100 * round as u64;
            world.publish(first + 1..=first + 3);
            let mut reader = Reader::new(&server, vent_id, LATEST);
            reader.expect_ready();
            world.publish(first + 4..=first + 10);
            reader.expect(first + 4..=first + 10);
            let last = world.wait(world.topic.bounds()).unwrap().last;
            reader.confirm(&world, last);
            reader.cut(&server);
            world.publish(first + 11..=first + 30);
            let mut reader = Reader::new(&server, vent_id, LATEST);
            reader.expect(first + 11..=first + 30);
            reader.expect_ready();
        }
    }
}

#[test]
fn topic_032_tabs_with_their_own_ids_each_have_their_own_place() {
    for world in World::each() {
        let server = start(&world);
        let mut one = Reader::new(&server, METEOR, EARLIEST);
        one.expect_ready();
        world.publish(1..=5);
        one.expect(1..=5);
        one.confirm(&world, 5);
        let mut other = Reader::new(&server, UUID, EARLIEST);
        other.expect(1..=5);
        other.expect_ready();
        one.cut(&server);
        world.publish(6..=8);
        other.expect(6..=8);
        other.confirm(&world, 8);
        other.cut(&server);
        world.publish([9]);
        Reader::new(&server, METEOR, EARLIEST).expect(6..=9);
        Reader::new(&server, UUID, EARLIEST).expect([9]);
    }
}

#[test]
fn topic_032_a_constant_id_and_other_parameters_begin_where_the_handler_says() {
    for world in World::each() {
        let server = start(&world);
        for vent_id in ["vent.orders", "orders"] {
            let mut reader = Reader::new(&server, vent_id, EARLIEST);
            reader.expect_ready();
            assert!(cursors(&world).is_empty());
        }
        world.publish(1..=5);
        Reader::new(&server, "vent.orders", EARLIEST).expect(1..=5);
        Reader::new(&server, "vent.orders", EARLIEST).expect(1..=5);
        let mut reader = Reader::new(&server, METEOR, r#"{"from":"earliest","shop":1}"#);
        reader.expect(1..=5);
        reader.expect_ready();
        reader.confirm(&world, 5);
        reader.cut(&server);
        world.publish([6]);
        Reader::new(&server, METEOR, r#"{"from":"earliest","shop":2}"#).expect(1..=6);
        // The order of names means nothing.
        Reader::new(&server, METEOR, r#"{"shop":1,"from":"earliest"}"#).expect([6]);
    }
}

#[test]
fn topic_032_a_stolen_id_is_of_no_use_to_another_user() {
    for world in World::each() {
        let server = start(&world);
        world.publish(1..=5);
        let mut ada = Reader::of_user(&server, "ada", METEOR, EARLIEST);
        ada.expect(1..=5);
        ada.expect_ready();
        ada.confirm(&world, 5);
        world.publish([6]);
        ada.expect([6]);
        // Somebody else, and nobody.
        let mut bea = Reader::of_user(&server, "bea", METEOR, LATEST);
        bea.expect_ready();
        let mut nobody = Reader::new(&server, METEOR, EARLIEST);
        nobody.expect(1..=6);
        nobody.expect_ready();
        // Hers still moves.
        world.publish([7]);
        ada.expect([7]);
        bea.expect([7]);
        nobody.expect([7]);
        let all_kept = || {
            for reader in [&mut ada, &mut bea, &mut nobody] {
                if reader.client.next_text(Duration::from_millis(5)).is_some() {
                    reader.client.send_text(r#"{"msg":"pong"}"#);
                }
            }
            cursors(&world) == [7, 7, 7]
        };
        assert!(eventually_within(2 * PATIENCE, all_kept));
        ada.cut(&server);
        bea.cut(&server);
        nobody.cut(&server);
        world.publish([8]);
        Reader::of_user(&server, "bea", METEOR, LATEST).expect([8]);
        Reader::of_user(&server, "ada", METEOR, EARLIEST).expect([8]);
    }
}

#[test]
fn a_start_that_is_a_position_needs_no_cursor() {
    let world = World::memory();
    let server = start(&world);
    let published = world.publish(1..=5);
    let params = super::world::from(&published[2].position);
    let mut reader = Reader::new(&server, METEOR, &params);
    reader.expect(4..=5);
    reader.expect_ready();
    assert!(cursors(&world).is_empty());
}

#[test]
fn topic_032_whoever_opens_a_cursor_last_has_it() {
    for world in World::each() {
        let server = start(&world);
        let mut former = Reader::new(&server, METEOR, EARLIEST);
        former.expect_ready();
        let mut latter = Reader::new(&server, METEOR, EARLIEST);
        latter.expect_ready();
        world.publish(1..=5);
        latter.expect_unanswered(1..=5);
        former.expect(1..=5);
        // The ping that comes after them is answered; its answer is before the end.
        let text = former.client.next_text(2 * PATIENCE).expect("a ping");
        assert_eq!(text, r#"{"msg":"ping"}"#);
        former.client.send_text(r#"{"msg":"pong"}"#);
        former.client.send_text(r#"{"msg":"ping"}"#);
        former.client.expect_text(r#"{"msg":"pong"}"#);
        former.cut(&server);
        latter.cut(&server);
        Reader::new(&server, METEOR, EARLIEST).expect(1..=5);
    }
}

#[test]
fn topic_032_a_cursor_lives_while_it_is_used_and_expires_then() {
    let expires = Duration::from_millis(400);
    for world in World::each() {
        let builder = builder(&world.topic);
        let server = Running::start(builder.configure(|it| it.cursors.expires = expires));
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        reader.expect_ready();
        world.publish(1..=5);
        reader.expect(1..=5);
        reader.confirm(&world, 5);
        std::thread::sleep(3 * expires);
        // A machine that stands still may let it expire; then it is written again.
        assert!(eventually_within(PATIENCE, || cursors(&world) == [5]));
        reader.cut(&server);
        assert!(eventually_within(PATIENCE, || cursors(&world).is_empty()));
        world.publish([6]);
        let mut reader = Reader::new(&server, METEOR, LATEST);
        reader.expect_ready();
        world.publish([7]);
        reader.expect([7]);
    }
}

#[test]
fn topic_032_043_a_full_window_at_the_cut_comes_again() {
    const RECORDS: u64 = 2000;
    for world in World::each() {
        // More than the kernels hold.
        let builder = builder(&world.topic).configure(|it| {
            it.clients.followed_bytes = 16 * 1024 * 1024;
            it.clients.followed_records = RECORDS as usize;
        });
        let server = Running::start(builder);
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        reader.expect_ready();
        let text = "x".repeat(4096);
        let entries =
            (0..RECORDS).map(|number| Entry::value(&ejson!([number as f64, text.as_str()])));
        world.wait(world.topic.publish_many(entries)).unwrap();
        // It reads some of it, and then nothing.
        for number in 0..600 {
            assert!(matches!(reader.next(), Got::Event(event, _) if event[0] == number));
        }
        let is_full = || server.stats().queued_bytes > 100 * 1024;
        assert!(eventually_within(PATIENCE, is_full), "{:?}", server.stats());
        reader.cut(&server);
        let kept = || cursors(&world)[0];
        assert!(eventually_within(PATIENCE, || kept() > 0));
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        let Got::Event(first, _) = reader.next() else {
            panic!("no event");
        };
        let first = first[0].as_u64().unwrap();
        assert!(first > 0 && first <= 600, "{first}");
        for number in first + 1..RECORDS {
            assert!(matches!(reader.next(), Got::Event(event, _) if event[0] == number));
        }
        reader.expect_ready();
        assert_eq!(server.stats().gaps, 0);
    }
}

#[test]
fn topic_044_a_window_that_is_not_confirmed_holds_delivery() {
    for world in World::each() {
        let builder = builder(&world.topic);
        let server = Running::start(builder.configure(|it| it.clients.followed_records = 16));
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        // Nothing has been sent that these could confirm.
        for _ in 0..3 {
            reader.client.send_text(r#"{"msg":"pong"}"#);
        }
        reader.expect_ready();
        world.publish(1..=100);
        reader.expect_unanswered(1..=16);
        // Whatever it says, there is nothing else, except the ping that asks for a receipt.
        let mut is_pinged = false;
        for _ in 0..5 {
            reader.client.send_text(r#"{"msg":"ping"}"#);
            let mut text = reader.client.expect_any_text();
            if text == r#"{"msg":"ping"}"# {
                assert!(!std::mem::replace(&mut is_pinged, true));
                text = reader.client.expect_any_text();
            }
            assert_eq!(text, r#"{"msg":"pong"}"#);
        }
        reader.client.send_text(r#"{"msg":"pong"}"#);
        // That has confirmed some of them, and each further answer what came before its ping.
        let (mut received, mut confirmed) = (16, 16);
        while received < 100 {
            match reader
                .client
                .next_text(2 * PATIENCE)
                .and_then(|it| got(&it))
            {
                None => {
                    confirmed = received;
                    reader.client.send_text(r#"{"msg":"pong"}"#);
                }
                Some(Got::Event(event, _)) => {
                    received += 1;
                    assert_eq!(event, json!(received));
                    assert!(received <= confirmed + 16);
                }
                got => panic!("{got:?}"),
            }
        }
        reader.confirm(&world, 100);
    }
}

#[test]
fn topic_032_a_client_without_pings_has_what_was_written() {
    for world in World::each() {
        let server = start(&world);
        let connect = |params: &str| {
            let mut client = Client::connect(server.url());
            client.send_text(r#"{"msg":"connect","version":"pre1","support":["pre1"]}"#);
            assert!(client.expect_any_text().contains("connected"));
            subscribe(&mut client, "s", METEOR, params);
            Reader { client }
        };
        let mut reader = connect(EARLIEST);
        reader.expect_ready();
        world.publish(1..=1000);
        reader.expect(1..=1000);
        assert!(eventually_within(PATIENCE, || cursors(&world) == [1000]));
        reader.cut(&server);
        world.publish([1001]);
        connect(EARLIEST).expect([1001]);
    }
}

#[test]
fn topic_032_a_session_that_is_resumed_confirms_what_it_has_received() {
    for world in World::each() {
        let builder = builder(&world.topic);
        let server = Running::start_resumable(
            builder.configure(|it| it.sessions.resumption.grace = 10 * PATIENCE),
        );
        let (mut client, session) = Client::ddp_connect(server.url());
        subscribe(&mut client, "s", METEOR, EARLIEST);
        let mut reader = Reader { client };
        reader.expect_ready();
        world.publish(1..=5);
        // Besides, it has received `connected` and `ready`.
        reader.expect_unanswered(1..=3);
        reader.client.reset();
        assert!(eventually_within(PATIENCE, || server
            .stats()
            .parked_sessions
            == 1));
        world.publish(6..=8);
        let mut client = Client::connect(server.url());
        client.send_text(&format!(
            r#"{{"msg":"connect","version":"1","support":["1"],"session":"{session}","receivedCount":5}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
        let mut reader = Reader { client };
        reader.expect(4..=8);
        reader.confirm(&world, 8);
        reader.client.send_text(r#"{"msg":"disconnect"}"#);
        reader.cut(&server);
        world.publish([9]);
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        reader.expect([9]);
        reader.client.send_text(r#"{"msg":"disconnect"}"#);
    }
}

#[test]
fn topic_032_what_a_former_user_was_sent_is_not_confirmed_by_the_next() {
    for world in World::each() {
        let server = start(&world);
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        reader.expect_ready();
        world.publish(1..=5);
        reader.expect_unanswered(1..=5);
        login(&mut reader.client, "ada");
        world.publish([6]);
        reader.expect_unanswered([6]);
        reader.cut(&server);
        // She may not have received any of it.
        let mut ada = Reader::of_user(&server, "ada", METEOR, EARLIEST);
        ada.expect(1..=6);
        ada.expect_ready();
        ada.confirm(&world, 6);
        ada.cut(&server);
        world.publish(7..=9);
        // She logs in after she has subscribed, and has been somewhere else as nobody.
        let mut reader = Reader::new(&server, METEOR, EARLIEST);
        reader.expect(1..=9);
        reader.expect_ready();
        let login = r#"{"msg":"method","id":"1","method":"login","params":["ada"]}"#;
        reader.client.send_text(login);
        let mut numbers = Vec::new();
        while numbers.len() < 3 {
            let text = reader.client.next_text(2 * PATIENCE).expect("something");
            if text.contains(r#""e":"#) {
                let Some(Got::Event(number, _)) = got(&text) else {
                    panic!("{text}");
                };
                numbers.push(number.as_u64().unwrap());
            }
        }
        assert_eq!(numbers, [7, 8, 9]);
    }
}

#[test]
fn topic_025_032_a_cursor_that_has_lost_records_is_told_until_that_is_confirmed() {
    for world in World::each() {
        let server = start(&world);
        let mut reader = Reader::new(&server, UUID, EARLIEST);
        reader.expect_ready();
        world.publish(1..=5);
        reader.expect(1..=5);
        reader.confirm(&world, 5);
        reader.cut(&server);
        world.publish(6..=20);
        world.wait(world.topic.trim(10)).unwrap();
        for _ in 0..2 {
            let mut client = server.client();
            subscribe(&mut client, "s", UUID, EARLIEST);
            assert_eq!(got(&client.expect_any_text()), Some(Got::Added));
            let Some(Got::Place(place)) = got(&client.expect_any_text()) else {
                panic!("no place");
            };
            assert_eq!(
                (&place["state"], &place["lost"]),
                (&json!("gap"), &json!(5))
            );
            let mut reader = Reader { client };
            reader.expect_unanswered(11..=20);
            reader.cut(&server);
        }
        let mut reader = Reader::new(&server, UUID, EARLIEST);
        reader.expect(11..=20);
        reader.expect_ready();
        reader.confirm(&world, 20);
        reader.cut(&server);
        world.publish([21]);
        Reader::new(&server, UUID, EARLIEST).expect([21]);
    }
}

#[test]
fn topic_032_a_client_may_come_back_to_another_process() {
    let redis = RedisServer::start();
    let worlds = [World::on(&redis), World::on(&redis)];
    let servers = worlds.each_ref().map(start);
    let mut last = 0;
    for round in 0..6 {
        let (world, server) = (&worlds[round % 2], &servers[round % 2]);
        let mut reader = Reader::new(server, METEOR, EARLIEST);
        reader.expect(last + 1..=last + (round as u64).min(1) * 3);
        reader.expect_ready();
        last = 7 * round as u64;
        world.publish(last + 1..=last + 4);
        reader.expect(last + 1..=last + 4);
        reader.confirm(world, last + 4);
        reader.cut(server);
        world.publish(last + 5..=last + 7);
        last += 4;
    }
}

#[test]
fn topic_111_a_shutdown_with_followers_keeps_what_was_acknowledged() {
    const CLIENTS: usize = 10;
    const FOLLOWERS: usize = 100;
    const METHODS: usize = 10;
    for world in World::each() {
        let (gate, acknowledged) = (Gate::new(), Count::default());
        let (handler_gate, counting, topic) =
            (gate.clone(), acknowledged.clone(), world.topic.clone());
        let builder = builder(&world.topic)
            .method("order", move |call: Call| {
                let (gate, count, topic) = (handler_gate.clone(), counting.clone(), topic.clone());
                async move {
                    call.unblock();
                    gate.pass().await;
                    call.publish(&topic, Entry::value(&1)).await?;
                    count.add();
                    Ok(())
                }
            })
            .configure(|settings| {
                // Only the end writes.
                settings.cursors.write_interval = Duration::from_secs(3600);
                // The clients read nothing at the end, and so do not answer a close.
                settings.clients.close_timeout = Duration::from_millis(100);
            });
        let server = Running::start(builder);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
        let vent_id =
            |client: usize, follower: usize| format!("follower-{client:06}-{follower:06}");
        for (index, client) in clients.iter_mut().enumerate() {
            for follower in 0..FOLLOWERS {
                let id = follower.to_string();
                subscribe(client, &id, &vent_id(index, follower), EARLIEST);
            }
        }
        let next = |client: &mut Client, what: &dyn Fn(&Got) -> bool, count: usize| {
            let mut left = count;
            while left > 0 {
                let text = client.next_text(2 * PATIENCE).expect("something");
                match got(&text) {
                    None => client.send_text(r#"{"msg":"pong"}"#),
                    Some(got) => left -= usize::from(what(&got)),
                }
            }
        };
        for client in &mut clients {
            next(client, &|got| *got == Got::Ready, FOLLOWERS);
        }
        world.publish(1..=3);
        for client in &mut clients {
            next(client, &|got| matches!(got, Got::Event(..)), 3 * FOLLOWERS);
            // The ping behind them is answered, and its answer read.
            while client.expect_any_text() != r#"{"msg":"ping"}"# {}
            client.send_text(r#"{"msg":"pong"}"#);
            client.send_text(r#"{"msg":"ping","id":"read"}"#);
            while client.expect_any_text() != r#"{"msg":"pong","id":"read"}"# {}
        }
        for client in &mut clients {
            for id in 0..METHODS {
                client.send_text(&format!(
                    r#"{{"msg":"method","id":"{id}","method":"order","params":[]}}"#
                ));
            }
        }
        for _ in 0..CLIENTS * METHODS {
            gate.await_arrival(&server);
        }
        let shutdown = server.begin_shutdown(10 * PATIENCE);
        gate.open(CLIENTS * METHODS);
        server.wait(shutdown).unwrap();
        eventually("the server has ended", || server.has_ended());
        acknowledged.becomes(CLIENTS * METHODS);
        let bounds = world.wait(world.topic.bounds()).unwrap();
        assert_eq!(bounds.last, 3 + (CLIENTS * METHODS) as u64);
        drop(clients);
        let kept = cursors(&world);
        assert_eq!(kept.len(), CLIENTS * FOLLOWERS);
        assert!(kept.iter().all(|offset| *offset >= 3), "{kept:?}");
    }
}

#[test]
fn topic_032_082_a_client_that_has_had_the_snapshot_gets_what_has_changed() {
    const SNAPSHOT: &str = r#"{"from":"snapshot"}"#;
    for world in World::each() {
        let server = start(&world);
        let publish = |number: u64| {
            let entry = Entry::value(&number).compact(format!("order {}", number % 5));
            world.wait(world.topic.publish(entry)).unwrap();
        };
        (1..=20).for_each(publish);
        let mut reader = Reader::new(&server, METEOR, SNAPSHOT);
        reader.expect(16..=20);
        reader.expect_ready();
        reader.confirm(&world, 20);
        reader.cut(&server);
        publish(21);
        let mut reader = Reader::new(&server, METEOR, SNAPSHOT);
        reader.expect([21]);
        reader.expect_ready();
    }
}
