//! Clients that poll, whose requests are cut, and who come back by others or over a WebSocket.

use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::http::Http;
use updraft_test_support::transcript::Received;
use updraft_test_support::transport::{array, session_path, unframe};

use super::returning::*;
use crate::common::Running;

/// A client of a polling session, which asks when the test does.
struct Poller {
    http: Http,
    path: String,
    /// What has come and was not expected yet, the last one first.
    texts: Vec<String>,
}

impl Poller {
    fn open(server: &Running, path: String) -> Self {
        let url = server.url();
        let host = url.split('/').nth(2).expect("a host");
        let mut http = Http::connect(host);
        assert_eq!(http.body(&format!("POST {path}/xhr"), ""), "o\n");
        let texts = Vec::new();
        Self { http, path, texts }
    }

    fn send(&mut self, text: &str) {
        let head = format!("POST {}/xhr_send", self.path);
        assert_eq!(self.http.ask(&head, &[], &array(text)).status, 204);
    }

    #[track_caller]
    fn next(&mut self) -> String {
        while self.texts.is_empty() {
            let frame = self.http.body(&format!("POST {}/xhr", self.path), "");
            let received = unframe(frame.trim_end());
            let texts = received.into_iter().map(|it| match it {
                Received::Text(text) => text,
                end => panic!("the session ended: {end}"),
            });
            self.texts.extend(texts);
            self.texts.reverse();
        }
        self.texts.pop().expect("a text")
    }

    /// Goes in the middle of an answer.
    fn cut(mut self) -> String {
        let head = format!("POST {}/xhr_streaming", self.path);
        assert_eq!(self.http.ask(&head, &[], "").status, 200);
        self.path
    }
}

#[test]
fn ddp_225_232_a_poll_that_is_cut_can_be_undone_under_the_same_name_and_another_way() {
    let (builder, seen) =
        noting(two_shards().configure(|settings| settings.origins.allow_any = true));
    let server = Running::start_resumable(builder);
    let mut client = Poller::open(&server, session_path());
    client.send(CONNECT);
    let answer = client.next();
    let session = answer.split('"').nth(7).expect("a session").to_owned();
    client.send(SUBSCRIBE);
    assert_eq!(client.next(), READY);
    let mut past = Past { session, count: 2 };
    for number in 1..=5 {
        let path = client.cut();
        await_parked(&server, 1);
        assert_eq!(server.stats().polling_sessions, 0);
        server.emit("room", number);
        // Of the same name, and another session of SockJS.
        client = Poller::open(&server, path);
        client.send(&past.connect());
        // Sent right behind, on the way from one shard to the other.
        (0..3).for_each(|id| client.send(&format!(r#"{{"msg":"ping","id":"{id}"}}"#)));
        assert_eq!(client.next(), connected(&past.session));
        assert_eq!(client.next(), event(number));
        for id in 0..3 {
            assert_eq!(client.next(), format!(r#"{{"msg":"pong","id":"{id}"}}"#));
        }
        past.count += 2;
        let stats = server.stats();
        assert_eq!((stats.connections, stats.polling_sessions), (1, 1));
    }
    client.cut();
    await_parked(&server, 1);
    server.emit("room", 6);
    let mut client = past.come_back(&server);
    client.expect_events([6]);
    client.client.send_text(PING);
    client.client.expect_text(PONG);
    assert_eq!((seen.sessions.get(), seen.closed.get()), (1, 0));
    client.cut(Client::reset);
    await_parked(&server, 1);
    server.wait(server.handle().shutdown(SHORT));
    seen.closed.becomes(1);
}
