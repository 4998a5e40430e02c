//! What members answer.

use super::*;
use crate::{Token, TopicError};

fn is_stale(answered: &Result<(), TopicError>) -> bool {
    matches!(answered, Err(TopicError::Stale))
}

/// And only if they are given by who has the record.
pub async fn topic_051_052_054_071_answers_count_once_and_in_order(harness: &impl Harness) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let group = topics.group("billing", settings(&orders)).await.unwrap();
    publish(&orders, 1, 3).await;
    let mut member = group.member("w1");
    let held = gather(&mut member, 3).await;
    assert_eq!(offsets(&held), [1, 2, 3]);
    for later in &held[1..] {
        assert_eq!(later.ack().await.unwrap_err().code(), "out-of-order");
    }
    held[0].ack().await.unwrap();
    held[0].ack().await.unwrap();
    let token = held[0].token().to_string();
    let mut parts: Vec<_> = token.split('.').collect();
    parts[3] = "99";
    let unknown: Token = parts.join(".").parse().unwrap();
    assert!(is_stale(&group.ack(&unknown).await));
    assert!(is_stale(&group.nack(&unknown, None).await));

    // What is behind it comes back with it.
    let delay = Duration::from_millis(300);
    let nacked = Instant::now();
    held[1].nack(Some(delay)).await.unwrap();
    assert!(is_stale(&held[2].ack().await));
    let again = gather(&mut member, 2).await;
    assert!(nacked.elapsed() >= delay);
    let counts = |deliveries: &[Delivery]| -> Vec<_> {
        let deliveries = deliveries.iter();
        let counts = deliveries.map(|it| (it.message().offset(), it.deliveries()));
        counts.collect()
    };
    assert_eq!(counts(&again), [(2, 2), (3, 1)]);
    again[0].nack(None).await.unwrap();
    assert_eq!(counts(&gather(&mut member, 2).await), [(2, 3), (3, 1)]);

    // Who leaves has not had them.
    member.leave().await.unwrap();
    let mut other = group.member("w2");
    let last = gather(&mut other, 2).await;
    assert_eq!(counts(&last), [(2, 3), (3, 1)]);
    ack_all(&last).await;
    let stats = group.stats().await.unwrap();
    assert!(is_finished(&stats), "{stats:?}");
}
