//! The library's error: what a client is told of a failure, and what only the log shows.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use updraft_bus::{BusError, BusFault, EmitError, InvalidChannel};
use updraft_protocol::ejson;
use updraft_protocol::ejson::Value;
use updraft_protocol::message::{ErrorCode, WireError};
use updraft_topics::TopicError;

use crate::base::panics;
use crate::base::redact::Redacted;

/// The result of this library's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// A failure of a handler or of the server.
///
/// An error made with [`Error::new`] (or [`forbidden`](Self::forbidden),
/// [`not_found`](Self::not_found) and so on) is meant for the client, like a `Meteor.Error`. An
/// error that `?` converts from another type is internal: the client gets `Internal server error
/// [500]`, and the log has the cause. There are three exceptions:
/// [`InvalidChannel`](crate::InvalidChannel) becomes 400, a [`TopicError`](crate::topics::TopicError)
/// of which the client can know has its own code, and [`BusError`](crate::BusError), which occurs at
/// start-up, becomes an error of kind [`Configuration`](ErrorKind::Configuration).
///
/// `?` converts every `std::error::Error`, `anyhow::Error`, `Box<dyn Error + Send + Sync>`, and
/// texts:
///
/// ```
/// use updraft::{Call, Error, ErrorKind, Result};
///
/// async fn import(_: Call, path: String) -> Result<u32> {
///     let text = std::fs::read_to_string(path)?; // for the log, not for the client
///     if text.is_empty() {
///         Err("there is nothing in it")?; // likewise
///     }
///     // for the client
///     text.trim().parse().map_err(|_| Error::new("no-number", "This is not a number"))
/// }
///
/// let told = Error::new("not-in-room", "You have left this room");
/// assert_eq!(told.to_string(), "You have left this room [not-in-room]");
/// assert_eq!(Error::from("no such file").kind(), ErrorKind::Internal);
/// ```
///
/// # In functions that return other errors
///
/// A type that converts from every `std::error::Error` cannot be one itself, or it would have two
/// conversions from itself. So `?` converts it to a `Box<dyn Error>`, and with the feature `anyhow`
/// to an `anyhow::Error` (to add a context, use `.map_err(anyhow::Error::from).context(…)`). For
/// other types there is [`into_boxed`](Self::into_boxed). When either is converted back to an
/// [`Error`], the client is told the original error; this also holds for an `anyhow::Error` with
/// further context.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What the client is told.
    wire: WireError,
    /// The cause or, if [`is_its_source`](Error::is_its_source), what the error itself says.
    source: Option<Source>,
    /// The cause of an error whose source is what it says, or one that is only for the log.
    because: Option<Source>,
}

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Meant for the client, with a code and a reason.
    Client,
    /// A parameter does not fit the handler: 400 `Match failed`.
    Match,
    /// Any failure that the client is not told: 500 `Internal server error`.
    Internal,
    /// The bus cannot be reached: 503 `bus-unavailable`. Or the store of users cannot be reached,
    /// and then the client is told `Internal server error`.
    Unavailable,
    /// The client has left, so it is not told: `disconnected`.
    Disconnected,
    /// A message was certainly not published; it may be published again.
    NotSent,
    /// The connection broke while a message was being published; it may or may not have been
    /// published.
    OutcomeUnknown,
    /// The server cannot be built or started with this configuration, or the bus cannot be
    /// connected.
    Configuration,
    /// The server cannot listen on the address.
    Address,
}

impl Error {
    /// An error for the client: a code for programs, and a reason for people.
    pub fn new(code: impl Into<ErrorCode>, reason: impl Into<String>) -> Self {
        Self::with(ErrorKind::Client, WireError::new(code, reason))
    }

