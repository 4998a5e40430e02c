//! The session as a state machine: what a client sends and what handlers answer goes in, frames to send and handlers to
//! start come out. It does no I/O and reads no clock; the time is handed in, as a duration since any fixed moment.
//!
//! One [`Output`] serves any number of sessions: each call appends to it, the host empties it.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use updraft_protocol::session::{Output, Session, SessionConfig};
//!
//! let mut out = Output::default();
//! let mut session = Session::new("kpNzWxsDHYcxAHj5M", Arc::new(SessionConfig::default()), Duration::ZERO);
//! session.receive(r#"{"msg":"connect","version":"1","support":["1"]}"#, Duration::ZERO, &mut out);
//! assert_eq!(out.frames[0].to_text(), r#"{"msg":"connected","session":"kpNzWxsDHYcxAHj5M"}"#);
//! ```

mod calls;
mod config;
mod events;
mod heartbeat;
mod held;
mod history;
mod input;
mod queue;
mod request;
mod resumption;
mod subscription;
mod subscriptions;
mod user;

pub use config::{
    DuplicateName, HandlerNames, PublicationKind, Resumption, SessionConfig, SessionSettings,
};
pub use resumption::SessionId;
pub use user::Unblocked;

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use crate::ejson::Value;
use crate::message::{Frame, ServerMessage};
use crate::view::View;
use calls::CallState;
use heartbeat::{Due, Heartbeat};
use history::{History, Pings};
use queue::RequestQueue;
use resumption::Parked;
use subscription::ActiveSubscription;
use user::UserChange;

/// One run of a handler, unique in its session: a subscription or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run(NonZero<u64>);

/// What a session wants done, in this order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Output {
    /// Messages for the client.
    pub frames: Vec<Frame>,
    /// Things for the host to do.
    pub actions: Vec<Action>,
}

/// Something that only the host can do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// The client has connected; the session is known by its id from now on.
    Connected,
    /// The client had a session before and wants it back. The session waits until the host has found that one
    /// ([`Session::resume`], [`Session::take_backlog`]) or has not ([`Session::resume_refused`]).
    Resume {
        /// The session that it had.
        session: SessionId,
        /// How many messages it says it has received; `None` when it says something else.
        received: Option<u64>,
    },
    /// Start a publication's handler; it ends with [`Session::published`].
    Publish {
        /// The run that all its calls name.
        run: Run,
        /// The host's number of the publication.
        publication: usize,
        /// The parameters that are the handler's.
        params: Vec<Value>,
    },
    /// Start a method; it ends with [`Session::returned`].
    Call {
        /// The run that all its calls name.
        run: Run,
        /// The host's number of the method.
        method: usize,
        /// The parameters.
        params: Vec<Value>,
        /// The client's seed for random ids.
        seed: Option<String>,
    },
    /// A subscription is over: drop its handler if it still runs, let go of its channels, run its stop callbacks.
    Stop(Run),
    /// The user changes, and a subscription begins again under another run: as [`Stop`](Self::Stop), but what comes in
    /// on its channels is kept until [`UserChanged`](Self::UserChanged), for the run that will follow them.
    Deactivate {
        /// The run that is over.
        run: Run,
        /// The run that takes its place, started next.
        next: Run,
    },
    /// The change of the user is complete: the client has been told of the difference and of what is ready.
    UserChanged,
    /// A publication's handler has taken too long; its subscription is stopped next.
    Expired(Run),
    /// A handler has changed or removed a document that it does not publish; the client heard nothing of it.
    NotPublished(Run),
    /// Events for this subscription were dropped, because too many came before it was ready: tell its handler, and
    /// [`Session::gap`].
    Gap(Run),
    /// The client is silent. Close the connection once the frames are out; the session waits for another one, so it is
    /// to be [parked](Session::park).
    Lost {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: &'static str,
    },
    /// Close the connection once the frames are out. Nothing follows.
    Close {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: &'static str,
    },
}

/// What is said to a client that has done nothing wrong.
const NORMAL: &str = "Normal closure";

/// A DDP session, on the server's side.
pub struct Session {
    config: Arc<SessionConfig>,
    id: Arc<str>,
    state: SessionState,
    /// The handler that the queue waits for.
    running: Option<Run>,
    /// Whether nothing may begin, because the client has much to take.
    is_held: bool,
    /// Subscriptions by run, in the order in which they began.
    subscriptions: Vec<ActiveSubscription>,
    view: View,
    /// Those that have begun.
    runs: u64,
    /// Messages sent, as a resuming client counts them.
    sent: u64,
    /// Those of them that the client may have missed.
    history: History,
    pings: Pings,
    /// There while there is anything in it, which for most sessions there is not.
    work: Option<Box<Work>>,
}

