#![doc = include_str!("../README.md")]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "file")]
mod file;
mod log;
mod memory;
mod name;
mod position;
mod random;
mod record;
mod register;
mod stored;

pub use self::error::{Cause, Item, TopicError};
#[cfg(feature = "file")]
pub use self::file::{FileOptions, FileStore};
pub use self::log::{Answer, Append, Create, End, Features, Log, Read, Removal};
pub use self::memory::Memory;
pub use self::name::{MAX_TOPIC_NAME, TopicName};
pub use self::position::{Epoch, Mark, Offset, Place, Position};
pub use self::record::{Appended, AppendedBatch, Bounds, Content, Limit, NewRecord, Page, Record};
pub use self::register::{
    MAX_REGISTER_KEY, MAX_REGISTER_VALUE, Register, RegisterKey, Registers, Swap, Swapped, Version,
};
pub use self::stored::Damaged;
