//! The server under test: every way to follow a channel, in every encoding, each subscription
//! telling its client when events may have been missed.

use std::time::Duration;

use updraft::prelude::*;
use updraft::{Channel, Message};
use updraft_test_support::redis::RedisServer;

use crate::common::Running;
use crate::world::channel;

/// How long a client may show no sign of life: enough for a healthy one on a busy machine, little
/// enough that one that does not read is found within seconds.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long sessions wait for clients that the network has lost: none comes back, and they must all
/// be gone at the end.
const GRACE: Duration = Duration::from_millis(500);

/// The collection in which a subscription says that events may have been missed.
pub(crate) const GAPS: &str = "gaps";

/// What a subscription asks for.
#[derive(Deserialize)]
struct Room {
    room: usize,
    /// What its client calls it, where it is told of gaps.
    tag: String,
}

/// Starts the server, with Redis as its bus.
pub(crate) fn start(redis: &RedisServer) -> Running {
    let server = Server::builder()
        .configure(|settings| {
            settings.clients.output_timeout = OUTPUT_TIMEOUT;
            settings.sessions.resumption.grace = GRACE;
        })
        .vent("relayed", relayed)
        .vent("mapped", mapped)
        .vent("shared", shared)
        .vent("awaited", awaited)
        .streamer("rooms", streamed);
    Running::over_resumable(redis, server)
}

async fn relayed(vent: Vent, Room { room, tag }: Room) -> Result<()> {
    tell_gaps(&vent, tag);
    vent.relay(Channel::trusted(channel(room))).await
}

async fn mapped(vent: Vent, Room { room, tag }: Room) -> Result<()> {
    tell_gaps(&vent, tag);
    let map = |message: &Message| Ok(Some(message.parse::<Value>()?));
    vent.on(Channel::trusted(channel(room)), map).await
}

async fn shared(vent: Vent, Room { room, tag }: Room) -> Result<()> {
    tell_gaps(&vent, tag);
    vent.on_shared(Channel::trusted(channel(room)), room, |message, _| {
        message.event()
    })
    .await
}

async fn awaited(vent: Vent, Room { room, tag }: Room) -> Result<()> {
    tell_gaps(&vent, tag);
    let map = async |message: std::sync::Arc<Message>| {
        tokio::task::yield_now().await;
        message.event()
    };
    vent.on_async(Channel::trusted(channel(room)), map).await
}

/// Its event name is the number of the room.
async fn streamed(vent: Vent, (room, tag): (String, String)) -> Result<()> {
    let room = room
        .parse()
        .map_err(|_| Error::bad_request("No such room"))?;
    tell_gaps(&vent, tag);
    vent.relay(Channel::trusted(channel(room))).await
}

/// Each gap becomes a document of its own.
fn tell_gaps(vent: &Vent, tag: String) {
    let subscription = vent.clone();
    let mut told = 0;
    vent.on_gap(move || {
        told += 1;
        subscription.added(GAPS, format!("{tag}#{told}"), ejson!({}));
    });
}
