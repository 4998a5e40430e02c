//! The server that is compared with others. Its publications pass events on, rebuild them, follow a
//! topic, publish a document, or publish nothing; it also has methods.
//!
//! `PORT` and `REDIS_URL` say where it listens and where events come from, `SHARDS` how many
//! threads own connections (1), `USERS` how many users can log in: none by default, and then
//! accounts are off. `MISSED` is how many records a topic has (0). With `METEOR` it stands in front of
//! the app at that address, and has nothing of its own but `feed`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::{OnceCell, mpsc};
use updraft::account::{Accounts, MemoryUsers, Token};
use updraft::prelude::*;
use updraft::topics::{Entry, Memory, Settings as TopicSettings, Start, Topic, Topics};
use updraft::{Date, Meteor};

// The same as the relay's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct Feed {
    channel: String,
}

/// The messages of the channel, unchanged.
async fn feed(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.on(channel![channel], |message: &Message| message.event())
        .await
}

/// The messages of the channel, parsed and built again for each subscriber.
async fn rebuilt(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.on(channel![channel], |message: &Message| {
        let value = message.value();
        Some(ejson!({ "t": value.get("t").cloned(), "p": value.get("p").cloned() }))
    })
    .await
}

/// The messages of the channel, unchanged and without a mapping function.
async fn relayed(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.relay(channel![channel]).await
}

/// The topics that are followed. The channels whose messages are copied to them are those that a
/// subscriber has asked for: the first one copies for all.
static TOPICS: OnceCell<Topics> = OnceCell::const_new();
static COPIED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Messages that may wait to be copied.
const UNCOPIED: usize = 100_000;

/// The records of a topic in memory, to which the messages of the channel are copied.
async fn followed(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    let topics = TOPICS.get_or_init(async || Topics::open(Memory::new()));
    let mut settings = TopicSettings::default();
    settings.retention.max_records = Some(100_000);
    let topic = topics.await.topic(channel.as_str(), settings).await?;
    let is_first = {
        let mut copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner);
        copied.insert(channel.clone())
    };
    if is_first {
        let (copy, mut copies) = mpsc::channel::<Value>(UNCOPIED);
        let to = topic.clone();
        vent.run(async move {
            let mut values = Vec::new();
            while copies.recv_many(&mut values, 256).await > 0 {
                to.publish_many(values.drain(..).map(Entry::from)).await?;
            }
            Ok(())
        });
        vent.on(channel![channel], move |message: &Message| {
            // What finds no room is missing in the results.
            copy.try_send(message.value().clone()).ok();
            None::<()>
        })
        .await?;
    }
    vent.follow(&topic, Start::Latest).await
}

/// The records that are there, of a topic in memory.
async fn missed(vent: Vent, topic: Topic) -> Result<()> {
    vent.follow(&topic, Start::Earliest).await
}

/// A topic with so many records of 150 bytes. Each bears the stamp that the load generator looks
/// for: a time, which is not measured here, and its number.
async fn missed_records(topics: &Topics, count: usize) -> Result<Topic> {
    let topic = topics.topic("missed", TopicSettings::default()).await?;
    let padding = "x".repeat(110);
    for number in 1..=count {
        let stamp = format!("@@{:014}{number:09}", 0);
        let record = ejson!({ "t": stamp, "p": padding.as_str() });
        topic.publish(Entry::from(record)).await?;
    }
    Ok(topic)
}

async fn nothing(_: Subscription) -> Result<()> {
    Ok(())
}

/// The connections that are shown the one document.
static SHOWN: Mutex<BTreeMap<String, Subscription>> = Mutex::new(BTreeMap::new());

/// The one document.
async fn document(subscription: Subscription) -> Result<()> {
    let shown = || SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let id = subscription.connection().session_id().to_owned();
    subscription.added("things", "one", ejson!({ "name": "thing" }));
    shown().insert(id.clone(), subscription.clone());
    subscription.on_stop(move || drop(shown().remove(&id)));
    Ok(())
}

/// Changes the one document for all subscribers.
async fn change(_: Call, fields: Value) -> Result<()> {
    let fields = Fields::new(fields)?;
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for subscription in shown.values() {
        subscription.changed("things", "one", &fields);
    }
    Ok(())
}

async fn echo(_: Call, value: Value) -> Result<Value> {
    Ok(value)
}

/// Users with one token each.
fn users(count: usize) -> MemoryUsers {
    let users = MemoryUsers::new();
    for number in 0..count {
        let token = Token::new(format!("token{number}"));
        let record = ejson!({
            "when": Date::from(SystemTime::now()),
            "hashedToken": token.hashed().as_str(),
        });
        users.insert(
            format!("user{number}"),
            ejson!({
                "username": format!("name{number}"),
                "services": { "resume": { "loginTokens": [record] } },
            }),
        );
    }
    users
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

#[tokio::main]
async fn main() -> Result<()> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".into());
    let mut server = Server::builder();
    if let Some(count) = number("USERS").filter(|count| *count > 0) {
        // As often as possible, because that is measured.
        server = server.accounts(Accounts::new(users(count))).login_rules([]);
    }
    server = server.configure(|settings| {
        settings.shards = Some(number("SHARDS").unwrap_or(NonZero::<usize>::MIN));
    });
    let bus = Redis::connect(&redis).await?;
    let address = ("127.0.0.1", number("PORT").unwrap_or(4000));
    if let Ok(meteor) = env::var("METEOR") {
        return server
            .vent("feed", feed)
            .meteor(Meteor::at(meteor).http(true))
            // All clients of a run connect at once, and that is not measured.
            .configure(|settings| settings.gateway.connects_per_second = 10_000)
            .bus(bus)
            .bind(address)
            .await?
            .serve()
            .await;
    }
    let topics = Topics::open(Memory::new());
    let topic = missed_records(&topics, number("MISSED").unwrap_or(0)).await?;
    server
        .vent("feed", feed)
        .vent("rebuilt", rebuilt)
        .vent("relayed", relayed)
        .vent("followed", followed)
        .vent("missed", move |vent: Vent| missed(vent, topic.clone()))
        .publish("nothing", nothing)
        .publish("document", document)
        .method("echo", echo)
        .method("change", change)
        .bus(bus)
        .bind(address)
        .await?
        .serve()
        .await
}
