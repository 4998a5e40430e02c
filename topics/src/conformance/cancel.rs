//! Futures that are dropped before they resolve, at each await.

use tokio::task::yield_now;

use super::{Harness, all, fill, offsets, orders, payload, text};
use crate::{Append, Create, End, Limit, Place, Removal, TopicName};

/// Polls a future so often, or until it resolves, and drops it.
pub(super) async fn cut<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let patience = async {
        for _ in 0..polls {
            yield_now().await;
        }
    };
    tokio::select! {
        biased;
        outcome = future => Some(outcome),
        () = patience => None,
    }
}

/// A batch is there as a whole or not at all, once, and an acknowledged one is there.
pub async fn topic_098_an_append_that_is_dropped_is_done_or_not(harness: &impl Harness) {
    let log = harness.open().await.log;
    let (topic, _) = orders(&*log).await;
    let mut told = Vec::new();
    for n in 0..100_usize {
        let records = ["a", "b", "c"].map(|part| text(format!("{n} {part}")));
        let append = Append::new(records.into());
        if let Some(Ok(batch)) = cut(log.append(&topic, append), n % 20).await {
            told.push((n, batch.records[0].offset));
        }
    }
    // Appends that were dropped may still be under way; one more is behind them all.
    fill(&*log, &topic, 1).await;
    let records = all(&*log, &topic).await;
    let count = u64::try_from(records.len()).unwrap();
    assert!(offsets(&records).into_iter().eq(1..=count));
    for n in 0..100 {
        let n = n.to_string();
        let parts = records.iter().filter_map(|record| {
            let (batch, part) = payload(record).split_once(' ')?;
            (batch == n).then_some((part, record.offset))
        });
        let parts: Vec<_> = parts.collect();
        let names: Vec<_> = parts.iter().map(|(part, _)| *part).collect();
        let is_whole = names == ["a", "b", "c"];
        let is_prefix = ["a", "b", "c"].starts_with(&names);
        let atomic = log.features().atomic_batch;
        assert!(
            is_whole || names.is_empty() || !atomic && is_prefix,
            "{names:?}"
        );
        if let Some((_, offset)) = told.iter().find(|(told, _)| told.to_string() == n) {
            assert!(is_whole && parts[0].1 == *offset);
        }
    }
}

/// The store works on, and what is read is right.
pub async fn topic_098_other_calls_may_be_dropped(harness: &impl Harness) {
    let store = harness.open().await;
    let log = &store.log;
    let (topic, bounds) = orders(&**log).await;
    let epoch = bounds.epoch;
    fill(&**log, &topic, 100).await;
    let gone = TopicName::new("gone").unwrap();
    for n in 0..40_u64 {
        let polls = usize::try_from(n % 20).unwrap();
        cut(
            log.read(&topic, Place::unmarked(epoch, n), Limit::default()),
            polls,
        )
        .await;
        cut(log.open(&gone, Create::IfMissing), polls).await;
        cut(log.trim(&topic, epoch, n), polls).await;
        if log.features().remove {
            let removal = Removal::new(epoch, vec![n + 50], n);
            cut(log.remove(&topic, removal), polls).await;
        }
        cut(log.list("", None, 10), polls).await;
        cut(log.end(&gone, End::Delete), polls).await;
    }
    fill(&**log, &topic, 1).await;
    let bounds = log.open(&topic, Create::Never).await.unwrap();
    assert_eq!((bounds.epoch, bounds.last), (epoch, 101));
    assert!(bounds.first <= 40 && bounds.horizon <= 39);
    let held = offsets(&all(&**log, &topic).await);
    let kept = |offset: u64| offset >= 40 && !(log.features().remove && (50..90).contains(&offset));
    let must = (1..=101).filter(|offset| kept(*offset));
    assert!(must.into_iter().all(|offset| held.contains(&offset)));
    assert!(held.iter().all(|offset| *offset >= bounds.first));
}
