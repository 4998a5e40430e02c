//! Trims, removals, deletion, lists of topics, and kills.

use tokio::task::JoinSet;

use super::{Harness, all, append, fill, offsets, orders, page, payload, payloads, text};
use crate::{Create, End, Epoch, Limit, Place, Read, Removal, TopicName};

/// All of it too, and never back.
pub async fn topic_025_a_trim_raises_the_first_offset(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    fill(&*log, &topic, 10).await;
    let epoch = bounds.epoch;
    for (up_to, first) in [(0, 1), (4, 5), (2, 5), (4, 5)] {
        let bounds = log.trim(&topic, epoch, up_to).await.unwrap();
        assert_eq!((bounds.first, bounds.last), (first, 10));
    }
    // Another epoch is another topic.
    let other = Epoch::from_u64(epoch.to_u64() ^ 1);
    assert_eq!(log.trim(&topic, other, 9).await.unwrap().first, 5);
    let place = Place::unmarked(epoch, 1);
    let page = page(&*log, &topic, place, Limit::default()).await;
    assert_eq!(offsets(&page.records), [5, 6, 7, 8, 9, 10]);
    assert_eq!(page.bounds.first, 5);
    let bounds = log.trim(&topic, epoch, u64::MAX).await.unwrap();
    assert_eq!((bounds.first, bounds.last), (11, 10));
    assert!(all(&*log, &topic).await.is_empty());
    // Numbers go on.
    fill(&*log, &topic, 1).await;
    assert_eq!(offsets(&all(&*log, &topic).await), [11]);
}

/// And nothing of the old one.
pub async fn topic_026_a_topic_that_is_created_again_has_another_epoch(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, old) = orders(&*log).await;
    append(&*log, &topic, [text("a").dedup("id")])
        .await
        .unwrap();
    log.end(&topic, End::Close).await.unwrap();
    for _ in 0..2 {
        log.end(&topic, End::Delete).await.unwrap();
        let error = log.open(&topic, Create::Never).await.unwrap_err();
        assert_eq!(error.code(), "unknown-topic");
    }
    let (_, new) = orders(&*log).await;
    assert_ne!(new.epoch, old.epoch);
    assert_eq!(
        (new.first, new.last, new.last_mark, new.closed),
        (1, 0, 0, false)
    );
    let batch = append(&*log, &topic, [text("b").dedup("id")])
        .await
        .unwrap();
    assert_eq!(batch.epoch, new.epoch);
    assert_eq!(
        (batch.records[0].offset, batch.records[0].duplicate),
        (1, false)
    );
    let read = log.read(&topic, Place::new(old.epoch, 1, 7), Limit::default());
    assert!(matches!(read.await.unwrap(), Read::UnknownEpoch(_)));
    assert_eq!(payloads(&all(&*log, &topic).await), ["b"]);
}

/// Without `first` moving, the last one too.
pub async fn topic_031_single_records_are_removed(harness: &impl Harness) {
    let log = harness.open().await.log;
    if !log.features().remove {
        return;
    }
    let (topic, bounds) = orders(&*log).await;
    let epoch = bounds.epoch;
    fill(&*log, &topic, 6).await;
    let other = Epoch::from_u64(epoch.to_u64() ^ 1);
    log.remove(&topic, Removal::new(other, vec![3], 9))
        .await
        .unwrap();
    let offsets_to_remove = vec![1, 2, 4, 6, 4, 99];
    log.remove(&topic, Removal::new(epoch, offsets_to_remove, 2))
        .await
        .unwrap();
    log.remove(&topic, Removal::new(epoch, vec![], 1))
        .await
        .unwrap();
    let page = page(&*log, &topic, Place::start(epoch), Limit::default()).await;
    assert_eq!(offsets(&page.records), [3, 5]);
    assert_eq!(page.next, Place::new(epoch, 6, 7));
    let held = page.bounds;
    assert_eq!(
        (held.first, held.last, held.last_mark, held.horizon),
        (1, 6, 7, 2)
    );
    // The number of the last record is not given again.
    fill(&*log, &topic, 1).await;
    assert_eq!(offsets(&all(&*log, &topic).await), [3, 5, 7]);
}

