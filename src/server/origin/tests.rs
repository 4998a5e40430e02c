//! Origins as browsers send them, and what is made of them.

use super::*;

/// Asks with these headers, a line each.
fn judge(origins: &Origins, lines: &str) -> Result<(), OriginRefusal> {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.trim().parse().unwrap());
    }
    origins.judge(&headers)
}

fn origins(allowed: &[&str], listener: &str, trusted_proxies: usize) -> Origins {
    let settings = OriginSettings {
        allowed: allowed.iter().map(ToString::to_string).collect(),
        ..OriginSettings::default()
    };
    Origins::new(
        Policy::parse(&settings).unwrap(),
        listener.parse().unwrap(),
        trusted_proxies > 0,
        false,
    )
}

/// Whether a page of `origin` may ask for `host`.
fn may(origins: &Origins, host: &str, origin: &str) -> bool {
    judge(origins, &format!("host: {host}\norigin: {origin}")).is_ok()
}

#[test]
fn row_021_a_page_may_talk_to_the_server_that_it_is_from() {
    let server = origins(&[], "0.0.0.0", 0);
    for (host, origin) in [
        ("a.example", "http://a.example"),
        ("a.example", "https://a.example"),
        ("a.example:443", "https://A.Example"),
        ("a.example", "https://a.example:443"),
        ("a.example:", "http://a.example:80"),
        ("a.example:3000", "http://a.example:3000"),
        ("[2001:db8::1]:3000", "http://[2001:db8::1]:3000"),
    ] {
        assert!(may(&server, host, origin), "{host} {origin}");
    }
    for (host, origin) in [
        ("a.example", "http://b.example"),
        ("a.example", "http://a.example:8080"),
        ("a.example:80", "https://a.example"),
        ("a.example", "http://a.example.evil.example"),
        ("a.example", "http://a.example/"),
        ("a.example", "http://evil@a.example"),
        ("a.example", "a.example"),
        ("a.example", "null"),
        ("", ""),
        ("a.example", "http://localhost:3000"),
    ] {
        assert!(!may(&server, host, origin), "{host} {origin}");
    }
    let twice = "host: a.example\norigin: http://a.example\norigin: http://evil.example";
    assert!(judge(&server, twice).is_err());
}

#[test]
fn row_021_configured_origins_may_talk_to_it() {
    let allowed = [
        "https://app.example",
        "https://*.b.example:8443",
        "capacitor://localhost",
    ];
    let server = origins(&allowed, "0.0.0.0", 0);
    for origin in [
        "https://app.example",
        "https://app.example:443",
        "https://x.b.example:8443",
        "https://y.x.B.example:8443",
        "capacitor://localhost",
    ] {
        assert!(may(&server, "a.example", origin), "{origin}");
    }
    for origin in [
        "http://app.example",
        "https://app.example:444",
        "https://x.app.example",
        "https://b.example:8443",
        "https://.b.example:8443",
        "https://xb.example:8443",
        "https://x.b.example",
        "null",
    ] {
        assert!(!may(&server, "a.example", origin), "{origin}");
    }
    assert!(may(&origins(&["null"], "0.0.0.0", 0), "a.example", "null"));
    for bad in [
        "",
        "app.example",
        "https://",
        "https://a/",
        "https://*",
        "*",
        "://a",
        "http://a:x",
    ] {
        assert_eq!(Allowed::parse(bad), None, "{bad}");
    }
}

#[test]
fn row_021_a_loopback_listener_is_for_this_machine() {
    for listener in ["127.0.0.1", "::1"] {
        let server = origins(&["https://tunnel.example"], listener, 0);
        for origin in [
            "http://localhost:3000",
            "http://127.9.8.7",
            "https://[::1]:1",
            "http://LOCALHOST",
        ] {
            assert!(may(&server, "127.0.0.1:4000", origin), "{origin}");
            assert!(may(&server, "tunnel.example", origin), "{origin}");
        }
        assert!(!may(
            &server,
            "127.0.0.1:4000",
            "http://localhost.evil.example"
        ));
        for host in [
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "192.168.0.1",
            "x y",
        ] {
            let same = format!("http://{host}");
            assert!(!may(&server, host, &same), "{host}");
            let refused = judge(&server, &format!("host: {host}"));
            assert_eq!(refused, Err(OriginRefusal::Host(host.to_owned())));
        }
        for host in ["localhost:4000", "127.0.0.2", "[::1]:4000"] {
            assert_eq!(judge(&server, &format!("host: {host}")), Ok(()));
        }
    }
    let behind_proxy = origins(&[], "127.0.0.1", 1);
    assert!(may(&behind_proxy, "a.example", "https://a.example"));
    assert!(!may(&behind_proxy, "a.example", "http://localhost:3000"));
}

