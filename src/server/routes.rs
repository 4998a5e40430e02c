//! The program's own routes: tower services, each at a path and everything below it.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;
use hyper::service::Service as _;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use tower_service::Service;

use super::sites::{Destination, Sites};
use super::unread::RequestBody;
use crate::base::error::{Error, Result};

/// The error of a body.
type BoxError = Box<dyn StdError + Send + Sync>;

/// The body of any response, as a stream of pieces.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

type Answer = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

/// A service of any type.
pub(super) struct Route(Box<dyn Fn(Request<RequestBody>) -> Answer + Send + Sync>);

impl Route {
    /// Each request gets a clone of the service, and is sent to it once it is ready.
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = TowerToHyperService::new(service);
        Self(Box::new(move |request| {
            let answer = service.call(request);
            Box::pin(async move {
                match answer.await {
                    Ok(response) => boxed(response),
                    Err(never) => match never {},
                }
            })
        }))
    }

    pub(super) fn answer(&self, request: Request<RequestBody>) -> Answer {
        (self.0)(request)
    }
}

/// Boxes the body of a response.
pub(super) fn boxed<B>(response: Response<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// All routes of a server.
#[derive(Debug)]
pub(super) struct Routes(Vec<(String, Route)>);

impl Routes {
    pub(super) fn new(routes: Vec<(String, Route)>) -> Self {
        Self(routes)
    }

    /// The route with the longest path that a request's path is at or below, if there is one.
    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        let routes = self.0.iter().filter(|(at, _)| is_below(path, at));
        let (_, route) = routes.max_by_key(|(at, _)| at.len())?;
        Some(route)
    }
}

/// Refuses paths that no request would ever reach.
pub(super) fn check(paths: &[&str], sites: &Sites) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let is_path = path.starts_with('/') && !path.contains(['?', '#', '*']);
        let mistake = if !is_path || (path.len() > 1 && path.ends_with('/')) {
            "is not a path such as \"/\" or \"/hooks/payments\""
        } else if !matches!(sites.find(path), Destination::Elsewhere) {
            "is never asked: DDP, SockJS or a health check has that path"
        } else if paths.iter().take(index).any(|other| other == path) {
            "is defined twice; rename or remove one"
        } else {
            continue;
        };
        let text = format!("the route {path:?} {mistake}");
        return Err(Error::configuration(text));
    }
    Ok(())
}

/// Whether a path is `at` or below it.
fn is_below(path: &str, at: &str) -> bool {
    let at = at.strip_suffix('/').unwrap_or(at);
    let below = path.strip_prefix(at);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_312_a_route_has_its_path_and_all_below() {
        for path in ["/", "/a", "/a/b"] {
            assert!(is_below(path, "/"), "{path}");
        }
        for path in ["/api", "/api/", "/api/x"] {
            assert!(is_below(path, "/api"), "{path}");
        }
        for path in ["/", "/apix", "/ap", "/x/api", ""] {
            assert!(!is_below(path, "/api"), "{path}");
        }
        assert!(!is_below("*", "/"), "the server as a whole");
    }
}
