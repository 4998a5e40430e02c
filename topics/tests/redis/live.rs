//! Several processes on one Redis, and readers that wait.

use super::*;

/// So that nobody else needs to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_a_topic_wakes_its_readers() {
    let server = RedisServer::start();
    let mut settings = settings();
    settings.bus_prefix = "app:".into();
    let store = RedisStore::open(&server.url(), settings).await.unwrap();
    assert!(store.features().announces);
    let mut subscriber = server.connection();
    let mut channel = subscriber.as_pubsub();
    channel.subscribe("app:updraft:topics").unwrap();
    let name = topic(r#"a \ "b""#);
    created(&store, &name).await;
    append(&store, &name, [text("1").dedup("id"), text("2")]).await;
    // Nothing is stored.
    append(&store, &name, [text("1").dedup("id")]).await;
    store.end(&name, End::Close).await.unwrap();
    store.end(&name, End::Close).await.unwrap();
    store.end(&name, End::Delete).await.unwrap();
    for _ in 0..3 {
        let message: String = channel.get_message().unwrap().get_payload().unwrap();
        assert_eq!(message, r#""a \\ \"b\"""#);
    }
    assert_eq!(server.publish("app:updraft:topics", "the next"), 1);
    let message: String = channel.get_message().unwrap().get_payload().unwrap();
    assert_eq!(message, "the next");
}

/// As many as another process leaves room for, with no hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_001_two_processes_append_and_read_at_the_same_time() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let (store, orders) = (open(&server.url()).await, orders.clone());
        tasks.spawn(async move {
            for _ in 0..200 {
                append(&store, &orders, [text("a"), text("b")]).await;
            }
        });
    }
    let mut place = Place::start(epoch);
    while place.offset < 800 {
        let page = page(&store, &orders, place).await;
        for record in &page.records {
            assert_eq!(record.offset, place.offset + 1);
            place = Place::new(epoch, record.offset, record.mark);
        }
    }
    tasks.join_all().await;
}

/// And woken by what other processes append.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_live_reader_is_told_that_redis_was_emptied() {
    let server = RedisServer::start();
    let (here, there) = (topics(&server.url()).await, topics(&server.url()).await);
    let read = here.topic("orders", no_poll()).await.unwrap();
    let written = there.topic("orders", no_poll()).await.unwrap();
    let mut reader = read.reader(Start::Latest, OnLoss::Earliest).await.unwrap();
    for n in 0..20_u64 {
        written.publish(Entry::value(&n)).await.unwrap();
        expect(&mut reader, n).await;
    }
    server.tell("FLUSHALL", &[]);
    written.publish(Entry::value(&20)).await.unwrap();
    assert_eq!(reason(&next(&mut reader).await), ResetReason::UnknownEpoch);
    expect(&mut reader, 20).await;
}

/// While it was cut off, so that nothing has woken it; and Redis has restarted meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_038_a_reader_looks_again_when_it_has_its_redis_back() {
    let mut server = RedisServer::start_durable();
    let proxy = Proxy::start(server.port());
    let here = topics(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let there = topics(&server.url()).await;
    let read = here.topic("orders", no_poll()).await.unwrap();
    let written = there.topic("orders", no_poll()).await.unwrap();
    let mut reader = read.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    written.publish(Entry::value(&1)).await.unwrap();
    expect(&mut reader, 1).await;
    let waiting = Waiting::at(&server, reader);
    proxy.refuse(true);
    proxy.cut();
    written.publish(Entry::value(&2)).await.unwrap();
    server.restart();
    // The first may meet a connection of which nobody has told yet that it is gone.
    let mut stored = Err(TopicError::Busy);
    while stored.is_err() {
        stored = written.publish(Entry::value(&3).dedup("three")).await;
    }
    proxy.refuse(false);
    let (received, mut reader) = waiting.received().await;
    assert_eq!(number(&received), 2);
    expect(&mut reader, 3).await;
    written.publish(Entry::value(&4)).await.unwrap();
    expect(&mut reader, 4).await;
}

/// The other one looks on, and goes on when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_073_one_of_two_processes_sweeps_a_topic() {
    let server = RedisServer::start();
    let start = async |max_records| {
        let topics = topics(&server.url()).await;
        let mut settings = no_poll();
        settings.retention.max_records = Some(max_records);
        let topic = topics.topic("orders", settings).await.unwrap();
        (topics, topic)
    };
    let (first_topics, first) = start(20).await;
    let lease = "updraft:topics:r{updraft/sweeper}=orders";
    let mut direct = server.connection();
    eventually("the first has the lease", || {
        ask(&mut direct, &format!("EXISTS {lease}"))
    });
    let (_second_topics, second) = start(10).await;
    let numbers = (0..100_u64).map(|n| Entry::value(&n));
    first.publish_many(numbers).await.unwrap();
    assert_eq!(held_below(&second, 100).await, 20);
    drop((first_topics, first));
    assert_eq!(held_below(&second, 20).await, 10);
}

/// How many records a topic holds as soon as it holds fewer than this.
async fn held_below(topic: &Topic, count: u64) -> u64 {
    for _ in 0..6000 {
        let bounds = topic.bounds().await.unwrap();
        let held = bounds.last + 1 - bounds.first;
        if held < count {
            return held;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody sweeps");
}
