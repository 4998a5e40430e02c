//! Which processes live. Each writes a register of its own again and again; whoever has seen that
//! of another process unchanged for its lease time, on its own clock, may take that one's slots.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ids::ProcessId;
use super::keys::PROCESSES;
use crate::clock::{millis, now};
use crate::{Register, RegisterKey, Registers, Swap, Swapped, TopicError, Version};

/// Processes that are looked at with one call.
const PAGE: usize = 1000;

/// By how much the clocks of those may differ who run a group and who look at it.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// After how long a store may remove what a process has written that is gone.
const EXPIRES: Duration = Duration::from_secs(3600);

/// What a process knows of itself and of others.
pub(crate) struct Beats {
    /// This process.
    pub(crate) id: ProcessId,
    registers: Arc<dyn Registers>,
    lease: Duration,
    term: watch::Sender<Option<Term>>,
    /// Filled by `look`, which also drains those that are long gone.
    seen: Mutex<HashMap<ProcessId, Seen>>,
    /// Told when a process comes or goes, and when others may have taken this one for gone.
    changes: watch::Sender<()>,
    has_started: AtomicBool,
}

/// A time without a break in which no other process may take what this one has.
#[derive(Clone, Copy)]
struct Term {
    /// Grows with each break.
    number: u64,
    until: Instant,
}

/// What was last seen of a process.
#[derive(Clone, Copy)]
struct Seen {
    version: Option<Version>,
    since: Instant,
    /// When it was last looked at, and was the same.
    until: Instant,
    lease: Duration,
    was_dead: bool,
}

impl Beats {
    pub(crate) fn new(registers: Arc<dyn Registers>, lease: Duration) -> Arc<Self> {
        Arc::new(Self {
            id: ProcessId::draw(),
            registers,
            lease,
            term: watch::Sender::default(),
            seen: Mutex::default(),
            changes: watch::Sender::default(),
            has_started: AtomicBool::new(false),
        })
    }

    /// Begins to beat, and to look at others, unless it has begun.
    pub(crate) fn start(self: &Arc<Self>, tasks: &TaskTracker, closed: &CancellationToken) {
        if self.has_started.swap(true, Ordering::AcqRel) {
            return;
        }
        let (beats, until) = (Arc::clone(self), closed.clone());
        tasks.spawn(async move {
            until.run_until_cancelled(beats.beat()).await;
        });
        let (beats, until) = (Arc::clone(self), closed.clone());
        tasks.spawn(async move {
            until.run_until_cancelled(beats.watch()).await;
        });
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// The number of the time since when no other process may have taken what this one has. `None`
    /// if one may have: after that the number is another one.
    pub(crate) fn term(&self) -> Option<u64> {
        let term = *self.term.borrow();
        term.filter(|term| Instant::now() < term.until)
            .map(|term| term.number)
    }

    /// Waits until this process has beaten.
    pub(crate) async fn until_valid(&self) {
        let mut terms = self.term.subscribe();
        while self.term().is_none() {
            // It is not closed as long as this lives.
            drop(terms.changed().await);
        }
    }

    /// Told when a process comes or goes, and when others may have taken this one for gone.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether a process has stopped, as far as this one can say.
    pub(crate) fn is_dead(&self, id: ProcessId) -> bool {
        if id == self.id {
            return false;
        }
        let seen = *self
            .lock()
            .entry(id)
            .or_insert_with(|| Seen::new(None, self.lease));
        seen.is_dead()
    }

    /// Whether a process that [`is_dead`](Self::is_dead) has not written since that was seen. It may
    /// have been standing still.
    pub(crate) async fn is_silent(&self, id: ProcessId) -> Result<bool, TopicError> {
        let key = RegisterKey::bound(PROCESSES, &id.to_string());
        let found = self.registers.get(&[key]).await?;
        let version = found.first().and_then(Option::as_ref).map(|it| it.version);
        let seen = self.lock();
        Ok(seen.get(&id).is_none_or(|seen| seen.version == version))
    }

    async fn beat(&self) {
        let mut version = None;
        loop {
            let sent = Instant::now();
            let written = timeout(self.lease, self.write(&mut version)).await;
            match written.unwrap_or(Err(TopicError::Unavailable(None))) {
                Ok(()) => {
                    self.prolong(sent);
                    sleep(self.lease.mul_f64(0.3)).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "other processes do not see that this one lives");
                    sleep(self.lease.mul_f64(0.05)).await;
                }
            }
        }
    }

    /// A beat was written that was sent at this time.
    fn prolong(&self, sent: Instant) {
        // A tenth is left for what is under way.
        let until = sent.checked_add(self.lease.mul_f64(0.9)).unwrap_or(sent);
        let mut is_broken = false;
        self.term.send_modify(|term| {
            let number = match term {
                Some(term) if Instant::now() < term.until => term.number,
                Some(term) => {
                    is_broken = true;
                    term.number.saturating_add(1)
                }
                None => 0,
            };
            *term = Some(Term { number, until });
        });
        if is_broken {
            self.changes.send_replace(());
        }
    }

