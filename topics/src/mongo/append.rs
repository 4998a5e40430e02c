//! Appending: records are inserted under the numbers behind the last one. Whoever is too late finds
//! that a number is taken, and looks again. So a record is never inserted in front of one that can
//! be seen already.

use std::collections::{HashMap, HashSet};

use mongodb::bson::{Document, doc};
use mongodb::error::{
    Result as MongoResult, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Collection};

use super::document::{Stored, Tail, record, signed};
use super::error::{failed, stored_before_duplicate};
use super::turn::Turn;
use super::{MongoStore, Pause, durable};
use crate::clock::millis;
use crate::{Append, Appended, AppendedBatch, Create, Epoch, NewRecord, TopicError, TopicName};

/// How often a commit is asked for whose outcome is not known.
const COMMITS: usize = 3;

/// What an append needs to know of a topic.
struct View {
    epoch: Epoch,
    records: Collection<Document>,
    tail: Tail,
    /// What is stored under the ids of the batch.
    known: HashMap<String, Stored>,
}

/// A batch of which a part may have been answered.
struct Batch<'a> {
    append: &'a Append,
    answers: Vec<Option<Appended>>,
    /// The epoch in which a part was stored.
    stored_in: Option<Epoch>,
}

impl MongoStore {
    pub(super) async fn append_batch(
        &self,
        topic: &TopicName,
        append: &Append,
    ) -> Result<AppendedBatch, TopicError> {
        let mut turn = self.0.turns.take(topic).await;
        let mut batch = Batch::new(append);
        let mut pause = Pause::new();
        let mut seen = None;
        loop {
            let ids = batch.ids();
            let view = match seen.take() {
                None => self.view(topic, &mut turn, &ids).await?,
                Some(view) => self.look_again(view, &ids).await?,
            };
            let Some(mut view) = view else {
                continue;
            };
            let time = self.now().await?.max(view.tail.time);
            self.forget_old(&mut view, append, time).await?;
            batch.note_duplicates(&view);
            let left = batch.left();
            if left.is_empty() {
                return batch.finish(view.epoch);
            }
            batch.check(&view)?;
            let offsets = view.tail.last.saturating_add(1)..;
            let new = left.iter().zip(offsets).map(|((n, record), offset)| {
                let appended = Appended::new(offset, record.mark, time, false);
                (*n, appended)
            });
            let new: Vec<_> = new.collect();
            let documents = left.iter().zip(&new);
            let documents: Vec<_> = documents
                .map(|((_, it), (_, appended))| record(it, appended.offset, time))
                .collect();
            let stored = self.insert_documents(&view.records, &documents).await?;
            batch.note_stored(&view, new.into_iter().take(stored));
            if batch.open().next().is_none() {
                return batch.finish(view.epoch);
            }
            if stored == 0 {
                pause.wait().await;
            }
            seen = Some(view);
        }
    }

    /// `None` if the topic is another one than it was.
    async fn view(
        &self,
        topic: &TopicName,
        turn: &mut Turn,
        ids: &[&str],
    ) -> Result<Option<View>, TopicError> {
        let Some(epoch) = **turn else {
            let state = self.state(topic, Create::Never).await?;
            **turn = Some(state.epoch);
            return Ok(None);
        };
        let records = self.records(topic, epoch);
        let (state, tail, known) = tokio::try_join!(
            self.state(topic, Create::Never),
            self.tail(&records),
            self.known(&records, ids)
        )?;
        if state.epoch != epoch {
            **turn = Some(state.epoch);
            return Ok(None);
        }
        let Some(tail) = tail else {
            self.lose(topic, &state).await?;
            return Ok(None);
        };
        Ok(Some(View {
            epoch,
            records,
            tail,
            known,
        }))
    }

    /// What is there now that others have inserted. The topic is the one that it was when this append
    /// began: one that is deleted meanwhile is deleted after it.
    async fn look_again(&self, view: View, ids: &[&str]) -> Result<Option<View>, TopicError> {
        let View { epoch, records, .. } = view;
        let (tail, known) = tokio::try_join!(self.tail(&records), self.known(&records, ids))?;
        Ok(tail.map(|tail| View {
            epoch,
            records,
            tail,
            known,
        }))
    }

    /// The records that are stored under these ids.
    async fn known(
        &self,
        records: &Collection<Document>,
        ids: &[&str],
    ) -> Result<HashMap<String, Stored>, TopicError> {
        let mut known = HashMap::new();
        if ids.is_empty() {
            return Ok(known);
        }
        let find = records.find(doc! { "d": { "$in": ids } });
        let mut found = find.projection(doc! { "c": 0 }).await.map_err(failed)?;
        while found.advance().await.map_err(failed)? {
            let document = found.deserialize_current().map_err(failed)?;
            if let Ok(id) = document.get_str("d") {
                known.insert(id.to_owned(), Stored::parse(&document)?);
            }
        }
        Ok(known)
    }

    /// Takes their ids from records whose ids do not count any more.
    async fn forget_old(
        &self,
        view: &mut View,
        append: &Append,
        time: u64,
    ) -> Result<(), TopicError> {
        let window = millis(append.dedup_window);
        let is_old = |_: &String, it: &mut Stored| it.time.saturating_add(window) <= time;
        let old: Vec<(String, Stored)> = view.known.extract_if(is_old).collect();
        for (id, stored) in old {
            let is_it = doc! { "_id": signed(stored.offset), "d": id };
            let forget = view
                .records
                .update_one(is_it, doc! { "$unset": { "d": "" } });
            forget.await.map_err(failed)?;
        }
        Ok(())
    }

