//! The store in MongoDB. What would be a transaction elsewhere rests on one rule: a record is
//! inserted under the number behind the last one, and a number that is taken refuses it.

mod append;
mod clock;
mod document;
mod error;
mod list;
mod log;
mod outbox;
mod page;
mod registers;
mod remove;
mod turn;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use mongodb::{Client, Collection, Database};
use tokio::time::{Instant, sleep, timeout};
use updraft_bus::{Bus, ChannelSettings, Channels};

use self::clock::Clock;
use self::error::{Failure, failed};
pub use self::outbox::{Outbox, OutboxSettings, OutboxStats};
use self::turn::Turns;
use crate::{Epoch, Store, TopicError, TopicName};

/// Topics and registers in MongoDB 4.2 or newer. Its clones share their connections. Must be opened
/// in a Tokio runtime.
///
/// ```no_run
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use updraft_topics::{MongoSettings, MongoStore, Topics};
///
/// let url = "mongodb://127.0.0.1/meteor";
/// let store = MongoStore::open(url, MongoSettings::default()).await?;
/// let topics = Topics::open(store);
/// # Ok(()) }
/// ```
///
/// Readers in this process are woken at once. Those of other processes find what was appended here
/// when they look the next time, see [`Settings::poll`](crate::Settings::poll). With a bus over
/// Redis in all of them they are woken there too:
///
/// ```no_run
/// # #[cfg(feature = "redis")]
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use updraft_bus::{ChannelSettings, Channels, Redis};
/// use updraft_topics::{MongoSettings, MongoStore, Store, Topics};
///
/// let url = "mongodb://127.0.0.1/meteor";
/// let store = Arc::new(MongoStore::open(url, MongoSettings::default()).await?);
/// let redis = Redis::connect("redis://127.0.0.1:6379").await?;
/// let bus = Channels::open(redis, ChannelSettings::default())?;
/// let topics = Topics::open(Store::new(store.clone(), store, Arc::new(bus)));
/// # Ok(()) }
/// ```
///
/// # What it keeps, and what it may lose
///
/// Everything is read and written with the concern `majority`, journals included, on the primary.
///
/// | | |
/// | --- | --- |
/// | a call was answered | what it stored is on a majority of the servers, and stays through a failover |
/// | a batch | on a replica set or behind `mongos`, one transaction: all or none. A single server has no transactions: of a batch whose producer is killed, the beginning may be stored, and other producers' records can stand between its own |
/// | a producer stops between two steps | nothing. It has chosen no number before it inserts, so no reader waits for it, and none passes it by |
/// | another primary in the middle of a publication | stored or `backend-unavailable`, and then it may or may not be stored: publish again with the same id for deduplication |
/// | MongoDB away | `backend-unavailable` within [`MongoSettings::deadline`]; nothing waits in this process |
/// | no room on the disk | `store-full`, nothing is stored |
/// | a single server that is killed | everything that was answered is in its journal |
/// | the collection of a topic was dropped | the topic gets a new epoch when it is next used |
/// | the list of topics was dropped | topics are unknown: handles create them again, with new epochs |
/// | a backup was restored | positions behind it are [`Read::Ahead`](crate::Read), or [`Read::Diverged`](crate::Read) if more was appended since |
///
/// An id for deduplication counts within its time as long as the record is held: of a record that
/// was trimmed or removed it is forgotten.
///
/// Times are those of MongoDB's clock, which is asked when the store is opened and again when the
/// answer is older than a minute. They do not decrease when it is set back.
///
/// # Collections
///
/// `PREFIX` is [`MongoSettings::prefix`]. No index but those on `_id` and on `d` is needed, and no
/// change stream.
///
/// | collection | what |
/// | --- | --- |
/// | `PREFIX_topics` | a document for each topic: its name as `_id`, `epoch`, `first`, `horizon`, and `stage`, since creating and deleting a topic are several steps. An append does not write it |
/// | `PREFIX_t_HASH_EPOCH` | the records of a topic: the offset as `_id`, the mark `m`, the time `t`, the content with its checksum `c`, the id for deduplication `d`, on which there is a sparse unique index. The document of 0 stands in front of all records. The highest one is never removed, only its content, so that no number is given twice. A closed topic has one more document behind its last record, `k: "end"` |
/// | `PREFIX_outbox`, `PREFIX_outbox_rejected` | see [`Outbox`] |
/// | `PREFIX_registers` | a document for each write of a register, of which the latest stays. That of a register that was removed, or whose time is over, stays for a day |
///
/// # What it costs
///
/// A call of append is two round trips, the second of which waits for the majority; a read is two.
/// Calls of one process to one topic wait for each other; those of several processes that insert at
/// the same time try again. To publish many records fast, publish them in batches.
///
/// # FerretDB
///
/// The tests of this crate run on FerretDB 1.24 where there is no MongoDB. It is one server, has no
/// transactions, and reads a collection from its beginning to its end for each call. So what they
/// show there is what rests on unique indexes; not transactions, majorities and failovers, nor more
/// than 5,000 records. Its updates are not atomic: a trim and a removal at the same time may undo
/// each other's bounds there.
#[derive(Clone)]
pub struct MongoStore(Arc<State>);

/// How a store uses MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MongoSettings {
    /// What the names of all collections begin with: `updraft` by default. Stores with different
    /// prefixes share nothing.
    pub prefix: String,
    /// How long a call may take, 5 s by default. A trim, or a removal of many records, is several
    /// of them.
    pub deadline: Duration,
}

