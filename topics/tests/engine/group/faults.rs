//! Groups over a store that does not answer, or loses what it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use updraft_topics::{Answer, Register, RegisterKey, Registers, Store, Swap, Swapped, TopicError};

use super::*;

const WELL: u8 = 0;
/// What is written is not, and nobody says so.
const SILENT: u8 = 1;
/// What is asked is done, and answered with an error.
const DEAF: u8 = 2;

/// What is asked is done when it is well again.
const STILL: u8 = 3;

/// A process' way to the registers.
#[derive(Debug)]
struct Way {
    memory: Memory,
    state: AtomicU8,
}

impl Way {
    fn to(memory: &Memory) -> (Arc<Self>, Topics) {
        let way = Arc::new(Self {
            memory: memory.clone(),
            state: AtomicU8::new(WELL),
        });
        let channels = Store::from(memory.clone()).channels;
        let store = Store::new(Arc::new(memory.clone()), way.clone(), channels);
        (way, Topics::open(store))
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
}

impl Registers for Way {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        self.memory.get(keys)
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            if self.state.load(Ordering::SeqCst) == SILENT {
                std::future::pending::<()>().await;
            }
            while self.state.load(Ordering::SeqCst) == STILL {
                tokio::time::sleep(SECOND / 100).await;
            }
            let swapped = self.memory.swap(swaps).await;
            if self.state.load(Ordering::SeqCst) == DEAF {
                return Err(TopicError::Unavailable(None));
            }
            swapped
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        self.memory.scan(namespace, prefix, after, limit)
    }
}

