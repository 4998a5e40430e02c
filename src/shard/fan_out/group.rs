//! Subscribers with the same shared function and an equal argument. The function is called once per
//! message for all of them.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use updraft_bus::Message;
use updraft_protocol::vent::Encoding;

use super::{Outcome, Tails};
use crate::mapping::{Event, SharedMapper};

/// Equal to groups with the same function and an equal argument.
pub(super) struct Group {
    mapper: Box<dyn SharedMapper<Message>>,
    hash: u64,
    /// The result of the function for the latest message. Filled for the first member, cleared
    /// after the last.
    latest: RefCell<Option<(Arc<Message>, Tails)>>,
}

impl Group {
    pub(super) fn new(mapper: Box<dyn SharedMapper<Message>>, hasher: &impl BuildHasher) -> Self {
        let mut state = hasher.build_hasher();
        mapper.hash(&mut state);
        Self {
            mapper,
            hash: state.finish(),
            latest: RefCell::default(),
        }
    }

    /// Whether only the holder of this reference is in the group. The other reference is that of
    /// `FanOut::groups`.
    pub(super) fn has_one_member(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 2
    }

    /// The outcome of a message, and whether this is the first request for it. The first request
    /// calls the function through `call`.
    pub(super) fn outcome(
        &self,
        message: &Arc<Message>,
        encoding: Encoding,
        call: impl FnOnce(&dyn SharedMapper<Message>) -> Event,
    ) -> (Outcome, bool) {
        let mut latest = self.latest.borrow_mut();
        if let Some((of, tails)) = latest.as_mut()
            && Arc::ptr_eq(of, message)
        {
            return (tails.outcome(message, encoding), false);
        }
        let event = call(self.mapper.as_ref());
        let (_, tails) = latest.insert((message.clone(), Tails::new(event)));
        (tails.outcome(message, encoding), true)
    }

    /// The message has been handed to all members.
    pub(super) fn forget(&self) {
        self.latest.take();
    }
}

impl Hash for Group {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        // A group is always equal to itself, whatever the program's comparison says.
        std::ptr::eq(self, other)
            || (self.hash == other.hash && self.mapper.is_same(other.mapper.as_ref()))
    }
}

impl Eq for Group {}
