//! How long things live that belong to a client: handlers, tasks and callbacks of those that leave
//! or fail.

use std::collections::HashSet;
use std::net::Shutdown;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::common::{Count, Gate, Running, eventually_within, talk};
use updraft::prelude::*;
use updraft::{Builder, Connection, Transport};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::http::Http;
use updraft_test_support::redis::RedisServer;

/// What a handler hands out to the test.
#[derive(Debug)]
struct Held<T>(Arc<Mutex<Option<T>>>);

impl<T: Clone> Held<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn get(&self) -> T {
        self.0
            .lock()
            .unwrap()
            .clone()
            .expect("a handler has set it")
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The ways in which a client can go.
const WAYS_TO_GO: [fn(Client); 3] = [Client::reset, Client::close, drop];

/// The server does not read from a client while many of its messages wait behind a method. What has
/// come before the end of such a connection is still the session's, which outlives it.
#[test]
fn what_came_before_a_half_close_is_heard_when_the_client_is_read_from_again() {
    const CALLS: usize = 20;
    let (gate, calls) = (Gate::new(), Count::default());
    let (inside, counting) = (gate.clone(), calls.clone());
    let server = Server::builder()
        .method("wait", move |_: Call| {
            let inside = inside.clone();
            async move {
                inside.pass().await;
                Ok(())
            }
        })
        .method("long", move |_: Call, _: String| {
            let counting = counting.clone();
            async move {
                counting.add();
                Ok(())
            }
        })
        .configure(|settings| settings.clients.queued_messages = 2);
    let server = Running::start_resumable(server);
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"first","method":"wait","params":[]}"#);
    gate.await_arrival(&server);
    // More than the server takes in with one read, and less than the kernel holds beside that.
    let text = "x".repeat(5_000);
    for id in 0..CALLS {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"{id}","method":"long","params":["{text}"]}}"#
        ));
    }
    let socket = client.tcp();
    socket.shutdown(Shutdown::Write).expect("it is open");
    // The server asks whether there is still somebody: it has heard of the end.
    socket.set_read_timeout(Some(PATIENCE)).expect("it is open");
    assert!(socket.peek(&mut [0; 1]).is_ok_and(|count| count == 1));
    gate.open(1);
    calls.becomes(CALLS);
    // Else the session would wait for its client.
    server.wait(server.handle().shutdown(PATIENCE));
}

#[test]
fn a_method_runs_to_its_end_when_its_client_has_gone() {
    let (gate, effects) = (Gate::new(), Count::default());
    let (inside, counting) = (gate.clone(), effects.clone());
    let server = Running::start(Server::builder().method("pay", move |_: Call| {
        let (inside, effects) = (inside.clone(), counting.clone());
        async move {
            inside.pass().await;
            effects.add();
            Ok("paid")
        }
    }));
    for (gone, leave) in WAYS_TO_GO.into_iter().enumerate() {
        let mut client = server.client();
        // The second waits in the queue, and is not begun.
        talk(
            &mut client,
            r#"
            -> {"msg":"method","id":"1","method":"pay","params":[]}
            -> {"msg":"method","id":"2","method":"pay","params":[]}
            "#,
        );
        gate.await_arrival(&server);
        leave(client);
        assert!(eventually_within(PATIENCE, || server.stats().connections == 0));
        assert_eq!(server.stats().tasks, 1);
        gate.open(1);
        effects.becomes(gone + 1);
        assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    }
}

#[test]
fn a_reset_in_the_middle_of_a_method_costs_neither_its_effect_nor_doubles_it() {
    let (begun, effects) = (Gate::new(), Count::default());
    let (beginning, counting) = (begun.clone(), effects.clone());
    let server = Running::start(Server::builder().method("pay", move |_: Call| {
        beginning.arrive();
        let effects = counting.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            effects.add();
            Ok("paid")
        }
    }));
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"pay","params":[]}"#);
    begun.await_arrival(&server);
    std::thread::sleep(Duration::from_millis(50));
    client.reset();
    effects.becomes(1);
    assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    effects.becomes(1);
}

