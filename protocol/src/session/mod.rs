//! The session as a state machine. Its inputs are the client's messages and the calls of handlers;
//! its outputs are frames to send and handlers to start. It does no I/O and reads no clock: the
//! caller passes the time, as a duration since any fixed moment.
//!
//! One [`Output`] serves any number of sessions: each call appends to it, and the host empties it.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use updraft_protocol::session::{Output, Session, SessionConfig};
//!
//! let mut out = Output::default();
//! let config = Arc::new(SessionConfig::default());
//! let mut session = Session::new("kpNzWxsDHYcxAHj5M", config, Duration::ZERO);
//! session.receive(r#"{"msg":"connect","version":"1","support":["1"]}"#, Duration::ZERO, &mut out);
//! let connected = r#"{"msg":"connected","session":"kpNzWxsDHYcxAHj5M"}"#;
//! assert_eq!(out.frames[0].to_text(), connected);
//! ```

mod calls;
mod config;
mod events;
mod following;
mod gateway;
mod heartbeat;
mod held;
mod history;
mod input;
mod output;
mod queue;
mod request;
mod resumption;
mod session_id;
mod subscription;
mod subscriptions;
mod user;

pub use config::{
    DuplicateName, HandlerNames, PublicationKind, Resumption, SessionConfig, SessionSettings,
};
pub use gateway::{GatewayRules, connected};
pub use output::{Action, Output, Requested};
pub use session_id::SessionId;
pub use user::Unblocked;

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{Frame, ServerMessage};
use crate::view::View;
use calls::CallState;
use gateway::Passing;
use heartbeat::{Due, Heartbeat};
use history::{History, Pings};
use queue::RequestQueue;
use resumption::Parked;
use subscription::ActiveSubscription;
use user::UserChange;

/// One run of a handler, for a subscription or a call. It is unique in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run(NonZero<u64>);

/// The close reason for a client that has done nothing wrong.
const NORMAL: &str = "Normal closure";

/// The server's side of a DDP session.
pub struct Session {
    config: Arc<SessionConfig>,
    id: Arc<str>,
    state: SessionState,
    /// The handler that the queue waits for.
    running: Option<Run>,
    /// Subscriptions by run, in the order in which they began. Filled by `begin`, drained by `stop`
    /// and `end`; bounded by `max_subscriptions` and the universal publications.
    subscriptions: Vec<ActiveSubscription>,
    view: View,
    /// Runs that have begun.
    runs: u64,
    /// Messages sent, as a resuming client counts them.
    sent: u64,
    /// Sent messages that the client may have missed.
    history: History,
    pings: Pings,
    /// State of a session that is not idle. It is allocated while any of it is in use; most
    /// sessions have none.
    work: Option<Box<Work>>,
}

/// The state that only a busy session needs.
#[derive(Default)]
struct Work {
    /// Messages that wait for the running handler. Filled by `receive`, drained as handlers end or
    /// unblock; bounded by the host, which stops reading from the client.
    queue: RequestQueue,
    /// When the latest unreadable messages came. Filled by `receive`, drained as they grow old;
    /// bounded by the configuration, because too many of them end the session.
    unreadable: VecDeque<Duration>,
    /// Calls by run that have begun and lack `result` or `updated`. Filled as methods start,
    /// drained as the second answer is sent; bounded by the host, which stops reading from the
    /// client when there are too many.
    calls: Vec<CallState>,
    change: Option<UserChange>,
    /// The number of the `connected` with which the session was last resumed.
    resumed_at: Option<u64>,
    /// Ids of calls that the client may send again after a resumption. Filled by `resume`, drained
    /// as those calls come, cleared when all of them must have come; bounded by the calls that were
    /// open at that time.
    repeats: Vec<Box<str>>,
    /// Whether no message may start a handler, because the client has much output to receive.
    is_held: bool,
    /// Set while there is a connection to a Meteor server behind this one.
    passing: Option<Box<Passing>>,
}

