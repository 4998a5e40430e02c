//! Who is let in at the edge: by origin and host, by address, and by where a proxy says that a
//! client is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::Running;
use updraft::prelude::*;
use updraft::{AddressSource, Builder, ErrorKind, Object, TrustedProxies};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::transport::{array, session_path};
use warp::Filter;

const WEBSOCKET: &str = "/websocket";

/// Asks with these header lines; the answer's status.
fn status(server: &Running, method: &str, path: &str, version: &str, lines: &[&str]) -> u16 {
    let address = server.url().strip_prefix("ws://").unwrap();
    let address = address.strip_suffix(WEBSOCKET).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{method} {path} HTTP/{version}\r\n");
    for line in lines {
        request.push_str(line);
        request.push_str("\r\n");
    }
    socket.write_all((request + "\r\n").as_bytes()).unwrap();
    // "HTTP/1.1 101"
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.rsplit(' ').next().unwrap().parse().unwrap()
}

fn get(server: &Running, path: &str, lines: &[&str]) -> u16 {
    status(server, "GET", path, "1.1", lines)
}

/// What a WebSocket handshake with these header lines, all on one line, is answered.
fn handshake(server: &Running, lines: &str) -> u16 {
    let usual = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let lines: Vec<&str> = usual.into_iter().chain(lines.split("; ")).collect();
    get(server, WEBSOCKET, &lines)
}

/// A client behind a proxy that has passed on these addresses; the status if it is refused.
fn from(server: &Running, forwarded: &str) -> Result<Client, u16> {
    match Client::connect_with(server.url(), &[("X-Forwarded-For", forwarded)]) {
        Ok(client) => Ok(client),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn row_021_deviation_030_origins_are_judged_before_the_upgrade() {
    let server = Running::start(Server::builder().configure(|settings| {
        settings
            .origins
            .allowed
            .push("https://*.app.example".to_owned())
    }));
    for lines in [
        "Host: localhost:4000",
        "Host: localhost:4000; Origin: http://localhost:4000",
        "Host: 127.0.0.1:4000; Origin: http://localhost:3000",
        "Host: [::1]:4000; Origin: https://[::1]",
        "Host: localhost; Origin: https://my.app.example",
        "Host: my.app.example; Origin: https://my.app.example",
    ] {
        assert_eq!(handshake(&server, lines), 101, "{lines}");
    }
    let refused = [
        "Host: localhost; Origin: https://evil.example",
        "Host: localhost; Origin: https://app.example",
        "Host: localhost; Origin: null",
        "Host: localhost; Origin: http://localhost; Origin: https://evil.example",
        // A name that points here: DNS rebinding.
        "Host: evil.example; Origin: https://evil.example",
        "Host: evil.example",
        "Host: localhost; Sec-Fetch-Site: cross-site; Referer: https://evil.example/page",
    ];
    for lines in refused {
        assert_eq!(handshake(&server, lines), 403, "{lines}");
    }
    assert_eq!(server.stats().refused_origins, refused.len() as u64);
}

#[test]
fn row_021_programs_are_kept_out_only_when_said_so() {
    let server = Running::start(
        Server::builder().configure(|settings| settings.origins.allow_missing = false),
    );
    assert_eq!(handshake(&server, "Host: localhost"), 403);
    let page = "Host: localhost; Origin: http://localhost";
    assert_eq!(handshake(&server, page), 101);
}

#[test]
fn row_021_any_origin_is_let_in_only_when_said_so() {
    let server =
        Running::start(Server::builder().configure(|settings| settings.origins.allow_any = true));
    for lines in [
        "Host: localhost; Origin: https://evil.example",
        "Host: evil.example; Origin: https://evil.example",
        "Host: localhost; Origin: null",
    ] {
        assert_eq!(handshake(&server, lines), 101, "{lines}");
    }
}

#[test]
fn row_021_behind_a_proxy_its_host_is_the_servers() {
    let server = Running::start(
        Server::builder().configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1)),
    );
    for (lines, expected) in [
        ("Host: app.example; Origin: https://app.example", 101),
        (
            "Host: inner:3000; X-Forwarded-Host: app.example; Origin: https://app.example",
            101,
        ),
        (
            "Host: inner:3000; X-Forwarded-Host: app.example; Origin: https://evil.example",
            403,
        ),
        ("Host: inner:3000; Origin: http://localhost:3000", 403),
    ] {
        assert_eq!(handshake(&server, lines), expected, "{lines}");
    }
}

