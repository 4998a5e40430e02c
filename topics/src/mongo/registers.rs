//! Registers in MongoDB. Each write of a register is a document, inserted under the number behind
//! that of the latest one. Of those who have seen the same version, the first takes that number, and
//! MongoDB says for each document of a batch whether its number was free.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::WriteConcern;
use tokio::time::Instant;

use super::MongoStore;
use super::document::date;
use super::error::{duplicates, failed, foreign};
use crate::clock::millis;
use crate::{Answer, Register, RegisterKey, Registers, Swap, Swapped, TopicError, Version};

/// For how long the last document of a register stays that was removed, or whose time is over. Who
/// has seen an earlier one must not find its number free, and inserts within the deadline.
const GONE_FOR: Duration = Duration::from_secs(24 * 3600);

/// How often such documents are removed, by a process that writes registers.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// When this process is to do that next.
#[derive(Debug, Default)]
pub(super) struct Tidying(Mutex<Option<Instant>>);

/// What is stored of a register.
#[derive(Default)]
struct Chain {
    /// The number of its latest document; 0 if there is none.
    number: i64,
    /// `None` if it was removed, or its time is over.
    register: Option<Register>,
    /// All its documents.
    ids: Vec<String>,
}

/// Swaps of one call with the places of their answers, no two of one key.
type Round<'a> = Vec<(&'a Swap, &'a mut Option<Swapped>)>;

