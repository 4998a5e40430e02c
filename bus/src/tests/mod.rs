//! The bus inside one process, and what both buses share: who follows which channels, and what they
//! are sent. No test here needs Redis; those in `redis` do.

#[cfg(feature = "redis")]
mod redis;
mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson::{self, Value};

use self::support::{Process, Recorder, heard, value};
use crate::backend::{Backend, Bus, Publishing};
use crate::channel::InternalChannel;
use crate::registry::{ChannelRegistry, Follower};
use crate::{
    BusError, ChannelSettings, EmitError, Lease, Message, PayloadLimits, Port, Received, WhenAway,
};

fn message(payload: &'static [u8]) -> Message {
    Message::check(
        Arc::from("c"),
        Bytes::from_static(payload),
        &PayloadLimits::default(),
    )
    .unwrap()
}

#[test]
fn found_316_members_of_a_message_are_read_by_name() {
    let said = message(br#"{"by":"ada","at":{"$date":0},"text":null}"#);
    assert_eq!(said.get("by").and_then(Value::as_str), Some("ada"));
    assert!(said.get("at").is_some_and(|at| at.as_date().is_some()));
    assert!(said.get("text").is_some_and(Value::is_null));
    assert_eq!(said.get("room"), None);
    assert_eq!(message(b"[1]").get("0"), None);
}

#[tokio::test]
async fn a_channel_lasts_as_long_as_its_last_lease() {
    let process = Process::local();
    let first = process.join("c", 0).await.unwrap();
    let second = process.join("c", 0).await.unwrap();
    let other = process.join("c", 1).await.unwrap();
    assert_eq!(process.channels.channel_count(), 1);
    drop(first);
    process.emit("c", &value("1")).await.unwrap();
    drop(second);
    process.emit("c", &value("2")).await.unwrap();
    drop(other);
    process.emit("c", &value("3")).await.unwrap();
    assert_eq!(process.shards[0].messages(), ["c 1"]);
    assert_eq!(process.shards[1].messages(), ["c 1", "c 2"]);
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn the_servers_own_channels_are_heard_and_not_counted() {
    let process = Process::local();
    let topics = InternalChannel::Topics;
    let mut listener = process.channels.listen_internally(topics).await.unwrap();
    let name = Value::from("orders");
    process
        .channels
        .emit_internally(topics, &name)
        .await
        .unwrap();
    let Some(Received::Message(message)) = listener.next().await else {
        panic!("nothing heard");
    };
    assert!(message.is_on(topics));
    assert_eq!(*message.value(), name);
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn vent_071_undefined_and_what_nobody_would_take_cannot_be_emitted() {
    let process = Process::local();
    let _lease = process.join("c", 0).await.unwrap();
    let deep = value(&("[".repeat(60) + &"]".repeat(60)));
    let limits = ejson::JsonLimits::new(65, 10_000);
    let deeper = ejson::parse(&("[".repeat(65) + &"]".repeat(65)), &limits).unwrap();
    let large = value(&format!("\"{}\"", "x".repeat(1024 * 1024)));
    for refused in [&Value::Undefined, &deeper, &large] {
        let error = process.emit("c", refused).await.unwrap_err();
        assert!(
            matches!(error, EmitError::InvalidArgument(_)) && error.is_certain(),
            "{error}"
        );
    }
    process.emit("c", &deep).await.unwrap();
    assert_eq!(process.shards[0].messages().len(), 1);
    assert_eq!(process.channels.dropped_payloads(), 0);
}

#[tokio::test]
async fn a_listener_hears_what_shards_hear_until_it_is_dropped() {
    let process = Process::local();
    let mut first = process.listen("c").await.unwrap();
    process.emit("c", &value("1")).await.unwrap();
    let mut second = process.listen("c").await.unwrap();
    let _other = process.listen("d").await.unwrap();
    let shard = process.join("c", 0).await.unwrap();
    process.emit("c", &value("2")).await.unwrap();
    drop(shard);
    process.emit("c", &value("3")).await.unwrap();
    assert_eq!(first.channel(), "c");
    for expected in ["1", "2", "3"] {
        assert_eq!(heard(&mut first).await, expected);
    }
    assert_eq!(heard(&mut second).await, "2");
    assert_eq!(process.shards[0].messages(), ["c 2"]);
    assert!(process.shards[1].messages().is_empty());
    drop(first);
    process.emit("c", &value("4")).await.unwrap();
    assert_eq!(heard(&mut second).await, "3");
    assert_eq!(heard(&mut second).await, "4");
    assert_eq!(process.channels.channel_count(), 2);
    drop(second);
    assert_eq!(process.channels.channel_count(), 1);
}

#[tokio::test]
async fn a_slow_listener_has_a_gap_and_keeps_nobody_waiting() {
    let settings = ChannelSettings {
        queued_messages: 2,
        ..ChannelSettings::default()
    };
    let process = Process::start(Bus::default(), settings);
    let mut slow = process.listen("c").await.unwrap();
    let mut quick = process.listen("c").await.unwrap();
    for n in ["1", "2", "3", "4"] {
        process.emit("c", &value(n)).await.unwrap();
        assert_eq!(heard(&mut quick).await, n);
    }
    for expected in ["1", "2", "gap"] {
        assert_eq!(heard(&mut slow).await, expected);
    }
    process.emit("c", &value("5")).await.unwrap();
    assert_eq!(heard(&mut slow).await, "5");
}

#[tokio::test]
async fn listeners_end_with_the_channels_after_what_came_before() {
    let process = Process::local();
    let mut waiting = process.listen("c").await.unwrap();
    let ended = process
        .tasks
        .spawn(async move { heard(&mut waiting).await });
    let mut full = process.listen("d").await.unwrap();
    process.emit("d", &value("1")).await.unwrap();
    tokio::task::yield_now().await;
    process.channels.close();
    assert_eq!(ended.await.unwrap(), "end");
    assert_eq!(heard(&mut full).await, "1");
    for _ in 0..2 {
        assert_eq!(heard(&mut full).await, "end");
    }
}

#[tokio::test]
async fn after_close_nobody_joins() {
    let process = Process::local();
    process.channels.close();
    assert!(matches!(process.join("c", 0).await, Err(BusError::Closed)));
    assert!(matches!(process.listen("c").await, Err(BusError::Closed)));
    assert_eq!(process.channels.channel_count(), 0);
}

#[test]
fn without_redis_a_join_waits_or_is_refused_and_a_dropped_one_leaves_nothing() {
    #[derive(Debug)]
    struct Away;
    impl Backend for Away {
        fn is_immediate(&self) -> bool {
            false
        }
        fn start(
            &self,
            registry: &Arc<ChannelRegistry>,
            _: &TaskTracker,
            _: &tokio_util::sync::CancellationToken,
        ) -> std::io::Result<()> {
            // The first attempt has failed.
            registry.set_away(Arc::new(std::io::Error::other("nobody there")));
            Ok(())
        }
        fn publish<'a>(&'a self, _: &'a ChannelRegistry, _: &'a str, _: Bytes) -> Publishing<'a> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let holding = Process::start(Bus::new(Away), ChannelSettings::default());
        {
            let mut join = pin!(holding.join("c", 0));
            assert!(
                join.as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            assert_eq!(holding.channels.channel_count(), 1);
        }
        assert_eq!(holding.channels.channel_count(), 0);

        let before = tokio::time::Instant::now();
        let unavailable = holding.join("c", 0).await;
        assert!(matches!(unavailable, Err(BusError::Unavailable(_))));
        assert_eq!(before.elapsed().as_secs(), 30);
        assert_eq!(holding.channels.channel_count(), 0);

        let settings = ChannelSettings {
            when_away: WhenAway::Refuse,
            ..ChannelSettings::default()
        };
        let refusing = Process::start(Bus::new(Away), settings);
        let before = tokio::time::Instant::now();
        assert!(matches!(
            refusing.join("c", 0).await,
            Err(BusError::Unavailable(_))
        ));
        assert_eq!(before.elapsed().as_secs(), 0);
    });
}

#[tokio::test]
async fn found_108_a_gap_is_told_before_what_came_after_it() {
    let registry = Arc::new(ChannelRegistry::new(&ChannelSettings::default(), false));
    let shards: [Arc<Recorder>; 2] = Default::default();
    registry.attach(
        shards
            .iter()
            .map(|shard| Arc::clone(shard) as Arc<dyn Port>)
            .collect(),
    );
    let leases: Vec<Lease> = [("a", 0), ("b", 0), ("b", 1), ("c", 1)]
        .map(|(channel, shard)| registry.acquire(channel, Follower::Shard(shard)).0)
        .into();
    let deliver = |name| registry.deliver(std::iter::once((name, Bytes::from_static(b"1"))));
    let gaps = || shards.each_ref().map(|shard| shard.gaps());
    registry.connected(1);
    for name in ["a", "b", "c"] {
        registry.confirm(name);
    }
    registry.disconnected();
    registry.connected(2);
    registry.confirm("a");
    assert_eq!(gaps(), [[], []]);
    // Redis has subscribed to it, or this message would not come; only the handling of the
    // confirmation is late.
    deliver("b");
    let told = |generation, names: &[&str]| {
        (
            generation,
            names.iter().map(|it| (*it).to_owned()).collect(),
        )
    };
    assert_eq!(gaps()[0], [told(2, &["a", "b"])]);
    assert_eq!(gaps()[1], [told(2, &["b"])]);
    deliver("b");
    for name in ["b", "c"] {
        registry.confirm(name);
    }
    registry.restored();
    // Each gap is reported once.
    assert_eq!(gaps()[0].len(), 1);
    assert_eq!(gaps()[1], [told(2, &["b"]), told(2, &["c"])]);
    assert_eq!(shards[1].messages(), ["b 1", "b 1"]);
    drop(leases);
}
