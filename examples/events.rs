//! Events that all processes and pages hear, and a file that has each of them once, whatever
//! happens to this process.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 LOG=events.log cargo run --release --example events
//! ```
//!
//! Each line of the file begins with the position of its event, so the file itself says where to go
//! on. Start as many processes as you like, each with a file of its own. Pages hear and trigger the
//! same events by `emitter(client, 'events')` of the package `updraft-client`; `ORIGIN` lets in
//! pages that are served elsewhere.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::Arc;

use updraft::prelude::*;
use updraft::topics::{
    self, Emitter, Event, Filter, Position, RedisSettings, RedisStore, Start, Store, Topics,
};
use updraft::{ClientEntry, TopicAccess};
use updraft_bus::{ChannelSettings, Channels};

/// Opens the file, and reads the position in its last line. Half a line, which was being written
/// when the process ended, is removed.
fn open(path: &str) -> std::io::Result<(File, Option<Position>)> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).read(true).open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    file.set_len(u64::try_from(text.len()).unwrap_or_default())?;
    let last = text.lines().last().and_then(|line| line.split(' ').next());
    Ok((file, last.and_then(|position| position.parse().ok())))
}

/// Writes an event. It is in the file or it is not: its line is written at once.
fn write(mut file: &File, event: &Event) {
    let args = serde_json::to_string(event.args()).expect("EJSON is JSON");
    let position = event.message().position();
    let line = format!("{position} {} {args}\n", event.name());
    if let Err(error) = file.write_all(line.as_bytes()) {
        // The next process goes on with this event.
        eprintln!("the file cannot be written: {error}");
        std::process::exit(1);
    }
}

/// Anybody may hear and trigger. A real one looks at the user, and at `event` in the payload.
fn anybody() -> TopicAccess {
    TopicAccess::new()
        .authorize_read(async |_: Subscription| Ok(()))
        .authorize_publish(async |_: Call, entry: ClientEntry| Ok(entry))
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    let var = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.into());
    let url = var("REDIS_URL", "redis://127.0.0.1");
    let store = Arc::new(RedisStore::open(&url, RedisSettings::default()).await?);
    let bus = Channels::open(Redis::connect(&url).await?, ChannelSettings::default())?;
    let topics = Topics::open(Store::new(store.clone(), store, Arc::new(bus)));
    let events = topics.topic("events", topics::Settings::default()).await?;

    let (file, last) = open(&var("LOG", "events.log"))?;
    let emitter = Emitter::on_topic(&events)
        .start(last.map_or(Start::Earliest, Start::Position))
        .on(Filter::all(), move |event| write(&file, event))
        .open()
        .await?;
    let bound = Server::builder()
        .topic(&events, anybody())
        .configure(|settings| settings.origins.allowed.extend(env::var("ORIGIN")))
        .bind(var("LISTEN", "127.0.0.1:3000"))
        .await?;
    println!("Events at ws://{}/websocket", bound.local_addr());
    bound.serve().await?;
    emitter.close().await?;
    Ok(())
}
