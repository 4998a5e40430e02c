//! `list` and `info`: which topics there are, and what one holds.

use clap::Args;
use updraft::ejson;
use updraft::topics::{Bounds, Limit, OnLoss, Received, Start, Topic, TopicError, TopicName};

use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::output::{Output, say};
use crate::command::store::{OpenStore, StoreOptions};
use crate::command::time::{ago, iso, now};

/// Prints the names of topics, one a line, in the order of their bytes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ListOptions {
    /// Only those that begin so.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Prints what a topic holds.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct InfoOptions {
    /// The topic.
    topic: TopicName,
    /// Prints one line of JSON, in which unknown things are null.
    #[arg(long)]
    json: bool,
    /// Reads the topic, to count the records that compaction has left, and their bytes.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

pub(super) async fn list(options: &ListOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let mut output = Output::new();
    let mut last: Option<TopicName> = None;
    loop {
        let names = store.names(&options.prefix, last.as_ref()).await?;
        if names.is_empty() {
            break;
        }
        for name in &names {
            output.line(name.as_str())?;
        }
        last = names.last().cloned();
    }
    output.flush()?;
    Ok(Exit::Done)
}

/// What is known of a topic.
struct Info {
    bounds: Bounds,
    first_time: Option<u64>,
    last_time: Option<u64>,
    /// Counted by reading.
    held: Option<Held>,
}

#[derive(Default)]
struct Held {
    records: u64,
    bytes: u64,
}

pub(super) async fn info(options: &InfoOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let topic = store.existing(&options.topic).await?;
    let mut damaged = Damaged::default();
    let bounds = topic.bounds().await?;
    let info = Info {
        bounds,
        first_time: first_time(&topic, Start::Earliest, &mut damaged).await?,
        last_time: first_time(&topic, Start::Last(1), &mut damaged).await?,
        held: if options.exact {
            Some(count(&topic, &mut damaged).await?)
        } else {
            None
        },
    };
    let mut output = Output::new();
    if options.json {
        output.line(&info.json(&options.topic))?;
    } else {
        for (name, value) in info.lines(&options.topic) {
            output.line(&format!("{name:<12}{value}"))?;
        }
    }
    output.flush()?;
    Ok(if damaged.0.is_empty() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

/// Damaged records that were told of.
#[derive(Default)]
struct Damaged(std::collections::BTreeSet<u64>);

impl Damaged {
    fn found(&mut self, offset: u64) {
        if self.0.insert(offset) {
            say(&format!("record {offset} is damaged in the store"));
        }
    }
}

/// When the first record from here on was stored, if it can be read.
async fn first_time(
    topic: &Topic,
    start: Start,
    damaged: &mut Damaged,
) -> Result<Option<u64>, Ended> {
    let reader = topic.reader(start, OnLoss::Earliest).await?;
    let mut reader = reader.page(Limit::new(1, 0));
    loop {
        match reader.next_held().await.transpose() {
            Ok(Some(Received::Message(message))) => return Ok(Some(message.time())),
            Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
            Err(TopicError::Damaged { offset }) => damaged.found(offset),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the topic holds when it is read from its beginning to its end.
async fn count(topic: &Topic, damaged: &mut Damaged) -> Result<Held, Ended> {
    let mut reader = topic.reader(Start::Earliest, OnLoss::Earliest).await?;
    let end = topic.bounds().await?.last;
    let mut held = Held::default();
    loop {
        match reader.next_held().await.transpose() {
            Ok(Some(Received::Message(message))) if message.offset() <= end => {
                held.records = held.records.saturating_add(1);
                let size = u64::try_from(message.size()).unwrap_or(u64::MAX);
                held.bytes = held.bytes.saturating_add(size);
            }
            Ok(Some(Received::Message(_)) | None) => return Ok(held),
            // What was counted is gone.
            Ok(Some(_)) => held = Held::default(),
            Err(TopicError::Damaged { offset }) => damaged.found(offset),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Info {
    /// The count, or how many records there are at most.
    fn records(&self) -> u64 {
        let offsets = self
            .bounds
            .last
            .saturating_add(1)
            .saturating_sub(self.bounds.first);
        self.held.as_ref().map_or(offsets, |held| held.records)
    }

    fn epoch(&self) -> String {
        format!("{:016x}", self.bounds.epoch.to_u64())
    }

    fn json(&self, topic: &TopicName) -> String {
        let age = |time: Option<u64>| time.map(|time| now().saturating_sub(time) / 1000);
        ejson::to_json(&ejson!({
            "topic": (topic.as_str()),
            "epoch": (self.epoch()),
            "first": (self.bounds.first),
            "last": (self.bounds.last),
            "records": (self.records()),
            "exact": (self.held.is_some()),
            "bytes": (self.held.as_ref().map(|held| held.bytes)),
            "closed": (self.bounds.closed),
            "firstTime": (self.first_time.map(iso)),
            "firstAge": (age(self.first_time)),
            "lastTime": (self.last_time.map(iso)),
            "lastAge": (age(self.last_time)),
        }))
    }

    fn lines(&self, topic: &TopicName) -> Vec<(&'static str, String)> {
        let age = |time: u64| format!("{} ({} ago)", iso(time), ago(now().saturating_sub(time)));
        let time = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), age);
        let is_exact = self.held.is_some() || self.records() == 0;
        let most = if is_exact { "" } else { "at most " };
        let mut lines = vec![
            ("topic", topic.to_string()),
            ("epoch", self.epoch()),
            ("first", self.bounds.first.to_string()),
            ("last", self.bounds.last.to_string()),
            ("records", format!("{most}{}", self.records())),
        ];
        if let Some(held) = &self.held {
            lines.push(("bytes", held.bytes.to_string()));
        }
        lines.push((
            "closed",
            if self.bounds.closed { "yes" } else { "no" }.to_owned(),
        ));
        lines.push(("first time", time(self.first_time)));
        lines.push(("last time", time(self.last_time)));
        lines
    }
}
