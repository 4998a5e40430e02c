//! What a document of the outbox says: a record for a topic, or why it is none.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};

use super::value::value;
use crate::{Codec, Entry, NewRecord, Settings, TopicError, TopicName};

/// Longest `_id`, in bytes.
const LONGEST_ID: usize = 1024;

/// Names of members in reasons are cut behind so many characters.
const SHOWN: usize = 64;

/// A document of the outbox.
#[derive(Debug)]
pub(super) struct OutboxDocument {
    pub(super) id: Bson,
    /// What it asks for, or the reason to reject it: a clause.
    pub(super) request: Result<Request, String>,
}

/// A record for a topic.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) topic: TopicName,
    pub(super) record: NewRecord,
    pub(super) copy_id: CopyId,
}

/// What a copy has in the place of an id for deduplication: the document's `_id`, as BSON. It is
/// binary, which the ids of programs are not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CopyId(Vec<u8>);

impl OutboxDocument {
    pub(super) fn parse(mut document: Document, settings: &Settings) -> Self {
        let id = document.remove("_id").unwrap_or(Bson::Null);
        let request = CopyId::of(&id).and_then(|copy_id| request(document, copy_id, settings));
        Self { id, request }
    }
}

impl CopyId {
    /// That of the document with this `_id`, or the reason why it has none: a clause.
    pub(super) fn of(id: &Bson) -> Result<Self, String> {
        let bytes = mongodb::bson::serialize_to_vec(&doc! { "": id.clone() });
        let bytes = bytes.map_err(|error| error.to_string())?;
        if bytes.len() > LONGEST_ID {
            return Err(format!("the _id has more than {LONGEST_ID} bytes"));
        }
        Ok(Self(bytes))
    }

    pub(super) fn parse(stored: &Bson) -> Option<Self> {
        match stored {
            Bson::Binary(binary) => Some(Self(binary.bytes.clone())),
            _ => None,
        }
    }

    /// The `_id` of the document.
    pub(super) fn document_id(&self) -> Option<Bson> {
        let document: Document = mongodb::bson::deserialize_from_slice(&self.0).ok()?;
        document.get("").cloned()
    }

    pub(super) fn to_bson(&self) -> Bson {
        Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: self.0.clone(),
        })
    }
}

fn request(document: Document, copy_id: CopyId, settings: &Settings) -> Result<Request, String> {
    let [
        mut topic,
        mut payload,
        mut at,
        mut key,
        mut compact,
        mut tombstone,
        mut meta,
    ] = [const { None }; 7];
    for (name, member) in document {
        let place = match &*name {
            "topic" => &mut topic,
            "payload" => &mut payload,
            "at" => &mut at,
            "key" => &mut key,
            "compact" => &mut compact,
            "tombstone" => &mut tombstone,
            "meta" => &mut meta,
            _ => return Err(format!("the member {} is not known", shown(&name))),
        };
        *place = Some(member);
    }
    let topic = text("topic", topic)?.ok_or("there is no member topic")?;
    let topic = TopicName::new(&topic).map_err(|invalid| invalid.to_string())?;
    if !matches!(at, Some(Bson::DateTime(_))) {
        return Err("the member at is not a date".into());
    }
    let compact = text("compact", compact)?;
    let mut entry = match (payload, text("tombstone", tombstone)?) {
        (Some(payload), None) => with_payload(payload, settings)?,
        (None, Some(tombstone)) if compact.is_none() => Entry::tombstone(tombstone),
        (None, None) => return Err("there is no member payload".into()),
        _ => return Err("with the member tombstone there is neither payload nor compact".into()),
    };
    if let Some(key) = text("key", key)? {
        entry = entry.key(key);
    }
    if let Some(compact) = compact {
        entry = entry.compact(compact);
    }
    match meta {
        None | Some(Bson::Null) => {}
        Some(Bson::Document(meta)) => {
            for (name, member) in meta {
                let Bson::String(text) = member else {
                    return Err(format!("the text {} of meta is not a string", shown(&name)));
                };
                entry = entry.meta(name, text);
            }
        }
        Some(_) => return Err("the member meta is not an object".into()),
    }
    let record = entry.into_record(0, settings);
    Ok(Request {
        topic,
        record: record.map_err(|error| reason(&error))?,
        copy_id,
    })
}

