//! The page of the chat example in a real browser: headless Chromium, driven by `playwright-core`. The script asks for
//! what only the test can do: to publish over Redis, to restart the server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use updraft_test_support::example::Example;
use updraft_test_support::process::free_port;
use updraft_test_support::redis::RedisServer;

#[test]
fn chat_page_takes_messages_between_a_desk_a_phone_and_redis() {
    let clients = std::env::var_os("UPDRAFT_CLIENTS").map(PathBuf::from);
    let clients = clients.filter(|folder| folder.join("node_modules/playwright-core").exists());
    let clients = clients.expect(
        "UPDRAFT_CLIENTS names no folder with playwright-core: run `cargo xtask test`, which installs it there",
    );
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    assert!(
        Path::new(&chromium).exists(),
        "there is no {}: install the Debian package chromium, or name another by CHROMIUM, and run `cargo xtask test`",
        chromium.display()
    );
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chat_page");
    std::fs::create_dir_all(&screenshots).unwrap();

    let redis = RedisServer::start();
    let port = free_port();
    let mut chat = start(port, &redis);
    let mut script = Command::new("node")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clients/chat_page.mjs"
        ))
        .args([
            format!("http://127.0.0.1:{port}/").as_ref(),
            screenshots.as_os_str(),
        ])
        .env("UPDRAFT_CLIENTS", clients)
        .env("CHROMIUM", chromium)
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is missing: install Node.js, and run `cargo xtask test`");
    for line in BufReader::new(script.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("{line}");
        let wish = line.strip_prefix("> ").unwrap_or_default();
        if wish == "restart the server" {
            chat.process().kill();
            chat = start(port, &redis);
        } else if let Some((channel, payload)) = wish
            .strip_prefix("publish ")
            .and_then(|wish| wish.split_once(' '))
        {
            assert_eq!(redis.publish(channel, payload), 1, "{channel} is followed");
        }
    }
    let status = script.wait().unwrap();
    assert!(
        status.success(),
        "the script has failed; screenshots are in {}",
        screenshots.display()
    );
}

fn start(port: u16, redis: &RedisServer) -> Example {
    let listen = format!("127.0.0.1:{port}");
    let environment = [
        ("PORT", &*port.to_string()),
        ("LISTEN", &*listen),
        ("REDIS_URL", &*redis.url()),
    ];
    Example::start("chat", &environment)
}
