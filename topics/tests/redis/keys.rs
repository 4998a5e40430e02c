//! The keys and scripts that the store leaves in Redis.

use super::*;

/// And the store goes on with the scripts that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_092_scripts_that_redis_has_forgotten_are_loaded_again() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let key = RegisterKey::new("space", "a").unwrap();
    let mut flush = || -> String { ask(&mut direct, "SCRIPT FLUSH") };
    flush();
    let epoch = created(&store, &orders).await.epoch;
    flush();
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    flush();
    assert_eq!(
        page(&store, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        3
    );
    flush();
    store.trim(&orders, epoch, 1).await.unwrap();
    flush();
    store
        .remove(&orders, Removal::new(epoch, vec![2], 0))
        .await
        .unwrap();
    flush();
    let swap = Swap::write(key, None, "x").unwrap();
    let written = store.swap(vec![swap]).await.unwrap();
    assert!(matches!(written[..], [Swapped::Written(_)]));
    flush();
    store.end(&orders, End::Delete).await.unwrap();
    let evals = server.calls_of("eval");
    assert_eq!(evals, 7);
}

/// With other stores, other programs' keys, and topics that look like them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_112_no_foreign_key_is_touched() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let foreign = [
        "t{a}meta",
        "topics",
        "a",
        "updraft:topics",
        "updraft:topics:x",
    ];
    for key in foreign {
        server.tell("SET", &[key, "foreign"]);
    }
    let one = open(&server.url()).await;
    let mut settings = settings();
    settings.prefix = "updraft:topics:t{".into();
    let two = RedisStore::open(&server.url(), settings).await.unwrap();
    let names = [
        "a", "a}meta", "}", "{", "a}log{", "../a", "*", "[a-z]*", "a b",
    ];
    for name in names {
        let topic = topic(name);
        created(&one, &topic).await;
        created(&two, &topic).await;
        append(&one, &topic, [text("one").dedup("id")]).await;
        append(&two, &topic, [text("two")]).await;
        let key = RegisterKey::new(name, name).unwrap();
        let swap = || vec![Swap::write(key.clone(), None, name.to_owned()).unwrap()];
        assert!(matches!(
            one.swap(swap()).await.unwrap()[..],
            [Swapped::Written(_)]
        ));
        assert!(matches!(
            two.swap(swap()).await.unwrap()[..],
            [Swapped::Written(_)]
        ));
    }
    for name in names {
        one.end(&topic(name), End::Delete).await.unwrap();
    }
    for name in names {
        let bounds = Log::open(&two, &topic(name), Create::Never).await.unwrap();
        let held = page(&two, &topic(name), Place::start(bounds.epoch)).await;
        assert_eq!(payloads(&held.records), [(1, "two")]);
    }
    assert_eq!(one.list("", None, 99).await.unwrap(), []);
    assert_eq!(two.list("", None, 99).await.unwrap().len(), names.len());
    for key in foreign {
        let value: String = ask(&mut direct, &format!("GET {key}"));
        assert_eq!(value, "foreign");
    }
    let keys: Vec<String> = ask(&mut direct, "KEYS *");
    let ours = keys.iter().filter(|key| !foreign.contains(&key.as_str()));
    assert!(
        ours.into_iter()
            .all(|key| key.starts_with("updraft:topics:"))
    );
    // A key of ours that holds something else is told, and left.
    server.tell("SET", &[LOG, "foreign"]);
    let error = Log::open(&one, &topic("orders"), Create::IfMissing).await;
    assert_eq!(error.unwrap_err().code(), "damaged-store");
    let value: String = ask(&mut direct, &format!("GET {LOG}"));
    assert_eq!(value, "foreign");
}

/// Records that are trimmed, ids whose time is over, and names of registers that have expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_removed_from_redis() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    for batch in 0..25 {
        let records = (0..1000).map(|n| text("x").dedup(format!("{batch} {n}")));
        append(&store, &orders, records).await;
    }
    store.trim(&orders, epoch, 24_990).await.unwrap();
    let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
    assert!((10..=110).contains(&length), "{length}");
    let held = page(&store, &orders, Place::start(epoch)).await;
    assert_eq!(held.records.len(), 10);
    eventually("all ids are over", || {
        let [seconds, micros]: [u64; 2] = ask::<Vec<u64>>(&mut direct, "TIME").try_into().unwrap();
        seconds * 1000 + micros / 1000 > held.records[9].time + 10
    });
    for _ in 0..=250 {
        let append = Append::new(vec![text("x")]).dedup_window(Duration::from_millis(5));
        store.append(&orders, append).await.unwrap();
    }
    for (command, key) in [("HLEN", "ids"), ("ZCARD", "ages")] {
        let left: u64 = ask(
            &mut direct,
            &format!("{command} updraft:topics:t{{orders}}{key}"),
        );
        assert_eq!(left, 0);
    }

    let key = |n: usize| RegisterKey::new("space", &n.to_string()).unwrap();
    let swap = |n| {
        let swap = Swap::write(key(n), None, "x").unwrap();
        swap.expires(Duration::from_millis(1))
    };
    store.swap((0..500).map(swap).collect()).await.unwrap();
    eventually("all are over", || {
        let keys: Vec<String> = ask(&mut direct, "KEYS *r{space}=*");
        keys.is_empty()
    });
    for n in 500..510 {
        store.swap(vec![swap(n)]).await.unwrap();
    }
    for set in ["names", "ends"] {
        let left: u64 = ask(
            &mut direct,
            &format!("ZCARD updraft:topics:r{{space}}{set}"),
        );
        assert!(left <= 10, "{left}");
    }
}

/// Of one batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_005_more_ids_than_lua_can_pass_on_at_once() {
    let server = RedisServer::start();
    let topics = topics(&server.url()).await;
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let entries = || (0..2500).map(|id| Entry::value(&id).dedup(format!("id {id}")));
    for is_again in [false, true] {
        let published = orders.publish_many(entries()).await.unwrap();
        for (offset, published) in (1..).zip(&published) {
            assert_eq!((published.offset, published.duplicate), (offset, is_again));
        }
        assert_eq!(published.len(), 2500);
    }
    assert_eq!(orders.bounds().await.unwrap().last, 2500);
}
