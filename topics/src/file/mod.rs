//! Topics and registers in a file. `mod.rs` is what callers await, `writer` the thread that writes,
//! `change` and `view` what is done with the tables.

mod change;
mod database;
mod disk;
mod lock;
mod queue;
mod tables;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use redb::ReadTransaction;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::spawn_blocking;
use updraft_bus::{Bus, ChannelSettings, Channels};

use self::change::{Failure, Tables};
use self::database::Database;
use self::disk::{DiskState, io_error, open_error};
use self::lock::StoreLock;
use self::queue::{Change, Sender, queue};
#[cfg(fuzzing)]
pub(crate) use self::tables::{decode, encode};
use self::writer::{Call, Writer};
use crate::clock::StoreClock;
use crate::{
    Answer, Append, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log, Offset, Place,
    Read, Register, RegisterKey, Registers, Removal, Store, Swap, Swapped, TopicError, TopicName,
};

/// Bytes of changes that may wait for the writer, and those that each counts for at least.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
const CHANGE_BYTES: usize = 4096;

/// Calls that read at the same time.
const READERS: usize = 4;

/// Topics and registers in a file, with the database [redb](::redb) and without a server. Its
/// clones are one store, which is closed with the last of them. Its functions need a tokio runtime.
///
/// ```
/// use updraft_topics::{Entry, FileStore, Settings, Topics};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("updraft-topics-{}", std::process::id()));
/// let store = FileStore::open(&path).await?;
/// let topics = Topics::open(store.clone());
/// let orders = topics.topic("orders", Settings::default()).await?;
/// let published = orders.publish(Entry::value(&7)).await?;
/// assert_eq!(published.offset, 1);
/// store.close().await;
/// # std::fs::remove_file(&path)?;
/// # std::fs::remove_file(path.with_extension("lock"))?;
/// # Ok(())
/// # }
/// ```
///
/// # What is guaranteed
///
/// | what happens | what is there afterwards |
/// | --- | --- |
/// | a call was answered | what it stored, and everything before it |
/// | a call was dropped, or its answer was lost | what it was to store, whole or not at all |
/// | the process is killed | everything that was answered; the next one opens the store |
/// | power is lost | the same, as far as `fsync` keeps what it promises (1) |
/// | the disk is full | `store-full`, nothing stored, until there is room (2) |
/// | a write or a read fails otherwise | `backend-unavailable`; the store goes on (3) |
/// | a sync fails | `backend-unavailable` until the process starts again (4) |
/// | a record is damaged | `damaged-record` with its offset; all others can be read |
/// | the database is damaged | `damaged-store` when the store is opened (5) |
/// | a second process opens the store | `store-in-use`, with the id and the machine of the first (6) |
/// | the clock is set back | times stay what they were until it has caught up |
///
/// 1. Each answer waits for a sync of the file. Where the file system or the disk answers a sync
///    before the data is safe, a power loss can lose the latest records. If it also changes the
///    order of writes, the database can be damaged.
/// 2. Each call tries again, and nothing needs to be done but to make room. Records can be read if
///    the database can be opened without growing; otherwise reading is `store-full` too.
/// 3. The file is opened again, for which all of it is read. If it is found there that the records
///    were stored, the call is answered as if nothing had failed.
/// 4. Nobody can know what has reached the disk: a later sync that succeeds does not tell. Nothing
///    is acknowledged that rests on it.
/// 5. All pages are compared with their checksums. If only pages of the last transaction are
///    damaged, the database goes back to the one before it. Who has seen the lost records is told,
///    by [`Read::Ahead`] or [`Read::Diverged`].
/// 6. `<path>.lock`, beside the file, is locked by the process that has the store open, and holds
///    its id and the name of its machine as text. The lock ends with the process, the file stays
///    and means nothing by itself. A network file system may not share locks: use a local one.
///
/// A batch is atomic. Offsets are never given twice, also after a trim, a removal or a restart. Ids
/// for deduplication and registers survive what records survive.
///
/// # What it costs
///
/// One thread writes. Changes that wait at the same time, up to 1 MiB or 1,024 of them, are one
/// transaction with one sync; see [`FileOptions::patience`]. At most 16 MiB wait, then callers wait
/// for room. Up to four threads of tokio's pool for blocking calls read.
///
/// All of the file is read when it is opened. It does not become smaller by a trim, a removal
/// or a deletion, but what they free is used again; much of it is freed in steps, between other
/// changes.
#[derive(Clone)]
pub struct FileStore(Arc<OpenFile>);

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    cache: usize,
    patience: Duration,
    clock: StoreClock,
}

