//! Subscribers who gave the same function and an equal argument: it is called once per message for all of them.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use updraft_bus::Message;
use updraft_protocol::vent::Encoding;

use super::{Outcome, Tails};
use crate::mapping::{Event, SharedMapper};

/// Equal to others with the same function and an equal argument.
pub(super) struct Group {
    mapper: Box<dyn SharedMapper>,
    hash: u64,
    /// What the function made of the latest message. Filled for the first member, emptied behind the last.
    latest: RefCell<Option<(Arc<Message>, Tails)>>,
}

impl Group {
    pub(super) fn new(mapper: Box<dyn SharedMapper>, hasher: &impl BuildHasher) -> Self {
        let mut state = hasher.build_hasher();
        mapper.hash(&mut state);
        Self {
            mapper,
            hash: state.finish(),
            latest: RefCell::default(),
        }
    }

    /// Whether nobody but the holder of this reference is in the group, which stands in the list of groups too.
    pub(super) fn has_one_member(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 2
    }

    /// What the group makes of a message, and whether it had not been asked before; then `call` calls the function.
    pub(super) fn outcome(
        &self,
        message: &Arc<Message>,
        encoding: Encoding,
        call: impl FnOnce(&dyn SharedMapper) -> Event,
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

    /// The message has been handed to all.
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
        // Whatever the program's comparison says, a group is found by itself.
        std::ptr::eq(self, other)
            || (self.hash == other.hash && self.mapper.is_same(other.mapper.as_ref()))
    }
}

impl Eq for Group {}
