//! The database, which is opened again when it has failed.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Builder, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::change::{Failure, Tables};
use super::disk::{Disk, DiskState, io_error, name, storage_error};
use super::tables::{COMMIT_ROW, FORMAT, FORMAT_ROW, STORE};
use crate::TopicError;
use crate::error::because;

/// A file with tables. Any number of threads reads it, one writes.
pub(super) struct Database {
    path: PathBuf,
    /// Bytes of pages that are kept in memory.
    cache: usize,
    disk: Arc<DiskState>,
    /// Taken out when it has failed or is closed. Readers hold the lock while they read.
    open: RwLock<Option<redb::Database>>,
}

/// Whether all pages are read and compared with their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Always,
    /// After a crash only.
    AfterCrash,
}

/// A transaction that failed.
pub(super) struct Aborted {
    pub(super) stage: Stage,
    pub(super) error: redb::Error,
}

/// How far a transaction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was not to be stored yet.
    Preparing,
    /// It was being written, and is not stored unless the database finds it.
    Writing,
    /// It may be stored.
    Syncing,
}

impl Database {
    /// Opens a file, or makes it, and checks all of it.
    pub(super) fn open(
        path: PathBuf,
        cache: usize,
        disk: Arc<DiskState>,
    ) -> Result<Self, TopicError> {
        let database = Self {
            path,
            cache,
            disk,
            open: RwLock::default(),
        };
        database.fill(Check::Always)?;
        Ok(database)
    }

    /// Opens the file again. What was committed is there.
    pub(super) fn reopen(&self) -> Result<(), TopicError> {
        self.close();
        if self.disk.sync_failed() {
            return Err(TopicError::SyncFailed);
        }
        self.fill(Check::AfterCrash)
    }

    /// Waits for those who read, and gives the file back.
    pub(super) fn close(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let open = open.take();
        // A database that has panicked may do so again.
        drop(catch_unwind(AssertUnwindSafe(|| drop(open))));
    }

    pub(super) fn is_open(&self) -> bool {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.is_some()
    }

    /// Reads one state of the tables.
    pub(super) fn view<T>(
        &self,
        view: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(closed)?;
        no_panic(|| view(&open.begin_read()?)).unwrap_or_else(|error| Err(error.into()))
    }

    /// Changes the tables, durably. The result is the number of the transaction.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<u64, redb::Error>,
    ) -> Result<u64, Aborted> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let known = |error| Aborted {
            stage: Stage::Preparing,
            error,
        };
        let open = open.as_ref().ok_or_else(|| known(closed()))?;
        let prepared = no_panic(|| {
            // It is synced when the commit returns, as is redb's default.
            let transaction = open.begin_write()?;
            let number = change(&mut Tables::open(&transaction)?)?;
            Ok::<_, redb::Error>((transaction, number))
        });
        let (transaction, number) = prepared.and_then(|it| it).map_err(known)?;
        self.disk.begin_commit();
        let committed = no_panic(|| WriteTransaction::commit(transaction));
        match committed.and_then(|it| it.map_err(Into::into)) {
            Ok(()) => Ok(number),
            Err(error) if self.disk.may_be_stored() => Err(Aborted {
                stage: Stage::Syncing,
                error,
            }),
            Err(error) => Err(Aborted {
                stage: Stage::Writing,
                error,
            }),
        }
    }

    /// The number of the last transaction.
    pub(super) fn commits(&self) -> Result<u64, Failure> {
        self.view(|view| {
            let number = view.open_table(STORE)?.get(COMMIT_ROW)?;
            Ok(number.map_or(0, |number| number.value()))
        })
    }

    /// What an error means to a caller of whose records none was stored.
    pub(super) fn failed(&self, error: redb::Error) -> TopicError {
        storage_error(&self.path, error)
    }

    fn fill(&self, check: Check) -> Result<(), TopicError> {
        let opened = no_panic(|| self.build(check)).map_err(|error| self.failed(error))??;
        let open = self.open.write();
        *open.unwrap_or_else(PoisonError::into_inner) = Some(opened);
        let format = self.format().map_err(|error| {
            self.close();
            self.failed(error)
        })?;
        if format != FORMAT {
            self.close();
            return Err(TopicError::NotOpened {
                store: name(&self.path),
                cause: because("it was written by a later version of this library"),
                advice: "use that version",
            });
        }
        Ok(())
    }

    fn build(&self, check: Check) -> Result<redb::Database, TopicError> {
        let is_new = !self.path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|error| io_error(&self.path, error))?;
        let file = FileBackend::new(file).map_err(|error| self.failed(error.into()))?;
        let opened = Builder::new()
            .set_cache_size(self.cache)
            .set_check_integrity_on_open(check == Check::Always)
            .create_with_backend(Disk::new(file, Arc::clone(&self.disk)))
            .map_err(|error| self.failed(error.into()))?;
        if is_new {
            sync_folder(&self.path).map_err(|error| io_error(&self.path, error))?;
        }
        Ok(opened)
    }

    /// The form of the tables, which are made in a new file.
    fn format(&self) -> Result<u64, redb::Error> {
        let found = self.view(|view| {
            let format = view.open_table(STORE)?.get(FORMAT_ROW)?;
            Ok(format.map(|format| format.value()))
        });
        match found {
            Ok(Some(format)) => return Ok(format),
            Ok(None) | Err(Failure::Storage(redb::Error::TableDoesNotExist(_))) => {}
            Err(Failure::Storage(error)) => return Err(error),
            Err(Failure::Refused(_)) => return Err(closed()),
        }
        let begun = self.change(|tables| tables.begin());
        begun.map_err(|aborted| aborted.error)
    }
}

/// Syncs the folder of a file, without which a new file may have lost its name after a power loss.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Makes an error of a panic: the database panics where its pages are not what it wrote.
fn no_panic<T>(call: impl FnOnce() -> T) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| redb::Error::Corrupted("the database panicked".to_owned()))
}

const fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}
