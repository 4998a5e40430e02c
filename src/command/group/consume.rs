//! `consume`: a member of a group that prints what it gets.

use std::io::{self, Write};

use clap::Args;
use futures_util::future::join_all;
use tokio_util::task::TaskTracker;
use updraft::topics::{Delivery, Group, GroupSettings, Member, TopicError, TopicName};

use super::group_name;
use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::interrupt::Interrupt;
use crate::command::output::say;
use crate::command::record::write_delivery;
use crate::command::store::{OpenStore, StoreOptions};

/// Records that are printed together, and then acknowledged.
const AT_ONCE: u64 = 100;

/// Takes part in a group, and prints the records that it gets, until Ctrl-C.
///
/// Each is a line of JSON as that of `updraft topic read`, with topic, deliveries (1 at the first
/// time) and generation. It is acknowledged when it is printed. At Ctrl-C, or when nobody reads the
/// output any more, what was not printed goes to other members at once, as if it had not been here.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ConsumeOptions {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    /// What statistics and dead letters call this member.
    #[arg(long, default_value = "updraft group consume")]
    name: String,
    /// Ends when so many records were printed.
    #[arg(long)]
    count: Option<u64>,
    /// Ends when there is nothing to have: what is left is with other members, or waits for its
    /// time.
    #[arg(long)]
    drain: bool,
    /// Creates the group if there is none of this name, with the default options, on this topic from
    /// its earliest record on. For several topics it is given several times.
    #[arg(long, value_name = "TOPIC")]
    create: Vec<TopicName>,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

pub(super) async fn run(options: &ConsumeOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let group = open(options, store).await?;
    let interrupt = Interrupt::watch()?;
    if group.stats().await?.is_paused && !options.drain {
        say(&"the group is paused; waiting until it is resumed");
    }
    let mut member = group.member(&options.name);
    let printed = print_all(options, &mut member, &interrupt).await;
    // In any case, so that nobody waits for what this one has.
    let left = member.leave().await;
    let exit = printed?;
    left?;
    Ok(exit)
}

async fn open(options: &ConsumeOptions, store: &OpenStore) -> Result<Group, Ended> {
    let is_known = store.topics.groups().await?.contains(&options.group);
    if options.create.is_empty() || is_known {
        return store.group(&options.group).await;
    }
    let mut topics = Vec::new();
    for topic in &options.create {
        topics.push(store.existing(topic).await?);
    }
    let settings = GroupSettings::on(&topics);
    Ok(store.topics.group(&options.group, settings).await?)
}

async fn print_all(
    options: &ConsumeOptions,
    member: &mut Member,
    interrupt: &Interrupt,
) -> Result<Exit, Ended> {
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut exit = Exit::Done;
    while left > 0 {
        let most = usize::try_from(left.min(AT_ONCE)).unwrap_or(usize::MAX);
        let fetching = async {
            match options.drain {
                true => member.fetch_now(most).await,
                false => member.fetch(most).await,
            }
        };
        let deliveries = tokio::select! {
            biased;
            () = interrupt.asked() => break,
            fetched = fetching => fetched?,
        };
        if deliveries.is_empty() {
            break;
        }
        let (text, printable) = lines(deliveries, &mut exit).await?;
        tokio::select! {
            biased;
            // Nobody knows how much of it was read; it will be printed again.
            () = interrupt.asked() => break,
            printed = print(text) => printed?,
        }
        left = left.saturating_sub(u64::try_from(printable.len()).unwrap_or(u64::MAX));
        acknowledge(&printable).await?;
    }
    Ok(exit)
}

/// The lines of those that have some. What has none is set aside.
async fn lines(
    deliveries: Vec<Delivery>,
    exit: &mut Exit,
) -> Result<(String, Vec<Delivery>), Ended> {
    let mut text = String::new();
    let mut printable = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        // Others of its key may have been given back with one that was set aside.
        if !delivery.is_current() {
            continue;
        }
        let end = text.len();
        match write_delivery(&delivery, &mut text) {
            Ok(()) => {
                text.push('\n');
                printable.push(delivery);
            }
            Err(why) => {
                text.truncate(end);
                *exit = Exit::Damaged;
                let offset = delivery.message().offset();
                say(&format!(
                    "record {offset} has no EJSON, and is set aside: {why}"
                ));
                match delivery.reject(&format!("it has no EJSON: {why}")).await {
                    Ok(()) | Err(TopicError::Stale) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok((text, printable))
}

/// Prints in a thread of its own: whoever reads it may take long, and meanwhile others must see that
/// this process lives.
async fn print(text: String) -> Result<(), Ended> {
    let printing = TaskTracker::new().spawn_blocking(move || {
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    });
    let printed = printing.await;
    printed.map_err(|error| Ended::failed(error.to_string()))??;
    Ok(())
}

async fn acknowledge(deliveries: &[Delivery]) -> Result<(), Ended> {
    let acks = deliveries.iter().map(Delivery::ack);
    for (answered, delivery) in join_all(acks).await.into_iter().zip(deliveries) {
        match answered {
            Ok(()) => {}
            Err(TopicError::Stale | TopicError::OutOfOrder) => {
                let offset = delivery.message().offset();
                say(&format!(
                    "record {offset} was printed too late, and is delivered again"
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
