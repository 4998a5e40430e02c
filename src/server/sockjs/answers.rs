//! SockJS's answers, each with the headers that SockJS prescribes.

use std::fmt;
use std::time::{Duration, SystemTime};

use sha1::{Digest, Sha1};
use updraft_protocol::sockjs;
use warp::Reply;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::stream::SockJs;

const PRIVATE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const PUBLIC: &str = "public, max-age=31536000";
const YEAR: Duration = Duration::from_secs(31_536_000);

/// Answers to one request.
pub(super) struct Answers<'a> {
    options: &'a SockJs,
    request: &'a HeaderMap,
}

impl<'a> Answers<'a> {
    pub(super) fn new(options: &'a SockJs, request: &'a HeaderMap) -> Self {
        Self { options, request }
    }

    /// `/info`: what the server offers. Clients also measure the round trip by it.
    pub(super) fn info(&self) -> Response {
        let entropy = getrandom::u32().unwrap_or_default();
        let origins = if self.options.cors {
            r#""origins":["*:*"],"#
        } else {
            ""
        };
        let (websocket, cookies) = (self.options.websocket, self.options.cookies);
        let info = format!(
            r#"{{"websocket":{websocket},{origins}"cookie_needed":{cookies},"entropy":{entropy}}}"#
        );
        let mut response = info.into_response();
        let content_type = "application/json; charset=UTF-8";
        set(&mut response, header::CONTENT_TYPE, content_type);
        set(&mut response, header::CACHE_CONTROL, PRIVATE);
        self.allow_cross_origin(&mut response);
        response
    }

    /// The answer to a preflight request, valid for a year.
    pub(super) fn options(&self, methods: &'static str) -> Response {
        let mut response = empty(StatusCode::NO_CONTENT);
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
            (header::ACCESS_CONTROL_MAX_AGE, "31536000"),
        ] {
            if self.options.cors {
                set(&mut response, name, value);
            }
        }
        keep_for_a_year(&mut response);
        self.allow_cross_origin(&mut response);
        response
    }

    /// The page for the iframe, which depends only on the options. `ancestors` names the pages that
    /// may have it in a frame.
    pub(super) fn iframe(&self, ancestors: Option<&HeaderValue>) -> Response {
        let page = sockjs::iframe(&self.options.script);
        let digest = Sha1::digest(page.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("\"{hex}\"");
        let known = self.request.get_all(header::IF_NONE_MATCH).iter();
        let is_known = known
            .filter_map(|tags| tags.to_str().ok())
            .flat_map(|tags| tags.split(','))
            .map(|known| known.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*");
        let mut response = if is_known {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = page.into_response();
            set(
                &mut response,
                header::CONTENT_TYPE,
                "text/html; charset=UTF-8",
            );
            response
        };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if let Some(ancestors) = ancestors {
            let name = header::CONTENT_SECURITY_POLICY;
            response.headers_mut().insert(name, ancestors.clone());
        }
        keep_for_a_year(&mut response);
        response
    }

    /// Adds the headers that all answers at a session's URLs have.
    pub(super) fn of_session(&self, mut response: Response) -> Response {
        set(&mut response, header::CACHE_CONTROL, PRIVATE);
        self.allow_cross_origin(&mut response);
        if self.options.cookies {
            let cookie = format!("JSESSIONID={}; path=/", self.cookie().unwrap_or("dummy"));
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
        }
        response
    }

    /// The cookie that the client has sent.
    fn cookie(&self) -> Option<&str> {
        let cookies = self.request.get_all(header::COOKIE).iter();
        cookies
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="))
    }

    /// Lets pages of other origins read the answer.
    fn allow_cross_origin(&self, response: &mut Response) {
        if !self.options.cors {
            return;
        }
        let headers = response.headers_mut();
        match self.request.get(header::ORIGIN) {
            Some(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                let yes = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
            None => {
                let all = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
            }
        }
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let wanted = self.request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
}

/// 200 with plain text.
pub(super) fn text(text: &'static str) -> Response {
    let mut response = text.into_response();
    set(&mut response, header::CONTENT_TYPE, PLAIN);
    response
}

/// 204, with a type nevertheless: without one some browsers expect XML.
pub(super) fn no_content() -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    set(&mut response, header::CONTENT_TYPE, PLAIN);
    response
}

pub(super) fn not_found() -> Response {
    with_text(StatusCode::NOT_FOUND, "Not found".to_owned())
}

/// 405, with neither a body nor a type.
pub(super) fn not_allowed(methods: &'static str) -> Response {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut response, header::ALLOW, methods);
    response
}

/// 500 with the reason, which SockJS answers to mistakes of the client.
pub(super) fn failure(reason: &impl fmt::Display) -> Response {
    let mut response = with_text(StatusCode::INTERNAL_SERVER_ERROR, reason.to_string());
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// 503: there are as many sessions, or messages, as there may be.
pub(super) fn busy() -> Response {
    with_text(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too much is queued".to_owned(),
    )
}

/// The answer to a body that is not read to its end.
pub(super) fn refusal(status: StatusCode) -> Response {
    with_text(
        status,
        status.canonical_reason().unwrap_or_default().to_owned(),
    )
}

pub(super) fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

/// Whether the body is a form.
pub(super) fn is_form(request: &HeaderMap) -> bool {
    let content_type = request.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|it| {
        it.trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

const PLAIN: &str = "text/plain; charset=UTF-8";

fn with_text(status: StatusCode, text: String) -> Response {
    let mut response = warp::reply::with_status(text, status).into_response();
    set(&mut response, header::CONTENT_TYPE, PLAIN);
    response
}

fn empty(status: StatusCode) -> Response {
    warp::reply::with_status(warp::reply(), status).into_response()
}

fn keep_for_a_year(response: &mut Response) {
    set(response, header::CACHE_CONTROL, PUBLIC);
    let expires = SystemTime::now().checked_add(YEAR);
    let expires = expires.map(httpdate::fmt_http_date);
    if let Some(Ok(expires)) = expires.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::EXPIRES, expires);
    }
}
