//! One subscription that follows a topic: where it is, and what it makes of a record.

mod cursor;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::message::Tail;
use updraft_protocol::session::Run;
use updraft_protocol::vent::Encoding;
use updraft_topics::{Heads, Lost, Message, Offset, Place, TopicError};

use super::group::RecordGroup;
use crate::base::error::Error;
use crate::feed::{Ended, FeedId, Next, Policies, Room, lost};
use crate::mapping::{MapRecord, OnLost, SharedMapper};
use crate::publication::Subscription;
use crate::shard::mapping_calls::MappingCalls;
pub(super) use cursor::{FollowerCursor, ReceiptLimits};

/// One subscription that follows a topic.
pub(super) struct Follower {
    /// The index of the connection in the shard.
    pub(super) connection: usize,
    pub(super) run: Run,
    pub(super) encoding: Encoding,
    pub(super) subscription: Subscription,
    pub(super) feed: FeedId,
    pub(super) function: Function,
    pub(super) policies: Policies,
    pub(super) on_lost: Option<OnLost>,
    /// Behind the last record that it was sent, or that was passed over.
    pub(super) place: Place,
    pub(super) horizon: Offset,
    /// While it reads a snapshot.
    pub(super) only: Option<Arc<Heads>>,
    /// The end of the topic when it began, until it is reached.
    pub(super) until: Option<Offset>,
    pub(super) pace: Pace,
    /// Records that were queued for its client and are not written, and their bytes. With receipts,
    /// those that the client has not confirmed.
    pub(super) waiting: u32,
    pub(super) waiting_bytes: u32,
    /// Set if its client's place is kept.
    pub(super) cursor: Option<Box<FollowerCursor>>,
    /// Records since the client last learned where it is, and when that was.
    pub(super) passed: u32,
    pub(super) told: Duration,
}

pub(super) enum Function {
    Each(MapRecord),
    Shared(Rc<RecordGroup>),
}

/// What a follower waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// New records.
    Live,
    /// Its turn: it stands in the list of those that are due.
    Due,
    /// A page from the store.
    Fetching,
    /// Its client, which has not taken enough of what it was sent.
    Full,
    /// Its client, which is away or whose user changes.
    Paused,
    /// A place to go on from, because it has lost records.
    Recovering,
}

/// A record for one follower, on its way to the client.
pub(in crate::shard) struct Handed {
    pub(in crate::shard) connection: usize,
    pub(in crate::shard) run: Run,
    /// Where the follower was before it.
    pub(in crate::shard) before: Place,
    /// `None` if there is no event for it.
    pub(in crate::shard) tail: Option<Tail>,
    pub(in crate::shard) bytes: u32,
    /// How soon the client is to confirm it, if it is.
    pub(in crate::shard) receipt: Option<Duration>,
    /// Whether the client may have to be told where the follower is.
    pub(in crate::shard) is_notable: bool,
}

/// What a follower that is due finds.
pub(in crate::shard) enum Found {
    /// Records to hand to it, and where it is then.
    Records(Vec<Arc<Message>>, Next),
    /// Nothing at the moment.
    Nothing,
    Lost(Lost),
    /// It has got everything, and there will be no more.
    Ended(Ended),
}

/// Who a follower is for.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Of {
    pub(in crate::shard) connection: usize,
    pub(in crate::shard) run: Run,
}

impl Handed {
    /// Whether the client is to confirm it at once.
    pub(in crate::shard) fn is_urgent(&self) -> bool {
        is_urgent(self.receipt)
    }
}

fn is_urgent(receipt: Option<Duration>) -> bool {
    receipt.is_some_and(|after| after.is_zero())
}

impl Found {
    pub(super) fn failed(error: &TopicError) -> Self {
        match lost(error) {
            Some(lost) => Self::Lost(lost),
            None => Self::Ended(Ended::Failed(error.clone())),
        }
    }
}

impl Follower {
    pub(super) fn hand(
        &mut self,
        record: &Arc<Message>,
        receipts: &ReceiptLimits,
        calls: &mut MappingCalls,
    ) -> Handed {
        let before = std::mem::replace(&mut self.place, record.position().place());
        let tail = if self.takes(record.offset()) {
            self.map(record, calls)
        } else {
            None
        };
        let bytes = tail.as_ref().map_or(0, Tail::len);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if tail.is_some() {
            self.waiting = self.waiting.saturating_add(1);
            self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
            self.passed = 0;
        } else {
            self.passed = self.passed.saturating_add(1);
        }
        let receipt = tail.as_ref().and_then(|_| self.receipt(receipts));
        let is_notable = tail.is_none() || self.until.is_some();
        Handed {
            connection: self.connection,
            run: self.run,
            before,
            receipt,
            is_notable: is_notable || is_urgent(receipt),
            tail,
            bytes,
        }
    }

    fn map(&mut self, record: &Arc<Message>, calls: &mut MappingCalls) -> Option<Tail> {
        let (encoding, subscription) = (self.encoding, &self.subscription);
        let failed = |subscription: &Subscription, error: &Error| {
            subscription.record_failed(error);
        };
        match &mut self.function {
            Function::Each(f) => {
                let event = calls.call(|| f(record), subscription, failed);
                event.into_record_tail(record, encoding)
            }
            Function::Shared(group) => {
                group.tail(record, encoding, |mapper: &dyn SharedMapper<Message>| {
                    calls.call(|| mapper.map(record), subscription, failed)
                })
            }
        }
    }

    /// Whether a record counts for it: while it reads a snapshot, only some do.
    fn takes(&self, offset: Offset) -> bool {
        let Some(heads) = &self.only else {
            return true;
        };
        offset > heads.end.offset() || heads.offsets.binary_search(&offset).is_ok()
    }

    /// While it reads a snapshot: passes over all that is before the next record of it.
    pub(super) fn skip_to_head(&mut self) {
        let Some(heads) = &self.only else {
            return;
        };
        let next = heads.offsets.partition_point(|it| *it <= self.place.offset);
        match heads.offsets.get(next).map(|it| it.saturating_sub(1)) {
            Some(before) if before > self.place.offset => {
                self.place = Place::unmarked(self.place.epoch, before);
            }
            Some(_) => {}
            None if heads.end.offset() > self.place.offset => self.place = heads.end.place(),
            // Until all of it is written, the follower may have to go back.
            None if self.waiting == 0 => self.only = None,
            None => {}
        }
    }

    pub(super) fn has_room(&self, window: Room) -> bool {
        (self.waiting as usize) < window.records && (self.waiting_bytes as usize) < window.bytes
    }

    pub(super) fn room(&self, window: Room) -> Room {
        Room {
            records: window.records.saturating_sub(self.waiting as usize),
            bytes: window.bytes.saturating_sub(self.waiting_bytes as usize),
        }
    }
}
