//! The bus over a real Redis, which each test starts, stops and restarts for itself.
//! What holds is looked at from outside too, with a second connection.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use updraft_test_support::proxy::Proxy;
use updraft_test_support::scripted_redis::ScriptedRedis;

use super::redis::Publisher;
use super::tests_support::{Process, RedisServer, eventually, text, value};
use super::{BusError, BusFault, EmitError, Emitter, Redis, Settings};

#[tokio::test]
async fn vent_053_072_many_joins_are_one_subscription_that_ends_with_the_last() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    assert_eq!(observer.subscribers("c").await, 0);
    let commands = observer.count_of("subscribe").await;
    let (a, b, c) = tokio::join!(
        process.join("c", 0),
        process.join("c", 0),
        process.join("c", 1),
    );
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    // Already true, not soon: that is what the joins awaited.
    assert_eq!(observer.subscribers("c").await, 1);
    assert_eq!(observer.count_of("subscribe").await, commands + 1);
    drop((a, c));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(observer.subscribers("c").await, 1);
    drop(b);
    eventually("unsubscribed", async || {
        observer.subscribers("c").await == 0
    })
    .await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn vent_016_what_is_published_right_after_a_join_arrives_in_order() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    for round in 0..20 {
        let channel = format!("c{round}");
        let _lease = process.join(&channel, round % 2).await.unwrap();
        for n in 0..10 {
            assert_eq!(observer.publish(&channel, n).await, 1);
        }
        let shard = &process.shards[round % 2];
        let expected: Vec<String> = (0..10).map(|n| format!("{channel} {n}")).collect();
        eventually("ten messages", async || {
            shard.messages().ends_with(&expected)
        })
        .await;
    }
}

#[tokio::test]
async fn vent_030_048_messages_from_elsewhere_come_in_order_and_in_batches() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let _a = process.join("a", 0).await.unwrap();
    let _b = process.join("b", 1).await.unwrap();
    let mut burst = redis::pipe();
    for n in 0..2000 {
        burst.publish(if n % 2 == 0 { "a" } else { "b" }, n);
    }
    burst
        .exec_async(&mut server.observer().await.0)
        .await
        .unwrap();
    let expected = |channel: &str, odd: usize| -> Vec<String> {
        (0..1000)
            .map(|n| format!("{channel} {}", 2 * n + odd))
            .collect()
    };
    for (shard, expected) in process
        .shards
        .iter()
        .zip([expected("a", 0), expected("b", 1)])
    {
        let own = || -> Vec<String> {
            let channel = expected[0].split(' ').next().unwrap();
            shard
                .messages()
                .into_iter()
                .filter(|message| message.starts_with(channel))
                .collect()
        };
        eventually("a thousand messages", async || own().len() == 1000).await;
        assert_eq!(own(), expected);
        assert!(
            shard.batch_sizes().len() < 1000,
            "{:?}",
            shard.batch_sizes()
        );
    }
}

