//! A record in the hands of a member, and the token that stands for it elsewhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::context::{Confirmation, Handle, Verdict};
use super::dead::without_letter;
use super::ids::{DeliveryId, RecordId};
use super::keys::GroupName;
use super::slot::{Begun, MAX_DELAY, Return};
use super::ticket::Ticket;
use crate::clock::millis;
use crate::message::Message;
use crate::{Epoch, Record, TopicError, TopicName};

/// A record that a member has. It is the member's until it is answered, or until its time is over;
/// then [`is_current`](Self::is_current) is false, and every answer is [`TopicError::Stale`].
///
/// Dropping it is no answer. Its clones are the same delivery.
#[derive(Clone)]
#[must_use = "a delivery that is not answered comes back after the ack wait"]
pub struct Delivery(Arc<Inner>);

struct Inner {
    handle: Arc<Handle>,
    id: DeliveryId,
    ticket: Arc<Ticket>,
    attempts: u32,
    /// The term of this process in which it was begun.
    term: u64,
    topic: TopicName,
    message: Message,
}

/// What stands for a delivery outside of this process: the group, the topic, the offset and the
/// generation, as one text. It proves nothing: who accepts tokens must know whom it gave them to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    group: u32,
    id: DeliveryId,
}

impl Delivery {
    pub(crate) fn new(handle: &Arc<Handle>, begun: Begun, epoch: Epoch, term: u64) -> Option<Self> {
        let Begun {
            id,
            record,
            attempts,
            ticket,
        } = begun;
        let context = &handle.context;
        let core = context.inputs.get(id.record.input)?;
        let topic = id.record.input.checked_rem(context.topics())?;
        let topic = context.inputs.get(topic)?.name.clone();
        let mut record = Record::clone(&record);
        if id.record.input >= context.topics() {
            record.content = without_letter(record.content);
        }
        let message = Message::new(&core.name, epoch, record);
        Some(Self(Arc::new(Inner {
            handle: Arc::clone(handle),
            id,
            ticket,
            attempts,
            term,
            topic,
            message,
        })))
    }

