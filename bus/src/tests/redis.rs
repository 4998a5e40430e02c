//! The bus over a real Redis, which each test starts, stops and restarts for itself. A second
//! connection checks the results from outside.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use updraft_test_support::example;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::scripted_redis::ScriptedRedis;

use super::support::{Process, eventually, heard, process_of, value};
use crate::redis::Publisher;
use crate::{BusError, BusFault, ChannelSettings, EmitError, Emitter, Redis};

#[tokio::test]
async fn vent_053_072_who_joins_or_listens_shares_one_subscription_that_ends_with_the_last() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    assert_eq!(server.numsub("c"), 0);
    let commands = server.calls_of("subscribe");
    let (a, b, c, d) = tokio::join!(
        process.join("c", 0),
        process.join("c", 1),
        process.listen("c"),
        process.listen("c"),
    );
    let (a, b, mut c, d) = (a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap());
    // True already, not just soon: the joins have awaited it.
    assert_eq!(server.numsub("c"), 1);
    assert_eq!(server.calls_of("subscribe"), commands + 1);
    drop((a, b, d));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.publish("c", "1"), 1);
    assert_eq!(heard(&mut c).await, "1");
    drop(c);
    eventually("unsubscribed", async || server.numsub("c") == 0).await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn vent_058_a_join_that_is_given_up_leaves_no_subscription() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    for patience in 0..50 {
        let join = process.join("c", 0);
        drop(timeout(Duration::from_micros(20 * patience), join).await);
    }
    eventually("unsubscribed", async || server.numsub("c") == 0).await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn vent_057_060_row_056_leaving_and_joining_at_once_never_ends_deaf_or_leaking() {
    let server = Arc::new(RedisServer::start());
    let process = Arc::new(process_of(&server).await);
    let tasks: Vec<_> = (0..8)
        .map(|task: u64| {
            let (process, server) = (Arc::clone(&process), Arc::clone(&server));
            process.tasks.clone().spawn(async move {
                let mut random = fastrand::Rng::with_seed(task);
                for _ in 0..100 {
                    let channel = format!("c{}", random.u32(..3));
                    let lease = process.join(&channel, random.usize(..2)).await.unwrap();
                    // A holder of a lease is subscribed, whatever the others do.
                    assert_eq!(server.publish(&channel, "1"), 1);
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
    eventually("all left", async || server.channels() == 0).await;
    assert_eq!(process.channels.channel_count(), 0);
}

#[tokio::test]
async fn row_088_a_channel_that_redis_refuses_is_an_error_and_harms_no_other() {
    let server = RedisServer::start();
    let acl = ["SETUSER", "default", "resetchannels", "&open*"];
    server.tell("ACL", &acl);
    let process = process_of(&server).await;
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
async fn what_has_come_is_taken_whole_however_much_it_is() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    let _lease = process.join("c", 0).await.unwrap();
    // If the reader yielded with messages left, as tokio makes it do after 128, the crate would
    // read on without end.
    eventually("more than 128 in one batch", async || {
        let all = "for i = 1, 1000 do redis.call('PUBLISH', 'c', i) end";
        server.tell("EVAL", &[all, "0"]);
        sleep(Duration::from_millis(20)).await;
        process.shards[0].batch_sizes().into_iter().max() > Some(128)
    })
    .await;
}

#[tokio::test]
async fn row_088_a_denied_channel_is_tried_again_however_much_others_come_and_go() {
    let server = RedisServer::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let interval = Duration::from_millis(500);
    let process = Process::start(redis.retry_refused(interval), ChannelSettings::default());
    let _secret = process.join("secret", 0).await.unwrap();
    let may = |channels| server.tell("ACL", &["SETUSER", "default", "resetchannels", channels]);
    may("&open*");
    eventually("told", async || process.shards[0].refused() == ["secret"]).await;
    may("&*");
    // Each of them is a change, and none leaves the interval quiet.
    eventually("it is back", async || {
        drop(process.join("open", 0).await.unwrap());
        server.numsub("secret") == 1
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
        // No subscription has ended because of it.
        assert!(lease.is_ok(), "{lease:?}");
        assert!(process.shards[0].refused().is_empty());
        process.emit("c", &value("1")).await.unwrap();
    }
}

fn server_process(server: &ScriptedRedis) -> Process {
    Process::start(
        Redis::lazy(&server.url()).unwrap(),
        ChannelSettings::default(),
    )
}

#[tokio::test]
async fn row_092_a_new_channel_does_not_wait_for_those_that_are_restored() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let process = Process::start(Redis::lazy(&url).unwrap(), ChannelSettings::default());
    let names: Vec<String> = (0..5000).map(|n| format!("c{n}")).collect();
    let joins = names.iter().map(|name| process.join(name, 0));
    let leases = futures_util::future::join_all(joins).await;
    assert!(leases.iter().all(Result::is_ok));
    let commands = server.calls_of("subscribe");
    // Ten commands and their answers, each of them late: about two seconds.
    proxy.set(|faults| faults.latency = Duration::from_millis(100));
    proxy.cut();
    eventually("some are restored", async || {
        let restored = server.channels();
        process.channels.generation() == 2 && restored > 0 && restored < 3000
    })
    .await;
    let _new = process.join("new", 0).await.unwrap();
    assert_eq!(server.numsub("new"), 1);
    assert!(
        process.shards[0].gaps().is_empty(),
        "all were restored first"
    );
    eventually("all are restored", async || {
        process.shards[0].gaps().len() == 1
    })
    .await;
    assert_eq!(server.channels(), 5001);
    let commands = server.calls_of("subscribe") - commands;
    assert!(commands <= 15, "not in portions, but {commands} commands");
    proxy.set(|faults| faults.latency = Duration::ZERO);
    drop(leases);
    eventually("they are left", async || server.channels() == 1).await;
}

#[tokio::test]
async fn both_connections_send_at_once_and_are_kept_alive() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    let _lease = process.join("c", 0).await.unwrap();
    let publisher = Publisher::new(&server.url()).unwrap();
    let tcp = publisher.client().get_connection_info().tcp_settings();
    assert!(tcp.nodelay());
    assert!(tcp.keepalive().is_some());
    // The operating system shows a running timer (2) for a connection with keepalive.
    let port = format!(":{:04X}", server.port());
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
async fn row_084_connecting_fails_without_redis() {
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
}

#[tokio::test]
async fn found_107_connecting_tries_both_sides_and_says_which_failed() {
    let server = RedisServer::start();
    // A password that Redis does not ask for: a publishing connection may have one, a listening
    // connection may not.
    let url = format!("redis://:needless@127.0.0.1:{}", server.port());
    let refused = Redis::connect(&url).await.unwrap_err();
    assert!(matches!(refused, BusError::Refused(_)), "{refused:?}");
    assert_eq!(refused.fault(), Some(BusFault::Authentication));
    let text = refused.to_string();
    assert!(text.contains("the connection that listens"), "{text}");
    assert!(!text.contains("needless"), "{text}");
    // An emitter has no listening side.
    let emitter = Emitter::connect(&url).await.unwrap();
    emitter.emit("c", 1).await.unwrap();

    let may = |rights: &[&str]| {
        let all = ["SETUSER", "worker", "on", ">right", "+@all", "&*"];
        server.tell("ACL", &[&all, rights].concat());
    };
    let url = format!("redis://worker:right@127.0.0.1:{}", server.port());
    may(&["-subscribe"]);
    let refused = Redis::connect(&url).await.unwrap_err();
    assert_eq!(refused.fault(), Some(BusFault::Denied));
    assert!(refused.to_string().contains("listens"), "{refused}");
    // Its rights to single channels, and the prefix, are not known.
    may(&["+subscribe", "resetchannels", "&shop.*"]);
    Redis::connect(&url).await.unwrap();

    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port());
    server.tell("ACL", &["SETUSER", "default", "resetpass", ">right"]);
    let refused = Redis::connect(&wrong).await.unwrap_err();
    assert!(!refused.to_string().contains("listens"), "{refused}");
}

#[tokio::test]
async fn found_209_a_generation_begins_when_redis_has_let_us_in() {
    let server = RedisServer::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let redis = redis.reconnect_delay(Duration::from_millis(10), Duration::from_millis(50));
    let process = Process::start(redis, ChannelSettings::default());
    let _lease = process.join("c", 0).await.unwrap();
    assert_eq!(process.channels.generation(), 1);
    server.tell("CONFIG", &["SET", "requirepass", "asked for"]);
    server.tell("CLIENT", &["KILL", "TYPE", "pubsub"]);
    eventually("refused a few times", async || {
        process.channels.faults().of(BusFault::Authentication) >= 5
    })
    .await;
    assert!(!process.channels.is_connected());
    assert_eq!(process.channels.generation(), 1);
    server.tell("CONFIG", &["SET", "requirepass", ""]);
    eventually("it is back", async || server.numsub("c") == 1).await;
    assert_eq!(process.channels.generation(), 2);
    eventually("told", async || process.shards[0].gaps().len() == 1).await;
}

#[tokio::test]
async fn a_listener_has_a_gap_where_the_connection_was_cut() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let process = Process::start(
        Redis::connect(&url).await.unwrap(),
        ChannelSettings::default(),
    );
    let mut listener = process.listen("c").await.unwrap();
    for outage in ["1", "2"] {
        server.publish("c", outage);
        assert_eq!(heard(&mut listener).await, outage);
        proxy.cut();
        // Reported once, and when the channel is live again: nothing is missed from here on.
        assert_eq!(heard(&mut listener).await, "gap");
        assert_eq!(server.numsub("c"), 1);
    }
    server.publish("c", "3");
    assert_eq!(heard(&mut listener).await, "3");
}

#[tokio::test]
async fn the_example_emits_to_who_listens() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    let mut listener = process.listen("threads::7::new_message").await.unwrap();
    example::run("emitter", &[&server.url(), "threads", "7", "hello"]);
    assert_eq!(heard(&mut listener).await, r#"{"message":"hello"}"#);
}

#[tokio::test]
async fn a_listener_is_told_of_a_channel_that_is_denied_and_of_its_return() {
    let server = RedisServer::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let redis = redis.retry_refused(Duration::from_millis(50));
    let process = Process::start(redis, ChannelSettings::default());
    let mut listener = process.listen("secret").await.unwrap();
    // Redis ends the connections of a user that is subscribed to channels it may no longer use.
    server.tell("ACL", &["SETUSER", "default", "resetchannels", "&open*"]);
    assert_eq!(heard(&mut listener).await, "refused");
    assert!(process.channels.faults().of(BusFault::Denied) >= 1);
    server.tell("ACL", &["SETUSER", "default", "&*"]);
    let mut told = heard(&mut listener).await;
    while told == "refused" {
        told = heard(&mut listener).await;
    }
    assert_eq!(told, "gap");
    server.publish("secret", "1");
    assert_eq!(heard(&mut listener).await, "1");
}

#[tokio::test]
async fn closing_ends_every_task_and_every_subscription() {
    let server = RedisServer::start();
    let process = process_of(&server).await;
    let _lease = process.join("c", 0).await.unwrap();
    process.tasks.close();
    process.channels.close();
    timeout(Duration::from_secs(5), process.tasks.wait())
        .await
        .unwrap();
    eventually("unsubscribed", async || server.numsub("c") == 0).await;

    let dropped = process_of(&server).await;
    let tasks = dropped.tasks.clone();
    tasks.close();
    drop(dropped);
    timeout(Duration::from_secs(5), tasks.wait()).await.unwrap();
}
