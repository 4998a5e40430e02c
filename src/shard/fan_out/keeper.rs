//! Messages that are kept while a client's user changes. The functions of the former user are no
//! longer called, and those of the new user are not all there yet. A keeper follows the channels of
//! both and holds the leases of the former, so that a channel which is still wanted is not released
//! in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use updraft_bus::{Lease, Message};
use updraft_protocol::session::Run;

use super::followers::{Followers, Rank};
use super::{ChannelFollower, FanOut, FollowerId, Function, Outcome, deliver};
use crate::base::memory::{Share, Tally};
use crate::mapping::AsyncMapper;

/// Collects messages for one client.
pub(super) struct Keeper {
    /// In the order in which they came, for all channels, with the gaps between them. Filled by the
    /// bus, drained when the change is complete, bounded by `limit`.
    kept: Vec<Kept>,
    /// Messages that asynchronous functions of a subscription had not answered, with the
    /// subscription's next run. Only its new functions get them, because other subscriptions may
    /// have had them already. Bounded by the queue of an asynchronous function.
    unmapped: Vec<(Run, Arc<Message>)>,
    /// Bytes of the messages in `kept`, as the shard counts them.
    bytes: Share,
    limit: usize,
    /// Whether a message found no room. After that nothing more is kept: the gap is at the end.
    is_full: bool,
    /// The channels that it follows, with its rank among the followers of each.
    channels: HashMap<Arc<str>, Rank>,
    /// Channels of which a message was not kept, or was lost by the bus, after all that is kept.
    /// Bounded by the channels that are followed.
    missed: HashSet<Arc<str>>,
    /// The leases on the channels that were followed when the change began. Filled by `keep`,
    /// dropped with the keeper.
    leases: Vec<Lease>,
}

enum Kept {
    Message(Arc<Message>),
    /// Messages of these channels may be missing here.
    Gap(HashSet<Arc<str>>),
}

/// Bytes that a message counts for in addition to its payload.
const OVERHEAD: usize = 64;

