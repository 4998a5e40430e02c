//! Follows changes in the store: one task for all users who are logged in here. It reads users that
//! may have changed, many at a time, and closes connections whose login has expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::directory::Directory;
use super::store::UserStore;
use super::users::{Changes, User, Users};
use crate::base::clock;
use crate::handler::unpanicked;

/// The most users in one read.
const BATCH: usize = 500;

/// How long to wait before asking a store again that failed to report changes.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// How long a read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Watcher {
    pub(super) users: UserStore,
    pub(super) own_fields: Vec<String>,
    pub(super) poll_interval: Duration,
    pub(super) directory: Arc<Directory>,
}

impl Watcher {
    /// Runs until cancelled.
    pub(super) async fn run(self, closing: CancellationToken) {
        let changes = self.directory.clone();
        let changes = Changes::new(move |change| changes.changed(change));
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.listen(&changes) => {}
            () = self.keep_up() => {}
            () = self.expire() => {}
        }
    }

    /// Has the store report changes, again after it has failed. A store that cannot report them is
    /// not asked again.
    async fn listen(&self, changes: &Changes) {
        while let Err(error) = unpanicked(self.users.watch(changes)).await {
            self.directory.changes_not_reported();
            tracing::warn!(
                ?error,
                "Changes of users cannot be followed; users are polled."
            );
            sleep(RETRY_DELAY).await;
        }
        self.directory.changes_not_reported();
        std::future::pending().await
    }

    /// Closes each connection when its login expires.
    async fn expire(&self) {
        loop {
            let entered = self.directory.entered.notified();
            match self.directory.expire(clock::now()) {
                // Another login may expire sooner.
                Some(next) => drop(timeout_at(next.into(), entered).await),
                None => entered.await,
            }
        }
    }

    async fn keep_up(&self) {
        // An interval of zero is not allowed.
        let mut poll = interval(self.poll_interval.max(Duration::from_millis(1)));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.directory.unread_added.notified() => {}
                _ = poll.tick() => self.directory.poll(),
            }
            self.read().await;
        }
    }

    /// Reads all users that may have changed. Users that could not be read wait for the next poll.
    async fn read(&self) {
        loop {
            let ids = self.directory.take_unread(BATCH);
            if ids.is_empty() {
                return;
            }
            let reading = self.directory.reading();
            let read = unpanicked(self.users.read(&ids, &self.own_fields));
            let read = timeout(READ_TIMEOUT, read).await;
            match read.unwrap_or_else(|late| Err(late.into())) {
                Ok(found) => {
                    let found = found.into_iter().map(|user| (user.id.clone(), user));
                    let mut found: HashMap<String, User> = found.collect();
                    for id in &ids {
                        self.directory.found(reading, id, found.remove(id));
                    }
                }
                Err(error) => {
                    tracing::warn!(?error, "Users could not be read.");
                    return self.directory.not_read(ids);
                }
            }
        }
    }
}

impl Drop for Watcher {
    /// No user is watched any more, and connections that are still known must not keep the server
    /// alive.
    fn drop(&mut self) {
        self.directory.clear();
    }
}
