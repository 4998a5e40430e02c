//! Messages that are kept while a client's user changes: the functions of the user who was are not called any more, those
//! of the new one are not all there yet. A keeper follows the channels of both, and holds the shares of the former, so
//! that a channel which is still wanted is never let go of in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use updraft_protocol::session::Run;

use super::followers::{Followers, Rank};
use super::{FanOut, Follower, FollowerId, Function, Outcome, deliver};
use crate::bus::{Lease, Message};
use crate::memory::{Share, Tally};
use crate::publication::AsyncMapper;

/// What comes in for one client meanwhile.
pub(super) struct Keeper {
    /// In the order in which they came, for all channels. Filled by the bus, drained when the change is complete, bounded
    /// by `limit`.
    messages: Vec<Arc<Message>>,
    /// What the asynchronous functions of the subscription that now has this run had not answered: not for others, who
    /// may have had it. Bounded by what such a function may have waiting.
    unmapped: Vec<(Run, Arc<Message>)>,
    /// Bytes of `messages`, as the shard counts them.
    bytes: Share,
    limit: usize,
    /// Whether a message found no room. After that nothing more is kept: the gap is at the end.
    is_full: bool,
    /// What it follows, and its place among the followers of each.
    channels: HashMap<Arc<str>, Rank>,
    /// Channels of which a message was not kept, or was missed by the bus; bounded by the channels that are followed.
    missed: HashSet<Arc<str>>,
    /// The shares in the channels that were followed when the change began.
    leases: Vec<Lease>,
}

/// What a message counts for beside its payload.
const OVERHEAD: usize = 64;

impl Keeper {
    fn new(limit: usize, bytes: Share) -> Self {
        Self {
            messages: Vec::new(),
            unmapped: Vec::new(),
            bytes,
            limit,
            is_full: false,
            channels: HashMap::new(),
            missed: HashSet::new(),
            leases: Vec::new(),
        }
    }

    pub(super) fn keep(&mut self, message: &Arc<Message>) {
        let size = message.payload().len().saturating_add(OVERHEAD);
        let bytes = self.bytes.bytes().saturating_add(size);
        self.is_full |= bytes > self.limit;
        if self.is_full {
            return self.miss(message.channel());
        }
        self.bytes.set(bytes);
        self.messages.push(message.clone());
    }

    fn keep_unmapped(&mut self, run: Run, messages: impl IntoIterator<Item = Arc<Message>>) {
        for message in messages {
            let is_known = |(of, it): &(Run, Arc<Message>)| *of == run && Arc::ptr_eq(it, &message);
            if !self.unmapped.iter().any(is_known) {
                self.unmapped.push((run, message));
            }
        }
    }

    /// The user changes once more before the first change is complete.
    fn runs_again(&mut self, run: Run, next: Run) {
        let of_run = self.unmapped.iter_mut().filter(|(of, _)| *of == run);
        of_run.for_each(|(of, _)| *of = next);
    }

    fn miss(&mut self, channel: &str) {
        if !self.missed.contains(channel) {
            self.missed.insert(channel.into());
        }
    }
}

impl FanOut {
    /// Forgets the mapping functions of a subscription that begins again under its next run; from here on what comes in on
    /// their channels is kept, up to so many bytes for the client.
    pub(in crate::shard) fn keep(
        &mut self,
        keeper: &mut Option<FollowerId>,
        (limit, tally): (usize, &Tally),
        (run, next): (Run, Run),
        functions: Vec<FollowerId>,
    ) {
        for function in functions {
            let Some(subscriber) = self.take_subscriber(function) else {
                continue;
            };
            let id = *keeper.get_or_insert_with(|| {
                let keeper = Keeper::new(limit, tally.share());
                self.followers.insert(Follower::Keeper(Box::new(keeper)))
            });
            for lease in &subscriber.leases {
                self.keep_channel(id, lease.channel());
            }
            if let Some(Follower::Keeper(keeper)) = self.followers.get_mut(id) {
                keeper.leases.extend(subscriber.leases);
                if let Function::Async(mapper) = subscriber.function {
                    keeper.keep_unmapped(next, mapper.into_unmapped());
                }
            }
        }
        if let Some(Follower::Keeper(keeper)) = keeper.and_then(|id| self.followers.get_mut(id)) {
            keeper.runs_again(run, next);
        }
    }