/// A publication that waits in one of several places, and says when it is dropped there.
fn waiting(gate: &Gate, dropped: &Count) -> Builder {
    let (gate, dropped) = (gate.clone(), dropped.clone());
    let wait = move |vent: Vent, place: String| {
        let (gate, dropped) = (gate.clone(), dropped.clone());
        async move {
            let inside = dropped.on_drop();
            match place.as_str() {
                "before on" => gate.pass().await,
                "in on" => gate.arrive(),
                "after on" => {
                    vent.relay("c").await?;
                    gate.pass().await;
                }
                _ => {
                    vent.run(async move {
                        let _inside = inside;
                        gate.pass().await;
                        Ok(())
                    });
                    return Ok(());
                }
            }
            vent.relay("c").await
        }
    };
    Server::builder().vent("wait", wait)
}

#[test]
fn vent_058_a_client_that_leaves_while_its_publication_waits_leaves_nothing() {
    let (gate, dropped) = (Gate::new(), Count::default());
    let redis = RedisServer::start();
    let server = Running::over(&redis, waiting(&gate, &dropped));
    let mut gone = 0;
    for place in ["before on", "after on", "in run"] {
        for leave in WAYS_TO_GO {
            let mut client = server.client();
            client.send_text(&format!(
                r#"{{"msg":"sub","id":"S1","name":"wait","params":["vent.a","{place}"]}}"#
            ));
            gate.await_arrival(&server);
            leave(client);
            gone += 1;
            dropped.becomes(gone);
            assert!(eventually_within(PATIENCE, || server.is_at_rest()));
            redis.await_numsub("c", 0);
        }
    }
}

#[test]
fn vent_058_a_client_that_leaves_while_redis_is_away_leaves_nothing() {
    let (gate, dropped) = (Gate::new(), Count::default());
    let mut redis = RedisServer::start();
    let server = Running::over(&redis, waiting(&gate, &dropped));
    redis.kill();
    for (gone, leave) in WAYS_TO_GO.into_iter().enumerate() {
        let mut client = server.client();
        talk(
            &mut client,
            r#"-> {"msg":"sub","id":"S1","name":"wait","params":["vent.a","in on"]}"#,
        );
        gate.await_arrival(&server);
        assert!(eventually_within(PATIENCE, || server.stats().channels == 1));
        leave(client);
        dropped.becomes(gone + 1);
        assert!(eventually_within(PATIENCE, || server.is_at_rest()));
    }
    redis.restart();
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"wait","params":["vent.a","in on"]}
        <- {"msg":"added","collection":"vent.a","id":"id","fields":{}}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    drop(client);
    redis.await_numsub("c", 0);
}