struct OpenFile {
    path: PathBuf,
    /// To the writer, which ends when it is gone. `None` after `close`.
    queue: Mutex<Option<Sender>>,
    /// Bytes that may still be sent. A caller takes its share before it sends, and the writer gives
    /// it back with the answer.
    room: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    database: Arc<Database>,
    clock: StoreClock,
    /// What wakes readers: they are all in this process.
    channels: OnceLock<Arc<Channels>>,
    /// Its other end is dropped by the writer, after the file and its lock were given back.
    ended: watch::Receiver<()>,
}

impl FileStore {
    /// Opens a store, or makes it if there is no such file.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotOpened`], [`TopicError::StoreInUse`], [`TopicError::DamagedStore`], or
    /// [`TopicError::StoreFull`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, TopicError> {
        FileOptions::new().open(path).await
    }

    /// Ends the store, for all its clones: what was begun is finished, and what is called
    /// afterwards answers [`TopicError::ShuttingDown`]. When this resolves, the file can be opened
    /// again.
    ///
    /// A program should call it before it ends. Otherwise nothing is lost, but the next one has to
    /// put the database in order when it opens it.
    pub async fn close(&self) {
        self.0.room.close();
        self.0.readers.close();
        drop(self.0.take_queue());
        let mut ended = self.0.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Has the writer do something, and waits until it is durable.
    async fn change<T: Send + 'static>(
        &self,
        bytes: usize,
        change: impl Fn(&mut Tables<'_>, u64) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, TopicError> {
        let share = bytes.clamp(CHANGE_BYTES, QUEUE_BYTES);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.room).acquire_many_owned(share);
        let room = room.await.map_err(|_| TopicError::ShuttingDown)?;
        let (caller, answer) = oneshot::channel();
        self.0.send(Box::new(Call {
            change,
            bytes,
            outcome: None,
            caller: Some(caller),
            runtime: Handle::try_current().ok(),
            _room: room,
        }))?;
        // The writer answers whatever was sent, unless the process ends.
        answer.await.unwrap_or(Err(TopicError::Unavailable(None)))
    }

    /// Reads one state of the store, on another thread.
    async fn view<T: Send + 'static>(
        &self,
        view: impl Fn(&ReadTransaction) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, TopicError> {
        let view = Arc::new(view);
        match self.view_once(Arc::clone(&view)).await {
            Err(Failure::Storage(_)) => {}
            Err(Failure::Refused(error)) => return Err(error),
            Ok(seen) => return Ok(seen),
        }
        // The writer opens the file again if it has to.
        self.change(0, |_, _| Ok(())).await?;
        match self.view_once(view).await {
            Err(Failure::Storage(error)) => Err(self.0.database.failed(error)),
            Err(Failure::Refused(error)) => Err(error),
            Ok(seen) => Ok(seen),
        }
    }

    async fn view_once<T: Send + 'static>(
        &self,
        view: Arc<impl Fn(&ReadTransaction) -> Result<T, Failure> + Send + Sync + 'static>,
    ) -> Result<T, Failure> {
        let ending = |_| Failure::Refused(TopicError::ShuttingDown);
        let turn = Arc::clone(&self.0.readers).acquire_owned().await;
        let turn = turn.map_err(|_| Failure::Refused(TopicError::ShuttingDown))?;
        let database = Arc::clone(&self.0.database);
        let seen = spawn_blocking(move || {
            let seen = database.view(|transaction| view(transaction));
            drop(turn);
            seen
        });
        seen.await.map_err(ending)?
    }
}

