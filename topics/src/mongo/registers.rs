//! Registers in MongoDB: a document each, and each swap names the version that it expects.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use tokio::time::Instant;

use super::MongoStore;
use super::document::date;
use super::error::{duplicates, failed, foreign};
use crate::clock::millis;
use crate::{Answer, Register, RegisterKey, Registers, Swap, Swapped, TopicError, Version};

/// How often registers whose time is over are removed, by a process that writes some.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// When this process is to do that next.
#[derive(Debug, Default)]
pub(super) struct Tidying(Mutex<Option<Instant>>);

/// A register as it is stored.
struct Kept {
    register: Register,
    is_over: bool,
}

/// Swaps of one call with the places of their answers, no two of one key.
type Round<'a> = Vec<(&'a Swap, &'a mut Option<Swapped>)>;

impl Registers for MongoStore {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(self.within(async move {
            let kept = self.kept(keys.iter()).await?;
            let held = |key| kept.get(&id(key)).filter(|kept| !kept.is_over);
            let found = keys
                .iter()
                .map(|key| held(key).map(|it| it.register.clone()));
            Ok(found.collect())
        }))
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            self.within(async {
                let mut answers = vec![None; swaps.len()];
                let mut left: Round<'_> = swaps.iter().zip(&mut answers).collect();
                while !left.is_empty() {
                    self.swap_round(next_round(&mut left)).await?;
                }
                self.tidy().await?;
                let answers: Option<_> = answers.into_iter().collect();
                answers.ok_or(TopicError::Unavailable(None))
            })
            .await
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        Box::pin(self.within(self.scan_names(namespace, prefix, after, limit)))
    }
}

impl MongoStore {
    /// Swaps of different keys, each kind of them at once.
    async fn swap_round(&self, round: Round<'_>) -> Result<(), TopicError> {
        let now = self.now().await?;
        let (writes, removals): (Round<'_>, Round<'_>) = round
            .into_iter()
            .partition(|(swap, _)| swap.value.is_some());
        let (updates, inserts): (Round<'_>, Round<'_>) = writes
            .into_iter()
            .partition(|(swap, _)| swap.expected.is_some());
        let mut refused = self.insert_registers(inserts, now).await?;
        refused.extend(self.update_registers(updates, now).await?);
        refused.extend(self.remove_registers(removals).await?);
        if refused.is_empty() {
            return Ok(());
        }
        let kept = self.kept(refused.iter().map(|(swap, _)| &swap.key)).await?;
        for (swap, answer) in refused {
            let kept = kept.get(&id(&swap.key)).filter(|kept| !kept.is_over);
            let actual = kept.map(|kept| kept.register.version);
            *answer = Some(match (swap.expected, &swap.value, actual) {
                (None, None, None) => Swapped::Removed,
                // It had another version, or none, and has this one since.
                (expected, ..) if actual == expected => return Err(TopicError::Unavailable(None)),
                _ => Swapped::Conflict { actual },
            });
        }
        Ok(())
    }

