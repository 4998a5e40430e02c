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
use updraft_bus::{Bus, WhenAway};
use updraft_protocol::session::{DuplicateName, HandlerNames, PublicationKind};
use updraft_protocol::vent::{EncodingChoice, VentOptions};
use updraft_protocol::view::{Strategies, Strategy};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::Bound;
use super::handle::Handle;
use super::health::HealthChecks;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::account::{Accounts, Authenticator};
use crate::base::error::{Error, Result};
use crate::config::Settings;
use crate::handler::Handler;
use crate::method::{Call, Method};
use crate::publication::{Publication, Subscription, Vent};
use crate::shard::SilenceLimit;
use crate::shard::orders::Orders;
use crate::stream::{Service, SockJs};

/// Collects what a server is to do; [`bind`](Self::bind) makes it one.
///
/// A name that is given twice, or is of no use, is an error of `bind`.
pub struct Builder {
    settings: Settings,
    /// Names of publications and methods, by the places of these.
    names: HandlerNames,
    publications: Vec<Publication>,
    methods: Vec<Method>,
    strategies: Strategies,
    accounts: Option<Accounts>,
    /// In the order in which they are asked.
    authenticators: Vec<Box<dyn Authenticator>>,
    bus: Bus,
    routes: Vec<Route>,
    /// How DDP is served over SockJS.
    sockjs: SockJs,
    /// SockJS services of the program's own.
    services: Vec<Service>,
    health: Option<HealthChecks>,
    /// None where clients speak in the open.
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    rates: edge::Rates,
    orders: Orders,
    /// The first mistake in what was registered.
    mistake: Option<Error>,
}

/// Makes a filter once the server is there.
type Route = Box<dyn FnOnce(Handle) -> BoxedFilter<(Response,)> + Send>;

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            names: HandlerNames::default(),
            publications: Vec::new(),
            methods: Vec::new(),
            strategies: Strategies::default(),
            accounts: None,
            authenticators: Vec::new(),
            bus: Bus::default(),
            routes: Vec::new(),
            sockjs: SockJs::meteor(),
            services: Vec::new(),
            health: None,
            #[cfg(feature = "tls")]
            tls: None,
            rates: edge::Rates::default(),
            orders: Orders::default(),
            mistake: None,
        }
    }
}

impl Builder {
    /// Replaces all [settings](Settings).
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::Settings;
    ///
    /// let mut settings = Settings::default();
    /// settings.clients.flow = 2 << 20;
    /// let builder = Server::builder().settings(settings);
    /// ```
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes some of the [settings](Settings), which are the defaults otherwise. May be called
    /// several times.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// let builder = Server::builder().configure(|settings| settings.clients.flow = 2 << 20);
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

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
        self.names.universal(self.publications.len());
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
        let added = self.names.method(name, self.methods.len());
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
        self.settings.bus.when_away = when_away;
        self
    }

    /// What a message of the bus may be: so many bytes (1 MiB by default), nested so deeply (64). What is larger is
    /// dropped on receipt and counted, and cannot be emitted.
    #[must_use]
    pub fn payload_limit(mut self, bytes: usize, depth: usize) -> Self {
        self.settings.bus.payload.bytes = bytes;
        self.settings.bus.payload.json.depth = depth;
        self
    }

    /// How many channels [`Handle::failures_by_channel`] tells apart; 100 by default.
    #[must_use]
    pub fn failing_channels(mut self, count: usize) -> Self {
        self.settings.bus.failing_channels = count;
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
        self.strategies.set(collection, strategy);
        self
    }

    /// The encoding of Vent publications that do not choose their own; [`EncodingChoice::Auto`] by default.
    #[must_use]
    pub fn encoding(mut self, encoding: EncodingChoice) -> Self {
        self.settings.sessions.encoding = encoding;
        self
    }

    /// Keeps names from being used as Vent ids in the collection encoding: those of the client's own collections.
    #[must_use]
    pub fn reserve(mut self, collections: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = collections
            .into_iter()
            .map(|name| name.into().into_boxed_str());
        self.settings.sessions.reserved.extend(names);
        self
    }

    /// Pings a client of which nothing was heard for a whole `interval`, and closes its connection after a further
    /// `timeout` of silence; 15 s each by default. As Meteor looks once per interval, the ping comes between one and two
    /// intervals after the last message. An interval of zero switches both off.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.settings.sessions.heartbeat_interval = interval;
        self.settings.sessions.heartbeat_timeout = timeout;
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
        self.settings.clients.silence = SilenceLimit { interval, timeout };
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
        self.settings.drain.spread = spread;
        self.settings.drain.within = within;
        self
    }

    /// Whether [`Bound::serve`](crate::Bound::serve) hears the signals by which a process is told
    /// to end: yes by default. If not, they do what they do by default, which is to end the process
    /// at once, or what the program has them do.
    #[must_use]
    pub fn signals(mut self, hears: bool) -> Self {
        self.settings.drain.signals = hears;
        self
    }

    /// How many threads own connections; one per core by default.
    #[must_use]
    pub fn shards(mut self, shards: NonZero<usize>) -> Self {
        self.settings.shards = Some(shards);
        self
    }

    /// Binds the address, starts the shards and the bus. A limit of open files that is lower than
    /// the server's own limits is left as it is, and logged:
    /// [`raise_file_limit`](crate::raise_file_limit) is the program's to call.
    ///
    /// # Errors
    ///
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration) for a name that was given twice; otherwise what the
    /// operating system says of the address.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Bound> {
        let (this, logins) = self.with_accounts();
        this.start(address, logins).await
    }

    fn add(&mut self, name: &str, kind: PublicationKind, publication: Publication) {
        let added = self.names.publication(name, self.publications.len(), kind);
        self.note("publication", added);
        self.publications.push(publication);
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
