//! The errors of topics. Each has a code that does not change, and a text that says what is wrong
//! and what to do. No text repeats what a client sent. When a store is opened, the text is all that
//! an operator needs; later texts are constant, and `source()` has the details.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::loss::{Gap, Lost, Reset};
use crate::{InvalidPosition, InvalidTopicName, Position};

/// The underlying error, shared by all callers that waited for the same thing.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why something with a topic failed.
#[derive(Clone)]
#[non_exhaustive]
pub enum TopicError {
    /// `bad-name`: the text cannot be the name of a topic.
    BadName(InvalidTopicName),
    /// `bad-name`: the text cannot be the key of a register.
    BadRegisterKey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `bad-position`: the token is malformed, or one of another topic.
    BadPosition(InvalidPosition),
    /// `unknown-topic`: there is no such topic, and it may not be created.
    UnknownTopic,
    /// `topic-closed`: the topic takes no more records.
    Closed,
    /// `too-large`: a part of a record is larger than it may be. Nothing was stored.
    TooLarge {
        /// Which part.
        item: Item,
        /// Which record of the batch, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
        /// The bytes that it may have.
        limit: usize,
    },
    /// `conflict`: the last offset is not the expected one. Nothing was stored.
    Conflict {
        /// The last offset.
        last: u64,
    },
    /// `damaged-record`: the record is stored, and is not what was written. The records around it
    /// can be read.
    Damaged {
        /// Its offset.
        offset: u64,
    },
    /// `not-opened`: the store cannot be opened.
    NotOpened {
        /// Which: the path of a file, or the address of a server.
        store: Box<str>,
        /// Why.
        cause: Cause,
        /// What to do about it.
        advice: &'static str,
    },
    /// `damaged-store`: the store is not what was written.
    DamagedStore {
        /// Which: the path of a file, or the address of a server.
        store: Box<str>,
        /// How that was found.
        cause: Cause,
    },
    /// `store-in-use`: another process has opened the store.
    StoreInUse {
        /// The path of its file.
        store: Box<str>,
        /// The id of that process, if it is known.
        process: Option<u32>,
        /// The machine on which that process runs, if it is known.
        host: Option<Box<str>>,
    },
    /// `store-full`: the store has no room left. Nothing was stored.
    StoreFull(Cause),
    /// `backend-unavailable`: the store did not answer, or not in time. A record may or may not
    /// have been stored.
    Unavailable(Option<Cause>),
    /// `backend-unavailable`: the store could not make sure of what it has written, and does nothing
    /// any more until it is opened by another process. A record may or may not have been stored.
    SyncFailed,
    /// `unsupported`: the store cannot do this, as its features say.
    Unsupported {
        /// What it cannot do.
        what: &'static str,
    },
    /// `gap`: records behind the place are gone. Nothing was read.
    Gap(Gap),
    /// `reset`: the place is not one of this topic any more. Nothing was read.
    Reset(Reset),
    /// `busy`: too many records wait for the store already. Nothing was stored.
    Busy,
    /// `topic-full`: the topic holds as much as it may. Nothing was stored.
    Full,
    /// `wrong-codec`: a value for a topic of bytes, or bytes for a topic of values.
    WrongCodec,
    /// `not-encoded`: the value cannot be written as EJSON. Nothing was stored.
    NotEncoded(Cause),
    /// `not-decoded`: the payload of a record is not what the program expects. The reader goes on.
    NotDecoded {
        /// The position of the record.
        position: Position,
        /// What is wrong with it.
        cause: Cause,
    },
    /// `config-conflict`: the topic is open in this process with other settings, or its emitters
    /// have said otherwise by [`persist`](crate::EmitterBuilder::persist).
    ConfigConflict,
    /// `stale`: the delivery is over: it was answered, its time was over, or another process has its
    /// slot. Nothing was changed.
    Stale,
    /// `out-of-order`: an earlier record of the same key is not answered. Nothing was changed.
    OutOfOrder,
    /// `group-conflict`: there is a group of this name with other options.
    GroupConflict {
        /// The first of them.
        option: &'static str,
    },
    /// `unknown-group`: there is no such group.
    UnknownGroup {
        /// The group with the most similar name.
        nearest: Option<Box<str>>,
    },
    /// `undeclared`: the registry does not declare this. Nothing was stored.
    Undeclared {
        /// What it is: a pool, a stream or a group.
        what: &'static str,
        /// The declared one with the most similar name.
        nearest: Option<Box<str>>,
    },
    /// `paused`: the group hands out nothing for now.
    Paused,
    /// `lease-lost`: another process has the lease, or may have it. What was to be written may have
    /// been written before.
    LeaseLost,
    /// `killed`: the queue of an emitter was emptied before the event was known to be stored.
    Killed,
    /// `shutting-down`: the store, or this process, is being closed. Nothing was stored.
    ShuttingDown,
}

