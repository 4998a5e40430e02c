//! Dead letters: records that have failed too often, in a topic of their own. It also has the
//! records that are to be delivered again, which the group reads.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_protocol::ejson::{self, JsonLimits};

use super::context::{Context, Handle};
use super::slot::Failed;
use crate::core::Core;
use crate::message::Message;
use crate::random::draw_mark;
use crate::{
    Append, Content, Create, Epoch, Limit, NewRecord, Offset, Place, Read, Removal, TopicError,
};

/// The name in a record's metadata under which it says what it was.
const LETTER: &str = "!dlq";

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 1024;

/// For how long a letter is not written twice.
const DEDUP_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A record that a group has set aside.
#[derive(Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number among the dead letters of the topic, by which it is replayed or dropped.
    pub id: Offset,
    /// The topic that the group reads.
    pub topic: crate::TopicName,
    /// Its offset there.
    pub offset: Offset,
    /// When it was published there, in milliseconds since 1970.
    pub time: u64,
    /// Why it failed the last time.
    pub reason: String,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The member that had it last.
    pub member: Option<String>,
    /// When it was set aside, in milliseconds since 1970.
    pub parked: u64,
    /// The record. Its payload is missing if it could not be read.
    pub message: Message,
}

/// The dead letters of a group.
#[derive(Clone, Debug)]
pub struct DeadLetters(Arc<Handle>);

/// What a record of the topic of dead letters says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    offset: Offset,
    time: u64,
    reason: String,
    deliveries: u32,
    member: Option<String>,
    /// Whether it is to be delivered again, instead of being set aside.
    replay: bool,
    /// What the record itself had under this name.
    was: Option<String>,
}

