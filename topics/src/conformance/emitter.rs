//! Emitters on topics of the store: what crosses processes, what is kept, and what is removed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use updraft_bus::Channels;

use super::way::Way;
use super::{Handles, Harness, PATIENCE, channels, second};
use crate::{
    Emitter, EmitterBuilder, Entry, Event, Filter, Offset, Position, Settings, Start, State,
    States, Topic, TopicError, Topics,
};

/// What a listener has got.
#[derive(Clone, Default)]
struct Fired(Arc<Mutex<Vec<(String, u64)>>>);

impl Fired {
    fn add(&self, event: &Event) {
        let (number,): (u64,) = event.parse().unwrap();
        self.0.lock().unwrap().push((event.name().into(), number));
    }

    fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().unwrap().clone()
    }

    fn numbers(&self) -> Vec<u64> {
        self.all().into_iter().map(|(_, number)| number).collect()
    }

    async fn until(&self, numbers: impl IntoIterator<Item = u64>) {
        let expected: Vec<_> = numbers.into_iter().collect();
        let what = format!("{expected:?} have fired");
        eventually(&what, async || self.numbers().len() >= expected.len()).await;
        assert_eq!(self.numbers(), expected);
    }
}

trait Listen {
    /// Notes each of these events.
    fn noting(self, filter: impl Into<Filter>, fired: &Fired) -> Self;
}

impl Listen for EmitterBuilder {
    fn noting(self, filter: impl Into<Filter>, fired: &Fired) -> Self {
        let fired = fired.clone();
        self.on(filter, move |event| fired.add(event))
    }
}

/// The topic in a process. What the other one publishes is not announced there.
async fn events(store: &Handles, channels: &Arc<Channels>) -> Topic {
    let topics = Topics::open(store.with(channels));
    let settings = Settings {
        poll: Duration::from_millis(50),
        deadline: Duration::from_secs(60),
        ..Settings::default()
    };
    topics.topic("events", settings).await.unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn state(states: &mut States) -> State {
    let next = timeout(PATIENCE, states.next()).await;
    next.expect("a state").expect("the emitter has not ended")
}

/// Events fire in both processes, in one order, and in the one that triggered them if it wants
/// them. Events that are named like states are events.
pub async fn topic_099_seed_045_046_047_054_056_events_cross_processes_and_never_are_states(
    harness: &impl Harness,
) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let here = events(&store, &channels).await;
    let there = events(&other, &channels).await;
    let (at_one, at_two, paid) = (Fired::default(), Fired::default(), Fired::default());
    let one = Emitter::on_topic(&here)
        .noting(Filter::all(), &at_one)
        .open()
        .await
        .unwrap();
    let two = Emitter::on_topic(&there)
        .own_events(false)
        .noting(Filter::all(), &at_two)
        .noting(Filter::pattern("order.*").meta("state", "paid"), &paid)
        .open()
        .await
        .unwrap();
    let mut states = one.states();
    assert!(matches!(state(&mut states).await, State::Connect));
    for name in ["connect", "disconnect", "reconnect", "error", "fail", ""] {
        one.trigger(name, 1).unwrap();
    }
    at_two.until([1; 6]).await;
    two.trigger("beep", [2]).unwrap().stored().await.unwrap();
    at_one.until([1, 1, 1, 1, 1, 1, 2]).await;
    let meta = [("state", "paid")];
    one.trigger_with("order.7", 3, meta).unwrap();
    one.trigger_with("other.7", 4, meta).unwrap();
    one.trigger("order.8", (5,)).unwrap();
    at_two.until([1, 1, 1, 1, 1, 1, 3, 4, 5]).await;
    assert_eq!(paid.numbers(), [3]);
    let names: Vec<_> = at_one.all().into_iter().map(|(name, _)| name).collect();
    let expected = ["connect", "disconnect", "reconnect", "error", "fail", ""];
    assert_eq!(names[..6], expected);
    one.close().await.unwrap();
    assert!(matches!(state(&mut states).await, State::Disconnect));
    assert!(states.next().await.is_none());
    let error = one.trigger("beep", 6).unwrap_err();
    assert_eq!(error.code(), "shutting-down");
}

