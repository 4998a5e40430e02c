//! The relay's configuration file: options, as TOML.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::{Args, Command};
use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use super::settings::RelaySettings;
use crate::command::nearest::nearest;

/// Reads a file. An error names it, with the line and column of what is wrong.
pub(super) fn read(path: &Path) -> anyhow::Result<RelaySettings> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("{} cannot be read", path.display()));
    // One line, with its cause.
    let text = text.map_err(|error| anyhow!("{error:#}; --config says which file"))?;
    parse(&text).map_err(|Mistake { span, what }| {
        let (line, column) = place(&text, &span);
        anyhow!("{}:{line}:{column}: {what}", path.display())
    })
}

/// Something that is wrong, and where.
#[derive(Debug)]
struct Mistake {
    span: Range<usize>,
    what: String,
}

fn parse(text: &str) -> Result<RelaySettings, Mistake> {
    let table = DeTable::parse(text)?;
    let names = RelaySettings::augment_args(Command::new("relay"));
    let names: Vec<&str> = names
        .get_arguments()
        .filter_map(|it| it.get_long())
        .collect();
    for key in table.get_ref().keys() {
        if !names.contains(&&**key.get_ref()) {
            return Err(Mistake {
                span: key.span(),
                what: unknown(key.get_ref(), &names),
            });
        }
    }
    Ok(RelaySettings::deserialize(Deserializer::from(table))?)
}

fn unknown(name: &str, names: &[&str]) -> String {
    let like = nearest(name, names.iter().copied());
    let hint = match like.first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("there are {}", names.join(", ")),
    };
    format!("there is no option {name:?}; {hint}")
}

impl From<toml::de::Error> for Mistake {
    fn from(error: toml::de::Error) -> Self {
        Self {
            span: error.span().unwrap_or_default(),
            // Without the line itself, which may have a secret.
            what: error.message().to_owned(),
        }
    }
}

/// The line and the column, in characters, at which a part of the text begins; both from 1.
fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    (
        lines.saturating_add(1),
        line.chars().count().saturating_add(1),
    )
}
