//! Which paths belong to which service.

use std::sync::Arc;

use super::health::{Check, HealthChecks};
use crate::stream::Service;

/// The services of a server, by path.
#[derive(Debug)]
pub(super) struct Sites {
    /// Before every path: empty, or as Meteor takes it from `ROOT_URL`, with a slash at its
    /// beginning and none at its end.
    path_prefix: String,
    /// The service of DDP, whose number is 0.
    ddp: Arc<Service>,
    /// The program's own services, numbered from 1.
    others: Vec<Arc<Service>>,
    /// Health checks, if there are any: before everything else, and without the path prefix.
    health: Option<HealthChecks>,
    /// Whether raw WebSocket is at one path only, because the others are a Meteor app's.
    is_beside_meteor: bool,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    /// Below the prefix of a service.
    SockJs(Site),
    /// DDP's raw WebSocket.
    WebSocket,
    /// A health check.
    Health(Check),
    /// A route of the program's own, or nothing.
    Elsewhere,
}

/// A service, and the path below it that a request is for.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The service's number.
    pub(super) number: usize,
    pub(super) service: Arc<Service>,
    /// The part of the path behind the service's prefix.
    pub(super) path: String,
}

impl Sites {
    pub(super) fn new(path_prefix: String, ddp: Service, others: Vec<Service>) -> Self {
        Self {
            path_prefix,
            ddp: Arc::new(ddp),
            others: others.into_iter().map(Arc::new).collect(),
            health: None,
            is_beside_meteor: false,
        }
    }

    pub(super) fn with_health(self, health: Option<HealthChecks>) -> Self {
        Self { health, ..self }
    }

    /// Leaves every path that is not certainly this server's to a Meteor app.
    pub(super) fn beside_meteor(self, is_beside_meteor: bool) -> Self {
        Self {
            is_beside_meteor,
            ..self
        }
    }

    /// The service of DDP, over SockJS and raw WebSocket.
    pub(super) fn ddp(&self) -> &Arc<Service> {
        &self.ddp
    }

    /// Where DDP is to be asked for: at its raw WebSocket or, without that, below SockJS's prefix.
    pub(super) fn websocket_path(&self) -> String {
        let options = &self.ddp.options;
        let path = if options.websocket {
            ""
        } else {
            &*options.prefix
        };
        format!("{}{path}/websocket", self.path_prefix)
    }

    /// What is at a path.
    ///
    /// A path belongs to the service with the longest prefix. Raw WebSocket is at `/websocket` and
    /// `/websocket/`, behind the path prefix. If none is configured, it is behind any path that
    /// belongs to no service, so that a proxy need not remove a prefix; but not beside a Meteor
    /// app, which may have WebSockets of its own there.
    pub(super) fn find(&self, path: &str) -> Destination {
        let checks = self.health.as_ref();
        if let Some(check) = checks.and_then(|checks| checks.find(path)) {
            return Destination::Health(check);
        }
        let Some(path) = path.strip_prefix(&self.path_prefix) else {
            return Destination::Elsewhere;
        };
        let services = std::iter::once(&self.ddp).chain(&self.others);
        let sites = services.enumerate().filter_map(|(number, service)| {
            let below = path.strip_prefix(&service.options.prefix)?;
            let is_below = below.is_empty() || below.starts_with('/');
            is_below.then_some((number, service, below))
        });
        if let Some((number, service, path)) =
            sites.max_by_key(|(_, service, _)| service.options.prefix.len())
        {
            return Destination::SockJs(Site {
                number,
                service: service.clone(),
                path: path.to_owned(),
            });
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.strip_suffix("/websocket") {
            Some("") => Destination::WebSocket,
            Some(_) if self.path_prefix.is_empty() && !self.is_beside_meteor => {
                Destination::WebSocket
            }
            _ => Destination::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{SockJs, Speaks};

    fn sites(path_prefix: &str) -> Sites {
        let service = |options: SockJs| Service {
            options,
            speaks: Speaks::Ddp,
        };
        let others = vec![service(SockJs::at("/a")), service(SockJs::at("/a/b"))];
        Sites::new(path_prefix.to_owned(), service(SockJs::meteor()), others)
    }

    fn is_websocket(sites: &Sites, path: &str) -> bool {
        matches!(sites.find(path), Destination::WebSocket)
    }

    fn sockjs(sites: &Sites, path: &str) -> Option<(usize, String)> {
        match sites.find(path) {
            Destination::SockJs(site) => Some((site.number, site.path)),
            _ => None,
        }
    }

    #[test]
    fn ddp_217_raw_websocket_is_at_any_path_that_ends_so() {
        let sites = sites("");
        for path in [
            "/websocket",
            "/websocket/",
            "/websocket/websocket",
            "/app/websocket",
            "/sockjsapp/websocket",
        ] {
            assert!(is_websocket(&sites, path), "{path}");
        }
        for path in [
            "/",
            "/websockets",
            "/xwebsocket",
            "/xwebsocket/x",
            "/sockjs/websocket",
            "/sockjs/000/abcdefgh/websocket",
            "/a/websocket",
        ] {
            assert!(!is_websocket(&sites, path), "{path}");
        }
    }

    #[test]
    fn ddp_222_a_path_prefix_stands_before_all() {
        let sites = sites("/app");
        for path in ["/app/websocket", "/app/websocket/"] {
            assert!(is_websocket(&sites, path), "{path}");
        }
        for path in ["/websocket", "/app/x/websocket", "/application/websocket"] {
            assert!(!is_websocket(&sites, path), "{path}");
        }
        assert_eq!(
            sockjs(&sites, "/app/sockjs/info"),
            Some((0, "/info".to_owned()))
        );
        assert_eq!(sockjs(&sites, "/sockjs/info"), None);
    }

    #[test]
    fn gateway_076_beside_a_meteor_app_other_websockets_are_the_apps() {
        let sites = sites("").beside_meteor(true);
        assert!(is_websocket(&sites, "/websocket"));
        assert!(is_websocket(&sites, "/websocket/"));
        assert!(!is_websocket(&sites, "/__meteor__hmr__/websocket"));
        assert!(sockjs(&sites, "/sockjs/info").is_some());
    }

    #[test]
    fn the_longest_prefix_counts() {
        let sites = sites("");
        let found = |path: &str| sockjs(&sites, path);
        assert_eq!(found("/sockjs"), Some((0, String::new())));
        assert_eq!(found("/a/info"), Some((1, "/info".to_owned())));
        assert_eq!(found("/a/b/info"), Some((2, "/info".to_owned())));
        assert_eq!(found("/a/bc"), Some((1, "/bc".to_owned())));
        assert_eq!(found("/sockjsx"), None);
    }
}
