//! What a server is made of: publications, methods, a bus, limits, routes.

mod accounts;
mod edge;
mod http;
mod limits;
mod sockjs;
mod start;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::num::NonZero;
use std::time::Duration;

use tokio::net::ToSocketAddrs;
#[cfg(feature = "redis")]
use updraft_bus::Redis;
use updraft_bus::{Bus, Settings, WhenAway};
use updraft_protocol::session::{DuplicateName, PublicationKind, SessionConfig};
use updraft_protocol::vent::{EncodingChoice, VentOptions};
use updraft_protocol::view::Strategy;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::Bound;
use super::accept::{self, SocketOptions};
use super::admission;
use super::drain::Drain;
use super::handle::Handle;
use super::health::HealthChecks;
use crate::account::{Accounts, AnyAuthenticator};
use crate::base::error::{Error, Result};
use crate::base::ids;
use crate::handler::{Handler, Patience};
use crate::method::{Call, Method};
use crate::publication::{Publication, Subscription, Vent};
use crate::shard::orders::Orders;
use crate::shard::{InboxLimits, Limits, Watch};
use crate::stream::{Service, SockJs};
use crate::transport::websocket::Rate;

/// Collects what a server is to do; [`bind`](Self::bind) makes it one.
///
/// A name that is given twice, or is of no use, is an error of `bind`.
pub struct Builder {
    session: SessionConfig,
    publications: Vec<Publication>,
    methods: Vec<Method>,
    accounts: Option<Accounts>,
    /// In the order in which they are asked.
    authenticators: Vec<Box<dyn AnyAuthenticator>>,
    bus: Bus,
    settings: Settings,
    routes: Vec<Route>,
    shards: Option<NonZero<usize>>,
    limits: Limits,
    inbox: InboxLimits,
    sockets: SocketOptions,
    /// How DDP is served over SockJS.
    sockjs: SockJs,
    /// SockJS services of the program's own.
    services: Vec<Service>,
    path_prefix: String,
    polling: sockjs::PollingLimits,
    health: Option<HealthChecks>,
    http: http::Settings,
    edge: admission::Settings,
    #[cfg(feature = "tls")]
    tls: tls::Settings,
    rates: edge::Rates,
    orders: Orders,
    /// As the program has set it; else a share of what there is.
    memory_limit: Option<usize>,
    patience: Patience,
    drain: Drain,
    /// Whether `serve` hears signals.
    hears_signals: bool,
    /// The first mistake in what was registered.
    mistake: Option<Error>,
}

/// Makes a filter once the server is there.
type Route = Box<dyn FnOnce(Handle) -> BoxedFilter<(Response,)> + Send>;

impl Default for Builder {
    fn default() -> Self {
        Self {
            session: session_config(),
            publications: Vec::new(),
            methods: Vec::new(),
            accounts: None,
            authenticators: Vec::new(),
            bus: Bus::default(),
            settings: Settings::default(),
            routes: Vec::new(),
            shards: None,
            limits: Limits {
                first_message: 64 * 1024,
                message: 4 * 1024 * 1024,
                small_frames: Rate {
                    frames: 1000,
                    within: Duration::from_secs(10),
                },
                flow: 1024 * 1024,
                events: 16 * 1024 * 1024,
                kept: 256 * 1024,
                stuck: Duration::from_secs(10),
                queued_messages: 100,
                queued_bytes: 4 * 1024 * 1024,
                linger: Duration::from_secs(5),
                takeover: Duration::from_secs(2),
                same_address: false,
                watch: Watch {
                    interval: Duration::from_secs(60),
                    timeout: Duration::from_secs(45),
                },
            },
            inbox: InboxLimits {
                batches: 64 * 1024 * 1024,
                arrivals: 1024,
            },
            sockets: SocketOptions {
                backlog: 4096,
                send_buffer: 256 * 1024,
                user_timeout: Duration::from_secs(45),
            },
            sockjs: SockJs::meteor(),
            services: Vec::new(),
            path_prefix: String::new(),
            polling: sockjs::PollingLimits::default(),
            health: None,
            http: http::Settings::default(),
            edge: admission::Settings::default(),
            #[cfg(feature = "tls")]
            tls: tls::Settings::default(),
            rates: edge::Rates::default(),
            orders: Orders::default(),
            memory_limit: None,
            patience: Patience::default(),
            drain: Drain::default(),
            hears_signals: true,
            mistake: None,
        }
    }
}

