//! A thousand messages a second while the user changes: none is lost that the new run wants, none
//! has the stamp of somebody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use updraft::Builder;
use updraft::prelude::*;
use updraft_test_support::client::Client;
use updraft_test_support::redis::RedisServer;

use super::who;
use crate::common::{Running, VID};

/// The handlers' time before they follow the channel, so that messages come in between.
const DAWDLE: Duration = Duration::from_millis(20);

/// Between two messages.
const PACE: Duration = Duration::from_millis(1);

/// What each subscription must have had before the user changes again, and what the one whose
/// function is asynchronous: 64 messages wait for it, so on a busy machine it does not keep up with
/// all of them, which is a gap that it is told of.
const EVENTS: u64 = 100;
const TENTHS: u64 = EVENTS / 10;

/// The place of that one among the subscriptions.
const ASYNC: usize = 1;

/// The ways to follow a channel.
#[derive(Clone, Copy, Debug)]
enum Way {
    On,
    Async,
    Shared,
    Relay,
}

/// Follows the channel for all but mallory, who has lost the right to.
async fn follow(vent: Vent, way: Way) -> Result<()> {
    let user = who(&vent);
    tokio::time::sleep(DAWDLE).await;
    if user == "mallory" {
        return Err(Error::forbidden("not you"));
    }
    match way {
        Way::On => {
            let map = move |m: &Message| Some(ejson!({ "n": m.value(), "as": user }));
            vent.on("c", map).await
        }
        Way::Async => {
            let map = move |m: Arc<Message>| {
                let user = user.clone();
                async move {
                    tokio::task::yield_now().await;
                    Some(ejson!({ "n": m.value(), "as": user }))
                }
            };
            vent.on_async("tenth", map).await
        }
        Way::Shared => {
            let map = |m: &Message, user: &String| Some(ejson!({ "n": m.value(), "as": user }));
            vent.on_shared("c", user, map).await
        }
        Way::Relay => vent.relay("c").await,
    }
}

fn server() -> Builder {
    super::server()
        .vent("on", async |vent: Vent| follow(vent, Way::On).await)
        .vent("async", async |vent: Vent| follow(vent, Way::Async).await)
        .vent("shared", async |vent: Vent| follow(vent, Way::Shared).await)
        .vent("relay", async |vent: Vent| follow(vent, Way::Relay).await)
        .streamer("on", async |vent: Vent| follow(vent, Way::On).await)
}

