//! What is written when, and what is known of a socket that does not take it.

use std::io::{self, ErrorKind};

use updraft_protocol::message::FrameRef;
use updraft_protocol::vent::Encoding;

use super::writer::{Progress, WRITE_BYTES};
use super::*;
use crate::base::memory::Tally;

/// Takes so many bytes in all.
struct Takes(usize, Vec<u8>);

impl Wire for Takes {
    fn encrypt(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0 -= count;
        self.1.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Writes what waits, after so many seconds; what is written is not kept.
fn flush(outgoing: &mut Outgoing, socket: &mut Takes, seconds: u64) -> Flushed {
    progress(outgoing, socket, seconds).0
}

/// As [`flush`], with what is known of the client's pace.
fn progress(outgoing: &mut Outgoing, socket: &mut Takes, seconds: u64) -> (Flushed, Progress) {
    let (framing, mut scratch) = (Framing::Raw, Vec::new());
    outgoing.flush(
        socket,
        framing,
        &mut scratch,
        at(seconds),
        Frames::drop_front,
    )
}

#[test]
fn found_104_what_the_kernel_holds_takes_a_slow_client_its_time() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    let mut socket = Takes(0, Vec::new());
    outgoing.push_control(vec![1; 300_000]);
    let nothing = Progress::default();
    assert_eq!(
        progress(&mut outgoing, &mut socket, 1),
        (Flushed::Blocked, nothing)
    );
    assert_eq!(
        progress(&mut outgoing, &mut socket, 3),
        (Flushed::Blocked, nothing)
    );
    // 20 kB a second, so 26 s for all that the kernel may hold.
    for seconds in [6, 11, 16] {
        socket.0 = 100_000;
        let (_, progress) = progress(&mut outgoing, &mut socket, seconds);
        assert!(progress.has_moved);
        assert_eq!(progress.drain_time.as_secs(), 26);
    }
    assert!(outgoing.is_empty());
    // Who keeps up is not known to be slow.
    outgoing.push_control(vec![2; 100]);
    socket.0 = 100;
    assert_eq!(
        progress(&mut outgoing, &mut socket, 17),
        (Flushed::All, nothing)
    );
}

#[test]
fn found_101_a_write_is_tried_before_the_time_is_over() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    assert_eq!(outgoing.next_try(at(10)), None);
    outgoing.push_control(vec![1; 100]);
    let mut socket = Takes(10, Vec::new());
    flush(&mut outgoing, &mut socket, 5);
    assert_eq!(outgoing.next_try(at(10)), Some(at(6)));
    // What was free then is taken, and nothing later.
    socket.0 = 10;
    flush(&mut outgoing, &mut socket, 6);
    flush(&mut outgoing, &mut socket, 7);
    assert_eq!(
        (outgoing.stuck_since(), outgoing.next_try(at(10))),
        (Some(at(6)), Some(at(8)))
    );
    socket.0 = 100;
    flush(&mut outgoing, &mut socket, 8);
    assert_eq!(outgoing.next_try(at(10)), None);
}

#[test]
fn found_101_who_is_heard_is_alive_as_long_as_little_waits() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    outgoing.push_control(vec![1; 100]);
    outgoing.heard(1000, at(0));
    assert_eq!(outgoing.stuck_since(), None);
    outgoing.push_control(vec![1; 100]);
    flush(&mut outgoing, &mut Takes(0, Vec::new()), 1);
    outgoing.push_control(vec![1; 500]);
    outgoing.heard(1000, at(5));
    assert_eq!(outgoing.stuck_since(), Some(at(5)));
    outgoing.push_control(vec![1; 501]);
    outgoing.heard(1000, at(9));
    assert_eq!(outgoing.stuck_since(), Some(at(5)));
}

#[test]
fn found_101_much_that_waits_for_its_turn_is_counted() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    outgoing.push_control(vec![1; UNCOUNTED]);
    assert_eq!(tally.bytes(), 0);
    outgoing.push_control(vec![1; 1]);
    assert_eq!(tally.bytes(), UNCOUNTED + 1);
    flush(&mut outgoing, &mut Takes(10, Vec::new()), 1);
    assert_eq!(tally.bytes(), UNCOUNTED - 9);
    flush(&mut outgoing, &mut Takes(UNCOUNTED, Vec::new()), 1);
    assert_eq!(tally.bytes(), 0);
}

#[test]
fn row_034_being_stuck_begins_when_the_socket_takes_nothing_more() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    let mut socket = Takes(10, Vec::new());
    outgoing.push_control(vec![1; 100]);
    assert_eq!((tally.bytes(), outgoing.stuck_since()), (0, None));
    let flushed = flush(&mut outgoing, &mut socket, 1);
    assert_eq!(
        (flushed, outgoing.stuck_since()),
        (Flushed::Blocked, Some(at(1)))
    );
    flush(&mut outgoing, &mut socket, 3);
    assert_eq!((tally.bytes(), outgoing.stuck_since()), (90, Some(at(1))));
    socket.0 = 1;
    flush(&mut outgoing, &mut socket, 4);
    assert_eq!(outgoing.stuck_since(), Some(at(4)));
    socket.0 = 1000;
    let flushed = flush(&mut outgoing, &mut socket, 5);
    assert_eq!((flushed, outgoing.stuck_since()), (Flushed::All, None));
    assert_eq!((tally.bytes(), socket.1.len()), (0, 100));
}

