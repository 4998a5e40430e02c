//! Documents that are only inserted: what nothing can be faster than.

use std::time::Instant;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::{Acknowledgment, CollectionOptions, WriteConcern};
use mongodb::{Collection, Database};

use crate::{BATCH, Failure, Run, database, payload, together};

pub(crate) async fn many(url: &str, records: usize) -> Result<Run, Failure> {
    let collection = collection(&database(url).await?);
    let began = Instant::now();
    for first in (0..records).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(records);
        collection.insert_many(numbers.map(document)).await?;
    }
    let taken = began.elapsed();
    Ok(Run { taken, lost: None })
}

pub(crate) async fn one_by_one(url: &str, records: usize) -> Result<Run, Failure> {
    let collections = [database(url).await?, database(url).await?].map(|it| collection(&it));
    let taken = together(records, |caller, numbers| {
        let collection = collections[caller % 2].clone();
        async move {
            for n in numbers {
                collection.insert_one(document(n)).await?;
            }
            Ok(())
        }
    });
    let taken = taken.await?;
    Ok(Run { taken, lost: None })
}

/// With the concern of the store.
pub(crate) fn collection(database: &Database) -> Collection<Document> {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority);
    let concern = majority.journal(true).build();
    let options = CollectionOptions::builder().write_concern(concern).build();
    database.collection_with_options("records", options)
}

pub(crate) fn document(n: usize) -> Document {
    let payload = Binary {
        subtype: BinarySubtype::Generic,
        bytes: payload(n),
    };
    doc! { "payload": payload }
}
