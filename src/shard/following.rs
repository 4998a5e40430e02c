//! The subscriptions of this shard that follow topics: where each is, and which of them may be sent
//! more.
//!
//! A follower is *live* if it has been sent all that its topic had when the shard last looked: it
//! gets each new record at once. One whose window is full is passed over, and so falls behind; when
//! half of its window is written, or confirmed if the client has a cursor, it is due, and takes what
//! is behind its place from the feed. Nothing is queued for it.

mod follower;
mod group;
mod ledger;
mod topic;
mod window;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use slab::Slab;
use updraft_protocol::message::Tail;
use updraft_protocol::vent::Encoding;
use updraft_topics::{Lost, Message, Offset, Place, Position, TopicName};

use super::ClientLimits;
use super::mapping_calls::MappingCalls;
use crate::base::error::Error;
use crate::cursor::CursorSettings;
use crate::feed::{
    Beginning, Feed, FeedId, FeedNews, FeedPort, Fetched, Look, Next, Policies, Room,
};
use crate::mail::FollowTopic;
use crate::mapping::RecordMapper;
use crate::publication::{Continuation, Subscription};
use follower::{Follower, FollowerCursor, Function, Pace, ReceiptLimits};
pub(super) use follower::{Found, Handed, Of};
use group::Groups;
use ledger::Ledgers;
use topic::FollowedTopic;

/// The index of a follower of a topic in its shard.
pub(super) type TopicFollowerId = u32;

/// After so many records without an event, or after this time, a client is told where it is.
const PASSED_RECORDS: u32 = 1000;
const PASSED_TIME: Duration = Duration::from_secs(5);

/// The topics that this shard follows.
pub(super) struct Following {
    /// Where feeds send their news.
    port: Arc<dyn FeedPort>,
    /// How much may wait for each follower.
    window: Room,
    /// When clients with cursors are asked to confirm.
    receipts: ReceiptLimits,
    /// Filled by `add`, drained with the last follower of a topic.
    topics: HashMap<FeedId, FollowedTopic, RandomState>,
    /// Filled by `add`, drained as subscriptions end and run again.
    followers: Slab<Follower>,
    /// The records in the queues of the clients.
    pub(super) ledgers: Ledgers,
    groups: Groups,
    /// Topics with new records, each once.
    grown: VecDeque<FeedId>,
    /// Followers that may be sent more, each once; some may be gone.
    due: VecDeque<TopicFollowerId>,
}

impl Following {
    pub(super) fn new(
        port: Arc<dyn FeedPort>,
        limits: &ClientLimits,
        cursors: &CursorSettings,
    ) -> Self {
        let window = Room {
            records: limits.followed_records.max(1),
            bytes: limits.followed_bytes.max(1),
        };
        Self {
            port,
            window,
            receipts: ReceiptLimits::new(window, cursors),
            topics: HashMap::default(),
            followers: Slab::new(),
            ledgers: Ledgers::default(),
            groups: Groups::default(),
            grown: VecDeque::new(),
            due: VecDeque::new(),
        }
    }

    /// Adds a follower, which waits for [`go_on`](Self::go_on).
    pub(super) fn add(
        &mut self,
        of: Of,
        (encoding, answers_pings): (Encoding, bool),
        subscription: Subscription,
        follow: FollowTopic,
    ) -> TopicFollowerId {
        let FollowTopic {
            feed,
            beginning,
            mapper,
            policies,
            on_lost,
            cursor,
        } = follow;
        let function = match mapper {
            RecordMapper::Each(f) => Function::Each(f),
            RecordMapper::Shared(mapper) => Function::Shared(self.groups.join(mapper)),
        };
        let id = self.followers.insert(Follower {
            connection: of.connection,
            run: of.run,
            encoding,
            subscription,
            feed: feed.id(),
            function,
            policies,
            on_lost,
            place: beginning.place,
            horizon: beginning.horizon,
            only: beginning.only,
            until: Some(beginning.until.offset),
            pace: Pace::Paused,
            waiting: 0,
            waiting_bytes: 0,
            cursor: cursor.map(|it| Box::new(FollowerCursor::new(it, answers_pings))),
            passed: 0,
            told: Duration::ZERO,
        });
        let id = TopicFollowerId::try_from(id).unwrap_or(TopicFollowerId::MAX);
        let port = &self.port;
        let topic = self.topics.entry(feed.id());
        let topic = topic.or_insert_with(|| FollowedTopic::new(feed, port.clone()));
        topic.followers.push(id);
        id
    }

