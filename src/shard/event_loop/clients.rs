//! The clients of a shard, their timers, and what of their bytes is counted.

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

/// Room for due timers that is kept between turns.
const KEPT_DUE: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Each by itself: a slab of them would be copied as it grows, which takes their memory twice.
    slab: Slab<Box<Client>>,
    /// Those that there have ever been.
    arrivals: u64,
    /// When which client wants to be looked at.
    timers: Timers,
    /// Those whose time has come; empty between uses.
    due: Vec<usize>,
    /// Bytes that wait for the connections.
    output: Tally,
    /// Bytes of theirs that wait for handlers, and those that are kept until a user has changed or a
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

    /// Behind the last place that is or was taken.
    pub(super) fn places_end(&self) -> usize {
        self.slab.capacity()
    }

    /// All that are taken, as they are now.
    pub(super) fn places(&self) -> Vec<usize> {
        self.slab.iter().map(|(index, _)| index).collect()
    }

    /// Gives a client a place: `register` has its link known under the index.
    ///
    /// # Errors
    ///
    /// That of `register`; then there is no client.
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
        link.settle(&shard.inbox, place);
        let address = Address::new(shard.inbox.clone(), place, shard.limits.flow);
        let context = context(Arc::new(address));
        let (output, input) = (self.output.share(), self.input.share());
        entry.insert(Box::new(Client::new(link, session, context, output, input)));
        Ok(index)
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Box<Client>> {
        self.slab.try_remove(index)
    }

    /// What they hold, in bytes: output, and input.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.output.bytes(), self.input.bytes())
    }

    /// What input is counted with that is kept for a client elsewhere.
    pub(super) fn input(&self) -> &Tally {
        &self.input
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// A timer that is due too early costs a look and is set anew; so only an earlier time replaces one.
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

    /// Those whose time has come; [`give_back`](Self::give_back) takes the room again.
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

    /// One of those, unless it has gone meanwhile, or its timer has been served.
    pub(super) fn serve_timer(&mut self, index: usize, now: Duration) -> Option<&mut Client> {
        let client = self.get_mut(index)?;
        let latest = Tick::latest(now);
        client.timer.take_if(|tick| *tick <= latest)?;
        Some(client)
    }
}
