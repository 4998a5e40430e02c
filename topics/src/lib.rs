#![doc = include_str!("../README.md")]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod log;
mod memory;
mod name;
mod position;
mod random;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod register;
mod stored;

pub use self::error::{Cause, Item, TopicError};
pub use self::log::{Answer, Append, Create, End, Features, Log, Read, Removal};
pub use self::memory::Memory;
pub use self::name::{MAX_TOPIC_NAME, TopicName};
pub use self::position::{Epoch, Mark, Offset, Place, Position};
pub use self::record::{Appended, AppendedBatch, Bounds, Content, Limit, NewRecord, Page, Record};
#[cfg(feature = "redis")]
pub use self::redis::{RedisSettings, RedisStore};
pub use self::register::{
    MAX_REGISTER_KEY, MAX_REGISTER_VALUE, Register, RegisterKey, Registers, Swap, Swapped, Version,
};
pub use self::stored::Damaged;