#[derive(Debug)]
enum SessionState {
    AwaitingConnect {
        until: Duration,
    },
    Connected {
        version: Version,
        heartbeat: Option<Heartbeat>,
        /// Whether the client has said that it leaves.
        is_leaving: bool,
    },
    /// The client wants the session it had, and the host looks for it.
    Resuming {
        version: Version,
        /// What the client sends meanwhile. Filled by `receive`, drained by `take_backlog`, bounded
        /// like the queue.
        backlog: Vec<Box<str>>,
        /// Bytes of `backlog`.
        bytes: usize,
    },
    /// The host opens a connection to the Meteor server behind this one.
    Opening {
        version: Version,
        /// As in `Resuming`, drained by `upstream_connected`.
        backlog: Vec<Box<str>>,
        /// Bytes of `backlog`.
        bytes: usize,
    },
    Parked(Parked),
    Closed,
}

/// The versions of DDP, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Pre2,
    Pre1,
}

impl Session {
    /// A session whose client has not sent anything yet.
    ///
    /// `id` is sent to the client; it must be unguessable.
    pub fn new(id: impl Into<Arc<str>>, config: Arc<SessionConfig>, now: Duration) -> Self {
        let until = now.saturating_add(config.settings.connect_timeout);
        let view = View::new(config.strategies.clone());
        Self {
            config,
            id: id.into(),
            state: SessionState::AwaitingConnect { until },
            running: None,
            subscriptions: Vec::new(),
            view,
            runs: 0,
            sent: 0,
            history: History::default(),
            pings: Pings::default(),
            work: None,
        }
    }

