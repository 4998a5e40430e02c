//! The library's error: what a client may know of a failure, and what only the log does.

use std::fmt;
use std::time::Duration;

use updraft_bus::{BusError, BusFault, EmitError, InvalidChannel};
use updraft_protocol::ejson;
use updraft_protocol::ejson::Value;
use updraft_protocol::message::{Code, WireError};

use crate::base::redact::Redacted;

/// What functions of this library return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure, of a handler or of the server.
///
/// Made with [`Error::new`] (or [`forbidden`](Self::forbidden), [`not_found`](Self::not_found) and so on) it is meant
/// for the client, as a `Meteor.Error`. Made from any other error by `?`, it is internal: the client hears
/// `Internal server error [500]`, the log has the rest. Only [`InvalidChannel`](crate::InvalidChannel) becomes 400, and
/// [`BusError`](crate::BusError), which is one of the start, of kind [`Configuration`](ErrorKind::Configuration).
///
/// As it converts from every `std::error::Error`, it cannot be one itself; it converts into a boxed one.
///
/// ```
/// use updraft::{Error, ErrorKind};
///
/// let told = Error::new("not-in-room", "You have left this room");
/// assert_eq!(told.to_string(), "You have left this room [not-in-room]");
///
/// let internal = Error::from("x".parse::<i32>().unwrap_err());
/// assert_eq!(internal.kind(), ErrorKind::Internal);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What the client hears.
    wire: WireError,
    source: Option<Source>,
}

/// What sort of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Meant for the client, with a code and a reason.
    Client,
    /// A parameter is not what the handler takes: 400 `Match failed`.
    Match,
    /// Anything that is not the client's business: 500 `Internal server error`.
    Internal,
    /// The bus cannot be reached: 503 `bus-unavailable`; or the store of users, of which the client
    /// hears nothing but that something is wrong inside.
    Unavailable,
    /// The client has left, so that nobody hears of this: `disconnected`.
    Disconnected,
    /// A message was certainly not published; it may be published again.
    NotSent,
    /// The connection broke while a message was being published; it may or may not have been.
    OutcomeUnknown,
    /// The server cannot be built or started as configured, or the bus cannot be connected to.
    Configuration,
    /// The address cannot be listened on.
    Address,
}

impl Error {
    /// An error for the client: a code, which programs compare, and a reason, which people read.
    pub fn new(code: impl Into<Code>, reason: impl Into<String>) -> Self {
        Self::with(ErrorKind::Client, WireError::new(code, reason))
    }

    /// An error for the client that is nothing but its code.
    pub fn bare(code: impl Into<Code>) -> Self {
        Self::with(ErrorKind::Client, WireError::bare(code))
    }

