//! Topics in Redis. Each function is one script; what a script answers is read here.

use bytes::Bytes;

use super::connection::Request;
use super::script::{Script, ScriptCall};
use super::{RedisStore, unexpected};
use crate::random::draw_mark;
use crate::{
    Answer, Append, Appended, AppendedBatch, Bounds, Content, Create, End, Epoch, Features, Limit,
    Log, Mark, Offset, Page, Place, Read, Record, Removal, TopicError, TopicName,
};

/// The highest offset that a script can tell from the next one. None that was given is as high.
const MAX_OFFSET: Offset = (1 << 53) - 1;

/// How many records one call of a script removes, so that others are not kept waiting.
const REMOVED_AT_ONCE: usize = 256;
const TRIMMED_AT_ONCE: &str = "10000";

/// For how long others can see that a topic was deleted, in seconds. Whoever has it open is woken,
/// and looks every few seconds anyway.
const DELETED_FOR: &str = "3600";

/// How often a topic may be lost while one call is trying to use it.
const ATTEMPTS: usize = 3;

/// What a script answered, part by part.
pub(super) struct Parts(std::vec::IntoIter<Vec<u8>>);

impl Log for RedisStore {
    fn features(&self) -> Features {
        Features {
            durable: true,
            shared: true,
            atomic_batch: true,
            dedup: true,
            expect: true,
            remove: true,
            announces: true,
        }
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        Box::pin(async move {
            let is_opened = self.opened().contains(topic);
            let if_missing = if is_opened { "lost" } else { "never" };
            match self.open_topic(topic, if_missing).await {
                Err(TopicError::UnknownTopic) if create == Create::IfMissing => {
                    // Entered before it is there, so that it cannot be there without.
                    self.enter(topic).await?;
                    self.open_topic(topic, "always").await
                }
                opened => opened,
            }
        })
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        Box::pin(async move {
            let mut call = self
                .topic_call(Script::Append, topic)
                .with(append.expect.map_or_else(String::new, number))
                .with(append.dedup_window.as_millis().to_string())
                .with(self.0.channel.clone())
                .with(wake_up(topic));
            for record in &append.records {
                call.arg(record.mark.to_string());
                let id = record.dedup.as_ref().map(|id| format!("={id}"));
                call.arg(id.unwrap_or_default());
                call.arg(record.content.encode(record.mark));
            }
            let (status, parts) = self.use_topic(topic, &call).await?;
            match &*status {
                "ok" => parts.appended(&append),
                "closed" => Err(TopicError::Closed),
                "conflict" => Err(parts.conflict()),
                _ => Err(unexpected()),
            }
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        Box::pin(async move {
            let mark = after.mark.map(|mark| mark.to_string());
            let call = self
                .topic_call(Script::Read, topic)
                .with(hex(after.epoch))
                .with(number(after.offset))
                .with(mark.unwrap_or_default())
                .with(limit.count.clamp(1, 1 << 20).to_string())
                .with(limit.bytes.min(1 << 30).to_string());
            let (status, mut parts) = self.use_topic(topic, &call).await?;
            let bounds = parts.bounds()?;
            match &*status {
                "page" => Ok(Read::Page(parts.page(bounds, limit)?)),
                "epoch" => Ok(Read::UnknownEpoch(bounds)),
                "ahead" => Ok(Read::Ahead(bounds)),
                "diverged" => Ok(Read::Diverged(bounds)),
                _ => Err(unexpected()),
            }
        })
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        Box::pin(async move {
            let call = self
                .topic_call(Script::Trim, topic)
                .with(hex(epoch))
                .with(number(up_to))
                .with(TRIMMED_AT_ONCE);
            loop {
                let (_, mut parts) = self.use_topic(topic, &call).await?;
                let bounds = parts.bounds()?;
                if parts.number::<u64>()? == 0 {
                    return Ok(bounds);
                }
            }
        })
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut chunks = removal.offsets.chunks(REMOVED_AT_ONCE);
            // The horizon is raised with the first, also if there is none.
            let mut chunk = chunks.next().unwrap_or_default();
            loop {
                let mut call = self
                    .topic_call(Script::Remove, topic)
                    .with(hex(removal.epoch))
                    .with(number(removal.horizon));
                for offset in chunk {
                    call.arg(offset.to_string());
                }
                self.use_topic(topic, &call).await?;
                match chunks.next() {
                    Some(next) => chunk = next,
                    None => return Ok(()),
                }
            }
        })
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        Box::pin(async move {
            let what = match end {
                End::Close => "close",
                End::Delete => "delete",
            };
            let mut call = self.topic_call(Script::End, topic);
            for key in self.0.keys.ingest(topic.as_str()) {
                call.key(key);
            }
            let call = call
                .with(what)
                .with(self.0.channel.clone())
                .with(wake_up(topic))
                .with(DELETED_FOR);
            match end {
                End::Close => self.use_topic(topic, &call).await.map(drop),
                End::Delete => self.delete(topic, &call).await,
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        Box::pin(async move {
            let key = self.0.keys.topics();
            let mut after = after.map(|after| after.as_str().to_owned());
            let mut found = Vec::new();
            // Names may be left of topics that are gone: pages are read until enough are found.
            while found.len() < limit {
                let wanted = limit.saturating_sub(found.len());
                let names = self.names(&key, prefix, after.as_deref(), wanted).await?;
                let Some(last) = names.last() else {
                    break;
                };
                after = Some(last.clone());
                let mut commands = redis::pipe();
                for name in &names {
                    let [meta, ..] = self.0.keys.topic(name);
                    commands.cmd("HEXISTS").arg(meta).arg("epoch");
                }
                let held: Vec<bool> = self.0.connection.ask(Request::All(&commands)).await?;
                for (name, _) in names.iter().zip(held).filter(|(_, is_held)| *is_held) {
                    found.push(TopicName::new(name)?);
                }
            }
            Ok(found)
        })
    }
}

impl RedisStore {
    async fn delete(&self, topic: &TopicName, call: &ScriptCall) -> Result<(), TopicError> {
        self.call(call).await?;
        self.opened().remove(topic);
        let [meta, ..] = self.0.keys.topic(topic.as_str());
        let mut take_out = redis::cmd("ZREM");
        take_out.arg(self.0.keys.topics()).arg(topic.as_str());
        let () = self.0.connection.ask(Request::Command(&take_out)).await?;
        // Another process may have created it again before its name was taken out.
        let mut look = redis::cmd("HEXISTS");
        look.arg(meta).arg("epoch");
        if self.0.connection.ask(Request::Command(&look)).await? {
            self.enter(topic).await?;
        }
        Ok(())
    }

    /// Enters a topic into the list. The list has a hash tag of its own, so that no script writes
    /// both.
    async fn enter(&self, topic: &TopicName) -> Result<(), TopicError> {
        let mut enter = redis::cmd("ZADD");
        enter.arg(self.0.keys.topics()).arg(0).arg(topic.as_str());
        self.0.connection.ask(Request::Command(&enter)).await
    }

    /// Opens a topic, with a new epoch if it is not as its keys say. `create` is `always`, `never`,
    /// or `lost` if it is to be created unless it was deleted.
    async fn open_topic(
        &self,
        topic: &TopicName,
        create: &'static str,
    ) -> Result<Bounds, TopicError> {
        let call = self
            .topic_call(Script::Open, topic)
            .with(hex(Epoch::draw()))
            .with(draw_mark().to_string())
            .with(create)
            .with(self.0.channel.clone())
            .with(wake_up(topic));
        let mut parts = match self.call(&call).await {
            // Nothing can be created. What is there can be read, trimmed and deleted.
            Err(TopicError::StoreFull(cause)) => {
                return match self.held_topic(topic).await? {
                    Some(bounds) => Ok(bounds),
                    None if create == "never" && !self.has_log(topic).await? => {
                        Err(TopicError::UnknownTopic)
                    }
                    None => Err(TopicError::StoreFull(cause)),
                };
            }
            answer => Parts::new(answer?),
        };
        let status = parts.text()?;
        if status == "unknown" {
            self.opened().remove(topic);
            return Err(TopicError::UnknownTopic);
        }
        self.opened().insert(topic.clone());
        if status == "new" {
            // Also if it was entered before: another process may have been taking out the name
            // of a topic that it had deleted.
            self.enter(topic).await?;
        }
        parts.bounds()
    }

    /// Opens a topic, if it is there as it was left, without a change to Redis.
    async fn held_topic(&self, topic: &TopicName) -> Result<Option<Bounds>, TopicError> {
        // No epoch is empty: the answer is that this one is unknown, and the bounds.
        let call = self
            .topic_call(Script::Read, topic)
            .with("")
            .with("0")
            .with("")
            .with("1")
            .with("1");
        let mut parts = Parts::new(self.call(&call).await?);
        if parts.text()? == "absent" {
            return Ok(None);
        }
        self.opened().insert(topic.clone());
        parts.bounds().map(Some)
    }

    /// Whether there are records, whatever else there is of the topic.
    async fn has_log(&self, topic: &TopicName) -> Result<bool, TopicError> {
        let [_, log, ..] = self.0.keys.topic(topic.as_str());
        let mut exists = redis::cmd("EXISTS");
        exists.arg(log);
        self.0.connection.ask(Request::Command(&exists)).await
    }

    pub(super) fn topic_call(&self, script: Script, topic: &TopicName) -> ScriptCall {
        ScriptCall::new(script, self.0.keys.topic(topic.as_str()))
    }

    /// Calls a script of a topic. If its keys are gone, or not as they were left, the topic is
    /// opened first. Answers the first part, which says how it went, and the rest.
    pub(super) async fn use_topic(
        &self,
        topic: &TopicName,
        call: &ScriptCall,
    ) -> Result<(String, Parts), TopicError> {
        for _ in 0..ATTEMPTS {
            let mut parts = Parts::new(self.call(call).await?);
            let status = parts.text()?;
            if status != "absent" {
                return Ok((status, parts));
            }
            Log::open(self, topic, Create::Never).await?;
        }
        Err(TopicError::Unavailable(None))
    }

    /// The members of a sorted set of names that begin with `prefix`, behind `after`.
    pub(super) async fn names(
        &self,
        key: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, TopicError> {
        let from = match after {
            Some(after) if after >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        // No text has a byte 255.
        let to = [b"[", prefix.as_bytes(), &[0xff]].concat();
        let mut range = redis::cmd("ZRANGE");
        range.arg(key).arg(from).arg(to).arg("BYLEX");
        let limit = limit.min(1 << 20);
        range.arg("LIMIT").arg(0).arg(limit);
        self.0.connection.ask(Request::Command(&range)).await
    }
}

impl Parts {
    pub(super) fn new(parts: Vec<Vec<u8>>) -> Self {
        Self(parts.into_iter())
    }

    pub(super) fn next(&mut self) -> Result<Vec<u8>, TopicError> {
        self.0.next().ok_or_else(unexpected)
    }

    pub(super) fn text(&mut self) -> Result<String, TopicError> {
        String::from_utf8(self.next()?).map_err(|_| unexpected())
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N, TopicError> {
        self.text()?.parse().map_err(|_| unexpected())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    fn epoch(&mut self) -> Result<Epoch, TopicError> {
        let number = u64::from_str_radix(&self.text()?, 16);
        number.map(Epoch::from_u64).map_err(|_| unexpected())
    }

    fn bounds(&mut self) -> Result<Bounds, TopicError> {
        Ok(Bounds {
            epoch: self.epoch()?,
            first: self.number()?,
            last: self.number()?,
            last_mark: self.number()?,
            horizon: self.number()?,
            closed: self.text()? == "1",
        })
    }

    fn conflict(mut self) -> TopicError {
        let last = self.number();
        last.map_or_else(|error| error, |last| TopicError::Conflict { last })
    }

    fn appended(mut self, append: &Append) -> Result<AppendedBatch, TopicError> {
        let epoch = self.epoch()?;
        let mut offset: Offset = self.number()?;
        let time = self.number()?;
        let mut records = Vec::with_capacity(append.records.len());
        for record in &append.records {
            // Nothing follows if no record was a duplicate.
            let stored = self.0.next().unwrap_or_default();
            if stored.is_empty() {
                records.push(Appended::new(offset, record.mark, time, false));
                offset = offset.saturating_add(1);
            } else {
                records.push(duplicate(&stored).ok_or_else(unexpected)?);
            }
        }
        Ok(AppendedBatch::new(epoch, records))
    }

    fn page(mut self, bounds: Bounds, limit: Limit) -> Result<Page, TopicError> {
        let mut is_more = self.text()? == "1";
        let mut records: Vec<Record> = Vec::new();
        let mut bytes: usize = 0;
        let texts = self.next()?;
        let mut rest = &*texts;
        while !rest.is_empty() {
            let entry = Entry::split_off(&mut rest).ok_or_else(unexpected)?;
            let (offset, record) = entry.decode();
            let Some(record) = record else {
                if records.is_empty() {
                    return Err(TopicError::Damaged { offset });
                }
                is_more = true;
                break;
            };
            bytes = bytes.saturating_add(record.content.size());
            if bytes > limit.bytes && !records.is_empty() {
                is_more = true;
                break;
            }
            records.push(record);
        }
        let next = match records.last() {
            Some(last) if is_more => Place::new(bounds.epoch, last.offset, last.mark),
            _ => bounds.end(),
        };
        Ok(Page::new(records, next, bounds))
    }
}

/// An entry of the stream.
struct Entry<'a> {
    id: &'a [u8],
    time: &'a [u8],
    content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The first of those that a script has put into one text.
    fn split_off(rest: &mut &'a [u8]) -> Option<Self> {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (head, texts) = rest.split_at_checked(end)?;
        let mut words = head.split(|byte| *byte == b' ');
        let id = words.next()?;
        let mut length = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
        let (time, content): (usize, usize) = (length()?, length()?);
        let (time, texts) = texts.get(1..)?.split_at_checked(time)?;
        let (content, left) = texts.split_at_checked(content)?;
        *rest = left;
        Some(Self { id, time, content })
    }

    /// Its offset, and the record unless it is damaged, or none of ours.
    fn decode(&self) -> (Offset, Option<Record>) {
        let id = std::str::from_utf8(self.id).unwrap_or_default();
        let (offset, mark) = id.split_once('-').unwrap_or_default();
        let offset = offset.parse().unwrap_or_default();
        let record = || {
            let mark: Mark = mark.parse().ok()?;
            let time = std::str::from_utf8(self.time).ok()?.parse().ok()?;
            // A copy, so that a record that is kept does not keep its page.
            let content = Bytes::copy_from_slice(self.content);
            let content = Content::decode(content, mark).ok()?;
            Some(Record::new(offset, mark, time, content))
        };
        (offset, record())
    }
}

/// What a read of this answer finds, as fuzzing makes it up.
#[cfg(fuzzing)]
pub(crate) fn page(answer: Vec<Vec<u8>>, limit: Limit) -> Result<Page, TopicError> {
    let mut parts = Parts::new(answer);
    let bounds = parts.bounds()?;
    parts.page(bounds, limit)
}

/// `offset mark time` of a record that was stored before.
fn duplicate(stored: &[u8]) -> Option<Appended> {
    let mut parts = std::str::from_utf8(stored).ok()?.split(' ');
    let offset = parts.next()?.parse().ok()?;
    let mark = parts.next()?.parse().ok()?;
    let time = parts.next()?.parse().ok()?;
    Some(Appended::new(offset, mark, time, true))
}

/// The message on the bus: the name as a JSON string. A name has no control characters.
pub(super) fn wake_up(topic: &TopicName) -> String {
    let name = topic.as_str().replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{name}\"")
}

fn hex(epoch: Epoch) -> String {
    format!("{:016x}", epoch.to_u64())
}

/// An offset, for a script.
fn number(offset: Offset) -> String {
    offset.min(MAX_OFFSET).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_as_the_script_joins_them() {
        let mut rest = &b"1-7 2 3\n12a\nc23-1 0 0\n"[..];
        let first = Entry::split_off(&mut rest).unwrap();
        assert_eq!(
            (first.id, first.time, first.content),
            (&b"1-7"[..], &b"12"[..], &b"a\nc"[..])
        );
        let second = Entry::split_off(&mut rest).unwrap();
        assert_eq!(
            (second.id, second.time, second.content),
            (&b"23-1"[..], &b""[..], &b""[..])
        );
        assert!(rest.is_empty());
        for bad in [
            "",
            "1-7",
            "1-7\n",
            "1-7 1\nx",
            "1-7 1 1\nx",
            "1-7 x 1\nxx",
            "1-7 -1 2\nxx",
        ] {
            assert!(Entry::split_off(&mut bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_wake_up_is_a_json_string() {
        for (name, expected) in [
            ("a", r#""a""#),
            ("a\"\\", r#""a\"\\""#),
            ("ä/{}", r#""ä/{}""#),
        ] {
            assert_eq!(wake_up(&TopicName::new(name).unwrap()), expected);
        }
    }
}
