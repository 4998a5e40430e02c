//! The two tasks of a feed: one waits at the end of the topic for new records, the other reads
//! pages for followers that are further back. Both end with the feed.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use updraft_topics::{Limit, Message, Place, Position, Reader, Received, Start, Topic, TopicError};

use super::cache::{Look, Page, Room};
use super::{Ended, Feed, FeedNews, Fetched, Waiter};

/// After how long a store that did not answer is asked again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Records that are taken from the reader at once.
const BATCH: usize = 256;

/// The size of a page for followers that lag. They share it, so it is larger than the window of any
/// of them.
pub(super) const PAGE: Limit = Limit::new(1024, 1024 * 1024);

/// A task of a feed.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for new records.
pub(super) fn live(feed: Weak<Feed>, reader: Reader) -> Task {
    Box::pin(follow(feed, reader))
}

/// Reads the pages that are wanted.
pub(super) fn fetch(feed: Weak<Feed>, topic: Topic, pages: Arc<AtomicU64>) -> Task {
    Box::pin(async move {
        while let Some(after) = next_wanted(&feed).await {
            fetch_page(&feed, &topic, after, &pages).await;
        }
    })
}

async fn follow(weak: Weak<Feed>, mut reader: Reader) {
    loop {
        let received = reader.next_batch(BATCH).await;
        let Some(feed) = weak.upgrade() else {
            return;
        };
        match received {
            Some(Ok(received)) => {
                let is_message = |it: &Received| matches!(it, Received::Message(_));
                if received.iter().all(is_message) {
                    append(
                        &feed,
                        &reader,
                        received.into_iter().filter_map(message).collect(),
                    );
                    continue;
                }
                // Followers that were at the end find out for themselves what they have missed.
                let topic = feed.topic().clone();
                drop(feed);
                restart(&weak, &topic, &mut reader).await;
            }
            None => return feed.end_with(Ended::Closed),
            Some(Err(TopicError::Damaged { offset })) => {
                let topic = feed.topic().name();
                tracing::error!(%topic, offset, "A damaged record is passed over.");
                append(&feed, &reader, Vec::new());
            }
            Some(Err(error)) if may_pass(&error) => {
                tracing::debug!(topic = %feed.topic().name(), %error, "A topic cannot be read.");
                drop(feed);
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Some(Err(error)) => return feed.end_with(Ended::Failed(error)),
        }
    }
}

fn append(feed: &Feed, reader: &Reader, records: Vec<Message>) {
    if let Some(position) = reader.position() {
        feed.append(records, position.place());
    }
}

/// Goes on at the end of a topic that has lost records.
async fn restart(feed: &Weak<Feed>, topic: &Topic, reader: &mut Reader) {
    loop {
        let restarting = async {
            reader.seek(Start::Latest).await?;
            topic.bounds().await
        };
        let outcome = restarting.await;
        let Some(feed) = feed.upgrade() else {
            return;
        };
        match outcome {
            Ok(bounds) => {
                let end = reader
                    .position()
                    .map_or_else(|| bounds.end(), |it| it.place());
                return feed.restart(end, bounds);
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => return feed.end_with(Ended::Failed(error)),
        }
        drop(feed);
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn message(received: Received) -> Option<Message> {
    match received {
        Received::Message(message) => Some(message),
        _ => None,
    }
}

/// The next place behind which records are wanted; `None` when the feed has ended.
async fn next_wanted(feed: &Weak<Feed>) -> Option<Place> {
    loop {
        // The feed is not held while this waits: its end cancels this task.
        let more = {
            let feed = feed.upgrade()?;
            let wanted = feed.lock().order.pop_front();
            if wanted.is_some() {
                return wanted;
            }
            feed.wanted.clone()
        };
        more.notified().await;
    }
}

async fn fetch_page(feed: &Weak<Feed>, topic: &Topic, after: Place, pages: &AtomicU64) {
    let Some(is_there) = feed.upgrade().map(|feed| is_in_memory(&feed, after)) else {
        return;
    };
    let fetched = if is_there {
        Ok(Fetched::InMemory)
    } else {
        pages.fetch_add(1, Ordering::Relaxed);
        read(feed, topic, after).await
    };
    let Some(feed) = feed.upgrade() else {
        return;
    };
    match fetched {
        Ok(fetched) => tell(&feed, after, &fetched, false),
        Err(error) if may_pass(&error) => {
            tell(&feed, after, &Fetched::Failed(error), true);
            drop(feed);
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Err(error) => tell(&feed, after, &Fetched::Failed(error), false),
    }
}

/// Reads a page, and keeps it.
async fn read(feed: &Weak<Feed>, topic: &Topic, after: Place) -> Result<Fetched, TopicError> {
    let from = Position::at(topic.name(), after);
    let read = topic.read_held(from, PAGE).await;
    let Some(feed) = feed.upgrade() else {
        return Err(TopicError::ShuttingDown);
    };
    let mut state = feed.lock();
    let page = match read {
        Ok(batch) => {
            state.bounds = batch.bounds;
            let next = batch.next.place();
            if next.offset == after.offset {
                return Ok(Fetched::End);
            }
            Page::read(after, batch.messages, next, batch.bounds)
        }
        Err(TopicError::Damaged { offset }) => {
            tracing::error!(topic = %topic.name(), offset, "A damaged record is passed over.");
            let next = Place::unmarked(after.epoch, offset);
            Page::read(after, [], next, state.bounds)
        }
        Err(error) => return Err(error),
    };
    state.cache.keep(Arc::new(page));
    Ok(Fetched::InMemory)
}

fn is_in_memory(feed: &Feed, after: Place) -> bool {
    let room = Room {
        records: 1,
        bytes: 0,
    };
    !matches!(feed.look(after, 0, room), Look::Missing)
}

/// Tells who waits. If it `goes_on`, shards wait further, and tasks have their answer.
fn tell(feed: &Feed, after: Place, fetched: &Fetched, goes_on: bool) {
    let mut state = feed.lock();
    let waiting = state.waiting.remove(&after).unwrap_or_default();
    let mut left = Vec::new();
    for waiter in waiting {
        match waiter {
            Waiter::Task(sender) => {
                // The handler may have been dropped.
                sender.send(fetched.clone()).ok();
            }
            Waiter::Shard(shard) if goes_on => left.push(Waiter::Shard(shard)),
            Waiter::Shard(shard) => {
                let mut shards = state.shards.iter();
                if let Some(found) = shards.find(|it| it.port.shard() == shard) {
                    let news = FeedNews::Fetched(feed.id(), after, fetched.clone());
                    found.port.tell(news);
                }
            }
        }
    }
    if !left.is_empty() {
        state.waiting.insert(after, left);
        state.order.push_back(after);
    }
}

/// Whether the store may answer later.
pub(super) fn may_pass(error: &TopicError) -> bool {
    matches!(
        error,
        TopicError::Unavailable(_) | TopicError::Busy | TopicError::StoreFull(_)
    )
}
