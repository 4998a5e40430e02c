//! Events that wait, and are then published many at once.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use serde::Serialize;

use super::entry;
use crate::publish::publish_records;
use crate::random::random;
use crate::registry::Engine;
use crate::{Entry, NewRecord, Published, Topic, TopicError, TopicName};

/// The most records of one stream that are published with one call.
const AT_ONCE: usize = 1000;

/// The most bytes of their contents, if there are several.
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// Events that are published together, which costs much less than one after the other.
///
/// Each of them gets an id for deduplication, unless it has one: if the outcome of a flush is not
/// known, the next one does not publish twice what was stored. That holds for the
/// [time](crate::Settings::dedup_window) that the stream remembers ids, 5 minutes by default.
///
/// ```
/// # use updraft_topics::{EventBroker, TopicError};
/// # async fn publish(broker: EventBroker) -> Result<(), TopicError> {
/// let mut flusher = broker.new_flusher();
/// flusher.publish("stream-a", "hello", &[])?;
/// flusher.publish("stream-b", "there", &[("version", "1")])?;
/// for outcome in flusher.flush().await {
///     println!("stored as {}", outcome?.position);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct EventFlusher {
    engine: Engine,
    /// Filled by `publish_entry`, drained by `flush`; bounded by what the settings of each stream
    /// allow to wait.
    waiting: Vec<Waiting>,
    /// What waits for each stream.
    sizes: HashMap<TopicName, Size>,
}

#[derive(Debug)]
struct Waiting {
    topic: Topic,
    record: NewRecord,
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    records: usize,
    bytes: usize,
}

impl EventFlusher {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            waiting: Vec::new(),
            sizes: HashMap::new(),
        }
    }

    /// Adds an event, see [`EventBroker::publish`](super::EventBroker::publish). Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`], [`TopicError::TooLarge`], [`TopicError::NotEncoded`],
    /// [`TopicError::WrongCodec`], and [`TopicError::Busy`] if as much waits for the stream as its
    /// [settings](crate::Settings::queued_records) allow. The event is not added then.
    pub fn publish(
        &mut self,
        stream: &str,
        body: impl Serialize,
        meta: &[(&str, &str)],
    ) -> Result<(), TopicError> {
        self.publish_entry(stream, entry(body, meta))
    }

    /// The same for what has a key or an id as well.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_entry(
        &mut self,
        stream: &str,
        entry: impl Into<Entry>,
    ) -> Result<(), TopicError> {
        let topic = self.engine.topic(stream)?;
        let settings = topic.settings();
        let mut record = entry.into().into_record(0, settings)?;
        let bytes = record.content.size();
        let waits = self.sizes.get(topic.name()).copied().unwrap_or_default();
        let size = waits.with(bytes);
        let has_room = size.records <= settings.queued_records.max(1)
            && (size.bytes <= settings.queued_bytes || waits.records == 0);
        if !has_room {
            return Err(TopicError::Busy);
        }
        if record.dedup.is_none() && topic.core().log.features().dedup {
            record.dedup = Some(format!("{:016x}{:016x}", random(), random()).into());
        }
        let topic = topic.clone();
        self.sizes.insert(topic.name().clone(), size);
        self.waiting.push(Waiting { topic, record });
        Ok(())
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops the events that wait.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.sizes.clear();
    }

    /// Publishes what waits: all streams at the same time, and the events of each in the order in
    /// which they were added, behind an error none of them. There is one result for each event, in
    /// that order. What was stored no longer waits; what was not is there for the next flush.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, all events still wait. Those that were stored are not stored again.
    pub async fn flush(&mut self) -> Vec<Result<Published, TopicError>> {
        let mut streams: Vec<(&Topic, Vec<(usize, &NewRecord)>)> = Vec::new();
        let mut known: HashMap<&TopicName, usize> = HashMap::new();
        for (index, Waiting { topic, record }) in self.waiting.iter().enumerate() {
            let stream = *known.entry(topic.name()).or_insert(streams.len());
            match streams.get_mut(stream) {
                Some((_, records)) => records.push((index, record)),
                None => streams.push((topic, vec![(index, record)])),
            }
        }
        let streams = streams
            .into_iter()
            .map(|(topic, records)| flush_stream(topic, records));
        let results = join_all(streams).await;
        let mut results: Vec<_> = results.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        self.keep_failed(&results);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn keep_failed(&mut self, results: &[(usize, Result<Published, TopicError>)]) {
        let mut results = results.iter();
        self.waiting
            .retain(|_| results.next().is_none_or(|(_, result)| result.is_err()));
        self.sizes.clear();
        for Waiting { topic, record } in &self.waiting {
            let size = self.sizes.entry(topic.name().clone()).or_default();
            *size = size.with(record.content.size());
        }
    }
}

impl Size {
    /// With one record more.
    fn with(self, bytes: usize) -> Self {
        Self {
            records: self.records.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes),
        }
    }
}

/// Publishes the records of a stream, in their order, until one call fails.
async fn flush_stream(
    topic: &Topic,
    mut records: Vec<(usize, &NewRecord)>,
) -> Vec<(usize, Result<Published, TopicError>)> {
    let mut results = Vec::with_capacity(records.len());
    while !records.is_empty() {
        let rest = records.split_off(count_at_once(&records));
        let batch = records.iter().map(|(_, record)| NewRecord::clone(record));
        let outcome = publish_records(topic.core(), batch.collect(), None).await;
        match outcome {
            Ok(published) => {
                let mut published = published.into_iter();
                results.extend(records.iter().map(|(index, _)| {
                    // A store answers for each record.
                    let result = published.next().ok_or(TopicError::Unavailable(None));
                    (*index, result)
                }));
                records = rest;
            }
            Err(error) => {
                let failed = records.iter().chain(&rest);
                results.extend(failed.map(|(index, _)| (*index, Err(error.clone()))));
                break;
            }
        }
    }
    results
}

/// How many of them one call takes: at least one.
fn count_at_once(records: &[(usize, &NewRecord)]) -> usize {
    let mut size = Size::default();
    let fits = records.iter().take_while(|(_, record)| {
        let is_first = size.records == 0;
        size = size.with(record.content.size());
        is_first || (size.records <= AT_ONCE && size.bytes <= BYTES_AT_ONCE)
    });
    fits.count().max(1)
}

/// Runs futures at the same time. There are few: one for each stream.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(done) => *output = Some(done),
                    Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
