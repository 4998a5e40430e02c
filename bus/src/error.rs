//! What can go wrong with the bus, for those who listen and for those who emit.
//! Neither type repeats what a peer sent: texts are constant, details are in `source()`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::fault::{ClassifiedError, Side};
use crate::{BusFault, InvalidChannel};

/// Why the bus cannot be used, or cannot carry one channel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BusError {
    /// The address is not one this build can connect to.
    InvalidUrl(SharedError),
    /// The prefix of channels has control characters, or could make one's name a
    /// [reserved](crate::Channel) one.
    InvalidPrefix,
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

/// Which connection an error is of, where it was tried out.
fn side(cause: &SharedError) -> Option<Side> {
    classified(cause)?.side()
}

impl From<InvalidChannel> for EmitError {
    fn from(invalid: InvalidChannel) -> Self {
        Self::InvalidArgument(invalid.reason())
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUrl(_) => "the Redis URL cannot be used",
            Self::InvalidPrefix => "the prefix of channels cannot be used",
            Self::Unavailable(cause) => match cause.as_ref().and_then(side) {
                None => "the bus is unavailable",
                Some(Side::Publishing) => "no connection to Redis could be made to publish",
                Some(Side::Listening) => "no connection to Redis could be made to listen",
            },
            Self::Refused(cause) => match side(cause) {
                None => "Redis refused",
                Some(Side::Publishing) => "Redis refused the connection that publishes",
                Some(Side::Listening) => "Redis refused the connection that listens",
            },
            Self::Closed => "the bus is closed",
        })
    }
}

impl Error for BusError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidUrl(cause) | Self::Refused(cause) | Self::Unavailable(Some(cause)) => {
                Some(&**cause)
            }
            Self::InvalidPrefix | Self::Unavailable(None) | Self::Closed => None,
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