struct State {
    client: Client,
    database: Database,
    topics: Collection<Document>,
    registers: Collection<Document>,
    prefix: String,
    deadline: Duration,
    has_transactions: bool,
    clock: Clock,
    turns: Turns,
    /// When registers whose time is over are next removed.
    tidying: registers::Tidying,
    /// What wakes readers, in this process only.
    channels: OnceLock<Arc<Channels>>,
}

impl MongoStore {
    /// Connects to the MongoDB of this URL, which names the database, and looks what it can do.
    ///
    /// `mongodb+srv:` needs the feature `dns-resolver` of the crate `mongodb`.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unavailable`] if there is no answer, or the URL cannot be used. The URL is not
    /// repeated.
    pub async fn open(url: &str, settings: MongoSettings) -> Result<Self, TopicError> {
        Self::connect(url, settings, None).await
    }

    /// The same with this clock instead of MongoDB's: milliseconds since 1970. For tests.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with_clock(
        url: &str,
        settings: MongoSettings,
        now: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, TopicError> {
        Self::connect(url, settings, Some(Clock::Given(Arc::new(now)))).await
    }

    async fn connect(
        url: &str,
        settings: MongoSettings,
        clock: Option<Clock>,
    ) -> Result<Self, TopicError> {
        let MongoSettings { prefix, deadline } = settings;
        // The crate's error may quote a password.
        let bad_url = |_| TopicError::unavailable(Failure::BadUrl);
        let mut options = ClientOptions::parse(url).await.map_err(bad_url)?;
        options.app_name.get_or_insert_with(|| "updraft".into());
        options.server_selection_timeout.get_or_insert(deadline);
        options.connect_timeout.get_or_insert(deadline);
        let client = Client::with_options(options).map_err(bad_url)?;
        let Some(named) = client.default_database() else {
            return Err(TopicError::unavailable(Failure::NoDatabase));
        };
        let concerns = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(durable())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let database = client.database_with_options(named.name(), concerns);
        let asked = timeout(deadline, hello(&database)).await;
        let hello = asked.unwrap_or_else(|_| Err(TopicError::unavailable(Failure::NoServer)))?;
        let is_router = hello.get_str("msg").is_ok_and(|it| it == "isdbgrid");
        Ok(Self(Arc::new(State {
            topics: database.collection(&format!("{prefix}_topics")),
            registers: database.collection(&format!("{prefix}_registers")),
            client,
            database,
            prefix,
            deadline,
            has_transactions: is_router || hello.contains_key("setName"),
            clock: clock.unwrap_or_else(|| Clock::server(time(&hello))),
            turns: Turns::default(),
            tidying: registers::Tidying::default(),
            channels: OnceLock::new(),
        })))
    }

    /// The records of a topic.
    fn records(&self, topic: &TopicName, epoch: Epoch) -> Collection<Document> {
        let hash = crc32c::crc32c(topic.as_str().as_bytes());
        let name = format!("{}_t_{hash:08x}_{:016x}", self.0.prefix, epoch.to_u64());
        self.0.database.collection(&name)
    }

    /// What time it is in MongoDB.
    async fn now(&self) -> Result<u64, TopicError> {
        if self.0.clock.is_stale() {
            self.0.clock.set(time(&hello(&self.0.database).await?));
        }
        Ok(self.0.clock.now())
    }

    /// An answer within the deadline.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, TopicError>>,
    ) -> Result<T, TopicError> {
        let answered = timeout(self.0.deadline, answer).await;
        answered.unwrap_or(Err(TopicError::Unavailable(None)))
    }
}

impl From<MongoStore> for Store {
    fn from(mongo: MongoStore) -> Self {
        let open = || Channels::new(Bus::default(), ChannelSettings::default());
        let channels = mongo.0.channels.get_or_init(|| Arc::new(open()));
        let channels = Arc::clone(channels);
        Self::new(Arc::new(mongo.clone()), Arc::new(mongo), channels)
    }
}

impl Default for MongoSettings {
    fn default() -> Self {
        Self {
            prefix: "updraft".into(),
            deadline: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for MongoStore {
    // Without the client, which knows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore")
            .field("database", &self.0.database.name())
            .field("prefix", &self.0.prefix)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}

/// On a majority of the servers, and in their journals: a single server, which is a majority, would
/// answer before.
fn durable() -> WriteConcern {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority);
    majority.journal(true).build()
}

/// What the server says of itself.
async fn hello(database: &Database) -> Result<Document, TopicError> {
    database
        .run_command(doc! { "hello": 1 })
        .await
        .map_err(failed)
}

/// Its clock.
fn time(hello: &Document) -> u64 {
    let time = hello.get_datetime("localTime").ok();
    let time = time.map(|time| time.timestamp_millis());
    time.and_then(|time| time.try_into().ok())
        .unwrap_or_else(crate::clock::now)
}

/// Waits before something is tried again: a random part of the time that the attempt has taken, and
/// more after each further one, so that those who are in each other's way do not meet again.
#[derive(Debug)]
struct Pause {
    began: Instant,
    times: u32,
}

impl Pause {
    /// The pause grows so often. Who has to wait longer falls behind those who succeed.
    const GROWS: u32 = 3;
    const LONGEST: Duration = Duration::from_secs(1);

    /// The first attempt begins.
    fn new() -> Self {
        Self {
            began: Instant::now(),
            times: 0,
        }
    }

    /// The next attempt begins when this resolves.
    async fn wait(&mut self) {
        let most = self.began.elapsed().saturating_mul(1 << self.times);
        self.times = self.times.saturating_add(1).min(Self::GROWS);
        sleep(most.min(Self::LONGEST).mul_f64(fastrand::f64())).await;
        self.began = Instant::now();
    }
}
