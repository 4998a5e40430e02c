//! A member of a group: it gets records, one after the other or many at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::context::{Dropped, Fetch, Handle, Request};
use super::delivery::Delivery;
use super::ids::MemberId;
use crate::TopicError;

/// A member of a group. When it is dropped, what it has is given to others.
///
/// A program either fetches records and answers each of them, or leaves that to
/// [`run`](Self::run). It may do so in several members, in one process or in many.
#[must_use = "a member does nothing until it fetches or runs"]
pub struct Member {
    handle: Arc<Handle>,
    id: MemberId,
    name: Arc<str>,
    has_joined: bool,
    has_left: bool,
}

impl Member {
    pub(crate) fn new(handle: Arc<Handle>, name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            handle,
            id: MemberId(NEXT.fetch_add(1, Ordering::Relaxed)),
            name: name.into(),
            has_joined: false,
            has_left: false,
        }
    }

    /// The name, as statistics and dead letters have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until there are records for this member, and gets them: at least one and at most
    /// `most`. Of several topics the records come in turns. While the group is paused, this waits.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownGroup`] if the group was deleted, [`TopicError::ShuttingDown`].
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no record.
    pub async fn fetch(&mut self, most: usize) -> Result<Vec<Delivery>, TopicError> {
        self.ask(most, true).await
    }

    /// Gets what can be had now: nothing if this process has read all that there is, and the rest is
    /// with others or waits for its time.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch), and [`TopicError::Paused`].
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no record.
    pub async fn fetch_now(&mut self, most: usize) -> Result<Vec<Delivery>, TopicError> {
        self.ask(most, false).await
    }

    /// Gives back what the member has and did not answer, which does not count as a delivery, and
    /// waits until others can have it.
    ///
    /// # Errors
    ///
    /// [`TopicError::ShuttingDown`].
    pub async fn leave(mut self) -> Result<(), TopicError> {
        self.has_left = true;
        if self.has_joined {
            let id = self.id;
            self.handle.ask(|reply| Request::Leave(id, reply)).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, most: usize, waits: bool) -> Result<Vec<Delivery>, TopicError> {
        if !self.has_joined {
            let join = Request::Join(self.id, Arc::clone(&self.name));
            let joined = self.handle.requests.send(join).await;
            joined.map_err(|_| TopicError::ShuttingDown)?;
            self.has_joined = true;
        }
        let member = self.id;
        let fetched = self.handle.ask(|reply| {
            Request::Fetch(Fetch {
                member,
                most: most.max(1),
                waits,
                check: 0,
                reply,
            })
        });
        let (records, term) = fetched.await??.take();
        let deliveries = records
            .into_iter()
            .filter_map(|(begun, epoch)| Delivery::new(&self.handle, begun, epoch, term));
        Ok(deliveries.collect())
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.has_joined && !self.has_left {
            self.handle.context.dropped.add(Dropped::Member(self.id));
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("group", &self.handle.context.name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
