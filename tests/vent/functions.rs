//! What mapping functions do to each other: nothing, whether they fail, dawdle, alter what they see
//! or are shared.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use crate::common::{Count, Gate, Running, VID, talk};
use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::client::Client;
use updraft_test_support::eventually;

fn subscribe(client: &mut Client) {
    talk(
        client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
}

/// The message, unless it says how this subscriber's function is to fail.
fn touchy(m: &Message, who: &str) -> Result<Event> {
    match m.value().get(who).and_then(Value::as_str) {
        Some("fails") => Err(Error::internal("as it was told")),
        Some("panics") => panic!("as it was told"),
        _ => Ok(m.event()),
    }
}

#[test]
fn vent_041_a_failing_function_costs_one_event_of_its_own_subscriber() {
    let tm = async |vent: Vent, who: String| {
        let map = move |m: &Message| touchy(m, &who);
        vent.on("c", map).await
    };
    one_of_three_fails(Server::builder().vent("tm", tm));
}

#[test]
fn vent_041_a_failing_asynchronous_function_costs_one_event_too() {
    let tm = async |vent: Vent, who: String| {
        let map = move |m: Arc<Message>| {
            let who = who.clone();
            async move { touchy(&m, &who) }
        };
        vent.on_async("c", map).await
    };
    one_of_three_fails(Server::builder().vent("tm", tm));
}

fn one_of_three_fails(builder: Builder) {
    let server = Running::start(builder);
    let mut clients = [server.client(), server.client(), server.client()];
    for (client, who) in clients.iter_mut().zip(["a", "b", "c"]) {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{VID}","{who}"]}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    }
    for message in [ejson!("fails"), ejson!("panics"), ejson!("is well")] {
        server.emit("c", ejson!({ "b": message }));
    }
    let [a, b, c] = &mut clients;
    for client in [a, c] {
        talk(
            client,
            r#"
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"b":"fails"}}
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"b":"panics"}}
            <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"b":"is well"}}
            "#,
        );
    }
    talk(
        b,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":{"b":"is well"}}
        -- silence
        "#,
    );
    assert_eq!(
        (server.stats().failed_mappings, server.stats().gaps),
        (2, 0)
    );
}

#[test]
fn vent_042_a_slow_function_delays_nobody_else_and_keeps_its_order() {
    let gate = Gate::new();
    let slow = gate.clone();
    let server = Running::start(
        Server::builder()
            .vent("slow", move |vent: Vent| {
                let slow = slow.clone();
                let map = move |m: Arc<Message>| {
                    let slow = slow.clone();
                    async move {
                        slow.pass().await;
                        m.event()
                    }
                };
                async move { vent.on_async("c", map).await }
            })
            .vent("tm", async |vent: Vent| vent.relay("c").await),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"slow","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    for event in 1..=3 {
        server.emit("c", event);
    }
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":2}
        <- {"msg":"changed","__vent":"1","id":"VID.tm","e":3}
        -- silence
        "#,
    );
    gate.open(3);
    talk(
        &mut client,
        r#"
        <- {"msg":"changed","__vent":"1","id":"VID.slow","e":1}
        <- {"msg":"changed","__vent":"1","id":"VID.slow","e":2}
        <- {"msg":"changed","__vent":"1","id":"VID.slow","e":3}
        -- silence
        "#,
    );
}

#[test]
fn vent_042_found_108_what_an_asynchronous_function_cannot_take_is_a_gap_in_its_place() {
    let gate = Gate::new();
    let gaps = Count::default();
    let (slow, counting) = (gate.clone(), gaps.clone());
    let server = Running::start(Server::builder().vent("tm", move |vent: Vent| {
        let (slow, gaps) = (slow.clone(), counting.clone());
        vent.on_gap(move || {
            gaps.add();
            Some("gap")
        });
        let map = move |m: Arc<Message>| {
            let slow = slow.clone();
            async move {
                slow.pass().await;
                m.event()
            }
        };
        async move { vent.on_async("c", map).await }
    }));
    let mut client = server.client();
    subscribe(&mut client);
    server.emit("c", 1);
    // One is in the function's hands, 64 wait for it, and the rest is lost.
    gate.await_arrival(&server);
    for event in 2..=100 {
        server.emit("c", event);
    }
    talk(&mut client, "-- silence");
    // What waits is from before the gap (found_108).
    assert_eq!((gaps.get(), server.stats().gaps), (0, 0));
    gate.open(100);
    for event in 1..=65 {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{event}}}"#
        ));
    }
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":"gap"}"#,
    );
    assert_eq!((gaps.get(), server.stats().gaps), (1, 1));
    server.emit("c", "on again");
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":"on again"}"#,
    );
}