/// What sessions are like unless the program says otherwise.
fn session_config() -> SessionConfig {
    let mut config = SessionConfig::default();
    config.new_object_id = ids::object_id;
    config
}

impl Builder {
    /// Registers a publication of documents.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// async fn greeting(subscription: Subscription) -> Result<()> {
    ///     subscription.added("greetings", "hello", ejson!({ "text": "Hello!" }));
    ///     Ok(())
    /// }
    ///
    /// let builder = Server::builder().publish("greeting", greeting);
    /// ```
    #[must_use]
    pub fn publish<M>(mut self, name: &str, handler: impl Handler<Subscription, M>) -> Self {
        let publication = Publication::ordinary(name, handler);
        self.add(name, PublicationKind::Ordinary, publication);
        self
    }

    /// Registers a publication that starts by itself for every client: Meteor's publication without a name.
    #[must_use]
    pub fn publish_universal<M>(mut self, handler: impl Handler<Subscription, M>) -> Self {
        self.session.names.universal(self.publications.len());
        self.publications.push(Publication::ordinary("", handler));
        self
    }

    /// Registers a publication of events.
    #[must_use]
    pub fn vent<M>(self, name: &str, handler: impl Handler<Vent, M>) -> Self {
        self.vent_with(name, VentOptions::new(), handler)
    }

    /// As [`vent`](Self::vent), with options.
    #[must_use]
    pub fn vent_with<M>(
        mut self,
        name: &str,
        options: VentOptions,
        handler: impl Handler<Vent, M>,
    ) -> Self {
        let publication = Publication::vent(name, handler);
        self.add(name, PublicationKind::Vent(options), publication);
        self
    }

    /// Registers a publication of events as Rocket.Chat's streamer: clients subscribe to `stream-NAME`.
    ///
    /// The handler gets the event name and the subscriber's arguments.
    #[must_use]
    pub fn streamer<M>(mut self, name: &str, handler: impl Handler<Vent, M>) -> Self {
        self.check_name("streamer", name);
        let name = format!("stream-{name}");
        let publication = Publication::vent(&name, handler);
        self.add(
            &name,
            PublicationKind::Streamer(name.as_str().into()),
            publication,
        );
        self
    }

    /// Registers a method.
    #[must_use]
    pub fn method<M>(mut self, name: &str, handler: impl Handler<Call, M>) -> Self {
        self.check_name("method", name);
        let added = self.session.names.method(name, self.methods.len());
        self.note("method", added);
        let method = Method::new(self.methods.len(), name, handler);
        self.methods.push(method);
        self
    }

