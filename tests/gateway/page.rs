//! A page with Meteor's own client in headless Chromium, loaded through the server alone.

use std::fs;

use updraft::prelude::*;
use updraft::{Builder, Channel, Object};
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::{Script, installed, require_chromium};
use warp::Filter;

use crate::common::{Count, Running};
use crate::world::{at, front};

/// How often the script opens a page, and has its client connect again.
const PAGES: usize = 2;
const SESSIONS: usize = 2 * PAGES;

/// What the app is asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// A publication of both sides.
    vents: Count,
    /// One of the app's.
    things: Count,
    /// A method of the app's.
    emits: Count,
}

/// A vent that the app has too: it was the app's before this server came.
fn with_vent(builder: Builder, asked: Count) -> Builder {
    builder.vent("threadMessage", move |vent: Vent, parameters: Object| {
        asked.add();
        async move {
            let channel = parameters.get("channel").and_then(Value::as_str);
            let channel = channel.ok_or_else(Error::match_failed)?;
            vent.relay(Channel::trusted(channel)?).await
        }
    })
}

/// An app that serves its page, and emits as `Vent.emit` does.
fn app(asked: &Asked) -> Builder {
    let bundle = "node_modules/meteor-client-side/dist/meteor-client-side.bundle.js";
    let client = fs::read_to_string(installed(&[bundle]).join(bundle)).expect("UTF-8");
    let script = |path: &'static str, text: String| {
        let script = warp::path(path).map(move || text.clone());
        script.with(warp::reply::with::header("content-type", "text/javascript"))
    };
    let page = warp::path::end().map(|| warp::reply::html(PAGE));
    let icon = warp::path("favicon.ico").map(warp::reply);
    let scripts = script("meteor.js", client).or(script("vent.js", VENT.to_owned()));
    let (things, emits) = (asked.things.clone(), asked.emits.clone());
    with_vent(Server::builder(), asked.vents.clone())
        .publish("things", move |mine: Subscription| {
            things.add();
            async move {
                mine.added("things", "a", ejson!({ "n": 1 }));
                Ok(())
            }
        })
        .method("session", async |call: Call| {
            Ok(call.connection().session_id().to_owned())
        })
        .method("vent_emit", move |call: Call, parameters: Object| {
            emits.add();
            async move {
                let channel = parameters.get("channel").and_then(Value::as_str);
                let channel = Channel::trusted(channel.unwrap_or_default())?;
                let object = parameters.get("object").cloned().unwrap_or_default();
                call.emit(channel, object).await
            }
        })
        .route("/", warp::service(page.or(scripts).or(icon)))
}

const PAGE: &str = r#"<!doctype html><title>An app</title>
<script>__meteor_runtime_config__ = { meteorEnv: {}, DDP_DEFAULT_CONNECTION_URL: location.origin }</script>
<script src="/meteor.js"></script>
<script src="/vent.js"></script>
"#;

const VENT: &str = include_str!("../clients/meteor_vent.js");

#[test]
fn gateway_095_a_page_of_the_app_gets_the_events_of_its_vents_from_here() {
    require_chromium();
    let redis = RedisServer::start();
    let asked = Asked::default();
    let app = Running::over(&redis, app(&asked));
    let here = Count::default();
    let server = Running::over(
        &redis,
        front(at(app.address().port()).http(true), |builder| {
            with_vent(builder, here.clone())
        }),
    );
    let mut published = 0;
    Script::start("meteor_page", &[server.url()]).run(|wish| {
        let Some((channel, payload)) = wish
            .strip_prefix("publish ")
            .and_then(|it| it.split_once(' '))
        else {
            panic!("{wish}?");
        };
        // Who follows the channel is this server, and the app does not.
        assert_eq!(redis.publish(channel, payload), 1);
        assert_eq!(server.stats().channels, 1);
        assert_eq!(app.stats().channels, 0);
        assert_eq!(app.stats().subscriptions, 1, "the one that is the app's");
        published += 1;
    });
    assert_eq!(published, PAGES);
    assert_eq!(
        asked.vents.get(),
        0,
        "none of its vents has come to the app"
    );
    assert_eq!(asked.things.get(), SESSIONS);
    assert_eq!(asked.emits.get(), PAGES * 102);
    // Two in the first session of a page, and the one that is left in the next.
    assert_eq!(here.get(), PAGES * 3);
    assert_eq!(app.stats().connections, 0, "the app has been left");
}
