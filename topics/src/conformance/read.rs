//! Pages, and the places from which they are read.

use bytes::Bytes;

use super::{Harness, all, append, fill, offsets, orders, page, text};
use crate::{Content, Limit, NewRecord, Place, Read};

/// Of records, and of bytes; one record always comes.
pub async fn topic_019_a_page_keeps_to_its_limits(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    let lengths = [10, 10, 10, 1000, 10];
    append(&*log, &topic, lengths.map(|n| text("x".repeat(n))))
        .await
        .unwrap();
    for (limit, expected) in [
        (Limit::new(2, 10_000), vec![vec![1, 2], vec![3, 4], vec![5]]),
        (
            Limit::new(9, 25),
            vec![vec![1, 2], vec![3], vec![4], vec![5]],
        ),
        (Limit::new(9, 10_000), vec![vec![1, 2, 3, 4, 5]]),
        (
            Limit::new(0, 0),
            vec![vec![1], vec![2], vec![3], vec![4], vec![5]],
        ),
    ] {
        let mut place = Place::start(bounds.epoch);
        for expected in expected {
            let page = page(&*log, &topic, place, limit).await;
            assert_eq!(offsets(&page.records), expected, "{limit:?}");
            assert_eq!(page.next.offset, expected[expected.len() - 1]);
            place = page.next;
        }
        assert!(page(&*log, &topic, place, limit).await.records.is_empty());
    }
}

/// Byte for byte, tombstones and empty parts too.
pub async fn topic_021_022_contents_come_back(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, _) = orders(&*log).await;
    let names = [
        "payload",
        "key",
        "o",
        "d",
        "_id",
        "mark",
        "time",
        "",
        "ä\0\"'{}",
    ];
    let meta = names.map(|name| (name.to_owned(), format!("{name} text")));
    let contents = [
        Content::new(""),
        Content::new("\u{1f600} \u{0} \"'\\"),
        Content::new((0..=255).collect::<Vec<u8>>()),
        Content::new(vec![0xff; 1 << 20]),
        Content {
            compact: Some("only an id".into()),
            ..Content::default()
        },
        Content {
            key: Some("".into()),
            compact: Some("".into()),
            meta: meta.into(),
            content_type: Some("application/x".into()),
            payload: Some(Bytes::from_static(b"payload")),
        },
    ];
    let mark = |n: usize| u32::MAX - u32::try_from(n).unwrap();
    let records = contents.iter().cloned().enumerate();
    let records = records.map(|(n, content)| NewRecord::new(mark(n), content));
    append(&*log, &topic, records).await.unwrap();
    let read = all(&*log, &topic).await;
    assert_eq!(read.len(), contents.len());
    for (n, (record, content)) in read.iter().zip(&contents).enumerate() {
        assert_eq!(record.content, *content);
        assert_eq!(record.mark, mark(n));
    }
}

/// However often it is read.
pub async fn topic_024_the_end_has_nothing_behind_it(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    let start = Place::start(bounds.epoch);
    assert_eq!(
        page(&*log, &topic, start, Limit::default()).await.next,
        start
    );
    let batch = append(&*log, &topic, [text("a"), text("b")]).await.unwrap();
    let last = batch.records[1];
    let end = Place::new(batch.epoch, last.offset, last.mark);
    for _ in 0..3 {
        let page = page(&*log, &topic, end, Limit::default()).await;
        assert_eq!(
            (page.records.len(), page.next, page.bounds.end()),
            (0, end, end)
        );
    }
}

/// Another epoch, an offset that was not given yet, another mark. Offset 0 has mark 0.
pub async fn topic_026_027_028_places_that_are_not_of_this_topic(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    fill(&*log, &topic, 3).await;
    let epoch = bounds.epoch;
    let other = crate::Epoch::from_u64(epoch.to_u64() ^ 1);
    let read = async |place| log.read(&topic, place, Limit::default()).await.unwrap();
    let held = match read(Place::new(other, 1, 7)).await {
        Read::UnknownEpoch(bounds) => bounds,
        read => panic!("{read:?}"),
    };
    assert_eq!(
        (held.epoch, held.first, held.last, held.last_mark),
        (epoch, 1, 3, 7)
    );
    // The epoch is compared first, then the offset.
    assert_eq!(
        read(Place::new(other, 9, 8)).await,
        Read::UnknownEpoch(held)
    );
    assert_eq!(read(Place::new(epoch, 4, 7)).await, Read::Ahead(held));
    for offset in 1..=3 {
        assert_eq!(
            read(Place::new(epoch, offset, 8)).await,
            Read::Diverged(held)
        );
        assert!(matches!(
            read(Place::new(epoch, offset, 7)).await,
            Read::Page(_)
        ));
    }
    // The mark of the last record is known when the record is gone.
    log.trim(&topic, epoch, 3).await.unwrap();
    assert!(matches!(
        read(Place::new(epoch, 3, 8)).await,
        Read::Diverged(_)
    ));
    assert!(matches!(read(Place::new(epoch, 3, 7)).await, Read::Page(_)));
    // Those of others are not.
    assert!(matches!(read(Place::new(epoch, 2, 8)).await, Read::Page(_)));
}

/// It may be that of a record that is gone, or 0.
pub async fn an_offset_without_a_mark_is_not_compared(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, bounds) = orders(&*log).await;
    fill(&*log, &topic, 3).await;
    for offset in 0..=3 {
        let place = Place::unmarked(bounds.epoch, offset);
        let page = page(&*log, &topic, place, Limit::default()).await;
        assert!(offsets(&page.records).into_iter().eq(offset + 1..=3));
    }
}
