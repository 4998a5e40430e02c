//! The usual way: a number is taken from a counter document, and the record is inserted under it.
//! Between the two, records with higher numbers can be seen, and a reader passes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bare::{collection, document};
use crate::{Failure, POLL, Run, database, together};

/// How many records a reader asks for at once.
const PAGE: i64 = 100;

pub(crate) async fn run(url: &str, records: usize) -> Result<Run, Failure> {
    let writers = [database(url).await?, database(url).await?].map(|it| Writer {
        records: collection(&it),
        counters: it.collection("nextids"),
    });
    let [first, _] = &writers;
    first
        .counters
        .insert_one(doc! { "_id": NAME, "next": 0_i64 })
        .await?;
    let is_written = Arc::new(AtomicBool::new(false));
    let mut reader = JoinSet::new();
    reader.spawn(read(
        collection(&database(url).await?),
        Arc::clone(&is_written),
    ));
    let taken = together(records, |caller, numbers| {
        let writer = writers[caller % 2].clone();
        async move {
            for n in numbers {
                writer.write(n).await?;
            }
            Ok(())
        }
    });
    let taken = taken.await?;
    is_written.store(true, Ordering::SeqCst);
    let seen = reader.join_next().await.ok_or("the reader is gone")???;
    let lost = Some(records.saturating_sub(seen));
    Ok(Run { taken, lost })
}

/// Where the numbers of the records come from.
const NAME: &str = "records";

#[derive(Clone)]
struct Writer {
    records: Collection<Document>,
    counters: Collection<Document>,
}

impl Writer {
    async fn write(&self, n: usize) -> Result<(), Failure> {
        loop {
            let next = self
                .counters
                .find_one_and_update(doc! { "_id": NAME }, doc! { "$inc": { "next": 1_i64 } })
                .return_document(ReturnDocument::After)
                .await?;
            let number = next.ok_or("there is no counter")?.get_i64("next")?;
            let mut record = document(n);
            record.insert("_id", number);
            match self.records.insert_one(record).await {
                Ok(_) => return Ok(()),
                // FerretDB may give a number twice.
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    let kind = &*error.kind;
    matches!(kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == 11000)
}

/// Reads what is behind the last number, until all is written and nothing more is behind it.
async fn read(
    records: Collection<Document>,
    is_written: Arc<AtomicBool>,
) -> Result<usize, Failure> {
    let mut last = 0_i64;
    let mut seen = 0;
    loop {
        let is_last = is_written.load(Ordering::SeqCst);
        let find = records.find(doc! { "_id": { "$gt": last } });
        let mut found = find.sort(doc! { "_id": 1 }).limit(PAGE).await?;
        let mut count = 0;
        while found.advance().await? {
            last = found.current().get_i64("_id")?;
            count += 1;
        }
        seen += count;
        match (count, is_last) {
            (0, true) => return Ok(seen),
            (0, false) => sleep(POLL).await,
            _ => {}
        }
    }
}