    /// What is followed first while there is a keeper has one order with what was followed before.
    pub(super) fn keep_channel(&mut self, id: FollowerId, channel: &Arc<str>) {
        if let Some(Follower::Keeper(keeper)) = self.followers.get_mut(id)
            && !keeper.channels.contains_key(channel)
        {
            let rank = self.next_rank.take();
            keeper.channels.insert(channel.clone(), rank);
            self.list(rank, id, channel);
        }
    }

    /// The change is complete: hands what was kept to the client's functions, message by message, and lets go of what
    /// none of them follows. Answers with the runs for which there is a gap.
    pub(in crate::shard) fn release(
        &mut self,
        keeper: FollowerId,
        functions: &[FollowerId],
        mut send: impl FnMut(Run, Outcome),
    ) -> Vec<Run> {
        let Some(keeper) = self.dismiss(keeper) else {
            return Vec::new();
        };
        for id in functions {
            if let Some(Follower::Subscriber(subscriber)) = self.followers.get_mut(*id) {
                subscriber.is_kept = false;
            }
        }
        for (run, message) in &keeper.unmapped {
            let mut ids = self.who_of(functions, message.channel());
            ids.retain(|id| {
                let subscriber = self.subscriber(*id);
                subscriber.is_some_and(|it| it.run == *run && it.function.is_async())
            });
            self.hand_over(message, ids, &mut send);
        }
        for message in &keeper.messages {
            let ids = self.who_of(functions, message.channel());
            self.hand_over(message, ids, &mut send);
        }
        let missed = keeper.missed.iter();
        let mut told: Vec<Run> = missed
            .flat_map(|channel| self.who_of(functions, channel))
            .filter_map(|id| Some(self.subscriber(id)?.run))
            .collect();
        told.sort_unstable();
        told.dedup();
        told
    }

    /// Bytes of what is kept for a client.
    pub(in crate::shard) fn kept(&self, keeper: FollowerId) -> usize {
        match self.followers.get(keeper) {
            Some(Follower::Keeper(keeper)) => keeper.bytes.bytes(),
            _ => 0,
        }
    }

    /// Forgets what is kept for a client that is gone.
    pub(in crate::shard) fn forget(&mut self, keeper: FollowerId) {
        drop(self.dismiss(keeper));
    }

    fn dismiss(&mut self, keeper: FollowerId) -> Option<Keeper> {
        let Some(Follower::Keeper(found)) = self.followers.try_remove(keeper) else {
            return None;
        };
        for (channel, rank) in &found.channels {
            self.unlist(*rank, keeper, channel);
        }
        Some(*found)
    }

    /// Messages of a channel may be missing: those who follow it, connection and run of each. For the clients whose user
    /// changes it is noted.
    pub(in crate::shard) fn missed(&mut self, channel: &str) -> Vec<(usize, Run)> {
        let ids = self.channels.get(channel).into_iter();
        let mut told = Vec::new();
        for id in ids.flat_map(Followers::iter) {
            match self.followers.get_mut(id) {
                Some(Follower::Keeper(keeper)) => keeper.miss(channel),
                Some(Follower::Subscriber(it)) if !it.is_kept => told.push((it.connection, it.run)),
                _ => {}
            }
        }
        told
    }

    fn hand_over(
        &mut self,
        message: &Arc<Message>,
        ids: Vec<FollowerId>,
        send: &mut impl FnMut(Run, Outcome),
    ) {
        let queue = AsyncMapper::queue_kept;
        deliver(
            message,
            ids,
            &mut self.followers,
            queue,
            |_, run, outcome| {
                send(run, outcome);
            },
        );
    }

    /// Those of the functions that follow a channel, as often as they do.
    fn who_of(&self, functions: &[FollowerId], channel: &str) -> Vec<FollowerId> {
        let mut ids = Vec::new();
        for id in functions {
            let leases = self
                .subscriber(*id)
                .map(|it| &it.leases)
                .into_iter()
                .flatten();
            ids.extend(leases.filter(|it| **it.channel() == *channel).map(|_| *id));
        }
        ids
    }
}
