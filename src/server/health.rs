//! Health checks: whether the process answers, and whether new clients may come.

use warp::Reply;
use warp::http::{HeaderValue, Method, StatusCode, header};
use warp::reply::Response;

use super::answer::plain;

/// The paths of health checks: see
/// [`Builder::health_checks`](crate::Builder::health_checks).
#[derive(Clone, Debug)]
pub struct HealthChecks {
    live: String,
    ready: String,
}

/// What a load balancer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Whether the process answers.
    Live,
    /// Whether new clients may come.
    Ready,
}

/// What decides whether new clients may come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    pub(super) is_shutting_down: bool,
    pub(super) bus_is_away: bool,
    /// Whether every Meteor server has refused its latest connection.
    pub(super) meteor_is_away: bool,
    /// Whether twice the `memory_limit` waits in the process.
    pub(super) memory_is_overloaded: bool,
}

impl HealthChecks {
    /// `/healthz` and `/readyz`.
    pub fn new() -> Self {
        Self {
            live: "/healthz".into(),
            ready: "/readyz".into(),
        }
    }

    /// The path that tells whether the process answers; the answer is always 200.
    #[must_use]
    pub fn live(mut self, path: impl Into<String>) -> Self {
        self.live = path.into();
        self
    }

    /// The path that tells whether new clients may come: 200, or 503 with the reason as text.
    #[must_use]
    pub fn ready(mut self, path: impl Into<String>) -> Self {
        self.ready = path.into();
        self
    }

    /// The check at this path, if there is one.
    pub(super) fn find(&self, path: &str) -> Option<Check> {
        match path {
            _ if path == self.live => Some(Check::Live),
            _ if path == self.ready => Some(Check::Ready),
            _ => None,
        }
    }

    /// What is wrong with the paths, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let Self { live, ready } = self;
        let mut paths = [live, ready].into_iter();
        if let Some(path) = paths.find(|path| !path.starts_with('/')) {
            return Some(format!(
                "the path of a health check, '{path}', must begin with a slash"
            ));
        }
        (live == ready).then(|| format!("both health checks are at '{live}'"))
    }
}

impl Default for HealthChecks {
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    pub(super) fn answer(self, method: &Method, condition: Condition) -> Response {
        // Some load balancers ask with OPTIONS unless they are told otherwise.
        if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
            let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
            let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        let obstacle = match self {
            Self::Live => None,
            Self::Ready => condition.obstacle(),
        };
        let (status, text) = match obstacle {
            None => (StatusCode::OK, "ok\n"),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        };
        let mut response = plain(status, text);
        let fresh = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, fresh);
        response
    }
}

impl Condition {
    /// Why no new clients should come.
    fn obstacle(self) -> Option<&'static str> {
        if self.is_shutting_down {
            Some("shutting down\n")
        } else if self.bus_is_away {
            Some("the bus is away\n")
        } else if self.meteor_is_away {
            Some("Meteor is away\n")
        } else if self.memory_is_overloaded {
            Some("too much is queued\n")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(check: Check, condition: Condition) -> u16 {
        check.answer(&Method::GET, condition).status().as_u16()
    }

    #[test]
    fn found_112_what_keeps_new_clients_away_does_not_end_the_process() {
        let well = Condition::default();
        assert_eq!(status(Check::Ready, well), 200);
        for condition in [
            Condition {
                is_shutting_down: true,
                ..well
            },
            Condition {
                bus_is_away: true,
                ..well
            },
            Condition {
                meteor_is_away: true,
                ..well
            },
            Condition {
                memory_is_overloaded: true,
                ..well
            },
        ] {
            assert_eq!(status(Check::Ready, condition), 503, "{condition:?}");
            assert_eq!(status(Check::Live, condition), 200, "{condition:?}");
        }
    }

    #[test]
    fn found_112_checks_have_paths_of_their_own() {
        let checks = HealthChecks::new().ready("/");
        assert_eq!(checks.find("/"), Some(Check::Ready));
        assert_eq!(checks.find("/healthz"), Some(Check::Live));
        assert_eq!(checks.find("/readyz"), None);
        assert_eq!(checks.mistake(), None);
        for mistaken in [checks.clone().live("/"), checks.live("healthz")] {
            assert!(mistaken.mistake().is_some(), "{mistaken:?}");
        }
    }
}
