//! From a channel's message to the subscribers of this shard: which mapping functions follow the
//! channel, and what each makes of the message.

mod followers;
mod group;
mod keeper;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::RandomState;
use slab::Slab;
use updraft_bus::{Lease, Message};
use updraft_protocol::message::Tail;
use updraft_protocol::session::Run;
use updraft_protocol::vent::Encoding;

use super::mapping_calls::MappingCalls;
use crate::base::error::Error;
use crate::mapping::{AsyncMapper, Event, MapEach, Mapper, MessageEvent, Queued, SharedMapper};
use crate::publication::Subscription;
use followers::{Followers, Rank};
use group::Group;
use keeper::Keeper;

/// The index of a follower of channels in its shard.
pub(super) type FollowerId = usize;

/// The channels that this shard follows.
#[derive(Default)]
pub(super) struct FanOut {
    /// Filled by `add` and when users change, drained when the last follower of a channel leaves.
    /// None is empty.
    channels: HashMap<Arc<str>, Followers, RandomState>,
    /// Filled by `add` and when users change, drained as subscriptions and changes end; bounded by
    /// the mapping functions of all subscriptions, and one keeper per client.
    followers: Slab<ChannelFollower>,
    /// Each group once. Filled by `add`, drained when the last subscriber of a group leaves;
    /// bounded by the subscribers.
    groups: HashSet<Rc<Group>, RandomState>,
    /// The rank of the next follower.
    next_rank: Rank,
}

/// Kept small, because all followers of a channel are visited for each message and should be near
/// each other in memory.
enum ChannelFollower {
    Subscriber(SubscribedFunction),
    Keeper(Box<Keeper>),
}

/// One mapping function of one subscription.
struct SubscribedFunction {
    /// Orders the followers of its channels.
    rank: Rank,
    /// The index of the connection in the shard.
    connection: usize,
    run: Run,
    encoding: Encoding,
    subscription: Subscription,
    function: Function,
    /// Its leases on its channels.
    leases: Box<[Lease]>,
    /// Whether its client has a keeper, which collects messages for this function.
    is_kept: bool,
}

enum Function {
    Relay,
    Each(MapEach),
    Shared(Rc<Group>),
    Async(Box<AsyncMapper>),
}

/// The outcome of a message for one subscriber.
pub(super) enum Outcome {
    /// An event to send.
    Event(Tail),
    /// No event, or not yet.
    Nothing,
    /// The message was lost on the way to an asynchronous function, and no earlier one waits there.
    Lost,
}

/// One event in the encodings that were asked for.
struct Tails {
    event: Event,
    made: [Option<Option<Tail>>; 4],
}

impl FanOut {
    pub(super) fn add(
        &mut self,
        (connection, keeper): (usize, Option<FollowerId>),
        run: Run,
        encoding: Encoding,
        subscription: Subscription,
        leases: Vec<Lease>,
        mapper: Mapper,
    ) -> FollowerId {
        let function = match mapper {
            Mapper::Relay => Function::Relay,
            Mapper::Function(f) => Function::Each(f),
            Mapper::Shared(mapper) => Function::Shared(self.group(mapper)),
            Mapper::Async(mapper) => Function::Async(Box::new(mapper)),
        };
        let rank = self.next_rank.take();
        let id = self.followers.vacant_key();
        for lease in &leases {
            self.list(rank, id, lease.channel());
        }
        if let Some(keeper) = keeper {
            for lease in &leases {
                self.keep_channel(keeper, lease.channel());
            }
        }
        self.followers
            .insert(ChannelFollower::Subscriber(SubscribedFunction {
                rank,
                connection,
                run,
                encoding,
                subscription,
                function,
                leases: leases.into(),
                is_kept: keeper.is_some(),
            }));
        id
    }

    /// Removes a mapping function and drops its leases.
    pub(super) fn remove(&mut self, id: FollowerId) {
        drop(self.take_subscriber(id));
    }

    /// One of these functions has returned its event for a message. Returns whether messages behind
    /// it were dropped.
    pub(super) fn mapped(&mut self, functions: &[FollowerId], message: &Arc<Message>) -> bool {
        for id in functions {
            if let Some(ChannelFollower::Subscriber(subscriber)) = self.followers.get_mut(*id)
                && let Function::Async(mapper) = &mut subscriber.function
                && let Some(is_before_gap) = mapper.mapped(message)
            {
                return is_before_gap;
            }
        }
        false
    }

    fn take_subscriber(&mut self, id: FollowerId) -> Option<SubscribedFunction> {
        let Some(ChannelFollower::Subscriber(subscriber)) = self.followers.try_remove(id) else {
            return None;
        };
        for lease in &subscriber.leases {
            self.unlist(subscriber.rank, id, lease.channel());
        }
        if let Function::Shared(group) = &subscriber.function
            && group.has_one_member()
        {
            self.groups.remove(group);
        }
        Some(subscriber)
    }