impl Keeper {
    fn new(limit: usize, bytes: Share) -> Self {
        Self {
            kept: Vec::new(),
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
        self.end_gap();
        self.kept.push(Kept::Message(message.clone()));
    }

    fn keep_unmapped(&mut self, run: Run, messages: impl IntoIterator<Item = Arc<Message>>) {
        for message in messages {
            let is_known = |(of, it): &(Run, Arc<Message>)| *of == run && Arc::ptr_eq(it, &message);
            if !self.unmapped.iter().any(is_known) {
                self.unmapped.push((run, message));
            }
        }
    }

    /// The user changes again before the first change is complete.
    fn replace_run(&mut self, run: Run, next: Run) {
        let of_run = self.unmapped.iter_mut().filter(|(of, _)| *of == run);
        of_run.for_each(|(of, _)| *of = next);
    }

    /// Ends the current gap: what is missed from here on is another one.
    fn end_gap(&mut self) {
        if !self.missed.is_empty() {
            let missed = std::mem::take(&mut self.missed);
            self.kept.push(Kept::Gap(missed));
        }
    }

    fn miss(&mut self, channel: &str) {
        if !self.missed.contains(channel) {
            self.missed.insert(channel.into());
        }
    }
}

impl FanOut {
    /// Removes the mapping functions of a subscription that starts again under its next run. From
    /// here on messages of their channels are kept, up to `limit` bytes for the client.
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
                self.followers
                    .insert(ChannelFollower::Keeper(Box::new(keeper)))
            });
            for lease in &subscriber.leases {
                self.keep_channel(id, lease.channel());
            }
            if let Some(ChannelFollower::Keeper(keeper)) = self.followers.get_mut(id) {
                if let Function::Async(mapper) = subscriber.function {
                    let (messages, has_gap) = mapper.into_unmapped();
                    keeper.keep_unmapped(next, messages);
                    let missed = subscriber.leases.iter().filter(|_| has_gap);
                    missed.for_each(|lease| keeper.miss(lease.channel()));
                }
                keeper.leases.extend(subscriber.leases);
            }
        }
        if let Some(ChannelFollower::Keeper(keeper)) =
            keeper.and_then(|id| self.followers.get_mut(id))
        {
            keeper.replace_run(run, next);
        }
    }

    /// Has the keeper follow a channel. Channels that are followed for the first time during the
    /// change join the same order of messages.
    pub(super) fn keep_channel(&mut self, id: FollowerId, channel: &Arc<str>) {
        if let Some(ChannelFollower::Keeper(keeper)) = self.followers.get_mut(id)
            && !keeper.channels.contains_key(channel)
        {
            let rank = self.next_rank.take();
            keeper.channels.insert(channel.clone(), rank);
            self.list(rank, id, channel);
        }
    }

    /// The change is complete: hands the kept messages and gaps in order to the client's new
    /// functions, and releases the channels that none of them follows.
    pub(in crate::shard) fn release(
        &mut self,
        keeper: FollowerId,
        functions: &[FollowerId],
        mut send: impl FnMut(Run, Outcome),
    ) {
        let Some(mut keeper) = self.remove_keeper(keeper) else {
            return;
        };
        keeper.end_gap();
        for id in functions {
            if let Some(ChannelFollower::Subscriber(subscriber)) = self.followers.get_mut(*id) {
                subscriber.is_kept = false;
            }
        }
        for (run, message) in &keeper.unmapped {
            let mut ids = self.followers_of(functions, message.channel());
            ids.retain(|id| {
                let subscriber = self.subscriber(*id);
                subscriber.is_some_and(|it| it.run == *run && it.function.is_async())
            });
            self.hand_over(message, ids, &mut send);
        }
        for kept in &keeper.kept {
            match kept {
                Kept::Message(message) => {
                    let ids = self.followers_of(functions, message.channel());
                    self.hand_over(message, ids, &mut send);
                }
                Kept::Gap(channels) => {
                    let ids = channels.iter();
                    let ids = ids.flat_map(|channel| self.followers_of(functions, channel));
                    let ids: Vec<FollowerId> = ids.collect();
                    let told = self.gap_of(&ids);
                    told.into_iter()
                        .for_each(|(_, run)| send(run, Outcome::Lost));
                }
            }
        }
    }

    /// Bytes that are kept for a client.
    pub(in crate::shard) fn kept(&self, keeper: FollowerId) -> usize {
        match self.followers.get(keeper) {
            Some(ChannelFollower::Keeper(keeper)) => keeper.bytes.bytes(),
            _ => 0,
        }
    }

    /// Drops what is kept for a client that is gone.
    pub(in crate::shard) fn forget(&mut self, keeper: FollowerId) {
        drop(self.remove_keeper(keeper));
    }

    fn remove_keeper(&mut self, keeper: FollowerId) -> Option<Keeper> {
        let Some(ChannelFollower::Keeper(found)) = self.followers.try_remove(keeper) else {
            return None;
        };
        for (channel, rank) in &found.channels {
            self.unlist(*rank, keeper, channel);
        }
        Some(*found)
    }

    /// Messages of these channels may be missing. Returns the subscriptions that are to be told
    /// now, each as connection and run. For clients whose user changes the keeper notes the gap.
    pub(in crate::shard) fn missed(
        &mut self,
        channels: impl IntoIterator<Item = Arc<str>>,
    ) -> Vec<(usize, Run)> {
        let mut followers = Vec::new();
        for channel in channels {
            let ids = self.channels.get(&channel).into_iter();
            for id in ids.flat_map(Followers::iter) {
                match self.followers.get_mut(id) {
                    Some(ChannelFollower::Keeper(keeper)) => keeper.miss(&channel),
                    Some(ChannelFollower::Subscriber(it)) if !it.is_kept => followers.push(id),
                    _ => {}
                }
            }
        }
        self.gap_of(&followers)
    }

    /// These functions may miss messages from here on. Returns the subscriptions that are to be
    /// told now. A subscription with a busy asynchronous function is told when the queued messages
    /// are mapped, so that it hears of the gap in order.
    fn gap_of(&mut self, functions: &[FollowerId]) -> Vec<(usize, Run)> {
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for id in functions {
            if let Some(it) = self.subscriber(*id) {
                let is_busy = matches!(&it.function, Function::Async(mapper) if mapper.is_busy());
                let subscription = (it.connection, it.run);
                if is_busy {
                    later.push((subscription, *id));
                } else {
                    now.push(subscription);
                }
            }
        }
        now.sort_unstable();
        now.dedup();
        later.sort_unstable();
        later.dedup_by_key(|(subscription, _)| *subscription);
        later.retain(|(subscription, _)| now.binary_search(subscription).is_err());
        for (_, id) in later {
            if let Some(ChannelFollower::Subscriber(it)) = self.followers.get_mut(id)
                && let Function::Async(mapper) = &mut it.function
            {
                mapper.gap();
            }
        }
        now
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

    /// Those of the functions that follow a channel, each as often as it does.
    fn followers_of(&self, functions: &[FollowerId], channel: &str) -> Vec<FollowerId> {
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
