//! `list` and `info`: which groups there are, and how one is doing.

use std::time::Duration;

use clap::Args;
use updraft::topics::{GroupStats, TopicName};
use updraft::{Value, ejson};

use super::group_name;
use super::watch::watch;
use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::output::Output;
use crate::command::store::{OpenStore, StoreOptions};
use crate::command::time::{ago, duration, iso, now};

/// Prints the names of groups, one a line, in the order of their bytes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ListOptions {
    /// Only those that begin so.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only those that read this topic.
    #[arg(long)]
    topic: Option<TopicName>,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Prints how a group is doing, in all processes.
///
/// Lag is what no member has yet, in flight what members have, parked what was set aside.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct InfoOptions {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    /// Prints one line of JSON, in which unknown things are null. Ages are in seconds.
    #[arg(long)]
    json: bool,
    /// Prints it again and again, until Ctrl-C: on a terminal in the same place.
    #[arg(long)]
    watch: bool,
    /// How long after one time it is printed the next time.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        default_value = "1s",
        requires = "watch"
    )]
    every: Duration,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

pub(super) async fn list(options: &ListOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let names = match &options.topic {
        Some(topic) => {
            store.existing(topic).await?;
            store.topics.groups_of(topic).await?
        }
        None => store.topics.groups().await?,
    };
    let mut output = Output::new();
    for name in names.iter().filter(|it| it.starts_with(&options.prefix)) {
        output.line(name)?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

pub(super) async fn info(options: &InfoOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let group = store.group(&options.group).await?;
    let print = |stats: &GroupStats| match options.json {
        true => vec![json(&options.group, stats)],
        false => lines(&options.group, stats),
    };
    if options.watch {
        return watch(&group, options.every, options.json, print).await;
    }
    let mut output = Output::new();
    for line in print(&group.stats().await?) {
        output.line(&line)?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn json(group: &str, stats: &GroupStats) -> String {
    let seconds = |age: Option<u64>| age.map(|age| age / 1000);
    let topics = stats.topics.iter().map(|topic| {
        ejson!({
            "topic": (topic.topic.as_str()),
            "lag": (topic.lag),
            "floor": (topic.floor),
            "last": (topic.last),
            "lost": (topic.lost),
            "oldestUndelivered": (seconds(topic.oldest_undelivered)),
        })
    });
    let members = stats
        .members
        .iter()
        .map(|member| ejson!({ "name": (&*member.name), "inFlight": (member.pending) }));
    ejson::to_json(&ejson!({
        "group": group,
        "paused": (stats.is_paused),
        "lag": (lag(stats)),
        "oldestUndelivered": (seconds(oldest_undelivered(stats))),
        "inFlight": (stats.pending),
        "oldestInFlight": (seconds(stats.oldest_pending)),
        "parked": (stats.parked),
        "redeliveries": (stats.redeliveries),
        "processes": (stats.processes),
        "stalledSlots": (stats.stalled_slots),
        "active": (iso(stats.active)),
        "holdsLog": (stats.holds_log),
        "topics": (topics.collect::<Vec<Value>>()),
        "members": (members.collect::<Vec<Value>>()),
    }))
}

fn lines(group: &str, stats: &GroupStats) -> Vec<String> {
    let with_age = |count: u64, age: Option<u64>| match age {
        Some(age) => format!("{count}, the oldest is {} old", ago(age)),
        None => count.to_string(),
    };
    let state = if stats.is_paused { "paused" } else { "running" };
    let active = ago(now().saturating_sub(stats.active));
    let holds = if stats.holds_log { "yes" } else { "no" };
    let mut lines: Vec<String> = [
        ("group", group.to_owned()),
        ("state", state.to_owned()),
        ("lag", with_age(lag(stats), oldest_undelivered(stats))),
        ("in flight", with_age(stats.pending, stats.oldest_pending)),
        ("parked", stats.parked.to_string()),
        ("redelivered", stats.redeliveries.to_string()),
        ("stalled", format!("{} slots", stats.stalled_slots)),
        ("processes", stats.processes.to_string()),
        ("active", format!("{active} ago")),
        ("holds log", holds.to_owned()),
    ]
    .map(|(name, value)| format!("{name:<13}{value}"))
    .into();
    for topic in &stats.topics {
        let name = topic.topic.as_str();
        let mut line = format!(
            "topic        {name}: lag {}, finished up to {} of {}",
            topic.lag, topic.floor, topic.last
        );
        if topic.lost > 0 {
            line.push_str(&format!(", {} lost", topic.lost));
        }
        lines.push(line);
    }
    for member in &stats.members {
        let name = shown(&member.name);
        lines.push(format!("member       {name}: {} in flight", member.pending));
    }
    lines
}

fn lag(stats: &GroupStats) -> u64 {
    let lags = stats.topics.iter().map(|topic| topic.lag);
    lags.fold(0, u64::saturating_add)
}

fn oldest_undelivered(stats: &GroupStats) -> Option<u64> {
    let ages = stats.topics.iter().filter_map(|it| it.oldest_undelivered);
    ages.max()
}

/// A name that a program has made up, on one line.
fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}
