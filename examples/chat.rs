//! A chat with a page of its own: a Vent publication per room, a method that speaks into it, and a page that shows every
//! DDP frame it sends and gets.
//!
//! ```text
//! cargo run --release --example chat
//! ```
//!
//! Then open <http://127.0.0.1:3000/> in two tabs. `LISTEN=0.0.0.0:3000` lets your phone in. With `REDIS_URL` the messages
//! go over Redis, and whatever can publish there speaks into the rooms:
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 cargo run --release --example chat
//! redis-cli PUBLISH threads::lobby::new_message '{"message":"hi"}'
//! ```

use std::env;
use std::time::SystemTime;

use updraft::prelude::*;
use warp::Filter;

/// Characters of a message, and of the name beside it.
const MAX_MESSAGE: usize = 2_000;
const MAX_NAME: usize = 40;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    thread_id: String,
}

/// Every new message of one thread. Here anybody may read; elsewhere, ask `vent.user_id()` first.
async fn thread_message(vent: Vent, Thread { thread_id }: Thread) -> Result<()> {
    vent.on(
        channel!["threads", thread_id, "new_message"],
        |m: &Message| m.event(),
    )
    .await
}

/// Says something in a thread, under a name if the client gives one.
async fn add_message(
    call: Call,
    (thread_id, message, name): (String, String, Option<String>),
) -> Result<()> {
    let message = message.trim();
    if message.is_empty() || message.chars().count() > MAX_MESSAGE {
        return Err(Error::bad_request("A message has 1 to 2,000 characters"));
    }
    let at = Date::from(SystemTime::now());
    let name = name.map(|name| name.chars().take(MAX_NAME).collect::<String>());
    let event = ejson!({ "message": message, "name": name, "at": at });
    call.emit(channel!["threads", thread_id, "new_message"], event)
        .await
}

#[tokio::main]
async fn main() -> Result<()> {
    let page = warp::path::end()
        .and(warp::get())
        .map(|| warp::reply::html(include_str!("chat.html")));
    let mut server = Server::builder()
        .vent("threadMessage", thread_message)
        .method("messages.add", add_message)
        .route("/", warp::service(page));
    if let Ok(url) = env::var("REDIS_URL") {
        server = server.bus(Redis::connect(&url).await?);
    }
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let bound = server.bind(listen).await?;
    println!("Open http://{}/", bound.local_addr());
    bound.serve().await
}
