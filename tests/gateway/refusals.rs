//! What a server that cannot be used costs, and whom: a refusal that concerns one client costs no
//! other, and a server that hangs costs a few.

use std::io::Write;

use updraft_test_support::client::{CONNECT, Client};

use crate::app::App;
use crate::world::{bare, both, in_front_of};

/// A text frame of a server.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    assert!(length < 126, "it is short");
    [&[0x80 | opcode, length], payload].concat()
}

#[test]
fn gateway_200_an_app_that_closes_a_session_at_once_has_refused_nobody() {
    let app = App::listen();
    let server = in_front_of(app.port(), bare);
    let connected = r#"{"msg":"connected","session":"ShortLived"}"#;
    let close = frame(8, &[&4_003_u16.to_be_bytes()[..], b"banned"].concat());
    for (end, code, reason) in [
        (close, 4003, "banned"),
        (vec![0xff, 0xff], 1011, "The server behind is out of order"),
    ] {
        let mut client = Client::connect(server.url());
        client.send_text(CONNECT);
        let mut there = app.shake_hands();
        there.hears_any();
        // In one write, so that they are read together.
        let both = [frame(1, connected.as_bytes()), end].concat();
        there.writes(&both);
        client.expect_text(connected);
        client.expect_close(code, reason);
    }
    let stats = server.stats();
    assert_eq!((stats.refused_upstreams, stats.meteor_servers_away), (0, 0));
    both(&server, &app);
}
