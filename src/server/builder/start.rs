//! From what the program has said to a server that listens: the parts are made and wired, in the order in which they need
//! each other.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;

use tokio::net::ToSocketAddrs;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_bus::{Channels, Port};
use updraft_protocol::session::{HandlerNames, SessionConfig};
use updraft_protocol::view::Strategies;

use super::{Builder, sockjs};
use crate::account::Logins;
use crate::base::error::{Error, Result};
use crate::base::memory::Memory;
use crate::base::{files, ids, machine};
use crate::config::Settings;
use crate::handler::{Host, Mismatches};
use crate::method::Methods;
use crate::server::accept::{self, Acceptor, not_bound};
use crate::server::address::Proxies;
use crate::server::admission::Admission;
use crate::server::front::Front;
use crate::server::handle::Handle;
use crate::server::health::HealthChecks;
use crate::server::origin::{Origins, Policy};
use crate::server::routes::{self, Routes};
use crate::server::sites::Sites;
#[cfg(feature = "tls")]
use crate::server::tls::{Handshake, Tls};
use crate::server::{BoundServer, StopOnDrop};
use crate::shard::polling_sessions::PollingSessions;
use crate::shard::{Prepared, ResumableSessions, Shard, Shared};
use crate::stream::{Service, Speaks};
use crate::telemetry::Gauges;

impl Builder {
    pub(super) async fn start(
        self,
        address: impl ToSocketAddrs + fmt::Debug,
        logins: Option<Arc<Logins>>,
    ) -> Result<BoundServer> {
        let is_encrypted = self.is_encrypted();
        let settings = Arc::new(self.settings);
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        settings.check()?;
        let proxies = Proxies::parse(&settings.trusted_proxies, &settings.address_source)?;
        let policy = Policy::parse(&settings.origins)?;
        sockjs::check(&self.sockjs, &self.services)?;
        let health = self.health.as_ref();
        if let Some(mistake) = health.and_then(HealthChecks::mistake) {
            return Err(Error::configuration(mistake));
        }
        let ddp = Service {
            options: self.sockjs,
            speaks: Speaks::Ddp,
        };
        let sites = Sites::new(settings.http.path_prefix.clone(), ddp, self.services)
            .with_health(self.health);
        let paths: Vec<&str> = self.routes.iter().map(|(path, _)| path.as_str()).collect();
        routes::check(&paths, &sites)?;
        let polling = settings.polling;
        files::check(polling.sessions.saturating_add(settings.inbox.arrivals));
        let socket = accept::bind(&settings.listener, address).await?;
        let local_addr = socket.local_addr()?;
        // Whether only this machine reaches the server.
        let is_local = local_addr.ip().to_canonical().is_loopback() && proxies.is_empty();
        let count = settings
            .shards
            .or_else(|| std::thread::available_parallelism().ok());
        let count = count.map_or(1, NonZero::get);
        let memory = Arc::new(Memory::new(memory_limit(settings.memory_limit), count));
        let prepared = (0..count)
            .map(|number| Prepared::new(number, settings.inbox, memory.clone()))
            .collect::<Result<Vec<_>>>()?;
        let (rates, rules) = (self.rates, settings.rules);
        let limiter = rates.limiter(rules, &self.methods, &self.publications);
        let gauges = Gauges {
            #[cfg(feature = "tls")]
            failed_certificates: self.tls.as_ref().map(Tls::failures).unwrap_or_default(),
            ..Gauges::default()
        };
        let host = Arc::new(Host {
            channels: Channels::new(self.bus, settings.bus.clone()),
            settings: settings.handlers,
            limiter,
            mismatches: Mismatches::new(is_local),
            runtime: Runtime::current(),
            tasks: TaskTracker::new(),
            gauges: Arc::new(gauges),
            memory,
        });
        let session = Arc::new(session_config(&settings, self.names, self.strategies));
        let shared = Arc::new(Shared {
            host,
            publications: self.publications,
            methods: Arc::new(Methods::new(session.clone(), self.methods)),
            session,
            orders: self.orders,
            hooks: self.hooks,
            draining: CancellationToken::new(),
            shards: TaskTracker::new(),
            background: TaskTracker::new(),
            polling: Arc::new(PollingSessions::new(polling)),
            resumable: ResumableSessions::of(prepared.iter().map(Prepared::inbox)),
        });
        let ports = prepared
            .iter()
            .map(|shard| shard.inbox() as Arc<dyn Port>)
            .collect();
        let shards = prepared
            .into_iter()
            .map(|shard| shard.start(shared.clone(), settings.clients))
            .collect::<Result<Arc<[Shard]>>>()?;
        shared.host.channels.start(ports, &shared.background)?;
        let has_proxies = !proxies.is_empty();
        let origins = Origins::new(policy, local_addr.ip(), has_proxies, is_encrypted);
        let admission = Admission::new(proxies, origins, settings.addresses, shared.clone());
        let front = Front::new(
            shards.clone(),
            shared.clone(),
            admission,
            sites,
            settings.clone(),
        );
        let close_timeout = settings.clients.close_timeout;
        let handle = Handle::new(shared.clone(), shards, settings.drain, close_timeout);
        if let Some(logins) = logins {
            let watch = logins.watch(handle.deserted().clone());
            shared.background.spawn_on(watch, &shared.host.runtime);
        }
        let routes = self.routes.into_iter();
        let routes = routes.map(|(path, route)| (path, route(handle.clone())));
        let routes = Routes::new(routes.collect());
        let acceptor = Acceptor::new(Arc::new(front), routes);
        #[cfg(feature = "tls")]
        let acceptor = match &self.tls {
            Some(tls) => {
                super::tls::watch(tls, settings.tls.watch_interval, &shared);
                acceptor.with_handshake(Handshake::new(tls, settings.tls.handshake_timeout))
            }
            None => acceptor,
        };
        let stop = StopOnDrop(handle.clone());
        Ok(BoundServer {
            // Last: nobody connects to a server that does not come to be.
            listener: socket
                .listen(settings.listener.backlog.into())
                .map_err(|error| not_bound(local_addr, &error))?,
            local_addr,
            acceptor,
            hears_signals: settings.drain.signals,
            #[cfg(feature = "tls")]
            tls: self.tls,
            stop,
            handle,
        })
    }
}

/// What all sessions share.
fn session_config(
    settings: &Settings,
    names: HandlerNames,
    strategies: Strategies,
) -> SessionConfig {
    let mut config = SessionConfig::default();
    config.settings = settings.sessions.clone();
    config.max_running_bytes = settings.clients.queued_bytes;
    config.new_object_id = ids::object_id;
    config.names = names;
    config.strategies = strategies;
    config
}

/// How much may wait in the whole process, which is said once.
fn memory_limit(set: Option<usize>) -> usize {
    let available = machine::memory();
    let bytes = set.unwrap_or_else(|| machine::share(available));
    let is_default = set.is_none();
    tracing::info!(bytes, ?available, is_default, "So much may wait in memory.");
    bytes
}
