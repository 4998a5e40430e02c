//! Subscriptions whose records are mapped by the same shared function with an equal argument. The
//! function is called once per record for all of them, also for those that come later.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::RandomState;
use updraft_protocol::message::Tail;
use updraft_protocol::vent::Encoding;
use updraft_topics::Message;

use crate::mapping::{Event, SharedMapper};

/// For how many records the events are kept, and for how many bytes of payloads: as feeds do it.
const KEPT_RECORDS: usize = 1024;
const KEPT_BYTES: usize = 1024 * 1024;

/// The groups of a shard.
#[derive(Default)]
pub(super) struct Groups {
    /// Each group once. Filled by `join`, drained with the last member; bounded by the followers.
    all: HashSet<Rc<RecordGroup>, RandomState>,
}

/// Equal to groups with the same function and an equal argument.
pub(super) struct RecordGroup {
    mapper: Box<dyn SharedMapper<Message>>,
    hash: u64,
    mapped: RefCell<Mapped>,
}

/// The latest records that were mapped.
#[derive(Default)]
struct Mapped {
    /// By the records' addresses. Filled for the first member that gets a record, drained in that
    /// order when there are too many.
    tails: HashMap<*const Message, Rc<RecordTails>, RandomState>,
    /// The record that was asked for last: live followers ask for the same one after another.
    latest: Option<(*const Message, Rc<RecordTails>)>,
    order: VecDeque<Arc<Message>>,
    bytes: usize,
}

/// The event of one record, in the encodings that were asked for.
struct RecordTails {
    event: Event,
    made: RefCell<[Option<Option<Tail>>; 3]>,
}

impl Groups {
    /// The group that shares this function, or a new one.
    pub(super) fn join(&mut self, mapper: Box<dyn SharedMapper<Message>>) -> Rc<RecordGroup> {
        let group = Rc::new(RecordGroup::new(mapper, self.all.hasher()));
        if let Some(known) = self.all.get(&group) {
            return known.clone();
        }
        self.all.insert(group.clone());
        group
    }

    /// A member leaves, who still holds the group.
    pub(super) fn leave(&mut self, group: &Rc<RecordGroup>) {
        // The other reference is that of `all`.
        if Rc::strong_count(group) == 2 {
            self.all.remove(group);
        }
    }
}

impl RecordGroup {
    fn new(mapper: Box<dyn SharedMapper<Message>>, hasher: &impl BuildHasher) -> Self {
        let mut state = hasher.build_hasher();
        mapper.hash(&mut state);
        Self {
            mapper,
            hash: state.finish(),
            mapped: RefCell::default(),
        }
    }

    /// The event of a record. The first request for it calls the function through `call`.
    pub(super) fn tail(
        &self,
        record: &Arc<Message>,
        encoding: Encoding,
        call: impl FnOnce(&dyn SharedMapper<Message>) -> Event,
    ) -> Option<Tail> {
        let key = Arc::as_ptr(record);
        if let Some((of, tails)) = &self.mapped.borrow().latest
            && *of == key
        {
            return tails.tail(record, encoding);
        }
        let known = self.mapped.borrow().tails.get(&key).cloned();
        let tails = known.unwrap_or_else(|| {
            let event = call(self.mapper.as_ref());
            let tails = Rc::new(RecordTails {
                event,
                made: RefCell::default(),
            });
            self.mapped.borrow_mut().keep(record, tails.clone());
            tails
        });
        let tail = tails.tail(record, encoding);
        self.mapped.borrow_mut().latest = Some((key, tails));
        tail
    }
}

impl Mapped {
    /// The record is kept too, so that its address stays its own; the latest whatever its size.
    fn keep(&mut self, record: &Arc<Message>, tails: Rc<RecordTails>) {
        self.tails.insert(Arc::as_ptr(record), tails);
        self.order.push_back(record.clone());
        self.bytes = self.bytes.saturating_add(bytes(record));
        while (self.order.len() > KEPT_RECORDS || self.bytes > KEPT_BYTES)
            && self.order.len() > 1
            && let Some(oldest) = self.order.pop_front()
        {
            self.tails.remove(&Arc::as_ptr(&oldest));
            self.latest = None;
            self.bytes = self.bytes.saturating_sub(bytes(&oldest));
        }
    }
}

fn bytes(record: &Message) -> usize {
    record.payload().map_or(0, |payload| payload.len())
}

impl RecordTails {
    fn tail(&self, record: &Message, encoding: Encoding) -> Option<Tail> {
        let mut made = self.made.borrow_mut();
        let [collection, vent, ejson] = &mut *made;
        let made = match encoding {
            Encoding::Collection | Encoding::Streamer => collection,
            Encoding::Vent => vent,
            Encoding::VentEjson => ejson,
        };
        let make = || self.event.clone().into_record_tail(record, encoding);
        made.get_or_insert_with(make).clone()
    }
}

impl Hash for RecordGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for RecordGroup {
    fn eq(&self, other: &Self) -> bool {
        // A group is always equal to itself, whatever the program's comparison says.
        std::ptr::eq(self, other)
            || (self.hash == other.hash && self.mapper.is_same(other.mapper.as_ref()))
    }
}

impl Eq for RecordGroup {}
