//! The way of a process to its log, which a test can cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{
    Answer, Append, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log, Offset, Place,
    Read, Removal, TopicError, TopicName,
};

/// The way to a log. It is open at first.
#[derive(Debug)]
pub(super) struct Way {
    log: Arc<dyn Log>,
    /// Whether nothing can be read.
    pub(super) refuses_reads: AtomicBool,
    /// Whether nothing that is appended reaches the store.
    pub(super) refuses_appends: AtomicBool,
    /// Whether no answer comes back, although what is appended reaches the store.
    pub(super) loses_answers: AtomicBool,
    /// How often the log was read.
    pub(super) reads: AtomicUsize,
}

impl Way {
    pub(super) fn to(log: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self {
            log,
            refuses_reads: AtomicBool::new(false),
            refuses_appends: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
        })
    }
}

fn away<T>() -> Result<T, TopicError> {
    Err(TopicError::Unavailable(None))
}

impl Log for Way {
    fn features(&self) -> Features {
        self.log.features()
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        self.log.open(topic, create)
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        Box::pin(async move {
            if self.refuses_appends.load(Ordering::SeqCst) {
                return away();
            }
            let appended = self.log.append(topic, append).await?;
            if self.loses_answers.load(Ordering::SeqCst) {
                return away();
            }
            Ok(appended)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.refuses_reads.load(Ordering::SeqCst) {
            return Box::pin(async { away() });
        }
        self.log.read(topic, after, limit)
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        self.log.trim(topic, epoch, up_to)
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        self.log.remove(topic, removal)
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        self.log.end(topic, end)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        self.log.list(prefix, after, limit)
    }
}