/// A part of a record, or of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The payload.
    Payload,
    /// The key.
    Key,
    /// The compact id.
    Compact,
    /// The id for deduplication.
    Dedup,
    /// All names and texts of the metadata together.
    Meta,
    /// The content type.
    ContentType,
    /// The key of a register.
    RegisterKey,
    /// The value of a register.
    RegisterValue,
}

impl TopicError {
    /// The code of the error, for programs and clients. It does not change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadName(_) | Self::BadRegisterKey { .. } => "bad-name",
            Self::BadPosition(_) => "bad-position",
            Self::UnknownTopic => "unknown-topic",
            Self::Closed => "topic-closed",
            Self::TooLarge { .. } => "too-large",
            Self::Conflict { .. } => "conflict",
            Self::Damaged { .. } => "damaged-record",
            Self::NotOpened { .. } => "not-opened",
            Self::DamagedStore { .. } => "damaged-store",
            Self::StoreInUse { .. } => "store-in-use",
            Self::StoreFull(_) => "store-full",
            Self::Unavailable(_) | Self::SyncFailed => "backend-unavailable",
            Self::Unsupported { .. } => "unsupported",
            Self::Gap(_) => "gap",
            Self::Reset(_) => "reset",
            Self::Busy => "busy",
            Self::Full => "topic-full",
            Self::WrongCodec => "wrong-codec",
            Self::NotEncoded(_) => "not-encoded",
            Self::NotDecoded { .. } => "not-decoded",
            Self::ConfigConflict => "config-conflict",
            Self::Stale => "stale",
            Self::OutOfOrder => "out-of-order",
            Self::GroupConflict { .. } => "group-conflict",
            Self::UnknownGroup { .. } => "unknown-group",
            Self::Undeclared { .. } => "undeclared",
            Self::Paused => "paused",
            Self::LeaseLost => "lease-lost",
            Self::Killed => "killed",
            Self::ShuttingDown => "shutting-down",
        }
    }

    /// The store failed, or did not answer, because of this.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Some(Arc::new(cause)))
    }
}

/// A cause in words.
#[cfg(any(feature = "file", feature = "mongo", feature = "redis"))]
pub(crate) fn because(text: impl Into<Box<str>>) -> Cause {
    let cause: Box<dyn Error + Send + Sync> = text.into().into_string().into();
    cause.into()
}

impl From<InvalidTopicName> for TopicError {
    fn from(invalid: InvalidTopicName) -> Self {
        Self::BadName(invalid)
    }
}

/// For what is a name already.
impl From<Infallible> for TopicError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<InvalidPosition> for TopicError {
    fn from(invalid: InvalidPosition) -> Self {
        Self::BadPosition(invalid)
    }
}

