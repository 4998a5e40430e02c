//! `sockjs-client` 1.6.1, as npm has it and Meteor's pages use it, in Node and in headless
//! Chromium. What is said stands in `tests/clients/sockjs_talk.js`, what must come of it in
//! `sockjs_checks.mjs`.

use std::thread::sleep;
use std::time::Duration;

use crate::common::{Running, eventually_within};
use updraft::prelude::*;
use updraft::{Builder, SockJs, SockJsConnection};
use updraft_test_support::client::PATIENCE;
use updraft_test_support::process::free_port;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::script::{Script, installed, require_chromium};
use warp::Filter;

/// Where events come from.
const CHANNEL: &str = "thread";
/// How many with each cut; `sockjs_resume.mjs` knows.
const EVENTS: usize = 20;
/// How long nobody is let in after a cut.
const AWAY: Duration = Duration::from_millis(300);

/// Offers `/echo`, `/close` and DDP. A short response limit has streams end and begin anew, a short
/// heartbeat has polls end that wait for nothing; sessions that nobody polls are given up soon, so
/// that a test ends.
fn offering(adapt: impl Fn(SockJs) -> SockJs) -> Builder {
    let service = |options: SockJs| {
        let options = options
            .script("/sockjs.js")
            .response_limit(4096)
            .heartbeat(Duration::from_secs(1), Duration::from_secs(10))
            .disconnect_delay(Duration::from_secs(4));
        adapt(options)
    };
    Server::builder()
        .sockjs(service(SockJs::meteor()))
        .sockjs_service(service(SockJs::at("/echo")), echo)
        .sockjs_service(service(SockJs::at("/close")), close)
        .vent("thread", async |vent: Vent| vent.relay(CHANNEL).await)
        .method("say", say)
}

async fn echo(mut connection: SockJsConnection) {
    while let Some(message) = connection.recv().await {
        connection.send(message);
    }
}

async fn close(connection: SockJsConnection) {
    connection.close(3000, "Go away!");
}

/// Emits each parameter; how many there were.
async fn say(call: Call, Args(events): Args) -> Result<usize> {
    for event in &events {
        call.emit(CHANNEL, event).await?;
    }
    Ok(events.len())
}

/// Waits until sessions that were polled, or might have been resumed, are given up.
#[track_caller]
fn await_rest(server: &Running) {
    let rested = eventually_within(6 * PATIENCE, || server.is_at_rest());
    assert!(rested, "{:?}", server.stats());
}

#[test]
fn found_506_in_node_each_transport_carries_everything() {
    let server = Running::start(offering(|options| options));
    Script::start("sockjs", &[server.url()]).run(|wish| panic!("{wish}?"));
    await_rest(&server);
}

#[test]
fn in_node_meteors_list_begins_with_websocket_and_falls_back_to_polling() {
    for (offered, taken) in [(true, "websocket"), (false, "xhr-polling")] {
        let server = Running::start(offering(|options| options.websocket(offered)));
        Script::start("sockjs", &[server.url(), taken]).run(|wish| panic!("{wish}?"));
        await_rest(&server);
    }
}

#[test]
fn found_506_in_a_browser_each_transport_carries_everything_for_the_servers_own_page() {
    browse("");
}

#[test]
fn row_021_in_a_browser_each_transport_carries_everything_for_a_page_that_is_allowed() {
    browse("friend.example");
}

#[test]
fn row_021_in_a_browser_no_transport_lets_in_a_page_that_is_not_allowed() {
    browse("stranger.example");
}

/// Opens a page of this host, or of the server itself; the server allows pages of `friend.example`.
fn browse(host: &str) {
    let pages = free_port();
    let server = offering_pages().configure(|settings| {
        settings
            .origins
            .allowed
            .push(format!("http://friend.example:{pages}"))
    });
    let server = Running::start(server);
    Script::start("sockjs_page", &[server.url(), &pages.to_string(), host])
        .run(|wish| panic!("{wish}?"));
    await_rest(&server);
}

/// Offers an empty page, and the client's script, which the page of iframes loads too.
fn offering_pages() -> Builder {
    require_chromium();
    let client = installed(&["node_modules"]).join("node_modules/sockjs-client/dist/sockjs.min.js");
    let client = std::fs::read_to_string(client).expect("the client is installed");
    let script = warp::path!("sockjs.js")
        .map(move || warp::reply::with_header(client.clone(), "content-type", "text/javascript"));
    let page = warp::path!("page").map(|| warp::reply::html("<!doctype html><title>Home</title>"));
    offering(|options| options)
        .route("/sockjs.js", warp::service(script))
        .route("/page", warp::service(page))
}

#[test]
fn in_a_browser_a_session_that_is_cut_goes_on_over_another_transport() {
    let server = Running::start_resumable(
        offering_pages().configure(|settings| settings.sessions.resumption.grace = 2 * PATIENCE),
    );
    let address = server.url().strip_prefix("ws://127.0.0.1:");
    let port = address.and_then(|it| it.strip_suffix("/websocket"));
    let port = port.expect("a loopback address").parse();
    let proxy = Proxy::start(port.expect("a port"));
    let url = format!("ws://127.0.0.1:{}", proxy.port());
    let mut number = 0;
    Script::start("sockjs_resume", &[url]).run(|wish| {
        assert_eq!(wish, "cut the connections");
        proxy.refuse(true);
        proxy.cut();
        for _ in 0..EVENTS {
            number += 1;
            server.emit(CHANNEL, number);
        }
        sleep(AWAY);
        proxy.refuse(false);
    });
    // Its session would wait for the browser as long as one may be away.
    server.end();
}
