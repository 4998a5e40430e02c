//! Processes that stop at the wrong moment.

use super::*;

/// The record is neither lost nor finished without its letter.
pub async fn topic_056_a_crash_between_the_letter_and_the_slot_loses_nothing(
    harness: &impl Harness,
) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let once = |it: GroupSettings| it.max_deliveries(1).ack_wait(PATIENCE * 10);
    let one = Process::start(&store, &channels, once).await;
    let two = Process::start(&other, &channels, once).await;
    publish(&one.orders, 1, 1).await;
    let mut member = one.group.member("one");
    let poison = gather(&mut member, 1).await;
    one.way.is_cut.store(true, Ordering::SeqCst);
    // The letter is written, and nothing else is.
    let letters = async {
        while two.group.dead_letters().count().await.unwrap() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answered = poison[0].nack(None) => panic!("nothing can be written: {answered:?}"),
        written = timeout(PATIENCE, letters) => written.unwrap(),
    }
    // Another process goes on.
    let mut heir = two.group.member("two");
    let fetching = async {
        loop {
            for delivery in heir.fetch(9).await.unwrap() {
                // Of a slow store the slot may have been lost before the record had failed.
                drop(delivery.nack(None).await);
            }
        }
    };
    tokio::select! {
        () = fetching => {}
        () = until(&two.group, "it is finished", is_finished) => {}
    }
    let letters = two.group.dead_letters().list(9).await.unwrap();
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter.offset == 1));
    if store.log.features().dedup {
        assert_eq!(letters.len(), 1);
    }
    // So that it can end.
    one.way.is_cut.store(false, Ordering::SeqCst);
}