    /// Inserts documents until one has a number or an id that is taken. Answers how many it has
    /// inserted; with transactions all, or none.
    pub(super) async fn insert_documents(
        &self,
        records: &Collection<Document>,
        documents: &[Document],
    ) -> Result<usize, TopicError> {
        let inserted = if self.0.has_transactions && documents.len() > 1 {
            self.insert_all(records, documents).await
        } else {
            let inserted = records.insert_many(documents).await;
            inserted
                .map(|_| documents.len())
                .or_else(|error| stored_before_duplicate(&error).ok_or(error))
        };
        inserted.map_err(failed)
    }

    /// All or none, in a transaction.
    async fn insert_all(
        &self,
        records: &Collection<Document>,
        documents: &[Document],
    ) -> MongoResult<usize> {
        let mut session = self.0.client.start_session().await?;
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable())
            .await?;
        let inserted = records.insert_many(documents).session(&mut session).await;
        match inserted {
            Ok(_) => match commit(&mut session).await {
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => Ok(0),
                Err(error) => Err(error),
                Ok(()) => Ok(documents.len()),
            },
            Err(error) => {
                // MongoDB may have aborted it already; if not, it does so later.
                drop(session.abort_transaction().await);
                let is_taken = stored_before_duplicate(&error).is_some();
                let is_passing = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
                if is_taken || is_passing {
                    Ok(0)
                } else {
                    Err(error)
                }
            }
        }
    }
}

async fn commit(session: &mut ClientSession) -> MongoResult<()> {
    let mut outcome = session.commit_transaction().await;
    for _ in 1..COMMITS {
        match &outcome {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                outcome = session.commit_transaction().await;
            }
            _ => break,
        }
    }
    outcome
}

impl<'a> Batch<'a> {
    fn new(append: &'a Append) -> Self {
        Self {
            append,
            answers: vec![None; append.records.len()],
            stored_in: None,
        }
    }

    /// The records without an answer.
    fn open(&self) -> impl Iterator<Item = (usize, &'a NewRecord)> {
        let records = self.append.records.iter().enumerate();
        let answers = self.answers.iter();
        records
            .zip(answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(record, _)| record)
    }

    fn ids(&self) -> Vec<&'a str> {
        self.open()
            .filter_map(|(_, record)| record.dedup.as_deref())
            .collect()
    }

    fn note_duplicates(&mut self, view: &View) {
        let known = |record: &NewRecord| view.known.get(record.dedup.as_deref()?);
        let found = self.open();
        let found: Vec<_> = found
            .filter_map(|(n, record)| Some((n, known(record)?.duplicate())))
            .collect();
        self.note(found);
    }

    /// The records that are to be stored: without those whose id is also that of an earlier one,
    /// which are duplicates as soon as that is stored.
    fn left(&self) -> Vec<(usize, &'a NewRecord)> {
        let mut ids = HashSet::new();
        self.open()
            .filter(|(_, record)| record.dedup.as_ref().is_none_or(|id| ids.insert(id)))
            .collect()
    }

    /// Whether what is left may be stored.
    fn check(&self, view: &View) -> Result<(), TopicError> {
        let View { epoch, tail, .. } = view;
        if let Some(stored_in) = self.stored_in {
            // A part is stored, of which this call could not tell.
            return if tail.closed || stored_in != *epoch {
                Err(TopicError::Unavailable(None))
            } else {
                Ok(())
            };
        }
        if tail.closed {
            return Err(TopicError::Closed);
        }
        match self.append.expect {
            Some(expected) if expected != tail.last => {
                Err(TopicError::Conflict { last: tail.last })
            }
            _ => Ok(()),
        }
    }

    fn note_stored(&mut self, view: &View, stored: impl Iterator<Item = (usize, Appended)>) {
        let stored: Vec<_> = stored.collect();
        if !stored.is_empty() {
            self.stored_in = Some(view.epoch);
        }
        let mut by_id = HashMap::new();
        for (n, appended) in &stored {
            if let Some(id) = self.append.records.get(*n).and_then(|it| it.dedup.as_ref()) {
                by_id.insert(id, *appended);
            }
        }
        let first = |record: &NewRecord| by_id.get(record.dedup.as_ref()?).copied();
        self.note(stored);
        let again = self.open().filter_map(|(n, record)| {
            let duplicate = true;
            Some((
                n,
                Appended {
                    duplicate,
                    ..first(record)?
                },
            ))
        });
        let again: Vec<_> = again.collect();
        self.note(again);
    }

    fn note(&mut self, answers: Vec<(usize, Appended)>) {
        for (n, answer) in answers {
            if let Some(place) = self.answers.get_mut(n) {
                *place = Some(answer);
            }
        }
    }

    fn finish(self, epoch: Epoch) -> Result<AppendedBatch, TopicError> {
        let records: Option<Vec<_>> = self.answers.into_iter().collect();
        // An empty batch has no epoch of its own; one of two epochs cannot be told.
        match records {
            Some(records) if self.stored_in.is_none_or(|it| it == epoch) => {
                Ok(AppendedBatch::new(epoch, records))
            }
            _ => Err(TopicError::Unavailable(None)),
        }
    }
}
