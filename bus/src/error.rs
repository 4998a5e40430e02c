//! The errors of the bus, for listeners and for emitters. Neither type repeats a client's text. An
//! error at the start is one line that says where, what is wrong, and what to do; later texts are
//! constant, and `source()` has the details.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::fault::{ClassifiedError, FailedConnection, Side};
use crate::{BusFault, InvalidChannel};

/// Why the bus cannot be used, or cannot carry one channel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BusError {
    /// This build cannot connect to the address.
    InvalidUrl(SharedError),
    /// The prefix of channels has control characters, or could make a channel's name
    /// [reserved](crate::Channel).
    InvalidPrefix(Box<str>),
    /// Redis could not be reached, or did not confirm the channel in time.
    Unavailable(Option<SharedError>),
    /// Redis answered and refused, for example because a password or a right to the channel is
    /// missing.
    Refused(SharedError),
    /// This process is shutting down its bus.
    Closed,
}

/// Why a message was not published, or may not have been.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// Nobody could send this channel or value: the caller's mistake, and nothing was published.
    InvalidArgument(&'static str),
    /// The message was certainly not published: sending it again cannot publish it twice.
    NotSent(SharedError),
    /// After the message had been passed to the connection, the connection failed or no answer
    /// came: the message may have been published.
    OutcomeUnknown(SharedError),
}

/// The underlying error, shared by all callers that waited for the same thing.
pub type SharedError = Arc<dyn Error + Send + Sync>;

impl BusError {
    /// What is wrong with Redis, if that is the reason and is known.
    pub fn fault(&self) -> Option<BusFault> {
        match self {
            Self::Refused(cause) | Self::Unavailable(Some(cause)) => {
                classified(cause).map(ClassifiedError::fault)
            }
            _ => None,
        }
    }
}

impl EmitError {
    /// Whether the message was certainly not published.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown(_))
    }

    /// What is wrong with Redis, if that is the reason and is known.
    pub fn fault(&self) -> Option<BusFault> {
        self.cause()
            .and_then(classified)
            .map(ClassifiedError::fault)
    }

    pub(crate) fn cause(&self) -> Option<&SharedError> {
        match self {
            Self::InvalidArgument(_) => None,
            Self::NotSent(cause) | Self::OutcomeUnknown(cause) => Some(cause),
        }
    }
}

/// The underlying error, if it is classified.
fn classified(cause: &SharedError) -> Option<&ClassifiedError> {
    cause.downcast_ref()
}

/// The failed attempt to connect, if the error comes from one.
fn failed_connection(cause: &SharedError) -> Option<&FailedConnection> {
    classified(cause)?.failed_connection()
}

impl From<InvalidChannel> for EmitError {
    fn from(invalid: InvalidChannel) -> Self {
        Self::InvalidArgument(invalid.reason())
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl(cause) => cause.fmt(f),
            Self::InvalidPrefix(prefix) => write!(
                f,
                "the prefix of channels {prefix:?} cannot be used: it has control characters, or \
                 could make a channel's name a reserved one"
            ),
            Self::Unavailable(cause) => match cause.as_ref().and_then(failed_connection) {
                None => f.write_str("the bus is unavailable"),
                Some(failed_connection) => failed_connection.fmt(f),
            },
            Self::Refused(cause) => match failed_connection(cause) {
                None => f.write_str("Redis refused"),
                Some(failed_connection) => failed_connection.fmt(f),
            },
            Self::Closed => f.write_str("the bus is closed"),
        }
    }
}

impl fmt::Display for FailedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            side,
            address,
            reason,
        } = self;
        let side = match side {
            Side::Publishing => "",
            Side::Listening => " (the connection that listens)",
        };
        write!(f, "Redis at {address}{side}: {reason}")
    }
}

impl Error for BusError {
    /// The details that the error's own text does not have.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(cause) | Self::Unavailable(Some(cause)) => {
                failed_connection(cause).is_none().then_some(&**cause)
            }
            Self::InvalidUrl(_)
            | Self::InvalidPrefix(_)
            | Self::Unavailable(None)
            | Self::Closed => None,
        }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument(what) => f.write_str(what),
            Self::NotSent(_) => f.write_str("the message was not published"),
            Self::OutcomeUnknown(_) => {
                f.write_str("the message may or may not have been published")
            }
        }
    }
}

impl Error for EmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidArgument(_) => None,
            Self::NotSent(cause) | Self::OutcomeUnknown(cause) => Some(&**cause),
        }
    }
}
