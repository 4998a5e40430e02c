//! The server that is compared with others: one publication that passes events on and one that rebuilds them.
//!
//! `PORT` and `REDIS_URL` say where it listens and where events come from, `SHARDS` how many threads own connections (1).

use std::env;
use std::num::NonZero;

use updraft::prelude::*;

// As in the relay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct Feed {
    channel: String,
}

/// What the channel gets, as it came.
async fn feed(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.on(channel, |message: &Message| message.event()).await
}

/// What the channel gets, read and put together again, for each subscriber.
async fn rebuilt(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.on(channel, |message: &Message| {
        let value = message.value();
        Some(ejson!({ "t": value.get("t").cloned(), "p": value.get("p").cloned() }))
    })
    .await
}

/// What the channel gets, as it came, without a function.
async fn relayed(vent: Vent, Feed { channel }: Feed) -> Result<()> {
    vent.relay(channel).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let shards = env::var("SHARDS").ok().and_then(|text| text.parse().ok());
    let port: u16 = env::var("PORT")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4000);
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".into());
    Server::builder()
        .vent("feed", feed)
        .vent("rebuilt", rebuilt)
        .vent("relayed", relayed)
        .shards(shards.unwrap_or(NonZero::<usize>::MIN))
        .bus(Redis::connect(&redis).await?)
        .bind(("127.0.0.1", port))
        .await?
        .serve()
        .await
}