    /// Writes registers that are not to be there. Answers those that are.
    async fn insert_registers<'a>(
        &self,
        swaps: Round<'a>,
        now: u64,
    ) -> Result<Round<'a>, TopicError> {
        let versions: Vec<_> = swaps.iter().map(|_| Version::draw()).collect();
        let documents = swaps.iter().zip(&versions);
        let documents: Vec<_> = documents
            .map(|((swap, _), version)| {
                let mut document = doc! { "_id": id(&swap.key) };
                document.extend(fields(swap, *version, now));
                document
            })
            .collect();
        if documents.is_empty() {
            return Ok(swaps);
        }
        let taken = match self
            .0
            .registers
            .insert_many(&documents)
            .ordered(false)
            .await
        {
            Ok(_) => Vec::new(),
            Err(error) => duplicates(&error).ok_or_else(|| failed(error))?,
        };
        let mut refused = Vec::new();
        for (n, ((swap, answer), version)) in swaps.into_iter().zip(versions).enumerate() {
            if !taken.contains(&n) {
                *answer = Some(Swapped::Written(version));
                continue;
            }
            // One whose time is over counts as gone.
            let is_over = doc! { "_id": id(&swap.key), "e": { "$lte": date(now) } };
            let replace = self
                .0
                .registers
                .update_one(is_over, update(swap, version, now));
            if replace.await.map_err(failed)?.matched_count > 0 {
                *answer = Some(Swapped::Written(version));
            } else {
                refused.push((swap, answer));
            }
        }
        Ok(refused)
    }

    /// Writes registers that are to have a version. Answers those that have not.
    async fn update_registers<'a>(
        &self,
        swaps: Round<'a>,
        now: u64,
    ) -> Result<Round<'a>, TopicError> {
        if swaps.is_empty() {
            return Ok(swaps);
        }
        let versions: Vec<_> = swaps.iter().map(|_| Version::draw()).collect();
        let updates = swaps.iter().zip(&versions).map(|((swap, _), version)| {
            doc! { "q": exactly(swap), "u": update(swap, *version, now) }
        });
        let updates: Vec<_> = updates.collect();
        let wanted = updates.len();
        let command = doc! {
            "update": self.0.registers.name(),
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        let answer = self.0.database.run_command(command).await.map_err(failed)?;
        if answer.contains_key("writeErrors") || answer.contains_key("writeConcernError") {
            return Err(TopicError::Unavailable(None));
        }
        let updated = count(answer.get("n")).ok_or_else(foreign)?;
        if updated == wanted {
            for ((_, answer), version) in swaps.into_iter().zip(versions) {
                *answer = Some(Swapped::Written(version));
            }
            return Ok(Vec::new());
        }
        // MongoDB says how many were written, not which.
        let kept = self.kept(swaps.iter().map(|(swap, _)| &swap.key)).await?;
        let mut refused = Vec::new();
        let mut written: usize = 0;
        for ((swap, answer), version) in swaps.into_iter().zip(versions) {
            let kept = kept.get(&id(&swap.key));
            if kept.is_some_and(|kept| kept.register.version == version) {
                written = written.saturating_add(1);
                *answer = Some(Swapped::Written(version));
            } else {
                refused.push((swap, answer));
            }
        }
        // One was written, and has been replaced since: nobody knows which.
        if written == updated {
            Ok(refused)
        } else {
            Err(TopicError::Unavailable(None))
        }
    }

    /// Removes registers. Answers those that have another version, and those that were not to be
    /// there.
    async fn remove_registers<'a>(&self, swaps: Round<'a>) -> Result<Round<'a>, TopicError> {
        let mut refused = Vec::new();
        for (swap, answer) in swaps {
            let removed = match swap.expected {
                Some(_) => {
                    let removed = self.0.registers.delete_one(exactly(swap));
                    removed.await.map_err(failed)?.deleted_count
                }
                None => 0,
            };
            if removed > 0 {
                *answer = Some(Swapped::Removed);
            } else {
                refused.push((swap, answer));
            }
        }
        Ok(refused)
    }

    async fn kept(
        &self,
        keys: impl Iterator<Item = &RegisterKey>,
    ) -> Result<HashMap<String, Kept>, TopicError> {
        let ids: Vec<_> = keys.map(id).collect();
        let mut kept = HashMap::new();
        if ids.is_empty() {
            return Ok(kept);
        }
        let now = self.now().await?;
        let find = self.0.registers.find(doc! { "_id": { "$in": ids } });
        let mut found = find.await.map_err(failed)?;
        while found.advance().await.map_err(failed)? {
            let document = found.deserialize_current().map_err(failed)?;
            let (id, register) = parse(&document, now).ok_or_else(foreign)?;
            kept.insert(id, register);
        }
        Ok(kept)
    }

    async fn scan_names(
        &self,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(RegisterKey, Register)>, TopicError> {
        let now = self.now().await?;
        let begin = format!("{namespace}\n{prefix}");
        let from = match after {
            Some(after) if after >= prefix => doc! { "$gt": format!("{namespace}\n{after}") },
            _ => doc! { "$gte": &begin },
        };
        let mut found = Vec::new();
        let is_live = doc! { "$not": { "$lte": date(now) } };
        let find = self.0.registers.find(doc! { "_id": from, "e": is_live });
        let mut documents = find
            .sort(doc! { "_id": 1 })
            .limit(limit.try_into().unwrap_or(i64::MAX))
            .await
            .map_err(failed)?;
        while found.len() < limit && documents.advance().await.map_err(failed)? {
            let document = documents.deserialize_current().map_err(failed)?;
            let (id, kept) = parse(&document, now).ok_or_else(foreign)?;
            let Some((space, name)) = id.split_once('\n').filter(|_| id.starts_with(&begin)) else {
                break;
            };
            found.push((RegisterKey::new(space, name)?, kept.register));
        }
        Ok(found)
    }

    /// Removes registers whose time is over, once in a while.
    async fn tidy(&self) -> Result<(), TopicError> {
        if self.0.tidying.is_due() {
            let over = doc! { "e": { "$lte": date(self.now().await?) } };
            self.0.registers.delete_many(over).await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Tidying {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= TIDY_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// The first swap of each key.
fn next_round<'a>(left: &mut Round<'a>) -> Round<'a> {
    let mut keys = HashSet::new();
    let is_first = |entry: &mut (&'a Swap, &'a mut Option<Swapped>)| {
        let swap: &'a Swap = entry.0;
        keys.insert(&swap.key)
    };
    left.extract_if(.., is_first).collect()
}

/// Neither a namespace nor a name has a line feed, and nothing sorts in front of it that they have.
fn id(key: &RegisterKey) -> String {
    format!("{}\n{}", key.namespace(), key.name())
}

/// The register, if it has the version that is expected.
fn exactly(swap: &Swap) -> Document {
    let version = swap.expected.map(number);
    doc! { "_id": id(&swap.key), "v": version }
}

fn update(swap: &Swap, version: Version, now: u64) -> Document {
    let mut update = doc! { "$set": fields(swap, version, now) };
    if swap.expires.is_none() {
        update.insert("$unset", doc! { "e": "" });
    }
    update
}

fn fields(swap: &Swap, version: Version, now: u64) -> Document {
    let value = Binary {
        subtype: BinarySubtype::Generic,
        bytes: swap.value.clone().unwrap_or_default().into(),
    };
    let mut fields = doc! { "v": number(version), "b": value };
    if let Some(after) = swap.expires {
        fields.insert("e", date(now.saturating_add(millis(after))));
    }
    fields
}

fn number(version: Version) -> i64 {
    version.to_u64().cast_signed()
}

fn count(value: Option<&Bson>) -> Option<usize> {
    match value? {
        Bson::Int32(count) => usize::try_from(*count).ok(),
        Bson::Int64(count) => usize::try_from(*count).ok(),
        _ => None,
    }
}

fn parse(document: &Document, now: u64) -> Option<(String, Kept)> {
    let id = document.get_str("_id").ok()?;
    let version = Version::from_u64(document.get_i64("v").ok()?.cast_unsigned());
    let value = document.get_binary_generic("b").ok()?;
    let register = Register::new(version, Bytes::copy_from_slice(value));
    let ends = document.get_datetime("e").ok();
    let is_over = ends.is_some_and(|ends| *ends <= date(now));
    Some((id.to_owned(), Kept { register, is_over }))
}
