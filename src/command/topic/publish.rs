//! `publish`: lines of standard input become records.

use std::io;
use std::time::Duration;

use clap::Args;
use updraft::topics::{Entry, Item, Published, Settings, Topic, TopicError, TopicName};

use super::lines::{Line, Lines, Paths};
use super::path::Path;
use super::progress::Progress;
use crate::command::end::{EXIT_CODES, Ended, Exit, explain};
use crate::command::interrupt::Interrupt;
use crate::command::output::Output;
use crate::command::store::{Access, OpenStore, StoreOptions};
use crate::command::time::{duration, iso};

/// How many lines that are skipped are named, one by one.
const NAMED: u64 = 20;

/// Publishes lines of standard input, each of which is a value in JSON or EJSON.
///
/// Lines go in batches, each of which is stored as a whole or not at all. Ctrl-C finishes the one
/// under way. A bad line ends the command, and nothing of its batch is stored. Blank lines are left
/// out.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct PublishOptions {
    /// The topic.
    topic: TopicName,
    /// Creates the topic if it is not there, and a store in a file likewise.
    #[arg(long)]
    create: bool,
    /// Where a line has the key of its record, for example .id, .customer.id or .items[0].id.
    #[arg(long, value_name = "PATH")]
    key_from: Option<Path>,
    /// Where a line has its compact id: what the record is the latest state of.
    #[arg(long, value_name = "PATH")]
    compact: Option<Path>,
    /// Where a line has an id under which it is stored once, so that the same lines can be
    /// published again.
    #[arg(long, value_name = "PATH")]
    dedup_from: Option<Path>,
    /// How long these ids count.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        default_value = "5m",
        requires = "dedup_from"
    )]
    dedup_window: Duration,
    /// How many lines are stored together at most.
    #[arg(
        long,
        value_name = "LINES",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u16).range(1..=10_000)
    )]
    batch: u16,
    /// Prints {"line":…,"offset":…,"position":…,"time":…} for each line as soon as it is stored, with
    /// "duplicate":true if it was stored before.
    #[arg(long)]
    positions: bool,
    /// Leaves out bad lines, and counts them.
    #[arg(long)]
    skip_bad: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

impl PublishOptions {
    pub(super) fn access(&self) -> Access {
        if self.create {
            Access::Creating
        } else {
            Access::Existing
        }
    }

    fn paths(&self) -> Paths {
        Paths {
            key: self.key_from.clone(),
            compact: self.compact.clone(),
            dedup: self.dedup_from.clone(),
        }
    }
}

pub(super) async fn run(options: &PublishOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let interrupt = Interrupt::watch()?;
    let mut settings = Settings::default();
    settings.auto_create = options.create;
    settings.dedup_window = options.dedup_window;
    let mut publishing = Publishing {
        topic: store.topic(&options.topic, settings).await?,
        options,
        positions: options.positions.then(Output::new),
        progress: Progress::new(options.positions),
        done: Done::default(),
    };
    let outcome = publishing.all(&interrupt).await;
    publishing.progress.clear();
    let done = &publishing.done;
    match outcome {
        Ok(()) if interrupt.is_asked() => {
            let why = format!("stopped by a signal; {}", done.so_far());
            Err(Ended::new(Exit::Interrupted, why))
        }
        Ok(()) => {
            publishing.progress.say(&done.summary(&options.topic));
            Ok(Exit::Done)
        }
        Err(Ended { exit, why }) => {
            let why = why.unwrap_or_default();
            Err(Ended::new(exit, format!("{why}; {}", done.so_far())))
        }
    }
}

struct Publishing<'a> {
    topic: Topic,
    options: &'a PublishOptions,
    /// `None` if nobody wants positions, or nobody reads them any more.
    positions: Option<Output>,
    progress: Progress,
    done: Done,
}

/// What was done with the lines so far.
#[derive(Default)]
struct Done {
    /// The last line that is stored or was skipped.
    line: u64,
    records: u64,
    duplicates: u64,
    skipped: u64,
    /// The first and the last offset that a record got.
    offsets: Option<(u64, u64)>,
}