#[test]
fn row_021_a_page_of_another_origin_cannot_talk_through_a_frame() {
    let iframe = |builder: Builder| {
        let server = Running::start(builder);
        let host = server.url().strip_prefix("ws://").unwrap();
        let mut http = Http::connect(host.strip_suffix(WEBSOCKET).unwrap());
        let page = http.ask("GET /sockjs/iframe.html", &[], "");
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").map(str::to_owned);
        page.text();
        policy
    };
    let app = iframe(Server::builder().configure(|settings| {
        settings
            .origins
            .allowed
            .push("https://app.example".to_owned())
    }));
    let app = app.expect("a policy");
    assert!(app.starts_with("frame-ancestors 'self' "), "{app}");
    assert!(app.ends_with(" https://app.example"), "{app}");
    assert_eq!(
        iframe(Server::builder().configure(|settings| settings.origins.allow_any = true)),
        None
    );
}

#[test]
fn row_021_routes_of_the_program_are_its_own_business() {
    let route = warp::path!("hello").map(|| "hi");
    let server = Running::start(Server::builder().route("/", warp::service(route)));
    let lines = ["Host: evil.example", "Origin: https://evil.example"];
    assert_eq!(get(&server, "/hello", &lines), 200);
}

#[test]
fn row_021_what_is_no_origin_is_an_error_when_the_server_is_built() {
    let runtime = crate::common::runtime();
    for bad in ["app.example", "https://app.example/", "*", ""] {
        let bound = runtime.block_on(
            Server::builder()
                .configure(|settings| settings.origins.allowed.push(bad.to_owned()))
                .bind("127.0.0.1:0"),
        );
        let error = bound.expect_err("no origin");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let named = format!("origins.allowed: {bad:?} is not an origin");
        assert!(error.to_string().starts_with(&named), "{error}");
    }
}

#[test]
fn row_019_a_host_that_is_missing_or_absurd_is_400_wherever() {
    let server =
        Running::start(Server::builder().configure(|settings| settings.origins.allow_any = true));
    for path in ["/", WEBSOCKET, "/sockjs/info"] {
        for lines in [
            &[][..],
            &["Host:"],
            &["Host: a b"],
            &["Host: a/b"],
            &["Host: evil@a"],
            &["Host: a:b"],
            &["Host: a", "Host: b"],
        ] {
            assert_eq!(get(&server, path, lines), 400, "{path} {lines:?}");
        }
    }
    assert_eq!(status(&server, "GET", "/", "1.0", &[]), 404);
    assert_eq!(get(&server, "/", &["Host: a"]), 404);
}

#[test]
fn row_012_connections_per_address_are_limited() {
    let builder = Server::builder().configure(|settings| {
        settings.trusted_proxies = TrustedProxies::Hops(1);
        settings.addresses.connections = Some(2);
    });
    let server = Running::start(builder);
    let one = from(&server, "192.0.2.1").expect("the first");
    let _two = from(&server, "forged, 192.0.2.1").expect("the second");
    assert_eq!(from(&server, "192.0.2.1").err(), Some(429));
    assert_eq!(from(&server, "192.0.2.7, 192.0.2.1").err(), Some(429));
    let _other = from(&server, "192.0.2.2").expect("another address");
    assert_eq!(server.stats().refused_connections, 2);
    one.close();
    let mut again = None;
    eventually("there is room again", || {
        again = from(&server, "192.0.2.1").ok();
        again.is_some()
    });
    assert_eq!(from(&server, "192.0.2.1").err(), Some(429));
}

/// Posts from an address; the answer's status.
fn post(server: &Running, address: &str, path: &str, body: &str) -> u16 {
    let mut http = http(server);
    let headers = [("X-Forwarded-For", address)];
    let answer = http.ask(&format!("POST {path}"), &headers, body);
    let status = answer.status;
    // To its end: a poll that is cut ends its session.
    answer.text();
    status
}

fn http(server: &Running) -> Http {
    Http::connect(server.url().split('/').nth(2).expect("a host"))
}

/// Opens a session over HTTP, which nobody polls; its path.
fn poll_once(server: &Running, address: &str) -> Result<String, u16> {
    let path = session_path();
    match post(server, address, &format!("{path}/xhr"), "") {
        200 => Ok(path),
        refused => Err(refused),
    }
}

/// Sends to a session over HTTP; the answer's status.
fn send(server: &Running, address: &str, path: &str, message: &str) -> u16 {
    post(
        server,
        address,
        &format!("{path}/xhr_send"),
        &array(message),
    )
}

