//! Leases: what one of many processes does at a time, without trusting their clocks to agree.
//!
//! The owner writes a register again and again, and each write gives it another version. Whoever
//! wants the lease may take a register whose version it has seen unchanged for the lease time, on
//! its own monotonic clock. Each write of an owner is a swap on the version that it wrote last, so
//! an owner that comes late changes nothing, and learns that it has lost the lease.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::random::random;
use crate::{RegisterKey, Registers, Swap, Swapped, TopicError, Version};

/// Shortest lease time.
const SHORTEST: Duration = Duration::from_millis(10);

/// Longest lease time: longer ones cannot be told from none.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Something that at most one of many processes does at a time, such as to look after a store. All
/// of them must name the same register and the same time.
///
/// ```
/// use std::time::Duration;
/// use updraft_topics::{Lease, Memory, RegisterKey, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::from(Memory::new());
/// let key = RegisterKey::new("lease", "nightly report")?;
/// let lease = Lease::new(store.registers, key, Duration::from_secs(10));
///
/// let held = lease.take().await;
/// let report = async { "written by one process only" };
/// match held.run(report).await {
///     Some(report) => println!("{report}"),
///     None => println!("another process has taken over"),
/// }
/// held.release().await;
/// # Ok(()) }
/// ```
///
/// # What is promised
///
/// - An owner that stops is replaced after the lease time, and at most a fifth of it. One that ends
///   in good order frees the lease at once; others see that when they look, each fifth of the time.
/// - An owner that cannot write the register, because the store is away, has lost the lease a tenth
///   before another can take it.
/// - A process that was stopped for longer, or its machine, does not know that when it goes on, and
///   may act as the owner for a moment. So whatever must not happen twice is written with
///   [`Held::write`], or in a way that a late owner cannot: under an id for deduplication, or with
///   the [`Held::generation`], where smaller ones are refused.
/// - A store that loses a write in a failover may lose that of an owner. Then two owners can
///   overlap, until the first of them writes again.
///
/// # The register
///
/// Its value is the text `GENERATION OWNER`, a line feed, and the bytes of [`Held::write`]. OWNER is
/// 32 hexadecimal digits, drawn at random each time that the lease is taken, or `-` when it is free.
/// The generation is the last owner's plus 1, and begins at 1 when the register is not there: the
/// register of a free lease stays, so that generations grow. What is not of this form is taken over
/// like a lease whose owner has stopped.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

struct Shared {
    registers: Arc<dyn Registers>,
    key: RegisterKey,
    time: Duration,
    tasks: TaskTracker,
    /// What `try_take` has seen last.
    seen: Mutex<Option<Seen>>,
}

/// A lease that this process has. Dropping it frees the lease.
#[must_use = "a lease is free again when this is dropped"]
pub struct Held {
    lease: Arc<Shared>,
    generation: u64,
    value: Bytes,
    /// What the task that renews the lease is to write. When this is dropped, it frees the lease.
    writes: mpsc::Sender<Write>,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
    /// Cancelled when that task has ended.
    ended: CancellationToken,
}

/// A value, and who is told that it was written.
type Write = (Bytes, oneshot::Sender<Result<(), TopicError>>);

/// What the task that renews a lease knows.
struct Owner {
    lease: Arc<Shared>,
    generation: u64,
    id: OwnerId,
    /// What the register has; `None` if it is not known whether the last swap has happened.
    version: Option<Version>,
    value: Bytes,
    /// When the latest swap that succeeded was sent.
    sent: Instant,
}

type OwnerId = [u64; 2];

/// What a register says.
struct State {
    generation: u64,
    /// `None` if the lease is free.
    owner: Option<OwnerId>,
    value: Bytes,
}

/// What a contender has seen.
#[derive(Clone, Copy)]
struct Seen {
    version: Version,
    since: Instant,
}

impl Lease {
    /// A lease that this register keeps. The time is at least 10 ms and at most a day. The register
    /// is written three times in it, and read five times by each process that waits.
    pub fn new(registers: Arc<dyn Registers>, key: RegisterKey, time: Duration) -> Self {
        Self(Arc::new(Shared {
            registers,
            key,
            time: time.clamp(SHORTEST, LONGEST),
            tasks: TaskTracker::new(),
            seen: Mutex::default(),
        }))
    }

    /// Waits until this process has the lease, for as long as that takes: while the store is away
    /// too. Must be called in a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lease may have been taken, and is then free after its time.
    pub async fn take(&self) -> Held {
        let lease = &self.0;
        let id = [random(), random()];
        let mut seen = None;
        loop {
            match lease.try_take(id, &mut seen).await {
                Ok(Some(held)) => return held,
                Ok(None) => {}
                Err(error) => tracing::debug!(key = ?lease.key, %error, "no lease"),
            }
            sleep_until(lease.next_look(seen)).await;
        }
    }

