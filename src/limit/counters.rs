//! Counters by key, each for a span of time that begins with the key's first request. Spans that
//! are over are removed, and there are never more counters than the owner allows.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number of requests within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRate {
    /// The number of requests.
    pub requests: u32,
    /// The span of time, which begins with the first request.
    pub within: Duration,
}

/// Counts requests by key.
pub(super) struct Counters<K> {
    rate: RequestRate,
    most: usize,
    spans: Mutex<Spans<K>>,
}

struct Spans<K> {
    /// Filled by `count` and `reserve`, drained by `make_room`, bounded by `most`.
    by_key: HashMap<K, Span>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Span {
    since: Instant,
    requests: u32,
}

impl<K: Eq + Hash> Counters<K> {
    /// Counts up to `most` keys at a time.
    pub(super) fn new(rate: RequestRate, most: usize) -> Self {
        Self {
            rate,
            most: most.max(1),
            spans: Mutex::new(Spans {
                by_key: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// Counts a request. If it exceeds the rate, returns how long the key's span still lasts.
    pub(super) fn count(&self, key: K, now: Instant) -> Option<Duration> {
        self.with_span(key, now, |span| {
            span.requests = span.requests.saturating_add(1);
            let left = self.left(span, now).unwrap_or(self.rate.within);
            (span.requests > self.rate.requests).then_some(left)
        })
    }

    /// Counts a request if the rate allows it, and returns the start of the span. Otherwise returns
    /// how long the span still lasts.
    pub(super) fn reserve(&self, key: K, now: Instant) -> Result<Instant, Duration> {
        self.with_span(key, now, |span| {
            if span.requests >= self.rate.requests {
                return Err(self.left(span, now).unwrap_or(self.rate.within));
            }
            span.requests = span.requests.saturating_add(1);
            Ok(span.since)
        })
    }

    /// Removes one reserved request from the span that began at `since`.
    pub(super) fn take_back(&self, key: &K, since: Instant) {
        let mut spans = self.lock();
        let span = spans.by_key.get_mut(key);
        if let Some(span) = span.filter(|span| span.since == since) {
            span.requests = span.requests.saturating_sub(1);
        }
    }

    /// Calls `act` with a key's span. A new span begins now if the last one is over.
    fn with_span<T>(&self, key: K, now: Instant, act: impl FnOnce(&mut Span) -> T) -> T {
        let mut spans = self.lock();
        self.make_room(&mut spans, &key, now);
        let new = || Span {
            since: now,
            requests: 0,
        };
        let span = spans.by_key.entry(key).or_insert_with(new);
        if self.left(span, now).is_none() {
            *span = new();
        }
        act(span)
    }

    /// Whether a key has reached the rate in its span.
    pub(super) fn is_used_up(&self, key: &K, now: Instant) -> bool {
        let spans = self.lock();
        let span = spans.by_key.get(key);
        span.is_some_and(|span| {
            span.requests >= self.rate.requests && self.left(span, now).is_some()
        })
    }

    /// The rest of a span; `None` once it is over.
    fn left(&self, span: &Span, now: Instant) -> Option<Duration> {
        // Shards read the clock at slightly different times.
        let age = now.saturating_duration_since(span.since);
        let left = self.rate.within.checked_sub(age);
        left.filter(|left| !left.is_zero())
    }

    /// Removes spans that are over, once per span of time, so that each counter is visited at most
    /// twice.
    fn make_room(&self, spans: &mut Spans<K>, key: &K, now: Instant) {
        let is_due = spans
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= self.rate.within);
        if is_due {
            spans.swept = Some(now);
            spans
                .by_key
                .retain(|_, span| self.left(span, now).is_some());
            let twice = spans.by_key.len().saturating_mul(2);
            spans.by_key.shrink_to(twice);
        }
        if spans.by_key.len() >= self.most && !spans.by_key.contains_key(key) {
            // All callers start again. That weakens the limit in proportion to the flood. Not
            // counting the rest would lift it, and refusing them would lock everybody out.
            tracing::warn!(
                counters = self.most,
                "A rate limit has more callers than counters; all counters start again."
            );
            spans.by_key.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spans<K>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the keys, because session ids are credentials.
impl<K> fmt::Debug for Counters<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("rate", &self.rate)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const FIVE: RequestRate = RequestRate {
        requests: 5,
        within: Duration::from_secs(10),
    };

    fn counted(counters: &Counters<u32>) -> usize {
        counters.lock().by_key.len()
    }

    #[test]
    fn row_062_the_sixth_within_ten_seconds_is_one_too_many() {
        let counters = Counters::new(FIVE, 100);
        let start = clock::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for n in 0..5 {
            assert_eq!(counters.count(1, at(1000 * n)), None);
        }
        assert!(counters.is_used_up(&1, at(4000)));
        assert_eq!(
            counters.count(1, at(4000)),
            Some(Duration::from_millis(6000))
        );
        assert_eq!(counters.count(1, at(9999)), Some(Duration::from_millis(1)));
        assert_eq!(counters.count(2, at(9999)), None, "another key");
        assert!(!counters.is_used_up(&1, at(10_000)));
        for _ in 0..5 {
            assert_eq!(counters.count(1, at(10_000)), None, "a new span");
        }
        assert_eq!(
            counters.count(1, at(10_001)),
            Some(Duration::from_millis(9999))
        );
        assert_eq!(counters.count(1, start), Some(FIVE.within), "a late clock");
    }

    #[test]
    fn found_103_what_is_taken_back_was_never_counted() {
        let counters = Counters::new(FIVE, 100);
        let start = clock::now();
        for _ in 0..100 {
            let since = counters.reserve(1, start).unwrap();
            counters.take_back(&1, since);
        }
        let reserved = [(); 5].map(|()| counters.reserve(1, start).unwrap());
        let later = start + Duration::from_secs(4);
        let left = Duration::from_secs(6);
        for _ in 0..3 {
            assert_eq!(counters.reserve(1, later), Err(left));
        }
        counters.take_back(&1, reserved[0]);
        assert_eq!(counters.reserve(1, later), Ok(start));
        assert_eq!(counters.reserve(1, later), Err(left));
        let next = start + FIVE.within;
        assert_eq!(counters.reserve(1, next), Ok(next), "a new span");
        counters.take_back(&1, start);
        counters.take_back(&2, start);
        let reserved = [(); 5].map(|()| counters.reserve(1, next).is_ok());
        assert_eq!(reserved, [true, true, true, true, false]);
    }

    #[test]
    fn row_062_counters_are_swept_and_bounded() {
        let counters = Counters::new(FIVE, 100);
        let start = clock::now();
        for key in 0..100 {
            assert_eq!(counters.count(key, start), None);
        }
        assert_eq!(counted(&counters), 100);
        assert_eq!(counters.count(1, start), None, "a known key needs no room");
        assert_eq!(counted(&counters), 100);
        assert_eq!(counters.count(100, start), None);
        assert_eq!(counted(&counters), 1);
        assert_eq!(counters.count(101, start + FIVE.within), None);
        assert_eq!(counted(&counters), 1, "what is over is gone");
    }
}
