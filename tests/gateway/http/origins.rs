//! The pages whose requests are answered.

use updraft::TrustedProxies;

use super::{exchange, in_front_of};
use crate::web::App;

#[test]
fn gateway_082_pages_of_the_app_and_of_its_phones_may_connect_and_each_other_is_told_once() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let server = in_front_of(&[app.port()], |builder| {
        builder.configure(|settings| {
            // As if it listened to everybody.
            settings.trusted_proxies = TrustedProxies::Hops(1);
            settings.origins.allowed = vec!["https://other.example".to_owned()];
        })
    });
    let status = |origin: &str| {
        let request = format!(
            "GET /sockjs/info HTTP/1.1\r\nHost: app.example\r\nOrigin: {origin}\r\n\
             Connection: close\r\n\r\n"
        );
        exchange(&server, &request).get(9..12).unwrap().to_owned()
    };
    for origin in [
        "https://app.example",
        "https://other.example",
        "http://localhost:12000",
        "http://localhost:12345",
        "http://localhost:13000",
    ] {
        assert_eq!(status(origin), "200", "{origin}");
    }
    for origin in [
        "https://evil.example",
        "http://localhost:11999",
        "http://localhost:13001",
        "http://localhost",
        "https://localhost:12345",
        "http://localhost.evil.example:12345",
        "null",
    ] {
        assert_eq!(status(origin), "403", "{origin}");
    }
    // What is passed is the app's to judge.
    let answer = exchange(
        &server,
        "GET / HTTP/1.1\r\nHost: app.example\r\nOrigin: https://evil.example\r\n\
         Connection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
