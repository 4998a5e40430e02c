//! Groups: how fast their members work through a topic, alone and beside workers on Redis' own groups
//! and on JetStream, what these do to the order of a key, and how long it takes until something else
//! has the work.

mod by_hand;
mod idle;
mod jetstream;
mod memory;
mod order;
mod peers;
mod redis;
mod times;
mod world;

pub(crate) use self::idle::measure as idle;
pub(crate) use self::order::measure as order;
pub(crate) use self::peers::measure as peers;
pub(crate) use self::times::measure as times;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;
use updraft_topics::{Entry, Group, Member, Topic};

use crate::Failure;
use crate::options::Options;
use crate::table::Table;

/// Members, and keys of the records.
const MEMBERS: usize = 4;
const KEYS: usize = 100;

/// Records that a member gets at once.
const AT_ONCE: usize = 100;

/// How fast members acknowledge what a topic holds.
pub(crate) fn work(options: &Options) -> Result<Table, Failure> {
    let mut table = Table::of_ratios();
    memory::measure(options, &mut table)?;
    redis::measure(options, &mut table)?;
    Ok(table)
}

fn key(number: usize) -> String {
    format!("key {}", number % KEYS)
}

async fn publish(topic: &Topic, payloads: &[Bytes]) -> Result<(), Failure> {
    let entries = payloads.iter().enumerate();
    let entries = entries.map(|(number, payload)| Entry::bytes(payload.clone()).key(key(number)));
    let entries: Vec<_> = entries.collect();
    for entries in entries.chunks(1000) {
        topic.publish_many(entries.iter().cloned()).await?;
    }
    Ok(())
}

/// Members of one process. They stay from round to round, as workers do.
struct Workers(Vec<Member>);

impl Workers {
    fn new(group: &Group) -> Self {
        let members = 0..MEMBERS;
        Self(members.map(|it| group.member(&format!("w{it}"))).collect())
    }

    /// They work until all is finished. Each record is acknowledged by itself.
    async fn work_off(&mut self, count: usize) -> Result<(), Failure> {
        let handled = Arc::new(AtomicUsize::new(0));
        let mut working = JoinSet::new();
        for mut member in self.0.drain(..) {
            let handled = Arc::clone(&handled);
            working.spawn(async move {
                let drained = member.drain(|_| {
                    handled.fetch_add(1, Ordering::Relaxed);
                    async { Ok(()) }
                });
                drained.await.map(|()| member)
            });
        }
        let members = working.join_all().await.into_iter();
        self.0 = members.collect::<Result<_, _>>()?;
        match handled.load(Ordering::Relaxed) {
            all if all == count => Ok(()),
            some => Err(format!("{some} of {count} records were handled").into()),
        }
    }
}
