//! What a server is made of: settings, publications, methods, a bus, routes.

mod accounts;
mod gateway;
mod hooks;
mod rates;
mod sockjs;
mod start;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod workers;

pub(super) use start::MemoryLimit;

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::net::ToSocketAddrs;
use tower_service::Service as HttpService;
use updraft_bus::Bus;
#[cfg(feature = "redis")]
use updraft_bus::Redis;
use updraft_protocol::session::{DuplicateName, HandlerNames, PublicationKind};
use updraft_protocol::vent::VentOptions;
use updraft_protocol::view::{PublicationStrategy, Strategies};

use super::BoundServer;
use super::handle::Handle;
use super::health::HealthChecks;
use super::routes::Route;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::unread::RequestBody;
use crate::account::{Accounts, AnyAuthenticator};
use crate::base::error::{Error, Result};
use crate::config::Settings;
use crate::gateway::Meteor;
use crate::handler::{Handler, Hooks};
use crate::method::{Call, Method};
use crate::publication::{Publication, Subscription, Vent};
use crate::shard::orders::Orders;
use crate::stream::{Service, SockJs};
use crate::topic::ExposedTopics;
use crate::worker::Worker;

/// Collects what a server is to do; [`bind`](Self::bind) makes it one.
///
/// A name that is given twice, or a setting that is of no use, is an error of `bind`.
pub struct Builder {
    settings: Settings,
    /// Names of publications and methods, by the places of these.
    names: HandlerNames,
    publications: Vec<Publication>,
    methods: Vec<Method>,
    strategies: Strategies,
    /// Those that clients may name.
    topics: ExposedTopics,
    /// By their names.
    workers: Vec<(String, Worker)>,
    accounts: Option<Accounts>,
    /// In the order in which they are asked.
    authenticators: Vec<Box<dyn AnyAuthenticator>>,
    bus: Bus,
    /// The app behind this server, if there is one.
    meteor: Option<Meteor>,
    /// The collections into which publications may publish, if there is one.
    owned: HashSet<Box<str>>,
    /// By their paths.
    routes: Vec<(String, MakeRoute)>,
    /// How DDP is served over SockJS.
    sockjs: SockJs,
    /// SockJS services of the program's own.
    services: Vec<Service>,
    health: Option<HealthChecks>,
    /// None where clients speak in the open.
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    rates: rates::Rates,
    orders: Orders,
    hooks: Hooks,
    /// The first mistake in what was registered.
    mistake: Option<Error>,
}

