//! Emitters over the store in memory, and over one that fails as it is told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use updraft_topics::{Emitter, Event, Filter, Start, State};

use crate::store::{Faulty, impatient};

use super::*;

type Fired = Arc<Mutex<Vec<u64>>>;

fn noting(fired: &Fired) -> impl Fn(&Event) + Send + Sync + 'static {
    let fired = Arc::clone(fired);
    move |event| {
        let (number,) = event.parse().unwrap();
        fired.lock().unwrap().push(number);
    }
}

async fn until(fired: &Fired, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<_> = numbers.into_iter().collect();
    let has_all = async || fired.lock().unwrap().len() >= expected.len();
    eventually("all have fired", has_all).await;
    assert_eq!(*fired.lock().unwrap(), expected);
}

#[tokio::test]
async fn topic_099_a_listener_that_panics_is_counted_and_harms_nothing() {
    let (_topics, topic) = topic(Settings::default()).await;
    let (before, behind) = (Fired::default(), Fired::default());
    let emitter = Emitter::on_topic(&topic)
        .on("n", noting(&before))
        .on("n", |event| panic!("at {}", event.name()))
        .on_async("n", async |event: Event| {
            tokio::task::yield_now().await;
            let (number,): (String,) = event.parse().expect("text");
            panic!("{number} is text");
        })
        .on_async("n", |_| -> std::future::Ready<()> { panic!("at once") })
        .on("n", noting(&behind))
        .open()
        .await
        .unwrap();
    for number in 1..=3 {
        emitter.trigger("n", number).unwrap();
    }
    until(&before, 1..=3).await;
    until(&behind, 1..=3).await;
    let stats = emitter.stats();
    assert_eq!((stats.fired, stats.failed), (15, 9));
    assert!(emitter.is_connected());
}

#[tokio::test]
async fn topic_100_a_cursor_expires_when_no_emitter_has_it() {
    let (_topics, topic) = topic(Settings::default()).await;
    let version = async || {
        let namespace = "updraft/emitter/orders";
        let found = topic.registers().scan(namespace, "cursor ", None, 9);
        let found = found.await.unwrap().pop();
        found.map(|(_, register)| register.version)
    };
    let open = async |fired: &Fired| {
        let emitter = Emitter::on_topic(&topic)
            .cursor("billing")
            .cursor_expires(Duration::from_millis(300))
            .on("n", noting(fired));
        emitter.open().await.unwrap()
    };
    let fired = Fired::default();
    let emitter = open(&fired).await;
    emitter.trigger("n", 1).unwrap();
    until(&fired, [1]).await;
    // It stays while an emitter has it, although nothing fires.
    for _ in 0..3 {
        let before = version().await;
        eventually("it is written again", async || {
            version().await.is_some_and(|now| Some(now) != before)
        })
        .await;
    }
    let other = Emitter::on_topic(&topic).open().await.unwrap();
    emitter.close().await.unwrap();
    eventually("it expires", async || version().await.is_none()).await;
    other.trigger("n", 2).unwrap().stored().await.unwrap();
    // Who comes now begins with what comes next.
    let emitter = open(&fired).await;
    emitter.trigger("n", 3).unwrap();
    until(&fired, [1, 3]).await;
}

#[tokio::test]
async fn topic_099_seed_046_listeners_come_and_go() {
    let (_topics, topic) = topic(Settings::default()).await;
    let emitter = Emitter::on_topic(&topic).open().await.unwrap();
    let (one, two) = (Fired::default(), Fired::default());
    let id = emitter.on("n", noting(&one));
    let noted = Arc::clone(&two);
    emitter.on_async(Filter::name("n"), move |event| {
        let noted = Arc::clone(&noted);
        async move { noting(&noted)(&event) }
    });
    emitter.trigger("n", 1).unwrap();
    emitter.trigger("N", 9).unwrap();
    until(&two, [1]).await;
    until(&one, [1]).await;
    assert!(emitter.off(id));
    assert!(!emitter.off(id));
    emitter.trigger("n", [2]).unwrap();
    until(&two, [1, 2]).await;
    until(&one, [1]).await;
}