/// Subscriptions: id, publication, first parameter, and how its events begin.
fn subscriptions() -> [(&'static str, String, String); 6] {
    let native = |id, name: &str| {
        let event = format!(r#"{{"msg":"changed","__vent":"1","id":"{VID}.{name}","e":"#);
        (id, format!(r#""name":"{name}","params":["{VID}"]"#), event)
    };
    let collection = r#"{"msg":"changed","collection":"vent.on","id":"id","fields":{"event":"#;
    let streamer =
        r#"{"msg":"changed","collection":"stream-on","id":"id","fields":{"eventName":"e","args":["#;
    [
        native("1", "on"),
        native("2", "async"),
        native("3", "shared"),
        native("4", "relay"),
        (
            "5",
            r#""name":"on","params":["vent.on"]"#.into(),
            collection.into(),
        ),
        (
            "6",
            r#""name":"stream-on","params":["e",false]"#.into(),
            streamer.into(),
        ),
    ]
}

/// What a client sees: of each subscription every number, with the right stamp.
struct Watch {
    client: Client,
    beginnings: Vec<String>,
    /// The last number of each subscription, and how many since the user changed.
    seen: HashMap<usize, (u64, u64)>,
    user: &'static str,
}

impl Watch {
    /// Takes the next message; what is no event is answered.
    fn next(&mut self) -> Option<String> {
        let text = self.client.expect_any_text();
        let event = |beginning: &String| text.strip_prefix(beginning.as_str());
        let found = self.beginnings.iter().position(|it| event(it).is_some());
        let Some(of) = found else {
            return Some(text);
        };
        let event = event(&self.beginnings[of]).unwrap();
        let number: u64 = event
            .trim_start_matches(r#"{"n":"#)
            .split(|letter: char| !letter.is_ascii_digit())
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no number in {text}"));
        if event.contains(r#""as":"#) {
            let stamp = format!(r#""as":"{}""#, self.user);
            assert!(event.contains(&stamp), "{text} is not for {}", self.user);
        }
        let (last, count) = self.seen.entry(of).or_insert((number - 1, 0));
        assert_eq!(number, *last + 1, "a hole in {text}");
        *last = number;
        *count += 1;
        None
    }

    /// Waits until every subscription has had enough.
    fn watch(&mut self) {
        self.seen.values_mut().for_each(|(_, count)| *count = 0);
        while self.seen.len() < self.beginnings.len()
            || self.seen.iter().any(|(of, (_, count))| {
                let enough = if *of == ASYNC { TENTHS } else { EVENTS };
                *count < enough
            })
        {
            let other = self.next();
            assert_eq!(other, None);
        }
    }

    fn set_user(&mut self, user: Option<&'static str>) {
        let user_id = ejson::to_json(&ejson!(user));
        self.client.send_text(&format!(
            r#"{{"msg":"method","id":"m","method":"setUser","params":[{user_id}]}}"#
        ));
        let mut denied = 0;
        loop {
            let Some(text) = self.next() else { continue };
            if text.starts_with(r#"{"msg":"ready""#) {
                assert_eq!(text, r#"{"msg":"ready","subs":["1","2","3","4","5","6"]}"#);
                self.user = user.unwrap_or("nobody");
            } else if text.starts_with(r#"{"msg":"nosub""#) {
                denied += 1;
                self.user = "nobody at all";
            } else if text.starts_with(r#"{"msg":"result""#) {
                break;
            }
        }
        let expected = if user == Some("mallory") { 6 } else { 0 };
        assert_eq!(denied, expected);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the pace is of the test's own making"
)]
fn every_message_once_for_the_right_user(server: &Running) {
    let mut client = server.client();
    let mut beginnings = Vec::new();
    for (id, rest, beginning) in subscriptions() {
        client.send_text(&format!(r#"{{"msg":"sub","id":"{id}",{rest}}}"#));
        if id == "5" {
            client.expect_text(r#"{"msg":"added","collection":"vent.on","id":"id","fields":{}}"#);
        }
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{id}"]}}"#));
        beginnings.push(beginning);
    }
    let watch = Watch {
        client,
        beginnings,
        seen: HashMap::new(),
        user: "nobody",
    };
    let begun = Instant::now();
    let mut sent = 0_u32;
    let sent = &mut sent;
    crate::common::meanwhile(
        move || {
            // As many as are due by now: the pace does not depend on how long each takes.
            while begun.elapsed() > PACE * *sent {
                *sent += 1;
                server.emit("c", *sent);
                if sent.is_multiple_of(10) {
                    server.emit("tenth", *sent / 10);
                }
            }
        },
        || {
            let mut watch = watch;
            watch.watch();
            for user in [
                Some("alice"),
                Some("bob"),
                None,
                Some("carol"),
                Some("carol"),
            ] {
                watch.set_user(user);
                watch.watch();
            }
            // The right is revoked: nothing is heard of the channel any more.
            watch.set_user(Some("mallory"));
            assert_eq!(super::received(&mut watch.client), [""; 0]);
            assert_eq!(server.stats().gaps, 0);
        },
    );
}

#[test]
fn row_064_under_load_no_event_has_anothers_rights_and_none_is_lost() {
    every_message_once_for_the_right_user(&Running::start(server()));
}

#[test]
fn vent_060_row_064_under_load_over_redis_too() {
    let redis = RedisServer::start();
    every_message_once_for_the_right_user(&Running::over(&redis, server()));
}
