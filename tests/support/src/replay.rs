//! Replays a transcript over a connection, in real time. It waits for as many frames as a turn
//! expects and no longer; only the end of a case is watched for frames too many.

use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::transcript::{Case, Difference, Expectations, Received, Step};
use crate::transport::{Transport, Way};

/// Between frames that are sent without waiting for an answer, as in the recordings.
const PIPELINE: Duration = Duration::from_millis(40);
/// After a turn, for frames that should not have come yet.
const SETTLE: Duration = Duration::from_millis(2);
/// After the last turn, for frames that should not have come at all.
const TAIL: Duration = Duration::from_millis(150);
/// For an answer, once another has not come.
const NO_PATIENCE: Duration = Duration::from_millis(200);

/// Replays a case on a new connection to `url`, such as `ws://127.0.0.1:3000/websocket`.
///
/// # Errors
/// Where the conversation differs from the transcript.
pub fn replay(url: &str, case: &Case) -> Result<(), Difference> {
    replay_over(Way::Raw, url, case)
}

/// As [`replay`], over any transport; `url` is that of the raw WebSocket.
///
/// # Errors
/// Where the conversation differs from the transcript.
pub fn replay_over(way: Way, url: &str, case: &Case) -> Result<(), Difference> {
    let mut expectations = Expectations::new(case).with_host(host(url));
    let mut conversation = match way.connect(url) {
        Ok(client) => Conversation {
            way,
            url,
            client: Some(client),
            received: Vec::new(),
            patience: PATIENCE,
        },
        Err(error) => {
            let error = Received::Other(format!("{url}: {error}"));
            expectations.compare(&[], &[error]);
            return expectations.finish();
        }
    };
    let mut turns = case.turns().peekable();
    while let Some(turn) = turns.next() {
        conversation.act(turn, &expectations);
        conversation.await_frames(turn.iter().filter(|step| step.is_expected()).count());
        conversation.watch(if turns.peek().is_some() { SETTLE } else { TAIL });
        expectations.compare(turn, &conversation.received);
        conversation.received.clear();
    }
    if let Some(mut client) = conversation.client {
        // It does not come back, so the server need not wait for it.
        client.send_text(r#"{"msg":"disconnect"}"#).ok();
        client.close();
    }
    expectations.finish()
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

struct Conversation<'a> {
    way: Way,
    url: &'a str,
    /// Gone once the connection has ended.
    client: Option<Box<dyn Transport>>,
    /// What came in this turn.
    received: Vec<Received>,
    patience: Duration,
}

impl Conversation<'_> {
    /// Does what a turn has the client do.
    fn act(&mut self, turn: &[Step], expectations: &Expectations) {
        let mut steps = turn.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Send(text) => {
                    self.send(&expectations.fill(text));
                    if let Some(Step::Send(_)) = steps.peek() {
                        self.watch(PIPELINE);
                    }
                }
                Step::Wait(pause) => self.watch(*pause),
                Step::Reconnect => self.reconnect(),
                Step::Expect(_) | Step::Close { .. } => {}
            }
        }
    }

    /// Breaks the connection off and opens another.
    fn reconnect(&mut self) {
        if let Some(client) = self.client.take() {
            client.reset();
        }
        match self.way.connect(self.url) {
            Ok(client) => self.client = Some(client),
            Err(error) => self.received.push(Received::Other(error)),
        }
    }

    fn send(&mut self, text: &str) {
        if let Some(client) = &mut self.client
            && let Err(error) = client.send_text(text)
        {
            self.received.push(Received::Other(error));
            self.client = None;
        }
    }

    fn await_frames(&mut self, expected: usize) {
        while self.received.len() < expected && self.client.is_some() {
            if !self.receive(self.patience) {
                self.patience = NO_PATIENCE;
                return;
            }
        }
    }

    fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.client.is_some() && self.receive(end.saturating_duration_since(Instant::now())) {
        }
    }

    /// Whether something came.
    fn receive(&mut self, limit: Duration) -> bool {
        let received = self
            .client
            .as_mut()
            .and_then(|client| client.receive(limit));
        if received
            .as_ref()
            .is_some_and(|received| !matches!(received, Received::Text(_)))
        {
            self.client = None;
        }
        self.received.extend(received.clone());
        received.is_some()
    }
}
