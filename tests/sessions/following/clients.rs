//! Clients that people have and that know nothing of positions, as npm has them: each follows a
//! topic, and shows one as a list. What each is asked to do stands in `tests/clients/topics.mjs`.

use std::time::Duration;

use updraft::prelude::*;
use updraft::{Window, topics::Entry};
use updraft_test_support::proxy::Proxy;
use updraft_test_support::script::{Script, installed};

use super::world::World;
use crate::common::Running;

#[test]
fn topic_034_107_simpleddp_follows_a_topic_and_shows_a_list() {
    drive("simpleddp");
}

#[test]
fn topic_034_107_ddp_follows_a_topic_and_shows_a_list() {
    drive("ddp");
}

#[test]
fn topic_034_107_rocketchat_follows_a_topic_and_shows_a_list() {
    drive("rocketchat");
}

/// Runs a client's script with each store. Its Vent gets events of a collection, and those of
/// redis-oplog with the topic in memory, which need not be said of each store.
fn drive(client: &str) {
    installed(&["node_modules"]);
    for world in World::each() {
        converse(client, "collection", &world);
    }
    converse(client, "vent", &World::memory());
}

fn converse(client: &str, encoding: &str, world: &World) {
    println!("{client}, {encoding}");
    let (listed, published) = (world.topic.clone(), world.topic.clone());
    let builder = world
        .builder()
        .publish("list", move |subscription: Subscription| {
            let topic = listed.clone();
            async move {
                subscription
                    .mirror(&topic, Window::Last(5))
                    .collection("list")
                    .await
            }
        })
        .method("order", move |call: Call, number: u64| {
            let topic = published.clone();
            async move { call.publish(&topic, Entry::value(&number)).await }
        })
        .configure(|settings| settings.origins.allow_any = true);
    let server = Running::start(builder);
    let proxy = Proxy::start(server.address().port());
    let url = format!("ws://127.0.0.1:{}/websocket", proxy.port());
    Script::start(client, &[&url, encoding, "topics"]).run(|wish| {
        let range = wish.strip_prefix("cut the connections and publish ");
        let (first, last) = range.and_then(|range| range.split_once(' ')).unwrap();
        proxy.refuse(true);
        proxy.cut();
        world.publish(first.parse().unwrap()..=last.parse().unwrap());
        // Some clients try in vain meanwhile.
        std::thread::sleep(Duration::from_millis(150));
        proxy.refuse(false);
    });
}