    /// Removes a follower. Returns where it was.
    pub(super) fn remove(&mut self, id: TopicFollowerId) -> Option<Continuation> {
        let follower = self.followers.try_remove(index(id))?;
        if let Function::Shared(group) = &follower.function {
            self.groups.leave(group);
        }
        let topic = self.topics.get_mut(&follower.feed)?;
        let sent = follower.reached(topic.feed.topic().name());
        let continuation = Continuation {
            topic: topic.feed.topic().clone(),
            sent,
            confirmed: follower.cursor.map_or(sent, |cursor| cursor.kept()),
        };
        if let Some(at) = topic.followers.iter().position(|other| *other == id) {
            topic.followers.swap_remove(at);
        }
        if topic.followers.is_empty() {
            topic.feed.leave(self.port.shard());
            self.topics.remove(&follower.feed);
        }
        Some(continuation)
    }

    /// A follower that has lost records goes on here, once it is told to.
    pub(super) fn restart(&mut self, id: TopicFollowerId, beginning: &Beginning) {
        if let Some(follower) = self.followers.get_mut(index(id)) {
            follower.place = beginning.place;
            follower.horizon = beginning.horizon;
            follower.only = beginning.only.clone();
            follower.until = Some(beginning.until.offset);
            follower.pace = Pace::Paused;
        }
    }

    /// A follower waits until it is told to go on. One that has lost records first finds out where.
    pub(super) fn pause(&mut self, id: TopicFollowerId) {
        if let Some(follower) = self.followers.get_mut(index(id)) {
            follower.forget_queue();
            if follower.pace != Pace::Recovering {
                follower.pace = Pace::Paused;
            }
        }
    }

    /// Records that were queued for a follower are gone: it goes back to this place.
    pub(super) fn rewind(&mut self, id: TopicFollowerId, place: Place) {
        if let Some(follower) = self.followers.get_mut(index(id))
            && follower.pace != Pace::Recovering
        {
            follower.place = place;
        }
    }

    /// A follower that waits for its client goes on.
    pub(super) fn go_on(&mut self, id: TopicFollowerId) {
        let follower = self.followers.get(index(id));
        if follower.is_some_and(|it| it.pace == Pace::Paused) {
            self.set_due(id);
        }
    }

    /// Where a follower's topic is read, if the follower is there.
    pub(super) fn feed(&self, id: TopicFollowerId) -> Option<Arc<Feed>> {
        let follower = self.followers.get(index(id))?;
        Some(self.topics.get(&follower.feed)?.feed.clone())
    }

    /// Who a follower is for.
    pub(super) fn of(&self, id: TopicFollowerId) -> Option<Of> {
        let follower = self.followers.get(index(id))?;
        Some(Of {
            connection: follower.connection,
            run: follower.run,
        })
    }

    /// News of a feed. Returns those followers of which something has become.
    pub(super) fn hear(&mut self, news: FeedNews) -> Vec<(TopicFollowerId, Found)> {
        match news {
            FeedNews::Grew(feed) => {
                self.list(feed);
                Vec::new()
            }
            FeedNews::Fetched(feed, after, fetched) => self.fetched(feed, after, &fetched),
        }
    }

    /// Whether nobody has anything to get at the moment.
    pub(super) fn is_idle(&self) -> bool {
        self.grown.is_empty() && self.due.is_empty()
    }

    /// The next topic with new records.
    pub(super) fn next_grown(&mut self) -> Option<FeedId> {
        self.grown.front().copied()
    }

    /// The next follower that may be sent more.
    pub(super) fn next_due(&mut self) -> Option<TopicFollowerId> {
        self.due.pop_front()
    }