#[tokio::test]
async fn vent_058_a_join_that_is_given_up_leaves_no_subscription() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    for patience in 0..50 {
        let join = process.join("c", 0);
        drop(timeout(Duration::from_micros(20 * patience), join).await);
    }
    eventually("unsubscribed", async || {
        observer.subscribers("c").await == 0
    })
    .await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn vent_057_060_row_056_leaving_and_joining_at_once_never_ends_deaf_or_leaking() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = Arc::new(server.process().await);
    let tasks: Vec<_> = (0..8)
        .map(|task: u64| {
            let (process, observer) = (Arc::clone(&process), observer.clone());
            process.tasks.clone().spawn(async move {
                let mut random = fastrand::Rng::with_seed(task);
                for _ in 0..100 {
                    let channel = format!("c{}", random.u32(..3));
                    let lease = process.join(&channel, random.usize(..2)).await.unwrap();
                    // Who holds a lease is subscribed, whatever the others do.
                    assert_eq!(observer.publish(&channel, "1").await, 1);
                    drop(lease);
                    if random.bool() {
                        sleep(Duration::from_micros(random.u64(..300))).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    eventually("all left", async || observer.channels().await == 0).await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn vent_043_047_row_090_a_bad_payload_is_counted_and_the_next_message_arrives() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    let _lease = process.join("c", 0).await.unwrap();
    for payload in [&b"not json"[..], b"", b"\xff", b"{}{}", &[b'1'; 2_000_000]] {
        observer.publish("c", payload).await;
    }
    observer.publish("c", r#"{"good":1}"#).await;
    eventually("the good one", async || {
        !process.shards[0].messages().is_empty()
    })
    .await;
    assert_eq!(process.shards[0].messages(), [r#"c {"good":1}"#]);
    assert_eq!(process.channels.dropped_payloads(), 5);
}

#[tokio::test]
async fn vent_068_069_emit_publishes_what_redis_oplog_does() {
    let server = RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let (mut sink, mut stream) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("tasks::7").await.unwrap();
    let process = server.process().await;
    let emitter = Emitter::connect(&server.url()).await.unwrap();

    process
        .emit("tasks::7", &value(r#"{"at":{"$date":5}}"#))
        .await
        .unwrap();
    process
        .emit("tasks::7", &value(r#"{"$escape":{"$date":5}}"#))
        .await
        .unwrap();
    emitter
        .emit("tasks::7", serde_json::json!({ "$date": 5 }))
        .await
        .unwrap();
    emitter
        .emit("tasks::7", serde_json::json!({ "z": null }))
        .await
        .unwrap();
    emitter.emit("tasks::7", 7).await.unwrap();
    for expected in [
        r#"{"at":{"$date":5}}"#,
        r#"{"$escape":{"$date":5}}"#,
        r#"{"$escape":{"$date":5}}"#,
        r#"{"z":null}"#,
        "7",
    ] {
        let message = timeout(Duration::from_secs(5), stream.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message.get_channel_name(), "tasks::7");
        assert_eq!(text(message.get_payload_bytes()), expected);
    }
}

#[tokio::test]
async fn vent_048_emit_comes_back_through_redis() {
    let server = RedisServer::start().await;
    let (here, there) = (server.process().await, server.process().await);
    let _here = here.join("c", 0).await.unwrap();
    let _there = there.join("c", 0).await.unwrap();
    here.emit("c", &value(r#"{"n":1}"#)).await.unwrap();
    for process in [here, there] {
        eventually("delivered", async || {
            process.shards[0].messages() == [r#"c {"n":1}"#]
        })
        .await;
    }
}

#[tokio::test]
async fn vent_066_row_085_after_a_restart_the_gap_is_told_once_and_messages_flow() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let _a = process.join("a", 0).await.unwrap();
    let _b = process.join("b", 0).await.unwrap();
    let _both = process.join("b", 1).await.unwrap();
    drop(process.join("left", 1).await.unwrap());
    assert_eq!(process.channels.generation(), 1);

    let server = server.restart().await;
    eventually("told", async || !process.shards[1].gaps().is_empty()).await;
    let generation = process.channels.generation();
    assert!(generation >= 2);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(process.shards[0].gaps(), [(generation, names(&["a", "b"]))]);
    assert_eq!(process.shards[1].gaps(), [(generation, names(&["b"]))]);

    let observer = server.observer().await;
    // The gap is told when all is subscribed to again: nothing published from here on is missed.
    assert_eq!(observer.publish("a", "1").await, 1);
    assert_eq!(observer.publish("b", "2").await, 1);
    assert_eq!(observer.channels().await, 2);
    eventually("messages", async || {
        process.shards[0].messages() == ["a 1", "b 2"]
    })
    .await;
    process.emit("b", &value("3")).await.unwrap();
    eventually("emitted", async || {
        process.shards[1].messages().ends_with(&["b 3".into()])
    })
    .await;
    assert_eq!(process.shards[0].gaps().len(), 1);
}

#[tokio::test]
async fn vent_017_067_while_redis_is_away_a_join_waits_and_an_emit_fails_visibly() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let (port, lease) = (server.port, process.join("live", 0).await.unwrap());
    drop(server);
    eventually("noticed", async || !process.channels.is_connected()).await;
    // The connection that publishes may learn of it with this one; then the next attempt is made knowingly.
    drop(process.emit("c", &value("1")).await);
    let error = process.emit("c", &value("1")).await.unwrap_err();
    assert!(matches!(error, EmitError::NotSent(_)), "{error:?}");

    let (join, again) = (process.join("c", 1), process.join("live", 1));
    let waiting = async { tokio::join!(join, again) };
    let restart = async {
        sleep(Duration::from_millis(200)).await;
        RedisServer::start_on(port).await
    };
    let ((join, again), server) = tokio::join!(waiting, restart);
    let _leases = (join.unwrap(), again.unwrap(), lease);
    let observer = server.observer().await;
    assert_eq!(
        (
            observer.subscribers("c").await,
            observer.subscribers("live").await
        ),
        (1, 1)
    );
    process.emit("c", &value("2")).await.unwrap();
    eventually("delivered", async || {
        process.shards[1].messages() == ["c 2"]
    })
    .await;
    assert_eq!(process.shards[0].gaps()[0].1, ["live"]);
}

#[tokio::test]
async fn row_086_a_connection_that_falls_silent_is_replaced() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let _lease = process.join("c", 0).await.unwrap();
    server.signal("-STOP");
    eventually("noticed", async || !process.channels.is_connected()).await;
    server.signal("-CONT");
    eventually("told", async || process.shards[0].gaps().len() == 1).await;
    process.emit("c", &value("1")).await.unwrap();
    eventually("delivered", async || {
        process.shards[0].messages() == ["c 1"]
    })
    .await;
}

#[tokio::test]
async fn row_088_a_channel_that_redis_refuses_is_an_error_and_harms_no_other() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let acl = ["SETUSER", "default", "resetchannels", "&open*"];
    redis::cmd("ACL")
        .arg(&acl)
        .exec_async(&mut observer.0.clone())
        .await
        .unwrap();
    let process = server.process().await;
    let (a, b, c) = tokio::join!(
        process.join("open1", 0),
        process.join("secret", 0),
        process.join("open2", 0),
    );
    let _open = (a.unwrap(), c.unwrap());
    assert!(matches!(b, Err(BusError::Refused(_))), "{b:?}");
    assert_eq!(process.channels.channel_count(), 2);
    let refused = process.emit("secret", &value("1")).await;
    assert!(matches!(refused, Err(EmitError::NotSent(_))), "{refused:?}");
    process.emit("open2", &value("1")).await.unwrap();
    eventually("delivered", async || {
        process.shards[0].messages() == ["open2 1"]
    })
    .await;
}

#[tokio::test]
async fn row_088_a_channel_that_redis_denies_after_a_reconnect_is_told_to_its_shards() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    let _open = process.join("open", 0).await.unwrap();
    let _secret = process.join("secret", 1).await.unwrap();
    // Redis ends the connections of a user who follows what it no longer may.
    let acl = ["SETUSER", "default", "resetchannels", "&open*"];
    redis::cmd("ACL")
        .arg(&acl)
        .exec_async(&mut observer.0.clone())
        .await
        .unwrap();
    eventually("told", async || process.shards[1].refused() == ["secret"]).await;
    assert!(process.shards[0].refused().is_empty());
    eventually("the other is live", async || {
        process.shards[0].gaps().len() == 1
    })
    .await;
    assert!(process.channels.faults().of(BusFault::Denied) >= 1);
}

#[tokio::test]
async fn what_has_come_is_taken_whole_however_much_it_is() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    let _lease = process.join("c", 0).await.unwrap();
    // A reader that yields with messages left, as tokio has it do after 128, would let the crate read on without end.
    eventually("more than 128 in one batch", async || {
        let mut all = redis::cmd("EVAL");
        all.arg("for i = 1, 1000 do redis.call('PUBLISH', 'c', i) end");
        all.arg(0);
        all.exec_async(&mut observer.0.clone()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        process.shards[0].batch_sizes().into_iter().max() > Some(128)
    })
    .await;
}

#[tokio::test]
async fn row_088_a_denied_channel_is_tried_again_however_much_others_come_and_go() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let redis = Redis::connect(&server.url()).await.unwrap();
    let interval = Duration::from_millis(500);
    let process = Process::start(redis.retry_refused(interval), Settings::default());
    let _secret = process.join("secret", 0).await.unwrap();
    let may = async |channels| {
        let mut acl = redis::cmd("ACL");
        acl.arg(&["SETUSER", "default", "resetchannels", channels]);
        acl.exec_async(&mut observer.0.clone()).await.unwrap();
    };
    may("&open*").await;
    eventually("told", async || process.shards[0].refused() == ["secret"]).await;
    may("&*").await;
    // Each of them is a change, and none lets the interval pass in quiet.
    eventually("it is back", async || {
        drop(process.join("open", 0).await.unwrap());
        observer.subscribers("secret").await == 1
    })
    .await;
}

#[tokio::test]
async fn row_088_loading_is_counted_and_subscriptions_work_all_the_same() {
    let server = ScriptedRedis::start();
    server.refuse(|command| (command[0] == "PING").then(|| "LOADING data".into()));
    let refused = Redis::connect(&server.url()).await.unwrap_err();
    assert_eq!(refused.fault(), Some(BusFault::Loading));
    let process = server_process(&server);
    let _lease = process.join("c", 0).await.unwrap();
    eventually("counted", async || {
        process.channels.faults().of(BusFault::Loading) >= 1
    })
    .await;
    assert!(process.channels.is_connected());
}

#[tokio::test]
async fn row_088_what_redis_as_a_whole_refuses_is_told_apart_and_waited_out() {
    for (answer, fault) in [
        ("NOAUTH Authentication required.", BusFault::Authentication),
        ("LOADING data", BusFault::Loading),
        (
            "READONLY You can't write against a replica.",
            BusFault::ReadOnly,
        ),
        ("OOM command not allowed", BusFault::OutOfMemory),
    ] {
        let server = ScriptedRedis::start();
        let is_first = |command: &[String]| command[0] == "SUBSCRIBE" || command[0] == "PUBLISH";
        server.refuse(move |command| is_first(command).then(|| answer.into()));
        let process = server_process(&server);
        let error = process.emit("c", &value("1")).await.unwrap_err();
        assert!(matches!(error, EmitError::NotSent(_)), "{error:?}");
        assert_eq!(error.fault(), Some(fault));
        let join = process.join("c", 0);
        let answered = async {
            eventually("tried again", async || {
                process.channels.faults().of(fault) >= 3
            })
            .await;
            server.refuse(|_| None);
        };
        let (lease, ()) = tokio::join!(join, answered);
        // Nobody's subscription has ended for it.
        assert!(lease.is_ok(), "{lease:?}");
        assert!(process.shards[0].refused().is_empty());
        process.emit("c", &value("1")).await.unwrap();
    }
}

fn server_process(server: &ScriptedRedis) -> Process {
    Process::start(Redis::lazy(&server.url()).unwrap(), Settings::default())
}

#[tokio::test]
async fn row_092_a_new_channel_does_not_wait_for_those_that_are_restored() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let process = Process::start(Redis::lazy(&url).unwrap(), Settings::default());
    let names: Vec<String> = (0..5000).map(|n| format!("c{n}")).collect();
    let joins = names.iter().map(|name| process.join(name, 0));
    let leases = futures_util::future::join_all(joins).await;
    assert!(leases.iter().all(Result::is_ok));
    // Ten commands and their answers, each of them late: about two seconds.
    proxy.set(|faults| faults.latency = Duration::from_millis(100));
    proxy.cut();
    let observer = server.observer().await;
    eventually("some are restored", async || {
        let restored = observer.channels().await;
        process.channels.generation() == 2 && restored > 0 && restored < 3000
    })
    .await;
    let _new = process.join("new", 0).await.unwrap();
    assert_eq!(observer.subscribers("new").await, 1);
    assert!(
        process.shards[0].gaps().is_empty(),
        "all were restored first"
    );
    eventually("all are restored", async || {
        process.shards[0].gaps().len() == 1
    })
    .await;
    assert_eq!(observer.channels().await, 5001);
}

#[tokio::test]
async fn both_connections_send_at_once_and_are_kept_alive() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let _lease = process.join("c", 0).await.unwrap();
    let publisher = Publisher::new(&server.url()).unwrap();
    let tcp = publisher.client().get_connection_info().tcp_settings();
    assert!(tcp.nodelay());
    assert!(tcp.keepalive().is_some());
    // The operating system shows a running timer (2) for a connection that it keeps alive.
    let port = format!(":{:04X}", server.port);
    eventually("kept alive", async || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = table.lines().filter(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns[2].ends_with(&port) && columns[5].starts_with("02:")
        });
        ours.count() >= 2
    })
    .await;
}

#[tokio::test]
async fn row_092_two_thousand_channels_are_restored_after_a_restart() {
    let server = RedisServer::start().await;
    let process = server.process().await;
    let joins = (0..2000).map(|n| process.join(Box::leak(format!("c{n}").into_boxed_str()), n % 2));
    let leases = futures_util::future::join_all(joins).await;
    assert!(leases.iter().all(Result::is_ok));
    let server = server.restart().await;
    eventually("told", async || {
        process.shards.iter().all(|shard| shard.gaps().len() == 1)
    })
    .await;
    assert_eq!(process.shards[0].gaps()[0].1.len(), 1000);
    let observer = server.observer().await;
    assert_eq!(observer.channels().await, 2000);
    assert!(observer.count_of("subscribe").await <= 10);
    drop(leases);
    eventually("all left", async || observer.channels().await == 0).await;
}

#[tokio::test]
async fn row_084_connecting_fails_without_redis_and_with_a_wrong_password() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let away = Redis::connect(&format!("redis://127.0.0.1:{nobody}")).await;
    assert!(matches!(away, Err(BusError::Unavailable(_))), "{away:?}");
    assert!(matches!(
        Emitter::connect("http://nonsense").await,
        Err(BusError::InvalidUrl(_))
    ));

    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let acl = ["SETUSER", "default", ">right"];
    redis::cmd("ACL")
        .arg(&acl)
        .arg("resetpass")
        .arg(">right")
        .exec_async(&mut observer.0.clone())
        .await
        .unwrap();
    for url in [
        server.url(),
        format!("redis://:wrong@127.0.0.1:{}", server.port),
    ] {
        let refused = Redis::connect(&url).await;
        assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
    }
    let redis = Redis::connect(&format!("redis://:right@127.0.0.1:{}", server.port))
        .await
        .unwrap();
    assert!(!format!("{redis:?}").contains("right"));
}

#[tokio::test]
async fn found_107_connecting_tries_both_sides_and_says_which_failed() {
    let server = RedisServer::start().await;
    // A password that nobody asks for: who publishes may have it, who listens may not.
    let url = format!("redis://:needless@127.0.0.1:{}", server.port);
    let refused = Redis::connect(&url).await.unwrap_err();
    assert!(matches!(refused, BusError::Refused(_)), "{refused:?}");
    assert_eq!(refused.fault(), Some(BusFault::Authentication));
    assert_eq!(
        refused.to_string(),
        "Redis refused the connection that listens"
    );
    // Who only publishes has no other side.
    let emitter = Emitter::connect(&url).await.unwrap();
    emitter.emit("c", 1).await.unwrap();

    let may = async |rights: &[&str]| {
        let mut acl = redis::cmd("ACL");
        acl.arg(&["SETUSER", "worker", "on", ">right", "+@all", "&*"]);
        acl.arg(rights);
        let mut observer = server.observer().await;
        acl.exec_async(&mut observer.0).await.unwrap();
    };
    let url = format!("redis://worker:right@127.0.0.1:{}", server.port);
    may(&["-subscribe"]).await;
    let refused = Redis::connect(&url).await.unwrap_err();
    assert_eq!(refused.fault(), Some(BusFault::Denied));
    assert!(refused.to_string().contains("listens"), "{refused}");
    // What it may on single channels, and under which prefix, is not known.
    may(&["+subscribe", "resetchannels", "&shop.*"]).await;
    Redis::connect(&url).await.unwrap();

    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port);
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", "default", "resetpass", ">right"]);
    let mut observer = server.observer().await;
    acl.exec_async(&mut observer.0).await.unwrap();
    let refused = Redis::connect(&wrong).await.unwrap_err();
    assert!(refused.to_string().contains("publishes"), "{refused}");
}

#[tokio::test]
async fn found_209_a_generation_begins_when_redis_has_let_us_in() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let redis = Redis::connect(&server.url()).await.unwrap();
    let redis = redis.reconnect_delay(Duration::from_millis(10), Duration::from_millis(50));
    let process = Process::start(redis, Settings::default());
    let _lease = process.join("c", 0).await.unwrap();
    assert_eq!(process.channels.generation(), 1);
    let tell = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut observer.0.clone()).await.unwrap();
    };
    tell(&["CONFIG", "SET", "requirepass", "asked for"]).await;
    tell(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    eventually("refused a few times", async || {
        process.channels.faults().of(BusFault::Authentication) >= 5
    })
    .await;
    assert!(!process.channels.is_connected());
    assert_eq!(process.channels.generation(), 1);
    tell(&["CONFIG", "SET", "requirepass", ""]).await;
    eventually("it is back", async || observer.subscribers("c").await == 1).await;
    assert_eq!(process.channels.generation(), 2);
    eventually("told", async || process.shards[0].gaps().len() == 1).await;
}

#[tokio::test]
async fn closing_ends_every_task_and_every_subscription() {
    let server = RedisServer::start().await;
    let observer = server.observer().await;
    let process = server.process().await;
    let _lease = process.join("c", 0).await.unwrap();
    process.tasks.close();
    process.channels.close();
    timeout(Duration::from_secs(5), process.tasks.wait())
        .await
        .unwrap();
    eventually("unsubscribed", async || {
        observer.subscribers("c").await == 0
    })
    .await;

    let dropped = server.process().await;
    let tasks = dropped.tasks.clone();
    tasks.close();
    drop(dropped);
    timeout(Duration::from_secs(5), tasks.wait()).await.unwrap();
}
