//! The records in one client's queue that are not written yet: whose they are, and where that
//! subscription was before each of them.

use std::collections::VecDeque;

use updraft_protocol::session::Run;
use updraft_topics::Place;

/// The ledgers of all clients for which records wait.
#[derive(Debug, Default)]
pub(in crate::shard) struct Ledgers {
    /// By the indexes of the connections. Filled by `push`, drained by `tidy` and `forget`; as long
    /// as the highest index.
    ledgers: Vec<Option<Box<Ledger>>>,
}

/// The unwritten records of one client.
#[derive(Debug, Default)]
pub(in crate::shard) struct Ledger {
    /// In the order of the queue. Filled by `push`, drained by `written`; bounded by the windows of
    /// the client's subscriptions.
    entries: VecDeque<Entry>,
    /// Messages that were written since this ledger was begun.
    written: u64,
}

#[derive(Debug)]
struct Entry {
    /// The number of the message: it is written when so many are.
    number: u64,
    run: Run,
    bytes: u32,
    /// Where the subscription was before this record.
    before: Place,
}

impl Ledgers {
    /// A record was queued for a client as the last of so many messages.
    pub(in crate::shard) fn push(
        &mut self,
        connection: usize,
        queued: usize,
        run: Run,
        bytes: u32,
        before: Place,
    ) {
        if self.ledgers.len() <= connection {
            let len = connection.saturating_add(1);
            self.ledgers.resize_with(len, || None);
        }
        if let Some(ledger) = self.ledgers.get_mut(connection) {
            let ledger = ledger.get_or_insert_default();
            ledger.push(queued, run, bytes, before);
        }
    }

    /// Frees the ledger of a client for which no record waits: there are many such clients.
    pub(super) fn tidy(&mut self, connection: usize) {
        if let Some(ledger) = self.ledgers.get_mut(connection) {
            ledger.take_if(|ledger| ledger.entries.is_empty());
        }
    }

    /// The ledger of a client, if records wait for it.
    pub(in crate::shard) fn of(&mut self, connection: usize) -> Option<&mut Ledger> {
        self.ledgers.get_mut(connection)?.as_deref_mut()
    }

    /// A client, or its queue, is gone.
    pub(in crate::shard) fn forget(&mut self, connection: usize) {
        if let Some(ledger) = self.ledgers.get_mut(connection) {
            *ledger = None;
        }
    }
}

impl Ledger {
    /// A record was queued as the last of so many messages.
    fn push(&mut self, queued: usize, run: Run, bytes: u32, before: Place) {
        let number = self.written.saturating_add(queued as u64);
        self.entries.push_back(Entry {
            number,
            run,
            bytes,
            before,
        });
    }

    /// So many messages were written, from the front. Passes on how many records of a subscription
    /// were among them, and their bytes; more than once if those of others are in between.
    pub(in crate::shard) fn written(
        &mut self,
        count: usize,
        mut records: impl FnMut(Run, u32, u32),
    ) {
        self.written = self.written.saturating_add(count as u64);
        let mut sum: Option<(Run, u32, u32)> = None;
        while let Some(entry) = self.entries.front()
            && entry.number <= self.written
        {
            match &mut sum {
                Some((run, count, bytes)) if *run == entry.run => {
                    *count = count.saturating_add(1);
                    *bytes = bytes.saturating_add(entry.bytes);
                }
                _ => {
                    if let Some((run, count, bytes)) = sum.replace((entry.run, 1, entry.bytes)) {
                        records(run, count, bytes);
                    }
                }
            }
            self.entries.pop_front();
        }
        if let Some((run, count, bytes)) = sum {
            records(run, count, bytes);
        }
    }

    /// Where a subscription was before the first of its records that are not written.
    pub(in crate::shard) fn first_of(&self, run: Run) -> Option<Place> {
        let mut of_run = self.entries.iter().filter(|entry| entry.run == run);
        of_run.next().map(|entry| entry.before)
    }

    /// The queue is gone. Returns, for each message in it, the subscription whose record it was and
    /// where that was before, from the front; the other messages are passed over.
    pub(in crate::shard) fn take(&mut self) -> impl Iterator<Item = (usize, Run, Place)> {
        let written = self.written;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(move |entry| {
            let index = entry.number.saturating_sub(written).saturating_sub(1);
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            (index, entry.run, entry.before)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use updraft_protocol::session::{Action, Output, Session, SessionConfig};
    use updraft_topics::Epoch;

    /// The run of a call.
    fn run() -> Run {
        let mut config = SessionConfig::default();
        config.names.method("m", 0).unwrap();
        let mut session = Session::new("s", Arc::new(config), Duration::ZERO);
        let mut out = Output::default();
        for text in [
            r#"{"msg":"connect","version":"1","support":["1"]}"#,
            r#"{"msg":"method","method":"m","id":"1","params":[]}"#,
        ] {
            session.receive(text, Duration::ZERO, &mut out);
        }
        let runs = out.actions.iter().find_map(|action| match action {
            Action::Call { run, .. } => Some(*run),
            _ => None,
        });
        runs.unwrap()
    }

    #[test]
    fn topic_043_what_is_written_is_told_and_the_rest_is_known() {
        let (run, epoch) = (run(), Epoch::draw());
        let place = |offset| Place::new(epoch, offset, 7);
        let mut ledger = Ledger::default();
        let written = |ledger: &mut Ledger, count| {
            let mut bytes = Vec::new();
            ledger.written(count, |_, records, of| bytes.push((records, of)));
            bytes
        };
        // Another message, a record, another message, two records.
        ledger.push(2, run, 10, place(0));
        ledger.push(4, run, 20, place(1));
        ledger.push(5, run, 30, place(5));
        assert_eq!(written(&mut ledger, 1), []);
        assert_eq!(written(&mut ledger, 2), [(1, 10)]);
        let rest: Vec<_> = ledger.take().collect();
        assert_eq!(rest, [(0, run, place(1)), (1, run, place(5))]);
        assert_eq!(written(&mut ledger, 9), []);
        ledger.push(1, run, 40, place(6));
        ledger.push(2, run, 50, place(7));
        assert_eq!(written(&mut ledger, 2), [(2, 90)]);
    }
}
