//! What happens to the order of a key when members fail and stand still: the same work by a group,
//! by hand on a plain stream, and by workers on JetStream. Here the records of a key have ascending
//! numbers, and one that is handled behind a later one of its key was overtaken.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{Entry, GroupSettings, Settings};

use super::by_hand::{self, Acks, Worker};
use super::jetstream::{JetStream, Order, Storage};
use super::world::topics;
use super::{KEYS, MEMBERS, key};
use crate::Failure;
use crate::options::Options;
use crate::table::{Table, figure};

const RECORDS: usize = 20_000;

/// Of so many records one fails when it is delivered for the first time. It has no divisor with
/// `KEYS`, so that all keys have some of these.
const FAILS: usize = 51;

/// After how many records of a member it stands still, the first one only.
const STANDS_STILL: usize = 1000;

/// For how long a member may have a record.
const WAIT: Duration = Duration::from_secs(1);

/// After which time a record that has failed comes again, where it does not come at once.
const LATER: Duration = Duration::from_millis(100);

/// Records that a member gets at once.
const AT_ONCE: usize = 20;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "who",
        "records",
        "failed",
        "overtaken",
        "of keys",
        "twice",
        "s",
    ]);
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let count = options.records(RECORDS);
    let mut row = |who: &str, work: &mut dyn FnMut(&Arc<Log>) -> Result<(), Failure>| {
        let log = Arc::new(Log::default());
        let began = Instant::now();
        work(&log)?;
        let row = log.row(who, began);
        eprintln!("{}", row.join(" | "));
        table.row(row);
        Ok::<_, Failure>(())
    };
    let url = server.url();
    row("a group", &mut |log| {
        runtime.block_on(by_group(&url, "orders", count, None, log))
    })?;
    row("a group, later", &mut |log| {
        runtime.block_on(by_group(&url, "later", count, Some(LATER), log))
    })?;
    row("`XREADGROUP` by hand", &mut |log| {
        runtime.block_on(alone(&url, count, log))
    })?;
    if let Some(mut jetstream) = JetStream::start(options, None)? {
        for (name, order, delay) in [
            ("JetStream", Order::None, None),
            ("JetStream, later", Order::None, Some(LATER)),
            (
                "JetStream, one record of a part at a time",
                Order::Key,
                None,
            ),
            (
                "JetStream, one record of a part at a time, later",
                Order::Key,
                Some(LATER),
            ),
        ] {
            row(name, &mut |log| {
                by_jetstream(&mut jetstream, order, count, delay, log)
            })?;
        }
    }
    Ok(table)
}

/// What was handled, in the order in which it was.
#[derive(Default)]
struct Log(Mutex<Effects>);

#[derive(Default)]
struct Effects {
    /// By key: the highest number that was handled.
    last: HashMap<String, usize>,
    done: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    overtaken: usize,
    keys: BTreeSet<String>,
    twice: usize,
}

impl Log {
    /// Whether the record fails, as it does the first time if it is one of those that do.
    fn fails(&self, number: usize) -> bool {
        number.is_multiple_of(FAILS) && self.lock().failed.insert(number)
    }

    fn handle(&self, key: &str, number: usize) {
        let mut effects = self.lock();
        if !effects.done.insert(number) {
            effects.twice += 1;
            return;
        }
        let last = effects.last.entry(key.to_owned()).or_default();
        let is_overtaken = *last > number;
        *last = (*last).max(number);
        if is_overtaken {
            effects.overtaken += 1;
            effects.keys.insert(key.to_owned());
        }
    }

    fn done(&self) -> usize {
        self.lock().done.len()
    }

