//! A chat with a page of its own: a Vent publication per room, a method that speaks into it, a
//! route that does so for `curl`, and a page that shows every DDP frame it sends and gets.
//!
//! ```text
//! cargo run --release --example chat
//! curl -d '{"message":"hi"}' http://127.0.0.1:3000/threads/lobby
//! ```
//!
//! Then open <http://127.0.0.1:3000/> in two tabs. `LISTEN=0.0.0.0:3000` lets your phone in. With
//! `REDIS_URL` the messages go over Redis, and whatever can publish there speaks into the rooms:
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 cargo run --release --example chat
//! redis-cli PUBLISH threads::lobby::new_message '{"message":"hi"}'
//! ```

use std::env;
use std::time::SystemTime;

use bytes::Bytes;
use updraft::prelude::*;
use updraft::warp::http::StatusCode;
use updraft::warp::{self, Filter};
use updraft::{ErrorKind, Handle};

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
    let event = event(&message, name.as_deref())?;
    call.emit(channel!["threads", thread_id, "new_message"], event)
        .await
}

/// What those in a thread are told.
fn event(message: &str, name: Option<&str>) -> Result<Value> {
    let message = message.trim();
    if message.is_empty() || message.chars().count() > MAX_MESSAGE {
        return Err(Error::bad_request("A message has 1 to 2,000 characters"));
    }
    let at = Date::from(SystemTime::now());
    let name = name.map(|name| name.chars().take(MAX_NAME).collect::<String>());
    Ok(ejson!({ "message": message, "name": name, "at": at }))
}

/// What `curl` may say.
#[derive(Deserialize)]
struct Said {
    message: String,
    name: Option<String>,
}

/// Says something in a thread, from outside.
async fn say(server: Handle, thread_id: String, origin: Option<String>, body: Bytes) -> StatusCode {
    // Only browsers send an origin, from whatever page; ours has the method.
    if origin.is_some() {
        return StatusCode::FORBIDDEN;
    }
    let Ok(said) = serde_json::from_slice::<Said>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let Ok(event) = event(&said.message, said.name.as_deref()) else {
        return StatusCode::BAD_REQUEST;
    };
    let channel = channel!["threads", thread_id, "new_message"];
    match server.emit(channel, event).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) if error.kind() == ErrorKind::Client => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let redis = env::var("REDIS_URL").ok();
    // The page's hint is about the bus that there is.
    let bus = format!(
        r#"data-bus="{}""#,
        if redis.is_some() { "redis" } else { "process" }
    );
    let html = include_str!("chat.html").replacen(r#"data-bus="process""#, &bus, 1);
    let page = warp::path::end()
        .and(warp::get())
        .map(move || warp::reply::html(html.clone()));
    let route = |server: Handle| {
        warp::path!("threads" / String)
            .and(warp::post())
            .and(warp::header::optional("origin"))
            .and(warp::body::content_length_limit(16 * 1024))
            .and(warp::body::bytes())
            .then(move |thread_id, origin, body| say(server.clone(), thread_id, origin, body))
    };
    let mut server = Server::builder()
        .vent("threadMessage", thread_message)
        .method("messages.add", add_message)
        .route("/", warp::service(page))
        .route_with("/threads", move |server| warp::service(route(server)));
    if let Some(url) = redis {
        server = server.bus(Redis::connect(&url).await?);
    }
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let bound = server.bind(listen).await?;
    println!("Open http://{}/", bound.local_addr());
    bound.serve().await
}