#[test]
fn ddp_085_deviation_019_an_unblocked_handler_is_dropped_at_unsub() {
    let (gate, dropped) = (Gate::new(), Count::default());
    let (waiting, counting) = (gate.clone(), dropped.clone());
    let server = Running::start(
        Server::builder().publish("slow", move |slow: Subscription| {
            let (gate, inside) = (waiting.clone(), counting.on_drop());
            async move {
                let _inside = inside;
                slow.unblock();
                gate.pass().await;
                Ok(())
            }
        }),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"slow","params":[]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    dropped.becomes(1);
    gate.open(1);
    talk(&mut client, "-- silence");
}

#[test]
fn ddp_091_on_stop_is_called_however_a_subscription_ends() {
    let stopped = Count::default();
    let held = Held::<Subscription>::new();
    let (counting, holding) = (stopped.clone(), held.clone());
    let server = Running::start(Server::builder().publish(
        "tm",
        move |subscription: Subscription, end: Option<String>| {
            for _ in 0..2 {
                let stopped = counting.clone();
                subscription.on_stop(move || stopped.add());
            }
            holding.set(subscription.clone());
            async move {
                match end.as_deref() {
                    Some("fail") => Err(Error::forbidden("No")),
                    Some("error") => {
                        subscription.error(Error::forbidden("No"));
                        Ok(())
                    }
                    Some("stop") => {
                        subscription.stop();
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        },
    ));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    stopped.becomes(0);
    assert!(!held.get().is_stopped());
    talk(
        &mut client,
        r#"
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    stopped.becomes(2);
    // What is over calls at once, and takes no notice of anything else.
    let over = held.get();
    assert!(over.is_stopped());
    let late = stopped.clone();
    over.on_stop(move || late.add());
    stopped.becomes(3);
    over.added("things", "a", ejson!({ "n": 1 }));
    over.ready();
    over.run(async { panic!("not to be started") });
    for (end, sum) in [("fail", 5), ("error", 7), ("stop", 9)] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{end}"]}}"#
        ));
        talk(&mut client, r#"<- {"msg":"nosub","id":"S1"…"#);
        stopped.becomes(sum);
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    drop(client);
    stopped.becomes(11);
}

#[test]
fn a_callback_that_panics_keeps_no_other_from_being_called() {
    let called = Count::default();
    let counting = called.clone();
    let server = Running::start(Server::builder().publish("tm", move |tm: Subscription| {
        let (stopped, closed) = (counting.clone(), counting.clone());
        tm.on_stop(|| panic!("a callback of a test"));
        tm.on_stop(move || stopped.add());
        tm.connection().on_close(|| panic!("a callback of a test"));
        tm.connection().on_close(move || closed.add());
        async { Ok(()) }
    }));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[]}
        <- {"msg":"ready","subs":["S1"]}
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    called.becomes(1);
    drop(client);
    called.becomes(2);
}

#[test]
fn ddp_090_on_close_is_called_when_the_connection_has_ended() {
    let closed = Count::default();
    let held = Held::<Connection>::new();
    let (counting, holding) = (closed.clone(), held.clone());
    let server = Running::start(Server::builder().method("watch", move |call: Call| {
        let closed = counting.clone();
        call.connection().on_close(move || closed.add());
        holding.set(call.connection().clone());
        let id = call.connection().session_id().to_owned();
        async { Ok(id) }
    }));
    let (mut client, session) = Client::ddp_connect(server.url());
    client.send_text(r#"{"msg":"method","id":"1","method":"watch","params":[]}"#);
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(&format!(
        r#"{{"msg":"result","id":"1","result":"{session}"}}"#
    ));
    closed.becomes(0);
    client.reset();
    closed.becomes(1);
    let late = closed.clone();
    held.get().on_close(move || late.add());
    closed.becomes(2);
}

#[test]
fn a_task_of_a_subscription_is_dropped_with_it_and_its_error_ends_it() {
    let (gate, dropped) = (Gate::new(), Count::default());
    let (waiting, counting) = (gate.clone(), dropped.clone());
    let server = Running::start(Server::builder().publish(
        "tm",
        move |tm: Subscription, end: String| {
            let (gate, inside) = (waiting.clone(), counting.on_drop());
            let context = tm.clone();
            tm.run(async move {
                let _inside = inside;
                gate.pass().await;
                context.added("things", "a", ejson!({ "n": 1 }));
                match end.as_str() {
                    "fails" => Err(Error::forbidden("No")),
                    "panics" => panic!("a task of a test"),
                    _ => Ok(()),
                }
            });
            async { Ok(()) }
        },
    ));
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":["is well"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    gate.await_arrival(&server);
    assert_eq!(server.stats().tasks, 1);
    talk(
        &mut client,
        r#"
        -> {"msg":"unsub","id":"S1"}
        <- {"msg":"nosub","id":"S1"}
        "#,
    );
    dropped.becomes(1);
    for (end, code) in [("fails", 403), ("panics", 500)] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"S1","name":"tm","params":["{end}"]}}"#
        ));
        client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
        gate.await_arrival(&server);
        gate.open(1);
        talk(
            &mut client,
            r#"
            <- {"msg":"added","collection":"things","id":"a","fields":{"n":1}}
            <- {"msg":"removed","collection":"things","id":"a"}
            "#,
        );
        let nosub = client.expect_any_text();
        assert!(nosub.contains(&format!(r#""error":{code},"#)), "{nosub}");
    }
}

#[test]
fn a_handler_that_panics_costs_its_client_nothing_but_the_answer() {
    async fn panics(_: Subscription) -> Result<()> {
        panic!("a handler of a test")
    }
    async fn method_panics(_: Call) -> Result<()> {
        panic!("a handler of a test")
    }
    let server = Running::start(
        Server::builder()
            .publish("panics", panics)
            // Already when it is called, before there is a future.
            .vent("at once", |_: Vent| -> std::future::Ready<Result<()>> {
                panic!("a handler of a test")
            })
            .method("panics", method_panics)
            .method("well", async |_: Call| Ok("well")),
    );
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"S1","name":"panics","params":[]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}}
        -> {"msg":"sub","id":"S1","name":"at once","params":["vent.a"]}
        <- {"msg":"nosub","id":"S1","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}}
        -> {"msg":"method","id":"1","method":"panics","params":[]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","error":{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}}
        -> {"msg":"method","id":"2","method":"well","params":[]}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"well"}
        "#,
    );
}

