//! What clients may do with a topic that they name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::Value;
use updraft_topics::Message;

use crate::base::error::Result;
use crate::method::Call;
use crate::publication::Subscription;

/// What clients may do with a topic, by the publication `topic` and the method `publish`. What is
/// not allowed by a hook is refused.
///
/// ```
/// # use updraft::prelude::*;
/// use updraft::topics::{Memory, Settings, Topics};
/// use updraft::{ClientEntry, TopicAccess};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let topics = Topics::open(Memory::new());
/// let orders = topics.topic("orders", Settings::default()).await?;
/// let access = TopicAccess::new()
///     .authorize_read(async |subscription: Subscription| {
///         subscription.user_id().map(drop).ok_or(Error::forbidden("Log in first"))
///     })
///     .authorize_publish(async |call: Call, mut entry: ClientEntry| {
///         let user = call.user_id().ok_or(Error::forbidden("Log in first"))?;
///         entry.meta.insert("by".into(), user.to_string());
///         Ok(entry)
///     });
/// let builder = Server::builder().topic(&orders, access);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "it is given to `Builder::topic`"]
pub struct TopicAccess {
    pub(super) read: Option<ReadHook>,
    pub(super) publish: Option<PublishHook>,
    pub(super) transform: Option<TransformHook>,
}

/// A record that a client wants to publish.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientEntry {
    /// The payload; `None` for a tombstone.
    pub payload: Option<Value>,
    /// Records of one key keep their order in groups.
    pub key: Option<String>,
    /// An id under which the record is stored once.
    pub id: Option<String>,
    /// What the record is the latest state of. A tombstone needs it.
    pub compact: Option<String>,
    /// Named texts beside the payload.
    pub meta: BTreeMap<String, String>,
}

pub(super) type ReadHook =
    Arc<dyn Fn(Subscription) -> BoxFuture<'static, Result<()>> + Send + Sync>;

pub(super) type PublishHook =
    Arc<dyn Fn(Call, ClientEntry) -> BoxFuture<'static, Result<ClientEntry>> + Send + Sync>;

pub(super) type TransformHook = Arc<dyn Fn(&Message) -> Result<Option<Value>> + Send + Sync>;

impl TopicAccess {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may read the topic: whoever `f` does not refuse. It is called for each subscription, and
    /// again when the user of the client changes. A right that is withdrawn later ends nothing by
    /// itself: see [`Handle::stop_subscriptions`](crate::Handle::stop_subscriptions).
    pub fn authorize_read<Fut>(
        mut self,
        f: impl Fn(Subscription) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.read = Some(Arc::new(move |subscription| Box::pin(f(subscription))));
        self
    }

    /// Who may publish to the topic, and what: `f` returns what is stored, which may be something
    /// else than the client has sent.
    pub fn authorize_publish<Fut>(
        mut self,
        f: impl Fn(Call, ClientEntry) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<ClientEntry>> + Send + 'static,
    {
        self.publish = Some(Arc::new(move |call, entry| Box::pin(f(call, entry))));
        self
    }

    /// What clients get as the payload of a record: what `f` returns, or nothing of the record if
    /// that is `None`. It is called once per record for all clients of a shard, and must not block.
    /// If it fails or panics, the record is passed over, which is logged and counted.
    pub fn transform(
        mut self,
        f: impl Fn(&Message) -> Result<Option<Value>> + Send + Sync + 'static,
    ) -> Self {
        self.transform = Some(Arc::new(f));
        self
    }
}

impl fmt::Debug for TopicAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicAccess")
            .field("read", &self.read.is_some())
            .field("publish", &self.publish.is_some())
            .field("transform", &self.transform.is_some())
            .finish()
    }
}
