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
use warp::Filter;

use super::Builder;
use crate::account::Logins;
use crate::base::error::{Error, Result};
use crate::base::memory::Memory;
use crate::base::{files, machine};
use crate::handler::{Host, Mismatches};
use crate::method::Methods;
use crate::server::accept::{Front, not_bound};
use crate::server::admission::Admission;
use crate::server::handle::Handle;
use crate::server::health::HealthChecks;
use crate::server::sockjs::Sites;
#[cfg(feature = "tls")]
use crate::server::tls::Tls;
use crate::server::{Bound, StopOnDrop};
use crate::shard::{Prepared, ResumableSessions, Shard, Shared};
use crate::stream::{Service, Speaks};
use crate::telemetry::Gauges;

impl Builder {
    pub(super) async fn start(
        self,
        address: impl ToSocketAddrs + fmt::Debug,
        logins: Option<Arc<Logins>>,
    ) -> Result<Bound> {
        let health = self.health.as_ref().and_then(HealthChecks::mistake);
        let mistaken = self.mistaken_path().or_else(|| self.http.mistake());
        let mistaken = mistaken.or(health);
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if let Some(mistake) = mistaken {
            return Err(Error::configuration(mistake));
        }
        files::check(self.polling.sessions().saturating_add(self.inbox.arrivals));
        let socket = self.sockets.bind(address).await?;
        let local_addr = socket.local_addr()?;
        let count = self
            .shards
            .or_else(|| std::thread::available_parallelism().ok());
        let count = count.map_or(1, NonZero::get);
        let memory = Arc::new(Memory::new(memory_limit(self.memory_limit), count));
        let prepared = (0..count)
            .map(|number| Prepared::new(number, self.inbox, memory.clone()))
            .collect::<Result<Vec<_>>>()?;
        let limiter = self.rates.limiter(&self.methods, &self.publications);
        let gauges = Gauges {
            #[cfg(feature = "tls")]
            failed_certificates: self.tls.tls.as_ref().map(Tls::failures).unwrap_or_default(),
            ..Gauges::default()
        };
        let host = Arc::new(Host {
            channels: Channels::new(self.bus, self.settings),
            patience: self.patience,
            limiter,
            mismatches: Mismatches::new(self.edge.is_local(local_addr.ip())),
            runtime: Runtime::current(),
            tasks: TaskTracker::new(),
            gauges,
            memory,
        });
        let session = Arc::new(self.session);
        let shared = Arc::new(Shared {
            host,
            publications: self.publications,
            methods: Arc::new(Methods::new(session.clone(), self.methods)),
            session,
            orders: self.orders,
            draining: CancellationToken::new(),
            shards: TaskTracker::new(),
            background: TaskTracker::new(),
            polling: Arc::new(self.polling.registry()),
            resumable: ResumableSessions::of(prepared.iter().map(Prepared::inbox)),
        });
        let ports = prepared
            .iter()
            .map(|shard| shard.inbox() as Arc<dyn Port>)
            .collect();
        let shards = prepared
            .into_iter()
            .map(|shard| shard.start(shared.clone(), self.limits))
            .collect::<Result<Arc<[Shard]>>>()?;
        shared.host.channels.start(ports, &shared.background)?;
        let admission = Admission::new(self.edge, local_addr.ip(), shared.clone());
        let ddp = Service {
            options: self.sockjs,
            speaks: Speaks::Ddp,
        };
        let sites = Sites::new(self.path_prefix, ddp, self.services).with_health(self.health);
        let limits = self.http.limits(self.inbox, self.limits);
        let front = Front::new(shards.clone(), shared.clone(), admission, sites, limits);
        #[cfg(feature = "tls")]
        let front = front.with_handshake(self.tls.handshake());
        let handle = Handle::new(shared.clone(), shards, self.drain, self.limits.linger);
        #[cfg(feature = "tls")]
        self.tls.watch(&shared);
        if let Some(logins) = logins {
            let watch = logins.watch(handle.deserted().clone());
            shared.background.spawn_on(watch, &shared.host.runtime);
        }
        let routes = self.routes.into_iter().map(|filter| filter(handle.clone()));
        let routes = routes.reduce(|all, filter| all.or(filter).unify().boxed());
        let stop = StopOnDrop(handle.clone());
        Ok(Bound {
            // Last: nobody connects to a server that does not come to be.
            listener: socket
                .listen(self.sockets.backlog.into())
                .map_err(|error| not_bound(local_addr, &error))?,
            local_addr,
            routes,
            front: Arc::new(front),
            hears_signals: self.hears_signals,
            #[cfg(feature = "tls")]
            tls: self.tls.tls,
            stop,
            handle,
        })
    }
}

/// How much may wait in the whole process, which is said once.
fn memory_limit(set: Option<usize>) -> usize {
    let available = machine::memory();
    let bytes = set.unwrap_or_else(|| machine::share(available));
    let is_default = set.is_none();
    tracing::info!(bytes, ?available, is_default, "So much may wait in memory.");
    bytes
}