    /// The new records of a topic, which are to be handed to its live followers one by one. `None`
    /// if there are none: then it is no longer among those that have grown.
    pub(super) fn news(&mut self, feed: FeedId) -> Option<Vec<Arc<Message>>> {
        /// They are shared, so they take hardly any memory.
        const AT_ONCE: Room = Room {
            records: 8,
            bytes: usize::MAX,
        };
        let shard = self.port.shard();
        let topic = self.topics.get_mut(&feed);
        let look = topic.as_ref().map(|topic| {
            topic.feed.heard(shard);
            topic.feed.look(topic.delivered, Offset::MAX, AT_ONCE)
        });
        match (topic, look) {
            (Some(topic), Some(Look::Records(records, next))) => {
                topic.delivered = next.place;
                return Some(records);
            }
            // The live ones see for themselves that it has ended, or what they have missed.
            (Some(topic), Some(look)) => {
                topic.is_listed = false;
                let is_end = matches!(look, Look::End);
                if !is_end {
                    // Not at the end: what has come since the look would be passed over.
                    topic.delivered = topic.feed.end();
                }
                if !is_end || topic.feed.ended().is_some() {
                    let followers = topic.followers.clone();
                    for id in followers {
                        if self.pace(id) == Some(Pace::Live) {
                            self.set_due(id);
                        }
                    }
                }
            }
            _ => {}
        }
        self.grown.retain(|it| *it != feed);
        None
    }

    /// The followers of a topic.
    pub(super) fn followers(&self, feed: FeedId) -> Vec<TopicFollowerId> {
        let topic = self.topics.get(&feed);
        topic
            .map(|topic| topic.followers.clone())
            .unwrap_or_default()
    }

    /// A live follower gets a new record; `None` if it is not live, or has it already.
    pub(super) fn hand_live(
        &mut self,
        id: TopicFollowerId,
        record: &Arc<Message>,
        calls: &mut MappingCalls,
    ) -> Option<Handed> {
        let window = self.window;
        let follower = self.followers.get_mut(index(id))?;
        if follower.pace != Pace::Live || record.offset() <= follower.place.offset {
            return None;
        }
        if !follower.has_room(window) {
            follower.pace = Pace::Full;
            return None;
        }
        Some(follower.hand(record, &self.receipts, calls))
    }

    /// A follower that is due gets a record.
    pub(super) fn hand(
        &mut self,
        id: TopicFollowerId,
        record: &Arc<Message>,
        calls: &mut MappingCalls,
    ) -> Option<Handed> {
        let follower = self.followers.get_mut(index(id))?;
        Some(follower.hand(record, &self.receipts, calls))
    }

    /// What is behind the place of a follower that is due.
    pub(super) fn look(&mut self, id: TopicFollowerId) -> Found {
        let window = self.window;
        let Some(follower) = self.followers.get_mut(index(id)) else {
            return Found::Nothing;
        };
        if follower.pace != Pace::Due {
            return Found::Nothing;
        }
        let room = follower.room(window);
        if room.records == 0 || room.bytes == 0 {
            follower.pace = Pace::Full;
            return Found::Nothing;
        }
        follower.skip_to_head();
        let (place, horizon) = (follower.place, follower.horizon);
        let Some(topic) = self.topics.get_mut(&follower.feed) else {
            return Found::Nothing;
        };
        match topic.feed.look(place, horizon, room) {
            Look::Records(records, next) => Found::Records(records, next),
            Look::End => {
                follower.pace = Pace::Live;
                match topic.feed.ended() {
                    Some(ended) => Found::Ended(ended),
                    None => Found::Nothing,
                }
            }
            Look::Missing => {
                follower.pace = Pace::Fetching;
                topic.fetching.entry(place.offset).or_default().push(id);
                topic.feed.want(place, self.port.shard());
                Found::Nothing
            }
            Look::Gap(gap) => Found::Lost(Lost::Gap(gap)),
        }
    }

    /// A follower has been handed what it found, and is due again.
    pub(super) fn moved(&mut self, id: TopicFollowerId, next: Next) {
        if let Some(follower) = self.followers.get_mut(index(id)) {
            follower.place = next.place;
            follower.horizon = next.horizon.unwrap_or(follower.horizon);
            self.set_due(id);
        }
    }

