//! What logs say of logins and of panics: enough to follow them, nothing that could be used to log in.

mod common;

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use common::{Running, received};
use futures_util::future::BoxFuture;
use tracing::level_filters::LevelFilter;
use updraft::Server;
use updraft::account::{
    Accounts, Authenticator, Login, LoginRequest, LoginToken, MemoryUsers, Token, TokenKey, Users,
};
use updraft::prelude::*;
use updraft_test_support::client::Client;

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
    fn login<'a>(&'a self, request: &'a LoginRequest) -> BoxFuture<'a, Result<Option<Login>>> {
        Box::pin(async move {
            let text = format!("{request:?} cannot be read: {:?}", request.options());
            Err(Error::internal(text))
        })
    }
}

/// Waits for a call's result, whatever it is.
fn answered(client: &mut Client) {
    while !client.expect_any_text().contains(r#""msg":"result""#) {}
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
        assert!(line.contains("tests/accounts_logs.rs:"), "{line}");
        assert!(line.contains(r"\u{1b}[2J\npassword=[hidden]"), "{line}");
        assert_eq!(lines.next(), None);
    }
    assert!(!text.contains("PanicSecret"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("ERROR forged")));
}
