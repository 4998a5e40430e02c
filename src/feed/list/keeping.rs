//! Keeps a list up to date: reads its topic once, then takes new records from the feed, and looks
//! from time to time which records are gone.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use updraft_topics::{Bounds, Epoch, Message, Offset, Place, Position, Start, Topic, TopicError};

use super::List;
use super::contents::{Contents, Window};
use crate::feed::begin::lost;
use crate::feed::cache::{Look, Next, Room};
use crate::feed::reading::{ASK_AGAIN, PAGE, Task, may_pass};
use crate::feed::{Ended, Feed, Fetched};

/// How many records are taken from the feed at once.
const ROOM: Room = Room {
    records: 256,
    bytes: 1024 * 1024,
};

/// Up to where a list has read its topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    place: Place,
    /// The tombstone horizon of which it knows there.
    horizon: Offset,
}

/// What a list finds behind its place.
enum Found {
    Records(Vec<Arc<Message>>, Next),
    /// Records are missing, or the place is not one of the topic any more.
    Lost,
    /// There will be no more.
    Failed(TopicError),
}

/// The records that a window has now, and where the topic goes on behind them.
///
/// # Errors
///
/// That of the store.
pub(super) async fn load(topic: &Topic, window: Window) -> Result<(Contents, Mark), TopicError> {
    let mut reserve = reserve(topic, window);
    loop {
        match read(topic, window, reserve).await {
            // So many of the latest documents were ended that others take their places.
            Ok((contents, _, first)) if contents.is_short(first) => {
                reserve = reserve.max(window.count()).saturating_mul(2);
            }
            Ok((mut contents, at, _)) => {
                contents.limit(self::reserve(topic, window));
                return Ok((contents, at));
            }
            // The topic was made anew meanwhile.
            Err(TopicError::Reset(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// How many records are held beyond those that are shown.
pub(super) fn reserve(topic: &Topic, window: Window) -> usize {
    if window.is_last() && !has_holes(topic) {
        0
    } else {
        window.count()
    }
}

/// Keeps a list up to date until that is cancelled.
pub(super) fn keep(list: Weak<List>, feed: Arc<Feed>, at: Mark) -> Task {
    Box::pin(follow(list, feed, at))
}

async fn follow(list: Weak<List>, feed: Arc<Feed>, mut at: Mark) {
    let mut until_poll = pin!(sleep(feed.topic().settings().poll));
    let mut news = feed.news.subscribe();
    loop {
        let step = tokio::select! {
            found = next(&feed, &mut news, at) => take(&list, found, &mut at),
            () = &mut until_poll => {
                let look = feed.polled.look(feed.topic()).await;
                until_poll.set(sleep_until(look.next));
                drop_removed(&list, look.bounds, at).await
            }
        };
        match step {
            Step::GoOn => {}
            Step::LoadAgain => match load_again(&list, &feed).await {
                Some(loaded) => at = loaded,
                None => return,
            },
            Step::End => return,
        }
    }
}

/// What is to be done next for a list.
enum Step {
    GoOn,
    LoadAgain,
    End,
}

/// Waits for what is behind a place.
async fn next(feed: &Feed, news: &mut watch::Receiver<()>, at: Mark) -> Found {
    loop {
        news.mark_unchanged();
        match feed.look(at.place, at.horizon, ROOM) {
            Look::Records(records, next) => return Found::Records(records, next),
            Look::Gap(_) => return Found::Lost,
            Look::End => {}
            Look::Missing => match feed.fetch(at.place).await {
                Fetched::InMemory => continue,
                Fetched::End => {}
                Fetched::Failed(error) if lost(&error).is_some() => return Found::Lost,
                Fetched::Failed(error) if may_pass(&error) => {
                    sleep(ASK_AGAIN).await;
                    continue;
                }
                Fetched::Failed(error) => return Found::Failed(error),
            },
        }
        // When the topic is closed, its records may still be removed.
        if let Some(Ended::Failed(error)) = feed.ended() {
            return Found::Failed(error);
        }
        // The feed is held, and with it the sender.
        news.changed().await.ok();
    }
}

fn take(list: &Weak<List>, found: Found, at: &mut Mark) -> Step {
    let Some(list) = list.upgrade() else {
        return Step::End;
    };
    match found {
        Found::Records(records, next) => {
            list.change(|state| state.contents.insert(records));
            at.place = next.place;
            at.horizon = next.horizon.unwrap_or(at.horizon);
            Step::GoOn
        }
        Found::Lost => Step::LoadAgain,
        Found::Failed(error) => {
            list.change(|state| state.failed = Some(error));
            Step::End
        }
    }
}

/// Takes records out of a list that the topic does not hold any more.
async fn drop_removed(list: &Weak<List>, bounds: Result<Bounds, TopicError>, at: Mark) -> Step {
    let Some(list) = list.upgrade() else {
        return Step::End;
    };
    let is_short = match bounds {
        Ok(bounds) => is_short(&list, &bounds, at).await,
        Err(error) => Err(error),
    };
    match is_short {
        Ok(true) | Err(TopicError::Reset(_)) => Step::LoadAgain,
        Ok(false) => Step::GoOn,
        // It is asked the next time.
        Err(TopicError::Damaged { .. }) => Step::GoOn,
        Err(error) if may_pass(&error) => Step::GoOn,
        // Of a closed topic the feed does not say so.
        Err(error) => {
            list.change(|state| state.failed = Some(error));
            Step::End
        }
    }
}

/// Takes these records out; whether others that were not held belong to the list now.
async fn is_short(list: &List, bounds: &Bounds, at: Mark) -> Result<bool, TopicError> {
    let topic = list.feed.topic();
    if bounds.epoch != at.place.epoch {
        return Ok(false);
    }
    list.change(|state| state.contents.trim(bounds.first));
    let doubtful = if has_holes(topic) {
        let contents = &list.lock().contents;
        contents.first_redundant().zip(contents.last())
    } else {
        None
    };
    if let Some((first, last)) = doubtful {
        let held = offsets(topic, bounds.epoch, first, last).await?;
        list.change(|state| state.contents.retain(first, &held));
    }
    Ok(list.lock().contents.is_short(bounds.first))
}

/// The offsets from `first` to `last` that a topic holds.
async fn offsets(
    topic: &Topic,
    epoch: Epoch,
    first: Offset,
    last: Offset,
) -> Result<HashSet<Offset>, TopicError> {
    let before = Place::unmarked(epoch, first.saturating_sub(1));
    let mut next = Position::at(topic.name(), before);
    let mut held = HashSet::new();
    while next.offset() < last {
        let batch = topic.read_held(next, PAGE).await?;
        held.extend(batch.messages.iter().map(Message::offset));
        if batch.next.offset() <= next.offset() {
            break;
        }
        next = batch.next;
    }
    Ok(held)
}

/// Reads the topic anew, however long that takes. Returns `None` if nobody waits for it, or if it
/// cannot be read any more, which the list says then.
async fn load_again(list: &Weak<List>, feed: &Feed) -> Option<Mark> {
    loop {
        let window = list.upgrade()?.window;
        let loaded = load(feed.topic(), window).await;
        let list = list.upgrade()?;
        match loaded {
            Ok((contents, at)) => {
                list.change(|state| state.contents.replace(contents));
                return Some(at);
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => {
                list.change(|state| state.failed = Some(error));
                return None;
            }
        }
        drop(list);
        sleep(ASK_AGAIN).await;
    }
}

/// Reads the records of a window, and the first offset that the topic holds.
async fn read(
    topic: &Topic,
    window: Window,
    reserve: usize,
) -> Result<(Contents, Mark, Offset), TopicError> {
    let mut contents = Contents::new(window, reserve);
    let mut bounds = topic.bounds().await?;
    let end = bounds.last;
    let start = if window.is_last() {
        Start::Last(u64::try_from(contents.capacity()).unwrap_or(u64::MAX))
    } else {
        Start::Earliest
    };
    let mut next = topic.seek(start).await?;
    contents.begins_behind(next.offset());
    while next.offset() < end {
        match topic.read_held(next, PAGE).await {
            Ok(batch) => {
                contents.insert(batch.messages.into_iter().map(Arc::new));
                bounds = batch.bounds;
                if batch.next.offset() <= next.offset() {
                    break;
                }
                next = batch.next;
            }
            Err(TopicError::Damaged { offset }) => {
                tracing::error!(topic = %topic.name(), offset, "A damaged record is passed over.");
                let behind = Place::unmarked(next.epoch(), offset);
                next = Position::at(topic.name(), behind);
            }
            Err(error) => return Err(error),
        }
    }
    contents.trim(bounds.first);
    let at = Mark {
        place: next.place(),
        horizon: bounds.horizon,
    };
    Ok((contents, at, bounds.first))
}

/// Whether records of a topic may go that are not its first ones.
fn has_holes(topic: &Topic) -> bool {
    topic.settings().compaction.is_some()
}
