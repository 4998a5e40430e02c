//! Topics in MongoDB, as everybody uses them.

use super::MongoStore;
use crate::{
    Answer, Append, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log, Offset, Place,
    Read, Removal, TopicName,
};

impl Log for MongoStore {
    fn features(&self) -> Features {
        Features {
            durable: true,
            shared: true,
            atomic_batch: self.0.has_transactions,
            dedup: true,
            expect: true,
            remove: true,
            announces: false,
        }
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        Box::pin(self.within(self.open_topic(topic, create)))
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        Box::pin(async move { self.within(self.append_batch(topic, &append)).await })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        Box::pin(self.within(self.read_page(topic, after, limit)))
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        Box::pin(self.trim_up_to(topic, epoch, up_to))
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        Box::pin(self.remove_each(topic, removal))
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        Box::pin(async move {
            match end {
                End::Close => self.within(self.close_topic(topic)).await,
                End::Delete => self.within(self.delete_topic(topic)).await,
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        Box::pin(self.within(self.names(prefix, after, limit)))
    }
}