/// What a session has at hand that is not idle.
#[derive(Default)]
struct Work {
    /// Messages that wait for the handler that runs. Filled by `receive`, drained as handlers end or unblock.
    queue: RequestQueue,
    /// When the latest unreadable messages came. Filled by `receive`, drained as they grow old; bounded by the
    /// configuration, for with too many of them the session ends.
    unreadable: VecDeque<Duration>,
    /// Calls by run: begun and not yet answered with both `result` and `updated`.
    calls: Vec<CallState>,
    /// There while the user changes.
    change: Option<UserChange>,
    /// The number of the `connected` with which the session was last resumed.
    resumed_at: Option<u64>,
    /// Calls that the client may send again after a resumption. Filled by `resume`, drained as they come, emptied when
    /// they all must have come; bounded by what was open then.
    repeats: Vec<Box<str>>,
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
        /// What the client says meanwhile. Filled by `receive`, drained by `take_backlog`, bounded as the queue is.
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
    /// A session whose client has not said anything yet.
    ///
    /// `id` is what the client will be told; it must be unguessable.
    pub fn new(id: impl Into<Arc<str>>, config: Arc<SessionConfig>, now: Duration) -> Self {
        let until = now.saturating_add(config.settings.connect_timeout);
        let view = View::new(config.strategies.clone());
        Self {
            config,
            id: id.into(),
            state: SessionState::AwaitingConnect { until },
            running: None,
            is_held: false,
            subscriptions: Vec::new(),
            view,
            runs: 0,
            sent: 0,
            history: History::default(),
            pings: Pings::default(),
            work: None,
        }
    }

    /// Says what is said before the client has said anything: the greeting, where it is configured. To be called once,
    /// first.
    pub fn greet(&self, out: &mut Output) {
        if self.config.settings.greeting {
            out.frames
                .push(Frame::Transient(r#"{"server_id":"0"}"#.into()));
        }
    }

    /// The id that the client was told. A credential: it belongs in no log.
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

    /// Messages that wait behind the running handler, or for the session that their client had before.
    pub fn queued(&self) -> usize {
        let backlog = match &self.state {
            SessionState::Resuming { backlog, .. } => backlog.len(),
            _ => 0,
        };
        let queue = self.work.as_ref().map_or(0, |work| work.queue.len());
        queue.saturating_add(backlog)
    }

    /// Bytes of memory that the messages take which wait.
    pub fn queued_bytes(&self) -> usize {
        let backlog = match &self.state {
            SessionState::Resuming { bytes, .. } => *bytes,
            _ => 0,
        };
        let queue = self.work.as_ref().map_or(0, |work| work.queue.bytes());
        queue.saturating_add(backlog)
    }

    /// Subscriptions that are alive, universal ones included.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Bytes of what is kept of the subscriptions: their parameters, to begin again with when the user changes.
    pub fn subscribed_bytes(&self) -> usize {
        let kept = self.subscriptions.iter().map(|it| it.request.bytes());
        kept.fold(0, usize::saturating_add)
    }

    /// Bytes of memory of the parameters that handlers were given which run.
    pub fn running_bytes(&self) -> usize {
        let publications = self
            .subscriptions
            .iter()
            .map(ActiveSubscription::running_bytes);
        let calls = self.calls().iter().map(CallState::running_bytes);
        publications.chain(calls).fold(0, usize::saturating_add)
    }

    /// Messages sent, as a resuming client counts them: all but pings and pongs.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a client that says nothing is pinged, and given up if it goes on saying nothing. One
    /// of `pre1` is not, nor is anybody where heartbeats are off.
    pub fn has_heartbeat(&self) -> bool {
        matches!(
            &self.state,
            SessionState::Connected {
                heartbeat: Some(_),
                ..
            }
        )
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next, if nothing else happens. It may be called
    /// earlier, to no effect.
    pub fn next_timeout(&self) -> Option<Duration> {
        let own = match &self.state {
            SessionState::AwaitingConnect { until } => Some(*until),
            SessionState::Connected { heartbeat, .. } => {
                heartbeat.as_ref().map(Heartbeat::next_timeout)
            }
            SessionState::Parked(parked) => Some(parked.until),
            SessionState::Resuming { .. } | SessionState::Closed => None,
        };
        own.into_iter()
            .chain(self.calls().iter().filter_map(CallState::deadline))
            .chain(
                self.subscriptions
                    .iter()
                    .filter_map(ActiveSubscription::deadline),
            )
            .min()
    }

    /// Does what time demands: pings, gives up a silent client, stops waiting for one that is gone, for writes and for
    /// handlers.
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
        self.expire_fences(now, out);
        self.expire_handlers(now, out);
    }

    /// Closes the connection, as the server's own wish: 1000, `Normal closure`.
    pub fn close(&mut self, out: &mut Output) {
        self.close_with(1000, NORMAL, out);
    }

    /// The connection is gone, or is about to be: stops all subscriptions, says nothing more.
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

    /// Sends a message that belongs to the session, or keeps it while there is nobody to send it to.
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

    /// Some work is done: if all of it is, its memory is given back.
    fn rest(&mut self) {
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
    }
}

/// Without the id, which is a credential, and without what the client said.
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

    /// `pre1` knows no pings.
    fn has_heartbeat(self) -> bool {
        self != Self::Pre1
    }
}
