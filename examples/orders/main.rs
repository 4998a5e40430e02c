//! Orders that no page misses: a topic in a file, which clients read and publish to, and a page
//! with the npm package `updraft-client`. It shows orders as they come, says where it stands, and
//! takes orders while the server is away.
//!
//! The page needs the package's file for browsers, which is built once:
//!
//! ```text
//! (cd client && npm ci && npm run build)
//! cargo run --release --features cli --example orders
//! ```
//!
//! Open <http://127.0.0.1:3000/>, and stop the server. What is published meanwhile is not lost:
//!
//! ```text
//! echo '{"item":"Soup of the day","table":4}' |
//!     cargo run --release --features cli -- topic publish orders --store file:orders.redb
//! ```
//!
//! Start it again, and the page has it. The page may also be loaded again while there is no server.
//! `LISTEN=0.0.0.0:3000` lets your phone in; there, without TLS, the browser does not keep the page
//! itself, and each tab has a connection of its own. `STORE` is another file than `orders.redb`.

use std::time::Duration;
use std::{env, fs};

use updraft::prelude::*;
use updraft::topics::{FileStore, Settings, Topics};
use updraft::warp::{self, Filter, http::header::CONTENT_TYPE};
use updraft::{ClientEntry, TopicAccess};

/// The package's file for browsers. In a program of your own, `npm install updraft-client` puts it
/// into `node_modules/updraft-client/dist`.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/client/dist/updraft-client.js");

/// Characters of what is ordered.
const MAX_ITEM: usize = 80;

#[derive(Deserialize)]
struct Order {
    item: String,
    table: u8,
}

impl Order {
    fn is_possible(&self) -> bool {
        let length = self.item.trim().chars().count();
        (1..=MAX_ITEM).contains(&length) && self.table > 0
    }
}

/// Who may read the orders. Here it is anybody; elsewhere, ask `subscription.user_id()`.
async fn may_read(_: Subscription) -> Result<()> {
    Ok(())
}

/// Who may order, and what. What is returned is stored.
async fn take(_: Call, entry: ClientEntry) -> Result<ClientEntry> {
    let order = entry.payload.clone().map(ejson::from_value::<Order>);
    match order {
        Some(Ok(order)) if order.is_possible() => Ok(entry),
        _ => Err(Error::bad_request("That is not on the menu")),
    }
}

/// The page, the package, and the worker that keeps both for when there is no network.
fn pages(
    client: String,
) -> impl Filter<Extract = impl warp::Reply, Error = warp::Rejection> + Clone {
    let page = warp::path::end().map(|| warp::reply::html(include_str!("page.html")));
    let script = |name: &'static str, text: String| {
        let answer =
            move || warp::reply::with_header(text.clone(), CONTENT_TYPE, "text/javascript");
        warp::path(name).and(warp::path::end()).map(answer)
    };
    let worker = script("worker.js", include_str!("worker.js").to_owned());
    warp::get().and(page.or(script("updraft-client.js", client)).or(worker))
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let client = fs::read_to_string(CLIENT).map_err(|error| {
        Error::configuration(format!(
            "{CLIENT}: {error}. Build it: (cd client && npm ci && npm run build)"
        ))
    })?;
    let store = env::var("STORE").unwrap_or_else(|_| "orders.redb".into());
    let topics = Topics::open(FileStore::open(store).await?);
    let mut settings = Settings::default();
    settings.retention.max_age = Some(Duration::from_secs(30 * 24 * 3600));
    let orders = topics.topic("orders", settings).await?;

    let access = TopicAccess::new()
        .authorize_read(may_read)
        .authorize_publish(take);
    let server = Server::builder()
        .topic(&orders, access)
        .route("/", warp::service(pages(client)));
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let bound = server.bind(listen).await?;
    println!("Open http://{}/", bound.local_addr());
    bound.serve().await
}
