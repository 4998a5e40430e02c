//! Topics whose keys are gone or not as they were left.

use super::*;

/// The meta, or the stream, or all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_topic_of_which_a_key_is_gone_has_a_new_epoch() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let first = created(&store, &orders).await;
    append(&store, &orders, [text("1"), text("2")]).await;

    let _: u64 = ask(&mut direct, &format!("DEL {META}"));
    let place = Place::new(first.epoch, 2, 7);
    let Read::UnknownEpoch(second) = read(&store, &orders, place).await else {
        panic!("the epoch is the same");
    };
    assert_ne!(second.epoch, first.epoch);
    assert_eq!((second.first, second.last, second.last_mark), (1, 2, 7));
    let batch = append(&store, &orders, [text("3")]).await;
    assert_eq!((batch.epoch, batch.records[0].offset), (second.epoch, 3));
    let held = page(&store, &orders, Place::start(second.epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2"), (3, "3")]);

    let _: u64 = ask(&mut direct, &format!("DEL {LOG}"));
    let batch = append(&store, &orders, [text("4")]).await;
    assert_ne!(batch.epoch, second.epoch);
    assert_eq!(batch.records[0].offset, 4);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(4, "4")]);
    assert_eq!((held.bounds.first, held.bounds.last), (4, 4));

    let _: String = ask(&mut direct, "FLUSHALL");
    let Read::UnknownEpoch(emptied) = read(&store, &orders, held.next).await else {
        panic!("the epoch is the same");
    };
    assert_eq!((emptied.first, emptied.last), (1, 0));
    let listed = store.list("", None, 9).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&orders));
    // Each function finds it.
    let closed = topic("closed");
    created(&store, &closed).await;
    let mut epochs = vec![emptied.epoch];
    for n in 0..5 {
        let _: String = ask(&mut direct, "FLUSHALL");
        match n {
            0 => drop(append(&store, &orders, [text("1")]).await),
            1 => drop(store.trim(&orders, batch.epoch, 9).await.unwrap()),
            2 => {
                let removal = Removal::new(batch.epoch, vec![1], 0);
                store.remove(&orders, removal).await.unwrap();
            }
            3 => drop(Log::open(&store, &orders, Create::Never).await.unwrap()),
            _ => {
                store.end(&closed, End::Close).await.unwrap();
                let bounds = Log::open(&store, &closed, Create::Never).await.unwrap();
                assert!(bounds.closed);
                break;
            }
        }
        // Who has never opened it finds it as well.
        let other = open(&server.url()).await;
        let bounds = Log::open(&other, &orders, Create::Never).await.unwrap();
        assert!(!epochs.contains(&bounds.epoch));
        epochs.push(bounds.epoch);
    }
    // Who has not opened a topic does not create it.
    let _: String = ask(&mut direct, "FLUSHALL");
    let other = open(&server.url()).await;
    let error = Log::open(&other, &orders, Create::Never).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
}

/// By a foreign hand, or because an old copy was put in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_topic_whose_stream_is_another_one_has_a_new_epoch() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let first = created(&store, &orders).await;
    append(&store, &orders, [text("1").dedup("id"), text("2")]).await;
    let _: u64 = ask(&mut direct, &format!("COPY {LOG} copy"));
    append(&store, &orders, [text("lost")]).await;
    let _: String = ask(&mut direct, &format!("RENAME copy {LOG}"));
    let second = match read(&store, &orders, Place::new(first.epoch, 3, 7)).await {
        Read::UnknownEpoch(bounds) => bounds,
        other => panic!("{other:?}"),
    };
    // The number of the lost one is not given again.
    assert_eq!((second.first, second.last), (1, 3));
    let batch = append(&store, &orders, [text("1").dedup("id")]).await;
    assert_eq!((batch.records[0].offset, batch.epoch), (4, second.epoch));
    // What an id stood for may be among what was lost.
    assert!(!batch.records[0].duplicate);

    // Another program's entry: it is damaged, and the numbers go on behind it.
    let _: String = ask(&mut direct, &format!("XADD {LOG} 1700000000000-0 field x"));
    let batch = append(&store, &orders, [text("5")]).await;
    assert_ne!(batch.epoch, second.epoch);
    assert_eq!(batch.records[0].offset, 1_700_000_000_001);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2"), (4, "1")]);
    let behind = store.read(&orders, held.next, Limit::default()).await;
    let error = behind.unwrap_err();
    assert_eq!(error.code(), "damaged-record");
    let behind = Place::unmarked(batch.epoch, 1_700_000_000_000);
    let held = page(&store, &orders, behind).await;
    assert_eq!(payloads(&held.records), [(1_700_000_000_001, "5")]);

    // One behind which nothing fits.
    let highest = u64::MAX;
    let _: String = ask(
        &mut direct,
        &format!("XADD {LOG} {highest}-{highest} field x"),
    );
    let batch = append(&store, &orders, [text("6")]).await;
    assert_eq!(batch.records[0].offset, 1_700_000_000_002);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(1_700_000_000_002, "6")]);
}

/// It is not created again by those that have it open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_026_a_topic_that_another_process_has_deleted_is_unknown() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    let old = created(&one, &orders).await;
    append(&two, &orders, [text("1")]).await;
    created(&two, &orders).await;
    one.end(&orders, End::Delete).await.unwrap();
    for _ in 0..2 {
        let append = Append::new(vec![text("2")]);
        let error = two.append(&orders, append).await.unwrap_err();
        assert_eq!(error.code(), "unknown-topic");
        let error = Log::open(&two, &orders, Create::Never).await.unwrap_err();
        assert_eq!(error.code(), "unknown-topic");
    }
    assert!(two.list("", None, 9).await.unwrap().is_empty());
    let new = created(&two, &orders).await;
    assert_ne!(new.epoch, old.epoch);
    assert_eq!(append(&one, &orders, [text("1")]).await.epoch, new.epoch);
}
