//! Each fault against an echo server: what the proxy does to a connection is what it says.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Direction, Proxy};
use crate::eventually;

/// Echoes what each connection says until it ends.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || std::io::copy(&mut &socket, &mut &socket));
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

fn round_trip(socket: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut sending, mut receiving) = (socket, socket);
    let mut back = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(move || sending.write_all(bytes).unwrap());
        receiving.read_exact(&mut back).unwrap();
    });
    back
}

fn is_silent(mut socket: &TcpStream) -> bool {
    let patience = Duration::from_millis(100);
    socket.set_read_timeout(Some(patience)).unwrap();
    let read = socket.read(&mut [0]);
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn bytes_arrive_whole_and_in_order_also_in_slices() {
    let proxy = Proxy::start(echo());
    let socket = connect(&proxy);
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(round_trip(&socket, &bytes), bytes);
    proxy.set(|faults| faults.slice = Some(7));
    assert_eq!(round_trip(&socket, &bytes[..3_000]), bytes[..3_000]);
}

#[test]
fn latency_and_bandwidth_take_their_time() {
    let proxy = Proxy::start(echo());
    let socket = connect(&proxy);
    let took = |bytes: &[u8]| {
        let begun = Instant::now();
        round_trip(&socket, bytes);
        begun.elapsed()
    };
    proxy.set(|faults| faults.latency = Duration::from_millis(50));
    assert!(took(b"x") >= Duration::from_millis(100));
    proxy.set(|faults| faults.latency = Duration::ZERO);
    proxy.set_one(Direction::ToClient, |faults| {
        faults.bandwidth = Some(10_000)
    });
    // The last piece arrives before its pause, so twice.
    assert!(took(&[0; 1_000]) + took(&[0; 1_000]) >= Duration::from_millis(100));
}

#[test]
fn corruption_alters_each_so_many_th_byte() {
    let proxy = Proxy::start(echo());
    proxy.set_one(Direction::ToServer, |faults| faults.corrupt_each = Some(3));
    assert_eq!(round_trip(&connect(&proxy), b"aaaaaaa"), b"aa4aa4a");
}

#[test]
fn a_connection_ends_after_so_many_bytes() {
    let proxy = Proxy::start(echo());
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set_one(direction, |faults| faults.cut_after = Some(1000));
        let mut socket = connect(&proxy);
        socket.write_all(&[7; 600]).unwrap();
        let mut back = [0; 600];
        socket.read_exact(&mut back).unwrap();
        // What is behind the last byte may be answered by a reset.
        drop(socket.write_all(&[8; 600]));
        let mut rest = Vec::new();
        let read = socket.read_to_end(&mut rest);
        assert!(
            rest.len() <= 400 && rest.iter().all(|byte| *byte == 8),
            "{read:?}"
        );
        proxy.set_one(direction, |faults| faults.cut_after = None);
    }
    assert_eq!(round_trip(&connect(&proxy), b"whole"), b"whole");
}

#[test]
fn cut_is_an_end_and_reset_is_a_reset() {
    let proxy = Proxy::start(echo());
    let mut socket = connect(&proxy);
    round_trip(&socket, b"x");
    proxy.cut();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);

    let mut socket = connect(&proxy);
    round_trip(&socket, b"x");
    proxy.reset();
    let error = socket.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    eventually("nothing is left", || proxy.connections() == 0);
}

#[test]
fn a_half_closed_connection_still_carries_the_other_way() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port());
    let mut client = connect(&proxy);
    let (mut server, _) = listener.accept().unwrap();
    eventually("open", || proxy.connections() == 1);
    proxy.half_close(Direction::ToServer);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    server.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_black_hole_swallows_and_what_fell_in_stays_lost() {
    let proxy = Proxy::start(echo());
    let (idle, busy) = (connect(&proxy), connect(&proxy));
    round_trip(&idle, b"x");
    round_trip(&busy, b"x");
    proxy.black_hole(true);
    let fresh = connect(&proxy);
    for mut socket in [&busy, &fresh] {
        socket.write_all(b"x").unwrap();
        assert!(is_silent(socket));
    }
    proxy.black_hole(false);
    for mut socket in [&busy, &fresh] {
        socket.write_all(b"x").unwrap();
        assert!(is_silent(socket));
    }
    assert_eq!(round_trip(&idle, b"y"), b"y");
    assert_eq!(round_trip(&connect(&proxy), b"z"), b"z");
}

#[test]
fn refused_is_refused_until_it_no_longer_is() {
    let proxy = Proxy::start(echo());
    let open = connect(&proxy);
    round_trip(&open, b"x");
    proxy.refuse(true);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(round_trip(&open, b"y"), b"y");
    proxy.refuse(false);
    assert_eq!(round_trip(&connect(&proxy), b"z"), b"z");
}

#[test]
fn it_can_be_led_elsewhere() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(nobody.local_addr().unwrap().port());
    drop(nobody);
    let mut socket = connect(&proxy);
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    proxy.lead_to(echo());
    assert_eq!(round_trip(&connect(&proxy), b"x"), b"x");
}
