//! What an HTTP method and a path below the prefix ask for. Every path except those of the iframe
//! page may end in a slash. Only the second segment identifies a session.

use super::form::unescape;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Route<'a> {
    /// `Welcome to SockJS!`
    Greeting,
    /// What the server can do.
    Info,
    /// The page that gives the client access to this server's origin.
    Iframe,
    /// A WebSocket without SockJS framing.
    RawWebSocket,
    /// One of a session's URLs.
    Session {
        /// The session's name, as written in the path.
        name: &'a str,
        /// What is requested of the session.
        endpoint: Endpoint,
    },
    /// A browser's preflight request; these are the methods that it may use.
    Options(&'static str),
    /// 405: the path exists with these methods.
    MethodNotAllowed(&'static str),
    /// 404.
    NotFound,
}

/// A URL of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Endpoint {
    /// A WebSocket. It is always a session of its own, whatever its name.
    WebSocket,
    /// A request whose response carries frames.
    Receive(Receiving),
    /// A request whose body carries messages.
    Send(Sending),
}

/// How a transport sends to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Receiving {
    /// One frame for each request.
    Xhr,
    /// A stream of frames.
    XhrStreaming,
    /// A stream of frames for the browser's `EventSource`.
    EventSource,
    /// A stream of frames as script elements of a page.
    HtmlFile,
    /// One frame for each request, as a script.
    Jsonp,
}

/// How a transport receives from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Sending {
    /// The body is an array of strings.
    Xhr,
    /// The body is an array of strings, or a form with that array in its field `d`.
    Jsonp,
}

/// Decides what a request asks for. `path` is the part after the prefix: empty, or beginning with a
/// slash.
pub fn route<'a>(method: &str, path: &'a str) -> Route<'a> {
    let Some((found, methods)) = find(path) else {
        return Route::NotFound;
    };
    let mut allowed = methods.split(", ");
    match method {
        "OPTIONS" if allowed.any(|it| it == "OPTIONS") => Route::Options(methods),
        _ if allowed.any(|it| it == method) => found,
        _ => Route::MethodNotAllowed(methods),
    }
}

/// What a path is for, and the methods that it accepts.
fn find(path: &str) -> Option<(Route<'_>, &'static str)> {
    if is_iframe(path) {
        return Some((Route::Iframe, "GET"));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some((Route::Greeting, "GET"));
    }
    let segments: Vec<&str> = path.strip_prefix('/')?.splitn(4, '/').collect();
    match *segments {
        ["info"] => Some((Route::Info, "OPTIONS, GET")),
        ["websocket"] => Some((Route::RawWebSocket, "GET")),
        [server, name, last] if is_segment(server) && is_segment(name) => {
            let (endpoint, methods) = endpoint(last)?;
            Some((Route::Session { name, endpoint }, methods))
        }
        _ => None,
    }
}

fn endpoint(segment: &str) -> Option<(Endpoint, &'static str)> {
    Some(match segment {
        "websocket" => (Endpoint::WebSocket, "GET"),
        "xhr" => (Endpoint::Receive(Receiving::Xhr), "OPTIONS, POST"),
        "xhr_send" => (Endpoint::Send(Sending::Xhr), "OPTIONS, POST"),
        "xhr_streaming" => (Endpoint::Receive(Receiving::XhrStreaming), "OPTIONS, POST"),
        "eventsource" => (Endpoint::Receive(Receiving::EventSource), "GET"),
        "htmlfile" => (Endpoint::Receive(Receiving::HtmlFile), "GET"),
        "jsonp" => (Endpoint::Receive(Receiving::Jsonp), "GET"),
        "jsonp_send" => (Endpoint::Send(Sending::Jsonp), "POST"),
        _ => return None,
    })
}

/// Longest segment of a session's URL, in bytes.
const MAX_SEGMENT: usize = 128;

/// Whether a segment can name a server or a session: any text without a dot, encoded or not.
fn is_segment(segment: &str) -> bool {
    let is_plain = |name: &str| {
        !name.is_empty() && !name.contains(|it: char| matches!(it, '.' | '/') || it.is_control())
    };
    segment.len() <= MAX_SEGMENT && unescape(segment).is_some_and(|name| is_plain(&name))
}

