//! The names of keys. All keys of a topic, and all of a namespace of registers, have one hash tag,
//! so that each script finds its keys on one node of a cluster.

/// The names that all keys of one store begin with.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    prefix: Box<str>,
}

/// The keys of a namespace of registers.
pub(super) struct RegisterKeys {
    base: String,
}

impl KeyNames {
    /// The prefix is escaped too, so that its braces are no hash tag.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: escape(prefix).into(),
        }
    }

    /// A sorted set of the names of all topics.
    pub(super) fn topics(&self) -> String {
        format!("{}topics", self.prefix)
    }

    /// What the scripts of a topic call meta, log, ids and ages.
    pub(super) fn topic(&self, topic: &str) -> [String; 4] {
        self.parts(topic, ["meta", "log", "ids", "ages"])
    }

    /// The stream to which producers in any language add entries, and that of those which could not
    /// be copied into the topic.
    pub(super) fn ingest(&self, topic: &str) -> [String; 2] {
        self.parts(topic, ["ingest", "rejected"])
    }

    fn parts<const N: usize>(&self, topic: &str, parts: [&str; N]) -> [String; N] {
        let base = format!("{}t{{{}}}", self.prefix, escape(topic));
        parts.map(|part| format!("{base}{part}"))
    }

    pub(super) fn registers(&self, namespace: &str) -> RegisterKeys {
        RegisterKeys {
            base: format!("{}r{{{}}}", self.prefix, escape(namespace)),
        }
    }
}

impl RegisterKeys {
    /// A sorted set of the names of all registers.
    pub(super) fn names(&self) -> String {
        format!("{}names", self.base)
    }

    /// A sorted set of the names of those that expire, by the time at which they do.
    pub(super) fn ends(&self) -> String {
        format!("{}ends", self.base)
    }

    /// A register itself. What stands behind the hash tag may have braces.
    pub(super) fn register(&self, name: &str) -> String {
        format!("{}={name}", self.base)
    }
}

/// Writes braces, which would begin or end a hash tag, as `%` and their code.
fn escape(text: &str) -> String {
    if !text.contains(['%', '{', '}']) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => escaped.push_str("%25"),
            '{' => escaped.push_str("%7B"),
            '}' => escaped.push_str("%7D"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// As a node of a cluster finds it: between the first `{` and the first `}` behind it.
    fn hash_tag(key: &str) -> &str {
        let (_, rest) = key.split_once('{').unwrap();
        let (tag, _) = rest.split_once('}').unwrap();
        assert!(!tag.is_empty());
        tag
    }

    #[test]
    fn topic_092_112_all_keys_of_a_topic_have_one_hash_tag_and_no_two_topics_share_a_key() {
        let names = [
            "a", "a}meta", "{a}", "}{", "%7Ba%7D", "{}", "}", "a}t{b", "*",
        ];
        let mut seen = BTreeSet::new();
        for prefix in ["", "a", "at", "ar", "{x}", "t{a}"] {
            let keys = KeyNames::new(prefix);
            assert!(seen.insert(keys.topics()));
            for name in names {
                let topic = keys.topic(name);
                let tag = hash_tag(&topic[0]).to_owned();
                for key in topic.into_iter().chain(keys.ingest(name)) {
                    assert_eq!(hash_tag(&key), tag);
                    assert!(seen.insert(key));
                }
                let registers = keys.registers(name);
                for key in [registers.names(), registers.ends()]
                    .into_iter()
                    .chain(names.map(|name| registers.register(name)))
                {
                    assert_eq!(hash_tag(&key), tag);
                    assert!(seen.insert(key));
                }
            }
        }
    }
}
