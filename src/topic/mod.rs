//! Topics that clients may name: what they may read and publish is decided by the program's hooks.

mod access;
mod publishing;
mod reading;

pub use access::{ClientEntry, TopicAccess};

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use updraft_topics::Topic;

use crate::base::error::{Error, Result};
pub(crate) use publishing::{PublishParams, publish};
pub(crate) use reading::{ReadParams, read};

/// The publication by which clients read topics that they name.
pub(crate) const PUBLICATION: &str = "topic";

/// The method by which they publish.
pub(crate) const METHOD: &str = "publish";

/// The topics that clients may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExposedTopics(HashMap<Box<str>, Exposed>);

/// One of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Exposed(Arc<(Topic, TopicAccess)>);

impl ExposedTopics {
    /// Adds a topic. Returns `false` if there is one of that name.
    pub(crate) fn add(&mut self, topic: &Topic, access: TopicAccess) -> bool {
        let exposed = Exposed(Arc::new((topic.clone(), access)));
        self.0
            .insert(topic.name().as_str().into(), exposed)
            .is_none()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The topic and one of its hooks.
    ///
    /// # Errors
    ///
    /// `not-authorized`, the same whether there is no such topic or no such hook.
    fn find<H>(
        &self,
        name: &str,
        hook: impl Fn(&TopicAccess) -> Option<H>,
    ) -> Result<(&Exposed, H)> {
        let found = self.0.get(name);
        let found = found.and_then(|exposed| Some((exposed, hook(exposed.access())?)));
        found.ok_or_else(|| Error::new("not-authorized", "This topic is not open to you"))
    }
}

impl Exposed {
    fn topic(&self) -> &Topic {
        &self.0.0
    }

    fn access(&self) -> &TopicAccess {
        &self.0.1
    }
}

impl PartialEq for Exposed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Exposed {}

impl Hash for Exposed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exposed").field(self.topic().name()).finish()
    }
}