    /// An error for the client with only a code.
    pub fn bare(code: impl Into<ErrorCode>) -> Self {
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

    /// 400 `Match failed`: the error of Meteor's `check`.
    pub fn match_failed() -> Self {
        Self::with(ErrorKind::Match, WireError::new(400, "Match failed"))
    }

    /// An internal error: the client is not told `text`.
    pub fn internal(text: impl Into<String>) -> Self {
        let source: Source = text.into().into();
        Self::with(ErrorKind::Internal, WireError::internal()).because(source)
    }

    /// An error at start-up, for the operator: one line that names the cause, its value and the
    /// remedy. Nothing else is printed when `main` returns it.
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

    /// The same error with a cause, for the log: what the client is told stays the same, and so
    /// does the text of an internal error.
    ///
    /// ```
    /// use updraft::Error;
    ///
    /// let refused = Error::forbidden("Not allowed").because("the room is archived");
    /// assert_eq!(refused.to_string(), "Not allowed [403]");
    /// let failed = Error::internal("the rooms cannot be read").because("connection refused");
    /// assert_eq!(
    ///     format!("{failed:?}"),
    ///     "the rooms cannot be read (Internal)\n  because: connection refused"
    /// );
    /// ```
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let says_something = self.is_its_source() && self.0.source.is_some();
        let cause = if says_something {
            &mut self.0.because
        } else {
            &mut self.0.source
        };
        *cause = Some(source.into());
        self
    }

    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The cause, if there is one.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.because.as_deref().or(self.0.source.as_deref())
    }

    /// This error as a `std::error::Error`, for functions that return one.
    ///
    /// It prints the same text. `?` converts it back to the original error.
    pub fn into_boxed(self) -> Box<dyn StdError + Send + Sync> {
        Box::new(PassedError(self))
    }

    /// The fault of Redis, if this is an error of the bus and the fault is known.
    pub fn bus_fault(&self) -> Option<BusFault> {
        self.causes().find_map(|cause| {
            let followed = cause.downcast_ref().and_then(BusError::fault);
            followed.or_else(|| cause.downcast_ref().and_then(EmitError::fault))
        })
    }

    /// What the client is told.
    pub fn wire(&self) -> &WireError {
        &self.0.wire
    }

    /// The cause, its own cause, and so on; before them what the error itself says, if that is its
    /// source.
    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let text = self.0.because.as_ref().and(self.0.source.as_deref());
        let text = text.map(|text| text as &dyn StdError);
        let first = self.source().map(|source| source as &dyn StdError);
        text.into_iter()
            .chain(successors(first, |&cause| cause.source()))
    }

    /// Whether its cause says everything about it.
    fn is_its_source(&self) -> bool {
        self.kind() == ErrorKind::Internal || self.is_of_start()
    }

    /// Whether it is an error at start-up, which is printed as one line.
    fn is_of_start(&self) -> bool {
        matches!(self.kind(), ErrorKind::Configuration | ErrorKind::Address)
    }

    /// A description of what does not fit, if the error is that the client's parameters do not fit.
    pub(crate) fn mismatch(&self) -> Option<String> {
        let source = self.source();
        let is_channel = source.is_some_and(|source| source.is::<InvalidChannel>());
        let is_mismatch = self.kind() == ErrorKind::Match || is_channel;
        let text = || source.map_or_else(|| self.to_string(), ToString::to_string);
        is_mismatch.then(text)
    }

    /// The same error with these details, unless it has some.
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
            because: None,
        }))
    }

    /// A channel could not be followed.
    pub(crate) fn not_followed(error: BusError) -> Self {
        let wire = WireError::new(503, "bus-unavailable");
        Self::with(ErrorKind::Unavailable, wire).because(error)
    }

    /// A rate limit allows no more requests for this time.
    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        // Rounded up, because a client that retries then should succeed.
        let milliseconds = wait.as_nanos().div_ceil(1_000_000);
        let seconds = milliseconds.div_ceil(1000);
        let reason = format!(
            "Error, too many requests. Please slow down. \
             You must wait {seconds} seconds before trying again."
        );
        let details = ejson!({ "timeToReset": milliseconds as f64 });
        Self::new("too-many-requests", reason).details(details)
    }

    /// A message was not published, or it is not known whether it was.
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

    /// A function of the program has panicked.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        Self::internal(format!("panicked: {}", panics::text_of(panic)))
    }

    /// The same error with a cause that no client is told, not even one on this machine, because
    /// Meteor's answer is known.
    pub(crate) fn because_for_log(mut self, cause: &'static str) -> Self {
        self.0.because = Some(cause.into());
        self
    }

    /// Whether a client on this machine may be told the cause of its mismatch. Without one the
    /// handler itself has failed the match, and chosen what to tell.
    pub(crate) fn has_cause_to_tell(&self) -> bool {
        self.0.source.is_some()
    }

    /// The cause of an error that tells the client something else.
    pub(crate) fn untold_cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        let is_told = self.kind() == ErrorKind::Client && self.mismatch().is_none();
        // That of a topic, and one that has been in an `anyhow::Error`, say what the client is told.
        let told = self.to_string();
        self.source()
            .filter(|cause| is_told && !told.contains(&cause.to_string()))
    }

    /// The client has left, or is being disconnected; nobody is told of this error.
    pub(crate) fn disconnected() -> Self {
        let wire = WireError::new("disconnected", "The client has left");
        Self::with(ErrorKind::Disconnected, wire)
    }

    /// The store of users has failed with this error. The client is not told.
    pub(crate) fn of_users(mut self) -> Self {
        self.0.kind = ErrorKind::Unavailable;
        self.0.wire = WireError::internal();
        self
    }

    /// Whether the client is told only of an internal error, so that the log must say more.
    pub(crate) fn is_internal(&self) -> bool {
        self.kind() == ErrorKind::Internal || self.0.wire == WireError::internal()
    }

    /// Whether it says nothing about the client's request, so that the client may try again.
    pub(crate) fn is_no_answer(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Unavailable | ErrorKind::Disconnected
        )
    }

    /// The server cannot listen on an address.
    pub(crate) fn of_address(text: impl Into<String>) -> Self {
        let source: Source = text.into().into();
        Self::with(ErrorKind::Address, WireError::internal()).because(source)
    }
}

