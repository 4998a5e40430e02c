//! What logs say of logins, of panics, and of what clients send that does not fit: enough to follow
//! them, nothing that could be used to log in, and no values.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::common::{Running, received};
use tracing::level_filters::LevelFilter;
use updraft::account::{
    Accounts, Authenticator, Login, LoginRequest, LoginToken, MemoryUsers, Token, TokenKey, Users,
};
use updraft::prelude::*;
use updraft::{RateLimit, Server};
use updraft_test_support::client::Client;
use updraft_test_support::eventually;
use updraft_test_support::http::Http;

/// Everything that was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that this process logs.
fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    });
    LOG.clone()
}

struct ShownOnFailure(Log);

impl Drop for ShownOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.text());
        }
    }
}

/// Fails with whatever it was given, as a careless one would.
#[derive(Debug)]
struct Careless;

impl Authenticator for Careless {
    async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
        let text = format!("{request:?} cannot be read: {:?}", request.options());
        Err(Error::internal(text))
    }
}

/// Waits for a call's result, whatever it is.
fn answered(client: &mut Client) {
    while !client.expect_any_text().contains(r#""msg":"result""#) {}
}

/// The next message that does not only say that a method's writes are done.
fn answer(client: &mut Client) -> String {
    loop {
        let text = client.expect_any_text();
        if !text.contains(r#""msg":"updated""#) {
            return text;
        }
    }
}

#[test]
fn row_069_found_203_secrets_are_in_no_log_and_texts_once() {
    let log = log();
    let secrets = [
        "WatchedSecret",
        "ClearSecret",
        "UnknownSecret",
        "StrayedSecret",
        "FoldedSecret",
        "JwtSecret",
        "DigestSecret",
        "HeaderSecret",
        "CookieSecret",
    ];
    let users = MemoryUsers::new();
    let now = Date::from(SystemTime::now());
    users.insert(
        "ada",
        ejson!({ "services": { "resume": { "loginTokens": [{ "when": now, "token": secrets[1] }] } } }),
    );
    let watched = LoginToken::new(Token::new(secrets[0]).hashed(), now);
    let server = Server::builder().accounts(Accounts::new(users.clone()));
    let server = server.login_rules([]);
    let server = Running::start(server.authenticator(Careless));
    server.wait(users.insert_token("ada", &watched)).unwrap();
    let mut client = server.client();
    for params in [
        format!(r#"[{{"resume":"{}"}}]"#, secrets[0]),
        format!(r#"[{{"resume":"{}"}}]"#, secrets[1]),
        format!(r#"[{{"resume":"{}"}}]"#, secrets[2]),
        format!(r#"[{{"password":"{}"}}]"#, secrets[3]),
        format!(r#"[{{"resume":{{"token":"{}"}}}}]"#, secrets[4]),
        format!(r#"[{{"note":"a jwt","jwt":"{}"}}]"#, secrets[5]),
        format!(
            r#"[{{"hash":{{"digest":"{}","algorithm":"sha-256"}}}}]"#,
            secrets[6]
        ),
        format!(r#"[{{"header":"Authorization: Bearer {}"}}]"#, secrets[7]),
        format!(r#"[{{"header":"Cookie: a=b; c={}"}}]"#, secrets[8]),
    ] {
        client.send_text(&format!(
            r#"{{"msg":"method","id":"1","method":"login","params":{params}}}"#
        ));
        answered(&mut client);
    }
    client.send_text(r#"{"msg":"method","id":"2","method":"getNewToken"}"#);
    answered(&mut client);
    // Of what is no message a part is quoted.
    client.send_text(
        r#"{"msg":"method","id":"3","method":"login","params":[{"resume":"StrayedSecret"}"#,
    );
    received(&mut client);
    let tokens = format!("{:?}", users.get("ada").unwrap());
    let hashed = Token::new(secrets[1]).hashed();
    assert!(
        tokens.contains(hashed.as_str()),
        "the login has come to nothing"
    );
    // Everybody is logged out.
    for secret in &secrets[..2] {
        let hashed = Token::new(*secret).hashed();
        let removed = users.remove_token("ada", TokenKey::Hashed(&hashed));
        server.wait(removed).unwrap();
    }
    drop(client);
    drop(server);

    let text = log.text();
    assert!(
        text.contains("A handler failed") && text.contains("LoginRequest"),
        "{text}"
    );
    assert_eq!(text.matches("a jwt").count(), 1, "{text}");
    for secret in secrets {
        let hashed = Token::new(secret).hashed();
        for hidden in [secret, hashed.as_str()] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}

#[test]
fn found_204_a_panic_is_a_line_that_a_client_cannot_forge() {
    let log = log();
    // From here on a failure of this test is in there too.
    updraft::log_panics();
    let _shown = ShownOnFailure(log.clone());
    let server = Server::builder()
        .method("panic", async |_: Call, text: String| -> Result<()> {
            panic!("no use: {text}")
        })
        .vent("tm", async |vent: Vent, text: String| {
            let map = move |_: &Message| -> Option<()> { panic!("nor this: {text}") };
            vent.on("c", map).await
        });
    let server = Running::start(server);
    let mut client = server.client();
    let forged = r"\u001b[2J\npassword=PanicSecret\nERROR forged\u0007";
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"panic","params":["{forged}"]}}"#
    ));
    answered(&mut client);
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"s","name":"tm","params":["kpNzWxsDHYcxAHj5M","{forged}"]}}"#
    ));
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    server.emit("c", 1);
    assert_eq!(received(&mut client), [""; 0]);
    drop(client);
    drop(server);

    let text = log.text();
    for said in ["no use", "nor this"] {
        let lines = text.lines().filter(|line| line.contains(said));
        let mut lines = lines.filter(|line| line.contains("Something panicked"));
        let line = lines.next().unwrap_or_else(|| panic!("{said} in {text}"));
        assert!(line.contains("tests/accounts/logs.rs:"), "{line}");
        assert!(line.contains(r"\u{1b}[2J\npassword=[hidden]"), "{line}");
        assert_eq!(lines.next(), None);
    }
    assert!(!text.contains("PanicSecret"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("ERROR forged")));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    thread_id: String,
}

/// A text that reads itself, and quotes what it does not like.
struct Slug;

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let error = format!("{text:?} is no slug");
        Err(serde::de::Error::custom(error))
    }
}

async fn misfit(vent: Vent, Thread { thread_id }: Thread) -> Result<()> {
    vent.relay(channel!["misfits", thread_id]).await
}

/// A server with a publication and a method that take few things.
fn choosy() -> updraft::Builder {
    Server::builder()
        .vent("misfit", misfit)
        .method("slug", async |_: Call, _: (u8, Slug)| Ok::<(), Error>(()))
        .configure(|settings| {
            settings.clients.first_message = 1000;
            settings.clients.message = 10_000;
        })
}

/// What a client sends that does not fit, the error that names its subscription or call, and what
/// is wrong with it.
const MISFITS: [(&str, &str, &str, &str); 4] = [
    (
        r#"{"msg":"sub","id":"a","name":"misfit","params":["vent.a",{"threadId":665544}]}"#,
        r#"{"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":400,"reason":"Match failed","#,
        r#"what=publication name="misfit" cause="#,
        "threadId: invalid type: integer, expected a string",
    ),
    (
        r#"{"msg":"sub","id":"a","name":"misfit","params":["vent.a",{"theadId":"665544"}]}"#,
        r#"{"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":400,"reason":"Match failed","#,
        r#"what=publication name="misfit" cause="#,
        "missing field threadId",
    ),
    (
        r#"{"msg":"sub","id":"a","name":"misfit","params":["vent.a",{"threadId":"665544:"}]}"#,
        r#"{"msg":"nosub","id":"a","error":{"isClientSafe":true,"error":400,"reason":"Not a valid part of a channel name","#,
        r#"what=publication name="misfit" cause="#,
        "Not a valid part of a channel name: part 2 has a colon",
    ),
    (
        r#"{"msg":"method","id":"b","method":"slug","params":[1,"665544"]}"#,
        r#"{"msg":"result","id":"b","error":{"isClientSafe":true,"error":400,"reason":"Match failed","#,
        r#"what=method name="slug" cause="#,
        "parameter 2: [hidden] is no slug",
    ),
];

/// The lines of a log that have this in them.
fn lines(log: &Log, text: &str) -> Vec<String> {
    let all = log.text();
    let lines = all.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

#[test]
fn found_302_what_does_not_fit_is_logged_with_name_field_and_reason_and_without_values() {
    let log = log();
    let _shown = ShownOnFailure(log.clone());
    for (message, error, logged, cause) in MISFITS {
        // Each is the first of its server, which the log is never without.
        let server = Running::start(choosy());
        let mut client = server.client();
        client.send_text(message);
        // On a loopback listener the client is told too.
        let told = format!(r#"{error}"details":"{cause}","message":"#);
        let answer = answer(&mut client);
        assert!(answer.starts_with(&told), "{answer}");
        let lines = lines(&log, &format!("{logged}{cause} left_out=0"));
        let line = lines.first();
        assert!(line.is_some_and(|line| line.contains(" WARN ")), "{line:?}");
    }
    assert_eq!(lines(&log, "665544"), [""; 0]);
}

#[test]
fn found_302_deviation_040_clients_from_elsewhere_are_told_what_meteor_tells_them() {
    let _log = log();
    let server = Running::start(
        choosy().configure(|settings| settings.trusted_proxies = updraft::TrustedProxies::Hops(1)),
    );
    let mut client = server.client();
    for (message, error, _, _) in MISFITS {
        client.send_text(message);
        let answer = answer(&mut client);
        assert!(
            answer.starts_with(&format!(r#"{error}"message":"#)),
            "{answer}"
        );
    }
}

#[test]
fn found_310_a_publication_that_serves_both_encodings_is_warned_of_once() {
    let log = log();
    let server = Server::builder()
        .vent("mixed", async |vent: Vent| vent.relay("c").await)
        .vent("alike", async |vent: Vent| vent.relay("c").await);
    let server = Running::start(server);
    for _ in 0..2 {
        let mut client = server.client();
        for (name, vent_id) in [
            ("alike", "vent.a"),
            ("alike", "vent.kpNzWxsDHYcxAHj5M"),
            ("mixed", "vent.b"),
            // As `Random.id()` makes them.
            ("mixed", "kpNzWxsDHYcxAHj5M"),
            ("mixed", "hRKeDNqtkQYRKGWWo"),
        ] {
            client.send_text(&format!(
                r#"{{"msg":"sub","id":"s","name":"{name}","params":["{vent_id}"]}}"#
            ));
            while client.expect_any_text() != r#"{"msg":"ready","subs":["s"]}"# {}
            client.send_text(r#"{"msg":"unsub","id":"s"}"#);
            while client.expect_any_text() != r#"{"msg":"nosub","id":"s"}"# {}
        }
    }
    let warned = lines(&log, r#"publication="mixed""#);
    let warned: Vec<_> = warned.iter().filter(|it| it.contains(" WARN ")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("Random.id()"), "{}", warned[0]);
    let alike = lines(&log, r#"publication="alike""#);
    assert!(
        !alike.iter().any(|line| line.contains(" WARN ")),
        "{alike:?}"
    );
}

#[test]
fn found_302_many_misfits_are_one_line_a_second() {
    let log = log();
    let server =
        Running::start(choosy().method("flood", async |_: Call, _: u8| Ok::<(), Error>(())));
    let mut client = server.client();
    for _ in 0..200 {
        client.send_text(r#"{"msg":"method","id":"1","method":"flood","params":["x"]}"#);
        answered(&mut client);
    }
    let lines = lines(&log, r#"name="flood" cause"#);
    assert!((1..200).contains(&lines.len()), "{} lines", lines.len());
}

#[test]
fn found_302_a_message_that_is_too_big_is_logged_with_the_limit_and_its_setting() {
    let log = log();
    let server = Running::start(choosy());
    let mut client = server.client();
    client.send_text(&format!(r#"{{"msg":"{}"}}"#, "x".repeat(10_000)));
    client.expect_close(1009, "Message too big");
    let lines = lines(&log, "clients.message");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("limit=10000 left_out=0"), "{}", lines[0]);
}

#[test]
fn found_310_a_vent_id_that_selects_redis_oplogs_frames_is_explained() {
    let log = log();
    let server = Server::builder()
        .vent("explained", async |vent: Vent| vent.relay("c").await)
        .vent_with(
            "chosen",
            updraft::VentOptions::new().encoding(updraft::EncodingChoice::Vent),
            async |vent: Vent| vent.relay("c").await,
        );
    let server = Running::start(server);
    let mut client = server.client();
    for name in ["explained", "chosen"] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{name}","name":"{name}","params":["kpNzWxsDHYcxAHj5M"]}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{name}"]}}"#));
    }
    let why = "because the Vent id has 17 characters of Meteor's id alphabet";
    let line = wait_for_line(&log, &[why, r#"publication="explained""#]);
    assert!(line.contains(" INFO "), "{line}");
    let chosen = lines(&log, r#"publication="chosen""#);
    assert!(
        chosen
            .iter()
            .any(|line| line.contains("have this encoding"))
    );
    assert!(!chosen.iter().any(|line| line.contains(why)), "{chosen:?}");
}

#[test]
fn found_302_what_login_lacks_is_logged() {
    let log = log();
    let users = Accounts::new(MemoryUsers::new());
    let server = Running::start(Server::builder().accounts(users));
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"login","params":[]}"#);
    answered(&mut client);
    let lacks = "the first parameter is no object of options";
    wait_for_line(
        &log,
        &["does not fit", r#"what=method name="login""#, lacks],
    );
}

#[test]
fn found_302_a_user_that_changes_after_unblock_is_an_error_that_says_so() {
    let log = log();
    let server = Server::builder().method("unblocked", async |call: Call| {
        call.unblock();
        call.set_user_id(Some("ada")).await
    });
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"unblocked","params":[]}"#);
    answered(&mut client);
    wait_for_line(
        &log,
        &["A handler failed", r#"name="unblocked""#, "after `unblock`"],
    );
}

#[test]
fn found_302_a_request_that_a_rule_refuses_is_logged_by_name() {
    let log = log();
    let hour = Duration::from_secs(3600);
    for (rule, request, named) in [
        (
            RateLimit::methods(["rare"]),
            r#"{"msg":"method","id":"1","method":"rare","params":[]}"#,
            r#"what=method name="rare""#,
        ),
        (
            RateLimit::subscriptions(["scarce"]),
            r#"{"msg":"sub","id":"1","name":"scarce","params":[]}"#,
            r#"what=publication name="scarce""#,
        ),
    ] {
        // Each is the first of its server, which the log is never without.
        let server = Server::builder()
            .method("rare", async |_: Call| Ok::<(), Error>(()))
            .publish("scarce", async |_: Subscription| Ok(()))
            .rate_limit(rule.per_connection().limit(0, hour));
        let server = Running::start(server);
        server.client().send_text(request);
        wait_for_line(&log, &["more often than a rule allows", named]);
    }
}

#[test]
fn found_303_debug_has_a_line_for_each_request_with_its_outcome() {
    let log = log();
    let _shown = ShownOnFailure(log.clone());
    let server = Server::builder()
        .method("told.method", async |_: Call, fails: bool| match fails {
            true => Err(Error::new("told-code", "no")),
            false => Ok(()),
        })
        .vent("told.vent", async |vent: Vent, fails: bool| match fails {
            true => Err(Error::forbidden("no")),
            false => vent.relay("told").await,
        });
    let server = Running::start(server);
    let mut client = server.client();
    for request in [
        r#"{"msg":"method","id":"1","method":"told.method","params":[false]}"#,
        r#"{"msg":"method","id":"2","method":"told.method","params":[true]}"#,
        r#"{"msg":"method","id":"3","method":"told.nowhere","params":["ToldSecret"]}"#,
        r#"{"msg":"sub","id":"4","name":"told.vent","params":["vent.told",false]}"#,
        r#"{"msg":"sub","id":"5","name":"told.vent","params":["vent.told",true]}"#,
        r#"{"msg":"sub","id":"6","name":"told.vent","params":[]}"#,
        r#"{"msg":"sub","id":"7","name":"told.password=ToldSecret","params":["ToldSecret"]}"#,
    ] {
        client.send_text(request);
    }
    for line in [
        r#"what=method name="told.method" outcome=result took="#,
        r#"what=method name="told.method" outcome=error told-code took="#,
        "what=method name=told.nowhere outcome=error 404",
        r#"what=publication name="told.vent" outcome=ready took="#,
        r#"what=publication name="told.vent" outcome=nosub 403 took="#,
        "what=publication name=told.vent outcome=nosub 400",
        "what=publication name=told.password=[hidden] outcome=nosub 404",
    ] {
        let line = wait_for_line(&log, &["connection=", line]);
        assert!(line.contains(" DEBUG "), "{line}");
    }
    assert_eq!(lines(&log, "ToldSecret"), [""; 0]);
}

#[test]
fn found_303_a_websocket_at_a_wrong_path_is_told_the_right_one_in_the_log() {
    let log = log();
    let server = Running::start(Server::builder().configure(|settings| {
        settings.http.path_prefix = "/shop".to_owned();
    }));
    let mut http = Http::connect(&server.address().to_string());
    let answer = http.ask(
        "GET /shop.elsewhere",
        &[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
        "",
    );
    assert_eq!(answer.status, 404);
    let line = wait_for_line(&log, &["no WebSocket", "path=/shop.elsewhere"]);
    assert!(line.contains(r#"right="/shop/websocket""#), "{line}");
}

#[test]
fn found_303_a_server_that_serves_says_where() {
    let log = log();
    let server = Running::start(Server::builder());
    let address = format!("Listening. address={}", server.address());
    let line = wait_for_line(&log, &[&address]);
    assert!(line.contains(" INFO "), "{line}");
    let all = log.text();
    let (_, after) = all.split_once(&address).unwrap();
    assert!(
        after.contains("So much may wait in memory. limit="),
        "{after}"
    );
    assert!(!all.contains("available=Some"), "{all}");
}

/// Waits until a line of the log has all of this in it.
fn wait_for_line(log: &Log, parts: &[&str]) -> String {
    let mut found = None;
    eventually("a line of the log", || {
        let all = log.text();
        let mut lines = all.lines();
        let line = lines.find(|line| parts.iter().all(|part| line.contains(part)));
        found = line.map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

/// A server with publications whose functions always fail, and one whose function panics.
fn failing() -> updraft::Builder {
    let fails = |channel: &'static str| {
        move |vent: Vent| async move {
            let map = |_: &Message| Err::<Option<()>, _>(Error::internal("it is Friday"));
            vent.on(channel, map).await
        }
    };
    Server::builder()
        .vent("failing.often", fails("failing.often"))
        .vent("failing.once", fails("failing.once"))
        .vent("failing.panic", async |vent: Vent| {
            let map = |_: &Message| -> Option<()> { panic!("it is Saturday") };
            vent.on("failing.panic", map).await
        })
}

#[test]
fn found_302_the_first_failure_of_each_publication_is_logged() {
    let log = log();
    let _shown = ShownOnFailure(log.clone());
    let server = Running::start(failing());
    let mut client = server.client();
    let names = ["failing.often", "failing.once", "failing.panic"];
    for name in names {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{name}","name":"{name}","params":["kpNzWxsDHYcxAHj5M"]}}"#
        ));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{name}"]}}"#));
    }
    for _ in 0..100 {
        server.emit(names[0], 1);
    }
    server.emit(names[1], 1);
    server.emit(names[2], 1);
    for (name, error) in [
        (names[0], "it is Friday"),
        (names[1], "it is Friday"),
        (names[2], "panicked: it is Saturday"),
    ] {
        let publication = format!(r#"publication="{name}" channel="{name}""#);
        let line = wait_for_line(&log, &["A mapping function failed", &publication, error]);
        assert!(line.contains(" WARN "), "{line}");
        assert!(line.ends_with("left_out=0"), "{line}");
    }
    let often = lines(&log, r#"publication="failing.often""#);
    let failures = often.iter().filter(|line| line.contains("left_out"));
    assert!(failures.count() < 100, "{often:?}");
}

fn refused() -> Error {
    Error::forbidden("no").because("token=CauseSecret the room is archived")
}

#[test]
fn found_302_the_cause_of_a_refusal_is_logged() {
    let log = log();
    let _shown = ShownOnFailure(log.clone());
    let server = Server::builder()
        .method("refusing", async |_: Call| Err::<(), _>(refused()))
        .publish("refusing", async |_: Subscription| Err(refused()))
        .publish("refusing.late", async |subscription: Subscription| {
            subscription.error(refused());
            Ok(())
        });
    let server = Running::start(server);
    let mut client = server.client();
    client.send_text(r#"{"msg":"method","id":"1","method":"refusing","params":[]}"#);
    answered(&mut client);
    for name in ["refusing", "refusing.late"] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{name}","name":"{name}","params":[]}}"#
        ));
        assert!(answer(&mut client).contains(r#""reason":"no""#));
    }
    for (what, name) in [
        ("method", "refusing"),
        ("publication", "refusing"),
        ("publication", "refusing.late"),
    ] {
        let named = format!("what={what} name=\"{name}\" error=no [403] (Client)");
        let line = wait_for_line(&log, &["gave a cause", &named]);
        assert!(line.contains(" INFO "), "{line}");
    }
    let causes = lines(&log, "because: token=[hidden] the room is archived");
    assert_eq!(causes.len(), 3, "{causes:?}");
}