    /// Carries messages over Redis. Without this they stay in this process.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn bus(mut self, redis: Redis) -> Self {
        self.bus = redis.into();
        self
    }

    /// What subscriptions do while the bus cannot be reached: by default they wait 30 s for it.
    #[must_use]
    pub fn when_bus_is_away(mut self, when_away: WhenAway) -> Self {
        self.settings.when_away = when_away;
        self
    }

    /// What a message of the bus may be: so many bytes (1 MiB by default), nested so deeply (64). What is larger is
    /// dropped on receipt and counted, and cannot be emitted.
    #[must_use]
    pub fn payload_limit(mut self, bytes: usize, depth: usize) -> Self {
        self.settings.limits.bytes = bytes;
        self.settings.limits.json.depth = depth;
        self
    }

    /// How many channels [`Handle::failures_by_channel`] tells apart; 100 by default.
    #[must_use]
    pub fn failing_channels(mut self, count: usize) -> Self {
        self.settings.failing_channels = count;
        self
    }

    /// Mounts a warp filter beside DDP. Filters are tried in the order of their calls; what none of them takes is 404.
    ///
    /// A filter answers its own failures: a custom rejection that reaches the server is a bare 400.
    #[must_use]
    pub fn route<F, R>(self, filter: F) -> Self
    where
        F: Filter<Extract = (R,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
        R: Reply + 'static,
    {
        self.route_with(|_| filter)
    }

    /// As [`route`](Self::route), for a filter that needs the running server, to emit for example.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use warp::Filter;
    ///
    /// let builder = Server::builder().route_with(|handle| {
    ///     warp::path!("stats").map(move || format!("{:?}", handle.stats()))
    /// });
    /// ```
    #[must_use]
    pub fn route_with<F, R>(mut self, filter: impl FnOnce(Handle) -> F + Send + 'static) -> Self
    where
        F: Filter<Extract = (R,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
        R: Reply + 'static,
    {
        let filter = |handle| filter(handle).map(|reply: R| reply.into_response()).boxed();
        self.routes.push(Box::new(filter));
        self
    }

    /// What sessions remember of the documents of a collection, instead of merging those of all subscriptions: Meteor's
    /// `setPublicationStrategy`.
    #[must_use]
    pub fn publication_strategy(mut self, collection: &str, strategy: Strategy) -> Self {
        self.session.strategies.set(collection, strategy);
        self
    }

    /// The encoding of Vent publications that do not choose their own; [`EncodingChoice::Auto`] by default.
    #[must_use]
    pub fn encoding(mut self, encoding: EncodingChoice) -> Self {
        self.session.encoding = encoding;
        self
    }

    /// Keeps names from being used as Vent ids in the collection encoding: those of the client's own collections.
    #[must_use]
    pub fn reserve(mut self, collections: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = collections
            .into_iter()
            .map(|name| name.into().into_boxed_str());
        self.session.reserved.extend(names);
        self
    }

    /// Pings a client of which nothing was heard for a whole `interval`, and closes its connection after a further
    /// `timeout` of silence; 15 s each by default. As Meteor looks once per interval, the ping comes between one and two
    /// intervals after the last message. An interval of zero switches both off.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.session.heartbeat_interval = interval;
        self.session.heartbeat_timeout = timeout;
        self
    }

    /// Watches over clients whom nothing else asks for a sign of life: those of the version `pre1`,
    /// those of a [SockJS service](Self::sockjs_service) over its raw WebSocket, and any where
    /// [`heartbeat`](Self::heartbeat) and [`SockJs::heartbeat`](crate::SockJs::heartbeat) are off.
    /// Each `interval` such a client is sent a ping of WebSocket, and its connection is closed when
    /// nothing is heard of it within a further `timeout`; 60 s and 45 s by default, so that a
    /// client that has stopped is gone within two minutes. Over HTTP the response that waits is
    /// ended instead, and the client has to ask again. An interval of zero switches this off.
    #[must_use]
    pub fn silence_limit(mut self, interval: Duration, timeout: Duration) -> Self {
        self.limits.watch = Watch { interval, timeout };
        self
    }

    /// How a server that is told to end sends its clients away: over how long closes are spread, so
    /// that clients do not all come back at the same moment (10 s by default), and how long all of
    /// it may take (25 s), with the methods that have begun. Fewer than a hundred clients take as
    /// many hundredths of the first.
    ///
    /// What supervises the process must wait that long before it kills. The first time ends early
    /// enough for the last clients to answer before the second is over.
    #[must_use]
    pub fn drain(mut self, spread: Duration, within: Duration) -> Self {
        self.drain = Drain { spread, within };
        self
    }

    /// Whether [`Bound::serve`](crate::Bound::serve) hears the signals by which a process is told
    /// to end: yes by default. If not, they do what they do by default, which is to end the process
    /// at once, or what the program has them do.
    #[must_use]
    pub fn signals(mut self, hears: bool) -> Self {
        self.hears_signals = hears;
        self
    }

    /// How many threads own connections; one per core by default.
    #[must_use]
    pub fn shards(mut self, shards: NonZero<usize>) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Binds the address, starts the shards and the bus. A limit of open files that is lower than
    /// the server's own limits is left as it is, and logged:
    /// [`raise_file_limit`](crate::raise_file_limit) is the program's to call.
    ///
    /// # Errors
    ///
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration) for a name that is empty or was given twice; otherwise what the
    /// operating system says of the address.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Bound> {
        let (this, logins) = self.with_accounts();
        this.start(address, logins).await
    }

    fn add(&mut self, name: &str, kind: PublicationKind, publication: Publication) {
        self.check_name("publication", name);
        let added = self
            .session
            .names
            .publication(name, self.publications.len(), kind);
        self.note("publication", added);
        self.publications.push(publication);
    }

    /// Nobody could ask for what has no name.
    fn check_name(&mut self, what: &str, name: &str) {
        if name.is_empty() {
            let text =
                format!("a {what} was given an empty name, by which no client can ask for it");
            self.mistake
                .get_or_insert_with(|| Error::configuration(text));
        }
    }

    fn note(&mut self, what: &str, added: Result<(), DuplicateName>) {
        if let Err(DuplicateName(name)) = added {
            let text = format!("the {what} '{name}' is defined twice; rename or remove one");
            self.mistake
                .get_or_insert_with(|| Error::configuration(text));
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("publications", &self.publications)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}