    /// Whether a follower has just reached the end that its topic had when it began. True once.
    pub(super) fn has_caught_up(&mut self, id: TopicFollowerId) -> bool {
        let Some(follower) = self.followers.get_mut(index(id)) else {
            return false;
        };
        let is_there = |until: &mut Offset| follower.place.offset >= *until;
        follower.until.take_if(is_there).is_some()
    }

    /// The position of a follower, if its client has not learned it for long. The client is told
    /// then.
    pub(super) fn untold(&mut self, id: TopicFollowerId, now: Duration) -> Option<Position> {
        let follower = self.followers.get_mut(index(id))?;
        let is_due = follower.passed >= PASSED_RECORDS
            || follower.passed > 0 && now.saturating_sub(follower.told) >= PASSED_TIME;
        is_due.then(|| self.tell(id, now))?
    }

    /// The position of a follower, which its client is told now.
    pub(super) fn tell(&mut self, id: TopicFollowerId, now: Duration) -> Option<Position> {
        let follower = self.followers.get_mut(index(id))?;
        (follower.passed, follower.told) = (0, now);
        let feed = &self.topics.get(&follower.feed)?.feed;
        Some(position(feed, follower.place))
    }

    /// A follower has lost records, and waits for a place to go on from. Returns its policies.
    pub(super) fn recover(&mut self, id: TopicFollowerId) -> Option<(Policies, Subscription)> {
        let follower = self.followers.get_mut(index(id))?;
        follower.pace = Pace::Recovering;
        Some((follower.policies, follower.subscription.clone()))
    }

    /// The event that a follower's handler wants sent for a loss.
    pub(super) fn event_of_loss(&mut self, id: TopicFollowerId, lost: &Lost) -> Option<Tail> {
        let follower = self.followers.get_mut(index(id))?;
        let on_lost = follower.on_lost.as_mut()?;
        let mut calls = MappingCalls::default();
        let failed = |subscription: &Subscription, error: &Error| subscription.gap_failed(error);
        let event = calls.call(|| on_lost(lost), &follower.subscription, failed);
        event.into_tail_alone(follower.encoding)
    }

    fn fetched(
        &mut self,
        feed: FeedId,
        after: Place,
        fetched: &Fetched,
    ) -> Vec<(TopicFollowerId, Found)> {
        let mut found = Vec::new();
        let Some(topic) = self.topics.get_mut(&feed) else {
            return found;
        };
        let waiting = topic.fetching.remove(&after.offset).unwrap_or_default();
        let delivered = topic.delivered;
        for id in waiting {
            let Some(follower) = self.followers.get_mut(index(id)) else {
                continue;
            };
            if follower.pace != Pace::Fetching || follower.place.offset != after.offset {
                continue;
            }
            match fetched {
                Fetched::End if follower.place == after && after.offset >= delivered.offset => {
                    follower.pace = Pace::Live;
                    found.push((id, Found::Nothing));
                }
                Fetched::Failed(error) if follower.place == after => {
                    found.push((id, Found::failed(error)));
                }
                // It looks again; perhaps it waits for another record with the same offset.
                _ => self.set_due(id),
            }
        }
        found
    }

    fn follower_and_topic(&mut self, id: TopicFollowerId) -> Option<(&mut Follower, &TopicName)> {
        let follower = self.followers.get_mut(index(id))?;
        let topic = self.topics.get(&follower.feed)?.feed.topic();
        Some((follower, topic.name()))
    }

    fn list(&mut self, feed: FeedId) {
        if let Some(topic) = self.topics.get_mut(&feed)
            && !std::mem::replace(&mut topic.is_listed, true)
        {
            self.grown.push_back(feed);
        }
    }

    fn pace(&self, id: TopicFollowerId) -> Option<Pace> {
        self.followers.get(index(id)).map(|follower| follower.pace)
    }

    fn set_due(&mut self, id: TopicFollowerId) {
        if let Some(follower) = self.followers.get_mut(index(id)) {
            follower.pace = Pace::Due;
            self.due.push_back(id);
        }
    }
}

fn position(feed: &Feed, place: Place) -> Position {
    Position::at(feed.topic().name(), place)
}

fn index(id: TopicFollowerId) -> usize {
    id as usize
}
