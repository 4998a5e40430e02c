//! Groups: workers that share the records of topics, in one process or in many.
//!
//! Each record of the topics is handled by one of the group's members, the records of one key one
//! after the other. What a member does not answer in time, or fails at, is delivered again; what
//! fails too often is set aside as a dead letter.
//!
//! ```
//! use std::time::Duration;
//! use updraft_protocol::ejson;
//! use updraft_topics::{Entry, GroupSettings, Memory, Settings, Topics};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let topics = Topics::open(Memory::new());
//! let orders = topics.topic("orders", Settings::default()).await?;
//! orders.publish(Entry::value(&ejson!({ "id": 7 })).key("customer 3")).await?;
//! orders.publish(Entry::value(&ejson!({ "id": 8 })).key("customer 3")).await?;
//!
//! let settings = GroupSettings::on([&orders]).back_off([Duration::from_secs(1)]);
//! let group = topics.group("billing", settings).await?;
//!
//! // By hand: each record is answered by whoever fetched it.
//! let mut member = group.member("w1");
//! for delivery in member.fetch(1).await? {
//!     assert_eq!(delivery.message().value()?, ejson!({ "id": 7 }));
//!     delivery.ack().await?;
//! }
//!
//! // Or with a function, here until nothing is left; `run` goes on for ever.
//! member.drain(async |delivery| {
//!     let order: ejson::Value = delivery.parse()?;
//!     println!("bill {order:?}, time {}", delivery.deliveries());
//!     Ok(())
//! }).await?;
//! assert_eq!(group.stats().await?.topics[0].lag, 0);
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! For one group and one key, records are delivered in the order of their offsets, redeliveries
//! included, with one member having them at a time: whatever members come, leave, fail or stop, and
//! dead letters excepted. Each record is handled at least once: one that was being handled when its
//! process stopped, or whose acknowledgement was not written, is handled again. An effect that must
//! not happen twice, or out of order, is written with [`Delivery::generation`].
//!
//! # How it works
//!
//! A group has 64 slots; a record belongs to that of its key, or of its offset if it has none. A
//! slot is a register, which one process owns at a time. Processes share the slots evenly; one that
//! has too many stops handing out of one, and gives it up when all of it is answered, so nobody
//! pauses. A process that stops is noticed after the [lease time](crate::Topics::with_lease). A
//! record is delivered when its slot says so in the store, and an answer resolves when its slot says
//! so: a slot that another process has taken cannot be written any more.

mod beats;
mod context;
mod dead;
mod delivery;
mod feed;
pub(crate) mod floors;
mod handler;
mod ids;
mod keys;
mod member;
mod meta;
mod open;
mod options;
mod owner;
mod seat;
mod settings;
mod slot;
mod stats;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::beats::Beats;
pub(crate) use self::context::Handle;
use self::context::Verdict;
pub use self::dead::{DeadLetter, DeadLetters};
pub use self::delivery::{Delivery, Token};
use self::delivery::{fail, nack, reject};
pub use self::handler::HandlerError;
pub(crate) use self::keys::GroupName;
pub use self::member::Member;
pub(crate) use self::meta::Meta;
use self::meta::unknown;
pub(crate) use self::open::Parts;
pub use self::options::{OnPoison, Order};
pub use self::settings::GroupSettings;
pub use self::stats::{GroupStats, MemberStats, TopicStats};
use crate::TopicError;

/// A group. Its clones are handles of the same group.
#[derive(Clone, Debug)]
pub struct Group(Arc<Handle>);

impl Group {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self(handle)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.context.name.as_str()
    }

    /// In which order records are handed out.
    pub fn order(&self) -> Order {
        self.0.context.options.order
    }

    /// How long a member has for a record before it is given to another.
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.0.context.options.ack_wait)
    }

    /// A member, which takes part from its first fetch on. Names are for those who look: several
    /// members may have the same one.
    pub fn member(&self, name: &str) -> Member {
        Member::new(Arc::clone(&self.0), name)
    }

    /// What was set aside.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.0))
    }

    /// How the group is doing. The numbers are those of the store, for all processes.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownGroup`] if it was deleted, or that of the store.
    pub async fn stats(&self) -> Result<GroupStats, TopicError> {
        stats::stats(&self.0).await
    }

    /// Hands out nothing more, in no process, until [`resume`](Self::resume). What members have can
    /// be answered.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn pause(&self) -> Result<(), TopicError> {
        self.set_paused(true).await
    }

    /// Goes on.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn resume(&self) -> Result<(), TopicError> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, is_paused: bool) -> Result<(), TopicError> {
        let context = &self.0.context;
        let registers = &*context.registers;
        loop {
            let Some((version, mut meta)) = Meta::read(registers, &context.name).await? else {
                return Err(unknown(registers, &context.name).await);
            };
            if meta.paused == is_paused {
                return Ok(());
            }
            meta.paused = is_paused;
            if meta.swap(registers, &context.name, Some(version)).await? {
                context.wake();
                return Ok(());
            }
        }
    }

    /// As [`Delivery::ack`], for a delivery of this process. Here and below it is the caller who
    /// knows whether the token is that of the one who answers.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn ack(&self, token: &Token) -> Result<(), TopicError> {
        self.answer(token, Verdict::Ack).await
    }

    /// As [`Delivery::nack`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn nack(&self, token: &Token, delay: Option<Duration>) -> Result<(), TopicError> {
        self.answer(token, nack(delay)).await
    }

    /// As [`Delivery::fail`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn fail(
        &self,
        token: &Token,
        delay: Option<Duration>,
        reason: &str,
    ) -> Result<(), TopicError> {
        self.answer(token, fail(delay, reason)).await
    }

    /// As [`Delivery::extend`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn extend(&self, token: &Token) -> Result<(), TopicError> {
        self.answer(token, Verdict::Extend).await
    }

    /// As [`Delivery::reject`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reject(&self, token: &Token, reason: &str) -> Result<(), TopicError> {
        self.answer(token, reject(reason)).await
    }

    async fn answer(&self, token: &Token, verdict: Verdict) -> Result<(), TopicError> {
        let delivery = token.of(&self.0.context.name)?;
        self.0.answer(delivery, verdict).await?.written().await
    }
}
