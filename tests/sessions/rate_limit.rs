//! Rules of how often clients may ask: what they refuse, whom they count together, and what that
//! costs nobody else. Over sockets only, for sessions know nothing of rates; intervals are so long
//! that no test waits for their end, but one.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Count, Running, received};
use updraft::prelude::*;
use updraft::{Builder, RateLimit, TrustedProxies};
use updraft_test_support::client::Client;
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

const HOUR: Duration = Duration::from_secs(3600);

/// Calls a method; whether it was let through.
#[track_caller]
fn call(client: &mut Client, method: &str) -> bool {
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"{method}","params":[]}}"#
    ));
    answered(client)
}

/// The answers of a call; whether it was let through.
#[track_caller]
fn answered(client: &mut Client) -> bool {
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    let result = client.expect_any_text();
    match result.strip_prefix(r#"{"msg":"result","id":"1","error":"#) {
        Some(error) => {
            assert_too_many(error.strip_suffix('}').unwrap());
            false
        }
        None => {
            assert_eq!(result, r#"{"msg":"result","id":"1"}"#);
            true
        }
    }
}

/// The error object must be that of Meteor's `ddp-rate-limiter`, for a wait of less than an hour.
#[track_caller]
fn assert_too_many(error: &str) {
    let (_, details) = error.split_once(r#""timeToReset":"#).unwrap();
    let (milliseconds, _) = details.split_once('}').unwrap();
    let milliseconds: u64 = milliseconds.parse().unwrap();
    assert!((1..=3_600_000).contains(&milliseconds), "{milliseconds}");
    let seconds = milliseconds.div_ceil(1000);
    let reason = format!(
        "Error, too many requests. Please slow down. You must wait {seconds} seconds before trying again."
    );
    assert_eq!(
        error,
        format!(
            r#"{{"isClientSafe":true,"error":"too-many-requests","reason":"{reason}","details":{{"timeToReset":{milliseconds}}},"message":"{reason} [too-many-requests]","errorType":"Meteor.Error"}}"#
        )
    );
}

/// A server with a method for each name; each counts its runs.
fn methods(names: &[&str], runs: &Count) -> Builder {
    names.iter().fold(Server::builder(), |server, name| {
        let runs = runs.clone();
        server.method(name, move |_: Call| {
            runs.add();
            async { Ok(()) }
        })
    })
}

#[test]
fn ddp_155_row_060_a_call_above_the_rate_is_refused_and_not_run() {
    let runs = Count::default();
    let server = methods(&["add", "other"], &runs);
    let rule = RateLimit::methods(["add"]).per_connection().limit(2, HOUR);
    let server = Running::start(server.rate_limit(rule));
    let (mut one, mut two) = (server.client(), server.client());
    let calls = [(); 4].map(|()| call(&mut one, "add"));
    assert_eq!(calls, [true, true, false, false]);
    assert_eq!(runs.get(), 2);
    assert!(call(&mut one, "other"), "no rule for this method");
    assert!(call(&mut two, "add"), "another connection");
    assert_eq!(server.stats().rate_limited, 2);
}

#[test]
fn ddp_155_a_new_interval_begins_with_nothing_counted() {
    let server = methods(&["add"], &Count::default());
    let interval = Duration::from_millis(300);
    let server = Running::start(server.rate_limit(RateLimit::every_method().limit(1, interval)));
    let mut client = server.client();
    // However slow the machine is: two calls will fall into one interval, and one into a later one.
    for _ in 0..2 {
        eventually("it is let through", || call(&mut client, "add"));
        eventually("it is refused", || !call(&mut client, "add"));
    }
}

#[test]
fn row_060_a_flood_above_the_rate_is_answered_to_its_end_and_in_order() {
    let runs = Count::default();
    let rule = RateLimit::everything().per_connection().limit(10, HOUR);
    let server = Running::start(methods(&["add"], &runs).rate_limit(rule));
    let mut client = server.client();
    for n in 0..2000 {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"{n}","method":"add","params":[]}}"#
        ));
    }
    for n in 0..2000 {
        client.expect_text(&format!(r#"{{"msg":"updated","methods":["{n}"]}}"#));
        let beginning = format!(r#"{{"msg":"result","id":"{n}""#);
        let result = client.expect_any_text();
        let rest = result
            .strip_prefix(&beginning)
            .unwrap_or_else(|| panic!("{n}: {result}"));
        assert_eq!(rest == "}", n < 10, "{result}");
    }
    assert_eq!((runs.get(), server.stats().rate_limited), (10, 1990));
    assert!(received(&mut client).is_empty());
}

#[test]
fn row_060_all_shards_count_together() {
    let shards = NonZero::new(4).unwrap();
    let server =
        methods(&["add"], &Count::default()).configure(|settings| settings.shards = Some(shards));
    let rule = RateLimit::every_method().per_address().limit(6, HOUR);
    let server = Running::start(server.rate_limit(rule));
    let mut clients = [(); 8].map(|()| server.client());
    let through = clients.iter_mut().map(|client| call(client, "add"));
    assert_eq!(through.filter(|through| *through).count(), 6);
}

#[test]
fn ddp_086_row_056_a_subscription_above_the_rate_is_refused_and_follows_nothing() {
    let redis = RedisServer::start();
    let follow = async |vent: Vent| vent.on("loop", |m: &Message| m.event()).await;
    let universal = async |subscription: Subscription| {
        subscription.added("uni", "u", ejson!({ "n": 1 }));
        Ok(())
    };
    let server = Server::builder()
        .vent("follow", follow)
        .vent("other", follow)
        .publish_universal(universal)
        .rate_limit(
            RateLimit::every_subscription()
                .per_name()
                .per_connection()
                .limit(3, HOUR),
        );
    let server = Running::over(&redis, server);
    let mut client = server.client();
    client.expect_text(r#"{"msg":"added","collection":"uni","id":"u","fields":{"n":1}}"#);
    let subscribed = [(); 5].map(|()| subscribe(&mut client, "follow"));
    assert_eq!(subscribed, [true, true, true, false, false]);
    assert!(subscribe(&mut client, "other"), "each name apart");
    for _ in 0..300 {
        client.send_text(r#"{"msg":"sub","id":"s","name":"follow","params":["vent.s"]}"#);
        client.send_text(r#"{"msg":"unsub","id":"s"}"#);
    }
    for _ in 0..300 {
        let refused = client.expect_any_text();
        assert!(refused.contains("too-many-requests"), "{refused}");
        // Of the subscription that there is not.
        client.expect_text(r#"{"msg":"nosub","id":"s"}"#);
    }
    assert_eq!(server.stats().subscriptions, 1, "the universal one");
    redis.await_numsub("loop", 0);
}

/// Subscribes to events and leaves; whether it was let through.
#[track_caller]
fn subscribe(client: &mut Client, publication: &str) -> bool {
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"{publication}","params":["vent.s"]}}"#
    ));
    let answer = client.expect_any_text();
    if let Some(error) = answer.strip_prefix(r#"{"msg":"nosub","id":"s","error":"#) {
        assert_too_many(error.strip_suffix('}').unwrap());
        return false;
    }
    assert_eq!(
        answer,
        r#"{"msg":"added","collection":"vent.s","id":"id","fields":{}}"#
    );
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    client.send_text(r#"{"msg":"unsub","id":"s"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"vent.s","id":"id"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"s"}"#);
    true
}

#[test]
fn ddp_173_row_062_the_sixth_login_within_ten_seconds_is_refused() {
    let runs = Count::default();
    let methods = methods(&["login", "createUser", "logout"], &runs);
    let server = Running::start(methods);
    let (mut one, mut two) = (server.client(), server.client());
    let logins = [(); 7].map(|()| call(&mut one, "login"));
    assert_eq!(logins, [true, true, true, true, true, false, false]);
    assert_eq!(runs.get(), 5);
    assert!(call(&mut one, "createUser"), "each method apart");
    assert!(call(&mut two, "login"), "each connection apart");
    let logouts = [(); 10].map(|()| call(&mut one, "logout"));
    assert_eq!(logouts, [true; 10]);
}

#[test]
fn row_062_the_login_rules_can_be_replaced_and_switched_off() {
    let server = methods(&["login"], &Count::default()).login_rules([]);
    let off = Running::start(server);
    let mut client = off.client();
    assert_eq!([(); 20].map(|()| call(&mut client, "login")), [true; 20]);
    client.close();
    let rule = RateLimit::methods(["login"])
        .per_connection()
        .limit(1, HOUR);
    let server = methods(&["login"], &Count::default()).login_rules([rule]);
    let own = Running::start(server);
    let mut client = own.client();
    assert_eq!(
        [(); 3].map(|()| call(&mut client, "login")),
        [true, false, false]
    );
}

#[test]
fn row_062_deviation_035_found_103_failing_logins_over_many_connections_are_limited_per_address() {
    let succeeds = Arc::new(AtomicBool::new(true));
    let decides = succeeds.clone();
    let log_in = move |_: Call| {
        let succeeds = decides.load(Ordering::Relaxed);
        async move {
            match succeeds {
                true => Ok(()),
                false => Err(Error::forbidden("no")),
            }
        }
    };
    let server = Server::builder().method("login", log_in);
    let server = Running::start(
        server.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1)),
    );
    let from = |address: &str| {
        let headers = [("X-Forwarded-For", address)];
        let mut client = Client::connect_with(server.url(), &headers).unwrap();
        client.send_text(updraft_test_support::client::CONNECT);
        client.expect_any_text();
        client
    };
    for _ in 0..201 {
        let mut client = from("203.0.113.6");
        assert_eq!([(); 5].map(|()| call(&mut client, "login")), [true; 5]);
    }
    succeeds.store(false, Ordering::Relaxed);
    let mut refused = 0;
    for n in 0..201 {
        let mut client = from(&format!("192.0.2.{n}, 203.0.113.7"));
        for _ in 0..5 {
            client.send_text(r#"{"msg":"method","id":"1","method":"login","params":[]}"#);
            client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
            let result = client.expect_any_text();
            let is_refused = result.contains("too-many-requests");
            assert!(is_refused || result.contains(r#""error":403"#), "{result}");
            refused += usize::from(is_refused);
        }
    }
    assert_eq!(refused, 5, "1,000 of 1,005 were let through");
    succeeds.store(true, Ordering::Relaxed);
    assert!(call(&mut from("203.0.113.8"), "login"), "another address");
    assert!(
        !call(&mut from("203.0.113.7"), "login"),
        "nor one that would succeed"
    );
}

#[test]
fn row_062_a_rule_has_so_many_counters_and_no_more() {
    let server =
        methods(&["add"], &Count::default()).configure(|settings| settings.rules.callers = 2);
    let rule = RateLimit::every_method().per_connection().limit(1, HOUR);
    let server = Running::start(server.rate_limit(rule));
    let mut clients = [(); 3].map(|()| server.client());
    let [one, two, three] = &mut clients;
    assert_eq!([call(one, "add"), call(one, "add")], [true, false]);
    assert_eq!([call(two, "add"), call(two, "add")], [true, false]);
    assert_eq!([call(three, "add"), call(three, "add")], [true, false]);
    assert!(call(one, "add"), "everybody began anew");
    eventually("refused", || server.stats().rate_limited == 3);
}

#[test]
fn row_060_users_are_counted_over_their_connections_and_what_begins_again_is_not() {
    let become_user = async |call: Call, user: Option<String>| call.set_user_id(user).await;
    let empty = async |_: Subscription| Ok(());
    let rules = [
        RateLimit::methods(["add"]).per_user().limit(2, HOUR),
        RateLimit::methods(["add"])
            .per_user_if(|user| user.is_none())
            .limit(0, HOUR),
        RateLimit::every_subscription()
            .per_connection()
            .limit(1, HOUR),
    ];
    let server = methods(&["add"], &Count::default())
        .method("become", become_user)
        .publish("empty", empty);
    let server = Running::start(rules.into_iter().fold(server, Builder::rate_limit));
    let log_in = |client: &mut Client, user: &str| {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"1","method":"become","params":[{user}]}}"#
        ));
    };
    let (mut one, mut two) = (server.client(), server.client());
    assert!(!call(&mut one, "add"), "a guest");
    for client in [&mut one, &mut two] {
        log_in(client, r#""u""#);
        assert!(answered(client));
    }
    assert_eq!([call(&mut one, "add"), call(&mut two, "add")], [true, true]);
    assert_eq!(
        [call(&mut one, "add"), call(&mut two, "add")],
        [false, false]
    );

    one.send_text(r#"{"msg":"sub","id":"s","name":"empty"}"#);
    one.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    for _ in 0..3 {
        log_in(&mut one, r#""v""#);
        one.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
        assert!(answered(&mut one));
    }
    assert!(call(&mut one, "add"), "another user");
    one.send_text(r#"{"msg":"sub","id":"t","name":"empty"}"#);
    assert!(one.expect_any_text().contains("too-many-requests"));
}