#[tokio::test]
async fn topic_099_seed_045_arguments_are_a_tuple_or_a_list_or_one_value() {
    let (_topics, topic) = topic(Settings::default()).await;
    let (tell, mut told) = tokio::sync::mpsc::channel(9);
    let emitter = Emitter::on_topic(&topic)
        .on("n", move |event| {
            tell.try_send(Value::Array(event.args().to_vec())).unwrap();
        })
        .open()
        .await
        .unwrap();
    emitter.trigger("n", ()).unwrap();
    emitter.trigger("n", "boop").unwrap();
    emitter.trigger("n", ("boop", 2, [true])).unwrap();
    emitter.trigger("n", vec![1, 2]).unwrap();
    emitter.trigger("n", (vec![1, 2],)).unwrap();
    let date = updraft_protocol::ejson::Date::from_millis(7.0);
    emitter
        .trigger("n", (Value::Date(date), Value::Null))
        .unwrap();
    for expected in [
        updraft_protocol::ejson!([]),
        updraft_protocol::ejson!(["boop"]),
        updraft_protocol::ejson!(["boop", 2, [true]]),
        updraft_protocol::ejson!([1, 2]),
        updraft_protocol::ejson!([[1, 2]]),
        Value::Array(vec![Value::Date(date), Value::Null]),
    ] {
        assert_eq!(told.recv().await.unwrap(), expected);
    }
    let error = emitter.trigger("n", std::collections::BTreeMap::from([([1], 2)]));
    assert_eq!(error.unwrap_err().code(), "not-encoded");
}