impl From<Lost> for TopicError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Gap(gap) => Self::Gap(gap),
            Lost::Reset(reset) => Self::Reset(reset),
        }
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(invalid) => invalid.fmt(f),
            Self::BadPosition(invalid) => invalid.fmt(f),
            Self::BadRegisterKey { reason } => {
                write!(
                    f,
                    "the key of the register cannot be used: {reason}; use another one"
                )
            }
            Self::UnknownTopic => f.write_str(
                "there is no such topic; create it, or allow topics to be created when they are \
                 used",
            ),
            Self::Closed => {
                f.write_str("the topic is closed and takes no more records; use another one")
            }
            Self::TooLarge {
                item,
                index,
                bytes,
                limit,
            } => write!(
                f,
                "{item} of record {index} has {bytes} bytes and may have {limit}; make it smaller, \
                 nothing was stored"
            ),
            Self::Conflict { last } => write!(
                f,
                "the last offset is {last} and not the expected one; read up to it and try again"
            ),
            Self::Damaged { offset } => write!(
                f,
                "record {offset} is damaged in the store; read on behind it, and look at the disk"
            ),
            Self::NotOpened {
                store,
                cause,
                advice,
            } => write!(f, "the store {store} cannot be opened: {cause}; {advice}"),
            Self::DamagedStore { store, cause } => write!(
                f,
                "the store {store} is damaged: {cause}; restore it from a copy, or begin a new one"
            ),
            Self::StoreInUse {
                store,
                process,
                host,
            } => {
                write!(f, "the store {store} is in use by ")?;
                match process {
                    Some(id) => write!(f, "process {id}")?,
                    None => f.write_str("another process")?,
                }
                if let Some(host) = host {
                    write!(f, " on {host}")?;
                }
                f.write_str("; stop that process, or use another store")
            }
            Self::StoreFull(_) => f.write_str(
                "the store has no room left, nothing was stored; make room, no restart is needed",
            ),
            Self::Unavailable(_) => f.write_str(
                "the store failed, or did not answer in time; what was to be stored may be stored: \
                 try again with the same id for deduplication",
            ),
            Self::SyncFailed => f.write_str(
                "the store could not be synced, what was to be stored may be stored; look at the \
                 disk, and start this process again",
            ),
            Self::Unsupported { what } => {
                write!(
                    f,
                    "the store cannot {what}; use another store for this topic"
                )
            }
            Self::Gap(gap) => gap.fmt(f),
            Self::Reset(reset) => reset.fmt(f),
            Self::Busy => f.write_str(
                "too many records wait for the store, nothing was stored; publish more slowly",
            ),
            Self::Full => f.write_str(
                "the topic is full, nothing was stored; trim it, or let it drop its oldest records",
            ),
            Self::WrongCodec => f.write_str(
                "values are for topics of EJSON and bytes for topics with a content type; use the \
                 other one, or change the topic's codec",
            ),
            Self::NotEncoded(_) => f.write_str(
                "the value cannot be written as EJSON, nothing was stored; leave out what is \
                 undefined, and more than 64 levels",
            ),
            Self::NotDecoded { position, .. } => write!(
                f,
                "the record at {position} cannot be decoded; read on behind it, or as another type"
            ),
            Self::ConfigConflict => {
                f.write_str("the topic is in use with other settings; use the same ones")
            }
            Self::Stale => f.write_str(
                "the delivery is over, nothing was changed; the record is or will be delivered \
                 again, unless it was answered",
            ),
            Self::OutOfOrder => f.write_str(
                "an earlier record of the same key is not answered, nothing was changed; answer \
                 that one first",
            ),
            Self::GroupConflict { option } => write!(
                f,
                "there is a group of this name with another `{option}`; use the same one, or \
                 another name"
            ),
            Self::UnknownGroup { nearest: None } => {
                f.write_str("there is no such group; create it by opening it with its settings")
            }
            Self::UnknownGroup {
                nearest: Some(name),
            } => write!(
                f,
                "there is no such group; the nearest name is `{name}`, or create it by opening it \
                 with its settings"
            ),
            Self::Undeclared {
                what,
                nearest: None,
            } => write!(f, "no such {what} is declared; declare it in the registry"),
            Self::Undeclared {
                what,
                nearest: Some(name),
            } => write!(
                f,
                "no such {what} is declared; the nearest name is `{name}`, or declare it in the \
                 registry"
            ),
            Self::Paused => {
                f.write_str("the group is paused; resume it, or wait until somebody does")
            }
            Self::LeaseLost => f.write_str(
                "another process has the lease, or may have it; stop, and take it again",
            ),
            Self::Killed => f.write_str(
                "the queue was emptied before the event was known to be stored; trigger it again",
            ),
            Self::ShuttingDown => f.write_str("topics are being closed; try another process"),
        }
    }
}