/// A session over HTTP that has connected; its path.
#[track_caller]
fn connected(server: &Running, address: &str) -> String {
    let path = poll_once(server, address).expect("room");
    let sessions = server.stats().sessions;
    assert_eq!(send(server, address, &path, CONNECT), 204);
    eventually("it is connected", || server.stats().sessions > sessions);
    path
}

fn behind_a_proxy() -> Builder {
    Server::builder().configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
}

/// Ends the server, and with it the sessions that nobody polls.
fn end(server: &Running) {
    server.begin_shutdown(PATIENCE);
    eventually("it has ended", || server.has_ended());
}

#[test]
fn row_105_deviation_034_found_102_an_address_that_names_unknown_sessions_is_told_of_none_but_its_own()
 {
    let (guesser, other) = ("192.0.2.1", "192.0.2.2");
    let builder = behind_a_proxy().configure(|settings| {
        settings.addresses.unknown_sessions.requests = 3;
        settings.addresses.unknown_sessions.within = Duration::from_secs(3600);
    });
    let server = Running::start(builder);
    let (own, others) = (connected(&server, guesser), connected(&server, other));
    let unknown = |address| send(&server, address, &session_path(), CONNECT);
    for path in ["/sockjs/nothing", "/sockjs/a/b/nothing", "/elsewhere"] {
        assert_eq!([(); 2].map(|()| post(&server, guesser, path, "")), [404; 2]);
    }
    let guesses = [(); 5].map(|()| unknown(guesser));
    assert_eq!(guesses, [404, 404, 404, 429, 429]);
    assert_eq!(unknown(other), 404);
    // Guessing right is no use.
    let ping = r#"{"msg":"ping"}"#;
    assert_eq!(send(&server, guesser, &others, ping), 429);
    assert_eq!(send(&server, other, &others, ping), 204);
    // All else goes on.
    assert_eq!(send(&server, guesser, &own, ping), 204);
    let forwarded = format!("X-Forwarded-For: {guesser}");
    assert_eq!(get(&server, "/sockjs/info", &["Host: a", &forwarded]), 200);
    connected(&server, guesser);
    from(&server, guesser).expect("a WebSocket");
    let url = server.url().replace(WEBSOCKET, &session_path());
    let headers = [("X-Forwarded-For", guesser)];
    Client::connect_with(&format!("{url}/websocket"), &headers).expect("a session");
    end(&server);
}

#[test]
fn found_102_sessions_that_are_opened_and_left_alone_keep_no_websocket_out() {
    let server = Running::start(
        behind_a_proxy().configure(|settings| settings.addresses.connections = Some(2)),
    );
    let address = "192.0.2.1";
    for _ in 0..10 {
        poll_once(&server, address).expect("room for the newest");
    }
    let _one = from(&server, address).expect("the first");
    let _two = from(&server, address).expect("the second");
    assert_eq!(from(&server, address).err(), Some(429));
    assert_eq!(poll_once(&server, address).err(), Some(429));
    eventually("the others have ended", || {
        server.stats().polling_sessions == 0
    });
}

