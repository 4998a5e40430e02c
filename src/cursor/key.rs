//! What a cursor is found by.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use updraft_protocol::ejson::{Style, Value, stringify};
use updraft_protocol::random;
use updraft_topics::{RegisterKey, TopicName};

/// The namespace of the registers.
const NAMESPACE: &str = "cursors";

/// From this length on, a Vent id of URL-safe characters counts as drawn at random.
const RANDOM: usize = 22;

/// What a cursor is found by: the topic by its name, the rest by a hash. Another user has another
/// key for the same Vent id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CursorKey(pub(super) RegisterKey);

/// Who a cursor is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) publication: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) vent_id: &'a str,
    pub(crate) params: &'a [Value],
}

impl CursorKey {
    /// The key of a reader's cursor in a topic. `None` if its Vent id is not one of a single
    /// subscription.
    pub(crate) fn new(topic: &TopicName, reader: Reader<'_>) -> Option<Self> {
        if !is_unique(reader.vent_id) {
            return None;
        }
        let params = Value::Array(reader.params.to_vec());
        let params = stringify(&params, &Style::new().canonical());
        // A user may have any name, so that of nobody is of another length.
        let user = reader.user.map(|user| format!("u{user}"));
        let mut hash = Sha256::new();
        for part in [
            reader.publication,
            user.as_deref().unwrap_or_default(),
            reader.vent_id,
            &params,
        ] {
            // With the lengths, no two lists of parts are the same text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut name = format!("{topic} ");
        for byte in hash.finalize() {
            // Writing to a text does not fail.
            write!(name, "{byte:02x}").ok()?;
        }
        RegisterKey::new(NAMESPACE, &name).ok().map(Self)
    }
}

/// Whether a client has drawn this Vent id for one subscription, as far as can be seen: an id of
/// Meteor's form, or a long one as a UUID is.
fn is_unique(vent_id: &str) -> bool {
    let is_url_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    random::is_meteor_id(vent_id) || vent_id.len() >= RANDOM && vent_id.bytes().all(is_url_safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_protocol::ejson;

    const ID: &str = "kpNzWxsDHYcxAHj5M";

    fn key(reader: Reader<'_>) -> Option<CursorKey> {
        CursorKey::new(&TopicName::new("orders").unwrap(), reader)
    }

    fn reader(params: &[Value]) -> Reader<'_> {
        Reader {
            publication: "orders",
            user: Some("ada"),
            vent_id: ID,
            params,
        }
    }

    #[test]
    fn topic_032_only_ids_of_single_subscriptions_have_cursors() {
        let is_kept = |vent_id| {
            key(Reader {
                vent_id,
                ..reader(&[])
            })
            .is_some()
        };
        for id in [
            ID,
            "9f8b5a52-3c3e-4a7a-9f58-5f7f6f0c2d11",
            "9F8B5A52-3C3E-4A7A-9F58-5F7F6F0C2D11",
            "V1StGXR8_Z5jdHi6B-myTA",
        ] {
            assert!(is_kept(id), "{id}");
        }
        for id in [
            "orders",
            "vent.orders",
            "V1StGXR8_Z5jdHi6B-myT",
            "vent.V1StGXR8_Z5jdHi6B-myTA",
        ] {
            assert!(!is_kept(id), "{id}");
        }
    }

    #[test]
    fn topic_032_each_reader_has_a_key_of_its_own() {
        let params = [ejson!({ "shop": 1, "kind": "new" })];
        let same = [ejson!({ "kind": "new", "shop": 1 })];
        assert_eq!(key(reader(&params)), key(reader(&same)));
        let other = [ejson!({ "shop": 2, "kind": "new" })];
        let all = [
            reader(&params),
            reader(&other),
            reader(&[]),
            Reader {
                publication: "other",
                ..reader(&params)
            },
            Reader {
                user: Some("bea"),
                ..reader(&params)
            },
            Reader {
                user: Some(""),
                ..reader(&params)
            },
            Reader {
                user: None,
                ..reader(&params)
            },
            Reader {
                vent_id: "3pNzWxsDHYcxAHj5M",
                ..reader(&params)
            },
        ];
        let keys: Vec<_> = all.into_iter().map(|it| key(it).unwrap()).collect();
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[index + 1..].contains(one), "{index}");
        }
    }

    #[test]
    fn a_key_is_of_a_topic() {
        let name = TopicName::new(&"x".repeat(255)).unwrap();
        assert!(CursorKey::new(&name, reader(&[])).is_some());
    }
}