    /// Takes the lease if that is possible now; `None` if another owner has it. One that has stopped
    /// is replaced by a call which comes the lease time after an earlier one, of this handle or its
    /// clones.
    ///
    /// # Errors
    ///
    /// That of the store.
    ///
    /// # Cancel safety
    ///
    /// As [`take`](Self::take).
    pub async fn try_take(&self) -> Result<Option<Held>, TopicError> {
        let lease = &self.0;
        let mut seen = *lease.seen();
        let taken = lease.try_take([random(), random()], &mut seen).await;
        *lease.seen() = seen;
        taken
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease if it is free, or has been seen unchanged for long enough.
    async fn try_take(
        self: &Arc<Self>,
        id: OwnerId,
        seen: &mut Option<Seen>,
    ) -> Result<Option<Held>, TopicError> {
        let found = self.read().await?;
        let expected = found.as_ref().map(|(version, _)| *version);
        let state = found.map_or_else(State::unowned, |(_, state)| state);
        // It is this contender's own if a swap has happened whose answer was lost.
        if let (Some(version), Some(owner)) = (expected, state.owner)
            && owner != id
        {
            let since = Instant::now();
            let seen = match seen {
                Some(seen) if seen.version == version => *seen,
                _ => *seen.insert(Seen { version, since }),
            };
            if seen.since.elapsed() < self.time {
                return Ok(None);
            }
        }
        let generation = match state.owner {
            Some(owner) if owner == id => state.generation,
            _ => state.generation.saturating_add(1),
        };
        let sent = Instant::now();
        let taken = State {
            generation,
            owner: Some(id),
            value: state.value.clone(),
        };
        let Some(version) = self.swap(expected, &taken).await? else {
            return Ok(None);
        };
        let owner = Owner {
            lease: Arc::clone(self),
            generation,
            id,
            version: Some(version),
            value: state.value.clone(),
            sent,
        };
        let (writes, requested) = mpsc::channel(1);
        let (lost, ended) = (CancellationToken::new(), CancellationToken::new());
        let guards = [lost.clone().drop_guard(), ended.clone().drop_guard()];
        self.tasks.spawn(async move {
            owner.keep(requested).await;
            drop(guards);
        });
        Ok(Some(Held {
            lease: Arc::clone(self),
            generation,
            value: state.value,
            writes,
            lost,
            ended,
        }))
    }

    /// When a contender looks again, give or take a fifth, so that not all of them look at once.
    fn next_look(&self, seen: Option<Seen>) -> Instant {
        let now = Instant::now();
        let pause = self.time.mul_f64(0.16 + fastrand::f64() * 0.08);
        let next = now.checked_add(pause).unwrap_or(now);
        let end = seen.and_then(|seen| seen.since.checked_add(self.time));
        match end {
            Some(end) if end > now => end.min(next),
            _ => next,
        }
    }

    async fn read(&self) -> Result<Option<(Version, State)>, TopicError> {
        let keys = [self.key.clone()];
        let read = timeout(self.patience(), self.registers.get(&keys)).await;
        let found = read.unwrap_or(Err(TopicError::Unavailable(None)))?;
        let register = found.into_iter().next().flatten();
        Ok(register.map(|register| (register.version, State::decode(register.value))))
    }

    /// The new version; `None` if the register has not the expected one.
    async fn swap(
        &self,
        expected: Option<Version>,
        state: &State,
    ) -> Result<Option<Version>, TopicError> {
        let swap = Swap::write(self.key.clone(), expected, state.encode())?;
        let swapped = timeout(self.patience(), self.registers.swap(vec![swap])).await;
        let swapped = swapped.unwrap_or(Err(TopicError::Unavailable(None)))?;
        match swapped.first() {
            Some(Swapped::Written(version)) => Ok(Some(*version)),
            _ => Ok(None),
        }
    }

    /// How long one answer of the store is waited for.
    fn patience(&self) -> Duration {
        self.time / 3
    }

    /// How long an owner may take itself for the owner after it sent a swap that succeeded.
    fn owned_for(&self) -> Duration {
        self.time.mul_f64(0.9)
    }
}

impl Held {
    /// A number that is higher with each owner.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the last owner left with [`write`](Self::write); nothing if there was none.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Writes a value into the register, for the owners to come. When this succeeds, no other
    /// process has had the lease until the value was written. While the store is away it is tried
    /// again, until the lease is lost.
    ///
    /// # Errors
    ///
    /// [`TopicError::LeaseLost`]; then the value may have been written, before the lease was lost.
    /// [`TopicError::TooLarge`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not be written.
    pub async fn write(&self, value: impl Into<Bytes>) -> Result<(), TopicError> {
        let state = State {
            generation: u64::MAX,
            owner: Some([0, 0]),
            value: value.into(),
        };
        // In its longest form, so that a value which fits is never too large later.
        Swap::write(self.lease.key.clone(), None, state.encode())?;
        let (answer, answered) = oneshot::channel();
        let sent = self.writes.send((state.value, answer)).await;
        sent.map_err(|_| TopicError::LeaseLost)?;
        answered.await.unwrap_or(Err(TopicError::LeaseLost))
    }

