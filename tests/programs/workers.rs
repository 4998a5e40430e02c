//! The example `workers`: three processes on one Redis, of which one is killed and one is stopped.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use updraft::topics::group::Group;
use updraft::topics::{RedisSettings, RedisStore, Store, Topics};
use updraft_bus::{ChannelSettings, Channels, Redis};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::process::free_port;
use updraft_test_support::redis::RedisServer;

const CUSTOMERS: [&str; 6] = ["ada", "bob", "cyd", "dan", "eve", "fay"];

fn start(redis: &RedisServer) -> Example {
    let port = free_port();
    let (port, listen) = (port.to_string(), format!("127.0.0.1:{port}"));
    let environment = [
        ("PORT", port.as_str()),
        ("LISTEN", listen.as_str()),
        ("REDIS_URL", &redis.url()),
    ];
    Example::start("workers", &environment)
}

/// Orders things, and waits until they are stored.
fn order(client: &mut Client, customer: &str, item: &str) {
    let order = json!({ "customer": customer, "item": item });
    let call = json!({ "msg": "method", "id": item, "method": "orders.add", "params": [order] });
    client.send_text(&call.to_string());
    loop {
        let text = client.next_text(PATIENCE).expect("an answer");
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["msg"] == "result" {
            assert!(message["error"].is_null(), "{text}");
            return;
        }
    }
}

/// The group, as a process sees it that does not take part.
fn group(runtime: &Runtime, redis: &RedisServer) -> (Topics, Group) {
    runtime.block_on(async {
        let url = redis.url();
        let store = RedisStore::open(&url, RedisSettings::default()).await;
        let store = Arc::new(store.unwrap());
        let bus = Redis::connect(&url).await.unwrap();
        let bus = Channels::open(bus, ChannelSettings::default()).unwrap();
        let topics = Topics::open(Store::new(store.clone(), store, Arc::new(bus)));
        let group = topics.find_group("billing").await.unwrap();
        (topics, group)
    })
}

fn billed(worker: &mut Example) -> Vec<String> {
    let output = worker.process().output();
    let billed = output
        .lines()
        .filter_map(|line| line.strip_prefix("billed "));
    billed.map(str::to_owned).collect()
}

#[test]
fn topic_049_055_067_workers_share_orders_whatever_becomes_of_them() {
    let redis = RedisServer::start();
    let mut workers: Vec<_> = (0..3).map(|_| start(&redis)).collect();
    let runtime = Runtime::new().unwrap();
    let (_topics, group) = group(&runtime, &redis);
    let stats = || runtime.block_on(group.stats()).unwrap();
    eventually("three processes take part", || stats().processes == 3);

    let mut client = Client::ddp_connect(&workers[2].url()).0;
    order(&mut client, "bob", "poison");
    for number in 0..60 {
        let customer = CUSTOMERS[number % CUSTOMERS.len()];
        order(&mut client, customer, &format!("item {number}"));
    }
    let mut all = Vec::new();
    // The first is killed while it works, and the second leaves in good order.
    let works = |worker: &mut Example| !billed(worker).is_empty();
    eventually("the first works", || works(&mut workers[0]));
    workers[0].process().kill();
    eventually("the second works", || works(&mut workers[1]));
    workers[1].process().signal("TERM");
    let ended = workers[1].process().wait(2 * PATIENCE).expect("an end");
    assert!(ended.success(), "{ended}");

    let is_done = || {
        let stats = stats();
        stats.topics[0].lag == 0 && stats.pending == 0 && stats.parked == 1
    };
    eventually("much is done", || stats().topics[0].lag < 20);
    eventually("all is done", is_done);
    for worker in &mut workers {
        all.extend(billed(worker));
    }
    for number in 0..60 {
        let customer = CUSTOMERS[number % CUSTOMERS.len()];
        let line = format!("item {number} of {customer}, time ");
        assert!(
            all.iter().any(|it| it.starts_with(&line)),
            "{line}: {all:?}"
        );
    }
    // Of one customer each worker has billed in order.
    for worker in &mut workers {
        for customer in CUSTOMERS {
            let of = format!(" of {customer},");
            let lines = billed(worker);
            let ours = lines.iter().filter(|line| line.contains(&of));
            let numbers = ours.map(|line| {
                let rest = line.strip_prefix("item ").unwrap();
                rest.split(' ').next().unwrap().parse::<u32>().unwrap()
            });
            assert!(numbers.is_sorted(), "{lines:?}");
        }
    }
    let letters = runtime.block_on(group.dead_letters().list(10)).unwrap();
    assert_eq!(letters[0].reason, "nobody sells poison");
    assert_eq!(letters[0].deliveries, 3);
    assert!(workers[2].process().wait(Duration::ZERO).is_none());
}