    fn row(&self, who: &str, began: Instant) -> Vec<String> {
        let effects = self.lock();
        let count = |count: usize| figure_of(count);
        vec![
            who.to_owned(),
            count(effects.done.len()),
            count(effects.failed.len()),
            count(effects.overtaken),
            count(effects.keys.len()),
            count(effects.twice),
            figure(began.elapsed().as_secs_f64()),
        ]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Effects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn figure_of(count: usize) -> String {
    match count {
        0..10 => count.to_string(),
        _ => figure(count as f64),
    }
}

async fn by_group(
    url: &str,
    name: &str,
    count: usize,
    delay: Option<Duration>,
    log: &Arc<Log>,
) -> Result<(), Failure> {
    let topics = topics(url, Duration::from_secs(10)).await?;
    let topic = topics.topic(name, Settings::default()).await?;
    let entries = (1..=count).map(|number| Entry::value(&number).key(key(number)));
    let entries: Vec<_> = entries.collect();
    for entries in entries.chunks(1000) {
        topic.publish_many(entries.iter().cloned()).await?;
    }
    let settings = GroupSettings::on([&topic]).ack_wait(WAIT).back_off(delay);
    let group = topics.group(name, settings).await?;
    let mut members = JoinSet::new();
    for name in 0..MEMBERS {
        let (mut member, log) = (group.member(&format!("w{name}")), Arc::clone(log));
        members.spawn(async move {
            let mut handled = 0;
            loop {
                for delivery in member.fetch(AT_ONCE).await? {
                    handled += 1;
                    if name == 0 && handled > STANDS_STILL {
                        // It neither answers nor goes away.
                        std::future::pending::<()>().await;
                    }
                    if !delivery.is_current() {
                        continue;
                    }
                    let number: usize = delivery.parse()?;
                    if log.fails(number) {
                        delivery.nack(None).await?;
                        continue;
                    }
                    log.handle(delivery.message().key().unwrap_or_default(), number);
                    delivery.ack().await?;
                }
            }
        });
    }
    until_done(count, log, members).await
}

async fn alone(url: &str, count: usize, log: &Arc<Log>) -> Result<(), Failure> {
    let mut connection = by_hand::connect(url).await?;
    by_hand::create(&mut connection).await?;
    let texts: Vec<_> = (1..=count).map(|number| number.to_string()).collect();
    for (page, texts) in texts.chunks(1000).enumerate() {
        let entries = texts.iter().enumerate();
        let entries = entries.map(|(place, text)| (key(page * 1000 + place + 1), text.as_bytes()));
        by_hand::add(&mut connection, entries).await?;
    }
    let mut members = JoinSet::new();
    for name in 0..MEMBERS {
        let mut worker = Worker::new(url, format!("w{name}"), WAIT).await?;
        let log = Arc::clone(log);
        members.spawn(async move {
            let mut handled = 0;
            loop {
                let entries = worker.fetch(AT_ONCE).await?;
                if entries.is_empty() {
                    sleep(Duration::from_millis(10)).await;
                }
                for entry in &entries {
                    handled += 1;
                    if name == 0 && handled > STANDS_STILL {
                        std::future::pending::<()>().await;
                    }
                    let [_, key, _, text] = &*entry.1 else {
                        return Err("an entry that nobody has added".into());
                    };
                    let number = String::from_utf8_lossy(text).parse()?;
                    // Without an acknowledgement it comes again, to whoever claims it.
                    if !log.fails(number) {
                        log.handle(&String::from_utf8_lossy(key), number);
                        worker
                            .acknowledge(std::slice::from_ref(entry), Acks::Together)
                            .await?;
                    }
                }
            }
        });
    }
    until_done(count, log, members).await
}

fn by_jetstream(
    jetstream: &mut JetStream,
    order: Order,
    count: usize,
    delay: Option<Duration>,
    log: &Log,
) -> Result<(), Failure> {
    jetstream.create(Storage::Memory, order, WAIT)?;
    jetstream.ask(&format!("fill {count} {KEYS} 1"))?;
    let delay = delay.unwrap_or_default().as_millis();
    let at_once = match order {
        Order::None => AT_ONCE,
        Order::Key => 1,
    };
    let command = format!("order {count} {MEMBERS} {at_once} {FAILS} {delay} {STANDS_STILL}");
    jetstream.ask_for_lines(&command, |line| {
        match *line.split(' ').collect::<Vec<_>>() {
            ["failed", number] => {
                log.fails(number.parse()?);
            }
            ["handled", key, number] => log.handle(key, number.parse()?),
            _ => return Err(format!("the workers on JetStream say: {line}").into()),
        }
        Ok(())
    })
}

/// Waits until all is handled, or a member has failed.
async fn until_done(
    count: usize,
    log: &Log,
    mut members: JoinSet<Result<(), Failure>>,
) -> Result<(), Failure> {
    while log.done() < count {
        tokio::select! {
            Some(ended) = members.join_next() => ended??,
            () = sleep(Duration::from_millis(10)) => {}
        }
    }
    members.abort_all();
    Ok(())
}
