//! Records and pages that are damaged, a disk that is full, and reads, writes and syncs that fail.

use super::*;

#[tokio::test]
async fn topic_087_a_damaged_record_is_an_error_and_all_others_can_be_read() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (orders, bounds) = topic(&store, "orders").await;
    let (other, _) = topic(&store, "other").await;
    append(&store, &orders, &["1", "2", "3", "4"])
        .await
        .unwrap();
    append(&store, &other, &["1"]).await.unwrap();
    store.close().await;
    change_record(&path, 3);

    let (store, _) = open(&path).await;
    assert_eq!(offsets(&read(&store, &orders, 0).await.unwrap()), [1, 2]);
    let error = read(&store, &orders, 2).await.unwrap_err();
    assert!(matches!(error, TopicError::Damaged { offset: 3 }));
    assert_eq!(error.code(), "damaged-record");
    let place = Place::new(bounds.epoch, 3, 7);
    let found = store.read(&orders, place, Limit::default()).await.unwrap();
    let Read::Page(page) = found else {
        panic!("{found:?}");
    };
    assert_eq!(offsets(&page.records), [4]);
    assert_eq!(offsets(&read(&store, &other, 0).await.unwrap()), [1]);
    assert_eq!(append(&store, &orders, &["5"]).await.unwrap(), 5);
}

