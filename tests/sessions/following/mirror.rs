//! Topics as documents of a collection, for clients that know nothing of positions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};
use updraft::prelude::*;
use updraft::topics::{
    Compaction, Entry, Limit, Message as Record, Settings, Start, Topic, TopicError,
};
use updraft::{Builder, Window};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::redis::RedisServer;

use super::world::World;
use crate::common::{Gate, Running, eventually_within, received};

/// How soon lists notice what is gone.
const POLL: Duration = Duration::from_millis(50);

/// A client and its documents, which it keeps as any DDP client does.
struct Lister {
    client: Client,
    session: String,
    /// By collection and id.
    documents: BTreeMap<(String, String), Json>,
    /// Messages that came, as a client counts them that resumes.
    count: u64,
    /// The names of the messages about documents that have come.
    told: Vec<String>,
    is_ready: bool,
}

impl Lister {
    fn connect(server: &Running) -> Self {
        let (client, session) = Client::ddp_connect(server.url());
        Self {
            client,
            session,
            documents: BTreeMap::new(),
            count: 1,
            told: Vec::new(),
            is_ready: false,
        }
    }

    /// A client whose subscription to this publication is ready.
    #[track_caller]
    fn of(server: &Running, publication: &str) -> Self {
        let mut this = Self::connect(server);
        this.subscribe(publication);
        this.until(|it| it.is_ready);
        this
    }

    fn subscribe(&mut self, publication: &str) {
        self.is_ready = false;
        let sub = json!({ "msg": "sub", "id": publication, "name": publication, "params": [] });
        self.client.send_text(&sub.to_string());
    }

    fn unsubscribe(&mut self, publication: &str) {
        let unsub = json!({ "msg": "unsub", "id": publication });
        self.client.send_text(&unsub.to_string());
    }

    fn log_in(&mut self, user: &str) {
        let login = json!({ "msg": "method", "id": user, "method": "login", "params": [user] });
        self.client.send_text(&login.to_string());
    }

    /// Takes messages until something is so.
    #[track_caller]
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let text = self.client.next_text(2 * PATIENCE);
            let text = text.unwrap_or_else(|| panic!("{:?}", self.documents));
            self.take(&text);
        }
    }

    /// Takes all that is on its way.
    fn take_rest(&mut self) {
        for text in received(&mut self.client) {
            self.take(&text);
        }
    }

    fn take(&mut self, text: &str) {
        let message: Json = serde_json::from_str(text).unwrap();
        let name = message["msg"].as_str().unwrap();
        match name {
            "ping" => return self.client.send_text(r#"{"msg":"pong"}"#),
            "pong" => return,
            "ready" => self.is_ready = true,
            "nosub" => self
                .told
                .push(format!("nosub {}", message["error"]["error"])),
            "added" | "changed" | "removed" => {
                self.told.push(name.to_owned());
                self.change(name, &message);
            }
            _ => {}
        }
        self.count += 1;
    }

    fn change(&mut self, name: &str, message: &Json) {
        let text = |member: &str| message[member].as_str().unwrap().to_owned();
        let key = (text("collection"), text("id"));
        match name {
            "added" => {
                let fields = message.get("fields").cloned();
                let fields = fields.unwrap_or_else(|| json!({}));
                let before = self.documents.insert(key, fields);
                assert_eq!(before, None, "{message}");
            }
            "removed" => {
                let before = self.documents.remove(&key);
                assert!(before.is_some(), "{message}");
            }
            _ => {
                let document = self.documents.get_mut(&key).expect("a known document");
                let document = document.as_object_mut().unwrap();
                for (name, value) in message["fields"].as_object().into_iter().flatten() {
                    document.insert(name.clone(), value.clone());
                }
                for name in message["cleared"].as_array().into_iter().flatten() {
                    document.remove(name.as_str().unwrap()).unwrap();
                }
            }
        }
    }

    /// The ids and documents of a collection, by id.
    fn list(&self, collection: &str) -> Vec<(&str, &Json)> {
        let found = self
            .documents
            .iter()
            .filter(|((of, _), _)| of == collection);
        found
            .map(|((_, id), fields)| (id.as_str(), fields))
            .collect()
    }

    /// A member of all documents of a collection, by id.
    fn all(&self, collection: &str, member: &str) -> Vec<Json> {
        let list = self.list(collection).into_iter();
        list.map(|(_, fields)| fields[member].clone()).collect()
    }

    /// Loses its connection, which the server knows then.
    fn cut(self, server: &Running) -> Lost {
        self.client.reset();
        let parked = || server.stats().parked_sessions == 1;
        assert!(eventually_within(PATIENCE, parked), "{:?}", server.stats());
        Lost {
            session: self.session,
            documents: self.documents,
            count: self.count,
        }
    }
}

