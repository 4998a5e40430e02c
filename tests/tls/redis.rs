//! Redis over TLS. The certificates in `tests/tls` are for 127.0.0.1 and vouch for themselves; one
//! expired long ago. Which certificates are trusted is set in the environment, so what is tested is
//! the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use updraft_test_support::client::Client;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A Redis with this certificate.
fn redis(certificate: &str) -> RedisServer {
    RedisServer::start_tls(&file(certificate), &file("key.pem"), "secret")
}

const RELAY: &str = env!("CARGO_BIN_EXE_updraft");

/// A relay that trusts this certificate, or else those of the operating system.
fn relay(mut command: Command, redis: u16, listen: u16, trusted: Option<&str>) -> Command {
    match trusted {
        Some(trusted) => command.env("SSL_CERT_FILE", file(trusted)),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    command
        .args(["--redis", &format!("rediss://:secret@127.0.0.1:{redis}")])
        .args(["--listen", &format!("127.0.0.1:{listen}")])
        .args(["--relay", "news=news"]);
    command
}

#[test]
fn row_097_redis_over_tls_with_a_password() {
    let redis = redis("valid.pem");
    let listen = free_port();
    let mut relay = relay(Command::new(RELAY), redis.port(), listen, Some("valid.pem"));
    let _relay = Process::start(&mut relay, listen);
    let (mut client, _) = Client::ddp_connect(&format!("ws://127.0.0.1:{listen}/websocket"));
    client.send_text(r#"{"msg":"sub","id":"S1","name":"news","params":["vent.1",{}]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.1","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);
}

#[test]
fn row_097_what_is_wrong_with_a_certificate_is_named() {
    for (certificate, trusted, said) in [
        ("expired.pem", Some("expired.pem"), "expired"),
        ("valid.pem", None, "certificate"),
    ] {
        let redis = redis(certificate);
        let mut bounded = Command::new("timeout");
        bounded.args(["60", RELAY]);
        let ended = relay(bounded, redis.port(), free_port(), trusted)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success());
        assert!(text.contains(said), "{certificate}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn row_097_a_failed_handshake_is_told_apart() {
    let redis = redis("expired.pem");
    let url = format!("rediss://:secret@127.0.0.1:{}", redis.port());
    let error = updraft::Redis::connect(&url).await.unwrap_err();
    assert_eq!(error.fault(), Some(updraft::BusFault::Tls), "{error:?}");
}
