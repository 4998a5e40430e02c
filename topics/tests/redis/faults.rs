//! A Redis that is away, full, or makes room by itself; damaged records, and its clock.

use super::*;

/// Or refused, if that is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_091_a_redis_that_makes_room_is_warned_of() {
    let server = RedisServer::start();
    assert_eq!(open(&server.url()).await.eviction(), None);
    server.tell("CONFIG", &["SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(open(&server.url()).await.eviction(), Some("allkeys-lru"));
    let mut settings = settings();
    settings.refuse_eviction = true;
    let error = RedisStore::open(&server.url(), settings).await.unwrap_err();
    assert_eq!(error.code(), "not-opened");
    let expected = format!(
        "the store 127.0.0.1:{} cannot be opened: its maxmemory-policy is allkeys-lru; set it to \
         noeviction",
        server.port()
    );
    assert_eq!(error.to_string(), expected);
}

/// All scripts are loaded at once, and what is wrong is not said for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_013_a_redis_that_takes_no_scripts_is_said_once() {
    let server = RedisServer::start();
    server.tell("ACL", &["SETUSER", "default", "-script"]);
    let opened = RedisStore::open(&server.url(), settings()).await;
    let told = opened.unwrap_err().to_string();
    assert_eq!(told.matches("permission").count(), 1, "{told}");
}

