//! A connection of a SockJS service that the program provides: receives and sends messages.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::handler::Connection;
use crate::mail::Mail;

/// A client of a [SockJS service](crate::Builder::sockjs_service), for the service's handler.
///
/// The connection is closed when the handler ends.
pub struct SockJsConnection {
    connection: Connection,
    unread: Arc<Unread>,
}

impl SockJsConnection {
    pub(crate) fn new(connection: Connection, unread: Arc<Unread>) -> Self {
        Self { connection, unread }
    }

    /// The client's next message; `None` when the client is gone. While as many messages wait as
    /// the [limit](crate::config::ClientLimits::queued_messages) allows, the client is not read
    /// from.
    ///
    /// # Cancel safety
    ///
    /// No message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<String> {
        loop {
            let arrived = self.unread.arrived.notified();
            let (message, is_closed) = {
                let mut queue = self.unread.lock();
                (queue.pop(), queue.is_closed)
            };
            if let Some(message) = message {
                self.connection.send(Mail::Read);
                return Some(message);
            }
            if is_closed {
                return None;
            }
            arrived.await;
        }
    }

    /// Sends a message. It does not wait: a handler that sends much awaits [`Connection::flowing`]
    /// in between.
    pub fn send(&self, text: impl Into<String>) {
        self.connection.send(Mail::Text(text.into().into()));
    }

    /// Closes the connection with a code of 1000 or 3000 to 4999, and a reason of at most 123
    /// bytes. What was sent before arrives.
    pub fn close(&self, code: u16, reason: &str) {
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let reason = reason.get(..end).unwrap_or_default();
        self.connection.send(Mail::CloseWith(code, reason.into()));
    }

    /// The underlying connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for SockJsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SockJsConnection")
            .field(&self.connection)
            .finish()
    }
}

/// Messages that the handler has not read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    queue: Mutex<MessageQueue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct MessageQueue {
    /// Filled by the shard, drained by the handler; bounded, because the shard stops reading from
    /// the client.
    messages: VecDeque<String>,
    bytes: usize,
    is_closed: bool,
}

impl MessageQueue {
    fn pop(&mut self) -> Option<String> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        Some(message)
    }
}

impl Unread {
    fn lock(&self) -> MutexGuard<'_, MessageQueue> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard's end of such a connection.
#[derive(Debug, Default)]
pub(crate) struct Stream(Arc<Unread>);

impl Stream {
    pub(crate) fn unread(&self) -> Arc<Unread> {
        self.0.clone()
    }

    pub(crate) fn receive(&self, text: &str) {
        let mut queue = self.0.lock();
        queue.messages.push_back(text.to_owned());
        queue.bytes = queue.bytes.saturating_add(text.len());
        drop(queue);
        self.0.arrived.notify_one();
    }

    pub(crate) fn queued(&self) -> usize {
        self.0.lock().messages.len()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// No further message arrives.
    pub(crate) fn end(&self) {
        self.0.lock().is_closed = true;
        self.0.arrived.notify_one();
    }
}