#[test]
fn row_034_the_frame_under_way_is_finished_and_the_queue_dropped() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    let mut socket = Takes(10, Vec::new());
    outgoing.push_control(vec![1; 100]);
    flush(&mut outgoing, &mut socket, 0);
    outgoing.push_control(vec![2; 100]);
    outgoing.drop_queue();
    outgoing.push_control(vec![3; 100]);
    socket.0 = 1000;
    flush(&mut outgoing, &mut socket, 0);
    assert_eq!(socket.1, [vec![1; 100], vec![3; 100]].concat());
    outgoing.push_control(vec![4; 100]);
    drop(outgoing);
    assert_eq!(tally.bytes(), 0);
}

fn message(text: &str) -> Frame {
    Frame::Text(text.into())
}

fn texts(frames: &Frames) -> Vec<String> {
    let frames = frames.iter().filter_map(FrameRef::to_frame);
    frames.map(|frame| frame.to_text()).collect()
}

#[test]
fn messages_are_handed_on_when_they_are_written_and_not_before() {
    let tally = Tally::default();
    let (mut outgoing, mut scratch) = (Outgoing::new(tally.share()), Vec::new());
    let (mut socket, mut taken) = (Takes(0, Vec::new()), Frames::default());
    outgoing.push(message("one"));
    // It may have arrived, as far as anybody can tell.
    outgoing.flush(
        &mut socket,
        Framing::Raw,
        &mut scratch,
        at(0),
        |waiting, count| taken.take(waiting, count),
    );
    outgoing.push(message("two"));
    outgoing.push_control(vec![1; 100]);
    assert_eq!(texts(&taken), ["one"]);
    assert!(tally.bytes() > 100);
    assert_eq!(texts(&outgoing.abandon()), ["two"]);
    assert!(outgoing.is_empty());
    assert_eq!((tally.bytes(), outgoing.stuck_since()), (0, None));
}

#[test]
fn what_is_sealed_is_written_and_nothing_of_it_comes_back() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    let (mut socket, mut taken) = (Takes(1000, Vec::new()), Frames::default());
    outgoing.push(message("one"));
    outgoing.push_control(vec![1; 100]);
    outgoing.seal(Framing::Raw, |waiting, count| taken.take(waiting, count));
    assert_eq!(texts(&taken), ["one"]);
    let flushed = flush(&mut outgoing, &mut socket, 0);
    // The message has a header of two bytes.
    assert_eq!((flushed, socket.1.len()), (Flushed::All, 105));
    assert!(outgoing.abandon().is_empty());
}

/// Messages in the form in which they are written in the open.
fn framed(texts: &[&str]) -> Vec<u8> {
    let framed = |text: &&str| {
        let mut bytes = Vec::new();
        Framing::Raw.write((&message(text)).into(), &mut Escaper::default(), &mut bytes);
        bytes
    };
    texts.iter().flat_map(framed).collect()
}

fn event(head: &Head, value: &str) -> Frame {
    let tail = Encoding::Vent.own_tail(value.into(), false);
    Frame::Event {
        head: head.clone(),
        tail,
    }
}

#[test]
fn what_another_connection_was_to_say_comes_first() {
    let tally = Tally::default();
    let (mut newcomer, mut outgoing) = (Outgoing::new(tally.share()), Outgoing::new(tally.share()));
    let (one, other) = (Head::from("<".to_owned()), Head::from("<<".to_owned()));
    newcomer.push(event(&one, "1"));
    flush(&mut newcomer, &mut Takes(2, Vec::new()), 0);
    newcomer.push(event(&other, "2"));
    newcomer.push(event(&one, "3"));
    outgoing.push(event(&other, "4"));
    outgoing.write_first(newcomer.into_unsent(Framing::Raw));
    outgoing.push(event(&one, "5"));
    let mut socket = Takes(1000, Vec::new());
    assert_eq!(flush(&mut outgoing, &mut socket, 0), Flushed::All);
    let expected = framed(&["<1}", "<<2}", "<3}", "<<4}", "<5}"]);
    // The first two bytes were taken by the other.
    assert_eq!(socket.1, expected[2..]);
}

#[test]
fn a_polling_frame_holds_messages_or_one_thing_of_its_own() {
    let tally = Tally::default();
    let mut outgoing = Outgoing::new(tally.share());
    let half = "x".repeat(WRITE_BYTES / 2);
    outgoing.push_control(b"h".to_vec());
    outgoing.push(message("one"));
    outgoing.push(event(&Head::from("<".to_owned()), "2"));
    outgoing.push_control(b"c".to_vec());
    for _ in 0..3 {
        outgoing.push(message(&half));
    }
    let (mut scratch, mut frames) = (Vec::new(), Vec::new());
    while !outgoing.is_empty() {
        outgoing.gather_frame(&mut scratch, &mut Frames::drop_front);
        frames.push(String::from_utf8(scratch.clone()).unwrap());
    }
    let two = format!(r#"a["{half}","{half}"]"#);
    let one = format!(r#"a["{half}"]"#);
    assert_eq!(frames, ["h", r#"a["one","<2}"]"#, "c", &two, &one]);
}
