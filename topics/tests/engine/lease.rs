//! Leases, in paused time: who has one, when another may take it, and what a late owner can do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, timeout};
use updraft_topics::{
    Answer, Held, Lease, MAX_REGISTER_VALUE, Memory, Register, RegisterKey, Registers, Swap,
    Swapped, TopicError,
};

const TIME: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(1);

/// One process' way to the registers, which can be cut.
#[derive(Debug, Default)]
struct Way {
    memory: Memory,
    /// Nothing is answered.
    silent: AtomicBool,
    /// What is asked is done, and answered with an error.
    deaf: AtomicBool,
}

impl Way {
    fn to(memory: &Memory) -> Arc<Self> {
        Arc::new(Self {
            memory: memory.clone(),
            ..Self::default()
        })
    }

    fn lease(self: &Arc<Self>) -> Lease {
        Lease::new(self.clone(), key(), TIME)
    }

    async fn answer<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let answer = answer.await;
        if self.deaf.load(Ordering::SeqCst) {
            return Err(TopicError::Unavailable(None));
        }
        answer
    }
}

impl Registers for Way {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(self.answer(self.memory.get(keys)))
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(self.answer(self.memory.swap(swaps)))
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        Box::pin(self.answer(self.memory.scan(namespace, prefix, after, limit)))
    }
}

fn key() -> RegisterKey {
    RegisterKey::new("lease", "test").unwrap()
}

async fn register(memory: &Memory) -> Option<Register> {
    memory.get(&[key()]).await.unwrap().remove(0)
}

async fn text(memory: &Memory) -> String {
    let register = register(memory).await.unwrap();
    String::from_utf8(register.value.to_vec()).unwrap()
}

async fn put(memory: &Memory, value: &'static str) {
    let version = register(memory).await.map(|register| register.version);
    let swap = Swap::write(key(), version, value).unwrap();
    let swapped = memory.swap(vec![swap]).await.unwrap();
    assert!(matches!(swapped[..], [Swapped::Written(_)]));
}

