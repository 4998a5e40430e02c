//! `trim`, `compact` and `delete`: what a topic gives up.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use updraft::ejson;
use updraft::topics::{
    Bounds, Compaction, Limit, Offset, Position, Settings, Start, Topic, TopicError, TopicName,
};

use crate::command::confirm::confirm;
use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::output::Output;
use crate::command::store::{OpenStore, StoreOptions};
use crate::command::time::{duration, time};

/// Removes the oldest records of a topic.
///
/// Prints {"topic":…,"removed":…,"first":…,"last":…}: how many offsets were removed, and what is
/// left.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct TrimOptions {
    /// The topic.
    topic: TopicName,
    /// Up to where: the record of an offset or a position, which is removed too, or those that are
    /// older than a time, as 2026-01-31T12:00Z or 7d.
    #[arg(
        long,
        value_name = "OFFSET|POSITION|TIME",
        value_parser = up_to,
        allow_hyphen_values = true
    )]
    up_to: UpTo,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Removes the records that later ones of the same compact id make redundant.
///
/// Prints {"topic":…,"removed":…,"first":…,"last":…}. The whole topic is read, and its compact ids
/// are kept in memory meanwhile.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct CompactOptions {
    /// The topic.
    topic: TopicName,
    /// How old a redundant record must be.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    min_lag: Duration,
    /// For how long tombstones are kept. Readers that take longer to come back have a gap.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "24h")]
    tombstone_retention: Duration,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Removes a topic with its records, which cannot be undone.
///
/// Programs that have the topic open create it again, empty, and their readers are told.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct DeleteOptions {
    /// The topic.
    topic: TopicName,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

#[derive(Clone, Copy, Debug)]
enum UpTo {
    Offset(Offset),
    Position(Position),
    Time(u64),
}

fn up_to(text: &str) -> anyhow::Result<UpTo> {
    if let Ok(offset) = text.parse() {
        return Ok(UpTo::Offset(offset));
    }
    if let Ok(position) = text.parse() {
        return Ok(UpTo::Position(position));
    }
    if let Some(time) = time(text) {
        return Ok(UpTo::Time(time));
    }
    bail!("it is an offset, a position, or a time as 2026-01-31T12:00Z or 7d");
}

pub(super) async fn trim(options: &TrimOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let topic = store.existing(&options.topic).await?;
    let before = topic.bounds().await?;
    let up_to = match options.up_to {
        UpTo::Offset(offset) => offset,
        UpTo::Position(position) => {
            check(&topic, position).await?;
            position.offset()
        }
        UpTo::Time(time) => topic.seek(Start::Time(time)).await?.offset(),
    };
    let after = topic.trim(up_to).await?;
    let removed = after.first.saturating_sub(before.first);
    print(&options.topic, removed, &after)
}

/// Whether the position is one of the topic, as far as can be told.
async fn check(topic: &Topic, position: Position) -> Result<(), Ended> {
    match topic.read(position, Limit::new(1, 0)).await {
        // It is, though what follows it cannot be read.
        Ok(_) | Err(TopicError::Gap(_) | TopicError::Damaged { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn compact(options: &CompactOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let mut compaction = Compaction::default();
    compaction.min_lag = options.min_lag;
    compaction.tombstone_retention = options.tombstone_retention;
    let mut settings = Settings::default();
    settings.auto_create = false;
    settings.compaction = Some(compaction);
    let topic = store.topic(&options.topic, settings).await?;
    let removed = loop {
        let swept = topic.sweep().await?;
        if swept.is_complete {
            break swept.compacted;
        }
    };
    print(&options.topic, removed, &topic.bounds().await?)
}

pub(super) async fn delete(options: &DeleteOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let topic = store.existing(&options.topic).await?;
    let Bounds { first, last, .. } = topic.bounds().await?;
    if !options.yes {
        let name = options.topic.as_str();
        confirm(
            &format!("Delete {name:?} with its records {first} to {last}?"),
            "deleted",
        )?;
    }
    topic.delete().await?;
    Ok(Exit::Done)
}

fn print(topic: &TopicName, removed: u64, bounds: &Bounds) -> Result<Exit, Ended> {
    let line = ejson!({
        "topic": (topic.as_str()),
        "removed": removed,
        "first": (bounds.first),
        "last": (bounds.last),
    });
    let mut output = Output::new();
    output.line(&ejson::to_json(&line))?;
    output.flush()?;
    Ok(Exit::Done)
}
