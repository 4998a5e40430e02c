//! Workers in Node, by the npm package.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use updraft_test_support::client::PATIENCE;
use updraft_test_support::script::package;

use super::world::{World, entry};
use crate::common::Running;

/// A process that works for the group, and is killed at the end at the latest.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(server: &Running, how: &str, count: usize) -> Self {
        package();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/worker.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .args([server.url(), how, &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = sync_channel(100);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next records that it is given, in the order of their payloads, and how often they were
    /// delivered.
    #[track_caller]
    fn given(&self, count: usize) -> Vec<(u32, u32)> {
        let next = |_| {
            let line = self.lines.recv_timeout(4 * PATIENCE).expect("a record");
            let (payload, deliveries) = line.split_once(' ').expect("two numbers");
            let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
            (number(payload), number(deliveries))
        };
        let mut given: Vec<_> = (0..count).map(next).collect();
        given.sort_unstable();
        given
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn topic_049_what_a_process_of_node_had_that_is_killed_is_given_to_another() {
    // The ack wait is 30 s.
    let world = World::memory(|settings| settings);
    let server = Running::start(world.builder());
    world.publish((1..=3).map(entry));
    let first = Worker::start(&server, "hold", 3);
    assert_eq!(first.given(3), [(1, 1), (2, 1), (3, 1)]);
    let mut second = Worker::start(&server, "work", 6);
    world.publish((4..=6).map(entry));
    assert_eq!(second.given(3), [(4, 1), (5, 1), (6, 1)]);
    drop(first);
    assert_eq!(second.given(3), [(1, 2), (2, 2), (3, 2)]);
    let ended = second.child.wait().expect("an end");
    assert!(ended.success(), "{ended}");
    world.becomes_idle(0);
}
