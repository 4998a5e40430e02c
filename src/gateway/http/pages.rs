//! The answers that this server gives instead of Meteor. They name a server by its number; its
//! address stands in the log.

use bytes::Bytes;
use http_body_util::Full;
use warp::http::{HeaderValue, Response, StatusCode, header};

/// The methods that are passed on.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Which of how many servers; the first has the number 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    pub(super) number: usize,
    pub(super) of: usize,
}

/// No server accepts the request, or the one that did has broken off.
pub(super) fn not_there(which: Which) -> Response<Full<Bytes>> {
    failure(StatusCode::BAD_GATEWAY, "is not there", which)
}

/// The server takes too long.
pub(super) fn no_answer(which: Which) -> Response<Full<Bytes>> {
    failure(StatusCode::GATEWAY_TIMEOUT, "does not answer", which)
}

/// The method is not for a server behind this one.
pub(super) fn not_allowed() -> Response<Full<Bytes>> {
    let text = "Method not allowed\n".to_owned();
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, text);
    let allowed = HeaderValue::from_static(ALLOWED);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// The client's body has no end.
pub(super) fn bad_request() -> Response<Full<Bytes>> {
    page(StatusCode::BAD_REQUEST, "Bad request\n".to_owned())
}

fn failure(status: StatusCode, what: &str, which: Which) -> Response<Full<Bytes>> {
    let Which { number, of } = which;
    let number = number.saturating_add(1);
    page(
        status,
        format!("The app behind this server {what} (server {number} of {of}).\n"),
    )
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    let fresh = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, fresh);
    response
}
