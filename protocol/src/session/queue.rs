//! The client's messages that wait for their turn. A message that takes much more memory than its
//! text, such as one of many small values, waits as text and is parsed again when its turn comes.

use std::collections::VecDeque;

use super::SessionConfig;
use crate::message::{self, ClientRequest, Unreadable};

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    /// Filled by `push`, drained by `pop`; bounded by the host, which stops reading from a client
    /// with too many of them.
    messages: VecDeque<QueuedMessage>,
    /// Bytes of memory of `messages`.
    bytes: usize,
}

#[derive(Debug)]
struct QueuedMessage {
    form: MessageForm,
    bytes: usize,
}

#[derive(Debug)]
enum MessageForm {
    Request(ClientRequest),
    Text {
        text: Box<str>,
        /// The client's id for the call, if it is one.
        call: Option<Box<str>>,
        /// The client's id for the subscription, if it is a `sub`.
        subscription: Option<Box<str>>,
    },
    /// A login that was passed on to Meteor. What is behind it waits for its result.
    Login(u64),
}

/// A parsed message waits as it is if it takes at most this many bytes, or at most twice its text;
/// any other waits as text.
const SMALL_MESSAGE: usize = 4096;

impl RequestQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of memory of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message and the text that it was parsed from.
    pub(super) fn push(&mut self, request: ClientRequest, text: &str) {
        let memory = request.memory();
        let waiting = if memory <= text.len().saturating_mul(2).max(SMALL_MESSAGE) {
            QueuedMessage {
                form: MessageForm::Request(request),
                bytes: memory,
            }
        } else {
            let (call, subscription) = match request {
                ClientRequest::Call(call) => (Some(call.id), None),
                ClientRequest::Subscribe(subscribe) => (None, Some(subscribe.id)),
                _ => (None, None),
            };
            QueuedMessage {
                form: MessageForm::Text {
                    text: text.into(),
                    call,
                    subscription,
                },
                bytes: text.len(),
            }
        };
        self.bytes = self.bytes.saturating_add(waiting.bytes);
        self.messages.push_back(waiting);
    }

    /// Adds a login of this number: what comes behind it waits.
    pub(super) fn push_login(&mut self, number: u64) {
        self.messages.push_back(QueuedMessage {
            form: MessageForm::Login(number),
            bytes: 0,
        });
    }

    /// The number of the login at the front, if one is there.
    pub(super) fn login(&self) -> Option<u64> {
        match self.messages.front()?.form {
            MessageForm::Login(number) => Some(number),
            _ => None,
        }
    }

    /// Takes the login at the front out.
    pub(super) fn pop_login(&mut self) {
        if self.login().is_some() {
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// Takes the first message out, which is no login. `Err` if it cannot be parsed again, because no
    /// new ObjectID could be made.
    pub(super) fn pop(
        &mut self,
        config: &SessionConfig,
    ) -> Option<Result<ClientRequest, Unreadable>> {
        let QueuedMessage { form, bytes } = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(match form {
            MessageForm::Login(_) => return None,
            MessageForm::Request(request) => Ok(request),
            MessageForm::Text { text, .. } => {
                let message = message::decode(&text, &config.settings.json, config.new_object_id);
                message.map(|message| {
                    ClientRequest::parse(message, text.len(), &config.settings.bounds)
                })
            }
        })
    }

    /// Whether the first message starts a handler. One that waits as text is long enough to be
    /// counted as such.
    pub(super) fn begins_handler(&self) -> bool {
        let first = self.messages.front();
        first.is_some_and(|waiting| match &waiting.form {
            MessageForm::Request(request) => request.begins_handler(),
            MessageForm::Text { .. } => true,
            MessageForm::Login(_) => false,
        })
    }

    /// Whether a waiting message is a `sub` with this id.
    pub(super) fn subscribes(&self, id: &str) -> bool {
        self.messages.iter().any(|waiting| match &waiting.form {
            MessageForm::Request(ClientRequest::Subscribe(subscribe)) => *subscribe.id == *id,
            MessageForm::Request(_) | MessageForm::Login(_) => false,
            MessageForm::Text { subscription, .. } => subscription.as_deref() == Some(id),
        })
    }

    /// The client's ids for the waiting calls.
    pub(super) fn calls(&self) -> impl Iterator<Item = &str> {
        self.messages
            .iter()
            .filter_map(|waiting| match &waiting.form {
                MessageForm::Request(ClientRequest::Call(call)) => Some(&*call.id),
                MessageForm::Request(_) => None,
                MessageForm::Text { call, .. } => call.as_deref(),
                MessageForm::Login(_) => None,
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
        assert!(matches!(queue.messages[1].form, MessageForm::Text { .. }));
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