/// One line: what a client would be told or, for an internal error, its cause.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Some(source) if self.is_its_source() => source.fmt(f),
            _ => self.0.wire.fmt(f),
        }
    }
}

/// For logs: each cause that says more on its own line, escaped, shortened, and without the values
/// of names such as `password`, `token`, `secret`, `jwt` or `Authorization`, because a cause may
/// quote what a client sent. An error at start-up is one line, unless it has got a cause by
/// [`because`](Error::because).
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.to_string();
        write!(f, "{}", Redacted(&said))?;
        if !self.is_of_start() {
            write!(f, " ({:?})", self.kind())?;
        } else if self.0.because.is_none() {
            return Ok(());
        }
        let causes = self.causes().skip(self.is_its_source().into());
        for cause in causes.map(ToString::to_string) {
            if !said.contains(&cause) {
                write!(f, "\n  because: {}", Redacted(&cause))?;
                said = cause;
            }
        }
        Ok(())
    }
}

/// Converts every `std::error::Error`, `anyhow::Error`, boxed error and text to an internal error,
/// except for one that was an [`Error`] before.
///
/// All of these types satisfy the bound, and [`Error`] itself must not.
impl<E: Into<Source> + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let told = meant_for_client(&error);
        let source = match error.into().downcast::<PassedError>() {
            Ok(passed) => return passed.0,
            Err(source) => source,
        };
        let error = match (told, source.downcast_ref::<InvalidChannel>()) {
            (Some(told), _) => told,
            (None, Some(invalid)) => Self::bad_request(invalid.reason()),
            (None, None) if source.is::<TopicError>() => of_topic(&*source),
            (None, None) if source.is::<BusError>() => {
                Self::with(ErrorKind::Configuration, WireError::internal())
            }
            (None, None) => Self::with(ErrorKind::Internal, WireError::internal()),
        };
        error.because(source)
    }
}

/// What a client is told of an error of a topic. Its text repeats nothing of another client.
fn of_topic(source: &(dyn StdError + Send + Sync + 'static)) -> Error {
    let internal = || Error::with(ErrorKind::Internal, WireError::internal());
    let Some(error) = source.downcast_ref::<TopicError>() else {
        return internal();
    };
    let wire = WireError::new(error.code(), error.to_string());
    match error {
        // What the operator is to do does not concern the client.
        TopicError::Unavailable(_) | TopicError::SyncFailed => {
            let text = TopicError::Unavailable(None).to_string();
            Error::with(ErrorKind::Unavailable, WireError::new(error.code(), text))
        }
        TopicError::Gap(gap) => Error::with(ErrorKind::Client, wire).details(ejson!({
            "requested": gap.requested as f64,
            "first": gap.first as f64,
            "lost": gap.lost as f64
        })),
        TopicError::Reset(reset) => Error::with(ErrorKind::Client, wire).details(ejson!({
            "reason": reset.reason.as_str(),
            "first": reset.first as f64,
            "last": reset.last.to_string()
        })),
        TopicError::DamagedStore { .. }
        | TopicError::NotOpened { .. }
        | TopicError::StoreInUse { .. }
        | TopicError::StoreFull(_)
        | TopicError::ConfigConflict
        | TopicError::WrongCodec
        | TopicError::BadRegisterKey { .. }
        | TopicError::Unsupported { .. } => internal(),
        _ => Error::with(ErrorKind::Client, wire),
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.into_boxed()
    }
}

#[cfg(feature = "anyhow")]
impl From<Error> for anyhow::Error {
    fn from(error: Error) -> Self {
        Self::new(PassedError(error))
    }
}

/// An error on its way through functions that return another type.
struct PassedError(Error);

impl StdError for PassedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.causes().nth(self.0.is_its_source().into())
    }
}

impl fmt::Display for PassedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PassedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a client is told for an `anyhow::Error`, without the cause. It must be determined before
/// the error is boxed, because a boxed one hides the types that it contains.
#[cfg(feature = "anyhow")]
fn meant_for_client(error: &dyn Any) -> Option<Error> {
    let error: &anyhow::Error = error.downcast_ref()?;
    if let Some(PassedError(error)) = error.downcast_ref() {
        return Some(Error::with(error.kind(), error.wire().clone()));
    }
    let invalid: &InvalidChannel = error.downcast_ref()?;
    Some(Error::bad_request(invalid.to_string()))
}

