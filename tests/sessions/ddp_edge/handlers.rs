//! What handlers do: panic, never end, block, outrun their client, follow a bus that does not
//! answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use updraft::prelude::*;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::{
    INTERNAL, SILENCE, call, expect_result, nosub, nosub_with, nothing, ready, sub, unsub,
};
use crate::common::{Count, Gate, Running};

#[test]
fn row_070_071_a_panic_costs_one_answer() {
    async fn publication(subscription: Subscription) -> Result<()> {
        subscription.added("c", "x", ejson!({}));
        panic!("secret text");
    }
    async fn method(_: Call) -> Result<()> {
        tokio::task::yield_now().await;
        panic!("secret text");
    }
    let server = Server::builder()
        .publish("panics", publication)
        .method("panics", method)
        // One that panics before there is a future.
        .method("early", |_: Call| -> std::future::Ready<Result<()>> {
            panic!("secret text")
        })
        .method("io", |_: Call| async {
            Ok(Err::<(), _>(std::io::Error::other("secret text"))?)
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(&sub("s", "panics", ""));
    client.expect_text(r#"{"msg":"added","collection":"c","id":"x"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"c","id":"x"}"#);
    client.expect_text(&nosub_with("s", INTERNAL));
    for name in ["panics", "early", "io"] {
        client.send_text(&call("1", name, ""));
        expect_result(&mut client, "1", &format!(r#","error":{INTERNAL}"#));
    }
    client.send_text(&call("2", "nothing", ""));
    expect_result(&mut client, "2", "");
    assert_eq!(server.stats().failed_handlers, 4);
}

#[test]
fn row_072_a_publication_that_never_ends_is_dropped() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (begins, blocked, unblocked) = (begun.clone(), dropped.clone(), dropped.clone());
    let server = Server::builder()
        .publish("blocks", move |_: Subscription| {
            begins.add();
            let ended = blocked.on_drop();
            async move {
                std::future::pending::<()>().await;
                drop(ended);
                Ok(())
            }
        })
        .publish("unblocks", move |subscription: Subscription| {
            let ended = unblocked.on_drop();
            async move {
                subscription.unblock();
                subscription.added("c", "x", ejson!({}));
                subscription.ready();
                std::future::pending::<()>().await;
                drop(ended);
                Ok(())
            }
        })
        .method("nothing", nothing)
        .configure(|settings| settings.sessions.publication_timeout = Duration::from_millis(400));
    let server = Running::start(server);
    let timed_out = r#"{"isClientSafe":true,"error":503,"reason":"Publication timed out","message":"Publication timed out [503]","errorType":"Meteor.Error"}"#;

    // After its time, while it blocks the queue.
    let mut client = server.client();
    client.send_text(&sub("s", "blocks", ""));
    client.send_text(&call("1", "nothing", ""));
    client.expect_text(&nosub_with("s", timed_out));
    expect_result(&mut client, "1", "");
    dropped.becomes(1);
    assert_eq!(server.stats().expired_publications, 1);

    // After its time, though it has unblocked and is ready.
    let added = r#"{"msg":"added","collection":"c","id":"x"}"#;
    let removed = r#"{"msg":"removed","collection":"c","id":"x"}"#;
    client.send_text(&sub("s", "unblocks", ""));
    client.expect_text(added);
    client.expect_text(&ready("s"));
    client.expect_text(removed);
    client.expect_text(&nosub_with("s", timed_out));
    dropped.becomes(2);
    assert_eq!(server.stats().expired_publications, 2);

    // At `unsub`, once it has unblocked.
    client.send_text(&sub("s", "unblocks", ""));
    client.expect_text(added);
    client.expect_text(&ready("s"));
    client.send_text(&unsub("s"));
    client.expect_text(removed);
    client.expect_text(&nosub("s"));
    dropped.becomes(3);

    // With its session.
    client.send_text(&sub("s", "blocks", ""));
    begun.becomes(2);
    client.reset();
    dropped.becomes(4);
    eventually("everybody is gone", || server.is_at_rest());
    assert_eq!(server.stats().expired_publications, 2);
}

#[test]
fn row_072_a_method_runs_to_its_end_and_is_counted_when_slow() {
    let (gate, ended) = (Gate::new(), Count::default());
    let (waits, ends) = (gate.clone(), ended.clone());
    let server = Server::builder()
        .method("waits", move |_: Call| {
            let (gate, ended) = (waits.clone(), ends.clone());
            async move {
                gate.pass().await;
                ended.add();
                Ok("done")
            }
        })
        .configure(|settings| settings.handlers.slow_method = Duration::from_millis(100));
    let server = Running::start(server);
    let slow = || server.stats().slow_methods;

    let mut client = server.client();
    client.send_text(&call("1", "waits", ""));
    eventually("the call is slow", || slow() == 1);
    gate.open(1);
    expect_result(&mut client, "1", r#","result":"done""#);
    eventually("it is over", || slow() == 0);

    client.send_text(&call("2", "waits", ""));
    eventually("the call is slow", || slow() == 1);
    client.reset();
    eventually("the client is gone", || server.stats().connections == 0);
    assert_eq!((slow(), ended.get()), (1, 1));
    gate.open(1);
    ended.becomes(2);
}

#[test]
fn row_073_a_handler_that_blocks_the_thread_shows() {
    let server = Server::builder()
        .method("blocks", |_: Call| async {
            sleep(Duration::from_millis(400));
            Ok(())
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    // The runtime has two threads.
    let mut blocking = [server.client(), server.client()];
    let mut client = server.client();
    let before = server.stats().late_handlers;
    for blocking in &mut blocking {
        blocking.send_text(&call("1", "blocks", ""));
    }
    sleep(Duration::from_millis(50));
    client.send_text(&call("1", "nothing", ""));
    expect_result(&mut client, "1", "");
    for blocking in &mut blocking {
        expect_result(blocking, "1", "");
    }
    assert!(server.stats().late_handlers > before);
}

#[test]
fn row_074_what_is_published_after_the_end_is_dropped() {
    let kept: Arc<Mutex<Vec<Subscription>>> = Arc::default();
    let keep = kept.clone();
    let server = Server::builder()
        .publish("kept", move |subscription: Subscription| {
            let keep = keep.clone();
            async move {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(subscription);
                Ok(())
            }
        })
        .method("nothing", nothing);
    let server = Running::start(server);
    let publish_all = || {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        for subscription in kept.iter() {
            assert!(subscription.is_stopped());
            subscription.added("c", "x", ejson!({ "n": 1 }));
            subscription.changed("c", "x", ejson!({ "n": 2 }));
            subscription.removed("c", "x");
            subscription.ready();
            subscription.error(Error::forbidden("late"));
            subscription.stop();
            subscription.run(async { panic!("never polled") });
        }
        kept.len()
    };
    let mut client = server.client();
    for _ in 0..2 {
        client.send_text(&sub("s", "kept", ""));
        client.expect_text(&ready("s"));
        client.send_text(&unsub("s"));
        client.expect_text(&nosub("s"));
    }
    eventually("both are over", || {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().all(Subscription::is_stopped)
    });
    assert_eq!(publish_all(), 2);
    client.expect_silence(SILENCE);
    client.close();
    eventually("everybody is gone", || server.is_at_rest());
    // The place in the shard may belong to somebody else by now.
    let mut other = server.client();
    assert_eq!(publish_all(), 2);
    other.expect_silence(SILENCE);
    assert_eq!(server.stats().unpublished_changes, 0);
    kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[test]
fn row_075_a_handler_that_outruns_its_client_loses_that_client() {
    async fn floods(subscription: Subscription) -> Result<()> {
        let text = "x".repeat(10_000);
        subscription.unblock();
        for n in 0_u32.. {
            if subscription.is_stopped() {
                break;
            }
            subscription.added("c", n, ejson!({ "text": text.as_str() }));
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    let server = Server::builder()
        .publish("floods", floods)
        .method("nothing", nothing)
        .configure(|settings| {
            settings.memory_limit = Some(256 * 1024);
            // However busy the machine is, the client reads before it is reset.
            settings.clients.close_timeout = PATIENCE;
        });
    let server = Running::start(server);
    let (mut slow, mut other) = (server.client(), server.client());
    slow.send_text(&sub("s", "floods", ""));
    eventually("the slow client is closed", || {
        server.stats().slow_clients == 1
    });
    other.send_text(&call("1", "nothing", ""));
    // What was under way is whole, then it is told why.
    let end = loop {
        match slow.receive(PATIENCE) {
            Some(updraft_test_support::transcript::Received::Text(_)) => {}
            end => break end,
        }
    };
    assert_eq!(
        end.map(|end| end.to_string()).as_deref(),
        Some("-- close 1013 Slow consumer")
    );
    // What was under way may have been too much for others to begin something.
    expect_result(&mut other, "1", "");
    drop(slow);
}

#[test]
fn row_077_a_change_of_what_is_not_published_is_counted() {
    async fn confused(subscription: Subscription) -> Result<()> {
        subscription.changed("c", "x", ejson!({ "n": 1 }));
        subscription.removed("c", "x");
        subscription.added("c", "y", ejson!({}));
        subscription.changed("c", "y", ejson!({}));
        Ok(())
    }
    let server = Running::start(Server::builder().publish("confused", confused));
    let mut client = server.client();
    client.send_text(&sub("s", "confused", ""));
    client.expect_text(r#"{"msg":"added","collection":"c","id":"y"}"#);
    client.expect_text(&ready("s"));
    assert_eq!(server.stats().unpublished_changes, 2);
}

#[test]
fn row_081_083_ids_are_unlike_and_everything_is_let_go() {
    let server = Running::start(Server::builder());
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let (clients, new): (Vec<_>, Vec<_>) =
            (0..20).map(|_| Client::ddp_connect(server.url())).unzip();
        for id in new {
            assert!(updraft::is_meteor_id(&id), "{id}");
            assert!(ids.insert(id), "an id came twice");
        }
        assert_eq!(server.stats().sessions, 20);
        // Half of them say goodbye.
        for (n, client) in clients.into_iter().enumerate() {
            if n % 2 == 0 {
                client.close();
            } else {
                client.reset();
            }
        }
        eventually("everybody is gone", || server.is_at_rest());
    }
}

/// A vent that follows as many channels as it is told, one after the other.
async fn follows(vent: Vent, channels: usize) -> Result<()> {
    for n in 0..channels {
        vent.on(updraft::channel![format!("channel{n}")], |m: &Message| {
            m.event()
        })
        .await?;
    }
    Ok(())
}

#[test]
fn a_bus_that_does_not_answer_holds_the_queue_for_250_ms() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing);
    let server = Running::over(&redis, server);
    let mut client = server.client();
    // It answers at first, so that it is not taken for away.
    client.send_text(&sub("live", "follows", r#""vent.live",1"#));
    client.expect_text(r#"{"msg":"added","collection":"vent.live","id":"id","fields":{}}"#);
    client.expect_text(&ready("live"));
    redis.process().signal("STOP");
    let asked = Instant::now();
    client.send_text(&sub("s", "follows", r#""vent.s",3"#));
    client.send_text(&call("1", "nothing", ""));
    expect_result(&mut client, "1", "");
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(240), "{took:?}");
    // It goes on waiting, and is served as soon as the bus is.
    redis.process().signal("CONT");
    client.expect_text(r#"{"msg":"added","collection":"vent.s","id":"id","fields":{}}"#);
    client.expect_text(&ready("s"));
}

#[test]
fn the_time_for_the_bus_can_be_set() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing)
        .configure(|settings| settings.handlers.bus_patience = Duration::from_secs(5));
    let server = Running::over(&redis, server);
    let mut client = server.client();
    redis.process().signal("STOP");
    client.send_text(&sub("s", "follows", r#""vent.s",1"#));
    client.send_text(&call("1", "nothing", ""));
    // Longer than the default, and the method still waits for its turn.
    client.expect_silence(600);
    redis.process().signal("CONT");
    client.expect_text(r#"{"msg":"added","collection":"vent.s","id":"id","fields":{}}"#);
    client.expect_text(&ready("s"));
    expect_result(&mut client, "1", "");
}

#[test]
fn sub_method_unsub_in_one_flight_without_redis() {
    let mut redis = RedisServer::start();
    let server = Server::builder()
        .vent("follows", follows)
        .method("nothing", nothing);
    let server = Running::over(&redis, server);
    redis.kill();
    eventually("the bus is away", || server.stats().bus_is_away);
    let mut client = server.client();
    let asked = Instant::now();
    client.send_text(&sub("s", "follows", r#""vent.s",1"#));
    client.send_text(&call("1", "nothing", ""));
    client.send_text(&unsub("s"));
    // The method waits for its turn, but not for the bus, which does not come back.
    expect_result(&mut client, "1", "");
    assert!(asked.elapsed() >= Duration::from_millis(240));
    client.expect_text(&nosub("s"));
    // One `nosub`, and nothing more.
    client.expect_silence(SILENCE);
    assert_eq!(server.stats().subscriptions, 0);
    assert_eq!(server.stats().channels, 0);
}
