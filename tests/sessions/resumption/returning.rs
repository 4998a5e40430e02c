//! A client that remembers what it has received, and a server that takes notes of what becomes of
//! it.

use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use updraft::prelude::*;
use updraft::{Builder, Connection};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};

use crate::common::{Count, Running, eventually_within};

pub(super) const PING: &str = r#"{"msg":"ping"}"#;
pub(super) const PONG: &str = r#"{"msg":"pong"}"#;
pub(super) const DISCONNECT: &str = r#"{"msg":"disconnect"}"#;
pub(super) const SUBSCRIBE: &str = r#"{"msg":"sub","id":"s","name":"stream-room","params":["e"]}"#;
pub(super) const READY: &str = r#"{"msg":"ready","subs":["s"]}"#;

/// Long enough to come back on a busy machine.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// Soon over.
pub(super) const SHORT: Duration = Duration::from_millis(300);

pub(super) fn two_shards() -> Builder {
    let shards = NonZero::new(2).expect("two");
    Server::builder().configure(|settings| {
        settings.shards = Some(shards);
        settings.sessions.resumption.grace = GRACE;
    })
}

/// What the server's handlers have seen of its clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Universal publications begun: one for each session.
    pub(super) sessions: Count,
    /// Subscriptions to the stream that have stopped, and connections with one that have closed.
    pub(super) stopped: Count,
    pub(super) closed: Count,
    /// The connection of the latest subscription.
    pub(super) connection: Arc<Mutex<Option<Connection>>>,
}

impl Seen {
    pub(super) fn connection(&self) -> Connection {
        self.connection
            .lock()
            .unwrap()
            .clone()
            .expect("a subscription")
    }
}

/// A server that streams the channel `room`, and takes notes.
pub(super) fn noting(builder: Builder) -> (Builder, Seen) {
    let seen = Seen::default();
    let sessions = seen.sessions.clone();
    let universal = move |_: Subscription| {
        sessions.add();
        async { Ok(()) }
    };
    let notes = seen.clone();
    let room = move |vent: Vent| {
        let (stopped, closed) = (notes.stopped.clone(), notes.closed.clone());
        vent.on_stop(move || stopped.add());
        vent.connection().on_close(move || closed.add());
        *notes.connection.lock().unwrap() = Some(vent.connection().clone());
        async move { vent.relay("room").await }
    };
    let builder = builder.publish_universal(universal).streamer("room", room);
    (builder, seen)
}

/// A client that counts what it receives, as one that resumes has to.
pub(super) struct Returning {
    pub(super) client: Client,
    pub(super) past: Past,
}

/// What a client remembers of its session.
#[derive(Clone)]
pub(super) struct Past {
    pub(super) session: String,
    /// Messages received, without pings and pongs.
    pub(super) count: u64,
}

impl Returning {
    pub(super) fn connect(server: &Running) -> Self {
        let (client, session) = Client::ddp_connect(server.url());
        let past = Past { session, count: 1 };
        Self { client, past }
    }

    pub(super) fn subscribed(server: &Running) -> Self {
        let mut client = Self::connect(server);
        client.client.send_text(SUBSCRIBE);
        client.expect(READY);
        client
    }

    #[track_caller]
    pub(super) fn expect(&mut self, text: &str) {
        self.client.expect_text(text);
        self.past.count += 1;
    }

    #[track_caller]
    pub(super) fn expect_events(&mut self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            self.expect(&event(number));
        }
    }

    /// A client that is watched for long is pinged now and then.
    #[track_caller]
    pub(super) fn expect_event_or_ping(&mut self, number: usize) {
        let mut text = self.client.expect_any_text();
        while text == PING {
            self.client.send_text(PONG);
            text = self.client.expect_any_text();
        }
        assert_eq!(text, event(number));
        self.past.count += 1;
    }

    /// Loses its connection in some way.
    pub(super) fn cut(self, how: impl FnOnce(Client)) -> Past {
        how(self.client);
        self.past
    }

    /// Goes on purpose.
    pub(super) fn leave(mut self) {
        self.client.send_text(DISCONNECT);
        self.client.close();
    }
}

impl Past {
    /// Asks for the session over a new connection.
    pub(super) fn ask(&self, server: &Running) -> Client {
        self.ask_over(Client::connect(server.url()))
    }

    pub(super) fn ask_over(&self, mut client: Client) -> Client {
        client.send_text(&self.connect());
        client
    }

    /// What it says to have its session back.
    pub(super) fn connect(&self) -> String {
        let Self { session, count } = self;
        let past = format!(r#","session":"{session}","receivedCount":{count}}}"#);
        CONNECT.replace('}', &past)
    }

    /// Asks for the session and gets it.
    #[track_caller]
    pub(super) fn come_back(self, server: &Running) -> Returning {
        let client = self.ask(server);
        self.expect_back(client)
    }

    #[track_caller]
    pub(super) fn expect_back(self, client: Client) -> Returning {
        let past = self;
        let connected = connected(&past.session);
        let mut client = Returning { client, past };
        client.expect(&connected);
        client
    }

    /// The client gets another session.
    #[track_caller]
    pub(super) fn expect_fresh(&self, mut client: Client) -> Returning {
        let answer = client.expect_any_text();
        let session = answer
            .strip_prefix(r#"{"msg":"connected","session":""#)
            .and_then(|rest| rest.strip_suffix(r#""}"#))
            .unwrap_or_else(|| panic!("not connected: {answer}"));
        assert_ne!(session, self.session);
        let session = session.to_owned();
        let past = Self { session, count: 1 };
        Returning { client, past }
    }
}

pub(super) fn connected(session: &str) -> String {
    format!(r#"{{"msg":"connected","session":"{session}"}}"#)
}

pub(super) fn event(number: usize) -> String {
    format!(
        r#"{{"msg":"changed","collection":"stream-room","id":"id","fields":{{"eventName":"e","args":[{number}]}}}}"#
    )
}

/// Waits until so many sessions wait for their clients.
#[track_caller]
pub(super) fn await_parked(server: &Running, sessions: usize) {
    let parked = || server.stats().parked_sessions == sessions;
    assert!(eventually_within(PATIENCE, parked), "{:?}", server.stats());
}