/// A client without a connection.
struct Lost {
    session: String,
    documents: BTreeMap<(String, String), Json>,
    count: u64,
}

impl Lost {
    /// Comes back. If its session is gone, it knows no documents either.
    fn come_back(self, server: &Running) -> Lister {
        let mut client = Client::connect(server.url());
        let connect = json!({
            "msg": "connect", "version": "1", "support": ["1"],
            "session": self.session, "receivedCount": self.count,
        });
        client.send_text(&connect.to_string());
        let connected: Json = serde_json::from_str(&client.expect_any_text()).unwrap();
        let session = connected["session"].as_str().unwrap().to_owned();
        let is_resumed = session == self.session;
        Lister {
            client,
            session,
            documents: if is_resumed {
                self.documents
            } else {
                BTreeMap::new()
            },
            count: if is_resumed { self.count + 1 } else { 1 },
            told: Vec::new(),
            is_ready: is_resumed,
        }
    }
}

/// A topic whose lists soon notice what is gone.
fn topic(world: &World, compaction: Option<Compaction>) -> Topic {
    let settings = settings(compaction);
    world.wait(world.topics.topic("list", settings)).unwrap()
}

fn settings(compaction: Option<Compaction>) -> Settings {
    let mut settings = Settings::default();
    settings.poll = POLL;
    settings.compaction = compaction;
    settings
}

/// Everything that can go, at once.
fn at_once() -> Option<Compaction> {
    let mut compaction = Compaction::default();
    compaction.min_lag = Duration::ZERO;
    compaction.tombstone_retention = Duration::ZERO;
    Some(compaction)
}

/// A publication that shows a topic unchanged, in the collection `list`.
fn shows(topic: &Topic, name: &str, window: Window) -> Builder {
    show_too(Server::builder(), topic, name, window)
}

fn show_too(builder: Builder, topic: &Topic, name: &str, window: Window) -> Builder {
    let topic = topic.clone();
    builder.publish(name, move |subscription: Subscription| {
        let topic = topic.clone();
        async move { subscription.mirror(&topic, window).await }
    })
}

fn with_login(builder: Builder) -> Builder {
    builder.method("login", async |call: Call, user: String| {
        call.set_user_id(Some(user)).await
    })
}

fn state(id: &str, value: Value) -> Entry {
    Entry::value(&value).compact(id)
}

fn publish(world: &World, topic: &Topic, entries: impl IntoIterator<Item = Entry>) {
    world.wait(topic.publish_many(entries)).unwrap();
}

/// Publishes a record to a store that may be away at first.
fn publish_again(world: &World, topic: &Topic, entry: Entry) {
    let entry = entry.dedup(format!("again {}", fastrand::u64(..)));
    let publishes = || world.wait(topic.publish(entry.clone())).is_ok();
    assert!(eventually_within(4 * PATIENCE, publishes));
}

