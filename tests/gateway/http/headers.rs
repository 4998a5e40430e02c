//! The headers of requests and answers.

use updraft::TrustedProxies;

use super::{exchange, http, in_front_of, plain};
use crate::web::{App, say};

#[test]
fn gateway_063_hop_by_hop_headers_are_dropped_both_ways() {
    let app = App::saying(
        "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: X-Once, Keep-Alive\r\n\
         Keep-Alive: timeout=5\r\nX-Once: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\n",
    );
    let server = plain(&app);
    let mut http = http(&server);
    let sent = [
        ("Connection", "keep-alive, X-Mine"),
        ("Keep-Alive", "timeout=1"),
        ("X-Mine", "1"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "h2c"),
        ("X-Kept", "1"),
    ];
    let answer = http.ask("GET /", &sent, "");
    for name in ["x-once", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    let head = app.head();
    for name in [
        "connection",
        "keep-alive",
        "x-mine",
        "te",
        "proxy-",
        "upgrade",
    ] {
        assert!(!head.contains(&format!("\r\n{name}")), "{name} in {head}");
    }
    assert!(head.contains("\r\nx-kept: 1\r\n"), "{head}");
}

#[test]
fn gateway_073_the_app_sees_who_asks_and_for_what_host() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let claims = [("X-Forwarded-For", "1.1.1.1"), ("X-Real-IP", "1.1.1.1")];
    let server = plain(&app);
    http(&server).ask("GET /", &claims, "");
    let trusting = in_front_of(&[app.port()], |builder| {
        builder.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
    });
    http(&trusting).ask("GET /", &claims, "");
    let heads = app.heads();
    let [untrusted, trusted] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    let host = format!("\r\nhost: {}\r\n", server.address());
    assert!(untrusted.contains(&host), "{untrusted}");
    assert!(
        untrusted.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{untrusted}"
    );
    assert!(
        untrusted.contains("\r\nx-forwarded-proto: http\r\n"),
        "{untrusted}"
    );
    assert!(!untrusted.contains("x-real-ip"), "{untrusted}");
    assert!(
        trusted.contains("\r\nx-forwarded-for: 1.1.1.1, 127.0.0.1\r\n"),
        "{trusted}"
    );
    assert!(trusted.contains("\r\nx-real-ip: 1.1.1.1\r\n"), "{trusted}");
}

#[test]
fn gateway_074_cookies_and_cache_headers_are_the_apps() {
    let app = App::start(|head, peer| {
        assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
        match head.split(' ').next() {
            Some("HEAD") => say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 99\r\n\r\n"),
            _ if head.contains("if-none-match") => say(
                peer,
                "HTTP/1.1 304 Same\r\nETag: \"e\"\r\nCache-Control: max-age=1\r\n\r\n",
            ),
            _ => say(
                peer,
                "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nSet-Cookie: c=1; Path=/\r\n\
                 Set-Cookie: d=2\r\nCache-Control: no-cache\r\nVary: X\r\nDate: then\r\n\
                 Content-Length: 2\r\n\r\nok",
            ),
        }
    });
    let server = plain(&app);
    let request = |line: &str| {
        let request = format!("{line}Host: a\r\nCookie: a=1; b=2\r\nConnection: close\r\n\r\n");
        exchange(&server, &request).replace("connection: close\r\n", "")
    };
    assert_eq!(
        request("GET / HTTP/1.1\r\n"),
        "HTTP/1.1 200 Fine\r\ncontent-type: text/html\r\nset-cookie: c=1; Path=/\r\n\
         set-cookie: d=2\r\ncache-control: no-cache\r\nvary: X\r\ndate: then\r\n\
         content-length: 2\r\n\r\nok"
    );
    let same = request("GET / HTTP/1.1\r\nIf-None-Match: \"e\"\r\n");
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    assert!(
        same.contains("\r\netag: \"e\"\r\ncache-control: max-age=1\r\n"),
        "{same}"
    );
    let head = request("HEAD / HTTP/1.1\r\n");
    assert!(head.contains("\r\ncontent-length: 99\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}
