//! Offsets, ids for deduplication, expectations, and the end of a topic.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Harness, all, append, fill, offsets, orders, page, payload, second, text};
use crate::{Append, Create, End, Limit, NewRecord, Place, TopicName};

/// A thousand records of eight producers, while a reader looks.
pub async fn topic_001_002_offsets_have_no_holes_and_are_seen_in_order(harness: &impl Harness) {
    let store = harness.open().await;
    let (topic, bounds) = orders(&*store.log).await;
    let mut producers = JoinSet::new();
    for producer in 0..8 {
        let log = second(harness, &store).await.log;
        let topic = topic.clone();
        producers.spawn(async move {
            for n in 0..125 {
                let record = text(format!("{producer} {n}"));
                append(&*log, &topic, [record]).await.unwrap();
            }
        });
    }
    let mut place = Place::start(bounds.epoch);
    let mut seen = Vec::new();
    while seen.len() < 1000 {
        let page = page(&*store.log, &topic, place, Limit::default()).await;
        place = page.next;
        seen.extend(page.records);
        assert!(
            offsets(&seen)
                .into_iter()
                .eq(1..=u64::try_from(seen.len()).unwrap())
        );
    }
    producers.join_all().await;
    for producer in 0..8 {
        let producer = format!("{producer} ");
        let own = seen
            .iter()
            .map(payload)
            .filter_map(|text| text.strip_prefix(&producer));
        assert!(own.eq((0..125).map(|n| n.to_string())));
    }
}

/// Batches of a hundred from four producers at the same time.
pub async fn topic_003_batches_are_not_mixed(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().atomic_batch {
        return;
    }
    let (topic, _) = orders(&*store.log).await;
    let mut producers = JoinSet::new();
    for producer in 0..4 {
        let log = second(harness, &store).await.log;
        let topic = topic.clone();
        producers.spawn(async move {
            for _ in 0..5 {
                let records = (0..100).map(|_| text(producer.to_string()));
                let batch = append(&*log, &topic, records).await.unwrap();
                let first = batch.records[0].offset;
                let offsets = batch.records.iter().map(|record| record.offset);
                assert!(offsets.eq(first..first + 100));
            }
        });
    }
    producers.join_all().await;
    let records = all(&*store.log, &topic).await;
    assert_eq!(records.len(), 2000);
    for batch in records.chunks(100) {
        assert!(
            batch
                .iter()
                .all(|record| payload(record) == payload(&batch[0]))
        );
    }
}

/// One after the other, in one batch, and fifty at the same time.
pub async fn topic_005_an_id_is_stored_once(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().dedup {
        return;
    }
    let (topic, _) = orders(&*store.log).await;
    let one = NewRecord {
        mark: 1,
        ..text("a")
    }
    .dedup("id");
    let two = NewRecord {
        mark: 2,
        ..text("b")
    }
    .dedup("id");
    let first = append(&*store.log, &topic, [one]).await.unwrap().records[0];
    let batch = append(
        &*store.log,
        &topic,
        [two, text("c"), text("d").dedup("e"), text("f").dedup("e")],
    )
    .await
    .unwrap();
    let [again, other, fresh, repeated] = batch.records[..] else {
        panic!("{batch:?}");
    };
    assert!(!first.duplicate && again.duplicate && !other.duplicate);
    assert_eq!(
        (again.offset, again.mark, again.time),
        (first.offset, 1, first.time)
    );
    assert_eq!((fresh.offset, fresh.duplicate), (3, false));
    assert_eq!((repeated.offset, repeated.duplicate), (3, true));

    let mut calls = JoinSet::new();
    for n in 0..50 {
        let log = if n % 2 == 0 {
            store.log.clone()
        } else {
            second(harness, &store).await.log
        };
        let topic = topic.clone();
        calls.spawn(async move {
            append(&*log, &topic, [text("g").dedup("many")])
                .await
                .unwrap()
                .records[0]
        });
    }
    let calls = calls.join_all().await;
    assert_eq!(calls.iter().filter(|call| !call.duplicate).count(), 1);
    assert!(calls.iter().all(|call| call.offset == 4));
    assert_eq!(all(&*store.log, &topic).await.len(), 4);
}

/// Not longer than its window, and over a restart too.
pub async fn topic_006_an_id_counts_for_its_time(harness: &impl Harness) {
    let store = harness.open().await;
    let features = store.log.features();
    if !features.dedup {
        return;
    }
    let (topic, _) = orders(&*store.log).await;
    append(&*store.log, &topic, [text("a").dedup("long")])
        .await
        .unwrap();
    let mut log = store.log;
    if features.durable {
        drop((log, store.registers));
        harness.kill().await;
        log = harness.open().await.log;
    }
    let again = append(&*log, &topic, [text("a").dedup("long")])
        .await
        .unwrap();
    assert!(again.records[0].duplicate);
    let short = || Append::new(vec![text("b").dedup("short")]);
    log.append(&topic, short()).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    let later = short().dedup_window(Duration::from_millis(10));
    let later = log.append(&topic, later).await.unwrap();
    assert!(!later.records[0].duplicate);
    // It counts again from now on.
    let again = log.append(&topic, short()).await.unwrap();
    assert!(again.records[0].duplicate);
    assert_eq!(again.records[0].offset, later.records[0].offset);
}

