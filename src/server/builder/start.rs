//! From what the program has said to a server that listens: the parts are made and wired, in the
//! order in which they need each other.

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

use super::gateway::gateway;
use super::{Builder, sockjs};
use crate::account::Logins;
use crate::base::error::{Error, Result};
use crate::base::memory::Memory;
use crate::base::{files, ids, machine};
use crate::config::Settings;
use crate::cursor::Cursors;
use crate::feed::Feeds;
use crate::gateway::Surroundings;
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
use crate::shard::{ClientLimits, Prepared, ResumableSessions, Shard, Shared};
use crate::stream::{Service, Speaks};
use crate::telemetry::Gauges;

impl Builder {
    pub(super) async fn start(
        mut self,
        address: impl ToSocketAddrs + fmt::Debug,
        logins: Option<Arc<Logins>>,
    ) -> Result<BoundServer> {
        let (proxies, policy) = self.check()?;
        let sites = self.take_sites()?;
        let settings = Arc::new(std::mem::take(&mut self.settings));
        let polling = settings.polling.sessions;
        files::check(polling.saturating_add(settings.inbox.arrivals));
        let socket = accept::bind(&settings.listener, address).await?;
        let local_addr = socket.local_addr()?;
        // Whether only this machine reaches the server.
        let is_local = local_addr.ip().to_canonical().is_loopback() && proxies.is_empty();
        let is_encrypted = self.is_encrypted();
        let routes = std::mem::take(&mut self.routes);
        #[cfg(feature = "tls")]
        let tls = self.tls.clone();
        let memory_limit = MemoryLimit::of(&settings);
        let memory = memory(&settings, memory_limit.bytes);
        let prepared = prepare_shards(&settings, &memory)?;
        let shared = self.share(&settings, &prepared, memory, is_local)?;
        let shards = start_shards(prepared, &shared, &settings)?;
        let origins = Origins::new(policy, local_addr.ip(), !proxies.is_empty(), is_encrypted)
            .with_cordova(shared.gateway.is_some());
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
        let routes = routes.into_iter();
        let routes = routes.map(|(path, route)| (path, route(handle.clone())));
        let acceptor = Acceptor::new(Arc::new(front), Routes::new(routes.collect()));
        #[cfg(feature = "tls")]
        let acceptor = match &tls {
            Some(tls) => {
                super::tls::watch(tls, settings.tls.watch_interval, &shared);
                acceptor.with_handshake(Handshake::new(tls, settings.tls.handshake_timeout))
            }
            None => acceptor,
        };
        Ok(BoundServer {
            // Last: nobody connects to a server that does not come to be.
            listener: socket
                .listen(settings.listener.backlog.into())
                .map_err(|error| not_bound(local_addr, &error))?,
            local_addr,
            is_encrypted,
            memory_limit,
            acceptor,
            hears_signals: settings.drain.signals,
            #[cfg(feature = "tls")]
            tls,
            stop: StopOnDrop(handle.clone()),
            handle,
        })
    }