    /// Sends the greeting, if one is configured. Call it once, before any other function.
    pub fn greet(&self, out: &mut Output) {
        if self.config.settings.greeting {
            out.frames
                .push(Frame::Transient(r#"{"server_id":"0"}"#.into()));
        }
    }

    /// The id that the client was sent. It is a credential: it belongs in no log.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the client has said `connect` and the session has not ended.
    pub fn is_connected(&self) -> bool {
        !matches!(
            self.state,
            SessionState::AwaitingConnect { .. } | SessionState::Closed
        )
    }

    /// Messages that wait for the running handler, or for the session that their client had before.
    pub fn queued(&self) -> usize {
        let backlog = match &self.state {
            SessionState::Resuming { backlog, .. } | SessionState::Opening { backlog, .. } => {
                backlog.len()
            }
            _ => 0,
        };
        let queue = self.work.as_ref().map_or(0, |work| work.queue.len());
        queue.saturating_add(backlog)
    }

    /// Bytes of memory of the waiting messages.
    pub fn queued_bytes(&self) -> usize {
        let backlog = match &self.state {
            SessionState::Resuming { bytes, .. } | SessionState::Opening { bytes, .. } => *bytes,
            _ => 0,
        };
        let queue = self.work.as_ref().map_or(0, |work| work.queue.bytes());
        queue.saturating_add(backlog)
    }

    /// Subscriptions that are alive, universal ones included.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Bytes kept for the subscriptions: their parameters, which start them again when the user
    /// changes.
    pub fn subscribed_bytes(&self) -> usize {
        let kept = self.subscriptions.iter().map(|it| it.request.bytes());
        kept.fold(0, usize::saturating_add)
    }

    /// Bytes of memory of the parameters of running handlers.
    pub fn running_bytes(&self) -> usize {
        let publications = self
            .subscriptions
            .iter()
            .map(ActiveSubscription::running_bytes);
        let calls = self.calls().iter().map(CallState::running_bytes);
        publications.chain(calls).fold(0, usize::saturating_add)
    }

    /// Messages sent, as a resuming client counts them: all except pings and pongs.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a silent client is pinged, and its connection closed if it stays silent. Clients of
    /// DDP `pre1` are never pinged, and nobody is if heartbeats are switched off.
    pub fn has_heartbeat(&self) -> bool {
        matches!(
            &self.state,
            SessionState::Connected {
                heartbeat: Some(_),
                ..
            }
        )
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, if nothing else happens. An
    /// earlier call has no effect.
    pub fn next_timeout(&self) -> Option<Duration> {
        let own = match &self.state {
            SessionState::AwaitingConnect { until } => Some(*until),
            SessionState::Connected { heartbeat, .. } => {
                heartbeat.as_ref().map(Heartbeat::next_timeout)
            }
            SessionState::Parked(parked) => Some(parked.until),
            SessionState::Resuming { .. } | SessionState::Opening { .. } | SessionState::Closed => {
                None
            }
        };
        own.into_iter()
            .chain(self.upstream_timeout())
            .chain(self.calls().iter().filter_map(CallState::deadline))
            .chain(
                self.subscriptions
                    .iter()
                    .filter_map(ActiveSubscription::deadline),
            )
            .min()
    }

    /// Does what is due at this time: sends pings, closes silent connections, and stops waiting for
    /// absent clients, for writes and for handlers.
    pub fn handle_timeout(&mut self, now: Duration, out: &mut Output) {
        let interval = self.config.settings.heartbeat_interval;
        let timeout = self.config.settings.heartbeat_timeout;
        match &mut self.state {
            SessionState::AwaitingConnect { until } if *until <= now => self.close(out),
            SessionState::Parked(parked) if parked.until <= now => self.close(out),
            SessionState::Connected {
                heartbeat: Some(heartbeat),
                ..
            } => match heartbeat.poll(interval, timeout, now) {
                Due::Nothing => {}
                Due::Ping => self.ping(out),
                Due::Close if self.is_resumable() => out.actions.push(Action::Lost {
                    code: 1000,
                    reason: NORMAL,
                }),
                Due::Close => self.close(out),
            },
            _ => {}
        }
        self.handle_upstream_timeout(now, out);
        self.expire_fences(now, out);
        self.expire_handlers(now, out);
    }

    /// Closes the connection at the server's wish: 1000, `Normal closure`.
    pub fn close(&mut self, out: &mut Output) {
        self.close_with(1000, NORMAL, out);
    }

    /// The connection is gone, or is about to be: stops all subscriptions and sends nothing more.
    pub fn end(&mut self, out: &mut Output) {
        self.state = SessionState::Closed;
        self.work = None;
        self.view = View::default();
        self.history = History::default();
        for subscription in self.subscriptions.drain(..) {
            out.actions.push(Action::Stop(subscription.run));
        }
    }

    fn close_with(&mut self, code: u16, reason: &'static str, out: &mut Output) {
        if !matches!(self.state, SessionState::Closed) {
            self.end(out);
            out.actions.push(Action::Close { code, reason });
        }
    }

    fn send(&mut self, message: &ServerMessage<'_>, out: &mut Output) {
        let text = message.print();
        if message.counts() && self.is_connected() {
            self.emit(Frame::Text(text), out);
        } else {
            out.frames.push(Frame::Transient(text));
        }
    }

    /// Sends a message that belongs to the session, or keeps it while there is no connection.
    fn emit(&mut self, frame: Frame, out: &mut Output) {
        self.sent = self.sent.saturating_add(1);
        if self.is_parked() {
            self.keep((&frame).into(), out);
        } else {
            out.frames.push(frame);
        }
    }

    fn ping(&mut self, out: &mut Output) {
        self.pings.sent(self.sent);
        self.send(&ServerMessage::Ping, out);
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// Frees the memory of `work` if all of it is done.
    fn free_idle_work(&mut self) {
        self.work.take_if(|work| work.is_done());
    }

    fn new_run(&mut self) -> Run {
        let run = Run(NonZero::<u64>::MIN.saturating_add(self.runs));
        self.runs = self.runs.saturating_add(1);
        run
    }
}

impl Work {
    fn is_done(&self) -> bool {
        self.queue.is_empty()
            && self.unreadable.is_empty()
            && self.calls.is_empty()
            && self.change.is_none()
            && self.resumed_at.is_none()
            && self.repeats.is_empty()
            && !self.is_held
            && self.passing.is_none()
    }
}

/// Without the id, which is a credential, and without the client's messages.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("queued", &self.queued())
            .field("running", &self.running)
            .field("subscriptions", &self.subscriptions.len())
            .field("calls", &self.calls_running())
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl Version {
    const BEST_FIRST: [Self; 3] = [Self::One, Self::Pre2, Self::Pre1];

    fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Pre2 => "pre2",
            Self::Pre1 => "pre1",
        }
    }

    /// `pre1` has no pings.
    fn has_heartbeat(self) -> bool {
        self != Self::Pre1
    }
}
