//! The server that is compared with others. Its publications pass events on, rebuild them, publish
//! a document, or publish nothing; it also has methods.
//!
//! `PORT` and `REDIS_URL` say where it listens and where events come from, `SHARDS` how many
//! threads own connections (1), `USERS` how many users can log in: none by default, and then
//! accounts are off.

use std::collections::BTreeMap;
use std::env;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use updraft::Date;
use updraft::account::{Accounts, MemoryUsers, Token};

use updraft::prelude::*;

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
    server
        .vent("feed", feed)
        .vent("rebuilt", rebuilt)
        .vent("relayed", relayed)
        .publish("nothing", nothing)
        .publish("document", document)
        .method("echo", echo)
        .method("change", change)
        .configure(|settings| {
            settings.shards = Some(number("SHARDS").unwrap_or(NonZero::<usize>::MIN))
        })
        .bus(Redis::connect(&redis).await?)
        .bind(("127.0.0.1", number("PORT").unwrap_or(4000)))
        .await?
        .serve()
        .await
}