#[test]
fn row_021_behind_proxies_the_forwarded_host_is_the_servers() {
    let asked = "host: 10.0.0.1:3000\nx-forwarded-host: a.example, b.example\norigin: https://";
    let page = |host: &str| format!("{asked}{host}");
    let server = origins(&[], "0.0.0.0", 1);
    assert!(judge(&server, &page("a.example")).is_ok());
    assert!(judge(&server, &page("b.example")).is_ok());
    assert!(judge(&server, &page("c.example")).is_err());
    let server = origins(&[], "0.0.0.0", 0);
    assert!(judge(&server, &page("a.example")).is_err());
}

#[test]
fn row_021_a_request_without_an_origin_is_a_programs_unless_a_browser_says_otherwise() {
    let mut server = origins(&["https://app.example"], "0.0.0.0", 0);
    let host = "host: a.example\n";
    let script = "sec-fetch-site: cross-site\nreferer: https://";
    for missing in [true, false] {
        server.policy.missing = missing;
        let plain = judge(&server, host);
        assert_eq!(plain.is_ok(), missing, "{plain:?}");
        let typed = judge(&server, &format!("{host}sec-fetch-site: none"));
        assert_eq!(typed.is_ok(), missing, "{typed:?}");
        let own = judge(&server, &format!("{host}sec-fetch-site: same-origin"));
        assert_eq!(own, Ok(()));
        let app = judge(&server, &format!("{host}{script}app.example/page?x"));
        assert_eq!(app, Ok(()));
        let evil = judge(&server, &format!("{host}{script}evil.example/app.example"));
        assert_eq!(
            evil,
            Err(OriginRefusal::Origin("https://evil.example".into()))
        );
        let hidden = judge(&server, &format!("{host}sec-fetch-site: cross-site"));
        assert_eq!(hidden, Err(OriginRefusal::Origin(String::new())));
    }
}

#[test]
fn row_021_any_origin_is_allowed_only_when_said_so() {
    let mut server = origins(&[], "127.0.0.1", 0);
    server.policy.any = true;
    assert!(may(&server, "evil.example", "https://evil.example"));
    assert!(may(&server, "evil.example", "null"));
}

#[test]
fn row_019_absurd_hosts_are_none() {
    for good in [
        "a",
        "a:1",
        "a:",
        "a_b.example",
        "1.2.3.4:65535",
        "[::1]",
        "[::1]:1",
    ] {
        assert!(Authority::parse(good).is_some(), "{good}");
    }
    let long = "a".repeat(254);
    for bad in [
        "", ":1", "a:65536", "a:-1", "a:+1", "a/b", "a b", "a@b", "[::1", "[x]", "[::1]x", "a:1:2",
        "é", &long,
    ] {
        assert_eq!(Authority::parse(bad), None, "{bad}");
    }
}

#[test]
fn row_021_a_frame_is_for_the_pages_that_may_talk_to_the_server() {
    let framing = |origins: &Origins| {
        let policy = origins.frame_ancestors();
        policy.map(|policy| policy.to_str().unwrap().to_owned())
    };
    let allowed = [
        "https://app.example",
        "https://*.b.example:8443",
        "http://[::1]:4000",
        "null",
    ];
    let policy = framing(&origins(&allowed, "0.0.0.0", 0)).unwrap();
    let expected =
        "frame-ancestors 'self' https://app.example https://*.b.example:8443 http://[::1]:4000";
    assert_eq!(policy, expected);
    let local = framing(&origins(&["https://tunnel.example"], "127.0.0.1", 0)).unwrap();
    let expected = "frame-ancestors 'self' http://localhost:* https://localhost:* http://127.0.0.1:* \
                    https://127.0.0.1:* https://tunnel.example";
    assert_eq!(local, expected);
    let settings = OriginSettings {
        allow_any: true,
        ..OriginSettings::default()
    };
    let any = Policy::parse(&settings).unwrap();
    let any = Origins::new(any, "0.0.0.0".parse().unwrap(), false, false);
    assert_eq!(framing(&any), None);
}

#[test]
fn row_021_over_tls_a_page_that_came_without_is_of_another_origin() {
    let server = |proxies: usize| {
        let listener = "0.0.0.0".parse().unwrap();
        let policy = Policy::parse(&OriginSettings::default()).unwrap();
        Origins::new(policy, listener, proxies > 0, true)
    };
    assert!(may(&server(0), "a.example", "https://a.example"));
    assert!(may(&server(0), "a.example:8443", "https://a.example:8443"));
    assert!(!may(&server(0), "a.example", "http://a.example"));
    assert!(!may(&server(0), "a.example:80", "http://a.example"));
    // A proxy in front may speak without TLS to its clients.
    assert!(may(&server(1), "a.example", "http://a.example"));
}