#[test]
fn vent_042_an_asynchronous_function_gets_the_largest_message_too() {
    let server = Running::start(Server::builder().vent("tm", async |vent: Vent| {
        let length = async |m: Arc<Message>| Some(m.payload().len());
        vent.on_async("c", length).await
    }));
    let mut client = server.client();
    subscribe(&mut client);
    server.emit("c", "x".repeat(1024 * 1024 - 2));
    talk(
        &mut client,
        r#"<- {"msg":"changed","__vent":"1","id":"VID.tm","e":1048576}"#,
    );
    assert_eq!(server.stats().gaps, 0);
}

#[test]
fn vent_045_nobody_sees_what_another_does_with_a_message() {
    let server = Running::start(
        Server::builder().vent("tm", async |vent: Vent, tag: String| {
            let map = move |m: &Message| {
                let mut message = m.value().as_object()?.clone();
                message.insert("tag", tag.as_str());
                Some(message)
            };
            vent.on("c", map).await
        }),
    );
    let mut clients = [server.client(), server.client()];
    for (client, tag) in clients.iter_mut().zip(["alice", "bob"]) {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{VID}","{tag}"]}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
    }
    server.emit("c", ejson!({ "text": "hi" }));
    for (client, tag) in clients.iter_mut().zip(["alice", "bob"]) {
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":{{"text":"hi","tag":"{tag}"}}}}"#
        ));
    }
}

#[test]
fn a_shared_function_is_called_once_for_equal_arguments() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    #[derive(Deserialize, Hash, PartialEq, Eq)]
    struct Tag(String);
    fn tagged(m: &Message, Tag(tag): &Tag) -> Option<Value> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Some(ejson!([tag.as_str(), m.value().clone()]))
    }
    let one_shard =
        Server::builder().configure(|settings| settings.shards = Some(1.try_into().unwrap()));
    let server = Running::start(one_shard.vent("tm", async |vent: Vent, tag: Tag| {
        vent.on_shared("c", tag, tagged).await
    }));
    let mut client = server.client();
    let mut other = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","a"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"tm","params":["vent.x","a"]}
        <- {"msg":"added","collection":"vent.x","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    talk(
        &mut other,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID","a"]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"sub","id":"S2","name":"tm","params":["VID","b"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
    for (message, calls) in [(1, 2), (2, 4)] {
        server.emit("c", message);
        client.expect_text(&format!(
            r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":["a",{message}]}}"#
        ));
        client.expect_text(&format!(
            r#"{{"msg":"changed","collection":"vent.x","id":"id","fields":{{"event":["a",{message}]}}}}"#
        ));
        for tag in ["a", "b"] {
            other.expect_text(&format!(
                r#"{{"msg":"changed","__vent":"1","id":"{VID}.tm","e":["{tag}",{message}]}}"#
            ));
        }
        assert_eq!(CALLS.load(Ordering::Relaxed), calls);
    }
}

#[test]
fn what_slow_functions_took_is_said_together_with_whose_they_are() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer({
            let log = log.clone();
            move || Lines(log.clone())
        })
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Running::start(
        Server::builder()
            .configure(|settings| settings.shards = Some(1.try_into().unwrap()))
            .vent("dawdles", async |vent: Vent| {
                let map = |m: &Message| {
                    thread::sleep(Duration::from_millis(1));
                    m.event()
                };
                vent.on("c", map).await
            }),
    );
    // None takes longer than is allowed, and yet they hold up everybody.
    let mut client = server.client();
    for n in 0..20 {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{n}","name":"dawdles","params":["vent.{n}"]}}"#
        ));
        client.expect_text(&format!(
            r#"{{"msg":"added","collection":"vent.{n}","id":"id","fields":{{}}}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{n}"]}}"#));
    }
    server.emit("c", 1);
    let said = r#"A mapping function is slow. publication="dawdles" calls=16 took="#;
    eventually("it is said", || {
        let log = log.lock().unwrap();
        String::from_utf8_lossy(&log).contains(said)
    });
}

/// Keeps what is logged.
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