    /// 400 with a reason.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(400, reason)
    }

    /// 403 with a reason.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(403, reason)
    }

    /// 404 with a reason.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self::new(404, reason)
    }

    /// 400 `Match failed`: what Meteor's `check` answers.
    pub fn match_failed() -> Self {
        Self::with(ErrorKind::Match, WireError::new(400, "Match failed"))
    }

    /// An internal error: the client hears nothing of `text`.
    pub fn internal(text: impl Into<String>) -> Self {
        let source: Source = text.into().into();
        Self::with(ErrorKind::Internal, WireError::internal()).because(source)
    }

    /// An error of the start, for whoever starts the program: one line that names the thing, its value and the remedy.
    /// It is all that is printed when `main` returns it.
    ///
    /// ```
    /// use updraft::Error;
    ///
    /// let unset = Error::configuration("WEBHOOK_SECRET is not set; the provider has its value");
    /// assert_eq!(format!("{unset:?}"), unset.to_string());
    /// ```
    pub fn configuration(text: impl Into<String>) -> Self {
        let source: Source = text.into().into();
        Self::with(ErrorKind::Configuration, WireError::internal()).because(source)
    }

    /// The same error with details for the client, printed as plain JSON.
    #[must_use]
    pub fn details(mut self, details: impl Into<Value>) -> Self {
        self.0.wire.details = details.into();
        self
    }

    /// The same error with a cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The cause, if there is one.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// What is wrong with Redis, where this is an error of the bus and that is known.
    pub fn bus_fault(&self) -> Option<BusFault> {
        let source = self.source()?;
        let followed = source.downcast_ref().and_then(BusError::fault);
        followed.or_else(|| source.downcast_ref().and_then(EmitError::fault))
    }

    /// What a client is told.
    pub fn wire(&self) -> &WireError {
        &self.0.wire
    }

    /// Whether there is nothing to say of it but its cause.
    fn is_its_source(&self) -> bool {
        self.kind() == ErrorKind::Internal || self.is_of_start()
    }

    /// Whether it is for whoever starts the program, who wants one line.
    fn is_of_start(&self) -> bool {
        matches!(self.kind(), ErrorKind::Configuration | ErrorKind::Address)
    }

    /// What does not fit of what the client has sent, if that is the matter.
    pub(crate) fn mismatch(&self) -> Option<String> {
        let source = self.source();
        let is_channel = source.is_some_and(|source| source.is::<InvalidChannel>());
        let is_mismatch = self.kind() == ErrorKind::Match || is_channel;
        let text = || source.map_or_else(|| self.to_string(), ToString::to_string);
        is_mismatch.then(text)
    }

    /// The same error with these details, if there are none.
    pub(crate) fn or_details(self, details: String) -> Self {
        if self.0.wire.details.is_undefined() {
            self.details(details)
        } else {
            self
        }
    }

    pub(crate) fn into_wire(self) -> WireError {
        self.0.wire
    }

    pub(crate) fn with(kind: ErrorKind, wire: WireError) -> Self {
        Self(Box::new(Inner {
            kind,
            wire,
            source: None,
        }))
    }

    /// A channel could not be followed.
    pub(crate) fn not_followed(error: BusError) -> Self {
        let wire = WireError::new(503, "bus-unavailable");
        Self::with(ErrorKind::Unavailable, wire).because(error)
    }

    /// A rule allows no more for so long.
    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        // Rounded up, for a client that comes back then is to succeed.
        let milliseconds = wait.as_nanos().div_ceil(1_000_000);
        let seconds = milliseconds.div_ceil(1000);
        let reason = format!(
            "Error, too many requests. Please slow down. \
             You must wait {seconds} seconds before trying again."
        );
        let details = ejson!({ "timeToReset": milliseconds as f64 });
        Self::new("too-many-requests", reason).details(details)
    }

    /// A message was not published, or perhaps not.
    pub(crate) fn not_emitted(error: EmitError) -> Self {
        let (kind, wire) = match &error {
            EmitError::InvalidArgument(what) => (ErrorKind::Client, WireError::new(400, *what)),
            EmitError::NotSent(_) => (ErrorKind::NotSent, WireError::new(503, "bus-unavailable")),
            _ => (
                ErrorKind::OutcomeUnknown,
                WireError::new(503, "bus-unavailable"),
            ),
        };
        Self::with(kind, wire).because(error)
    }

    /// The client has left, or is being sent away; nobody is told of it any more.
    pub(crate) fn disconnected() -> Self {
        let wire = WireError::new("disconnected", "The client has left");
        Self::with(ErrorKind::Disconnected, wire)
    }

    /// The store of users has failed with this: the client hears nothing of it.
    pub(crate) fn of_users(mut self) -> Self {
        self.0.kind = ErrorKind::Unavailable;
        self.0.wire = WireError::internal();
        self
    }

    /// Whether the client hears of nothing but an internal error, so that the log has to say more.
    pub(crate) fn is_internal(&self) -> bool {
        self.kind() == ErrorKind::Internal || self.0.wire == WireError::internal()
    }

    /// Whether it says nothing about what the client has asked for: it may ask again.
    pub(crate) fn is_no_answer(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Unavailable | ErrorKind::Disconnected
        )
    }

    /// An address cannot be listened on.
    pub(crate) fn of_address(text: impl Into<String>) -> Self {
        let source: Source = text.into().into();
        Self::with(ErrorKind::Address, WireError::internal()).because(source)
    }
}

/// One line: what a client would be told, or for an internal error its cause.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Some(source) if self.is_its_source() => source.fmt(f),
            _ => self.0.wire.fmt(f),
        }
    }
}

/// For logs: each cause on a line of its own, escaped, cut, and without what follows names such as `password`, `token`,
/// `secret`, `jwt` or `Authorization`, for a cause may quote what a client sent. An error of the start is one line.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_start() {
            return write!(f, "{}", Redacted(&self.to_string()));
        }
        write!(f, "{} ({:?})", Redacted(&self.to_string()), self.kind())?;
        let mut source = self.source().map(|source| source as &dyn std::error::Error);
        if self.is_its_source() {
            source = source.and_then(std::error::Error::source);
        }
        while let Some(cause) = source {
            write!(f, "\n  because: {}", Redacted(&cause.to_string()))?;
            source = cause.source();
        }
        Ok(())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let source = Source::from(error);
        let error = if let Some(invalid) = source.downcast_ref::<InvalidChannel>() {
            Self::bad_request(invalid.reason())
        } else if source.is::<BusError>() {
            Self::with(ErrorKind::Configuration, WireError::internal())
        } else {
            Self::with(ErrorKind::Internal, WireError::internal())
        };
        error.because(source)
    }
}

impl From<Error> for Box<dyn std::error::Error + Send + Sync> {
    fn from(error: Error) -> Self {
        error.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_203_a_text_is_logged_once() {
        let internal = Error::internal("jwt=secret is of no use");
        let logged = format!("{internal:?}");
        assert_eq!(logged, "jwt=[hidden] is of no use (Internal)");
        let cause = std::io::Error::other(std::io::Error::other("deeper"));
        let logged = format!("{:?}", Error::from(cause));
        assert_eq!(logged, "deeper (Internal)");
        let told = Error::forbidden("not you").because("Cookie: a=secret; b=secret");
        let logged = format!("{told:?}");
        assert_eq!(
            logged,
            "not you [403] (Client)\n  because: Cookie: [hidden]"
        );
    }
}