/// Changes a bit of the record with this offset, past the checksums of the database.
fn change_record(path: &Path, offset: u64) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut records = transaction.open_table(RECORDS).unwrap();
        let key = (1, offset);
        let mut row = records.get(key).unwrap().unwrap().value().to_vec();
        *row.last_mut().unwrap() ^= 1;
        records.insert(key, row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

/// One bit of each page after the other. What opens holds what was written, or a part of it that is
/// told.
#[tokio::test]
async fn topic_087_damaged_pages_are_an_error_when_the_store_is_opened() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (orders, _) = topic(&store, "orders").await;
    let payload = "x".repeat(2000);
    for _ in 0..40 {
        append(&store, &orders, &[&payload]).await.unwrap();
    }
    store.close().await;
    let intact = fs::read(&path).unwrap();
    let mut refused = 0;
    for page in 0..intact.len() / 4096 {
        for byte in [1, 70, 1000] {
            let mut damaged = intact.clone();
            damaged[page * 4096 + byte] ^= 4;
            let path = folder.file("damaged");
            fs::write(&path, &damaged).unwrap();
            match FileOptions::new().open(&path).await {
                Err(error) => {
                    assert_eq!(error.code(), "damaged-store", "page {page}: {error:?}");
                    refused += 1;
                }
                Ok(store) => {
                    let bounds = store.open(&orders, Create::Never).await.unwrap();
                    assert!(bounds.last >= 39, "page {page}: {bounds:?}");
                    let mut next = 0;
                    while next < bounds.last {
                        let records = read(&store, &orders, next).await.unwrap();
                        assert!(!records.is_empty());
                        for record in records {
                            next += 1;
                            assert_eq!(record.offset, next);
                            assert_eq!(record.content, Content::new(payload.clone()));
                        }
                    }
                    store.close().await;
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
    for text in ["not a database".repeat(1000), "x".to_owned()] {
        let path = folder.file("text");
        fs::write(&path, text).unwrap();
        let error = FileStore::open(&path).await.unwrap_err();
        assert_eq!(error.code(), "damaged-store");
    }
    let half = folder.file("half");
    fs::write(&half, &intact[..intact.len() / 2]).unwrap();
    let error = FileStore::open(&half).await.unwrap_err();
    assert_eq!(error.code(), "damaged-store");
}

/// The disk is full after more and more bytes, so that each write of a transaction is the first
/// that fails.
#[tokio::test]
async fn topic_088_a_full_disk_is_an_error_until_there_is_room() {
    let folder = Folder::new("topics");
    let (store, disk) = open(&folder.file("store")).await;
    let (orders, _) = topic(&store, "orders").await;
    append(&store, &orders, &["1"]).await.unwrap();
    let mut last = 1;
    let payload = "x".repeat(20_000);
    for room in (0..30).map(|step| step * 2_000) {
        disk.faults.fill(room);
        for _ in 0..3 {
            match append(&store, &orders, &[&payload]).await {
                Ok(offset) => {
                    assert_eq!(offset, last + 1);
                    last = offset;
                }
                Err(error) => assert_eq!(error.code(), "store-full", "{room}: {error:?}"),
            }
        }
        disk.faults.make_room();
        assert_eq!(read(&store, &orders, last - 1).await.unwrap().len(), 1);
        let offset = append(&store, &orders, &["y"]).await.unwrap();
        assert_eq!(offset, last + 1);
        last = offset;
    }
    store.close().await;
    let (store, _) = open(&folder.file("store")).await;
    let (_, bounds) = topic(&store, "orders").await;
    assert_eq!(bounds.last, last);
}

/// An operator has nothing but the text.
#[tokio::test]
async fn a_store_that_cannot_be_opened_says_which_and_what_to_do() {
    let folder = Folder::new("topics");
    let later = folder.file("later");
    FileStore::open(&later).await.unwrap().close().await;
    let database = redb::Database::open(&later).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut store = transaction.open_table(STORE).unwrap();
        store.insert(FORMAT_ROW, FORMAT + 1).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    fs::create_dir(folder.file("folder")).unwrap();
    for (path, advice) in [
        (folder.file("missing/store"), "make its folder"),
        (folder.file("folder"), "name a file in that folder"),
        (later, "use that version"),
    ] {
        let error = FileStore::open(&path).await.unwrap_err();
        assert_eq!(error.code(), "not-opened");
        let text = error.to_string();
        let begin = format!("the store {} cannot be opened: ", path.display());
        assert!(text.starts_with(&begin) && text.ends_with(advice), "{text}");
    }
    let path = folder.file("text");
    fs::write(&path, "not a database").unwrap();
    let text = FileStore::open(&path).await.unwrap_err().to_string();
    let begin = format!("the store {} is damaged: ", path.display());
    assert!(text.starts_with(&begin), "{text}");
}

#[tokio::test]
async fn topic_013_a_store_goes_on_after_failed_reads_and_writes() {
    let folder = Folder::new("topics");
    let (store, disk) = open(&folder.file("store")).await;
    let (orders, _) = topic(&store, "orders").await;
    let payload = "x".repeat(100_000);
    for _ in 0..30 {
        append(&store, &orders, &[&payload]).await.unwrap();
    }
    disk.faults.reads.store(true, Ordering::SeqCst);
    let mut codes = Vec::new();
    for after in 0..30 {
        codes.extend(read(&store, &orders, after).await.err().map(|e| e.code()));
    }
    assert!(codes.iter().all(|code| *code == "backend-unavailable"));
    assert!(!codes.is_empty());
    disk.faults.reads.store(false, Ordering::SeqCst);
    assert_eq!(offsets(&read(&store, &orders, 29).await.unwrap()), [30]);

    disk.faults.writes.store(true, Ordering::SeqCst);
    let error = append(&store, &orders, &["x"]).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    disk.faults.writes.store(false, Ordering::SeqCst);
    assert_eq!(append(&store, &orders, &["x"]).await.unwrap(), 31);
}

#[tokio::test]
async fn topic_086_nothing_is_acknowledged_after_a_failed_sync() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, disk) = open(&path).await;
    let (orders, _) = topic(&store, "orders").await;
    append(&store, &orders, &["1"]).await.unwrap();
    disk.faults.syncs.store(true, Ordering::SeqCst);
    let error = append(&store, &orders, &["2"]).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    disk.faults.syncs.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let error = append(&store, &orders, &["3"]).await.unwrap_err();
        assert_eq!(error.code(), "backend-unavailable");
        assert!(
            error.to_string().contains("start this process again"),
            "{error}"
        );
        let error = read(&store, &orders, 0).await.unwrap_err();
        assert!(matches!(error, TopicError::SyncFailed));
    }
    store.close().await;
    let (store, _) = open(&path).await;
    let held = read(&store, &orders, 0).await.unwrap();
    assert!(matches!(offsets(&held)[..], [1] | [1, 2]));
}
