//! Wake-ups: whoever appends says so on the bus, and one listener in each process wakes the readers
//! there. A wake-up is a hint. One that is lost costs the time until a reader's next poll.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_bus::internal::InternalChannel;
use updraft_bus::{Channels, Listener, Received};
use updraft_protocol::ejson::Value;

use crate::TopicName;
use crate::clock::millis;

/// The time between two moments at which those look who look for themselves now and then.
const BETWEEN_MOMENTS: Duration = Duration::from_secs(1);

/// After how long the bus is asked again when it does not carry the channel.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// The wake-ups of a process, and the end of its topics. All handles share them: the topics are
/// closed by [`close`](Self::close), or when the last handle is dropped.
pub(crate) struct WakeUps {
    state: Arc<State>,
    /// What moments are counted from.
    began: Instant,
    /// Cancelled when the topics are closed.
    closed: CancellationToken,
    /// What runs until then, and what ends then in good order.
    tasks: TaskTracker,
}

/// What the handles share with the tasks, which thus keep no handle alive.
struct State {
    channels: Arc<Channels>,
    table: Mutex<WakeTable>,
    /// Says that there is something to announce.
    dirty: Notify,
}

#[derive(Default)]
struct WakeTable {
    /// One entry for each topic that has watchers. Filled by `watch`, drained with the last of
    /// them.
    watched: HashMap<TopicName, watch::Sender<()>>,
    /// Topics that grew and were not announced yet. Filled by `grew`, drained by the announcer.
    grown: BTreeSet<TopicName>,
    is_listening: bool,
    is_announcing: bool,
}

/// Waits for one topic to grow.
pub(crate) struct Watcher {
    topic: TopicName,
    grew: watch::Receiver<()>,
    wake_ups: Arc<WakeUps>,
}

