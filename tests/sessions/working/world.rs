//! A server whose clients are members of a group, in each store, and such clients.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use updraft::Builder;
use updraft::prelude::*;
use updraft::topics::group::Group;
use updraft::topics::{Entry, GroupSettings, Settings, Topic, Topics};
use updraft_test_support::client::{Client, PATIENCE};

use crate::common::{Running, eventually_within};
use crate::stores::{Opened, Place};

/// A topic with a group, and what its store needs.
pub(super) struct World {
    pub(super) topics: Topics,
    pub(super) topic: Topic,
    pub(super) group: Group,
    pub(super) runtime: Runtime,
    /// Last: it ends with this.
    _place: Place,
}

/// A client that is a member of the group. It counts what it receives, as one that resumes has to.
pub(super) struct Hand {
    client: Client,
    session: String,
    count: u64,
    calls: u64,
    deliveries: VecDeque<Json>,
    results: HashMap<String, Result<Json, Json>>,
    /// Subscriptions that are ready, and those that have ended with their errors.
    ready: Vec<String>,
    nosub: HashMap<String, Json>,
}

type Change = fn(GroupSettings) -> GroupSettings;

impl World {
    pub(super) fn memory(change: Change) -> Self {
        Self::over(Opened::memory(), change)
    }

    /// One for each kind of store.
    pub(super) fn each(change: Change) -> impl Iterator<Item = Self> {
        Opened::each().map(move |opened| Self::over(opened, change))
    }

    fn over(opened: Opened, change: Change) -> Self {
        let Opened {
            store,
            runtime,
            place,
        } = opened;
        let (topics, topic, group) = runtime.block_on(async {
            let topics = Topics::open(store);
            let topic = topics.topic("orders", Settings::default()).await.unwrap();
            let settings = change(GroupSettings::on([&topic]));
            let group = topics.group("billing", settings).await.unwrap();
            (topics, topic, group)
        });
        Self {
            topics,
            topic,
            group,
            runtime,
            _place: place,
        }
    }

    /// A server where everybody may work.
    pub(super) fn builder(&self) -> Builder {
        Server::builder().worker("orders.work", &self.group, async |_: Subscription| Ok(()))
    }

    pub(super) fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        self.wait(self.topic.publish_many(entries)).unwrap();
    }

    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let limited = async { tokio::time::timeout(2 * PATIENCE, future).await };
        self.runtime
            .block_on(limited)
            .expect("an end within the time limit")
    }

    /// Waits until so many records are not finished, and none of them is with a member.
    #[track_caller]
    pub(super) fn becomes_idle(&self, lag: u64) {
        let is_idle = || {
            let stats = self.wait(self.group.stats()).unwrap();
            stats.topics[0].lag == lag && stats.pending == 0
        };
        assert!(
            eventually_within(2 * PATIENCE, is_idle),
            "{:?}",
            self.wait(self.group.stats())
        );
    }
}

/// A record with a number.
pub(super) fn entry(number: u32) -> Entry {
    Entry::value(&number)
}

impl Hand {
    pub(super) fn connect(server: &Running) -> Self {
        let (client, session) = Client::ddp_connect(server.url());
        Self::over(client, session, 1)
    }

    /// One that works, and wants so many records at once.
    #[track_caller]
    pub(super) fn working(server: &Running, credit: usize) -> Self {
        let mut this = Self::connect(server);
        this.subscribe("s", &json!(["vent.work", credit]));
        this.until_ready("s");
        this
    }

    fn over(client: Client, session: String, count: u64) -> Self {
        Self {
            client,
            session,
            count,
            calls: 0,
            deliveries: VecDeque::new(),
            results: HashMap::new(),
            ready: Vec::new(),
            nosub: HashMap::new(),
        }
    }

    pub(super) fn subscribe(&mut self, id: &str, params: &Json) {
        let sub = json!({ "msg": "sub", "id": id, "name": "orders.work", "params": params });
        self.client.send_text(&sub.to_string());
    }

    pub(super) fn send(&mut self, message: &Json) {
        self.client.send_text(&message.to_string());
    }

    #[track_caller]
    pub(super) fn until_ready(&mut self, id: &str) {
        while !self.ready.iter().any(|it| it == id) {
            assert!(self.nosub.is_empty(), "{:?}", self.nosub);
            self.read();
        }
    }

