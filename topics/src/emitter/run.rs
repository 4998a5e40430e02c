//! Reads the topic and fires its events: the one reader of an emitter, through all reconnections.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{Counts, Event, Shared};
use crate::{Message, Position, Reader, Received, TopicError};

/// Records that are taken from the reader at once.
const AT_ONCE: usize = 256;

/// The pauses between attempts to read: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Up to where events have fired.
pub(super) type Fired = watch::Sender<Option<Position>>;

impl Shared {
    /// Until the emitter is to end, or the topic is closed or deleted and all of it has fired.
    pub(super) async fn run(&self, mut reader: Reader, fired: Fired) {
        let mut pause = FIRST_PAUSE;
        loop {
            let next = self.ended.run_until_cancelled(self.next(&mut reader));
            let Some(Some(next)) = next.await else {
                return;
            };
            match next {
                Ok(batch) => {
                    self.connection.connected();
                    pause = FIRST_PAUSE;
                    for received in batch {
                        if self.ended.is_cancelled() {
                            return;
                        }
                        self.fire_received(received, &fired).await;
                    }
                }
                Err(error) if may_pass(&error) => {
                    tracing::debug!(topic = %self.topic.name(), %error, "The topic is not read.");
                    self.connection.disconnected(error);
                    let waiting = sleep(pause.mul_f64(0.8 + fastrand::f64() * 0.4));
                    self.ended.run_until_cancelled(waiting).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                // The reader goes on behind it, or has ended.
                Err(error) => self.connection.error(error),
            }
            if let Some(position) = reader.position() {
                fired.send_replace(Some(position));
            }
        }
    }

    /// The next records; none of them says that the topic was read. `None` when the reader has
    /// ended.
    async fn next(&self, reader: &mut Reader) -> Option<Result<Vec<Received>, TopicError>> {
        if self.connection.is_connected() {
            return reader.next_batch(AT_ONCE).await;
        }
        // Does not wait for records, to see at once when the topic can be read again.
        let next = reader.next_held().await;
        Some(next.map_or(Ok(Vec::new()), |next| next.map(|received| vec![received])))
    }

    async fn fire_received(&self, received: Received, fired: &Fired) {
        match received {
            Received::Message(message) => {
                let position = message.position();
                self.fire_record(message).await;
                fired.send_replace(Some(position));
            }
            Received::Gap(gap) => self.connection.error(TopicError::Gap(gap)),
            Received::Reset(reset) => self.connection.error(TopicError::Reset(reset)),
        }
    }

    async fn fire_record(&self, message: Message) {
        match Event::decode(message) {
            Ok((_, from)) if !self.own_events && from.as_deref() == Some(&*self.id) => {}
            Ok((event, _)) => self.fire(&event).await,
            Err(error) => {
                Counts::add(&self.counts.skipped, 1);
                tracing::debug!(topic = %self.topic.name(), %error, "a record is no event");
            }
        }
    }
}

/// Whether the reader can be asked again.
fn may_pass(error: &TopicError) -> bool {
    !matches!(
        error,
        TopicError::Damaged { .. }
            | TopicError::UnknownTopic
            | TopicError::BadPosition(_)
            | TopicError::ShuttingDown
    )
}