fn with_payload(payload: Bson, settings: &Settings) -> Result<Entry, String> {
    match (&settings.codec, payload) {
        (Codec::Ejson, payload) => Ok(Entry::from(value(payload)?)),
        (Codec::Bytes(_), Bson::Binary(binary)) => Ok(Entry::bytes(binary.bytes)),
        (Codec::Bytes(_), _) => Err("the payload is not binary".into()),
    }
}

/// Whoever leaves a member out may write null instead. An empty text is more likely a mistake: what
/// has the same compact id would be one record.
fn text(name: &str, member: Option<Bson>) -> Result<Option<String>, String> {
    match member {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::String(text)) if text.is_empty() => Err(format!("the member {name} is empty")),
        Some(Bson::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("the member {name} is not a string")),
    }
}

fn reason(error: &TopicError) -> String {
    match error {
        TopicError::TooLarge {
            item, bytes, limit, ..
        } => format!("{item} has {bytes} bytes and may have {limit}"),
        TopicError::NotEncoded(cause) => format!("the payload cannot be written as EJSON: {cause}"),
        error => error.to_string(),
    }
}

/// A name, on one line.
fn shown(name: &str) -> String {
    let mut escaped: Vec<char> = name.escape_debug().take(SHOWN + 1).collect();
    let is_cut = escaped.len() > SHOWN;
    escaped.truncate(SHOWN);
    let name: String = escaped.into_iter().collect();
    format!("{name}{}", if is_cut { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::DateTime;

    use super::*;

    fn parse(document: Document) -> Result<Request, String> {
        OutboxDocument::parse(document, &Settings::default()).request
    }

    #[test]
    fn a_document_is_a_record_or_says_why_not() {
        let at = DateTime::from_millis(5);
        let whole = doc! {
            "_id": 1, "topic": "orders", "payload": { "n": 1 }, "at": at, "key": "k",
            "compact": "c", "meta": { "source": "shop" },
        };
        let request = parse(whole).unwrap();
        assert_eq!(request.topic.as_str(), "orders");
        let content = request.record.content;
        assert_eq!(content.payload.unwrap(), r#"{"n":1}"#);
        assert_eq!(content.key.as_deref(), Some("k"));
        assert_eq!(content.meta["source"], "shop");
        let tombstone = parse(doc! { "topic": "orders", "tombstone": "c", "at": at, "key": null });
        assert!(tombstone.unwrap().record.content.payload.is_none());
        for (bad, expected) in [
            (doc! {}, "there is no member topic"),
            (doc! { "topic": 1 }, "the member topic is not a string"),
            (
                doc! { "topic": "_a", "payload": 1, "at": at },
                "the name of the topic",
            ),
            (
                doc! { "topic": "a", "payload": 1 },
                "the member at is not a date",
            ),
            (
                doc! { "topic": "a", "payload": 1, "at": 5 },
                "the member at is not a date",
            ),
            (
                doc! { "topic": "a", "at": at },
                "there is no member payload",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "tombstone": "c" },
                "with the member tombstone",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "k\ney": "c" },
                r"the member k\ney is",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "key": 7 },
                "the member key is not",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "key": "" },
                "the member key is empty",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "compact": "" },
                "the member compact is empty",
            ),
            (
                doc! { "topic": "a", "at": at, "tombstone": "" },
                "the member tombstone is empty",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "meta": 7 },
                "the member meta is not",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": 1, "meta": { "a": 7 } },
                "the text a of meta",
            ),
            (
                doc! { "topic": "a", "at": at, "payload": "x".repeat(1 << 20) },
                "the payload has 1048578 bytes and may have 1048576",
            ),
            (
                doc! { "_id": "x".repeat(1024), "topic": "a", "at": at, "payload": 1 },
                "the _id has more than",
            ),
        ] {
            let reason = parse(bad).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }
}