#[test]
fn found_208_an_address_has_a_part_of_all_polling_sessions() {
    let server =
        Running::start(behind_a_proxy().configure(|settings| settings.polling.sessions = 8));
    let [flood, other] = ["192.0.2.1", "192.0.2.2"];
    let first = poll_once(&server, flood).expect("room");
    let mut waiting = http(&server);
    let headers = [("X-Forwarded-For", flood)];
    let answer = waiting.ask(&format!("POST {first}/xhr"), &headers, "");
    for _ in 0..100 {
        poll_once(&server, flood).expect("room for the newest");
        assert!(server.stats().polling_sessions <= 2, "a quarter of all");
    }
    // Who is made to go hears of it, and those that have connected stay.
    assert_eq!(answer.text(), "c[1013,\"Too many sessions\"]\n");
    let own = [(); 2].map(|()| connected(&server, flood));
    for _ in 0..100 {
        assert_eq!(poll_once(&server, flood), Err(429));
    }
    for path in &own {
        assert_eq!(send(&server, flood, path, r#"{"msg":"ping"}"#), 204);
    }
    connected(&server, other);
    from(&server, flood).expect("a WebSocket");
    let stats = server.stats();
    let counted = (stats.polling_sessions, stats.refused_connections);
    assert_eq!(counted, (3, 100));
    end(&server);
}

#[test]
fn found_208_the_part_of_an_address_can_be_set_and_all_is_the_end_of_it() {
    let builder = behind_a_proxy().configure(|settings| settings.polling.sessions = 3);
    let server = Running::start(
        builder.configure(|settings| settings.polling.sessions_per_address = Some(2)),
    );
    let addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2"];
    let _sessions = addresses.map(|address| connected(&server, address));
    assert_eq!(poll_once(&server, "192.0.2.1"), Err(429));
    assert_eq!(poll_once(&server, "192.0.2.2"), Err(503));
    assert_eq!(poll_once(&server, "192.0.2.3"), Err(503));
    end(&server);
}

/// Shows what its handler sees of the connection.
async fn shown(subscription: Subscription) -> Result<()> {
    let connection = subscription.connection();
    let address = connection.client_address().map(|it| it.to_string());
    let headers = Object::from(connection.headers());
    subscription.added("c", "c", ejson!({ "addr": address, "headers": headers }));
    Ok(())
}

/// What a handler sees of a connection with these headers.
fn seen(builder: Builder, headers: &[(&'static str, &str)]) -> String {
    let server = Running::start(builder.publish("conn", shown));
    let mut client = Client::connect_with(server.url(), headers).unwrap();
    client.send_text(CONNECT);
    client.expect_any_text();
    client.send_text(r#"{"msg":"sub","id":"1","name":"conn"}"#);
    let added = client.expect_any_text();
    let host = server.url().strip_prefix("ws://").unwrap();
    let host = host.strip_suffix(WEBSOCKET).unwrap();
    added.replace(host, "HOST")
}

#[test]
fn ddp_223_row_016_deviation_031_the_address_is_that_behind_trusted_proxies() {
    let forwarded = [("X-Forwarded-For", "6.6.6.6, 192.0.2.1, 10.0.0.1")];
    for (proxies, address) in [
        (0, r#""127.0.0.1""#),
        (1, r#""10.0.0.1""#),
        (2, r#""192.0.2.1""#),
        (4, "null"),
    ] {
        let seen = seen(
            Server::builder()
                .configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(proxies)),
            &forwarded,
        );
        assert_eq!(
            seen,
            format!(
                r#"{{"msg":"added","collection":"c","id":"c","fields":{{"addr":{address},"headers":{{"x-forwarded-for":"6.6.6.6, 192.0.2.1, 10.0.0.1","host":"HOST"}}}}}}"#
            )
        );
    }
}

fn trusted(networks: &[&str]) -> TrustedProxies {
    TrustedProxies::Networks(networks.iter().map(ToString::to_string).collect())
}

#[test]
fn row_016_the_address_is_that_behind_proxies_in_these_networks() {
    let forwarded = [("X-Forwarded-For", "6.6.6.6, 192.0.2.1, 10.0.0.1")];
    for (networks, address) in [
        (&["10.0.0.0/8"][..], "127.0.0.1"),
        (&["127.0.0.1"], "10.0.0.1"),
        (&["127.0.0.0/8", "10.0.0.0/8"], "192.0.2.1"),
    ] {
        let seen = seen(
            Server::builder().configure(|settings| settings.trusted_proxies = trusted(networks)),
            &forwarded,
        );
        assert!(seen.contains(&format!(r#""addr":"{address}""#)), "{seen}");
    }
    let bad = Server::builder()
        .configure(|settings| settings.trusted_proxies = trusted(&["10.0.0.0/99"]));
    let bound = crate::common::runtime().block_on(bad.bind("127.0.0.1:0"));
    let error = bound.expect_err("no network").to_string();
    assert!(
        error.starts_with("trusted_proxies: \"10.0.0.0/99\""),
        "{error}"
    );
}

/// The address that a client is seen to have, by a setting and headers.
fn address(
    source: &AddressSource,
    proxies: TrustedProxies,
    headers: &[(&'static str, &str)],
) -> String {
    let server = Server::builder().configure(|settings| {
        settings.address_source = source.clone();
        settings.trusted_proxies = proxies;
    });
    let seen = seen(server, headers);
    let (_, address) = seen.split_once(r#""addr":"#).unwrap();
    address.split(',').next().unwrap().to_owned()
}

#[test]
fn found_318_forwarded_and_named_headers_say_the_address_if_a_proxy_sends_them() {
    let headers = [
        (
            "Forwarded",
            r#"for=6.6.6.6, for="[2001:db8::1]:4711";proto=https"#,
        ),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Fly-Client-IP", "192.0.2.7"),
    ];
    let named = AddressSource::Header("Fly-Client-IP".to_owned());
    for (source, expected) in [
        (AddressSource::Forwarded, r#""2001:db8::1""#),
        (named, r#""192.0.2.7""#),
        (AddressSource::XForwardedFor, r#""6.6.6.6""#),
    ] {
        let local = || trusted(&["127.0.0.0/8"]);
        assert_eq!(address(&source, local(), &headers), expected);
        assert_eq!(
            address(&source, TrustedProxies::Hops(1), &headers),
            expected
        );
        // Whoever is no proxy may say what it likes.
        let elsewhere = trusted(&["10.0.0.0/8"]);
        assert_eq!(address(&source, elsewhere, &headers), r#""127.0.0.1""#);
    }
    let bad =
        Server::builder().configure(|settings| settings.address_source = AddressSource::Forwarded);
    let bound = crate::common::runtime().block_on(bad.bind("127.0.0.1:0"));
    let error = bound.expect_err("nobody is trusted").to_string();
    assert!(error.starts_with("address_source: "), "{error}");
}

/// A server that believes what these say in the PROXY protocol.
fn announced(proxies: TrustedProxies) -> Running {
    let builder = Server::builder()
        .publish("conn", shown)
        .configure(|settings| {
            settings.address_source = AddressSource::ProxyProtocol;
            settings.trusted_proxies = proxies;
        });
    Running::start(builder)
}

/// The address of a client whose connection begins with this.
fn announced_address(server: &Running, header: &[u8]) -> Option<String> {
    let host = server.url().strip_prefix("ws://").unwrap();
    let mut socket = TcpStream::connect(host.strip_suffix(WEBSOCKET).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(header).unwrap();
    let mut client = Client::over(socket, server.url()).ok()?;
    client.send_text(CONNECT);
    client.expect_any_text();
    client.send_text(r#"{"msg":"sub","id":"1","name":"conn"}"#);
    let seen = client.expect_any_text();
    client.close();
    let (_, address) = seen.split_once(r#""addr":"#).unwrap();
    Some(address.split(',').next().unwrap().to_owned())
}

#[test]
fn found_318_a_proxy_says_the_address_before_everything_else() {
    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\x0a\0\0\x01\x12\x67\0\x50";
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let found = |text: &str| Some(text.to_owned());
    for proxies in [TrustedProxies::Hops(1), trusted(&["127.0.0.1"])] {
        let server = announced(proxies);
        assert_eq!(announced_address(&server, V1), found(r#""192.0.2.1""#));
        assert_eq!(announced_address(&server, V2), found(r#""192.0.2.2""#));
        assert_eq!(announced_address(&server, LOCAL), found(r#""127.0.0.1""#));
        let refused = server.stats().refused_connections;
        assert_eq!(
            announced_address(&server, b""),
            None,
            "it must say something"
        );
        assert_eq!(announced_address(&server, b"PROXY nonsense\r\n"), None);
        assert_eq!(server.stats().refused_connections, refused + 2);
    }
    // Whoever is no proxy cannot say anything.
    let server = announced(trusted(&["10.0.0.0/8"]));
    assert_eq!(announced_address(&server, b""), found(r#""127.0.0.1""#));
    assert_eq!(announced_address(&server, V1), None);
    assert_eq!(announced_address(&server, V2), None);
}

#[test]
fn ddp_224_handlers_see_the_headers_that_meteor_shows() {
    let headers = [
        ("accept-language", "en"),
        ("authorization", "Basic c2VjcmV0"),
        ("cookie", "secret=1"),
        ("dnt", "1"),
        ("origin", "http://localhost"),
        ("referer", "http://localhost/page"),
        ("user-agent", "a browser"),
        ("via", "1.1 proxy"),
        ("x-client-ip", "192.0.2.1"),
        ("x-cluster-client-ip", "192.0.2.2"),
        ("x-forwarded-for", "192.0.2.3"),
        ("x-forwarded-host", "app.example"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
        ("x-other", "secret"),
        ("x-real-ip", "192.0.2.4"),
        ("x-ssl", "1"),
    ];
    assert_eq!(
        seen(Server::builder(), &headers),
        concat!(
            r#"{"msg":"added","collection":"c","id":"c","fields":{"addr":"127.0.0.1","headers":{"#,
            r#""referer":"http://localhost/page","x-client-ip":"192.0.2.1","x-forwarded-for":"192.0.2.3","#,
            r#""x-forwarded-host":"app.example","x-forwarded-port":"443","x-cluster-client-ip":"192.0.2.2","#,
            r#""via":"1.1 proxy","x-real-ip":"192.0.2.4","x-forwarded-proto":"https","x-ssl":"1","dnt":"1","#,
            r#""host":"HOST","user-agent":"a browser","accept-language":"en"}}}"#,
        )
    );
}
