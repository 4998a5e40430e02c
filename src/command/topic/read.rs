//! `read` and `follow`: records as lines of JSON.

use std::fmt::Display;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use tokio::time::sleep;
use updraft::topics::{
    Message, Offset, OnLoss, Reader, Received, Start, Topic, TopicError, TopicName,
};

use crate::command::end::{EXIT_CODES, Ended, Exit, explain};
use crate::command::interrupt::Interrupt;
use crate::command::output::{Output, say};
use crate::command::record::write_record;
use crate::command::store::{OpenStore, StoreOptions};
use crate::command::time::time;

/// After which time a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints the records that a topic holds, and ends.
///
/// Each is a line of JSON: position, offset, time; key, compact, contentType and meta if it has
/// them; and payload, which is EJSON ({"$binary":…} if it has a content type), or "tombstone":true.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ReadOptions {
    /// Where to begin: earliest, latest, snapshot (the latest record of each compact id, then what
    /// follows), a time as 2026-01-31T12:00Z or 15m (ago), or behind a position.
    #[arg(
        long,
        value_name = "START",
        value_parser = start,
        allow_hyphen_values = true,
        default_value = "earliest"
    )]
    from: Start,
    #[command(flatten)]
    pub(super) what: What,
}

/// Prints the records of a topic as they come, until it is closed or Ctrl-C.
///
/// The lines are those of `read`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct FollowOptions {
    /// Where to begin: earliest, latest, snapshot (the latest record of each compact id, then what
    /// follows), a time as 2026-01-31T12:00Z or 15m (ago), or behind a position.
    #[arg(
        long,
        value_name = "START",
        value_parser = start,
        allow_hyphen_values = true,
        default_value = "latest"
    )]
    from: Start,
    #[command(flatten)]
    pub(super) what: What,
}

/// What is read, by both commands.
#[derive(Debug, Args)]
pub(super) struct What {
    /// The topic.
    topic: TopicName,
    /// Begins with so many of the last records.
    #[arg(short = 'n', value_name = "COUNT", conflicts_with = "from")]
    last: Option<u64>,
    /// Prints only records of this key.
    #[arg(long)]
    key: Option<String>,
    /// Ends when so many records were printed.
    #[arg(long)]
    count: Option<u64>,
    /// What to do when records of the position are gone, or it is not of this topic any more. That
    /// is told on standard error in any case.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "fail")]
    on_loss: Loss,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// The names of [`OnLoss`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Loss {
    /// Ends with exit code 3.
    Fail,
    /// Goes on with the first record that is held.
    Earliest,
    /// Goes on with what comes next.
    Latest,
    /// Goes on with the latest record of each compact id.
    Snapshot,
}

fn start(text: &str) -> anyhow::Result<Start> {
    Ok(match text {
        "earliest" => Start::Earliest,
        "latest" => Start::Latest,
        "snapshot" => Start::Snapshot,
        text => {
            if let Ok(position) = text.parse() {
                Start::Position(position)
            } else if let Some(time) = time(text) {
                Start::Time(time)
            } else {
                bail!(
                    "it is earliest, latest, snapshot, a time as 2026-01-31T12:00Z or 15m, or a \
                     position"
                );
            }
        }
    })
}

/// Prints what the topic holds now.
pub(super) async fn read(options: &ReadOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let topic = store.existing(&options.what.topic).await?;
    let end = topic.bounds().await?.last;
    let mut printing = Printing::start(&topic, &options.what, options.from).await?;
    printing.run(Until::Offset(end)).await
}

/// Prints what the topic holds, and what comes.
pub(super) async fn follow(options: &FollowOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let topic = store.existing(&options.what.topic).await?;
    let mut printing = Printing::start(&topic, &options.what, options.from).await?;
    printing.run(Until::Closed).await
}

/// When there is nothing more to print.
#[derive(Clone, Copy)]
enum Until {
    /// Behind this record, so that `read` ends also while others publish.
    Offset(Offset),
    /// When the topic is closed.
    Closed,
}

/// The state of a command that prints records.
struct Printing<'a> {
    what: &'a What,
    reader: Reader,
    interrupt: Interrupt,
    output: Output,
    /// How many more records may be printed.
    left: u64,
    /// Whether records were left out because they are damaged.
    is_damaged: bool,
    /// Whether the store has not answered the last time.
    is_away: bool,
    line: String,
}