fn is_iframe(path: &str) -> bool {
    let version = path
        .strip_prefix("/iframe")
        .and_then(|rest| rest.strip_suffix(".html"));
    version.is_some_and(|version| {
        version
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'.' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(path: &str, method: &str) -> Option<(String, Endpoint)> {
        match route(method, path) {
            Route::Session { name, endpoint } => Some((name.to_owned(), endpoint)),
            _ => None,
        }
    }

    #[test]
    fn ddp_199_202_fixed_urls_with_and_without_a_slash() {
        for (path, found) in [
            ("", Route::Greeting),
            ("/", Route::Greeting),
            ("/info", Route::Info),
            ("/info/", Route::Info),
            ("/websocket", Route::RawWebSocket),
            ("/websocket/", Route::RawWebSocket),
            ("/iframe.html", Route::Iframe),
            ("/iframe-0.1.2abc-dirty_2144.html", Route::Iframe),
        ] {
            assert_eq!(route("GET", path), found, "{path}");
        }
    }

    #[test]
    fn ddp_210_row_017_what_is_not_there() {
        for path in [
            "//",
            "///",
            "/a",
            "/a/a",
            "/a/a/",
            "/a.html",
            "/iframe.htm",
            "/IFRAME.html",
            "/iframe.HTML",
            "/iframe-/.html",
            "/iframe.html/",
            "/a./a/xhr",
            "/a/a./xhr",
            "/./a/xhr",
            "//xhr",
            "///xhr",
            "/a//xhr",
            "//a/xhr",
            "/a/a/xhr//",
            "/a/a/xhr/x",
            "/a/%2e%2E/xhr",
            "/a/b%2fc/xhr",
            "/a/%00/xhr",
            "/a/%c0%ae/xhr",
            "/a/%zz/xhr",
            "/a/a/nothing",
            "x/a/xhr",
            "/../a/xhr",
            "/info/x",
            "/info//",
        ] {
            assert_eq!(route("GET", path), Route::NotFound, "{path}");
            assert_eq!(route("POST", path), Route::NotFound, "{path}");
        }
        let long = format!("/a/{}/xhr", "x".repeat(129));
        assert_eq!(route("POST", &long), Route::NotFound);
    }

    #[test]
    fn sessions_go_by_the_second_segment() {
        let xhr = Endpoint::Receive(Receiving::Xhr);
        for path in ["/000/it/xhr", "/999/it/xhr/", "/a%20b/it/xhr"] {
            assert_eq!(session(path, "POST"), Some(("it".into(), xhr)), "{path}");
        }
        let send = Endpoint::Send(Sending::Jsonp);
        assert_eq!(session("/_/1/jsonp_send", "POST"), Some(("1".into(), send)));
        let websocket = Some(("a b%20".to_owned(), Endpoint::WebSocket));
        assert_eq!(session("/x/a b%20/websocket", "GET"), websocket);
    }

    #[test]
    fn ddp_201_215_row_018_methods() {
        for (method, path, found) in [
            ("GET", "/a/b/xhr", Route::MethodNotAllowed("OPTIONS, POST")),
            (
                "GET",
                "/a/b/xhr_send",
                Route::MethodNotAllowed("OPTIONS, POST"),
            ),
            ("POST", "/a/b/websocket", Route::MethodNotAllowed("GET")),
            ("OPTIONS", "/a/b/jsonp", Route::MethodNotAllowed("GET")),
            ("POST", "/info", Route::MethodNotAllowed("OPTIONS, GET")),
            ("PUT", "", Route::MethodNotAllowed("GET")),
            ("OPTIONS", "/info", Route::Options("OPTIONS, GET")),
            ("OPTIONS", "/a/b/xhr", Route::Options("OPTIONS, POST")),
            (
                "OPTIONS",
                "/a/b/xhr_streaming",
                Route::Options("OPTIONS, POST"),
            ),
            ("get", "/info", Route::MethodNotAllowed("OPTIONS, GET")),
        ] {
            assert_eq!(route(method, path), found, "{method} {path}");
        }
    }
}