    /// Resolves when the lease is lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Runs a future for as long as the lease is held: `None` if it was lost before the future has
    /// ended, which is then dropped.
    pub async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        self.lost.run_until_cancelled(future).await
    }

    /// Frees the lease, and waits until that has been written, or cannot be.
    pub async fn release(self) {
        let Self { writes, ended, .. } = self;
        drop(writes);
        ended.cancelled().await;
    }
}

impl Owner {
    /// Renews the lease and writes what it is asked to, until the lease is lost or released.
    async fn keep(mut self, mut writes: mpsc::Receiver<Write>) {
        loop {
            let due = self.sent.checked_add(self.lease.time / 3);
            let request = tokio::select! {
                request = writes.recv() => Some(request),
                () = sleep_until(due.unwrap_or(self.sent)) => None,
            };
            let answer = match request {
                Some(Some((value, answer))) => {
                    self.value = value;
                    Some(answer)
                }
                // Released.
                Some(None) => {
                    drop(self.put(None).await);
                    return;
                }
                None => None,
            };
            let outcome = self.put(Some(self.id)).await;
            let is_lost = outcome.is_err();
            if let Some(answer) = answer {
                drop(answer.send(outcome));
            }
            if is_lost {
                let key = &self.lease.key;
                tracing::debug!(?key, generation = self.generation, "lost a lease");
                return;
            }
        }
    }

    /// Writes the register for as long as the lease is this owner's.
    async fn put(&mut self, owner: Option<OwnerId>) -> Result<(), TopicError> {
        let state = State {
            generation: self.generation,
            owner,
            value: self.value.clone(),
        };
        loop {
            let left = self.lease.owned_for();
            let left = left.saturating_sub(self.sent.elapsed());
            if left.is_zero() {
                return Err(TopicError::LeaseLost);
            }
            let sent = Instant::now();
            match timeout(left, self.swap(&state)).await {
                Ok(Ok(())) => {
                    self.sent = sent;
                    return Ok(());
                }
                Ok(Err(TopicError::LeaseLost)) => return Err(TopicError::LeaseLost),
                Ok(Err(error)) => {
                    tracing::debug!(key = ?self.lease.key, %error, "a lease was not renewed");
                    sleep(left.min(self.lease.time / 20)).await;
                }
                Err(_) => {}
            }
        }
    }

    async fn swap(&mut self, state: &State) -> Result<(), TopicError> {
        let expected = match self.version.take() {
            Some(version) => version,
            None => match self.lease.read().await? {
                Some((version, found)) if found.is_of(self) => version,
                _ => return Err(TopicError::LeaseLost),
            },
        };
        let version = self.lease.swap(Some(expected), state).await?;
        self.version = Some(version.ok_or(TopicError::LeaseLost)?);
        Ok(())
    }
}

impl State {
    /// What a register says that is not there.
    fn unowned() -> Self {
        Self {
            generation: 0,
            owner: None,
            value: Bytes::new(),
        }
    }

    fn is_of(&self, owner: &Owner) -> bool {
        self.owner == Some(owner.id) && self.generation == owner.generation
    }

    fn encode(&self) -> Bytes {
        let owner = match self.owner {
            Some([high, low]) => format!("{high:016x}{low:016x}"),
            None => "-".into(),
        };
        let head = format!("{} {owner}\n", self.generation);
        [head.as_bytes(), &self.value].concat().into()
    }

    fn decode(register: Bytes) -> Self {
        Self::parse(&register).unwrap_or_else(|| Self {
            // Somebody's, as long as it changes.
            owner: Some([0, 0]),
            ..Self::unowned()
        })
    }

    fn parse(register: &Bytes) -> Option<Self> {
        let end = register.iter().position(|byte| *byte == b'\n')?;
        let (head, _) = register.split_at(end);
        let (generation, owner) = std::str::from_utf8(head).ok()?.split_once(' ')?;
        let owner = match owner {
            "-" => None,
            digits => {
                let (high, low) = digits.split_at_checked(16)?;
                let number = |digits| u64::from_str_radix(digits, 16).ok();
                Some([number(high)?, number(low)?])
            }
        };
        let generation = generation.parse().ok().filter(|it| *it < u64::MAX)?;
        Some(Self {
            generation,
            owner,
            value: register.slice(end.checked_add(1)?..),
        })
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.0.key)
            .field("time", &self.0.time)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("key", &self.lease.key)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