/// Reading and trimming go on, and so does everything when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_088_a_full_redis_stores_nothing_and_says_so() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2")]).await;
    server.tell("CONFIG", &["SET", "maxmemory", "1"]);
    let append_one = Append::new(vec![text("3")]);
    let error = store.append(&orders, append_one).await.unwrap_err();
    assert_eq!(error.code(), "store-full");
    // Leases are registers: without them nobody would make room.
    let key = RegisterKey::new("space", "a").unwrap();
    let swap = Swap::write(key, None, "x").unwrap();
    let swapped = store.swap(vec![swap]).await.unwrap();
    assert!(matches!(swapped[..], [Swapped::Written(_)]), "{swapped:?}");
    assert_eq!(
        page(&store, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        2
    );
    assert_eq!(store.trim(&orders, epoch, 1).await.unwrap().first, 2);
    // Who comes now can do the same: how else would there be room?
    let late = open(&server.url()).await;
    for create in [Create::Never, Create::IfMissing] {
        let bounds = Log::open(&late, &orders, create).await.unwrap();
        assert_eq!((bounds.epoch, bounds.first, bounds.last), (epoch, 2, 2));
    }
    let missing = Log::open(&late, &topic("missing"), Create::IfMissing).await;
    assert_eq!(missing.unwrap_err().code(), "store-full");
    // The statistics of a group ask for its dead letters, of which there need not be any.
    let missing = Log::open(&late, &topic("missing"), Create::Never).await;
    assert_eq!(missing.unwrap_err().code(), "unknown-topic");
    server.tell("CONFIG", &["SET", "maxmemory", "0"]);
    assert_eq!(
        append(&store, &orders, [text("3")]).await.records[0].offset,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_088_retention_makes_room_in_a_full_redis() {
    let server = RedisServer::start();
    let store = open(&server.url()).await;
    let orders = topic("orders");
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    server.tell("CONFIG", &["SET", "maxmemory", "1"]);
    let topics = topics(&server.url()).await;
    let mut settings = Settings::default();
    settings.retention.max_records = Some(1);
    let _topic = topics.topic("orders", settings).await.unwrap();
    let first = async || {
        page(&store, &orders, Place::start(epoch))
            .await
            .bounds
            .first
    };
    for _ in 0..6000 {
        if first().await == 3 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody makes room");
}

/// Of which the last snapshot has failed. What changes anything is refused, a trim too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_088_a_redis_without_a_disk_stores_nothing_and_says_so() {
    let server = RedisServer::start_durable();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2")]).await;
    std::fs::remove_dir_all(server.folder().unwrap()).unwrap();
    server.tell("CONFIG", &["SET", "save", "3600 1"]);
    server.tell("BGSAVE", &[]);
    let mut direct = server.connection();
    eventually("the snapshot has failed", || {
        let info: String = ask(&mut direct, "INFO persistence");
        info.contains("rdb_last_bgsave_status:err")
    });
    let error = store.append(&orders, Append::new(vec![text("3")])).await;
    assert_eq!(error.unwrap_err().code(), "store-full");
    let error = store.trim(&orders, epoch, 1).await.unwrap_err();
    assert_eq!(error.code(), "store-full");
    let held = page(&store, &orders, Place::start(epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2")]);
    server.tell("CONFIG", &["SET", "save", ""]);
    let batch = append(&store, &orders, [text("3")]).await;
    assert_eq!(batch.records[0].offset, 3);
}

/// Gone, and stopped in its tracks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_013_a_redis_that_is_away_is_an_error_within_the_deadline() {
    let mut server = RedisServer::start();
    let orders = topic("orders");
    let mut settings = settings();
    settings.deadline = Duration::from_millis(500);
    let patient = open(&server.url()).await;
    let store = loop {
        // On a slow machine it may take longer.
        if let Ok(store) = RedisStore::open(&server.url(), settings.clone()).await {
            break store;
        }
    };
    created(&patient, &orders).await;
    server.process().signal("STOP");
    let record = || Append::new(vec![text("1").dedup("id")]);
    let error = store.append(&orders, record()).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    server.process().signal("CONT");
    // The first may have been stored, and with its id it is stored once.
    let batch = patient.append(&orders, record()).await.unwrap();
    let epoch = batch.epoch;
    let again = patient.append(&orders, record()).await.unwrap();
    assert!(again.records[0].duplicate);
    assert_eq!(
        page(&patient, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        1
    );
    server.kill();
    for _ in 0..2 {
        let error = store.append(&orders, record()).await.unwrap_err();
        assert_eq!(error.code(), "backend-unavailable");
    }
    let error = store.list("", None, 1).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    let error = RedisStore::open(&server.url(), settings).await.unwrap_err();
    assert_eq!(error.code(), "not-opened");
    let address = format!("the store 127.0.0.1:{} cannot be opened: ", server.port());
    assert!(error.to_string().starts_with(&address), "{error}");
    server.restart();
    // It has forgotten everything. The first may meet a connection of which nobody has told yet
    // that it is gone.
    let batch = loop {
        if let Ok(batch) = patient.append(&orders, record()).await {
            break batch;
        }
    };
    assert_ne!(batch.epoch, epoch);
    assert_eq!(batch.records[0].offset, 1);
}

/// Its neighbours are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_087_a_damaged_record_is_an_error_with_its_offset() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    let entries: Vec<(String, Vec<Vec<u8>>)> = ask(&mut direct, &format!("XRANGE {LOG} - +"));
    let _: u64 = ask(&mut direct, &format!("DEL {LOG}"));
    for (id, mut fields) in entries {
        if id.starts_with("2-") {
            *fields[3].last_mut().unwrap() ^= 1;
        }
        let mut add = redis::cmd("XADD");
        add.arg(LOG).arg(id).arg(fields).exec(&mut direct).unwrap();
    }
    let held = page(&store, &orders, Place::start(epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1")]);
    let behind = store.read(&orders, held.next, Limit::default()).await;
    let error = behind.unwrap_err();
    assert_eq!(error.code(), "damaged-record");
    assert!(error.to_string().contains("record 2 "), "{error}");
    let held = page(&store, &orders, Place::unmarked(epoch, 2)).await;
    assert_eq!(payloads(&held.records), [(3, "3")]);
}

/// The time of the last record counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_097_a_clock_that_is_set_back_does_not_set_back_times() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    created(&store, &orders).await;
    let later = 4_000_000_000_000;
    server.tell("HSET", &[META, "time", &later.to_string()]);
    for _ in 0..2 {
        let batch = append(&store, &orders, [text("1").dedup("id")]).await;
        assert_eq!(batch.records[0].time, later);
    }
}