    async fn write(&self, version: &mut Option<Version>) -> Result<(), TopicError> {
        let key = RegisterKey::bound(PROCESSES, &self.id.to_string());
        loop {
            let value = format!("{} {}", millis(self.lease), now());
            let swap = Swap::write(key.clone(), *version, value)?;
            let swap = swap.expires(EXPIRES.max(self.lease.saturating_mul(10)));
            let swapped = self.registers.swap(vec![swap]).await?;
            match swapped.first() {
                Some(Swapped::Written(written)) => {
                    *version = Some(*written);
                    return Ok(());
                }
                // An answer was lost, or the store has lost the register.
                Some(Swapped::Conflict { actual }) => *version = *actual,
                _ => *version = None,
            }
        }
    }

    async fn watch(&self) {
        loop {
            match timeout(self.lease, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "other processes were not looked at"),
                Err(_) => {}
            }
            sleep(self.next_look()).await;
        }
    }

    /// How long until the next look, or until a process would have been silent for its time.
    fn next_look(&self) -> Duration {
        let pause = self.lease.mul_f64(0.2);
        let seen = self.lock();
        let silent = seen
            .values()
            .filter(|seen| !seen.is_dead())
            .filter_map(|seen| {
                let left = seen.lease.checked_sub(seen.since.elapsed())?;
                Some(left.saturating_add(Duration::from_millis(1)))
            });
        silent.min().map_or(pause, |silent| silent.min(pause))
    }

    async fn look(&self) -> Result<(), TopicError> {
        let asked = Instant::now();
        let mut found = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.registers.scan(PROCESSES, "", after.as_deref(), PAGE);
            let page = page.await?;
            after = page.last().map(|(key, _)| key.name().to_owned());
            for (key, register) in page {
                if let Some(id) = ProcessId::parse(key.name()) {
                    found.insert(id, register);
                }
            }
            if after.is_none() {
                break;
            }
        }
        let mut is_other = false;
        let mut seen = self.lock();
        for (id, seen) in &mut *seen {
            let register = found.remove(id);
            let version = register.as_ref().map(|register| register.version);
            if version != seen.version {
                let lease = register.and_then(|it| lease_of(&it)).unwrap_or(seen.lease);
                is_other |= seen.was_dead;
                *seen = Seen::new(version, lease);
                continue;
            }
            seen.until = asked;
            if seen.is_dead() && !seen.was_dead {
                seen.was_dead = true;
                is_other = true;
            }
        }
        for (id, register) in found {
            is_other = true;
            let lease = lease_of(&register).unwrap_or(self.lease);
            seen.insert(id, Seen::new(Some(register.version), lease));
        }
        let long = EXPIRES.max(self.lease.saturating_mul(10));
        seen.retain(|_, seen| seen.version.is_some() || seen.since.elapsed() < long);
        drop(seen);
        if is_other {
            self.changes.send_replace(());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProcessId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn new(version: Option<Version>, lease: Duration) -> Self {
        let now = Instant::now();
        Self {
            version,
            since: now,
            until: now,
            lease,
            was_dead: false,
        }
    }

    /// Whether it was seen unchanged for long enough. That nobody has looked does not count.
    fn is_dead(&self) -> bool {
        self.until.saturating_duration_since(self.since) >= self.lease
    }
}

/// Which of these processes were heard of lately, by the time of day. That is for people to read;
/// nothing is decided by it.
pub(crate) async fn heard_of(
    registers: &dyn Registers,
    processes: &[ProcessId],
) -> Result<Vec<bool>, TopicError> {
    let keys = processes.iter();
    let keys: Vec<_> = keys
        .map(|id| RegisterKey::bound(PROCESSES, &id.to_string()))
        .collect();
    let found = registers.get(&keys).await?.into_iter();
    let heard = found.map(|register| {
        let (lease, time) = register.as_ref().and_then(said)?;
        let age = Duration::from_millis(now().saturating_sub(time));
        Some(age <= lease.saturating_add(CLOCKS_DIFFER))
    });
    Ok(heard.map(Option::unwrap_or_default).collect())
}

/// For how long the register of a process must have been unchanged.
fn lease_of(register: &Register) -> Option<Duration> {
    said(register).map(|(lease, _)| lease)
}

/// What a process has written: its lease, and when that was.
fn said(register: &Register) -> Option<(Duration, u64)> {
    let text = std::str::from_utf8(&register.value).ok()?;
    let (lease, time) = text.split_once(' ')?;
    Some((
        Duration::from_millis(lease.parse().ok()?),
        time.parse().ok()?,
    ))
}

impl fmt::Debug for Beats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beats")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