    /// The error with which a subscription ends.
    #[track_caller]
    pub(super) fn until_nosub(&mut self, id: &str) -> Json {
        loop {
            if let Some(error) = self.nosub.remove(id) {
                return error;
            }
            self.read();
        }
    }

    /// Ends its subscription in good order.
    #[track_caller]
    pub(super) fn unsubscribe(&mut self, id: &str) {
        self.send(&json!({ "msg": "unsub", "id": id }));
        assert_eq!(self.until_nosub(id), Json::Null);
    }

    /// The next delivery.
    #[track_caller]
    pub(super) fn delivery(&mut self) -> Json {
        loop {
            if let Some(delivery) = self.deliveries.pop_front() {
                return delivery;
            }
            self.read();
        }
    }

    /// The next delivery, if one is on its way.
    #[track_caller]
    pub(super) fn delivered(&mut self) -> Option<Json> {
        // A method is answered on the runtime, and so are deliveries.
        self.call("orders.work/extend", json!(["none"])).ok();
        self.deliveries.pop_front()
    }

    /// Calls a method; what it returns, or its error.
    #[track_caller]
    pub(super) fn call(&mut self, method: &str, params: Json) -> Result<Json, Json> {
        let id = self.begin_call(method, params);
        loop {
            if let Some(result) = self.results.remove(&id) {
                return result;
            }
            self.read();
        }
    }

    pub(super) fn begin_call(&mut self, method: &str, params: Json) -> String {
        self.calls += 1;
        let id = self.calls.to_string();
        let message = json!({ "msg": "method", "id": id, "method": method, "params": params });
        self.send(&message);
        id
    }

    /// Answers a delivery; the code of the error if that is refused.
    #[track_caller]
    pub(super) fn answer(&mut self, verb: &str, params: Json) -> Result<(), Json> {
        let method = format!("orders.work/{verb}");
        let outcome = self.call(&method, params);
        outcome.map(|_| ()).map_err(|error| error["error"].clone())
    }

    #[track_caller]
    pub(super) fn ack(&mut self, delivery: &Json) -> Result<(), Json> {
        self.answer("ack", json!([delivery["token"]]))
    }

    /// Loses its connection, which the server knows then.
    pub(super) fn cut(self, server: &Running) -> (String, u64) {
        self.client.reset();
        let parked = || server.stats().parked_sessions == 1;
        assert!(eventually_within(PATIENCE, parked), "{:?}", server.stats());
        (self.session, self.count)
    }

    #[track_caller]
    pub(super) fn come_back(server: &Running, (session, count): (String, u64)) -> Self {
        let mut client = Client::connect(server.url());
        client.send_text(&format!(
            r#"{{"msg":"connect","version":"1","support":["1"],"session":"{session}","receivedCount":{count}}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
        Self::over(client, session, count + 1)
    }

    /// Says that it leaves.
    pub(super) fn leave(mut self) {
        self.send(&json!({ "msg": "disconnect" }));
        self.client.close();
    }

    /// Is gone.
    pub(super) fn vanish(self) {
        self.client.reset();
    }

    #[track_caller]
    fn read(&mut self) {
        let text = self.client.next_text(2 * PATIENCE).expect("something");
        let json: Json = serde_json::from_str(&text).unwrap();
        let id = json["id"].as_str().unwrap_or_default().to_owned();
        match json["msg"].as_str().unwrap() {
            "ping" => return self.client.send_text(r#"{"msg":"pong"}"#),
            "changed" if json["e"].is_object() => self.deliveries.push_back(json["e"].clone()),
            "changed" => self.deliveries.push_back(json["fields"]["event"].clone()),
            "ready" => {
                let subs = json["subs"].as_array().unwrap().iter();
                self.ready
                    .extend(subs.map(|id| id.as_str().unwrap().to_owned()));
            }
            "nosub" => {
                self.nosub.insert(id, json["error"].clone());
            }
            "result" if json["error"].is_null() => {
                self.results.insert(id, Ok(json["result"].clone()));
            }
            "result" => {
                self.results.insert(id, Err(json["error"].clone()));
            }
            "added" | "removed" | "updated" => {}
            _ => panic!("{text}"),
        }
        self.count += 1;
    }
}
