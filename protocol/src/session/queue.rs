//! What a client has sent and waits for its turn. A message that takes much more memory than its text, as one of many small
//! values does, waits as its text, and is read again when its turn has come.

use std::collections::VecDeque;

use super::SessionConfig;
use crate::message::{self, ClientRequest, Unreadable};

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    /// Filled by `push`, drained by `pop`; bounded by the host, which stops reading from a client with too many of them.
    messages: VecDeque<QueuedMessage>,
    /// Bytes that `messages` take.
    bytes: usize,
}

#[derive(Debug)]
struct QueuedMessage {
    what: What,
    bytes: usize,
}

#[derive(Debug)]
enum What {
    Request(ClientRequest),
    Text {
        text: Box<str>,
        /// The client's name for the call, if it is one.
        call: Option<Box<str>>,
    },
}

/// What is read takes no more than this, or than twice its text, or else waits as text.
const LITTLE: usize = 4096;

impl RequestQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of memory that the messages take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message and the text that it was read from.
    pub(super) fn push(&mut self, request: ClientRequest, text: &str) {
        let memory = request.memory();
        let waiting = if memory <= text.len().saturating_mul(2).max(LITTLE) {
            QueuedMessage {
                what: What::Request(request),
                bytes: memory,
            }
        } else {
            let call = match request {
                ClientRequest::Call(call) => Some(call.id),
                _ => None,
            };
            QueuedMessage {
                what: What::Text {
                    text: text.into(),
                    call,
                },
                bytes: text.len(),
            }
        };
        self.bytes = self.bytes.saturating_add(waiting.bytes);
        self.messages.push_back(waiting);
    }

    /// Takes the first message out. An error says that it cannot be read any more, for want of a new ObjectID.
    pub(super) fn pop(
        &mut self,
        config: &SessionConfig,
    ) -> Option<Result<ClientRequest, Unreadable>> {
        let QueuedMessage { what, bytes } = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(match what {
            What::Request(request) => Ok(request),
            What::Text { text, .. } => {
                let message = message::decode(&text, &config.settings.json, config.new_object_id);
                message.map(|message| {
                    ClientRequest::parse(message, text.len(), &config.settings.bounds)
                })
            }
        })
    }

    /// Whether the first message begins a handler. One that waits as its text is long enough to be taken for such.
    pub(super) fn begins_handler(&self) -> bool {
        let first = self.messages.front();
        first.is_some_and(|waiting| match &waiting.what {
            What::Request(request) => request.begins_handler(),
            What::Text { .. } => true,
        })
    }

    /// Whether a message that waits may be a subscription of which the client has such a name for.
    pub(super) fn may_subscribe(&self, is_name: impl Fn(&str) -> bool) -> bool {
        self.messages.iter().any(|waiting| match &waiting.what {
            What::Request(ClientRequest::Subscribe(subscribe)) => is_name(&subscribe.id),
            What::Request(_) => false,
            What::Text { call, .. } => call.is_none(),
        })
    }

    /// The client's names for the calls that wait.
    pub(super) fn calls(&self) -> impl Iterator<Item = &str> {
        self.messages
            .iter()
            .filter_map(|waiting| match &waiting.what {
                What::Request(ClientRequest::Call(call)) => Some(&*call.id),
                What::Request(_) => None,
                What::Text { call, .. } => call.as_deref(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_205_a_message_is_the_same_in_both_forms() {
        let config = SessionConfig::default();
        let mut queue = RequestQueue::default();
        let numbers = vec!["[1]"; 1000].join(",");
        let texts = ["1", &numbers].map(|params| {
            format!(
                r#"{{"msg":"method","id":"{0}","method":"m","params":[{params}]}}"#,
                params.len()
            )
        });
        let read = |text: &str| {
            let message = message::decode(text, &config.settings.json, || None).unwrap();
            ClientRequest::parse(message, text.len(), &config.settings.bounds)
        };
        for text in &texts {
            queue.push(read(text), text);
        }
        let ids = texts.each_ref().map(|text| match read(text) {
            ClientRequest::Call(call) => call.id,
            other => panic!("{other:?}"),
        });
        assert!(queue.calls().eq(ids.iter().map(|id| &**id)));
        assert!(matches!(queue.messages[1].what, What::Text { .. }));
        for text in &texts {
            let (ClientRequest::Call(call), ClientRequest::Call(expected)) =
                (queue.pop(&config).unwrap().unwrap(), read(text))
            else {
                panic!("no call");
            };
            assert_eq!((call.id, call.params), (expected.id, expected.params));
        }
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }
}