impl DeadLetters {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self(handle)
    }

    /// The dead letters of all topics of the group, by topic and number: at most `limit`.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, TopicError> {
        let mut letters = Vec::new();
        for topic in 0..self.0.context.topics() {
            self.read(topic, 0, |letter| {
                letters.push(letter);
                letters.len() < limit
            })
            .await?;
        }
        letters.truncate(limit);
        Ok(letters)
    }

    /// The dead letters of one topic behind this number, in the order of their numbers: at most
    /// `limit`. Behind 0 are all.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownTopic`] if the group does not read the topic, or that of the store.
    pub async fn page(
        &self,
        topic: &str,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TopicError> {
        let topic = self.topic(topic)?;
        let mut letters = Vec::new();
        if limit > 0 {
            self.read(topic, after, |letter| {
                letters.push(letter);
                letters.len() < limit
            })
            .await?;
        }
        Ok(letters)
    }

    /// How many there are.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn count(&self) -> Result<u64, TopicError> {
        let mut count: u64 = 0;
        for topic in 0..self.0.context.topics() {
            self.read(topic, 0, |_| {
                count = count.saturating_add(1);
                true
            })
            .await?;
        }
        Ok(count)
    }

    /// Gives a dead letter back to the group, which delivers it again, as if for the first time and
    /// behind what it has read. False if there is none of this number.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownTopic`] if the group does not read the topic,
    /// [`TopicError::Unsupported`] if the store cannot remove single records, or that of the store.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the letter is replayed, or not, or still listed as well.
    pub async fn replay(&self, topic: &str, id: Offset) -> Result<bool, TopicError> {
        let Some((core, epoch, record)) = self.find(topic, id).await? else {
            return Ok(false);
        };
        let mut content = record.content;
        let letter = content
            .meta
            .get(LETTER)
            .and_then(|text| Letter::decode(text));
        if let Some(mut letter) = letter {
            letter.replay = true;
            content.meta.insert(LETTER.into(), letter.encode());
        }
        let dedup = format!("replay {:x} {id}", epoch.to_u64());
        append(
            &core,
            vec![NewRecord::new(draw_mark(), content).dedup(dedup)],
        )
        .await?;
        self.remove(&core, epoch, id).await?;
        Ok(true)
    }

    /// Removes a dead letter. False if there is none of this number.
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the letter is removed or not.
    pub async fn drop(&self, topic: &str, id: Offset) -> Result<bool, TopicError> {
        let Some((core, epoch, _)) = self.find(topic, id).await? else {
            return Ok(false);
        };
        self.remove(&core, epoch, id).await?;
        Ok(true)
    }

    async fn remove(&self, core: &Core, epoch: Epoch, id: Offset) -> Result<(), TopicError> {
        let removal = Removal::new(epoch, vec![id], 0);
        core.call(core.log.remove(&core.name, removal)).await
    }

    async fn find(
        &self,
        topic: &str,
        id: Offset,
    ) -> Result<Option<(Arc<Core>, Epoch, crate::Record)>, TopicError> {
        let Some(core) = dead_letters(&self.0.context, self.topic(topic)?) else {
            return Ok(None);
        };
        if !core.log.features().remove {
            let what = "remove single records, which dead letters need";
            return Err(TopicError::Unsupported { what });
        }
        let open = core.call(core.log.open(&core.name, Create::Never)).await;
        let bounds = match open {
            Err(TopicError::UnknownTopic) => return Ok(None),
            open => open?,
        };
        if id == 0 || id > bounds.last {
            return Ok(None);
        }
        let after = Place::unmarked(bounds.epoch, id.saturating_sub(1));
        let read = core.log.read(&core.name, after, Limit::new(1, 0));
        let Read::Page(page) = core.call(read).await? else {
            return Ok(None);
        };
        let record = page.records.into_iter().find(|record| record.offset == id);
        let record = record.filter(|record| !is_replay(&record.content));
        Ok(record.map(|record| (core, bounds.epoch, record)))
    }

    /// The place of a topic among those of the group.
    fn topic(&self, name: &str) -> Result<usize, TopicError> {
        let context = &self.0.context;
        let mut topics = context.inputs.iter().take(context.topics());
        let topic = topics.position(|core| core.name.as_str() == name);
        topic.ok_or(TopicError::UnknownTopic)
    }

    /// Reads the letters of a topic behind this number, until told that it is enough.
    async fn read(
        &self,
        topic: usize,
        after: Offset,
        mut take: impl FnMut(DeadLetter) -> bool,
    ) -> Result<(), TopicError> {
        let context = &self.0.context;
        let (Some(core), Some(of)) = (dead_letters(context, topic), context.inputs.get(topic))
        else {
            return Ok(());
        };
        let open = core.call(core.log.open(&core.name, Create::Never)).await;
        let bounds = match open {
            Err(TopicError::UnknownTopic) => return Ok(()),
            open => open?,
        };
        let mut place = match after {
            0 => Place::start(bounds.epoch),
            after => Place::unmarked(bounds.epoch, after),
        };
        while place.offset < bounds.last {
            let read = core.log.read(&core.name, place, Limit::default());
            let page = match core.call(read).await {
                Ok(Read::Page(page)) => page,
                Ok(_) => return Ok(()),
                Err(TopicError::Damaged { offset }) => {
                    place = Place::unmarked(bounds.epoch, offset);
                    continue;
                }
                Err(error) => return Err(error),
            };
            place = page.next;
            for record in page.records {
                let letter = record.content.meta.get(LETTER);
                let letter = letter.and_then(|text| Letter::decode(text));
                let Some(letter) = letter.filter(|letter| !letter.replay) else {
                    continue;
                };
                let (id, parked) = (record.offset, record.time);
                let content = without_letter(record.content);
                let record = crate::Record::new(id, record.mark, parked, content);
                let letter = DeadLetter {
                    id,
                    topic: of.name.clone(),
                    offset: letter.offset,
                    time: letter.time,
                    reason: letter.reason,
                    deliveries: letter.deliveries,
                    member: letter.member,
                    parked,
                    message: Message::new(&core.name, bounds.epoch, record),
                };
                if !take(letter) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Letter {
    fn encode(&self) -> String {
        ejson::to_ejson(&ejson::to_value(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        let value = ejson::parse(text, &JsonLimits::new(64, usize::MAX)).ok()?;
        ejson::from_value(value).ok()
    }
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("offset", &self.offset)
            .field("deliveries", &self.deliveries)
            .finish_non_exhaustive()
    }
}

/// Whether a record of the topic of dead letters is to be delivered again.
pub(crate) fn is_replay(content: &Content) -> bool {
    let letter = content
        .meta
        .get(LETTER)
        .and_then(|text| Letter::decode(text));
    letter.is_some_and(|letter| letter.replay)
}

/// The content of the record that became the letter.
pub(crate) fn without_letter(mut content: Content) -> Content {
    let letter = content.meta.remove(LETTER);
    if let Some(was) = letter.and_then(|text| Letter::decode(&text)?.was) {
        content.meta.insert(LETTER.into(), was);
    }
    content
}

/// Writes the letters of one topic. A record that is written again, because it was not known that it
/// was, is stored once, where the store finds duplicates.
pub(crate) async fn write_letters(
    context: &Context,
    topic: usize,
    failed: &[Failed],
) -> Result<(), TopicError> {
    let Some(core) = dead_letters(context, topic) else {
        return Ok(());
    };
    let finds_duplicates = core.log.features().dedup;
    let mut epochs = HashMap::new();
    let mut records = Vec::with_capacity(failed.len());
    for failed in failed {
        let Some(input) = context.inputs.get(failed.id.input) else {
            continue;
        };
        let epoch = match epochs.get(&failed.id.input) {
            Some(epoch) => *epoch,
            None => {
                let bounds = input
                    .call(input.log.open(&input.name, Create::Never))
                    .await?;
                *epochs.entry(failed.id.input).or_insert(bounds.epoch)
            }
        };
        let mut content = failed.record.content.clone();
        let was = content.meta.remove(LETTER);
        // One that was replayed says what it was at first.
        let replayed = was.as_deref().and_then(Letter::decode);
        let replayed = replayed.filter(|_| failed.id.input >= context.topics());
        let (offset, time, was) = match replayed {
            Some(letter) => (letter.offset, letter.time, letter.was),
            None => (failed.id.offset, failed.record.time, was),
        };
        let letter = Letter {
            offset,
            time,
            reason: shortened(&failed.reason),
            deliveries: failed.attempts,
            member: failed.member.as_deref().map(str::to_owned),
            replay: false,
            was,
        };
        content.meta.insert(LETTER.into(), letter.encode());
        let mut record = NewRecord::new(draw_mark(), content);
        if finds_duplicates {
            let (input, offset) = (failed.id.input, failed.id.offset);
            record = record.dedup(format!("{input} {:x} {offset}", epoch.to_u64()));
        }
        records.push(record);
    }
    append(&core, records).await
}

async fn append(core: &Core, records: Vec<NewRecord>) -> Result<(), TopicError> {
    core.call(core.log.open(&core.name, Create::IfMissing))
        .await?;
    let append = Append::new(records).dedup_window(DEDUP_WINDOW);
    core.call(core.log.append(&core.name, append)).await?;
    core.grew();
    Ok(())
}

fn dead_letters(context: &Context, topic: usize) -> Option<Arc<Core>> {
    let input = context.topics().checked_add(topic)?;
    context.inputs.get(input).cloned()
}

fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    reason.get(..end).unwrap_or_default().to_owned()
}