/// What was triggered while no emitter of the name was there fires when there is one again: once
/// and in order, also if all of it has the same time. A second one of the name ends the first.
pub async fn topic_100_seed_053_an_emitter_goes_on_where_it_was(harness: &impl Harness) {
    let store = harness.open().await;
    let channels = channels();
    let topic = events(&store, &channels).await;
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let trigger = async |numbers: std::ops::RangeInclusive<u64>| {
        let triggered = numbers.map(|number| producer.trigger("n", number).unwrap());
        for triggered in triggered.collect::<Vec<_>>() {
            triggered.stored().await.unwrap();
        }
    };
    trigger(1..=2).await;
    let fired = Fired::default();
    let open = async |fired: &Fired| {
        let builder = Emitter::on_topic(&topic).cursor("billing");
        builder.noting("n", fired).open().await.unwrap()
    };
    // The cursor is made, behind what was there.
    open(&fired).await.close().await.unwrap();
    trigger(3..=12).await;
    let one = open(&fired).await;
    fired.until(3..=12).await;
    one.close().await.unwrap();
    // Nothing was missed, and nothing fires again.
    let one = open(&fired).await;
    trigger(13..=14).await;
    fired.until(3..=14).await;

    let mut states = one.states();
    assert!(matches!(state(&mut states).await, State::Connect));
    let taken = Fired::default();
    let two = open(&taken).await;
    trigger(15..=15).await;
    while !matches!(
        state(&mut states).await,
        State::Error(TopicError::LeaseLost)
    ) {}
    let until_ended = async { while states.next().await.is_some() {} };
    timeout(PATIENCE, until_ended).await.unwrap();
    eventually("the second has it", async || taken.numbers().contains(&15)).await;
    trigger(16..=16).await;
    eventually("the second goes on", async || {
        taken.numbers().ends_with(&[15, 16])
    })
    .await;
    assert!(!fired.numbers().contains(&16));
    two.close().await.unwrap();
}

/// Emitters are dropped in the middle of it and opened again, one with a cursor and one with the
/// position that its listener has kept.
pub async fn topic_100_emitters_that_are_restarted_fire_all_events_in_order(
    harness: &impl Harness,
) {
    restart_emitters(harness, 500).await;
}

