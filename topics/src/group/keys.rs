//! The registers of a group.
//!
//! | namespace | name | value |
//! | --- | --- | --- |
//! | `groups` | GROUP | nothing: that there is one |
//! | `groups of TOPIC` | GROUP | nothing: that it reads this topic |
//! | `group GROUP` | `meta` | its options and where it began, see `meta` |
//! | `group GROUP` | `slot NUMBER` | a slot, see `slot::code` |
//! | `group GROUP` | `process ID` | who takes part in it there, see `seat` |
//! | `processes` | ID | that the process lives, see `beats` |

use std::fmt;
use std::sync::Arc;

use super::ids::ProcessId;
use crate::{RegisterKey, TopicError, TopicName};

/// The namespace of the names of all groups.
pub(crate) const GROUPS: &str = "groups";

/// The namespace of the processes that take part in any.
pub(crate) const PROCESSES: &str = "processes";

/// What the names of seats begin with.
pub(crate) const SEATS: &str = "process ";

/// Between the name of a topic and that of a group, in the name of the topic of dead letters.
const DEAD_LETTERS: &str = "!dlq!";

/// The name of a group: as that of a topic.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupName(Arc<str>);

impl GroupName {
    pub(crate) fn new(name: &str) -> Result<Self, TopicError> {
        TopicName::new(name)?;
        Ok(Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic of its dead letters from this one.
    pub(crate) fn dead_letters(&self, topic: &TopicName) -> Result<TopicName, TopicError> {
        let name = format!("{topic}{DEAD_LETTERS}{self}");
        Ok(TopicName::new(&name)?)
    }

    /// What wakes the processes that take part in it. No topic has this name.
    pub(crate) fn wake_up(&self) -> TopicName {
        TopicName::internal(&format!("_group {self}"))
    }

    pub(crate) fn namespace(&self) -> String {
        format!("group {self}")
    }

    pub(crate) fn meta(&self) -> RegisterKey {
        RegisterKey::bound(&self.namespace(), "meta")
    }

    pub(crate) fn slot(&self, number: usize) -> RegisterKey {
        RegisterKey::bound(&self.namespace(), &format!("slot {number:02}"))
    }

    pub(crate) fn seat(&self, process: ProcessId) -> RegisterKey {
        RegisterKey::bound(&self.namespace(), &format!("{SEATS}{process}"))
    }

    pub(crate) fn listed(&self) -> RegisterKey {
        RegisterKey::bound(GROUPS, self.as_str())
    }

    pub(crate) fn listed_for(&self, topic: &str) -> RegisterKey {
        RegisterKey::bound(&groups_of(topic), self.as_str())
    }
}

/// The namespace of the groups of a topic.
pub(crate) fn groups_of(topic: &str) -> String {
    format!("groups of {topic}")
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
