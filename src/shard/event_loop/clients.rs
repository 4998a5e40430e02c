//! The clients of a shard, their timers, and the counts of their bytes.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::shard_context::ShardContext;
use crate::base::memory::Tally;
use crate::handler::Connection;
use crate::mail::{Address, Place};
use crate::shard::ClientLimits;
use crate::shard::client::Client;
use crate::shard::conversation::Conversation;
use crate::shard::link::Link;
use crate::shard::timers::{Tick, Timers};

/// The capacity for due timers that is kept between turns.
const KEPT_DUE: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Filled by `insert`, drained by `remove`; bounded by the connections and parked sessions.
    /// Boxed, because a slab of clients would be copied as it grows, which takes their memory
    /// twice.
    slab: Slab<Box<Client>>,
    /// The number of clients that there have ever been.
    arrivals: u64,
    /// The timers of the clients.
    timers: Timers,
    /// Clients whose timers are due; empty between uses.
    due: Vec<usize>,
    /// Bytes of output that wait for the connections.
    output: Tally,
    /// Bytes of input that wait for handlers, and bytes that are kept until a user has changed or a
    /// client is back.
    input: Tally,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Client> {
        self.slab.get(index).map(|client| &**client)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Client> {
        self.slab.get_mut(index).map(|client| &mut **client)
    }

    /// The client of a place, if it is still there.
    pub(super) fn find(&mut self, place: Place) -> Option<&mut Client> {
        let client = self.get_mut(place.index)?;
        (client.place() == place).then_some(client)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.slab.iter().map(|(index, client)| (index, &**client))
    }

    /// One more than any index that a client can have at this moment.
    pub(super) fn places_end(&self) -> usize {
        self.slab.capacity()
    }

    /// The indexes of all clients at this moment.
    pub(super) fn places(&self) -> Vec<usize> {
        self.slab.iter().map(|(index, _)| index).collect()
    }

    /// Gives a client a place. `register` registers its link under the index.
    ///
    /// # Errors
    ///
    /// Those of `register`; then the client is not added.
    pub(super) fn insert(
        &mut self,
        shard: &ShardContext,
        mut link: Link,
        session: Conversation,
        register: impl FnOnce(&mut Link, usize) -> std::io::Result<()>,
        context: impl FnOnce(Arc<Address>) -> Connection,
    ) -> std::io::Result<usize> {
        let entry = self.slab.vacant_entry();
        let index = entry.key();
        register(&mut link, index)?;
        self.arrivals += 1;
        let place = Place {
            index,
            generation: self.arrivals,
        };
        link.set_place(&shard.inbox, place);
        let address = Address::new(shard.inbox.clone(), place, shard.limits.flow);
        let context = context(Arc::new(address));
        let (output, input) = (self.output.share(), self.input.share());
        entry.insert(Box::new(Client::new(link, session, context, output, input)));
        Ok(index)
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Box<Client>> {
        self.slab.try_remove(index)
    }

    /// The bytes that the clients hold: output and input.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.output.bytes(), self.input.bytes())
    }

    /// The count for input that another part keeps for a client.
    pub(super) fn input(&self) -> &Tally {
        &self.input
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Sets a client's timer, unless an earlier one is set: a timer that fires too early only costs
    /// a look, and is set again then.
    pub(super) fn set_timer(&mut self, index: usize, limits: &ClientLimits) {
        let Some(client) = self.slab.get_mut(index) else {
            return;
        };
        let Some(next) = client.next_timeout(limits) else {
            return;
        };
        let tick = self.timers.tick(next);
        if client.timer.is_none_or(|set| tick < set) {
            client.timer = Some(tick);
            self.timers.set(tick, index);
        }
    }

    /// Takes the clients whose timers are due. [`give_back`](Self::give_back) returns the vector,
    /// so that its memory is used again.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<usize> {
        let mut due = std::mem::take(&mut self.due);
        let slab = &self.slab;
        let timer = |index| slab.get(index).and_then(|client| client.timer);
        self.timers.take_due(now, &mut due, timer);
        due
    }

    pub(super) fn give_back(&mut self, mut due: Vec<usize>) {
        due.clear();
        due.shrink_to(KEPT_DUE);
        self.due = due;
    }

    /// One of these clients, unless it is gone or its timer has been served.
    pub(super) fn serve_timer(&mut self, index: usize, now: Duration) -> Option<&mut Client> {
        let client = self.get_mut(index)?;
        let latest = Tick::latest(now);
        client.timer.take_if(|tick| *tick <= latest)?;
        Some(client)
    }
}