impl<'a> Printing<'a> {
    async fn start(topic: &Topic, what: &'a What, from: Start) -> Result<Self, Ended> {
        let on_loss = match what.on_loss {
            Loss::Fail => OnLoss::Fail,
            Loss::Earliest => OnLoss::Earliest,
            Loss::Latest => OnLoss::Latest,
            Loss::Snapshot => OnLoss::Snapshot,
        };
        let from = what.last.map_or(from, Start::Last);
        Ok(Self {
            what,
            reader: topic.reader(from, on_loss).await?,
            interrupt: Interrupt::watch()?,
            output: Output::new(),
            left: what.count.unwrap_or(u64::MAX),
            is_damaged: false,
            is_away: false,
            line: String::new(),
        })
    }

    async fn run(&mut self, mut until: Until) -> Result<Exit, Ended> {
        while self.left > 0 {
            let next = tokio::select! {
                biased;
                () = self.interrupt.asked() => None,
                next = next(&mut self.reader, until) => next,
            };
            match (next, &mut until) {
                (Some(Ok(Received::Message(message))), Until::Offset(end))
                    if message.offset() > *end =>
                {
                    break;
                }
                (Some(Ok(Received::Message(message))), _) => self.print(&message)?,
                (Some(Ok(Received::Gap(gap))), _) => self.tell(&gap)?,
                (Some(Ok(Received::Reset(reset))), until) => {
                    self.tell(&reset)?;
                    if let Until::Offset(end) = until {
                        *end = reset.last.offset();
                    }
                }
                (Some(Err(TopicError::Damaged { offset })), _) => {
                    self.leave_out(offset, "is damaged in the store")?;
                }
                (Some(Err(TopicError::Unavailable(cause))), Until::Closed) => {
                    self.wait_for_store(&TopicError::Unavailable(cause)).await?;
                }
                (Some(Err(error)), _) => {
                    self.output.flush()?;
                    return Err(error.into());
                }
                (None, until) => {
                    if matches!(until, Until::Closed) && !self.interrupt.is_asked() {
                        self.tell(&"the topic is closed")?;
                    }
                    break;
                }
                // There may be more kinds one day, which are no records.
                (Some(Ok(_)), _) => {}
            }
            if matches!(until, Until::Closed) && self.reader.is_live() {
                self.output.flush()?;
            }
        }
        self.output.flush()?;
        Ok(match until {
            // Nobody can see the end of a topic that goes on but by ending the command.
            Until::Offset(_) if self.interrupt.is_asked() => Exit::Interrupted,
            _ if self.is_damaged => Exit::Damaged,
            _ => Exit::Done,
        })
    }

    fn print(&mut self, message: &Message) -> Result<(), Ended> {
        self.is_away = false;
        if self.what.key.is_some() && self.what.key.as_deref() != message.key() {
            return Ok(());
        }
        self.line.clear();
        if let Err(why) = write_record(message, &mut self.line) {
            return self.leave_out(message.offset(), &format!("has no EJSON: {why}"));
        }
        self.output.line(&self.line)?;
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    fn leave_out(&mut self, offset: Offset, why: &str) -> Result<(), Ended> {
        self.is_damaged = true;
        self.tell(&format!("record {offset} {why}, and is left out"))
    }

    /// Says something where it belongs, behind what was printed.
    fn tell(&mut self, what: &dyn Display) -> Result<(), Ended> {
        self.output.flush()?;
        say(what);
        Ok(())
    }

    async fn wait_for_store(&mut self, error: &TopicError) -> Result<(), Ended> {
        if !std::mem::replace(&mut self.is_away, true) {
            self.tell(&format!("{}; waiting for it", explain(error)))?;
        }
        tokio::select! {
            () = self.interrupt.asked() => {}
            () = sleep(PAUSE) => {}
        }
        Ok(())
    }
}

async fn next(reader: &mut Reader, until: Until) -> Option<Result<Received, TopicError>> {
    match until {
        Until::Offset(_) => reader.next_held().await,
        Until::Closed => reader.next().await,
    }
}