/// Makes a route once the server is there.
type MakeRoute = Box<dyn FnOnce(Handle) -> Route + Send>;

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            names: HandlerNames::default(),
            publications: Vec::new(),
            methods: Vec::new(),
            strategies: Strategies::default(),
            topics: ExposedTopics::default(),
            workers: Vec::new(),
            accounts: None,
            authenticators: Vec::new(),
            bus: Bus::default(),
            meteor: None,
            owned: HashSet::new(),
            routes: Vec::new(),
            sockjs: SockJs::meteor(),
            services: Vec::new(),
            health: None,
            #[cfg(feature = "tls")]
            tls: None,
            rates: rates::Rates::default(),
            orders: Orders::default(),
            hooks: Hooks::default(),
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
    /// A handler that has not returned after 60 s
    /// ([`publication_timeout`](crate::config::SessionSettings::publication_timeout)) is dropped,
    /// and the client gets `nosub` with `Publication timed out [503]`. Longer work goes on in
    /// [`Subscription::run`].
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

    /// Registers a publication that starts by itself for every client: Meteor's publication without
    /// a name.
    #[must_use]
    pub fn publish_universal<M>(mut self, handler: impl Handler<Subscription, M>) -> Self {
        self.names.universal(self.publications.len());
        self.publications.push(Publication::ordinary("", handler));
        self
    }

    /// Registers a publication of events.
    ///
    /// The handler says by [`Vent::on`] and its like which channels the subscription follows, and
    /// returns. Like that of [`publish`](Self::publish), it is dropped after 60 s.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// async fn room(vent: Vent, room: String) -> Result<()> {
    ///     vent.on(channel!["rooms", room], |m: &Message| m.event()).await
    /// }
    ///
    /// let builder = Server::builder().vent("room", room);
    /// ```
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
        let publication = Publication::vent(name, handler).with_encoding(options.encoding);
        self.add(name, PublicationKind::Vent(options), publication);
        self
    }

    /// Registers a publication of events as Rocket.Chat's streamer: clients subscribe to
    /// `stream-NAME`.
    ///
    /// The handler gets the event name and the subscriber's arguments.
    #[must_use]
    pub fn streamer<M>(mut self, name: &str, handler: impl Handler<Vent, M>) -> Self {
        self.check_name("streamer", name);
        let name = format!("stream-{name}");
        let publication = Publication::streamer(&name, handler);
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

    /// Mounts a tower service beside DDP: a router of axum, for example, or a filter of warp by
    /// `warp::service`.
    ///
    /// It gets all requests for `path` and everything below it, and sees the whole path. If several
    /// routes fit, the one with the longest path gets the request, so a route at `/` gets what no
    /// other takes. A request that no route takes gets 404. Health checks, SockJS and DDP's
    /// WebSockets come before all routes: with an empty
    /// [`path_prefix`](crate::config::HttpSettings::path_prefix) every path that ends in
    /// `/websocket` is DDP's. That prefix does not apply to routes. A response may be a stream, and
    /// a request may be upgraded.
    ///
    /// A path that does not begin with a slash or that ends with one, two routes at the same path,
    /// and a route at a path that is DDP's or SockJS's are errors of [`bind`](Self::bind).
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # #[cfg(feature = "warp")] {
    /// use updraft::warp::{self, Filter};
    ///
    /// let version = warp::path!("api" / "version").map(|| env!("CARGO_PKG_VERSION"));
    /// let page = warp::path::end().map(|| warp::reply::html("<title>Home</title>"));
    /// let builder = Server::builder()
    ///     .route("/api", warp::service(version))
    ///     .route("/", warp::service(page));
    /// # }
    /// ```
    #[must_use]
    pub fn route<S, B>(self, path: &str, service: S) -> Self
    where
        S: HttpService<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.route_with(path, |_| service)
    }

    /// As [`route`](Self::route), for a service that needs the running server, to emit for example.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # #[cfg(feature = "warp")] {
    /// use updraft::warp::{self, Filter};
    ///
    /// let builder = Server::builder().route_with("/stats", |handle| {
    ///     warp::service(warp::path!("stats").map(move || format!("{:?}", handle.stats())))
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn route_with<S, B>(
        mut self,
        path: &str,
        service: impl FnOnce(Handle) -> S + Send + 'static,
    ) -> Self
    where
        S: HttpService<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let route: MakeRoute = Box::new(|handle| Route::new(service(handle)));
        self.routes.push((path.to_owned(), route));
        self
    }

    /// Answers load balancers, at `/healthz` and `/readyz` or where `checks` says; by default there
    /// is nothing there.
    ///
    /// The first is 200 as long as the process answers: it is for whoever restarts processes, and
    /// restarting helps against nothing else. The second is 200 while new clients may come, and 503
    /// while the server shuts down, while the bus is away, and while more is queued than
    /// [`memory_limit`](Settings::memory_limit) allows: it is for whoever sends clients here, and
    /// those that are here stay. Both answer `GET`, `HEAD` and `OPTIONS`, whatever the `Host` and
    /// the `Origin`, before all routes, and without the [path
    /// prefix](crate::config::HttpSettings::path_prefix).
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::HealthChecks;
    ///
    /// let builder = Server::builder().health_checks(HealthChecks::new());
    /// ```
    #[must_use]
    pub fn health_checks(mut self, checks: HealthChecks) -> Self {
        self.health = Some(checks);
        self
    }

    /// What sessions remember of the documents of a collection, instead of merging those of all
    /// subscriptions: Meteor's `setPublicationStrategy`.
    #[must_use]
    pub fn publication_strategy(mut self, collection: &str, strategy: PublicationStrategy) -> Self {
        self.strategies.set(collection, strategy);
        self
    }

    /// Binds the address, starts the shards and the bus. A limit of open files that is lower than
    /// the server's own limits is left as it is, and logged:
    /// [`raise_file_limit`](crate::raise_file_limit) is the program's to call.
    ///
    /// # Errors
    ///
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration) for a name that was given twice,
    /// an origin that is none and the like; of kind [`Address`](crate::ErrorKind::Address) where
    /// the address cannot be listened on, because another program does for example. Either is one
    /// line that names the value and the remedy.
    pub async fn bind(self, address: impl ToSocketAddrs + fmt::Debug) -> Result<BoundServer> {
        let (this, logins) = self.with_topics().with_workers().with_accounts();
        this.start(address, logins).await
    }

    fn add(&mut self, name: &str, kind: PublicationKind, publication: Publication) {
        self.check_name("publication", name);
        let added = self.names.publication(name, self.publications.len(), kind);
        self.note("publication", added);
        self.publications.push(publication);
    }

    /// Whether the listener speaks TLS.
    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
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
        if let Err(duplicate) = added {
            let name = duplicate.name();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_406_a_builder_begins_with_the_defaults_and_changes_what_it_is_told_to() {
        let print = |settings: &Settings| format!("{settings:#?}");
        let defaults = print(&Settings::default());
        assert_eq!(print(&Builder::default().settings), defaults);

        let mut expected = Settings::default();
        expected.clients.flow = 1;
        expected.drain.signals = false;
        let builder = Builder::default()
            .configure(|settings| settings.clients.flow = 1)
            .configure(|settings| settings.drain.signals = false);
        assert_eq!(print(&builder.settings), print(&expected));
        let builder = builder.settings(Settings::default());
        assert_eq!(
            print(&builder.settings),
            defaults,
            "they are replaced whole"
        );
    }
}
