//! Something that can only be polled becomes something that is pushed: clients see one document,
//! which follows a file's length and time of change.
//!
//! ```text
//! WATCH=notes.txt cargo run --release --example poll_to_push
//! ```
//!
//! A client subscribes to `watchedFile` and reads the document `watched` of the collection `files`.
//! Only what differs is sent. Each subscriber polls for itself here; where a poll is dear and
//! subscribers are many, poll once and emit what differs to a Vent publication.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use tokio::time::sleep;
use updraft::prelude::*;

/// The pause between two looks at the file: the longest that a change goes unseen.
const INTERVAL: Duration = Duration::from_millis(500);

/// What there is to see. A file that cannot be read is one that is not there.
#[derive(Clone, Default, PartialEq, Serialize)]
struct Watched {
    exists: bool,
    length: Option<u64>,
    modified: Option<Date>,
}

/// Looks at the file, where it may block.
async fn look(path: PathBuf) -> Result<Watched> {
    let look = move || {
        let Ok(file) = fs::metadata(path) else {
            return Watched::default();
        };
        Watched {
            exists: true,
            length: Some(file.len()),
            modified: file.modified().ok().map(Date::from),
        }
    };
    Ok(tokio::task::spawn_blocking(look).await?)
}

/// Publishes the file as one document.
async fn watched_file(subscription: Subscription, path: PathBuf) -> Result<()> {
    let mut seen = look(path.clone()).await?;
    subscription.added("files", "watched", &seen);
    let client = subscription.clone();
    // Goes on when this function has returned, and ends with the subscription.
    subscription.run(async move {
        loop {
            sleep(INTERVAL).await;
            let now = look(path.clone()).await?;
            if now != seen {
                client.changed("files", "watched", &now);
                seen = now;
            }
        }
    });
    Ok(()) // sends `ready`
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let path = PathBuf::from(env::var_os("WATCH").unwrap_or_else(|| "notes.txt".into()));
    let name = path.display().to_string();
    let bound = Server::builder()
        .publish("watchedFile", move |subscription| {
            watched_file(subscription, path.clone())
        })
        .bind(env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into()))
        .await?;
    println!("Watching {name} at ws://{}/websocket", bound.local_addr());
    bound.serve().await
}