impl FileOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the file that are kept in memory, 64 MiB by default.
    #[must_use]
    pub const fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// How long a transaction waits for more changes, 2 ms by default. It waits only if there were
    /// more in the transaction before it, so that a caller that is alone never does.
    #[must_use]
    pub const fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The clock of the store: milliseconds since 1970. For tests.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = StoreClock::new(now);
        self
    }

    /// Opens a store, or makes it if there is no such file.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotOpened`], [`TopicError::StoreInUse`], [`TopicError::DamagedStore`], or
    /// [`TopicError::StoreFull`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<FileStore, TopicError> {
        let path = path.as_ref().to_owned();
        let opened = spawn_blocking(move || {
            let opened = self.open_on(path.clone(), Arc::default());
            opened.map_err(|error| open_error(&path, error))
        });
        opened.await.unwrap_or(Err(TopicError::ShuttingDown))
    }

    fn open_on(self, path: PathBuf, disk: Arc<DiskState>) -> Result<FileStore, TopicError> {
        let lock = StoreLock::take(&path)?;
        let database = Arc::new(Database::open(path.clone(), self.cache, disk)?);
        let (queue, changes) = queue();
        let (ending, ended) = watch::channel(());
        let writer = Writer {
            queue: changes,
            database: Arc::clone(&database),
            clock: self.clock.clone(),
            patience: self.patience,
        };
        let thread = thread::Builder::new().name("updraft-topics".to_owned());
        let run = move || {
            writer.run();
            drop(lock);
            drop(ending);
        };
        thread.spawn(run).map_err(|error| io_error(&path, error))?;
        Ok(FileStore(Arc::new(OpenFile {
            path,
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            readers: Arc::new(Semaphore::new(READERS)),
            database,
            clock: self.clock,
            channels: OnceLock::new(),
            ended,
        })))
    }
}

impl OpenFile {
    fn send(&self, change: Box<dyn Change>) -> Result<(), TopicError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(TopicError::ShuttingDown)?;
        queue
            .send(change)
            .map_err(|queue::Ended| TopicError::Unavailable(None))
    }

    fn take_queue(&self) -> Option<Sender> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.take()
    }
}

impl From<FileStore> for Store {
    fn from(file: FileStore) -> Self {
        let open = || Channels::new(Bus::default(), ChannelSettings::default());
        let channels = file.0.channels.get_or_init(|| Arc::new(open()));
        let channels = Arc::clone(channels);
        Self::new(Arc::new(file.clone()), Arc::new(file), channels)
    }
}

impl Log for FileStore {
    fn features(&self) -> Features {
        Features {
            durable: true,
            shared: false,
            atomic_batch: true,
            dedup: true,
            expect: true,
            remove: true,
            announces: false,
        }
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        let topic = topic.clone();
        Box::pin(async move {
            let name = topic.clone();
            let bounds = self.view(move |view| view::bounds(view, &name)).await;
            match (bounds, create) {
                (Err(TopicError::UnknownTopic), Create::IfMissing) => {
                    self.change(0, move |tables, _| tables.create(&topic)).await
                }
                (bounds, _) => bounds,
            }
        })
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        let topic = topic.clone();
        let bytes = append.records.iter().fold(0_usize, |bytes, record| {
            bytes.saturating_add(record.content.size())
        });
        let change = move |tables: &mut Tables<'_>, now: u64| tables.append(&topic, &append, now);
        Box::pin(self.change(bytes, change))
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        let topic = topic.clone();
        Box::pin(self.view(move |view| view::read(view, &topic, after, limit)))
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        let topic = topic.clone();
        Box::pin(self.change(0, move |tables, _| tables.trim(&topic, epoch, up_to)))
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        let topic = topic.clone();
        Box::pin(self.change(0, move |tables, _| tables.remove(&topic, &removal)))
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        let topic = topic.clone();
        Box::pin(self.change(0, move |tables, _| tables.end(&topic, end)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        let prefix = prefix.to_owned();
        let after = after.cloned();
        Box::pin(self.view(move |view| view::list(view, &prefix, after.as_ref(), limit)))
    }
}

impl Registers for FileStore {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        let keys = keys.to_owned();
        let clock = self.0.clock.clone();
        Box::pin(self.view(move |view| view::registers(view, &keys, clock.now())))
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        let bytes = swaps.iter().fold(0_usize, |bytes, swap| {
            bytes.saturating_add(swap.value.as_ref().map_or(0, |value| value.len()))
        });
        Box::pin(self.change(bytes, move |tables, now| tables.swap(&swaps, now)))
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let now = self.0.clock.now();
        Box::pin(
            self.view(move |view| {
                view::scan(view, &namespace, &prefix, after.as_deref(), limit, now)
            }),
        )
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            cache: 64 * 1024 * 1024,
            patience: Duration::from_millis(2),
            clock: StoreClock::default(),
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