    /// Refuses what cannot work, the first mistake in what was registered first.
    fn check(&mut self) -> Result<(Proxies, Policy)> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        self.check_meteor()?;
        self.settings.check()?;
        let settings = &self.settings;
        let proxies = Proxies::parse(&settings.trusted_proxies, &settings.address_source)?;
        let policy = Policy::parse(&settings.origins)?;
        sockjs::check(&self.sockjs, &self.services)?;
        let health = self.health.as_ref();
        match health.and_then(HealthChecks::mistake) {
            Some(mistake) => Err(Error::configuration(mistake)),
            None => Ok((proxies, policy)),
        }
    }

    /// Which paths are those of DDP, SockJS and health checks. No route may stand in their way.
    fn take_sites(&mut self) -> Result<Sites> {
        let ddp = Service {
            options: self.sockjs.clone(),
            speaks: Speaks::Ddp,
        };
        let prefix = self.settings.http.path_prefix.clone();
        let services = std::mem::take(&mut self.services);
        let sites = Sites::new(prefix, ddp, services)
            .with_health(self.health.take())
            .beside_meteor(self.meteor.is_some());
        let paths: Vec<&str> = self.routes.iter().map(|(path, _)| path.as_str()).collect();
        routes::check(&paths, &sites)?;
        Ok(sites)
    }

    /// What handlers and shards reach.
    fn share(
        self,
        settings: &Settings,
        prepared: &[Prepared],
        memory: Arc<Memory>,
        is_local: bool,
    ) -> Result<Arc<Shared>> {
        let is_encrypted = self.is_encrypted();
        let rules = self.gateway_rules(settings);
        let limiter = self
            .rates
            .limiter(settings.rules, &self.methods, &self.publications);
        let gauges = Gauges {
            #[cfg(feature = "tls")]
            failed_certificates: self.tls.as_ref().map(Tls::failures).unwrap_or_default(),
            ..Gauges::default()
        };
        let host = Arc::new(Host {
            channels: Channels::new(self.bus, settings.bus.clone()),
            feeds: Feeds::new(Runtime::current()),
            cursors: Cursors::new(settings.cursors, Runtime::current()),
            settings: settings.handlers,
            limiter,
            mismatches: Mismatches::new(is_local),
            runtime: Runtime::current(),
            tasks: TaskTracker::new(),
            gauges: Arc::new(gauges),
            memory,
        });
        let (draining, background) = (CancellationToken::new(), TaskTracker::new());
        let around = Surroundings {
            is_encrypted,
            tasks: host.tasks.clone(),
            background: background.clone(),
            runtime: host.runtime.clone(),
            draining: draining.clone(),
            gauges: host.gauges.clone(),
        };
        let meteor = self.meteor.as_ref();
        let gateway = meteor.map(|meteor| gateway(meteor, settings, around));
        let mut session = session_config(settings, self.names, self.strategies);
        session.gateway = rules;
        let session = Arc::new(session);
        Ok(Arc::new(Shared {
            host,
            publications: self.publications,
            methods: Arc::new(Methods::new(session.clone(), self.methods)),
            session,
            orders: self.orders,
            hooks: self.hooks,
            draining,
            shards: TaskTracker::new(),
            background,
            polling: Arc::new(PollingSessions::new(settings.polling)),
            gateway: gateway.transpose()?,
            resumable: ResumableSessions::of(prepared.iter().map(Prepared::inbox)),
        }))
    }
}

/// Makes the shards' inboxes; their threads need what is shared, which needs these.
fn prepare_shards(settings: &Settings, memory: &Arc<Memory>) -> Result<Vec<Prepared>> {
    (0..memory.shards())
        .map(|number| Prepared::new(number, settings.inbox, memory.clone()))
        .collect()
}

/// Starts the shards' threads, then the bus, which delivers to their inboxes.
fn start_shards(
    prepared: Vec<Prepared>,
    shared: &Arc<Shared>,
    settings: &Settings,
) -> Result<Arc<[Shard]>> {
    let inboxes = prepared.iter().map(|shard| shard.inbox() as Arc<dyn Port>);
    let ports = inboxes.collect();
    let shards = prepared
        .into_iter()
        .map(|shard| shard.start(shared.clone(), client_limits(shared, settings)))
        .collect::<Result<Arc<[Shard]>>>()?;
    shared.host.channels.start(ports, &shared.background)?;
    Ok(shards)
}

/// The limits of clients. What is passed on to Meteor may be longer than what is answered here,
/// which the sessions see to.
fn client_limits(shared: &Shared, settings: &Settings) -> ClientLimits {
    let mut limits = settings.clients;
    if shared.gateway.is_some() {
        limits.message = limits.message.max(settings.gateway.message);
    }
    limits
}

/// The account of what waits in the process, for as many shards as there will be.
fn memory(settings: &Settings, limit: usize) -> Arc<Memory> {
    let cores = || std::thread::available_parallelism().ok();
    let shards = settings.shards.or_else(cores).map_or(1, NonZero::get);
    Arc::new(Memory::new(limit, shards))
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

/// How much may wait in the whole process, and where that number comes from.
pub(in crate::server) struct MemoryLimit {
    bytes: usize,
    /// The memory of the machine or of the control group, if it is known.
    available: Option<u64>,
    is_default: bool,
}

impl MemoryLimit {
    fn of(settings: &Settings) -> Self {
        let available = machine::memory();
        let set = settings.memory_limit;
        Self {
            bytes: set.unwrap_or_else(|| machine::share(available)),
            available,
            is_default: set.is_none(),
        }
    }

    pub(in crate::server) fn log(&self) {
        let mebibytes = |bytes: u64| format!("{} MiB", bytes / (1024 * 1024));
        let limit = mebibytes(u64::try_from(self.bytes).unwrap_or(u64::MAX));
        let available = self
            .available
            .map_or_else(|| "unknown".to_owned(), mebibytes);
        let set_by = if self.is_default {
            "default"
        } else {
            "memory_limit"
        };
        tracing::info!(%limit, %available, set_by, "So much may wait in memory.");
    }
}
