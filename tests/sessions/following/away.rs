//! Followers whose client is away, or whose user changes.

use std::sync::{Arc, Mutex};

use updraft::prelude::*;
use updraft::topics::{Entry, Start};
use updraft_test_support::client::{Client, PATIENCE};

use super::world::{Got, ORDERS, World, got};
use crate::common::{Gate, Running, eventually_within};

/// A client that counts what it receives, as one that resumes has to.
struct Returning {
    client: Client,
    session: String,
    count: u64,
}

impl Returning {
    fn connect(server: &Running) -> Self {
        let (client, session) = Client::ddp_connect(server.url());
        let mut this = Self {
            client,
            session,
            count: 1,
        };
        super::world::subscribe(&mut this.client, "s", ORDERS, "{}");
        while this.next() != Got::Ready {}
        this
    }

    #[track_caller]
    fn next(&mut self) -> Got {
        loop {
            let text = self.client.next_text(2 * PATIENCE).expect("something");
            if let Some(got) = got(&text) {
                self.count += 1;
                return got;
            }
            self.client.send_text(r#"{"msg":"pong"}"#);
        }
    }

    /// The first member of the next event.
    #[track_caller]
    fn number(&mut self) -> u64 {
        match self.next() {
            Got::Event(event, Some(_)) if event.is_array() => event[0].as_u64().unwrap(),
            Got::Event(event, Some(_)) => event.as_u64().unwrap(),
            got => panic!("{got:?}"),
        }
    }

    /// Loses its connection, which the server knows then.
    fn cut(self, server: &Running) -> (String, u64) {
        self.client.reset();
        let parked = || server.stats().parked_sessions == 1;
        assert!(eventually_within(PATIENCE, parked), "{:?}", server.stats());
        (self.session, self.count)
    }

    fn leave(mut self) {
        self.client.send_text(r#"{"msg":"disconnect"}"#);
        self.client.close();
    }

    #[track_caller]
    fn come_back(server: &Running, (session, count): (String, u64)) -> Self {
        let mut client = Client::connect(server.url());
        client.send_text(&format!(
            r#"{{"msg":"connect","version":"1","support":["1"],"session":"{session}","receivedCount":{count}}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
        Self {
            client,
            session,
            count: count + 1,
        }
    }
}

/// So long that a slow machine does not end the session.
fn patient(builder: updraft::Builder) -> updraft::Builder {
    builder.configure(|settings| settings.sessions.resumption.grace = 10 * PATIENCE)
}

fn publish_large(world: &World, numbers: std::ops::Range<u64>) {
    let text = "x".repeat(4096);
    let entries = numbers.map(|number| Entry::value(&ejson!([number as f64, text.as_str()])));
    world.wait(world.topic.publish_many(entries)).unwrap();
}

#[test]
fn topic_023_a_client_that_resumes_its_session_gets_what_it_has_missed_in_the_topic() {
    for world in World::each() {
        let server = Running::start_resumable(patient(world.builder()));
        let mut client = Returning::connect(&server);
        let mut last = 0;
        for round in 0..5 {
            world.publish(last + 1..=last + 10);
            // Some of what was written did not arrive.
            let arrived = 10 - 2 * round;
            for number in 1..=arrived {
                assert_eq!(client.number(), last + number);
            }
            let past = client.cut(&server);
            // More than a session that is away keeps of anything else.
            world.publish(last + 11..=last + 1000);
            client = Returning::come_back(&server, past);
            for number in last + arrived + 1..=last + 1000 {
                assert_eq!(client.number(), number);
            }
            last += 1000;
        }
        client.leave();
    }
}

#[test]
fn topic_023_043_a_full_window_at_the_cut_is_resumed() {
    const RECORDS: u64 = 2000;
    for world in World::each() {
        // As much as the kernels may hold of what was written.
        let builder = patient(world.builder()).configure(|settings| {
            settings.sessions.resumption.records = RECORDS as usize;
            settings.sessions.resumption.record_bytes = 64 * 1024 * 1024;
        });
        let server = Running::start_resumable(builder);
        let client = Returning::connect(&server);
        publish_large(&world, 0..RECORDS);
        // The kernels are full, and so is the window.
        let is_full = || server.stats().queued_bytes > 100 * 1024;
        assert!(eventually_within(PATIENCE, is_full), "{:?}", server.stats());
        let past = client.cut(&server);
        let mut client = Returning::come_back(&server, past);
        for number in 0..RECORDS {
            assert_eq!(client.number(), number);
        }
        assert_eq!((server.stats().gaps, server.stats().slow_clients), (0, 0));
        client.leave();
    }
}

#[test]
fn topic_023_a_client_that_is_cut_again_and_again_loses_nothing() {
    let world = World::memory();
    let server = Running::start_resumable(patient(world.builder()));
    let mut client = Returning::connect(&server);
    let mut next = 1;
    for round in 0..30 {
        world.publish(round * 40 + 1..=round * 40 + 40);
        for _ in 0..round % 7 * 5 {
            assert_eq!(client.number(), next);
            next += 1;
        }
        let past = client.cut(&server);
        client = Returning::come_back(&server, past);
    }
    while next <= 30 * 40 {
        assert_eq!(client.number(), next);
        next += 1;
    }
    client.leave();
}

#[test]
fn topic_023_the_next_user_goes_on_where_the_last_one_was() {
    for world in World::each() {
        let gate = Gate::new();
        let begun = Arc::new(Mutex::new(0));
        let (topic, starts, handler_gate) = (world.topic.clone(), begun.clone(), gate.clone());
        let builder = Server::builder()
            .vent("orders", move |vent: Vent| {
                let (topic, gate) = (topic.clone(), handler_gate.clone());
                let is_again = {
                    let mut begun = starts.lock().unwrap();
                    *begun += 1;
                    *begun > 1
                };
                async move {
                    if is_again {
                        gate.pass().await;
                    }
                    let user = vent.user_id().map(|user| user.to_string());
                    let map = move |record: &updraft::topics::Message| {
                        Some((user.clone(), record.parse::<u64>().ok()))
                    };
                    vent.follow(&topic, Start::Earliest).map(map).await
                }
            })
            .method("login", async |call: Call, user: String| {
                call.set_user_id(Some(user)).await
            });
        let server = Running::start(builder);
        world.publish(1..=3);
        let mut client = server.client();
        let sub = r#"{"msg":"sub","id":"s","name":"orders","params":["vent.orders"]}"#;
        client.send_text(sub);
        let event = |got: Got| match got {
            Got::Event(event, Some(_)) => (event[0].clone(), event[1].as_u64().unwrap()),
            got => panic!("{got:?}"),
        };
        let next = |client: &mut Client| super::world::next(client);
        assert_eq!(next(&mut client), Got::Added);
        assert!(matches!(next(&mut client), Got::Place(place) if place["state"] == "live"));
        for number in 1..=3 {
            assert_eq!(event(next(&mut client)), (serde_json::Value::Null, number));
        }
        assert!(matches!(next(&mut client), Got::Place(_)));
        assert_eq!(next(&mut client), Got::Ready);
        client.send_text(r#"{"msg":"method","id":"1","method":"login","params":["ada"]}"#);
        gate.await_arrival(&server);
        // Published while nobody follows for this client.
        world.publish(4..=6);
        gate.open(1);
        let mut texts = Vec::new();
        while texts.len() < 8 {
            let text = client.expect_any_text();
            if text != r#"{"msg":"ping"}"# {
                texts.push(text);
            }
        }
        let numbers: Vec<_> = texts
            .iter()
            .filter(|text| text.contains(r#""id":"id""#))
            .map(|text| event(got(text).unwrap()))
            .collect();
        assert_eq!(
            numbers,
            [4, 5, 6].map(|number| ("ada".into(), number)),
            "{texts:?}"
        );
        let place = |state: &str| {
            let state = format!(r#""id":"_","fields":{{"state":"{state}""#);
            texts.iter().position(|text| text.contains(&state)).unwrap()
        };
        let ready = texts
            .iter()
            .position(|text| text.contains("ready"))
            .unwrap();
        assert!(
            place("resumed") < place("live") && place("live") < ready,
            "{texts:?}"
        );
        world.publish([7]);
        assert_eq!(event(next(&mut client)), ("ada".into(), 7));
    }
}
