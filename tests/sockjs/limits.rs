//! What a server must not put up with: sessions that nobody wants, bodies that nobody sends,
//! readers who do not read.

use super::*;

#[test]
fn row_108_deviation_033_abandoned_sessions_end_and_are_bounded() {
    let builder = open()
        .sockjs(hasty())
        .configure(|settings| settings.polling.sessions = 3);
    let builder = builder.configure(|settings| settings.polling.sessions_per_address = Some(4));
    let server = Running::start(builder);
    let mut http = server.http();
    let tasks = server.stats().tasks;
    for _ in 0..3 {
        begin_polling(&mut http);
    }
    let stats = server.stats();
    assert_eq!((stats.connections, stats.polling_sessions), (3, 3));
    assert!(
        stats.tasks <= tasks + 1,
        "one for the HTTP connection, none for sessions"
    );
    let refused = http.ask(&format!("POST {}/xhr", session_path()), &[], "");
    assert_eq!(refused.status, 503);
    refused.text();
    drop(http);
    server.rests();
    let mut http = server.http();
    begin_polling(&mut http);
    drop(http);
    server.rests();
}

#[test]
fn row_109_ten_thousand_strings_count_one_by_one() {
    let (gate, begun) = (Gate::new(), Count::default());
    let (at_gate, counting) = (gate.clone(), begun.clone());
    let wait = move |_: Call| {
        counting.add();
        let gate = at_gate.clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    };
    let builder = open()
        .sockjs(hasty().disconnect_delay(Duration::from_secs(60)))
        .method("wait", wait)
        .configure(|settings| {
            settings.clients.queued_messages = 10;
            settings.clients.queued_bytes = 1 << 20;
        });
    let server = Running::start(builder);
    let mut client = Way::XhrPolling.connect(server.url()).unwrap();
    client.send_text(CONNECT).unwrap();
    client.receive(PATIENCE).unwrap();
    // The transport sends one string at a time, so the array is made by hand.
    let path = session_path();
    let mut http = server.http();
    let (poll, send) = (format!("POST {path}/xhr"), format!("POST {path}/xhr_send"));
    assert_eq!(http.body(&poll, ""), "o\n");
    let mut messages = vec![CONNECT.to_owned()];
    messages.extend(
        (1..10_000)
            .map(|id| format!(r#"{{"msg":"method","method":"wait","id":"{id}","params":[]}}"#)),
    );
    let strings: Vec<String> = messages.iter().map(|text| array(text)).collect();
    let strings: Vec<&str> = strings
        .iter()
        .map(|it| it.trim_matches(['[', ']']))
        .collect();
    let body = format!("[{}]", strings.join(","));
    assert_eq!(http.ask(&send, &[], &body).status, 204);
    // It waits, and so does the next request; the neighbour does not notice.
    gate.await_arrival(&server);
    let (told, answered) = mpsc::sync_channel(1);
    let mut other = server.http();
    let (next, one_more) = (send.clone(), body.clone());
    thread::spawn(move || told.send(other.ask(&next, &[], &one_more).status));
    client.send_text(r#"{"msg":"ping"}"#).unwrap();
    assert_eq!(
        client.receive(PATIENCE).unwrap().to_string(),
        r#"<- {"msg":"pong"}"#
    );
    assert!(
        answered.recv_timeout(Duration::from_millis(300)).is_err(),
        "pushed back"
    );
    assert_eq!(begun.get(), 1, "one after the other, as over a socket");
    assert!(
        server.stats().queued_bytes > body.len() / 4,
        "{:?}",
        server.stats()
    );
    // Whoever leaves takes it all along.
    assert!(
        http.body(&poll, "")
            .starts_with(r#"a["{\"msg\":\"connected"#)
    );
    let poller = TcpStream::connect(server.host()).unwrap();
    let mut poller_of = &poller;
    write!(
        poller_of,
        "{poll} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut first = [0; 16];
    (&poller).read_exact(&mut first).unwrap();
    drop(poller);
    assert_eq!(
        answered.recv_timeout(2 * PATIENCE),
        Ok(404),
        "the session is gone"
    );
    gate.open(10_000);
    client.close();
    drop(http);
    server.rests();
}

#[test]
fn row_110_a_callback_is_a_name() {
    let server = serve();
    let mut http = server.http();
    for receiving in ["jsonp", "htmlfile"] {
        for (query, told) in [
            ("", "\"callback\" parameter required"),
            ("?c=", "invalid \"callback\" parameter"),
            ("?c=alert(1)//", "invalid \"callback\" parameter"),
            ("?c=a%3Cscript%3E", "invalid \"callback\" parameter"),
            (
                "?c=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "invalid \"callback\" parameter",
            ),
        ] {
            let answer = http.ask(&format!("GET /sockjs/a/b/{receiving}{query}"), &[], "");
            assert_eq!(
                (answer.status, answer.header("x-content-type-options")),
                (500, Some("nosniff"))
            );
            assert_eq!(answer.text(), told, "{query}");
        }
    }
    let answer = http.ask(&format!("GET {}/jsonp?c=_jp.a1-b", session_path()), &[], "");
    assert_eq!(
        (answer.status, answer.header("x-content-type-options")),
        (200, Some("nosniff"))
    );
    assert_eq!(answer.text(), "/**/_jp.a1-b(\"o\");\r\n");
    drop(http);
    server.rests();
}

#[test]
fn row_005_006_007_008_bodies_that_are_not_taken() {
    let builder = open()
        .sockjs(hasty().disconnect_delay(Duration::from_secs(5)))
        .configure(|settings| {
            settings.http.body_bytes = 1000;
            settings.http.body_progress_timeout = Duration::from_millis(300);
        });
    let server = Running::start(builder);
    let path = session_path();
    assert_eq!(server.http().body(&format!("POST {path}/xhr"), ""), "o\n");
    let send = format!("POST {path}/xhr_send HTTP/1.1\r\nHost: x\r\n");
    let large = "x".repeat(1001);
    for (rest, expected) in [
        // It stops half-way.
        ("Content-Length: 100\r\n\r\n[\"a".to_owned(), 408),
        (
            "Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".to_owned(),
            408,
        ),
        ("Content-Length: 1001\r\n\r\n".to_owned(), 413),
        (
            format!("Transfer-Encoding: chunked\r\n\r\n3e9\r\n{large}\r\n"),
            413,
        ),
        (
            "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            415,
        ),
    ] {
        let mut http = server.http();
        http.send(&format!("{send}{rest}"));
        let mut answer = http.answer();
        if answer.status == 100 {
            answer = http.answer();
        }
        assert_eq!(answer.status, expected, "{rest:?}");
    }
    let fits = format!("{send}Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n[]");
    let mut http = server.http();
    http.send(&fits);
    assert_eq!(http.answer().status, 204);
    drop(http);
    server.end();
}

#[test]
fn found_207_a_body_that_dribbles_in_has_a_time_altogether() {
    let limit = Duration::from_secs(1);
    let builder = open().configure(|settings| {
        settings.http.body_progress_timeout = PATIENCE;
        settings.http.body_timeout = limit;
    });
    let server = Running::start(builder);
    let path = session_path();
    assert_eq!(server.http().body(&format!("POST {path}/xhr"), ""), "o\n");
    for sending in ["xhr_send", "jsonp_send"] {
        let mut http = server.http();
        http.send(&format!(
            "POST {path}/{sending} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        ));
        let mut socket = http.tcp().try_clone().unwrap();
        let began = Instant::now();
        let dribbling = thread::spawn(move || {
            // Until nobody listens any more.
            while socket.write_all(b" ").is_ok() {
                assert!(began.elapsed() < 2 * PATIENCE, "it is listened to for ever");
                thread::sleep(Duration::from_millis(20));
            }
        });
        let answer = http.answer();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (408, Some("close"))
        );
        assert!(began.elapsed() >= limit);
        answer.text();
        drop(http);
        dribbling.join().unwrap();
    }
    server.end();
}

#[test]
fn a_session_that_nobody_polls_is_bounded() {
    let builder = open()
        .sockjs(hasty().disconnect_delay(Duration::from_secs(5)))
        .vent("relay", relay)
        .configure(|settings| settings.clients.events = 100_000);
    let server = Running::start(builder);
    let mut http = server.http();
    let path = session_path();
    let (poll, send) = (format!("POST {path}/xhr"), format!("POST {path}/xhr_send"));
    assert_eq!(http.body(&poll, ""), "o\n");
    assert_eq!(http.ask(&send, &[], &array(CONNECT)).status, 204);
    let sub = r#"{"msg":"sub","id":"1","name":"relay","params":["v","c"]}"#;
    assert_eq!(http.ask(&send, &[], &array(sub)).status, 204);
    assert!(eventually_within(PATIENCE, || server.stats().channels == 1));
    let event = "x".repeat(10_000);
    for _ in 0..20 {
        server.emit("c", &event);
    }
    let queued = || server.stats().queued_bytes;
    assert!(eventually_within(PATIENCE, || queued() > 100_000));
    assert!(queued() < 130_000, "{}", queued());
    // What there was room for is there; the rest is a gap.
    let frame = http.body(&poll, "");
    assert!(frame.starts_with(r#"a["{\"msg\":\"connected\""#), "{frame}");
    assert!(http.body(&poll, "").contains(r#"\"event\":\"xxx"#));
    assert!(eventually_within(PATIENCE, || server.stats().gaps == 1));
    drop(http);
    server.rests();
}

#[test]
fn a_stream_that_nobody_reads_is_bounded() {
    let builder = open()
        .sockjs(hasty().response_limit(usize::MAX))
        .vent("relay", relay)
        .configure(|settings| {
            settings.clients.output_timeout = Duration::from_secs(1);
            settings.listener.send_buffer = 16 * 1024;
        });
    let server = Running::start(builder);
    let path = session_path();
    let mut stream = server.http();
    let mut answer = stream.ask(&format!("POST {path}/xhr_streaming"), &[], "");
    assert_eq!(
        answer.piece().as_deref(),
        Some(format!("{}\n", "h".repeat(2048)).as_str())
    );
    assert_eq!(answer.piece().as_deref(), Some("o\n"));
    let mut http = server.http();
    let send = format!("POST {path}/xhr_send");
    let sub = r#"{"msg":"sub","id":"1","name":"relay","params":["v","c"]}"#;
    assert_eq!(http.ask(&send, &[], &array(CONNECT)).status, 204);
    assert_eq!(http.ask(&send, &[], &array(sub)).status, 204);
    assert!(eventually_within(PATIENCE, || server.stats().channels == 1));
    let event = "x".repeat(50_000);
    let closed = eventually_within(2 * PATIENCE, || {
        server.emit("c", &event);
        server.stats().slow_clients == 1
    });
    assert!(closed, "{:?}", server.stats());
    drop(stream);
    drop(http);
    server.rests();
}

#[test]
fn found_101_the_next_response_waits_until_the_last_one_is_taken() {
    const LARGE: usize = 8_000_000;
    let big = |_: Call| async { Ok("x".repeat(LARGE)) };
    let sockjs = hasty().disconnect_delay(Duration::from_secs(2));
    let server = Running::start(open().sockjs(sockjs).method("big", big));
    let path = session_path();
    let poll = format!("POST {path}/xhr");
    let (mut first, mut second) = (server.http(), server.http());
    assert_eq!(first.body(&poll, ""), "o\n");
    let mut http = server.http();
    let send = format!("POST {path}/xhr_send");
    assert_eq!(http.ask(&send, &[], &array(CONNECT)).status, 204);
    assert!(first.body(&poll, "").contains("connected"));
    for id in 0..2 {
        let call = format!(r#"{{"msg":"method","id":"{id}","method":"big"}}"#);
        assert_eq!(http.ask(&send, &[], &array(&call)).status, 204);
    }
    let request = format!("{poll} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    let counted = || server.stats().queued_bytes;
    assert!(eventually_within(PATIENCE, || counted() > LARGE));
    first.send(&request);
    let mut taken = first.answer();
    // It has the first result, or a part of it; the second one stays where it is counted.
    let mut text = taken.piece().expect("a piece");
    second.send(&request);
    thread::sleep(Duration::from_millis(300));
    assert!(counted() > LARGE, "{}", counted());
    while let Some(piece) = taken.piece() {
        text += &piece;
    }
    assert!(text.len() > LARGE, "{}", text.len());
    drop(taken);
    let text = second.answer().text();
    assert!(text.len() > LARGE, "{}", text.len());
    drop((first, second, http));
    server.rests();
}

#[test]
fn shutdown_does_not_wait_for_sessions_that_nobody_polls() {
    let server = Running::start(open());
    let mut idle = server.http();
    assert_eq!(
        idle.body(&format!("POST {}/xhr", session_path()), ""),
        "o\n"
    );
    let mut polled = server.http();
    let poll = format!("POST {}/xhr", session_path());
    assert_eq!(polled.body(&poll, ""), "o\n");
    polled.send(&format!(
        "{poll} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    ));
    let mut answer = polled.answer();
    let mut framed = server.sockjs();
    server.begin_shutdown(Duration::from_secs(30));
    assert_eq!(answer.piece().as_deref(), Some("c[1001,\"Going away\"]\n"));
    framed.expect_text(r#"c[1001,"Going away"]"#);
    framed.expect_close(1001, "Going away");
    drop(framed);
    drop(idle);
    assert!(eventually_within(2 * PATIENCE, || server.has_ended()));
}

#[test]
fn a_binary_message_counts_as_a_frame() {
    let server = serve();
    let mut client = server.sockjs();
    client
        .send(Sent::binary(array(CONNECT).into_bytes()))
        .unwrap();
    assert!(client.expect_any_text().starts_with("a["));
    client.close();
}

#[test]
fn found_105_over_http_a_client_that_nothing_else_asks_has_to_ask_again() {
    let echo = async |mut connection: SockJsConnection| {
        while let Some(message) = connection.recv().await {
            connection.send(message);
        }
    };
    let service = SockJs::at("/echo").heartbeat(Duration::ZERO, Duration::ZERO);
    let service = service.disconnect_delay(Duration::from_secs(2));
    let soon = Duration::from_millis(200);
    let server = open().sockjs_service(service, echo);
    let server = Running::start(server.configure(|settings| {
        settings.clients.silence.interval = soon;
        settings.clients.silence.timeout = soon;
    }));
    let mut http = server.http();
    let mut stream = http.ask("POST /echo/000/a/xhr_streaming", &[], "");
    let prelude = stream.piece().expect("a prelude");
    assert_eq!(prelude.trim_end().len(), 2048);
    assert_eq!(stream.piece().as_deref(), Some("o\n"));
    assert_eq!(stream.piece(), None, "it has waited for long enough");
    // The session goes on with the next request.
    let sent = http
        .ask("POST /echo/000/a/xhr_send", &[], r#"["x"]"#)
        .status;
    assert_eq!(sent, 204);
    let mut stream = http.ask("POST /echo/000/a/xhr_streaming", &[], "");
    assert_eq!(stream.piece(), Some(prelude));
    assert_eq!(stream.piece().as_deref(), Some("a[\"x\"]\n"));
    assert_eq!(stream.piece(), None);
    // One that gets a single frame gets one.
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "h\n");
    // Who does not ask again is gone.
    drop(http);
    server.rests();
}