/// Whatever comes in between.
pub async fn topic_084_a_reader_sees_records_or_the_trim(harness: &impl Harness) {
    let store = harness.open().await;
    let (topic, bounds) = orders(&*store.log).await;
    let epoch = bounds.epoch;
    fill(&*store.log, &topic, 500).await;
    let mut trims = JoinSet::new();
    let (log, name) = (store.log.clone(), topic.clone());
    trims.spawn(async move {
        for up_to in (0..=400).step_by(10) {
            log.trim(&name, epoch, up_to).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut place = Place::start(epoch);
    while place.offset < 500 {
        let page = page(&*store.log, &topic, place, Limit::new(7, 10_000)).await;
        for record in &page.records {
            let next = (place.offset + 1).max(page.bounds.first);
            assert_eq!(record.offset, next, "a hole that no trim explains");
            place = Place::new(epoch, record.offset, record.mark);
        }
    }
    trims.join_all().await;
}

/// Nor one another, nor what the store keeps for itself.
pub async fn topic_112_hostile_names_do_not_touch_other_topics(harness: &impl Harness) {
    let log = harness.open().await.log;
    let longest = "x".repeat(255);
    let long = "x".repeat(254);
    let names = [
        "a",
        "A",
        "a/b",
        "../a",
        "/etc/passwd",
        ".",
        "..",
        "{a}",
        "a}b{c",
        "a:meta",
        "a\\",
        "a*",
        "a?[b]",
        "%61",
        "a b",
        "ä",
        "a\u{308}",
        "topics",
        "nextids",
        "'; --",
        "$where",
        "a\u{feff}",
        &long,
        &longest,
    ];
    let topic = |name: &str| TopicName::new(name).unwrap();
    for name in names {
        log.open(&topic(name), Create::IfMissing).await.unwrap();
    }
    for name in names {
        append(&*log, &topic(name), [text(name)]).await.unwrap();
    }
    log.end(&topic("a"), End::Delete).await.unwrap();
    for name in names.into_iter().filter(|name| *name != "a") {
        let records = all(&*log, &topic(name)).await;
        assert_eq!(payloads(&records), [name]);
    }
}

/// In the order of their bytes, and in pages.
pub async fn topics_are_listed_by_name(harness: &impl Harness) {
    let log = harness.open().await.log;
    let names = ["a", "b", "b*", "b.1", "b.10", "b.2", "bb", "c"];
    for name in names {
        let topic = TopicName::new(name).unwrap();
        log.open(&topic, Create::IfMissing).await.unwrap();
    }
    let list = async |prefix: &str, after: Option<&str>, limit| {
        let after = after.map(|name| TopicName::new(name).unwrap());
        let names = log.list(prefix, after.as_ref(), limit).await.unwrap();
        names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("", None, 100).await, names);
    assert_eq!(list("b.", None, 100).await, ["b.1", "b.10", "b.2"]);
    assert_eq!(list("b*", None, 100).await, ["b*"]);
    assert_eq!(list("", Some("b.1"), 2).await, ["b.10", "b.2"]);
    assert_eq!(list("b", Some("a"), 2).await, ["b", "b*"]);
    assert_eq!(list("b", Some("bb"), 2).await, Vec::<String>::new());
    assert_eq!(list("x", None, 2).await, Vec::<String>::new());
    log.end(&TopicName::new("b").unwrap(), End::Delete)
        .await
        .unwrap();
    assert_eq!(list("b", None, 2).await, ["b*", "b.1"]);
}

/// Also what the topic is: its epoch, its end, and what was trimmed and removed.
pub async fn topic_086_a_killed_process_loses_nothing_acknowledged(harness: &impl Harness) {
    let store = harness.open().await;
    let features = store.log.features();
    if !features.durable {
        return;
    }
    let (topic, _) = orders(&*store.log).await;
    let closed = TopicName::new("closed").unwrap();
    store.log.open(&closed, Create::IfMissing).await.unwrap();
    fill(&*store.log, &closed, 9).await;
    store.log.end(&closed, End::Close).await.unwrap();
    let epoch = store.log.open(&closed, Create::Never).await.unwrap().epoch;
    store.log.trim(&closed, epoch, 3).await.unwrap();
    if features.remove {
        let removal = Removal::new(epoch, vec![5, 9], 5);
        store.log.remove(&closed, removal).await.unwrap();
    }
    let before = store.log.open(&closed, Create::Never).await.unwrap();
    let held = all(&*store.log, &closed).await;
    drop(store);

    let mut acknowledged = 0;
    for round in 0..3 {
        let store = harness.open().await;
        let mut producers = JoinSet::new();
        for _ in 0..4 {
            let (log, topic) = (store.log.clone(), topic.clone());
            producers.spawn(async move {
                let mut last = 0;
                for n in 0..25 {
                    let records = [text(format!("{round} {n}")), text("second")];
                    match append(&*log, &topic, records).await {
                        Ok(batch) => last = batch.records[1].offset,
                        Err(_) => break,
                    }
                }
                last
            });
        }
        while let Some(last) = producers.join_next().await {
            acknowledged = last.unwrap().max(acknowledged);
        }
        drop(store);
        harness.kill().await;
        let store = harness.open().await;
        let records = all(&*store.log, &topic).await;
        let last = u64::try_from(records.len()).unwrap();
        assert!(offsets(&records).into_iter().eq(1..=last));
        assert!(
            last >= acknowledged,
            "{last} of {acknowledged} in round {round}"
        );
        assert!(records.iter().all(|record| !payload(record).is_empty()));
        assert_eq!(
            store.log.open(&closed, Create::Never).await.unwrap(),
            before
        );
        assert_eq!(all(&*store.log, &closed).await, held);
        drop(store);
        harness.kill().await;
    }
}