#[test]
fn ddp_147_sessions_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let server = Running::start(Server::builder().publish(
        "tm",
        move |_: Subscription, wait: bool| {
            let gate = waiting.clone();
            async move {
                if wait {
                    gate.pass().await;
                }
                Ok(())
            }
        },
    ));
    let mut clients = [server.client(), server.client()];
    let [slow, quick] = &mut clients;
    talk(
        slow,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[true]}
        -> {"msg":"sub","id":"S2","name":"tm","params":[false]}
        "#,
    );
    gate.await_arrival(&server);
    talk(
        quick,
        r#"
        -> {"msg":"sub","id":"S1","name":"tm","params":[false]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    talk(slow, "-- silence");
    gate.open(1);
    talk(
        slow,
        r#"
        <- {"msg":"ready","subs":["S1"]}
        <- {"msg":"ready","subs":["S2"]}
        "#,
    );
}

/// Becomes a user, or nobody.
async fn become_user(call: Call, user: Option<String>) -> Result<()> {
    call.set_user_id(user).await
}

#[test]
fn found_319_a_program_is_told_who_comes_logs_in_and_out_and_leaves() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = |told: &Arc<Mutex<Vec<String>>>, text: String| told.lock().unwrap().push(text);
    let [connects, logins, logouts] = [(); 3].map(|()| told.clone());
    let builder = Server::builder()
        .method("become", become_user)
        .method("unblocked", async |call: Call| {
            call.unblock();
            call.set_user_id(Some("nobody")).await
        })
        .on_connect(|_| panic!("it costs this call only"))
        .on_connect(move |connection| {
            note(&connects, "connect".to_owned());
            let (closes, id) = (connects.clone(), connection.log_id());
            connection.on_close(move || note(&closes, "close".to_owned()));
            assert_eq!(connection.log_id(), id);
            // It may start tasks.
            tokio::runtime::Handle::current().spawn(async {});
        })
        .on_login(move |_, user| note(&logins, format!("login {user}")))
        .on_logout(move |_, user| note(&logouts, format!("logout {user}")));
    let server = Running::start(builder);
    let is_told = |expected: &[&str]| *told.lock().unwrap() == expected;
    // Who has not said `connect` is nobody yet.
    Client::connect(server.url()).close();
    let mut client = server.client();
    assert!(is_told(&["connect"]), "before anything is begun: {told:?}");
    for (id, user) in [
        (1, r#""ada""#),
        (2, r#""ada""#),
        (3, r#""bob""#),
        (4, "null"),
    ] {
        talk(
            &mut client,
            &format!(
                r#"
                -> {{"msg":"method","id":"{id}","method":"become","params":[{user}]}}
                <- {{"msg":"updated","methods":["{id}"]}}
                <- {{"msg":"result","id":"{id}"}}
                "#
            ),
        );
    }
    talk(
        &mut client,
        r#"
        -> {"msg":"method","id":"5","method":"unblocked"}
        <- {"msg":"updated","methods":["5"]}
        <- {"msg":"result","id":"5","error":…
        "#,
    );
    let mut expected = vec![
        "connect",
        "login ada",
        "logout ada",
        "login bob",
        "logout bob",
    ];
    assert!(is_told(&expected), "{told:?}");
    client.close();
    expected.push("close");
    assert!(
        eventually_within(PATIENCE, || is_told(&expected)),
        "{told:?}"
    );
}

#[test]
fn found_319_connections_are_listed_with_all_but_their_credentials() {
    let builder = Server::builder()
        .method("become", become_user)
        .vent("tm", async |vent: Vent| vent.relay("c").await);
    let server = Running::start_resumable(builder);
    let list = || {
        let mut all = server.wait(server.handle().connections());
        all.sort_by_key(|it| (it.transport.map(|it| format!("{it:?}")), it.user.clone()));
        all
    };
    assert_eq!(list(), []);
    let before = Date::from(SystemTime::now());
    let (mut ada, session) = Client::ddp_connect(server.url());
    talk(
        &mut ada,
        r#"
        -> {"msg":"method","id":"1","method":"become","params":["ada"]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1"}
        -> {"msg":"sub","id":"S1","name":"tm","params":["VID"]}
        <- {"msg":"ready","subs":["S1"]}
        "#,
    );
    let address = server.url().trim_start_matches("ws://");
    let address = address.trim_end_matches("/websocket");
    let sockjs = Client::connect(&format!("ws://{address}/sockjs/000/abcdefgh/websocket"));
    let mut http = Http::connect(address);
    assert_eq!(http.body("POST /sockjs/000/ijklmnop/xhr", ""), "o\n");
    let found = |count: usize| eventually_within(PATIENCE, || list().len() == count);
    assert!(found(3), "{:?}", list());
    let all = list();
    let transports: Vec<_> = all.iter().map(|it| it.transport).collect();
    let [http_, socket, raw] = [
        Transport::SockJsHttp,
        Transport::SockJsWebSocket,
        Transport::WebSocket,
    ];
    assert_eq!(transports, [Some(http_), Some(socket), Some(raw)]);
    let of_ada = &all[2];
    assert_eq!(of_ada.user.as_deref(), Some("ada"));
    assert_eq!(of_ada.subscriptions, 1);
    assert!(of_ada.client_address.is_some_and(|it| it.is_loopback()));
    assert!(before.millis() <= of_ada.since.millis());
    assert_eq!((&all[0].user, all[0].subscriptions), (&None, 0));
    assert!(!format!("{all:?}").contains(&session), "a credential");

    // Lost without a word, her session waits.
    ada.reset();
    drop(sockjs);
    let is_away = || {
        list()
            .iter()
            .any(|it| it.transport.is_none() && it.user.is_some())
    };
    assert!(eventually_within(PATIENCE, is_away), "{:?}", list());
    server.wait(server.handle().disconnect_user("ada")).unwrap();
    server.wait(server.handle().shutdown(PATIENCE));
    assert_eq!(list(), [], "nobody is left to ask");
}

#[test]
fn found_319_a_long_list_is_made_in_slices() {
    let shards = NonZero::new(1);
    let server = Running::start(Server::builder().configure(|settings| settings.shards = shards));
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(server.url())).collect();
    assert!(eventually_within(PATIENCE, || server.stats().connections == 300));
    let count = || {
        let all = server.wait(server.handle().connections());
        let ids: HashSet<_> = all.iter().map(|it| it.log_id).collect();
        assert_eq!(ids.len(), all.len(), "nobody is listed twice");
        ids.len()
    };
    assert_eq!(count(), 300);
    clients.drain(50..250).for_each(Client::reset);
    assert!(eventually_within(PATIENCE, || count() == 100));
}
