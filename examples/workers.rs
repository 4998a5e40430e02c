//! Workers that share orders: each order is billed by one of them, those of a customer one after
//! the other, whatever processes come, go and are killed. Each process has one worker of its own,
//! and lets clients work too.
//!
//! ```text
//! cargo build --release --example workers && cargo build --release --features cli
//! export REDIS_URL=redis://127.0.0.1 UPDRAFT_STORE=redis://127.0.0.1 PATH=target/release:$PATH
//! for port in 3001 3002 3003; do LISTEN=127.0.0.1:$port target/release/examples/workers & done
//!
//! updraft group info billing --watch             # in another terminal
//!
//! updraft topic publish orders --key-from .customer <<'END'
//! {"customer":"ada","item":"tea"}
//! {"customer":"bob","item":"poison"}
//! {"customer":"ada","item":"coffee"}
//! END
//! kill -9 %1                                     # its orders go to others, after 3 s
//! updraft group dead list billing                # nobody sells poison
//! ```
//!
//! A worker of another kind, with the npm package:
//!
//! ```js
//! const client = new Client({ targets: 'ws://127.0.0.1:3001/websocket' });
//! await client.consume('orders.work', ({ payload }) => console.log(payload));
//! ```

use std::env;
use std::sync::Arc;
use std::time::Duration;

use updraft::prelude::*;
use updraft::topics::group::{Delivery, HandlerError};
use updraft::topics::{GroupSettings, RedisSettings, RedisStore, Settings, Store, Topics};
use updraft_bus::{ChannelSettings, Channels};

#[derive(Deserialize)]
struct Order {
    customer: String,
    item: String,
}

/// Bills an order. A real one writes with `delivery.generation()`, so that a worker that was away
/// for too long cannot bill what another one has billed.
async fn bill(delivery: Delivery) -> Result<(), HandlerError> {
    let Order { customer, item } = delivery.parse()?; // an error sets it aside
    let times = delivery.deliveries();
    if item == "poison" {
        println!("no poison for {customer}, time {times}");
        return Err("nobody sells poison".into());
    }
    tokio::time::sleep(Duration::from_millis(100)).await; // it is work
    println!("billed {item} of {customer}, time {times}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".into());
    let store = Arc::new(RedisStore::open(&url, RedisSettings::default()).await?);
    let bus = Channels::open(Redis::connect(&url).await?, ChannelSettings::default())?;
    let topics = Topics::open(Store::new(store.clone(), store, Arc::new(bus)))
        .with_lease(Duration::from_secs(3)); // the default is 10 s

    let orders = topics.topic("orders", Settings::default()).await?;
    let settings = GroupSettings::on([&orders])
        .max_deliveries(3)
        .back_off([Duration::from_millis(200), Duration::from_secs(1)]);
    let billing = topics.group("billing", settings).await?;
    let name = format!("process {}", std::process::id());

    // Here everybody may work. A real one asks who `subscription.user_id()` is.
    let everybody = async |_: Subscription| Ok(());
    let add = move |call: Call, order: Value| {
        let orders = orders.clone();
        async move {
            let customer = order.get("customer").and_then(Value::as_str);
            let customer = customer.ok_or_else(|| Error::bad_request("Whose order is it?"))?;
            let entry = updraft::topics::Entry::value(&order).key(customer);
            call.publish(&orders, entry).await
        }
    };
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let bound = Server::builder()
        .worker("orders.work", &billing, everybody)
        .method("orders.add", add)
        .bind(listen)
        .await?;
    println!("{name} works, and listens on {}", bound.local_addr());
    tokio::select! {
        served = bound.serve() => served?, // until SIGTERM or Ctrl-C
        worked = billing.member(&name).run(bill) => worked?,
    }
    // What it has goes to others at once.
    topics.shut_down().await;
    Ok(())
}
