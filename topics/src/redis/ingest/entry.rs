//! What an entry of an ingest stream says: a record, or why it is none.

use std::collections::BTreeMap;

use crate::{Codec, Entry, NewRecord, Settings, TopicError};

/// Names of fields in reasons are cut behind so many characters.
const SHOWN: usize = 64;

/// The names and values of an entry.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The record of an entry, or a reason to reject it: a clause.
pub(super) fn record(fields: Fields, settings: &Settings) -> Result<NewRecord, String> {
    let [mut payload, mut key, mut compact, mut tombstone, mut id] = [const { None }; 5];
    let mut meta = BTreeMap::new();
    for (name, value) in fields {
        let twice = || format!("the field {} is there twice", shown(&name));
        let place = match &*name {
            b"payload" => &mut payload,
            b"key" => &mut key,
            b"compact" => &mut compact,
            b"tombstone" => &mut tombstone,
            b"id" => &mut id,
            _ => {
                if meta.insert(meta_name(&name)?, text(value)?).is_some() {
                    return Err(twice());
                }
                continue;
            }
        };
        // More likely a variable that was not set: what has the same compact id or id for
        // deduplication would be one record, and what has the same key one queue.
        if value.is_empty() && name != b"payload" {
            return Err(format!("the field {} is empty", shown(&name)));
        }
        if place.replace(value).is_some() {
            return Err(twice());
        }
    }
    let mut entry = match (payload, tombstone) {
        (Some(payload), None) => match settings.codec {
            Codec::Ejson => Entry::ejson(payload),
            Codec::Bytes(_) => Entry::bytes(payload),
        },
        (None, Some(tombstone)) if compact.is_none() => Entry::tombstone(text(tombstone)?),
        (None, None) => return Err("there is no field payload".into()),
        _ => return Err("with the field tombstone there is neither payload nor compact".into()),
    };
    if let Some(key) = key {
        entry = entry.key(text(key)?);
    }
    if let Some(compact) = compact {
        entry = entry.compact(text(compact)?);
    }
    if let Some(id) = id {
        entry = entry.dedup(text(id)?);
    }
    for (name, value) in meta {
        entry = entry.meta(name, value);
    }
    entry
        .into_record(0, settings)
        .map_err(|error| reason(&error))
}

fn meta_name(name: &[u8]) -> Result<String, String> {
    match name.strip_prefix(b"meta.") {
        Some(rest) => text(rest.to_vec()),
        None => Err(format!("the field {} is not known", shown(name))),
    }
}

fn text(value: Vec<u8>) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| "a text is not UTF-8".into())
}

fn reason(error: &TopicError) -> String {
    match error {
        TopicError::TooLarge {
            item, bytes, limit, ..
        } => format!("{item} has {bytes} bytes and may have {limit}"),
        TopicError::NotEncoded(cause) => format!("the payload is not JSON: {cause}"),
        error => error.to_string(),
    }
}

/// A name, on one line.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let mut escaped: Vec<char> = name.escape_debug().take(SHOWN + 1).collect();
    let is_cut = escaped.len() > SHOWN;
    escaped.truncate(SHOWN);
    let name: String = escaped.into_iter().collect();
    format!("{name}{}", if is_cut { "…" } else { "" })
}
