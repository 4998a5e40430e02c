//! Apps and clients that are slow, and live.

use std::io::Read;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::app::App;
use crate::world::{both, in_front_of};

#[test]
fn gateway_102_an_app_that_takes_a_little_at_a_time_is_not_gone() {
    let app = App::listen();
    let server = in_front_of(app.port(), |builder| {
        builder.configure(|settings| settings.gateway.output_timeout = Duration::from_secs(2))
    });
    let (mut client, there) = both(&server, &app);
    let mut there = there.tcp();
    SockRef::from(there)
        .set_recv_buffer_size(16 * 1024)
        .unwrap();
    // More than the kernel holds, which is some 4 MiB.
    let (count, long) = (256, "y".repeat(64 * 1024));
    let message = format!(r#"{{"msg":"method","id":"1","method":"m","params":["{long}"]}}"#);
    let sending = thread::spawn(move || {
        (0..count).for_each(|_| client.send_text(&message));
        client
    });
    // So slow that the kernel does not say that there is room.
    let mut piece = vec![0; 16 * 1024];
    let mut taken = 0;
    for _ in 0..50 {
        taken += there.read(&mut piece).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.stats().lost_upstreams, 0, "{taken} bytes are taken");
    SockRef::from(there).set_recv_buffer_size(1 << 20).unwrap();
    while taken < count * long.len() {
        taken += there.read(&mut piece).unwrap();
    }
    drop(sending.join().unwrap());
    assert_eq!(server.stats().lost_upstreams, 0);
}