#[tokio::test(start_paused = true)]
async fn topic_056_a_crash_between_the_letter_and_the_slot_loses_and_doubles_nothing() {
    let memory = Memory::new();
    let (way, topics) = Way::to(&memory);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let settings = GroupSettings::on([&orders]).max_deliveries(1);
    let crashing = group(&topics, settings).await;
    publish(&orders, &["a"]).await;
    let mut member = crashing.member("w1");
    let delivery = wait(&mut member, 1).await.remove(0);
    way.set(SILENT);
    // The letter is written, and the process ends before the slot says so.
    let nacked = timeout(SECOND, delivery.nack(None)).await;
    assert!(nacked.is_err());
    let letters = crashing.dead_letters().list(9).await.unwrap();
    assert_eq!(letters.len(), 1);
    topics.close();

    let topics = Topics::open(memory);
    let heir = topics.find_group("billing").await.unwrap();
    let mut member = heir.member("w2");
    assert!(timeout(SECOND * 20, member.fetch(1)).await.is_err());
    let stats = heir.stats().await.unwrap();
    assert_eq!(
        (stats.parked, stats.pending, stats.topics[0].lag),
        (1, 0, 0)
    );
    let again = heir.dead_letters().list(9).await.unwrap();
    assert_eq!((again[0].id, again[0].offset), (letters[0].id, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_store_that_are_lost_lose_and_double_nothing() {
    let memory = Memory::new();
    let (way, topics) = Way::to(&memory);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let mut member = group.member("w1");
    for round in 1..=20_u64 {
        publish(&orders, &["a"]).await;
        let end = async {
            tokio::time::sleep(SECOND * 2).await;
            way.set(WELL);
        };
        way.set(DEAF);
        let (deliveries, ()) = tokio::join!(wait(&mut member, 9), end);
        assert_eq!(offsets(&deliveries), [round]);
        assert_eq!(deliveries[0].deliveries(), 1);
        way.set(DEAF);
        let end = async {
            tokio::time::sleep(SECOND * 2).await;
            way.set(WELL);
        };
        let (acked, ()) = tokio::join!(deliveries[0].ack(), end);
        acked.unwrap();
    }
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.topics[0].lag, stats.redeliveries), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_cut_off_hands_out_nothing_and_is_shut_out() {
    let memory = Memory::new();
    let (way, topics) = Way::to(&memory);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let cut_off = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b"]).await;
    let mut member = cut_off.member("cut off");
    let held = wait(&mut member, 1).await.remove(0);
    let other = Topics::open(memory);
    let heir = other.find_group("billing").await.unwrap();
    let mut heir = heir.member("heir");
    way.set(SILENT);
    let mut all = wait(&mut heir, 1).await;
    // It knew before the other one could have it.
    assert!(!held.is_current());
    // Once it is back it may be given the other record, which nobody fetches there.
    while all.len() < 2 {
        all.extend(wait(&mut heir, 1).await);
    }
    assert!(timeout(SECOND, member.fetch(1)).await.is_err());
    way.set(WELL);
    assert_eq!(held.ack().await.unwrap_err().code(), "stale");
    let of_held = all
        .iter()
        .find(|it| it.message().key() == held.message().key());
    assert!(of_held.unwrap().generation() > held.generation());
    ack_all(&all).await;
}

#[tokio::test(start_paused = true)]
async fn topic_049_what_a_process_had_that_crashed_is_elsewhere_after_its_lease() {
    let memory = Memory::new();
    let lease = SECOND * 10;
    let (way, topics) = Way::to(&memory);
    let topics = topics.with_lease(lease);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let settings = GroupSettings::on([&orders]).ack_wait(LONG);
    let crashing = group(&topics, settings).await;
    publish(&orders, &["a", "b", "c"]).await;
    let mut member = crashing.member("crashing");
    assert_eq!(wait(&mut member, 9).await.len(), 3);
    let other = Topics::open(memory).with_lease(lease);
    let mut heir = other.find_group("billing").await.unwrap().member("heir");
    assert!(timeout(lease * 3, heir.fetch(1)).await.is_err());
    way.set(SILENT);
    let crashed = tokio::time::Instant::now();
    let mut again = Vec::new();
    while again.len() < 3 {
        again.extend(wait(&mut heir, 9).await);
    }
    let taken = crashed.elapsed();
    assert!(taken <= lease + SECOND * 4, "{taken:?}");
    assert!(again.iter().all(|delivery| delivery.deliveries() == 2));
    ack_all(&again).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_has_its_share_again() {
    let memory = Memory::new();
    let (way, topics) = Way::to(&memory);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let still = group(&topics, GroupSettings::on([&orders])).await;
    let other = Topics::open(memory);
    let heir = other.find_group("billing").await.unwrap();
    let mut members = [still.member("still"), heir.member("heir")];
    for member in &mut members {
        assert!(fetch(member, 1).await.is_empty());
    }
    let processes = async |count: usize| {
        let what = format!("{count} processes");
        crate::eventually(&what, async || {
            heir.stats().await.unwrap().processes == count
        })
        .await;
    };
    processes(2).await;
    // It has nothing to write but that it lives.
    way.set(STILL);
    processes(1).await;
    way.set(WELL);
    let back = tokio::time::Instant::now();
    processes(2).await;
    assert!(back.elapsed() < SECOND * 15, "{:?}", back.elapsed());
    tokio::time::sleep(SECOND * 15).await;
    publish(&orders, &[""; 64]).await;
    for member in &mut members {
        assert_eq!(wait(member, 64).await.len(), 32);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_function_had_fetched_before_its_store_was_away_comes_at_once() {
    let memory = Memory::new();
    let (way, topics) = Way::to(&memory);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders]).ack_wait(LONG)).await;
    publish(&orders, &["a", "b", "c"]).await;
    let handled = std::sync::Mutex::new(Vec::new());
    let run = group.member("w1").run(async |delivery: Delivery| {
        let count = {
            let mut handled = handled.lock().unwrap();
            handled.push(delivery.deliveries());
            handled.len()
        };
        if count == 1 {
            way.set(STILL);
            tokio::time::sleep(SECOND * 30).await;
            way.set(WELL);
        }
        Ok(())
    });
    // Nobody else could have had them.
    assert!(timeout(LONG / 2, run).await.is_err());
    assert_eq!(*handled.lock().unwrap(), [1, 1, 1]);
    assert_eq!(group.stats().await.unwrap().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_begins_anew_when_its_topic_is_another_one() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "a", "a"]).await;
    let mut member = group.member("w1");
    let held = wait(&mut member, 9).await;
    held[0].ack().await.unwrap();
    orders.delete().await.unwrap();
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    publish(&orders, &["b"]).await;
    let deliveries = wait(&mut member, 9).await;
    assert_eq!(
        (offsets(&deliveries), keys(&deliveries)),
        (vec![1], vec!["b"])
    );
    assert_eq!(held[1].ack().await.unwrap_err().code(), "stale");
    ack_all(&deliveries).await;
    assert!(fetch(&mut member, 9).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_deleted_elsewhere_is_another_one_here() {
    let memory = Memory::new();
    let (here, there) = (Topics::open(memory.clone()), Topics::open(memory));
    let orders = here.topic("orders", Settings::default()).await.unwrap();
    publish(&orders, &["a"]).await;
    let old = group(&here, GroupSettings::on([&orders])).await;
    let mut member = old.member("w1");
    ack_all(&wait(&mut member, 9).await).await;
    assert!(there.delete_group("billing").await.unwrap());
    let error = timeout(LONG, member.fetch(9)).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "unknown-group");
    let new = group(&here, GroupSettings::on([&orders])).await;
    let mut member = new.member("w1");
    ack_all(&wait(&mut member, 9).await).await;
}