#[cfg(not(feature = "anyhow"))]
fn meant_for_client(_: &dyn Any) -> Option<Error> {
    None
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

    #[test]
    fn found_302_a_cause_is_logged_beside_the_text() {
        let inner = || std::io::Error::other("inner");
        let internal = Error::internal("outer").because(inner());
        assert_eq!(internal.to_string(), "outer");
        let logged = format!("{internal:?}");
        assert_eq!(logged, "outer (Internal)\n  because: inner");
        assert!(
            internal
                .source()
                .is_some_and(|source| source.is::<std::io::Error>())
        );
        let start = Error::configuration("outer").because(inner());
        assert_eq!(start.to_string(), "outer");
        assert_eq!(format!("{start:?}"), "outer\n  because: inner");
        let passed = Error::internal("outer").because(inner()).into_boxed();
        assert_eq!(passed.source().unwrap().to_string(), "inner");
        let again = Error::from(inner()).because("again");
        assert_eq!(format!("{again:?}"), "inner (Internal)\n  because: again");
    }

    #[test]
    fn what_an_error_says_is_not_repeated_as_its_cause() {
        let stale = Error::from(TopicError::Stale);
        assert!(stale.untold_cause().is_none());
        assert!(!format!("{stale:?}").contains("because"));
        let away = Error::new(503, "away").because("the disk is full: no space left");
        assert!(format!("{away:?}").ends_with("\n  because: the disk is full: no space left"));
    }

    #[test]
    fn found_305_whatever_fails_becomes_an_internal_error() {
        fn io() -> Result<()> {
            std::fs::read_to_string("/nowhere/at/all")?;
            Ok(())
        }
        fn json() -> Result<()> {
            serde_json::from_str::<()>("{")?;
            Ok(())
        }
        fn text() -> Result<()> {
            Err("a text")?
        }
        fn owned() -> Result<()> {
            Err(format!("text number {}", 2))?
        }
        fn boxed() -> Result<()> {
            let other: Box<dyn StdError + Send + Sync> = "boxed".into();
            Err(other)?
        }
        for failing in [io, json, text, owned, boxed] {
            let error = failing().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert_eq!(*error.wire(), WireError::internal());
            assert!(error.source().is_some(), "{error}");
        }
        assert_eq!(
            format!("{:?}", owned().unwrap_err()),
            "text number 2 (Internal)"
        );
        let invalid = crate::channel!["a*"].unwrap_err();
        assert_eq!(Error::from(invalid).kind(), ErrorKind::Client);
    }

    #[test]
    fn found_305_an_error_is_itself_after_functions_that_return_another() {
        fn refused() -> Result<(), Box<dyn StdError>> {
            Err(Error::forbidden("not you"))?
        }
        fn boxed() -> Result<(), Source> {
            Err(Error::forbidden("not you").into_boxed())
        }
        fn again() -> Result<()> {
            Ok(boxed()?)
        }
        assert_eq!(refused().unwrap_err().to_string(), "not you [403]");
        let error = again().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Client, "not you [403]".into())
        );
        let internal = Error::internal("broken").into_boxed();
        assert_eq!(internal.to_string(), "broken");
        assert!(internal.source().is_none());
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn found_305_anyhow_converts_both_ways() {
        use anyhow::Context;

        fn start() -> anyhow::Result<()> {
            Err(Error::configuration("the address is in use"))?;
            Ok(())
        }
        fn save(error: Error) -> anyhow::Result<()> {
            let saved: Result<()> = Err(error);
            saved.map_err(anyhow::Error::from).context("while saving")
        }
        fn handle(error: Error) -> Result<()> {
            Ok(save(error)?)
        }
        fn other() -> Result<()> {
            Ok(Err::<(), _>(std::io::Error::other("disk full")).context("while saving")?)
        }
        let error = start().unwrap_err();
        assert_eq!(error.to_string(), "the address is in use");
        assert_eq!(error.chain().count(), 1);

        let bare = Error::from(anyhow::Error::from(Error::forbidden("not you")));
        assert!(bare.untold_cause().is_none());
        let error = handle(Error::forbidden("not you").because("a reason")).unwrap_err();
        assert!(error.untold_cause().is_some());
        assert_eq!(error.kind(), ErrorKind::Client);
        assert_eq!(error.to_string(), "not you [403]");
        assert_eq!(
            format!("{error:?}"),
            "not you [403] (Client)\n  because: while saving\n  because: not you [403]\n  because: a reason"
        );
        let error = other().unwrap_err();
        assert_eq!(*error.wire(), WireError::internal());
        let logged = format!("{error:?}");
        assert_eq!(logged, "while saving (Internal)\n  because: disk full");
        let invalid = crate::channel!["a*"].unwrap_err();
        assert_eq!(
            Error::from(anyhow::Error::from(invalid)).kind(),
            ErrorKind::Client
        );
    }
}
