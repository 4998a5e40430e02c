//! `dead list`, `dead replay` and `dead drop`: what a group has set aside.

use clap::Args;
use updraft::ejson;
use updraft::topics::{Group, Offset, TopicName};

use super::group_name;
use crate::command::confirm::confirm;
use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::output::{Output, say};
use crate::command::record::write_letter;
use crate::command::store::{OpenStore, StoreOptions};

/// Letters that are read at once.
const PAGE: usize = 100;

/// Prints the dead letters of a group, each as a line of JSON.
///
/// It has id, by which it is replayed or dropped; topic, offset and time of the record; parked, when
/// it was set aside; deliveries, member, reason; key, compact, contentType and meta if it has them;
/// and payload, which is missing where the record could not be read.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct LettersOptions {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    /// Only those of this topic.
    #[arg(long)]
    topic: Option<TopicName>,
    /// Prints so many at most.
    #[arg(long)]
    count: Option<u64>,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Gives dead letters back to the group, which delivers them as if for the first time.
///
/// Prints {"topic":…,"id":…,"replayed":true} for each.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ReplayOptions {
    #[command(flatten)]
    pub(super) which: Which,
}

/// Removes dead letters, which cannot be undone.
///
/// Prints {"topic":…,"id":…,"dropped":true} for each.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct DropOptions {
    #[command(flatten)]
    pub(super) which: Which,
    /// Does not ask whether to drop all.
    #[arg(long, conflicts_with = "ids")]
    yes: bool,
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    /// Their ids, as `dead list` prints them.
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    ids: Vec<Offset>,
    /// All that there are now.
    #[arg(long)]
    all: bool,
    /// Those of this topic; needed for ids if the group reads several.
    #[arg(long)]
    topic: Option<TopicName>,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// What becomes of a letter.
#[derive(Clone, Copy)]
enum Fate {
    Replayed,
    Dropped,
}

pub(super) async fn list(options: &LettersOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let group = store.group(&options.group).await?;
    let mut output = Output::new();
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut line = String::new();
    for topic in topics(&group, options.topic.as_ref()).await? {
        let mut last = 0;
        while left > 0 {
            let letters = group
                .dead_letters()
                .page(topic.as_str(), last, PAGE)
                .await?;
            let Some(letter) = letters.last() else { break };
            last = letter.id;
            for letter in letters
                .iter()
                .take(usize::try_from(left).unwrap_or(usize::MAX))
            {
                line.clear();
                write_letter(letter, &mut line);
                output.line(&line)?;
                left = left.saturating_sub(1);
            }
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}

pub(super) async fn replay(options: &ReplayOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let group = store.group(&options.which.group).await?;
    let letters = options.which.letters(&group).await?;
    settle(&group, &letters, Fate::Replayed).await
}

pub(super) async fn drop(options: &DropOptions, store: &OpenStore) -> Result<Exit, Ended> {
    let group = store.group(&options.which.group).await?;
    let letters = options.which.letters(&group).await?;
    if options.which.all && !options.yes && !letters.is_empty() {
        let (count, name) = (letters.len(), group.name());
        confirm(
            &format!("Drop all {count} dead letters of {name:?}?"),
            "dropped",
        )?;
    }
    settle(&group, &letters, Fate::Dropped).await
}

impl Which {
    /// The letters, by their topics and ids. Those that are set aside from now on are not meant.
    async fn letters(&self, group: &Group) -> Result<Vec<(TopicName, Offset)>, Ended> {
        let topics = topics(group, self.topic.as_ref()).await?;
        let mut letters = Vec::new();
        if !self.all {
            let [topic] = &*topics else {
                let why = "the group reads several topics; --topic says of which the ids are";
                return Err(Ended::new(Exit::Usage, why));
            };
            letters.extend(self.ids.iter().map(|id| (topic.clone(), *id)));
            return Ok(letters);
        }
        for topic in topics {
            let mut last = 0;
            loop {
                let page = group
                    .dead_letters()
                    .page(topic.as_str(), last, PAGE)
                    .await?;
                let Some(letter) = page.last() else { break };
                last = letter.id;
                letters.extend(page.iter().map(|letter| (topic.clone(), letter.id)));
            }
        }
        Ok(letters)
    }
}

/// This topic, or all that the group reads.
async fn topics(group: &Group, of: Option<&TopicName>) -> Result<Vec<TopicName>, Ended> {
    let stats = group.stats().await?;
    let topics = stats.topics.into_iter().map(|topic| topic.topic);
    let topics: Vec<_> = topics
        .filter(|topic| of.is_none_or(|of| of == topic))
        .collect();
    match of {
        Some(of) if topics.is_empty() => {
            let (group, of) = (group.name(), of.as_str());
            let why = format!("the group {group:?} does not read the topic {of:?}");
            Err(Ended::failed(why))
        }
        _ => Ok(topics),
    }
}

async fn settle(group: &Group, letters: &[(TopicName, Offset)], fate: Fate) -> Result<Exit, Ended> {
    let dead = group.dead_letters();
    let mut output = Output::new();
    let mut exit = Exit::Done;
    for (topic, id) in letters {
        let settled = match fate {
            Fate::Replayed => dead.replay(topic.as_str(), *id).await,
            Fate::Dropped => dead.drop(topic.as_str(), *id).await,
        };
        // What was done is told in any case.
        if !matches!(settled, Ok(true)) {
            output.flush()?;
        }
        match settled {
            Ok(true) => output.line(&fate.line(topic, *id))?,
            Ok(false) => {
                say(&format!("{:?} has no dead letter {id}", topic.as_str()));
                exit = Exit::Failed;
            }
            Err(error) => return Err(error.into()),
        }
    }
    output.flush()?;
    Ok(exit)
}

impl Fate {
    fn line(self, topic: &TopicName, id: Offset) -> String {
        let topic = topic.as_str();
        ejson::to_json(&match self {
            Self::Replayed => ejson!({ "topic": topic, "id": id, "replayed": true }),
            Self::Dropped => ejson!({ "topic": topic, "id": id, "dropped": true }),
        })
    }
}
