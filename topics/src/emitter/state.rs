//! What becomes of an emitter's connection: a stream of its own, so that no event reaches it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::TopicError;

/// States that wait for a receiver which does not take them. Older ones are dropped.
const KEPT: usize = 64;

/// What has become of the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The topic is read.
    Connect,
    /// The topic cannot be read. The emitter tries again by itself.
    Disconnect,
    /// The topic is read again, from where it was read last.
    Reconnect,
    /// Something failed: the topic cannot be read, an event could not be stored, or events are
    /// gone that should have fired ([`TopicError::Gap`], [`TopicError::Reset`]).
    Error(TopicError),
}

/// The states of an emitter, from the call on that has made this.
#[derive(Debug)]
pub struct States {
    /// What the connection was then.
    first: Option<State>,
    /// `None` if the emitter had ended then.
    states: Option<broadcast::Receiver<State>>,
}

/// What sends the states.
pub(super) struct Connection(Mutex<Inner>);

struct Inner {
    is_connected: bool,
    was_connected: bool,
    /// `None` when the emitter has ended.
    states: Option<broadcast::Sender<State>>,
}

impl States {
    /// Waits for the next state: at first what the connection is now. `None` when the emitter has
    /// ended. Who is more than 64 states behind does not get the oldest of them.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no state.
    pub async fn next(&mut self) -> Option<State> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let states = self.states.as_mut()?;
        loop {
            match states.recv().await {
                Ok(state) => return Some(state),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Connection {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner {
            is_connected: false,
            was_connected: false,
            states: Some(broadcast::Sender::new(KEPT)),
        }))
    }

    pub(super) fn states(&self) -> States {
        let inner = self.lock();
        let first = match inner.is_connected {
            true => Some(State::Connect),
            false => inner.was_connected.then_some(State::Disconnect),
        };
        States {
            first: first.filter(|_| inner.states.is_some()),
            states: inner.states.as_ref().map(broadcast::Sender::subscribe),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// The topic was read.
    pub(super) fn connected(&self) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.is_connected, true) {
            return;
        }
        let state = match std::mem::replace(&mut inner.was_connected, true) {
            true => State::Reconnect,
            false => State::Connect,
        };
        inner.send(state);
    }

    /// The topic could not be read.
    pub(super) fn disconnected(&self, error: TopicError) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.is_connected, false) {
            inner.send(State::Disconnect);
            inner.send(State::Error(error));
        }
    }

    pub(super) fn error(&self, error: TopicError) {
        self.lock().send(State::Error(error));
    }

    /// There are no more states.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.is_connected, false) {
            inner.send(State::Disconnect);
        }
        inner.states = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn send(&self, state: State) {
        if let Some(states) = &self.states {
            // An error says that nobody listens.
            drop(states.send(state));
        }
    }
}