impl Registers for MongoStore {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(self.within(async move {
            let chains = self.chains(keys.iter()).await?;
            let held = |key| chains.get(&text(key)).and_then(|it| it.register.clone());
            Ok(keys.iter().map(held).collect())
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
    /// Swaps of different keys.
    async fn swap_round(&self, round: Round<'_>) -> Result<(), TopicError> {
        let began = Instant::now();
        let chains = self.chains(round.iter().map(|(swap, _)| &swap.key)).await?;
        let now = self.now().await?;
        let none = Chain::default();
        let mut writes = Vec::new();
        for (swap, answer) in round {
            let chain = chains.get(&text(&swap.key)).unwrap_or(&none);
            let actual = chain.register.as_ref().map(|register| register.version);
            if actual != swap.expected {
                *answer = Some(Swapped::Conflict { actual });
            } else if swap.value.is_none() && actual.is_none() {
                *answer = Some(Swapped::Removed);
            } else {
                writes.push((swap, answer, chain, Version::draw()));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        if began.elapsed() > self.0.deadline {
            return Err(TopicError::Unavailable(None));
        }
        let documents = writes.iter();
        let documents: Vec<_> = documents
            .map(|(swap, _, chain, version)| document(swap, chain, *version, now))
            .collect();
        let inserted = self.0.registers.insert_many(&documents).ordered(false);
        let taken = match inserted.await {
            Ok(_) => Vec::new(),
            Err(error) => duplicates(&error).ok_or_else(|| failed(error))?,
        };
        let mut replaced = Vec::new();
        let mut refused = Vec::new();
        for (n, (swap, answer, chain, version)) in writes.into_iter().enumerate() {
            if taken.contains(&n) {
                refused.push((swap, answer));
                continue;
            }
            replaced.extend_from_slice(&chain.ids);
            *answer = Some(match swap.value {
                Some(_) => Swapped::Written(version),
                None => Swapped::Removed,
            });
        }
        self.forget(replaced).await?;
        let chains = self
            .chains(refused.iter().map(|(swap, _)| &swap.key))
            .await?;
        for (swap, answer) in refused {
            let chain = chains.get(&text(&swap.key)).unwrap_or(&none);
            let actual = chain.register.as_ref().map(|register| register.version);
            *answer = Some(Swapped::Conflict { actual });
        }
        Ok(())
    }

    /// Removes documents that others have replaced. If that is lost, the next swap does it.
    async fn forget(&self, ids: Vec<String>) -> Result<(), TopicError> {
        if !ids.is_empty() {
            let replaced = doc! { "_id": { "$in": ids } };
            let forget = self.0.registers.delete_many(replaced);
            forget
                .write_concern(WriteConcern::nodes(1))
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn chains(
        &self,
        keys: impl Iterator<Item = &RegisterKey>,
    ) -> Result<HashMap<String, Chain>, TopicError> {
        let mut chains: HashMap<String, Chain> = HashMap::new();
        let ranges: Vec<_> = keys.map(documents_of).collect();
        if ranges.is_empty() {
            return Ok(chains);
        }
        let now = self.now().await?;
        let find = self.0.registers.find(doc! { "$or": ranges });
        let mut found = find.await.map_err(failed)?;
        while found.advance().await.map_err(failed)? {
            let document = found.deserialize_current().map_err(failed)?;
            let (key, link) = parse(&document, now).ok_or_else(foreign)?;
            chains.entry(key).or_default().add(link);
        }
        Ok(chains)
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
            Some(after) if after >= prefix => {
                doc! { "$gte": format!("{namespace}\n{after}{BEHIND}") }
            }
            _ => doc! { "$gte": &begin },
        };
        let find = self.0.registers.find(doc! { "_id": from });
        let find = find.sort(doc! { "_id": 1 });
        let mut documents = find.await.map_err(failed)?;
        let mut found: Vec<(RegisterKey, Register)> = Vec::new();
        let mut latest = (String::new(), Chain::default());
        let mut is_more = true;
        while is_more && found.len() < limit {
            is_more = documents.advance().await.map_err(failed)?;
            let mut next = (String::new(), Chain::default());
            if is_more {
                let document = documents.deserialize_current().map_err(failed)?;
                let (key, link) = parse(&document, now).ok_or_else(foreign)?;
                is_more = key.starts_with(&begin);
                if key == latest.0 {
                    latest.1.add(link);
                    continue;
                }
                next.0 = key;
                next.1.add(link);
            }
            let (key, chain) = std::mem::replace(&mut latest, next);
            if let (Some(register), Some((space, name))) = (chain.register, key.split_once('\n')) {
                found.push((RegisterKey::new(space, name)?, register));
            }
        }
        Ok(found)
    }

    /// Removes what is left of registers that are long gone, once in a while.
    async fn tidy(&self) -> Result<(), TopicError> {
        if self.0.tidying.is_due() {
            let gone = self.now().await?.saturating_sub(millis(GONE_FOR));
            let over = doc! { "e": { "$lte": date(gone) } };
            self.0.registers.delete_many(over).await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Chain {
    fn add(&mut self, link: Self) {
        if link.number > self.number {
            self.number = link.number;
            self.register = link.register;
        }
        self.ids.extend(link.ids);
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

/// What stands between a name and a number, and what is next to that. No namespace and no name has
/// either, and both sort in front of all that they have.
const BETWEEN: char = '\n';
const BEHIND: char = '\u{b}';

fn text(key: &RegisterKey) -> String {
    format!("{}\n{}", key.namespace(), key.name())
}

/// All documents of a register.
fn documents_of(key: &RegisterKey) -> Document {
    let key = text(key);
    doc! { "_id": { "$gt": format!("{key}{BETWEEN}"), "$lt": format!("{key}{BEHIND}") } }
}

/// The document that follows on those of the chain.
fn document(swap: &Swap, chain: &Chain, version: Version, now: u64) -> Document {
    let number = chain.number.saturating_add(1);
    let key = text(&swap.key);
    let mut document = doc! {
        "_id": format!("{key}{BETWEEN}{number:016x}"),
        "n": number,
        "v": version.to_u64().cast_signed(),
    };
    if let Some(value) = &swap.value {
        let value = Binary {
            subtype: BinarySubtype::Generic,
            bytes: value.clone().into(),
        };
        document.insert("b", value);
    }
    let ends = match (&swap.value, swap.expires) {
        (Some(_), None) => return document,
        (Some(_), Some(after)) => now.saturating_add(millis(after)),
        (None, _) => now,
    };
    document.insert("e", date(ends));
    document
}

/// A document of a register, and which register that is.
fn parse(document: &Document, now: u64) -> Option<(String, Chain)> {
    let id = document.get_str("_id").ok()?;
    let (key, _) = id.rsplit_once(BETWEEN)?;
    let version = Version::from_u64(document.get_i64("v").ok()?.cast_unsigned());
    let ends = document.get_datetime("e").ok();
    let is_over = ends.is_some_and(|ends| *ends <= date(now));
    let value = document.get_binary_generic("b").ok().filter(|_| !is_over);
    let register = value.map(|value| Register::new(version, Bytes::copy_from_slice(value)));
    let chain = Chain {
        number: document.get_i64("n").ok()?,
        register,
        ids: vec![id.to_owned()],
    };
    Some((key.to_owned(), chain))
}