/// The same for as many events as the caller has time for.
pub async fn restart_emitters(harness: &impl Harness, events_in_all: u64) {
    let store = harness.open().await;
    let channels = channels();
    let topic = events(&store, &channels).await;
    let seed = std::env::var("UPDRAFT_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("UPDRAFT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let kept = Kept::default();
    let noted = Kept::default();
    let mut one = Some(with_cursor(&topic, &noted).await);
    let mut two = Some(with_position(&topic, &kept).await);
    let mut sent = 0;
    while sent < events_in_all {
        let more = random.u64(1..=20).min(events_in_all - sent);
        for number in sent + 1..=sent + more {
            producer.trigger("n", number).unwrap();
        }
        sent += more;
        sleep(Duration::from_millis(random.u64(0..10))).await;
        // Dropped without being closed, in the middle of what it does.
        match random.u32(0..4) {
            0 => {
                drop(one.take());
                one = Some(with_cursor(&topic, &noted).await);
            }
            1 => {
                drop(two.take());
                two = Some(with_position(&topic, &kept).await);
            }
            _ => {}
        }
    }
    for fired in [&kept, &noted] {
        let what = format!("all events have fired, seed {seed}");
        eventually(&what, async || fired.last() == sent).await;
    }
    // What has fired again was left out by the listener.
    for fired in [&kept, &noted] {
        let fired = fired.numbers();
        assert_eq!(fired, (1..=sent).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// What a listener keeps: its effects, and up to where it has them.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Effects>>);

#[derive(Default)]
struct Effects {
    numbers: Vec<u64>,
    position: Option<Position>,
    last: Offset,
}

impl Kept {
    /// Notes an event, unless it was noted before.
    fn note(&self, event: &Event) {
        let mut kept = self.0.lock().unwrap();
        if event.message().offset() > kept.last {
            let (number,) = event.parse().unwrap();
            kept.numbers.push(number);
            kept.position = Some(event.message().position());
            kept.last = event.message().offset();
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.lock().unwrap().numbers.clone()
    }

    fn last(&self) -> u64 {
        self.numbers().last().copied().unwrap_or_default()
    }
}

async fn with_cursor(topic: &Topic, noted: &Kept) -> Emitter {
    let noted = noted.clone();
    let builder = Emitter::on_topic(topic).cursor("noted");
    let builder = builder.on("n", move |event| noted.note(event));
    builder.open().await.unwrap()
}

async fn with_position(topic: &Topic, kept: &Kept) -> Emitter {
    // The former one has ended, or its listener notes what is noted here.
    let position = kept.0.lock().unwrap().position;
    let kept = kept.clone();
    let start = position.map_or(Start::Earliest, Start::Position);
    let builder = Emitter::on_topic(topic).start(start);
    let builder = builder.on("n", move |event| kept.note(event));
    builder.open().await.unwrap()
}

/// Each event fires once however often the connection was lost, and is read once.
pub async fn topic_101_seed_048_049_050_051_one_reader_is_left_after_twenty_reconnects(
    harness: &impl Harness,
) {
    let mut store = harness.open().await;
    let way = Way::to(store.log);
    store.log = way.clone();
    let topics = Topics::open(store.with(&channels()));
    let settings = Settings {
        // It reads when it is woken, and not for itself.
        poll: Duration::from_secs(3600),
        deadline: Duration::from_secs(60),
        ..Settings::default()
    };
    let topic = topics.topic("events", settings).await.unwrap();
    let fired = Fired::default();
    let emitter = Emitter::on_topic(&topic).noting("n", &fired);
    let emitter = emitter.open().await.unwrap();
    let mut states = emitter.states();
    assert!(matches!(state(&mut states).await, State::Connect));
    for number in 1..=20 {
        way.refuses_reads.store(true, Ordering::SeqCst);
        let triggered = emitter.trigger("n", number).unwrap();
        triggered.stored().await.unwrap();
        assert!(matches!(state(&mut states).await, State::Disconnect));
        let error = state(&mut states).await;
        assert!(matches!(error, State::Error(TopicError::Unavailable(_))));
        assert!(!emitter.is_connected());
        way.refuses_reads.store(false, Ordering::SeqCst);
        assert!(matches!(state(&mut states).await, State::Reconnect));
        fired.until(1..=number).await;
    }
    let is_idle = async || {
        let before = way.reads.load(Ordering::SeqCst);
        sleep(Duration::from_millis(200)).await;
        way.reads.load(Ordering::SeqCst) == before
    };
    eventually("it waits at the end", is_idle).await;
    way.reads.store(0, Ordering::SeqCst);
    let triggered = emitter.trigger("n", 21).unwrap();
    triggered.stored().await.unwrap();
    fired.until(1..=21).await;
    eventually("it waits at the end", is_idle).await;
    // The event, and that there is nothing behind it. A wake-up may come twice.
    let reads = way.reads.load(Ordering::SeqCst);
    assert!((1..=4).contains(&reads), "{reads}");
    fired.until(1..=21).await;
}

/// Nothing is left of an event that is not kept, as soon as all emitters have it that were there;
/// and not before.
pub async fn topic_099_seed_044_events_that_are_not_kept_are_removed_when_all_have_them(
    harness: &impl Harness,
) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let here = events(&store, &channels).await;
    let there = events(&other, &channels).await;
    here.publish(Entry::value(&"no event")).await.unwrap();
    let (at_one, at_two, at_three) = (Fired::default(), Fired::default(), Fired::default());
    let one = Emitter::on_topic(&here).persist(false);
    let one = one.noting("n", &at_one).open().await.unwrap();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (passed, noted) = (Arc::clone(&gate), at_two.clone());
    let two = Emitter::on_topic(&there).persist(false);
    let two = two.on_async("n", move |event| {
        let (passed, noted) = (Arc::clone(&passed), noted.clone());
        async move {
            passed.acquire().await.unwrap().forget();
            noted.add(&event);
        }
    });
    let two = two.open().await.unwrap();
    let error = Emitter::on_topic(&here).cursor("x").open().await;
    assert_eq!(error.unwrap_err().code(), "config-conflict");
    let triggered = (1..=10).map(|number| one.trigger("n", number).unwrap());
    for triggered in triggered.collect::<Vec<_>>() {
        triggered.stored().await.unwrap();
    }
    at_one.until(1..=10).await;
    gate.add_permits(4);
    at_two.until(1..=4).await;
    let first = async || here.bounds().await.unwrap().first;
    eventually("what both have is removed", async || first().await == 6).await;
    // It is at the fifth: nothing behind that is removed, however long one waits.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(first().await, 6);
    gate.add_permits(100);
    at_two.until(1..=10).await;
    let is_empty = async || first().await == 12;
    eventually("nothing is left", is_empty).await;

    let three = Emitter::on_topic(&there).persist(false);
    let three = three.noting("n", &at_three).open().await.unwrap();
    two.trigger("n", 11).unwrap();
    at_three.until([11]).await;
    // Who has left is not waited for.
    two.close().await.unwrap();
    drop(three);
    one.trigger("n", 12).unwrap();
    at_one.until(1..=12).await;
    eventually("nothing is left", async || first().await == 14).await;
}