impl Publishing<'_> {
    /// Publishes all lines, or as many as there were before somebody asked to stop.
    async fn all(&mut self, interrupt: &Interrupt) -> Result<(), Ended> {
        let unreadable = |error| Ended::failed(format!("standard input cannot be read: {error}"));
        let lines = Lines::read(self.options.paths(), self.options.batch.into());
        let mut lines = lines.map_err(unreadable)?;
        loop {
            let batch = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(()),
                batch = lines.batch() => batch,
            };
            let batch = batch.map_err(unreadable)?;
            let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
                return Ok(());
            };
            let lines = (first.number, last.number);
            self.batch(batch, lines).await?;
            self.progress.show(self.done.line);
        }
    }

    /// Stores the lines from and to these numbers.
    async fn batch(&mut self, batch: Vec<Line>, lines: (u64, u64)) -> Result<(), Ended> {
        let mut numbers = Vec::with_capacity(batch.len());
        let mut entries = Vec::with_capacity(batch.len());
        for line in batch {
            match line.entry {
                Ok(entry) => {
                    numbers.push(line.number);
                    entries.push(entry);
                }
                Err(why) => self.bad(line.number, &why, lines)?,
            }
        }
        let published = loop {
            match self.publish(&entries).await {
                Ok(published) => break published,
                // A later one of the batch may be too large too.
                Err(TopicError::TooLarge {
                    item,
                    index,
                    bytes,
                    limit,
                }) if index < entries.len() => {
                    let number = numbers.remove(index);
                    drop(entries.remove(index));
                    self.bad(number, &too_large(item, bytes, limit), lines)?;
                }
                Err(error) => return Err(self.failed(&error, lines)),
            }
        };
        // Also if their positions cannot be printed.
        self.done.add(&published);
        self.done.line = lines.1;
        self.print(&numbers, &published)
    }

    async fn publish(&self, entries: &[Entry]) -> Result<Vec<Published>, TopicError> {
        self.topic.publish_many(entries.iter().cloned()).await
    }

    /// A line that cannot be stored.
    fn bad(&mut self, number: u64, why: &str, lines: (u64, u64)) -> Result<(), Ended> {
        if !self.options.skip_bad {
            let (from, to) = lines;
            let why = format!(
                "line {number}: {why}; nothing of its batch, lines {from} to {to}, was stored"
            );
            return Err(Ended::failed(why));
        }
        self.done.skipped = self.done.skipped.saturating_add(1);
        match self.done.skipped {
            1..=NAMED => self
                .progress
                .say(&format!("line {number} is skipped: {why}")),
            number if number == NAMED.saturating_add(1) => {
                self.progress
                    .say(&"further lines are skipped and only counted");
            }
            _ => {}
        }
        Ok(())
    }

    fn failed(&self, error: &TopicError, (from, to): (u64, u64)) -> Ended {
        let why = explain(error);
        if !matches!(error, TopicError::Unavailable(_)) {
            return Ended::failed(format!("{why} (lines {from} to {to})"));
        }
        let what = if self.options.dedup_from.is_some() {
            "publish all lines again: none is stored twice while its id counts"
        } else {
            "the last records of the topic tell"
        };
        Ended::failed(format!(
            "{why}; whether lines {from} to {to} are stored is not known, {what}"
        ))
    }

    fn print(&mut self, numbers: &[u64], published: &[Published]) -> Result<(), Ended> {
        let Some(output) = &mut self.positions else {
            return Ok(());
        };
        match print_positions(output, numbers, published) {
            // The lines are what matters.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.positions = None;
                Ok(())
            }
            printed => Ok(printed?),
        }
    }
}

fn print_positions(
    output: &mut Output,
    numbers: &[u64],
    published: &[Published],
) -> io::Result<()> {
    for (number, published) in numbers.iter().zip(published) {
        // Neither a token nor a date has a character that JSON escapes.
        let duplicate = if published.duplicate {
            r#","duplicate":true"#
        } else {
            ""
        };
        output.line(&format!(
            r#"{{"line":{number},"offset":{},"position":"{}","time":"{}"{duplicate}}}"#,
            published.offset,
            published.position,
            iso(published.time)
        ))?;
    }
    output.flush()
}

fn too_large(item: Item, bytes: usize, limit: usize) -> String {
    format!("{item} has {bytes} bytes and may have {limit}")
}

impl Done {
    fn add(&mut self, published: &[Published]) {
        for published in published {
            if published.duplicate {
                self.duplicates = self.duplicates.saturating_add(1);
                continue;
            }
            self.records = self.records.saturating_add(1);
            let first = self.offsets.map_or(published.offset, |(first, _)| first);
            self.offsets = Some((first, published.offset));
        }
    }

    /// How far it came.
    fn so_far(&self) -> String {
        match self.line {
            0 => "nothing was stored before".to_owned(),
            line => format!("lines 1 to {line} are done, {}", self.counts()),
        }
    }

    fn summary(&self, topic: &TopicName) -> String {
        let topic = topic.as_str();
        match self.offsets {
            None => format!("{topic:?}: {}", self.counts()),
            Some((first, last)) => {
                format!("{topic:?}: {}, offsets {first} to {last}", self.counts())
            }
        }
    }

    fn counts(&self) -> String {
        let mut counts = format!("{} stored", self.records);
        if self.duplicates > 0 {
            counts.push_str(&format!(", {} stored before", self.duplicates));
        }
        if self.skipped > 0 {
            counts.push_str(&format!(", {} skipped", self.skipped));
        }
        counts
    }
}