#[tokio::test]
async fn topic_099_records_that_are_no_events_are_passed_over() {
    let (_topics, topic) = topic(Settings::default()).await;
    let fired = Fired::default();
    let emitter = Emitter::on_topic(&topic).on("n", noting(&fired));
    let emitter = emitter.open().await.unwrap();
    for text in ["7", "{}", r#"{"event":7,"args":[]}"#, r#"{"event":"n"}"#] {
        topic.publish(Entry::ejson(text)).await.unwrap();
    }
    topic.publish(Entry::tombstone("x")).await.unwrap();
    let by_hand = Entry::ejson(r#"{"event":"n","args":[8]}"#);
    topic.publish(by_hand).await.unwrap();
    until(&fired, [8]).await;
    assert_eq!(emitter.stats().skipped, 5);
}

#[tokio::test(start_paused = true)]
async fn topic_099_seed_052_killing_empties_the_queue_which_is_bounded() {
    let (store, way) = Faulty::new().store();
    let topics = Topics::open(way);
    let mut settings = impatient();
    settings.queued_records = 3;
    let topic = topics.topic("orders", settings).await.unwrap();
    let fired = Fired::default();
    let emitter = Emitter::on_topic(&topic).on("n", noting(&fired));
    let emitter = emitter.open().await.unwrap();
    store.away.store(true, Ordering::SeqCst);
    let mut waiting = Vec::new();
    for number in 1..=3 {
        waiting.push(emitter.trigger("n", number).unwrap());
    }
    let error = emitter.trigger("n", 4).unwrap_err();
    assert_eq!(error.code(), "busy");
    assert_eq!(emitter.stats().queued, 3);
    // Longer than one attempt takes.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(emitter.kill(), 3);
    for waiting in waiting {
        assert_eq!(waiting.stored().await.unwrap_err().code(), "killed");
    }
    assert_eq!(emitter.stats().queued, 0);
    let later = emitter.trigger("n", 5).unwrap();
    sleep(Duration::from_secs(10)).await;
    store.away.store(false, Ordering::SeqCst);
    later.stored().await.unwrap();
    until(&fired, [5]).await;
}

#[tokio::test(start_paused = true)]
async fn topic_099_what_is_triggered_while_the_store_is_away_is_stored_in_order_later() {
    let (store, way) = Faulty::new().store();
    let topics = Topics::open(way);
    let topic = topics.topic("orders", impatient()).await.unwrap();
    let fired = Fired::default();
    let emitter = Emitter::on_topic(&topic).on("n", noting(&fired));
    let emitter = emitter.open().await.unwrap();
    let mut states = emitter.states();
    assert!(matches!(states.next().await, Some(State::Connect)));
    store.away.store(true, Ordering::SeqCst);
    for number in 1..=600 {
        emitter.trigger("n", number).unwrap();
    }
    while !matches!(states.next().await, Some(State::Error(_))) {}
    sleep(Duration::from_secs(60)).await;
    assert!(!emitter.is_connected());
    store.away.store(false, Ordering::SeqCst);
    until(&fired, 1..=600).await;
    assert_eq!(emitter.stats().stored, 600);
    emitter.close().await.unwrap();
    assert_eq!(topic.bounds().await.unwrap().last, 600);
}

#[tokio::test(start_paused = true)]
async fn topic_099_an_event_that_might_be_stored_twice_is_given_up() {
    let (store, way) = Faulty::new().store();
    let topics = Topics::open(way);
    let topic = topics.topic("orders", impatient()).await.unwrap();
    let emitter = Emitter::on_topic(&topic).open().await.unwrap();
    store.away.store(true, Ordering::SeqCst);
    let triggered = emitter.trigger("n", 1).unwrap();
    let error = triggered.stored().await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    assert_eq!(emitter.stats().queued, 0);
}

#[tokio::test]
async fn topic_099_an_event_that_is_refused_holds_no_other() {
    let mut settings = Settings::default();
    settings.limits.payload = 200;
    let (_topics, topic) = topic(settings).await;
    let fired = Fired::default();
    let emitter = Emitter::on_topic(&topic).on("n", noting(&fired));
    let emitter = emitter.open().await.unwrap();
    let error = emitter.trigger("n", "x".repeat(200)).unwrap_err();
    assert_eq!(error.code(), "too-large");
    emitter.trigger("n", 1).unwrap();
    until(&fired, [1]).await;
    topic.close().await.unwrap();
    let refused = [2, 3].map(|number| emitter.trigger("n", number).unwrap());
    for refused in refused {
        let error = refused.stored().await.unwrap_err();
        assert_eq!(error.code(), "topic-closed");
    }
}

#[tokio::test]
async fn topic_100_an_emitter_begins_where_it_is_told() {
    let (_topics, topic) = topic(Settings::default()).await;
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let mut positions = Vec::new();
    for number in 1..=5 {
        let stored = producer.trigger("n", number).unwrap().stored().await;
        positions.push(stored.unwrap().position);
    }
    for (start, expected) in [
        (Start::Earliest, vec![1, 2, 3, 4, 5]),
        (Start::Last(2), vec![4, 5]),
        (Start::Position(positions[2]), vec![4, 5]),
        (Start::Snapshot, vec![]),
    ] {
        let fired = Fired::default();
        let emitter = Emitter::on_topic(&topic).start(start);
        let emitter = emitter.on("n", noting(&fired)).open().await.unwrap();
        until(&fired, expected).await;
        emitter.close().await.unwrap();
    }
    // `persist(false)` forgets what was said before it.
    let fired = Fired::default();
    let error = Emitter::on_topic(&topic)
        .start(Start::Earliest)
        .persist(false)
        .open()
        .await;
    assert_eq!(error.unwrap_err().code(), "config-conflict");
    let builder = Emitter::on_topic(&topic).persist(false).persist(true);
    let emitter = builder.on("n", noting(&fired)).open().await.unwrap();
    producer.trigger("n", 6).unwrap();
    until(&fired, [6]).await;
    drop(emitter);
}

#[tokio::test]
async fn topic_100_events_that_are_gone_are_told_and_the_rest_fires() {
    let (_topics, topic) = topic(Settings::default()).await;
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let open = async |fired: &Fired| {
        let builder = Emitter::on_topic(&topic).cursor("billing");
        builder.on("n", noting(fired)).open().await.unwrap()
    };
    let fired = Fired::default();
    open(&fired).await.close().await.unwrap();
    for number in 1..=5 {
        let triggered = producer.trigger("n", number).unwrap();
        triggered.stored().await.unwrap();
    }
    topic.trim(3).await.unwrap();
    let emitter = open(&fired).await;
    until(&fired, [4, 5]).await;
    drop(emitter);
    // A cursor of another life of the topic.
    let emitter = open(&fired).await;
    let mut states = emitter.states();
    topic.delete().await.unwrap();
    while states.next().await.is_some() {}
    assert_eq!(emitter.trigger("n", 6).unwrap_err().code(), "shutting-down");
}

#[tokio::test(start_paused = true)]
async fn topic_100_the_answers_of_the_cursor_may_be_lost() {
    let (store, way) = Faulty::new().store();
    let topics = Topics::open(way);
    let topic = topics.topic("orders", impatient()).await.unwrap();
    let fired = Fired::default();
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let emitter = Emitter::on_topic(&topic).cursor("billing");
    let emitter = emitter.on("n", noting(&fired)).open().await.unwrap();
    for number in 1..=20 {
        let triggered = producer.trigger("n", number).unwrap();
        triggered.stored().await.unwrap();
        until(&fired, 1..=number).await;
        // The swap is on its way, or its answer is.
        store.away.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(200 + 7 * number)).await;
        store.away.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(5)).await;
    }
    emitter.close().await.unwrap();
    let again = Fired::default();
    let emitter = Emitter::on_topic(&topic).cursor("billing");
    let emitter = emitter.on("n", noting(&again)).open().await.unwrap();
    producer.trigger("n", 21).unwrap();
    until(&again, [21]).await;
    drop(emitter);
}