/// One of them wins, each time.
pub async fn topic_008_two_that_expect_the_same_offset_race(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().expect {
        return;
    }
    let (topic, _) = orders(&*store.log).await;
    let other = second(harness, &store).await;
    for last in 0..50 {
        let append = || Append::new(vec![text("a")]).expect(last);
        let (one, two) = tokio::join!(
            store.log.append(&topic, append()),
            other.log.append(&topic, append())
        );
        let lost = match (one, two) {
            (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
            both => panic!("{both:?}"),
        };
        assert_eq!(lost.code(), "conflict");
        assert!(lost.to_string().contains(&(last + 1).to_string()), "{lost}");
    }
    assert_eq!(all(&*store.log, &topic).await.len(), 50);
}

/// By `open` only.
pub async fn topic_010_a_topic_is_created_or_is_unknown(harness: &impl Harness) {
    let log = harness.open().await.log;
    let topic = TopicName::new("unknown").unwrap();
    let error = log.open(&topic, Create::Never).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    let error = append(&*log, &topic, [text("a")]).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    let created = log.open(&topic, Create::IfMissing).await.unwrap();
    assert_eq!((created.first, created.last, created.last_mark), (1, 0, 0));
    assert!(!created.closed);
    for create in [Create::IfMissing, Create::Never] {
        assert_eq!(log.open(&topic, create).await.unwrap(), created);
    }
}

/// Closing it again is fine.
pub async fn topic_012_a_closed_topic_is_read_only(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, _) = orders(&*log).await;
    fill(&*log, &topic, 3).await;
    for _ in 0..2 {
        log.end(&topic, End::Close).await.unwrap();
        let error = append(&*log, &topic, [text("4")]).await.unwrap_err();
        assert_eq!(error.code(), "topic-closed");
    }
    assert_eq!(offsets(&all(&*log, &topic).await), [1, 2, 3]);
    let bounds = log.open(&topic, Create::IfMissing).await.unwrap();
    assert!(bounds.closed);
    assert_eq!(bounds.last, 3);
    let unknown = TopicName::new("unknown").unwrap();
    let error = log.end(&unknown, End::Close).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
}

/// From record to record, and records have the time that their producers were told.
pub async fn topic_014_times_never_decrease(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    let mut told = Vec::new();
    for _ in 0..20 {
        let batch = append(&*log, &topic, [text("a"), text("b")]).await.unwrap();
        assert_eq!(batch.epoch, bounds.epoch);
        told.extend(
            batch
                .records
                .iter()
                .map(|record| (record.offset, record.time)),
        );
    }
    assert!(told.is_sorted_by_key(|(_, time)| *time));
    let read = all(&*log, &topic).await;
    let read = read.iter().map(|record| (record.offset, record.time));
    assert!(read.eq(told));
}

/// In this order, and a batch of which a part is known stores the rest.
pub async fn appends_are_checked_for_duplicates_then_for_the_end_then_for_the_offset(
    harness: &impl Harness,
) {
    let log = harness.open().await.log;
    let features = log.features();
    let (topic, _) = orders(&*log).await;
    if !features.dedup || !features.expect {
        return;
    }
    let known = || text("a").dedup("id");
    append(&*log, &topic, [known()]).await.unwrap();
    // All are known: the offset does not matter.
    let batch = log
        .append(&topic, Append::new(vec![known()]).expect(9))
        .await;
    assert!(batch.unwrap().records[0].duplicate);
    // Some are not.
    let mixed = || vec![known(), text("b")];
    let error = log.append(&topic, Append::new(mixed()).expect(9)).await;
    assert_eq!(error.unwrap_err().code(), "conflict");
    let batch = log
        .append(&topic, Append::new(mixed()).expect(1))
        .await
        .unwrap();
    assert_eq!((batch.records[0].offset, batch.records[1].offset), (1, 2));
    log.end(&topic, End::Close).await.unwrap();
    let batch = log
        .append(&topic, Append::new(vec![known()]).expect(9))
        .await;
    assert!(batch.unwrap().records[0].duplicate);
    let error = log.append(&topic, Append::new(mixed()).expect(9)).await;
    assert_eq!(error.unwrap_err().code(), "topic-closed");
    let offsets: BTreeSet<_> = offsets(&all(&*log, &topic).await).into_iter().collect();
    assert_eq!(offsets, [1, 2].into());
}
