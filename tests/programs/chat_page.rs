//! The page of the chat example in a real browser: headless Chromium, driven by `playwright-core`.
//! The script asks for what only the test can do: to publish over Redis, to restart the server.

use std::path::Path;

use updraft_test_support::example::Example;
use updraft_test_support::process::free_port;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::{Script, require_chromium};

#[test]
fn found_315_chat_page_takes_messages_between_a_desk_a_phone_and_redis() {
    require_chromium();
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chat_page");
    std::fs::create_dir_all(&screenshots).unwrap();

    let redis = RedisServer::start();
    let port = free_port();
    let mut chat = start(port, &redis);
    let page = format!("http://127.0.0.1:{port}/");
    println!("screenshots are in {}", screenshots.display());
    Script::start("chat_page", &[page.as_ref(), screenshots.as_os_str()]).run(|wish| {
        if wish == "restart the server" {
            chat.process().kill();
            chat = start(port, &redis);
        } else if let Some((channel, payload)) = wish
            .strip_prefix("publish ")
            .and_then(|wish| wish.split_once(' '))
        {
            assert_eq!(redis.publish(channel, payload), 1, "{channel} is followed");
        }
    });
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
