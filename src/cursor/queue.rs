//! The cursors that are to be written, and when.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use updraft_topics::RegisterKey;

use super::shared::{SharedCursor, Stored};
use super::{CursorSettings, Kept};

/// The shortest time after which a cursor at rest is written again.
const SHORTEST: Duration = Duration::from_millis(10);

/// Longer times are taken for this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The cursors that are to be written.
pub(super) struct Queue {
    pub(super) settings: CursorSettings,
    state: Mutex<State>,
    /// Notified when something has come that may have to be written sooner.
    changed: Notify,
}

struct State {
    /// Each once. Filled as cursors move and are closed, drained by the writer; bounded by the
    /// cursors.
    cursors: Vec<Arc<SharedCursor>>,
    /// Those in use, by the time at which they are to be written although they have not moved;
    /// some may be gone. Filled by `opened`, drained as their times come.
    resting: VecDeque<(Instant, Weak<SharedCursor>)>,
    /// Those in use, and those that are still to be written; some may be gone. Filled by `opened`,
    /// which also drains those that are gone, whenever there are twice as many as the last time.
    by_key: HashMap<RegisterKey, Weak<SharedCursor>>,
    /// When the last of `cursors` was taken.
    taken: Instant,
    /// Whether one of `cursors` is closed, and so they are not to wait.
    is_urgent: bool,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(settings: CursorSettings) -> Self {
        Self {
            settings,
            state: Mutex::new(State {
                cursors: Vec::new(),
                resting: VecDeque::new(),
                by_key: HashMap::new(),
                taken: Instant::now(),
                is_urgent: false,
                is_closed: false,
            }),
            changed: Notify::new(),
        }
    }

    /// A cursor is in use from here on.
    pub(super) fn opened(&self, cursor: &Arc<SharedCursor>) {
        let at = self.refreshed(Instant::now());
        let mut state = self.lock();
        state.resting.push_back((at, Arc::downgrade(cursor)));
        if state.by_key.len() == state.by_key.capacity() {
            state.by_key.retain(|_, cursor| cursor.strong_count() > 0);
        }
        let key = cursor.key.clone();
        state.by_key.insert(key, Arc::downgrade(cursor));
        let is_first = state.resting.len() == 1;
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// What a cursor keeps that this process has opened as the last one, and that may not be written
    /// yet.
    pub(super) fn kept(&self, key: &RegisterKey, generation: u64) -> Option<Kept> {
        let cursor = self.lock().by_key.get(key)?.upgrade()?;
        let kept = cursor.state().kept;
        (cursor.generation == generation).then_some(kept)
    }

    /// A cursor is to be written; at once if it is closed.
    pub(super) fn add(&self, cursor: &Arc<SharedCursor>, is_closed: bool) {
        let is_new = {
            let mut progress = cursor.state();
            if progress.stored == Stored::TakenOver {
                return;
            }
            !std::mem::replace(&mut progress.is_queued, true)
        };
        let mut state = self.lock();
        if is_new {
            state.cursors.push(cursor.clone());
        }
        let is_first = is_new && state.cursors.len() == 1;
        let is_sooner = is_closed && !std::mem::replace(&mut state.is_urgent, true);
        drop(state);
        if is_first || is_sooner {
            self.changed.notify_one();
        }
    }

    /// Nothing more will come than what is there.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Whether what cannot be written now is given up.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until there are cursors to write; `None` when all are written and no more will come.
    pub(super) async fn next(&self) -> Option<Vec<Arc<SharedCursor>>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let next = {
                let mut state = self.lock();
                state.wake_resting(now, |written| self.refreshed(written));
                if state.cursors.is_empty() {
                    if state.is_closed {
                        return None;
                    }
                    state.resting.front().map(|(at, _)| *at)
                } else {
                    let at = after(state.taken, self.settings.write_interval);
                    if state.is_closed || state.is_urgent || at <= now {
                        state.is_urgent = false;
                        state.taken = now;
                        return Some(std::mem::take(&mut state.cursors));
                    }
                    Some(at)
                }
            };
            match next {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// When a cursor is to be written again that was written then, so that it does not expire: twice
    /// within the time.
    fn refreshed(&self, written: Instant) -> Instant {
        after(written, (self.settings.expires / 3).max(SHORTEST))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues the cursors that have not been written for long.
    fn wake_resting(&mut self, now: Instant, refreshed: impl Fn(Instant) -> Instant) {
        while let Some((at, _)) = self.resting.front()
            && *at <= now
            && let Some((_, cursor)) = self.resting.pop_front()
        {
            let Some(cursor) = cursor.upgrade() else {
                continue;
            };
            let mut progress = cursor.state();
            if progress.stored == Stored::TakenOver {
                continue;
            }
            let mut next = refreshed(progress.written);
            if next <= now {
                next = refreshed(now);
                if !std::mem::replace(&mut progress.is_queued, true) {
                    self.cursors.push(cursor.clone());
                }
            }
            drop(progress);
            self.resting.push_back((next, Arc::downgrade(&cursor)));
        }
    }
}

fn after(at: Instant, time: Duration) -> Instant {
    at + time.min(LONGEST)
}
