//! Registers in Redis: a string each, written by one script for each namespace.

use bytes::Bytes;

use super::connection::Request;
use super::script::{Script, ScriptCall};
use super::{RedisStore, unexpected};
use crate::{Answer, Register, RegisterKey, Registers, Swap, Swapped, TopicError, Version};

/// The version and the sign behind it, in front of a register's value.
const HEAD: usize = 17;
const DIGITS: usize = 16;

/// Names that are read with one call.
const MOST_NAMES: usize = 1 << 20;

impl Registers for RedisStore {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(self.registers(keys))
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            let mut results = vec![None; swaps.len()];
            let mut left: Vec<_> = swaps.iter().zip(&mut results).collect();
            while let Some((first, _)) = left.first() {
                let namespace = first.key.namespace();
                let same = left.extract_if(.., |(swap, _)| swap.key.namespace() == namespace);
                self.swap_in(namespace, same.collect()).await?;
            }
            results
                .into_iter()
                .collect::<Option<_>>()
                .ok_or_else(unexpected)
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        Box::pin(async move {
            let names_key = self.0.keys.registers(namespace).names();
            let mut after = after.map(str::to_owned);
            let mut found = Vec::new();
            // Names of registers whose time is over may be left: pages are read until enough are
            // found, or a page is not full.
            let mut is_more = true;
            while is_more && found.len() < limit {
                let wanted = limit.saturating_sub(found.len()).min(MOST_NAMES);
                let names = self
                    .names(&names_key, prefix, after.as_deref(), wanted)
                    .await?;
                is_more = names.len() >= wanted;
                let keys = names.iter().map(|name| RegisterKey::bound(namespace, name));
                let keys: Vec<_> = keys.collect();
                let registers = self.registers(&keys).await?;
                let pairs = keys.into_iter().zip(registers);
                found.extend(pairs.filter_map(|(key, register)| Some((key, register?))));
                after = names.into_iter().next_back();
            }
            Ok(found)
        })
    }
}

impl RedisStore {
    async fn registers(&self, keys: &[RegisterKey]) -> Result<Vec<Option<Register>>, TopicError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = redis::pipe();
        for key in keys {
            let names = self.0.keys.registers(key.namespace());
            commands.cmd("GET").arg(names.register(key.name()));
        }
        let found: Vec<Option<Vec<u8>>> = self.0.connection.ask(Request::All(&commands)).await?;
        let registers = found.into_iter().map(|stored| match stored {
            None => Ok(None),
            Some(stored) => register(stored).map(Some).ok_or_else(unexpected),
        });
        registers.collect()
    }

    /// Writes registers of one namespace, and what became of each to its place.
    async fn swap_in(
        &self,
        namespace: &str,
        swaps: Vec<(&Swap, &mut Option<Swapped>)>,
    ) -> Result<(), TopicError> {
        let keys = self.0.keys.registers(namespace);
        let mut call = ScriptCall::new(Script::Swap, [keys.names(), keys.ends()]);
        let mut versions = Vec::with_capacity(swaps.len());
        for (swap, _) in &swaps {
            let version = swap.value.as_ref().map(|_| Version::draw());
            let expires = swap.expires.filter(|_| version.is_some());
            call.key(keys.register(swap.key.name()));
            call.arg(swap.key.name().to_owned());
            call.arg(hex(swap.expected));
            call.arg(hex(version));
            // A time of 0 is an error, and so is one of more than 2^63.
            let expires = expires.map(|after| after.as_millis().clamp(1, 1 << 52).to_string());
            call.arg(expires.unwrap_or_default());
            call.arg(swap.value.clone().unwrap_or_default());
            versions.push(version);
        }
        let answers = self.call(&call).await?;
        for ((_, result), (answer, version)) in swaps.into_iter().zip(answers.iter().zip(versions))
        {
            *result = Some(swapped(answer, version).ok_or_else(unexpected)?);
        }
        Ok(())
    }
}

fn swapped(answer: &[u8], version: Option<Version>) -> Option<Swapped> {
    match answer.split_first()? {
        (b'w', _) => version.map(Swapped::Written),
        (b'r', _) => Some(Swapped::Removed),
        (b'c', []) => Some(Swapped::Conflict { actual: None }),
        (b'c', actual) => Some(Swapped::Conflict {
            actual: Some(parse(actual)?),
        }),
        _ => None,
    }
}

fn register(stored: Vec<u8>) -> Option<Register> {
    let version = parse(stored.get(..DIGITS)?)?;
    let mut value = Bytes::from(stored);
    (value.len() >= HEAD).then(|| Register::new(version, value.split_off(HEAD)))
}

fn parse(digits: &[u8]) -> Option<Version> {
    let digits = std::str::from_utf8(digits).ok()?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    Some(Version::from_u64(number))
}

fn hex(version: Option<Version>) -> String {
    version.map_or_else(String::new, |version| format!("{:016x}", version.to_u64()))
}