impl WakeUps {
    pub(crate) fn new(channels: Arc<Channels>) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new(State {
                channels,
                table: Mutex::default(),
                dirty: Notify::new(),
            }),
            began: Instant::now(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Watches a topic. What is appended after this wakes the watcher.
    pub(crate) fn watch(self: &Arc<Self>, topic: &TopicName) -> Watcher {
        let mut table = self.state.lock();
        let sender = table.watched.entry(topic.clone()).or_default();
        let grew = sender.subscribe();
        if !std::mem::replace(&mut table.is_listening, true) {
            let (state, closed) = (Arc::clone(&self.state), self.closed.clone());
            self.tasks.spawn(async move {
                closed.run_until_cancelled(state.listen()).await;
            });
        }
        Watcher {
            topic: topic.clone(),
            grew,
            wake_ups: Arc::clone(self),
        }
    }

    /// Wakes those who watch the topic here, and elsewhere unless the store does so.
    pub(crate) fn grew(&self, topic: &TopicName, store_announces: bool) {
        let mut table = self.state.lock();
        table.wake(topic);
        if store_announces {
            return;
        }
        if table.grown.insert(topic.clone()) {
            self.state.dirty.notify_one();
        }
        if !std::mem::replace(&mut table.is_announcing, true) {
            let state = Arc::clone(&self.state);
            self.tasks.spawn(state.announce(self.closed.clone()));
        }
    }

    /// Ends the readers, and what runs for them.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// A moment after this time, give or take a fifth. Moments are a second apart, or less where
    /// that is more than a fifth: of many who wait, those whose time is over at about the same time
    /// wake the process together, and a store gets what they ask at once.
    pub(crate) fn moment_after(&self, time: Duration) -> Instant {
        let between = millis(BETWEEN_MOMENTS.min(time / 5)).max(1);
        let earliest = self.began.elapsed().saturating_add(time.mul_f64(0.8));
        let spread = millis(time.mul_f64(0.4)).saturating_sub(between);
        let at = millis(earliest).saturating_add(fastrand::u64(..=spread));
        let moment = at.checked_next_multiple_of(between).unwrap_or(at);
        let moment = self.began.checked_add(Duration::from_millis(moment));
        moment.unwrap_or_else(|| Instant::now() + BETWEEN_MOMENTS)
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl Drop for WakeUps {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    /// Resolves when the topics are closed.
    async fn announce(self: Arc<Self>, closed: CancellationToken) {
        let mut is_open = true;
        while is_open {
            let noted = closed.run_until_cancelled(self.dirty.notified());
            // At the end too, what has grown before is announced.
            is_open = noted.await.is_some();
            let grown = std::mem::take(&mut self.lock().grown);
            for topic in grown {
                let name = Value::from(topic.as_str());
                let sent = self
                    .channels
                    .emit_internally(InternalChannel::Topics, &name);
                if let Err(error) = sent.await {
                    tracing::debug!(%error, "readers elsewhere were not woken");
                }
            }
        }
    }

    /// Never resolves.
    async fn listen(&self) {
        let mut is_told = false;
        loop {
            match self
                .channels
                .listen_internally(InternalChannel::Topics)
                .await
            {
                Ok(listener) => {
                    is_told = false;
                    self.hear(listener).await;
                }
                Err(error) if !std::mem::replace(&mut is_told, true) => tracing::warn!(
                    %error,
                    "Readers of topics are not woken, and wait for their next poll."
                ),
                Err(_) => {}
            }
            sleep(LISTEN_AGAIN).await;
        }
    }

    async fn hear(&self, mut listener: Listener) {
        // What was appended before the bus had confirmed the channel was not announced here.
        self.lock().wake_all();
        while let Some(received) = listener.next().await {
            match received {
                Received::Message(message) => {
                    if let Some(name) = message.value().as_str() {
                        self.lock().wake(name);
                    }
                }
                Received::Gap => self.lock().wake_all(),
                _ => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, WakeTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WakeTable {
    fn wake(&self, topic: impl AsRef<str>) {
        if let Some(sender) = self.watched.get(topic.as_ref()) {
            sender.send_replace(());
        }
    }

    fn wake_all(&self) {
        for sender in self.watched.values() {
            sender.send_replace(());
        }
    }
}

impl Watcher {
    /// Forgets the wake-ups up to now. What is read after this has their records.
    pub(crate) fn arm(&mut self) {
        self.grew.mark_unchanged();
    }

    /// Resolves at the first wake-up after [`arm`](Self::arm), which may be over already, and after
    /// `patience`, give or take a fifth. Answers whether there was a wake-up.
    pub(crate) async fn grew(&mut self, patience: Duration) -> bool {
        let moment = self.wake_ups.moment_after(patience);
        tokio::select! {
            () = self.woken() => true,
            () = sleep_until(moment) => false,
        }
    }

    /// Resolves at the first wake-up after [`arm`](Self::arm), which may be over already.
    pub(crate) async fn woken(&mut self) {
        // The sender is not dropped before its watchers.
        drop(self.grew.changed().await);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut table = self.wake_ups.state.lock();
        if let Some(sender) = table.watched.get(&self.topic)
            && sender.receiver_count() <= 1
        {
            table.watched.remove(&self.topic);
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl fmt::Debug for WakeUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeUps").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Memory, Store};

    #[tokio::test(start_paused = true)]
    async fn moments_come_in_time_and_are_few() {
        let wake_ups = WakeUps::new(Store::from(Memory::new()).channels);
        tokio::time::advance(Duration::from_micros(1_234_567)).await;
        for (millis, most) in [
            (1, 2),
            (10, 4),
            (5_000, 3),
            (60_000, 25),
            (3_600_000, 1_441),
        ] {
            let time = Duration::from_millis(millis);
            let now = Instant::now();
            let moments: BTreeSet<_> = (0..10_000).map(|_| wake_ups.moment_after(time)).collect();
            assert!(moments.len() <= most, "{} after {time:?}", moments.len());
            // The clock of timers counts milliseconds.
            let earliest = now + time.mul_f64(0.8) - Duration::from_millis(1);
            let latest = now + time.mul_f64(1.2) + Duration::from_millis(1);
            assert!(moments.iter().all(|at| (earliest..=latest).contains(at)));
        }
    }
}
