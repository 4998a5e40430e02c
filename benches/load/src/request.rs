//! The requests of clients that make them, and when an answer is complete.

use std::time::Duration;

use memchr::memmem::find_iter;

use crate::job::Request;
use crate::protocol::Subscriber;
use crate::stamp::document;

/// One client's requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Counts them; also the id of the open one.
    number: u64,
    /// When it was made.
    since: Duration,
    /// Whether it is not answered.
    is_open: bool,
    /// Parts of the answer that have come.
    answers: usize,
}

/// What a message means for the open request.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// Nothing to do.
    Wait,
    /// The request continues with this message.
    Say(String),
    /// The request was answered after this time.
    Done(Duration),
    /// The server refused it.
    Refused,
}

impl Requests {
    /// Makes the next request.
    pub(crate) fn next(&mut self, request: Request, by: Subscriber<'_>, now: Duration) -> String {
        self.number += 1;
        self.since = now;
        self.is_open = true;
        self.answers = 0;
        let (id, client) = (self.number, by.number);
        match request {
            Request::Call => {
                let text = "x".repeat(by.job.size);
                format!(r#"{{"msg":"method","id":"{id}","method":"echo","params":["{text}"]}}"#)
            }
            Request::Echo => {
                let text = document(by.job.size);
                format!(r#"{{"msg":"method","id":"{id}","method":"echo","params":[{text}]}}"#)
            }
            Request::Login => format!(
                r#"{{"msg":"method","id":"{id}","method":"login","params":[{{"resume":"token{client}"}}]}}"#
            ),
            Request::Subscription => by.subscribe(id),
        }
    }

    /// Whether the latest one is not answered.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Reads a message, or several in one frame.
    pub(crate) fn hear(&mut self, request: Request, text: &[u8], now: Duration) -> Turn {
        let count = |part: &str| find_iter(text, part.as_bytes()).count();
        if count(r#""error":"#) > 0 {
            return Turn::Refused;
        }
        let (answers, whole) = match request {
            Request::Subscription if count(r#""msg":"ready""#) > 0 => {
                let id = self.number;
                return Turn::Say(format!(r#"{{"msg":"unsub","id":"{id}"}}"#));
            }
            Request::Subscription => (count(r#""msg":"nosub""#), 1),
            Request::Call | Request::Echo | Request::Login => {
                (count(r#""msg":"result""#) + count(r#""msg":"updated""#), 2)
            }
        };
        self.answers += answers;
        if self.answers < whole {
            return Turn::Wait;
        }
        // Messages until the next request are not answers to it.
        self.answers = 0;
        self.is_open = false;
        Turn::Done(now.saturating_sub(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_millis(7);

    #[test]
    fn a_call_is_answered_by_both_of_its_messages() {
        let result = br#"{"msg":"result","id":"1","result":1}"#;
        let updated = br#"{"msg":"updated","methods":["1"]}"#;
        let mut requests = Requests::default();
        assert_eq!(requests.hear(Request::Call, updated, LATER), Turn::Wait);
        assert_eq!(
            requests.hear(Request::Call, result, LATER),
            Turn::Done(LATER)
        );
        let both = [&updated[..], result].concat();
        assert_eq!(
            requests.hear(Request::Call, &both, LATER),
            Turn::Done(LATER)
        );
    }

    #[test]
    fn a_subscription_is_ended_once_it_is_ready() {
        let mut requests = Requests::default();
        let ready = br#"{"msg":"ready","subs":["0"]}"#;
        let unsub = r#"{"msg":"unsub","id":"0"}"#.to_owned();
        assert_eq!(
            requests.hear(Request::Subscription, ready, LATER),
            Turn::Say(unsub)
        );
        let nosub = br#"{"msg":"nosub","id":"0"}"#;
        assert_eq!(
            requests.hear(Request::Subscription, nosub, LATER),
            Turn::Done(LATER)
        );
        let refused = br#"{"msg":"nosub","id":"0","error":{"error":404}}"#;
        assert_eq!(
            requests.hear(Request::Subscription, refused, LATER),
            Turn::Refused
        );
    }
}