async fn is_lost(held: &Held) -> bool {
    timeout(TICK, held.lost()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn of_two_contenders_one_has_the_lease_and_the_other_waits() {
    let memory = Memory::new();
    let (first, second) = (Way::to(&memory).lease(), Way::to(&memory).lease());
    let held = first.take().await;
    assert_eq!(held.generation(), 1);
    let mut other = Box::pin(second.take());
    let waited = timeout(Duration::from_secs(3600), &mut other).await;
    assert!(waited.is_err() && !is_lost(&held).await);

    // Released, the lease is free at once; the other one sees that when it looks.
    let released = Instant::now();
    held.release().await;
    assert_eq!(released.elapsed(), Duration::ZERO);
    assert_eq!(text(&memory).await, "1 -\n");
    let other = other.await;
    assert!(released.elapsed() < TIME / 4);
    assert_eq!(other.generation(), 2);

    // So it is when the guard is dropped, and a task that takes it then does not wait at all.
    drop(other);
    sleep(TICK).await;
    let dropped = Instant::now();
    assert_eq!(first.take().await.generation(), 3);
    assert_eq!(dropped.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn of_many_contenders_one_at_a_time_has_the_lease() {
    let memory = Memory::new();
    let owners = Arc::new(Mutex::new((0_u64, 0_u64)));
    let mut contenders = JoinSet::new();
    for _ in 0..8 {
        let (lease, owners) = (Way::to(&memory).lease(), owners.clone());
        contenders.spawn(async move {
            for _ in 0..20 {
                let held = lease.take().await;
                {
                    let mut owners = owners.lock().unwrap();
                    assert_eq!(owners.0, 0, "two owners");
                    assert_eq!(held.generation(), owners.1 + 1);
                    *owners = (1, held.generation());
                }
                sleep(Duration::from_secs(fastrand::u64(0..30))).await;
                owners.lock().unwrap().0 = 0;
                held.release().await;
            }
        });
    }
    contenders.join_all().await;
    assert_eq!(*owners.lock().unwrap(), (0, 160));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_cut_off_has_lost_the_lease_before_another_has_it() {
    let memory = Memory::new();
    let (first, second) = (Way::to(&memory), Way::to(&memory));
    let held = first.lease().take().await;
    let lease = second.lease();
    let other = lease.take();
    tokio::pin!(other);
    assert!(timeout(TIME * 5, &mut other).await.is_err());

    let cut = Instant::now();
    first.silent.store(true, Ordering::SeqCst);
    assert_eq!(held.run(std::future::pending::<()>()).await, None);
    let lost_after = cut.elapsed();
    assert!(lost_after < TIME, "{lost_after:?}");
    assert!(timeout(TICK, &mut other).await.is_err());
    let other = other.await;
    assert_eq!(other.generation(), 2);
    assert!(cut.elapsed() <= TIME + TIME / 3, "{:?}", cut.elapsed());

    // When the way is open again, the late owner can write nothing, not that it has ended either.
    first.silent.store(false, Ordering::SeqCst);
    let error = held.write("late").await.unwrap_err();
    assert_eq!(error.code(), "lease-lost");
    held.release().await;
    let written = text(&memory).await;
    assert!(written.starts_with("2 ") && !written.ends_with("-\n"));
    assert!(!is_lost(&other).await);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_stood_still_is_fenced() {
    let memory = Memory::new();
    let held = Way::to(&memory).lease().take().await;
    held.write("first").await.unwrap();
    // Another process takes over while this one and its clock stand still, as a virtual machine
    // that is suspended.
    put(&memory, "2 000000000000000b000000000000000c\nsecond").await;
    let error = held.write("late").await.unwrap_err();
    assert_eq!(error.code(), "lease-lost");
    assert!(is_lost(&held).await);
    assert!(text(&memory).await.ends_with("\nsecond"));

    // One that does not write learns it when it renews the lease.
    let held = Way::to(&memory).lease().take().await;
    assert_eq!((held.generation(), &held.value()[..]), (3, &b"second"[..]));
    put(&memory, "4 000000000000000b000000000000000d\n").await;
    assert!(timeout(TIME / 2, held.lost()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_whose_clock_goes_on_stops_by_itself() {
    let memory = Memory::new();
    let held = Way::to(&memory).lease().take().await;
    // As if the process had been stopped: no timer has fired, and all of them are over.
    advance(TIME).await;
    assert!(is_lost(&held).await);
    let error = held.write("late").await.unwrap_err();
    assert_eq!(error.code(), "lease-lost");
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_do_not_lose_the_lease() {
    let memory = Memory::new();
    let way = Way::to(&memory);
    let lease = way.lease();
    let mut take = Box::pin(lease.take());
    way.deaf.store(true, Ordering::SeqCst);
    assert!(timeout(TIME, &mut take).await.is_err());
    way.deaf.store(false, Ordering::SeqCst);
    let held = take.await;
    assert_eq!(held.generation(), 1);
    for n in 0..20 {
        way.deaf.store(true, Ordering::SeqCst);
        let value = format!("value {n}");
        let (written, ()) = tokio::join!(held.write(value.clone()), async {
            sleep(TIME / 2).await;
            way.deaf.store(false, Ordering::SeqCst);
        });
        written.unwrap();
        assert!(text(&memory).await.ends_with(&value));
        sleep(TIME / 2).await;
    }
    assert!(!is_lost(&held).await);
    // A contender that nobody answered for longer than the lease time has not seen it unchanged.
    let other = Way::to(&memory);
    other.silent.store(true, Ordering::SeqCst);
    let lease = other.lease();
    let mut take = Box::pin(lease.take());
    assert!(timeout(TIME * 3, &mut take).await.is_err());
    other.silent.store(false, Ordering::SeqCst);
    assert!(timeout(TIME * 3, &mut take).await.is_err());
    assert!(!is_lost(&held).await);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_taken_as_soon_as_the_store_is_there() {
    let memory = Memory::new();
    let way = Way::to(&memory);
    way.silent.store(true, Ordering::SeqCst);
    let lease = way.lease();
    let mut take = Box::pin(lease.take());
    assert!(timeout(TIME * 10, &mut take).await.is_err());
    way.silent.store(false, Ordering::SeqCst);
    let held = timeout(TIME, take).await.unwrap();
    // A store that is away for less than the time changes nothing.
    way.silent.store(true, Ordering::SeqCst);
    sleep(TIME / 2).await;
    way.silent.store(false, Ordering::SeqCst);
    sleep(TIME * 2).await;
    assert!(!is_lost(&held).await);
    // One that is away for longer frees nothing when it is back, and does not hold up the caller.
    way.silent.store(true, Ordering::SeqCst);
    let released = Instant::now();
    held.release().await;
    assert!(released.elapsed() <= TIME);
    way.silent.store(false, Ordering::SeqCst);
    assert_eq!(
        timeout(TIME * 2, lease.take()).await.unwrap().generation(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_register_that_vanishes_or_is_no_lease_is_taken_over() {
    let memory = Memory::new();
    let lease = Way::to(&memory).lease();
    let held = lease.take().await;
    held.write("kept").await.unwrap();
    let version = register(&memory).await.unwrap().version;
    let remove = Swap::remove(key(), Some(version));
    memory.swap(vec![remove]).await.unwrap();
    assert!(timeout(TIME, held.lost()).await.is_ok());
    let held = lease.take().await;
    assert_eq!((held.generation(), held.value().len()), (1, 0));
    drop(held);
    sleep(TICK).await;
    for junk in [
        "",
        "\n",
        "1",
        "1 -",
        "-1 -\n",
        "1 \n",
        "1 0123456789abcdef\n",
        "1 ffffffffffffffffäfffffffffffffff\n",
        "18446744073709551615 -\n",
        "99999999999999999999 -\n",
    ] {
        put(&memory, junk).await;
        let began = Instant::now();
        let held = lease.take().await;
        assert_eq!((held.generation(), held.value().len()), (1, 0), "{junk:?}");
        assert!(began.elapsed() >= TIME);
        held.release().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_goes_from_owner_to_owner_and_has_a_limit() {
    let memory = Memory::new();
    let lease = Way::to(&memory).lease();
    let held = lease.take().await;
    held.write("one").await.unwrap();
    held.write(&b"two\n\xff"[..]).await.unwrap();
    sleep(TIME * 3).await;
    let large = vec![0; MAX_REGISTER_VALUE];
    assert_eq!(held.write(large).await.unwrap_err().code(), "too-large");
    held.release().await;
    let held = lease.take().await;
    assert_eq!(&held.value()[..], b"two\n\xff");
    assert_eq!(held.run(async { 1 }).await, Some(1));
}
