//! The method `publish`: a client publishes to a topic that it names.

use std::collections::BTreeMap;

use serde::Deserialize;
use updraft_protocol::ejson::Value;
use updraft_topics::{Entry, Published};

use super::{ClientEntry, ExposedTopics};
use crate::base::error::{Error, Result};
use crate::method::Call;

/// What a client sends.
#[derive(Deserialize)]
pub(crate) struct PublishParams {
    topic: String,
    payload: Option<Value>,
    key: Option<String>,
    id: Option<String>,
    compact: Option<String>,
    #[serde(default)]
    tombstone: bool,
    #[serde(default)]
    meta: BTreeMap<String, String>,
}

pub(crate) async fn publish(
    topics: &ExposedTopics,
    call: Call,
    publish: PublishParams,
) -> Result<Published> {
    let (exposed, authorize) = topics.find(&publish.topic, |access| access.publish.clone())?;
    if publish.tombstone == publish.payload.is_some() {
        return Err(Error::bad_request(
            "A record has a payload, or is a tombstone",
        ));
    }
    let entry = ClientEntry {
        payload: publish.payload,
        key: publish.key,
        id: publish.id,
        compact: publish.compact,
        meta: publish.meta,
    };
    let entry = authorize(call.clone(), entry).await?;
    call.publish(exposed.topic(), entry.into_entry()?).await
}

impl ClientEntry {
    fn into_entry(self) -> Result<Entry> {
        let mut entry = match (self.payload, self.compact) {
            (Some(payload), Some(id)) => Entry::value(&payload).compact(id),
            (Some(payload), None) => Entry::value(&payload),
            (None, Some(id)) => Entry::tombstone(id),
            (None, None) => {
                return Err(Error::bad_request("A tombstone needs the id that it ends"));
            }
        };
        if let Some(key) = self.key {
            entry = entry.key(key);
        }
        if let Some(id) = self.id {
            entry = entry.dedup(id);
        }
        for (name, text) in self.meta {
            entry = entry.meta(name, text);
        }
        Ok(entry)
    }
}
