//! A vent and a method in Rust, in front of a Meteor app whose clients change nothing.
//!
//! ```text
//! METEOR_URL=http://127.0.0.1:4000 REDIS_URL=redis://127.0.0.1 \
//!     cargo run --release --example beside_meteor
//! ```
//!
//! A client that calls `Vent.subscribe("threadMessage", { threadId })` on its own connection gets
//! its events from here. All else is answered by the app, which may emit them too:
//! `Vent.emit("threads::7::new_message", { message: "hi" })`.

use std::env;

use updraft::Meteor;
use updraft::prelude::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    thread_id: String,
}

/// Every new message of one thread, for users whom the app has logged in.
async fn thread_message(vent: Vent, Thread { thread_id }: Thread) -> Result<()> {
    if vent.user_id().is_none() {
        return Ok(()); // ready and silent; it runs again at login
    }
    vent.relay(channel!["threads", thread_id, "new_message"])
        .await
}

async fn say(call: Call, (thread_id, message): (String, String)) -> Result<()> {
    let user = call
        .user_id()
        .ok_or_else(|| Error::forbidden("log in first"))?;
    let event = ejson!({ "user": user, "message": message });
    call.emit(channel!["threads", thread_id, "new_message"], event)
        .await
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init();
    updraft::log_panics();
    let app = env::var("METEOR_URL").unwrap_or_else(|_| "http://127.0.0.1:4000".into());
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok());
    let mut server = Server::builder()
        .meteor(Meteor::at(app).http(true))
        .vent("threadMessage", thread_message)
        .method("threads.say", say);
    if let Ok(url) = env::var("REDIS_URL") {
        server = server.bus(Redis::connect(&url).await?);
    }
    let bound = server.bind(("127.0.0.1", port.unwrap_or(3000))).await?;
    println!("In front of Meteor on http://{}", bound.local_addr());
    bound.serve().await
}