    fn list(&mut self, rank: Rank, id: FollowerId, channel: &Arc<str>) {
        let followers = self.channels.entry(channel.clone()).or_default();
        followers.push(rank, id);
    }

    fn unlist(&mut self, rank: Rank, id: FollowerId, channel: &str) {
        if let Some(followers) = self.channels.get_mut(channel) {
            followers.remove(rank, id);
            if followers.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    /// The subscriptions that follow a channel, each as connection and run.
    pub(super) fn followers(&self, channel: &str) -> impl Iterator<Item = (usize, Run)> {
        let ids = self.channels.get(channel).into_iter();
        ids.flat_map(Followers::iter)
            .filter_map(|id| self.subscriber(id))
            .map(|found| (found.connection, found.run))
    }

    fn subscriber(&self, id: FollowerId) -> Option<&SubscribedFunction> {
        match self.followers.get(id)? {
            ChannelFollower::Subscriber(subscriber) => Some(subscriber),
            ChannelFollower::Keeper(_) => None,
        }
    }

    /// Hands a message to every subscriber of its channel, and passes each outcome to `send`.
    pub(super) fn deliver(
        &mut self,
        message: &Arc<Message>,
        send: impl FnMut(usize, Run, Outcome),
    ) {
        if let Some(followers) = self.channels.get(message.channel()) {
            let ids = followers.iter();
            deliver(message, ids, &mut self.followers, AsyncMapper::queue, send);
        }
    }

    /// The group that shares this function, or a new one.
    fn group(&mut self, mapper: Box<dyn SharedMapper<Message>>) -> Rc<Group> {
        let group = Rc::new(Group::new(mapper, self.groups.hasher()));
        if let Some(known) = self.groups.get(&group) {
            return known.clone();
        }
        self.groups.insert(group.clone());
        group
    }
}

impl Function {
    fn is_async(&self) -> bool {
        matches!(self, Self::Async(_))
    }
}

/// Hands a message to these followers, and passes each subscriber's outcome to `send`.
fn deliver(
    message: &Arc<Message>,
    ids: impl IntoIterator<Item = FollowerId>,
    followers: &mut Slab<ChannelFollower>,
    queue: fn(&mut AsyncMapper, &Arc<Message>) -> Queued,
    mut send: impl FnMut(usize, Run, Outcome),
) {
    let mut as_it_came = Tails::new(message.event());
    let mut called: Vec<Rc<Group>> = Vec::new();
    let mut calls = MappingCalls::default();
    let failed = |subscription: &Subscription, error: &Error| {
        subscription.mapping_failed(message, error);
    };
    for id in ids {
        let subscriber = match followers.get_mut(id) {
            Some(ChannelFollower::Subscriber(subscriber)) if !subscriber.is_kept => subscriber,
            Some(ChannelFollower::Keeper(keeper)) => {
                keeper.keep(message);
                continue;
            }
            _ => continue,
        };
        let encoding = subscriber.encoding;
        if !matches!(subscriber.function, Function::Each(_)) {
            // The time of the next step must not be counted for the function before it.
            calls.check_time();
        }
        let outcome = match &mut subscriber.function {
            Function::Relay => as_it_came.outcome(message, encoding),
            Function::Each(f) => {
                match calls.call(|| f(message), &subscriber.subscription, failed) {
                    event if event.is_as_it_came() => as_it_came.outcome(message, encoding),
                    event => event.into_tail(message, encoding).into(),
                }
            }
            Function::Shared(group) => {
                let call = |mapper: &dyn SharedMapper<Message>| {
                    calls.call(|| mapper.map(message), &subscriber.subscription, failed)
                };
                let (outcome, is_first) = group.outcome(message, encoding, call);
                if is_first {
                    called.push(group.clone());
                }
                outcome
            }
            Function::Async(mapper) => match queue(mapper, message) {
                Queued::Waits => Outcome::Nothing,
                Queued::Lost => Outcome::Lost,
            },
        };
        send(subscriber.connection, subscriber.run, outcome);
    }
    for group in called {
        group.forget();
    }
}

impl Tails {
    fn new(event: Event) -> Self {
        Self {
            event,
            made: [None, None, None, None],
        }
    }

    /// The event in an encoding. It is printed at the first call.
    fn outcome(&mut self, message: &Message, encoding: Encoding) -> Outcome {
        let made = match encoding {
            Encoding::Collection => &mut self.made[0],
            Encoding::Vent => &mut self.made[1],
            Encoding::VentEjson => &mut self.made[2],
            Encoding::Streamer => &mut self.made[3],
        };
        let make = || {
            let tail = self.event.clone().into_tail(message, encoding);
            tail.map(Tail::shared)
        };
        made.get_or_insert_with(make).clone().into()
    }
}

impl From<Option<Tail>> for Outcome {
    fn from(tail: Option<Tail>) -> Self {
        tail.map_or(Self::Nothing, Self::Event)
    }
}

impl std::fmt::Debug for FanOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOut")
            .field("channels", &self.channels.len())
            .field("followers", &self.followers.len())
            .finish()
    }
}