#[tokio::test]
async fn topic_100_closing_waits_for_a_listener_whose_event_does_not_fire_again() {
    let (_topics, topic) = topic(Settings::default()).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let fired = Fired::default();
    let open = async |fired: &Fired, gate: &Arc<tokio::sync::Semaphore>| {
        let (fired, gate) = (Arc::clone(fired), Arc::clone(gate));
        let begun = Fired::default();
        let begins = Arc::clone(&begun);
        let builder = Emitter::on_topic(&topic).cursor("billing");
        let builder = builder.on_async("n", move |event: Event| {
            noting(&begins)(&event);
            let (fired, gate) = (Arc::clone(&fired), Arc::clone(&gate));
            async move {
                gate.acquire().await.unwrap().forget();
                noting(&fired)(&event);
            }
        });
        (builder.open().await.unwrap(), begun)
    };
    let (emitter, begun) = open(&fired, &gate).await;
    emitter.trigger("n", 1).unwrap();
    emitter.trigger("n", 2).unwrap();
    until(&begun, [1]).await;
    let closing = tokio::join!(emitter.close(), async {
        sleep(Duration::from_millis(50)).await;
        assert!(fired.lock().unwrap().is_empty());
        gate.add_permits(1);
    });
    closing.0.unwrap();
    assert_eq!(*fired.lock().unwrap(), [1]);
    gate.add_permits(9);
    let (emitter, _) = open(&fired, &gate).await;
    until(&fired, [1, 2]).await;
    emitter.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn topic_100_a_listener_that_does_not_end_is_dropped_when_the_emitter_is_closed() {
    let (_topics, topic) = topic(Settings::default()).await;
    let begun = Fired::default();
    let noted = Arc::clone(&begun);
    let emitter = Emitter::on_topic(&topic).cursor("billing");
    let emitter = emitter.on_async("n", move |event: Event| {
        noting(&noted)(&event);
        std::future::pending()
    });
    let emitter = emitter.open().await.unwrap();
    emitter.trigger("n", 1).unwrap();
    until(&begun, [1]).await;
    emitter.close().await.unwrap();
    let again = Fired::default();
    let emitter = Emitter::on_topic(&topic).cursor("billing");
    let emitter = emitter.on("n", noting(&again)).open().await.unwrap();
    until(&again, [1]).await;
    drop(emitter);
}

#[tokio::test]
async fn topic_099_what_an_emitter_holds_goes_with_it() {
    let (_topics, topic) = topic(Settings::default()).await;
    let held = Arc::new(());
    let emitter = Emitter::on_topic(&topic).open().await.unwrap();
    let (in_listener, clone) = (Arc::clone(&held), emitter.clone());
    emitter.on("n", move |_| {
        let _: (&Arc<()>, &Emitter) = (&in_listener, &clone);
    });
    emitter.close().await.unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
    let emitter = Emitter::on_topic(&topic).open().await.unwrap();
    let in_listener = Arc::clone(&held);
    emitter.on("n", move |_| drop(Arc::clone(&in_listener)));
    drop(emitter);
    eventually("its tasks have ended", async || {
        Arc::strong_count(&held) == 1
    })
    .await;
}
