//! The seat of a client in a group: what its subscription and its calls share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use updraft_topics::group::Token;
use uuid::Uuid;

use crate::publication::{ClientObserver, Vent};

/// Tokens of a client that are remembered beyond those that it can have at once: an answer may be
/// repeated.
const REMEMBERED: usize = 1000;

/// The seats of all clients, by connection. A client that comes back to its session has the same
/// connection.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<Uuid, Vec<Arc<Seat>>>>);

/// The seat of one subscription, over all its runs.
pub(super) struct Seat {
    state: watch::Sender<ClientState>,
    tokens: Mutex<Tokens>,
}

/// What becomes of the client.
#[derive(Clone)]
pub(super) struct ClientState {
    /// The run that is sent to; `None` between two runs.
    pub(super) vent: Option<Vent>,
    pub(super) is_away: bool,
    pub(super) ending: Option<SeatEnd>,
}

/// How a seat is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatEnd {
    /// In good order: by the client or by the server.
    Left,
    /// The client is gone with what it had.
    Lost,
}

/// Belongs to the subscription. When it is dropped, the seat is given up.
pub(super) struct SeatHolder(Arc<Seat>);

/// The tokens that a client was given.
struct Tokens {
    known: HashSet<Token>,
    /// The same, oldest first.
    oldest: VecDeque<Token>,
    most: usize,
}

impl Seats {
    pub(super) fn add(&self, connection: Uuid, seat: &Arc<Seat>) {
        self.lock()
            .entry(connection)
            .or_default()
            .push(seat.clone());
    }

    pub(super) fn remove(&self, connection: Uuid, seat: &Arc<Seat>) {
        let mut all = self.lock();
        if let Some(seats) = all.get_mut(&connection) {
            seats.retain(|other| !Arc::ptr_eq(other, seat));
            if seats.is_empty() {
                all.remove(&connection);
            }
        }
    }

    /// Whether the client was given this token, and its seat is not given up.
    pub(super) fn have(&self, connection: Uuid, token: &Token) -> bool {
        let all = self.lock();
        let mut seats = all.get(&connection).into_iter().flatten();
        seats.any(|seat| seat.has(token))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Seat>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn new(vent: Vent, credit: usize) -> Self {
        let state = ClientState {
            vent: Some(vent),
            is_away: false,
            ending: None,
        };
        Self {
            state: watch::Sender::new(state),
            tokens: Mutex::new(Tokens {
                known: HashSet::new(),
                oldest: VecDeque::new(),
                most: credit.saturating_add(REMEMBERED),
            }),
        }
    }

    pub(super) fn states(&self) -> watch::Receiver<ClientState> {
        self.state.subscribe()
    }

    /// The client is given this token, and may answer with it.
    pub(super) fn remember(&self, token: Token) {
        self.tokens().add(token);
    }

    fn has(&self, token: &Token) -> bool {
        self.state.borrow().ending.is_none() && self.tokens().known.contains(token)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ending: SeatEnd) {
        self.state.send_modify(|state| {
            state.vent = None;
            state.ending.get_or_insert(ending);
        });
    }
}

impl ClientState {
    /// Whether records can be sent.
    pub(super) fn is_there(&self) -> bool {
        self.vent.is_some() && !self.is_away && self.ending.is_none()
    }
}

impl SeatHolder {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self(seat)
    }

    /// The next run of the subscription.
    pub(super) fn next_run(&self, vent: Vent) {
        self.0.state.send_modify(|state| state.vent = Some(vent));
    }
}

impl ClientObserver for SeatHolder {
    fn away(&self) {
        self.0.state.send_modify(|state| state.is_away = true);
    }

    fn back(&self) {
        self.0.state.send_modify(|state| state.is_away = false);
    }

    fn user_changes(&self) {
        self.0.state.send_modify(|state| state.vent = None);
    }

    fn lost(&self) {
        self.0.end(SeatEnd::Lost);
    }
}

impl Drop for SeatHolder {
    fn drop(&mut self) {
        self.0.end(SeatEnd::Left);
    }
}

impl Tokens {
    fn add(&mut self, token: Token) {
        if self.known.insert(token.clone()) {
            self.oldest.push_back(token);
        }
        if self.oldest.len() > self.most
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
