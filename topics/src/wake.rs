//! Wake-ups: whoever appends says so on the bus, and one listener in each process wakes the readers
//! there. A wake-up is a hint. One that is lost costs the time until a reader's next poll.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_bus::internal::InternalChannel;
use updraft_bus::{Channels, Listener, Received};
use updraft_protocol::ejson::Value;

use crate::TopicName;

/// After how long the bus is asked again when it does not carry the channel.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// The wake-ups of a process.
pub(crate) struct WakeUps {
    channels: Arc<Channels>,
    table: Mutex<WakeTable>,
    /// Says that there is something to announce.
    dirty: Notify,
    closed: CancellationToken,
    tasks: TaskTracker,
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
            channels,
            table: Mutex::default(),
            dirty: Notify::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Watches a topic. What is appended after this wakes the watcher.
    pub(crate) fn watch(self: &Arc<Self>, topic: &TopicName) -> Watcher {
        let mut table = self.lock();
        let sender = table.watched.entry(topic.clone()).or_default();
        let grew = sender.subscribe();
        if !std::mem::replace(&mut table.is_listening, true) {
            self.tasks.spawn(Arc::clone(self).listen());
        }
        Watcher {
            topic: topic.clone(),
            grew,
            wake_ups: Arc::clone(self),
        }
    }

    /// Wakes those who watch the topic here, and elsewhere unless the store does so.
    pub(crate) fn grew(self: &Arc<Self>, topic: &TopicName, store_announces: bool) {
        let mut table = self.lock();
        table.wake(topic);
        if store_announces {
            return;
        }
        if table.grown.insert(topic.clone()) {
            self.dirty.notify_one();
        }
        if !std::mem::replace(&mut table.is_announcing, true) {
            self.tasks.spawn(Arc::clone(self).announce());
        }
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    async fn announce(self: Arc<Self>) {
        let mut is_open = true;
        while is_open {
            let noted = self.closed.run_until_cancelled(self.dirty.notified());
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

    async fn listen(self: Arc<Self>) {
        let listening = async {
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
        };
        self.closed.run_until_cancelled(listening).await;
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
        let spread = patience.mul_f64(fastrand::f64() * 0.4);
        let patience = patience.mul_f64(0.8).saturating_add(spread);
        tokio::select! {
            _ = self.grew.changed() => true,
            () = sleep(patience) => false,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut table = self.wake_ups.lock();
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
