//! What can go wrong with the bus, for those who listen and for those who emit.
//! Neither type repeats what a client sent. What fails at the start is one line that says where,
//! what is wrong, and what to do; later texts are constant, and details are in `source()`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::fault::{ClassifiedError, Side, Trial};
use crate::{BusFault, InvalidChannel};

/// Why the bus cannot be used, or cannot carry one channel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BusError {
    /// The address is not one this build can connect to.
    InvalidUrl(SharedError),
    /// The prefix of channels has control characters, or could make one's name a
    /// [reserved](crate::Channel) one.
    InvalidPrefix(Box<str>),
    /// Redis could not be reached, or did not confirm the channel in time.
    Unavailable(Option<SharedError>),
    /// Redis answered and refused, for example for want of a password or of a right to the channel.
    Refused(SharedError),
    /// This process is shutting its bus down.
    Closed,
}

/// Why a message was not, or perhaps not, published.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// The channel or the value cannot be sent by anybody: the caller's mistake, and nothing was
    /// published.
    InvalidArgument(&'static str),
    /// The message was certainly not published: sending it again cannot repeat it.
    NotSent(SharedError),
    /// The connection failed, or no answer came, after the message had been handed to it: it may
    /// have been published.
    OutcomeUnknown(SharedError),
}

/// The error underneath, shared by all who waited for the same thing.
pub type SharedError = Arc<dyn Error + Send + Sync>;

impl BusError {
    /// What is wrong with Redis, where that is the reason and is known.
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

    /// What is wrong with Redis, where that is the reason and is known.
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

/// What is known of the error underneath.
fn classified(cause: &SharedError) -> Option<&ClassifiedError> {
    cause.downcast_ref()
}

/// The attempt that an error is of, where a connection was tried out.
fn trial(cause: &SharedError) -> Option<&Trial> {
    classified(cause)?.trial()
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
            Self::Unavailable(cause) => match cause.as_ref().and_then(trial) {
                None => f.write_str("the bus is unavailable"),
                Some(trial) => trial.fmt(f),
            },
            Self::Refused(cause) => match trial(cause) {
                None => f.write_str("Redis refused"),
                Some(trial) => trial.fmt(f),
            },
            Self::Closed => f.write_str("the bus is closed"),
        }
    }
}

impl fmt::Display for Trial {
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
    /// What the text has not said already.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(cause) | Self::Unavailable(Some(cause)) => {
                trial(cause).is_none().then_some(&**cause)
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
