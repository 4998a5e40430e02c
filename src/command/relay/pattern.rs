//! A publication of the relay, and the pattern of its channels: `threads::{threadId}::new_message`.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::bail;
use serde::{Deserialize, Deserializer};
use updraft::prelude::*;
use updraft::{Channel, Object};

/// One publication.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    pub(super) publication: String,
    channel: Pattern,
}

/// The name of a channel, of which parts come from the subscription's parameter.
#[derive(Clone, Debug)]
struct Pattern(Vec<Part>);

/// A part of a channel's name, between `::`.
#[derive(Clone, Debug)]
enum Part {
    Fixed(String),
    /// A member of the subscription's parameter.
    Member(String),
}

/// `NAME=CHANNEL`, as on the command line.
impl FromStr for Relay {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((publication, channel)) = text.split_once('=') else {
            bail!("not of the form NAME=CHANNEL");
        };
        if publication.is_empty() {
            bail!("the publication has no name");
        }
        Ok(Self {
            publication: publication.to_owned(),
            channel: channel.parse()?,
        })
    }
}

/// Relays in a file: a table from publications to channels.
pub(super) fn table<'de, D: Deserializer<'de>>(table: D) -> Result<Vec<Relay>, D::Error> {
    let table = BTreeMap::<String, Pattern>::deserialize(table)?;
    let relays = table.into_iter().map(|(publication, channel)| Relay {
        publication,
        channel,
    });
    Ok(relays.collect())
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let text = String::deserialize(text)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Pattern {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // It would be the name of one channel, while the operator probably means a pattern.
        if text.contains(|c: char| c.is_whitespace() || r"*?[]^\".contains(c)) {
            bail!(
                "a channel's name has no white space, and is no pattern; where a part of it \
                 differs, {{x}} stands for member x of the subscription's parameter"
            );
        }
        let part = |part: &str| {
            let member = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            match member {
                Some("") => bail!("{{}} names no member"),
                Some(member) => Ok(Part::Member(member.to_owned())),
                None if part.is_empty() => bail!("a part of the channel's name is empty"),
                None if part.contains(['{', '}']) => {
                    bail!("{{x}} must be a part of its own: {part:?}")
                }
                None => Ok(Part::Fixed(part.to_owned())),
            }
        };
        let parts = text.split("::").map(part);
        let pattern = Self(parts.collect::<anyhow::Result<_>>()?);
        // Any member will do to check the fixed parts.
        let named = pattern.name(|_| Ok("x".to_owned()))?;
        Channel::trusted(named)?;
        Ok(pattern)
    }
}

impl Pattern {
    fn name(&self, member: impl Fn(&str) -> Result<String>) -> Result<String> {
        let parts = self.0.iter().map(|part| match part {
            Part::Fixed(text) => Ok(text.clone()),
            Part::Member(name) => member(name),
        });
        Ok(parts.collect::<Result<Vec<_>>>()?.join("::"))
    }
}

impl Relay {
    /// The channel for a subscription with this parameter.
    pub(super) fn channel(&self, parameter: &Object) -> Result<Channel> {
        let name = self.channel.name(|member| {
            let part = match parameter.get(member) {
                Some(Value::String(text)) => text.to_string(),
                Some(number @ Value::Number(_)) => ejson::to_json(number),
                None => return Err(mismatch(member, "is missing")),
                Some(_) => return Err(mismatch(member, "is no text and no number")),
            };
            // The client sent it, so it may be one part of the name and no more.
            let part = channel![part].map_err(|error| mismatch(member, &error.to_string()))?;
            Ok(part.to_string())
        })?;
        // The operator wrote the rest.
        Ok(Channel::trusted(name)?)
    }
}

/// The error for a member of a client's parameter that does not fit.
fn mismatch(member: &str, why: &str) -> Error {
    Error::match_failed().because(format!("{member}: {why}"))
}
