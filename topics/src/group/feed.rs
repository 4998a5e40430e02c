//! Reads one topic for the slots of a process: a page behind the place that is wanted, as soon as
//! there is one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::wake::Watcher;
use crate::{Bounds, Create, Limit, Offset, Page, Place, Read, TopicError};

/// How long a reader waits after an error of the store.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What the owner wants to read.
#[derive(Debug)]
pub(crate) struct Feed {
    wants: watch::Sender<Want>,
}

/// A wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    /// The place behind which is to be read.
    pub(crate) after: Option<Place>,
    /// Another number than before asks for a look, even if nothing else has changed.
    pub(crate) check: u64,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) input: usize,
    /// The place behind which was read.
    pub(crate) after: Place,
    /// The number of the wish that was known when reading began.
    pub(crate) check: u64,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// Records, or none if there are none.
    Page(Page),
    /// The first record behind the place cannot be read.
    Damaged(Offset),
    /// The place is not one of the topic any more.
    Reset(Bounds),
    /// There is no such topic.
    Missing,
}

impl Feed {
    /// Begins to read a topic. Only the topics of a group are created again when they vanish.
    pub(crate) fn start(
        input: usize,
        core: Arc<Core>,
        may_miss: bool,
        pages: mpsc::Sender<Fed>,
        (tasks, closed): (&TaskTracker, &CancellationToken),
    ) -> Self {
        let (wants, wanted) = watch::channel(Want::default());
        let closed = closed.clone();
        tasks.spawn(async move {
            let reading = read(input, &core, may_miss, wanted, pages);
            closed.run_until_cancelled(reading).await;
        });
        Self { wants }
    }

    /// Asks for what is behind a place. An earlier wish is given up.
    pub(crate) fn want(&self, want: Want) {
        self.wants.send_replace(want);
    }
}

/// Runs until the owner has gone.
async fn read(
    input: usize,
    core: &Core,
    may_miss: bool,
    mut wanted: watch::Receiver<Want>,
    pages: mpsc::Sender<Fed>,
) {
    let mut watcher = core.watch();
    // Whether the owner was told that there is nothing behind the place.
    let mut told = None;
    loop {
        let Want { after, check } = *wanted.borrow_and_update();
        let Some(after) = after else {
            told = None;
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        watcher.arm();
        let outcome = match page(core, may_miss, after).await {
            Ok(outcome) => outcome,
            Err(TopicError::Damaged { offset }) => Outcome::Damaged(offset),
            Err(error) => {
                if pages.is_closed() {
                    return;
                }
                tracing::debug!(topic = %core.name, %error, "a group cannot read");
                sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let state = match &outcome {
            Outcome::Page(page) if page.next == after => Some((after, check, Some(page.bounds))),
            Outcome::Missing => Some((after, check, None)),
            _ => None,
        };
        let is_news = state.is_none() || state != told;
        let is_end = state.is_some();
        told = state;
        let fed = Fed {
            input,
            after,
            check,
            outcome,
        };
        if is_news && pages.send(fed).await.is_err() {
            return;
        }
        if !is_end {
            // The owner says how to go on.
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        let bounds = state.and_then(|(.., bounds)| bounds);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = until_more(core, &mut watcher, after, bounds) => {}
        }
    }
}

/// Waits until there may be something behind the place. `seen` is what there was; `None` if there
/// was no such topic.
async fn until_more(core: &Core, watcher: &mut Watcher, after: Place, seen: Option<Bounds>) {
    let poll = core.settings.poll;
    if let Some(growing) = core.log.grew(&core.name, after.offset, poll) {
        if growing.await.is_err() {
            sleep(AFTER_ERROR).await;
        }
        return;
    }
    while !watcher.grew(poll.mul_f64(0.8)).await {
        // Nobody has said so. All who wait for this topic here look together.
        let is_same = match core.recent_bounds(poll.mul_f64(0.2)).await {
            Ok(bounds) => seen == Some(bounds),
            Err(TopicError::UnknownTopic) => seen.is_none(),
            Err(_) => false,
        };
        if !is_same {
            return;
        }
    }
}

async fn page(core: &Core, may_miss: bool, after: Place) -> Result<Outcome, TopicError> {
    let ask = || core.log.read(&core.name, after, Limit::default());
    let read = if may_miss {
        match core.call(ask()).await {
            Err(TopicError::UnknownTopic) => return Ok(Outcome::Missing),
            read => read?,
        }
    } else {
        match core.call_again(ask).await {
            Err(TopicError::UnknownTopic) => return Ok(Outcome::Missing),
            read => read?,
        }
    };
    Ok(match read {
        Read::Page(page) => Outcome::Page(page),
        Read::UnknownEpoch(bounds) | Read::Ahead(bounds) | Read::Diverged(bounds) => {
            Outcome::Reset(bounds)
        }
    })
}

/// Reads one record of a topic, for its time. `None` if it cannot be read.
pub(crate) async fn time_of(core: &Core, offset: Offset) -> Result<Option<u64>, TopicError> {
    let opened = core.call(core.log.open(&core.name, Create::Never)).await;
    let bounds = match opened {
        Err(TopicError::UnknownTopic) => return Ok(None),
        opened => opened?,
    };
    let after = match offset.saturating_sub(1) {
        0 => Place::start(bounds.epoch),
        offset => Place::unmarked(bounds.epoch, offset),
    };
    let read = core.log.read(&core.name, after, Limit::new(1, 0));
    match core.call(read).await {
        Ok(Read::Page(page)) => Ok(page.records.first().map(|record| record.time)),
        Ok(_) | Err(TopicError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
