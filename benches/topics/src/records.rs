//! What is published: records of 200 bytes, each with memory of its own.

use bytes::Bytes;
use updraft_topics::{Codec, Content, Entry, NewRecord, Settings};

/// Bytes of a payload.
pub(crate) const SIZE: usize = 200;

/// So many payloads, no two of them the same.
pub(crate) fn payloads(count: usize) -> Vec<Bytes> {
    let payload = |number| format!("{number:0SIZE$}").into_bytes().into();
    (0..count).map(payload).collect()
}

/// Payloads as entries of a topic with [`settings`].
pub(crate) fn entries(payloads: &[Bytes]) -> impl Iterator<Item = Entry> {
    payloads.iter().map(|payload| Entry::bytes(payload.clone()))
}

/// Topics of bytes: how long EJSON takes says nothing of the log.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.codec = Codec::Bytes(CONTENT_TYPE.into());
    settings
}

/// The same payload as a store gets it from a topic.
pub(crate) fn content(payload: &Bytes) -> Content {
    let mut content = Content::new(payload.clone());
    content.content_type = Some(CONTENT_TYPE.into());
    content
}

/// The same payloads for a store.
pub(crate) fn new_records(payloads: &[Bytes]) -> Vec<NewRecord> {
    let marks = 1..;
    let records = payloads.iter().zip(marks);
    records
        .map(|(payload, mark)| NewRecord::new(mark, content(payload)))
        .collect()
}

const CONTENT_TYPE: &str = "text/plain";