/// The text, the code, and the causes that say more: a `main` that returns an error prints it so.
impl fmt::Debug for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.to_string();
        write!(f, "{said} [{}]", self.code())?;
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, "\n  because: {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl Error for TopicError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotOpened { cause, .. }
            | Self::DamagedStore { cause, .. }
            | Self::StoreFull(cause)
            | Self::Unavailable(Some(cause))
            | Self::NotEncoded(cause)
            | Self::NotDecoded { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payload => "the payload",
            Self::Key => "the key",
            Self::Compact => "the compact id",
            Self::Dedup => "the id for deduplication",
            Self::Meta => "the metadata",
            Self::ContentType => "the content type",
            Self::RegisterKey => "the key of a register",
            Self::RegisterValue => "the value of a register",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Bounds, Epoch, TopicName, loss::ResetReason};

    /// One of each kind.
    fn all() -> Vec<TopicError> {
        let cause = || Arc::from(Box::<dyn Error + Send + Sync>::from("the cause"));
        let topic = TopicName::new("a").unwrap();
        let bounds = Bounds::new(Epoch::draw());
        let store = || "/a/store".into();
        vec![
            TopicName::new("").unwrap_err().into(),
            TopicError::BadRegisterKey {
                reason: "it is empty",
            },
            "x".parse::<Position>().unwrap_err().into(),
            TopicError::UnknownTopic,
            TopicError::Closed,
            TopicError::TooLarge {
                item: Item::Payload,
                index: 3,
                bytes: 2,
                limit: 1,
            },
            TopicError::Conflict { last: 7 },
            TopicError::Damaged { offset: 7 },
            TopicError::NotOpened {
                store: store(),
                cause: cause(),
                advice: "make its folder",
            },
            TopicError::DamagedStore {
                store: store(),
                cause: cause(),
            },
            TopicError::StoreInUse {
                store: store(),
                process: Some(7),
                host: Some("host".into()),
            },
            TopicError::StoreFull(cause()),
            TopicError::Unavailable(Some(cause())),
            TopicError::SyncFailed,
            TopicError::Unsupported { what: "fly" },
            TopicError::Gap(Gap {
                requested: 1,
                first: 3,
                lost: 1,
            }),
            TopicError::Reset(Reset::new(ResetReason::Ahead, &topic, &bounds)),
            TopicError::Busy,
            TopicError::Full,
            TopicError::WrongCodec,
            TopicError::NotEncoded(cause()),
            TopicError::NotDecoded {
                position: Position::at(&topic, bounds.end()),
                cause: cause(),
            },
            TopicError::ConfigConflict,
            TopicError::Killed,
            TopicError::ShuttingDown,
        ]
    }

    #[test]
    fn each_error_says_what_to_do_and_has_a_code_that_the_readme_explains() {
        let readme = include_str!("../README.md");
        let rows = readme.lines().filter(|line| line.starts_with("| `"));
        let explained: BTreeSet<_> = rows
            .filter_map(|row| row.split('|').nth(1))
            .flat_map(|codes| codes.split('`').skip(1).step_by(2))
            .collect();
        for error in all() {
            let text = error.to_string();
            let (wrong, advice) = text.rsplit_once("; ").expect("what to do");
            assert!(wrong.len() > 10 && advice.len() > 10, "{text}");
            assert!(!text.contains('\n'), "{text}");
            assert!(explained.contains(error.code()), "{}", error.code());
            // A program whose `main` returns it prints this.
            let printed = format!("{error:?}");
            assert!(printed.starts_with(&format!("{text} [{}]", error.code())));
            let repeats = printed.matches("the cause").count();
            assert!(repeats <= 1, "{printed}");
        }
    }
}