/// Numbers, each as a record with a key.
fn numbered(numbers: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Entry> {
    numbers.map(|number| Entry::value(&json!({ "n": number })).key("k"))
}

#[test]
fn topic_107_the_last_records_are_documents_with_their_positions_as_ids() {
    for world in World::each() {
        let topic = topic(&world, None);
        let server = Running::start(shows(&topic, "last", Window::Last(3)));
        let positions = |count: u64| -> Vec<String> {
            let batch = async {
                let start = topic.seek(Start::Last(count)).await?;
                topic.read(start, Limit::default()).await
            };
            let messages = world.wait(batch).unwrap().messages;
            messages
                .iter()
                .map(|it| it.position().to_string())
                .collect()
        };
        publish(&world, &topic, numbered(1..=4));
        let mut client = Lister::of(&server, "last");
        assert_eq!(client.told, ["added"; 3]);
        assert_eq!(client.all("list", "n"), [2, 3, 4]);
        // An id that begins with a hyphen has one more on the wire.
        let ids = client.list("list").into_iter();
        let ids: Vec<_> = ids.filter_map(|(id, _)| id.strip_prefix('-')).collect();
        assert_eq!(ids, positions(3));
        // What is no object is a field; what has no payload is not shown, but has its place.
        let entries = [
            Entry::value(&"text"),
            Entry::value(&0),
            Entry::tombstone("x"),
        ];
        publish(&world, &topic, entries);
        client.until(|it| it.list("list").len() == 2 && it.told.len() >= 8);
        assert_eq!(client.all("list", "value"), [json!("text"), json!(0)]);
        world.wait(topic.trim(6)).unwrap();
        client.until(|it| it.list("list").is_empty());
        publish(&world, &topic, numbered(8..=8));
        client.until(|it| it.all("list", "n") == [8]);
        client.unsubscribe("last");
        client.until(|it| it.told.last().is_some_and(|told| told.starts_with("nosub")));
        assert!(client.documents.is_empty());
    }
}

#[test]
fn topic_080_107_the_latest_of_each_id_changes_and_goes() {
    for world in World::each() {
        let topic = topic(&world, None);
        let server = Running::start(shows(&topic, "tables", Window::ById(3)));
        publish(
            &world,
            &topic,
            [
                state("a", ejson!({ "_id": "x", "n": 1, "was": true })),
                state("b", ejson!({ "n": 1 })),
                Entry::value(&json!({ "without": "id" })),
                Entry::tombstone("b"),
            ],
        );
        let mut client = Lister::of(&server, "tables");
        assert_eq!(
            client.list("list"),
            [("a", &json!({ "n": 1, "was": true }))]
        );
        client.told.clear();
        publish(&world, &topic, [state("a", ejson!({ "n": 2 }))]);
        client.until(|it| it.list("list") == [("a", &json!({ "n": 2 }))]);
        assert_eq!(client.told, ["changed"]);
        // One that goes makes room for the one before.
        let more = ["b", "c", "d"].map(|id| state(id, ejson!({ "n": 3 })));
        publish(&world, &topic, more);
        client.until(|it| it.list("list").len() == 3 && !it.told.is_empty());
        client.until(|it| it.list("list").iter().all(|(id, _)| *id != "a"));
        publish(&world, &topic, [Entry::tombstone("d")]);
        client.until(|it| it.list("list").first() == Some(&("a", &json!({ "n": 2 }))));
        client.until(|it| it.list("list").len() == 3);
    }
}

#[test]
fn topic_107_110_a_function_makes_the_documents_and_hides_some() {
    let world = World::memory();
    let topic = topic(&world, None);
    let shown = topic.clone();
    let builder = Server::builder().publish("orders", move |subscription: Subscription| {
        let topic = shown.clone();
        async move {
            let map = |record: &Record| match record.parse::<u64>()? {
                1 => Ok(None),
                2 => panic!("not two"),
                3 => Err(Error::internal("not three")),
                number => Ok(Some(json!({ "n": number }))),
            };
            subscription
                .mirror(&topic, Window::ByKey(10))
                .collection("orders")
                .map(map)
                .record_field("record")
                .await
        }
    });
    let server = Running::start(builder);
    let of = |key: &str, number: u64| Entry::value(&number).key(key);
    publish(
        &world,
        &topic,
        [of("a", 1), of("b", 2), of("c", 3), of("d", 4)],
    );
    let mut client = Lister::of(&server, "orders");
    let [(id, fields)] = client.list("orders")[..] else {
        panic!("{:?}", client.documents);
    };
    assert_eq!((id, &fields["n"]), ("d", &json!(4)));
    assert_eq!(fields["record"]["key"], "d");
    assert!(fields["record"]["position"].is_string() && fields["record"]["time"].is_u64());
    assert_eq!(server.stats().failed_mappings, 2);
    publish(&world, &topic, [of("a", 5)]);
    client.until(|it| it.all("orders", "n") == [5, 4]);
    // What is not shown any more goes.
    publish(&world, &topic, [of("d", 1), of("a", 3)]);
    client.until(|it| it.documents.is_empty());
}

#[test]
fn topic_078_107_compacted_records_go_and_others_take_their_places() {
    for world in World::each() {
        let topic = topic(&world, at_once());
        let server = Running::start(shows(&topic, "last", Window::Last(3)));
        let sweep = || world.wait(topic.sweep()).unwrap();
        let entries = (1..=4).map(|number| Entry::value(&json!({ "n": number })));
        publish(&world, &topic, entries);
        let mut client = Lister::of(&server, "last");
        let of = |id: &str, number: u64| state(id, ejson!({ "n": (number as f64) }));
        publish(&world, &topic, [of("a", 5), of("a", 6)]);
        sweep();
        client.until(|it| it.all("list", "n") == [3, 4, 6]);
        // More than are held beyond those that are shown: they are read again.
        publish(&world, &topic, (7..=14).map(|number| of("a", number)));
        sweep();
        client.until(|it| it.all("list", "n") == [3, 4, 14]);
    }
}

#[test]
fn topic_025_026_107_a_list_of_a_topic_that_was_lost_is_shown_anew() {
    let mut redis = RedisServer::start_durable();
    let world = World::on(&redis);
    let topic = topic(&world, None);
    let builder = shows(&topic, "tables", Window::ById(10));
    let server = Running::start(show_too(builder, &topic, "last", Window::Last(10)));
    let of = |id: &str, number: u64| state(id, ejson!({ "n": (number as f64) }));
    publish(&world, &topic, [of("a", 1), of("b", 2)]);
    let mut tables = Lister::of(&server, "tables");
    let mut last = Lister::of(&server, "last");
    let sees = |client: &mut Lister, numbers: &[u64]| {
        client.until(|it| it.all("list", "n") == numbers);
    };
    // The store is away, and back with what it had.
    redis.restart();
    publish_again(&world, &topic, of("c", 3));
    sees(&mut tables, &[1, 2, 3]);
    sees(&mut last, &[1, 2, 3]);
    assert_eq!(tables.told.len(), 3);
    // It is set back to what it had once, and goes on otherwise.
    let copy = redis.copy();
    publish_again(&world, &topic, of("d", 4));
    sees(&mut tables, &[1, 2, 3, 4]);
    tables.told.clear();
    redis.set_back(&copy);
    publish_again(&world, &topic, of("a", 5));
    sees(&mut tables, &[5, 2, 3]);
    tables.told.sort();
    assert_eq!(tables.told, ["changed", "removed"]);
    sees(&mut last, &[1, 2, 3, 5]);
    // It has lost everything.
    redis.tell("FLUSHALL", &[]);
    publish_again(&world, &topic, of("b", 2));
    sees(&mut tables, &[2]);
    sees(&mut last, &[2]);
}

#[test]
fn topic_107_a_client_that_was_away_gets_the_difference() {
    for world in World::each() {
        let topic = topic(&world, None);
        let builder = shows(&topic, "last", Window::Last(5)).configure(|settings| {
            settings.sessions.resumption.grace = 10 * PATIENCE;
        });
        let server = Running::start_resumable(builder);
        publish(&world, &topic, numbered(1..=5));
        let client = Lister::of(&server, "last");
        let lost = client.cut(&server);
        publish(&world, &topic, numbered(6..=8));
        let mut client = lost.come_back(&server);
        client.until(|it| it.all("list", "n") == [4, 5, 6, 7, 8]);
        assert!(client.is_ready, "its session was resumed");
        // More than a session that is away keeps: it has another one, and begins anew.
        let lost = client.cut(&server);
        for number in (10..2000).step_by(10) {
            publish(&world, &topic, numbered(number..=number + 9));
            if server.stats().parked_sessions == 0 {
                break;
            }
        }
        publish(&world, &topic, numbered(3001..=3005));
        let mut client = lost.come_back(&server);
        if !client.is_ready {
            client.subscribe("last");
        }
        client.until(|it| it.all("list", "n") == [3001, 3002, 3003, 3004, 3005]);
        client.client.send_text(r#"{"msg":"disconnect"}"#);
    }
}

#[test]
fn topic_107_the_next_user_is_sent_the_difference_only() {
    let world = World::memory();
    let topic = topic(&world, None);
    let gate = Gate::new();
    let (shown, handler_gate) = (topic.clone(), gate.clone());
    let builder = Server::builder().publish("last", move |subscription: Subscription| {
        let (topic, gate) = (shown.clone(), handler_gate.clone());
        async move {
            let is_ada = subscription.user_id().is_some();
            if is_ada {
                gate.pass().await;
            }
            let map = move |record: &Record| {
                let number = record.parse::<Json>()?["n"].as_u64();
                // The user sees the even ones and their halves.
                Ok(match number {
                    Some(number) if is_ada && number % 2 == 0 => {
                        Some(json!({ "n": number, "half": number / 2 }))
                    }
                    Some(number) if !is_ada => Some(json!({ "n": number })),
                    _ => None,
                })
            };
            subscription.mirror(&topic, Window::Last(4)).map(map).await
        }
    });
    let server = Running::start(with_login(builder));
    publish(&world, &topic, numbered(1..=4));
    let mut client = Lister::of(&server, "last");
    assert_eq!(client.all("list", "n"), [1, 2, 3, 4]);
    client.told.clear();
    client.log_in("ada");
    gate.await_arrival(&server);
    publish(&world, &topic, numbered(5..=6));
    gate.open(1);
    client.until(|it| it.all("list", "half") == [2, 3]);
    assert_eq!(client.all("list", "n"), [4, 6]);
    client.take_rest();
    let mut told = client.told;
    told.sort();
    assert_eq!(told, ["added", "changed", "removed", "removed", "removed"]);
}

#[test]
fn topic_107_publications_show_one_collection_together() {
    let world = World::memory();
    let topic = topic(&world, None);
    let builder = shows(&topic, "short", Window::Last(1));
    let builder = show_too(builder, &topic, "long", Window::Last(3));
    let builder = builder.publish("other", async |subscription: Subscription| {
        subscription.added("list", "other", ejson!({ "n": 0 }));
        Ok(())
    });
    let server = Running::start(builder);
    publish(&world, &topic, numbered(1..=3));
    let mut client = Lister::of(&server, "short");
    for publication in ["long", "other"] {
        client.subscribe(publication);
        client.until(|it| it.is_ready);
    }
    assert_eq!(client.told, ["added"; 4]);
    publish(&world, &topic, numbered(4..=4));
    client.until(|it| it.list("list").len() == 4 && it.all("list", "n").contains(&json!(4)));
    client.unsubscribe("long");
    client.until(|it| it.list("list").len() == 2);
    assert_eq!(
        client
            .all("list", "n")
            .iter()
            .filter(|it| **it == 4)
            .count(),
        1
    );
}

#[test]
fn topic_041_107_many_lists_of_a_topic_cause_one_reader() {
    for world in World::each() {
        // Its reader looks by itself seldom enough not to be counted.
        let topics = &world.topics;
        let topic = world
            .wait(topics.topic("list", Settings::default()))
            .unwrap();
        let server = Running::start(shows(&topic, "last", Window::Last(10)));
        publish(&world, &topic, numbered(1..=100));
        let reads = world.reads.get();
        let mut clients: Vec<_> = (0..100).map(|_| Lister::of(&server, "last")).collect();
        let loading = world.reads.get() - reads;
        assert!(loading <= 20, "{loading}");
        assert_eq!(server.stats().followed_topics, 1);
        publish(&world, &topic, numbered(101..=105));
        let last: Vec<_> = (96..=105).map(|number| json!(number)).collect();
        for client in &mut clients {
            client.until(|it| it.all("list", "n") == last);
        }
        assert_eq!(server.stats().followed_topics, 1);
        drop(clients);
        let nobody = || server.stats().followed_topics == 0;
        assert!(eventually_within(PATIENCE, nobody), "{:?}", server.stats());
    }
}

#[test]
fn topic_043_107_a_client_that_does_not_read_is_sent_what_is_left_in_the_end() {
    const RECORDS: u64 = 600;
    let world = World::memory();
    let topic = topic(&world, None);
    let builder = shows(&topic, "last", Window::Last(5));
    // Publishing may take a while.
    let builder = builder.configure(|settings| settings.clients.output_timeout = 10 * PATIENCE);
    let server = Running::start(builder);
    let mut client = Lister::of(&server, "last");
    let text = "x".repeat(64 * 1024);
    let mut most = 0;
    for number in 1..=RECORDS {
        let entry = Entry::value(&json!({ "n": number, "text": text }));
        publish(&world, &topic, [entry]);
        most = most.max(server.stats().queued_bytes);
    }
    assert!(most < 8 * 1024 * 1024, "{most}");
    let last: Vec<_> = (RECORDS - 4..=RECORDS)
        .map(|number| json!(number))
        .collect();
    client.until(|it| it.all("list", "n") == last);
    // What the kernels had taken, and what was left.
    assert!(
        client.told.len() < RECORDS as usize,
        "{}",
        client.told.len()
    );
    assert_eq!(server.stats().slow_clients, 0);
}

#[test]
fn topic_020_107_a_list_shows_what_another_process_publishes_and_trims() {
    let redis = RedisServer::start();
    let (world, elsewhere) = (World::on(&redis), World::on(&redis));
    let server = Running::start(shows(&topic(&world, at_once()), "last", Window::Last(3)));
    let mut client = Lister::of(&server, "last");
    let topic = topic(&elsewhere, at_once());
    publish(&elsewhere, &topic, numbered(1..=4));
    client.until(|it| it.all("list", "n") == [2, 3, 4]);
    elsewhere.wait(topic.trim(3)).unwrap();
    client.until(|it| it.all("list", "n") == [4]);
    let of = |number: f64| state("a", ejson!({ "n": number }));
    publish(&elsewhere, &topic, [of(5.0), of(6.0)]);
    elsewhere.wait(topic.sweep()).unwrap();
    client.until(|it| it.all("list", "n") == [4, 6]);
}

#[test]
fn topic_107_109_a_user_who_may_not_see_a_list_loses_it() {
    let world = World::memory();
    let topic = topic(&world, None);
    let shown = topic.clone();
    let builder = Server::builder().publish("last", move |subscription: Subscription| {
        let topic = shown.clone();
        async move {
            if subscription.user_id().is_some() {
                return Err(Error::forbidden("Only for guests"));
            }
            subscription.mirror(&topic, Window::Last(5)).await
        }
    });
    let server = Running::start(with_login(builder));
    publish(&world, &topic, numbered(1..=3));
    let mut client = Lister::of(&server, "last");
    client.log_in("ada");
    client.until(|it| it.told.iter().any(|told| told == "nosub 403") && it.documents.is_empty());
    publish(&world, &topic, numbered(4..=4));
    client.take_rest();
    assert!(client.documents.is_empty());
}

#[test]
fn topic_012_107_the_list_of_a_closed_topic_stays_and_that_of_a_deleted_one_ends() {
    let world = World::memory();
    let topic = topic(&world, None);
    let server = Running::start(shows(&topic, "last", Window::Last(5)));
    publish(&world, &topic, numbered(1..=3));
    let mut client = Lister::of(&server, "last");
    world.wait(topic.close()).unwrap();
    let mut late = Lister::of(&server, "last");
    assert_eq!(late.all("list", "n"), [1, 2, 3]);
    world.wait(topic.trim(2)).unwrap();
    for client in [&mut client, &mut late] {
        client.until(|it| it.all("list", "n") == [3]);
    }
    world.wait(topic.delete()).unwrap();
    for client in [&mut client, &mut late] {
        client.until(|it| {
            it.told
                .last()
                .is_some_and(|told| told.contains("unknown-topic"))
        });
        assert!(client.documents.is_empty());
    }
}

#[test]
fn topic_107_whatever_happens_a_list_is_what_the_topic_has() {
    const ROUNDS: usize = 30;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for world in World::each() {
        let mut random = fastrand::Rng::with_seed(seed);
        let topic = topic(&world, at_once());
        let windows = [
            ("last", Window::Last(4)),
            ("byId", Window::ById(4)),
            ("all", Window::ById(100)),
        ];
        let mut builder = with_login(Server::builder());
        for (name, window) in windows {
            builder = show_in(builder, &topic, name, window);
        }
        let server = Running::start(builder);
        let mut client = Lister::connect(&server);
        windows.iter().for_each(|(name, _)| client.subscribe(name));
        let mut published = 0_u64;
        for round in 0..ROUNDS {
            for _ in 0..random.usize(1..20) {
                let id = format!("id{}", random.u8(..10));
                published += 1;
                match random.u8(..20) {
                    0 => drop(world.wait(topic.sweep()).unwrap()),
                    1 => drop(
                        world
                            .wait(topic.trim(published.saturating_sub(20)))
                            .unwrap(),
                    ),
                    2..6 => publish(&world, &topic, [Entry::tombstone(id)]),
                    _ => {
                        let value = ejson!({ "n": (published as f64) });
                        publish(&world, &topic, [state(&id, value)]);
                    }
                }
            }
            match random.u8(..6) {
                0 => {
                    client.client.reset();
                    client = Lister::connect(&server);
                    windows.iter().for_each(|(name, _)| client.subscribe(name));
                }
                1 => client.log_in(&format!("user{round}")),
                _ => {}
            }
            for (name, window) in windows {
                client.until(|it| {
                    let mut numbers = it.all(name, "n");
                    numbers.sort_by_key(Json::as_u64);
                    // Each time anew: topics are swept by themselves too.
                    numbers == expected(&world.wait(held(&topic)).unwrap(), window)
                });
            }
        }
    }
}

/// As `show_too`, each in a collection of its own.
fn show_in(builder: Builder, topic: &Topic, name: &'static str, window: Window) -> Builder {
    let topic = topic.clone();
    builder.publish(name, move |subscription: Subscription| {
        let topic = topic.clone();
        async move { subscription.mirror(&topic, window).collection(name).await }
    })
}

/// What a topic holds.
async fn held(topic: &Topic) -> Result<Vec<Record>, TopicError> {
    let start = topic.seek(Start::Earliest).await?;
    let batch = topic
        .read_held(start, Limit::new(10_000, usize::MAX))
        .await?;
    Ok(batch.messages)
}

/// The numbers that a window is to show, ascending.
fn expected(held: &[Record], window: Window) -> Vec<Json> {
    let number = |record: &Record| record.parse::<Json>().ok().map(|it| it["n"].clone());
    let (latest, count) = match window {
        Window::Last(count) => (held.iter().collect(), count),
        Window::ById(count) => {
            let by_id: BTreeMap<_, _> = held.iter().map(|it| (it.compact(), it)).collect();
            let mut latest: Vec<_> = by_id.into_values().collect();
            latest.retain(|record| record.payload().is_some());
            latest.sort_by_key(|record| record.offset());
            (latest, count)
        }
        other => panic!("{other:?}"),
    };
    let skipped = latest.len().saturating_sub(count);
    latest
        .into_iter()
        .skip(skipped)
        .filter_map(number)
        .collect()
}