    /// The record.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The value as a type of the caller's choice, as [`Message::parse`].
    ///
    /// # Errors
    ///
    /// [`TopicError::NotDecoded`]. A handler that returns it sets the record aside at once.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, TopicError> {
        self.0.message.parse()
    }

    /// The topic of the group from which the record is, also if it was a dead letter since.
    pub fn topic(&self) -> &TopicName {
        &self.0.topic
    }

    /// How often the record was delivered, this time included. What does not count as a delivery,
    /// such as one to a member that left in good order, is not in it.
    pub fn deliveries(&self) -> u32 {
        self.0.attempts
    }

    /// A number that is higher with each delivery of a record, and with each of the records of one
    /// key: an effect that must not be repeated by a member that comes late is written with it, and
    /// refused if a higher one was there.
    pub fn generation(&self) -> u64 {
        self.0.id.generation
    }

    /// What stands for the delivery elsewhere.
    pub fn token(&self) -> Token {
        Token {
            group: tag(&self.0.handle.context.name),
            id: self.0.id,
        }
    }

    /// Whether the delivery is still this member's and not answered, as far as this process can
    /// know.
    pub fn is_current(&self) -> bool {
        self.0.ticket.is_open() && self.0.handle.context.beats.term() == Some(self.0.term)
    }

    /// The record is handled. Resolves when that is written. Doing it again is no error.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`], [`TopicError::OutOfOrder`] if the member has an earlier record of the
    /// same key that is not answered; nothing is changed then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the record is acknowledged or not. So it is with the other answers.
    pub async fn ack(&self) -> Result<(), TopicError> {
        self.answer(Verdict::Ack).await
    }

    /// The record was not handled, and is delivered again: after this time, or without one after
    /// that of the group's back-off list, or at once. It counts as a failure.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`].
    pub async fn nack(&self, delay: Option<Duration>) -> Result<(), TopicError> {
        self.answer(nack(delay)).await
    }

    /// The record is handled for longer: its time begins anew, up to the most that the group allows.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`].
    pub async fn extend(&self) -> Result<(), TopicError> {
        self.answer(Verdict::Extend).await
    }

    /// The record can never be handled: it becomes a dead letter.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`].
    pub async fn reject(&self, reason: &str) -> Result<(), TopicError> {
        self.answer(reject(reason)).await
    }

    /// As [`nack`](Self::nack), with the reason that a dead letter says.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`].
    pub async fn fail(&self, delay: Option<Duration>, reason: &str) -> Result<(), TopicError> {
        self.answer(fail(delay, reason)).await
    }

    /// The record was not handled, and others can have it at once. This does not count as a
    /// delivery.
    ///
    /// # Errors
    ///
    /// [`TopicError::Stale`].
    pub async fn give_back(&self) -> Result<(), TopicError> {
        self.answer(Verdict::Return(Return::Uncounted)).await
    }

    /// Whether no answer was given, and none would be late for certain.
    pub fn is_open(&self) -> bool {
        self.0.ticket.is_open()
    }

    /// Whether it was taken back.
    pub(crate) fn is_over(&self) -> bool {
        self.0.ticket.is_over()
    }

    /// Waits until it is answered, or was taken back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn until_closed(&self) {
        self.0.ticket.until_closed().await;
    }

    async fn answer(&self, verdict: Verdict) -> Result<(), TopicError> {
        self.begin(verdict).await?.written().await
    }

    /// Answers, and returns what resolves when that is written.
    pub(crate) async fn begin(&self, verdict: Verdict) -> Result<Confirmation, TopicError> {
        self.0.handle.answer(self.0.id, verdict).await
    }
}

pub(crate) fn nack(delay: Option<Duration>) -> Verdict {
    fail(delay, "it was given back")
}

pub(crate) fn fail(delay: Option<Duration>, reason: &str) -> Verdict {
    let delay = delay.map(|delay| millis(delay).min(MAX_DELAY));
    let reason = reason.into();
    Verdict::Return(Return::Failed { delay, reason })
}

pub(crate) fn reject(reason: &str) -> Verdict {
    let reason = reason.into();
    Verdict::Return(Return::Rejected { reason })
}

impl Token {
    /// The delivery, if the token is one of this group.
    pub(crate) fn of(&self, group: &GroupName) -> Result<DeliveryId, TopicError> {
        if self.group == tag(group) {
            Ok(self.id)
        } else {
            Err(TopicError::Stale)
        }
    }
}

/// By which a token of another group is found out.
fn tag(group: &GroupName) -> u32 {
    crc32c::crc32c(group.as_str().as_bytes())
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeliveryId {
            slot,
            record: RecordId { input, offset },
            generation,
        } = self.id;
        write!(f, "{:08x}.{slot}.{input}.{offset}.{generation}", self.group)
    }
}

/// A text that is no token is one of no delivery: [`TopicError::Stale`].
impl FromStr for Token {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let parse = || {
            let mut parts = text.split('.');
            let group = u32::from_str_radix(parts.next()?, 16).ok()?;
            let slot = parts.next()?.parse().ok()?;
            let input = parts.next()?.parse().ok()?;
            let offset = parts.next()?.parse().ok()?;
            let generation = parts.next()?.parse().ok()?;
            let record = RecordId { input, offset };
            let id = DeliveryId {
                slot,
                record,
                generation,
            };
            let token = Self { group, id };
            (token.to_string() == text).then_some(token)
        };
        parse().ok_or(TopicError::Stale)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", self.topic())
            .field("offset", &self.0.id.record.offset)
            .field("generation", &self.0.id.generation)
            .field("deliveries", &self.0.attempts)
            .finish_non_exhaustive()
    }
}
