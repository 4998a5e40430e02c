#![doc = include_str!("../README.md")]

mod broker;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod emitter;
mod entry;
mod error;
#[cfg(feature = "file")]
mod file;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
mod heads;
mod index;
mod lease;
mod log;
mod loss;
mod memory;
mod message;
#[cfg(feature = "mongo")]
mod mongo;
mod name;
mod nearest;
mod position;
mod publish;
mod random;
mod reader;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod register;
pub mod registry;
mod resume;
mod seek;
mod settings;
mod snapshot;
mod store;
mod stored;
mod sweep;
mod sweep_lease;
mod sweeper;
mod topic;
mod topics;
mod wake;

pub use self::broker::{
    Consumed, EventBroker, EventConsumer, EventFlusher, StreamGroupStats, StreamStats,
};
pub use self::emitter::{
    Emitter, EmitterBuilder, EmitterStats, Event, Filter, ListenerId, State, States, Triggered,
};
pub use self::entry::Entry;
pub use self::error::{Cause, Item, TopicError};
#[cfg(feature = "file")]
pub use self::file::{FileOptions, FileStore};
pub use self::group::{
    DeadLetter, DeadLetters, Delivery, Group, GroupSettings, GroupStats, HandlerError, Member,
    MemberStats, OnPoison, Order, Token, TopicStats,
};
pub use self::heads::Heads;
pub use self::lease::{Held, Lease};
pub use self::log::{Answer, Append, Create, End, Features, Log, Read, Removal};
pub use self::loss::{Gap, Lost, Reset, ResetReason};
pub use self::memory::Memory;
pub use self::message::{Message, Received};
#[cfg(feature = "mongo")]
pub use self::mongo::{MongoSettings, MongoStore, Outbox, OutboxSettings, OutboxStats};
pub use self::name::{InvalidTopicName, MAX_TOPIC_NAME, TopicName};
pub use self::position::{Epoch, InvalidPosition, Mark, Offset, Place, Position};
pub use self::publish::Published;
pub use self::reader::{OnLoss, Reader};
pub use self::record::{Appended, AppendedBatch, Bounds, Content, Limit, NewRecord, Page, Record};
#[cfg(feature = "redis")]
pub use self::redis::{Ingest, IngestSettings, IngestStats, RedisSettings, RedisStore};
pub use self::register::{
    MAX_REGISTER_KEY, MAX_REGISTER_VALUE, Register, RegisterKey, Registers, Swap, Swapped, Version,
};
pub use self::seek::Start;
pub use self::settings::{
    Codec, Compaction, Interest, RecordLimits, Retention, Settings, WhenFull, WithoutGroups,
};
pub use self::store::Store;
pub use self::stored::Damaged;
pub use self::sweep::Swept;
pub use self::topic::{Batch, Producer, Topic};
pub use self::topics::Topics;

/// Pages of the guide, for their examples to be compiled.
#[cfg(all(doctest, feature = "mongo", feature = "redis"))]
mod pages {
    #[doc = include_str!("../../docs/emitter.md")]
    struct Emitter;
    #[doc = include_str!("../../docs/emitter-rethinkdb.md")]
    struct EmitterRethinkdb;
    #[doc = include_str!("../../docs/ingest.md")]
    struct Ingest;
    #[doc = include_str!("../../docs/streamable-topic.md")]
    struct StreamableTopic;
    #[doc = include_str!("../../docs/topics.md")]
    struct Topics;
    #[cfg(feature = "registry-files")]
    #[doc = include_str!("../../docs/registry.md")]
    struct Registry;
    #[cfg(feature = "registry-files")]
    #[doc = include_str!("../../docs/from-beeorm.md")]
    struct FromBeeOrm;
}
