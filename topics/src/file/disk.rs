//! The file under the database, and what its errors mean.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::TopicError;

/// A file that remembers whether it could once not be synced.
#[derive(Debug)]
pub(super) struct Disk {
    file: FileBackend,
    state: Arc<DiskState>,
}

/// What is known of the file, however often it is opened again.
#[derive(Debug, Default)]
pub(super) struct DiskState {
    /// After a failed sync nobody knows which pages have reached the disk, and another sync that
    /// succeeds does not tell either.
    sync_failed: AtomicBool,
    /// Whether the file was synced since this was set to false. A transaction is stored by a sync.
    synced: AtomicBool,
    /// What fails on demand.
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

impl Disk {
    pub(super) const fn new(file: FileBackend, state: Arc<DiskState>) -> Self {
        Self { file, state }
    }
}

impl DiskState {
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// A transaction is about to be stored.
    pub(super) fn begin_commit(&self) {
        self.synced.store(false, Ordering::Release);
    }

    /// Whether that transaction may have been stored.
    pub(super) fn may_be_stored(&self) -> bool {
        self.synced.load(Ordering::Acquire) || self.sync_failed()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        #[cfg(test)]
        self.state.faults.read()?;
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        self.state.faults.read()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.state.faults.write(0)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        let synced = self.state.faults.sync();
        #[cfg(not(test))]
        let synced = Ok(());
        let synced = synced.and_then(|()| self.file.sync_data());
        let flag = match &synced {
            Ok(()) => &self.state.synced,
            Err(_) => &self.state.sync_failed,
        };
        flag.store(true, Ordering::Release);
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.state.faults.write(data.len())?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// What an error of the database means to a caller of whose records none was stored.
pub(super) fn storage_error(store: &Path, error: redb::Error) -> TopicError {
    match error {
        redb::Error::Io(error) => io_error(store, error),
        redb::Error::DatabaseAlreadyOpen => TopicError::StoreInUse {
            store: name(store),
            process: None,
            host: None,
        },
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => TopicError::DamagedStore {
            store: name(store),
            cause: Arc::new(error),
        },
        _ => TopicError::unavailable(error),
    }
}

/// The same for an error of the operating system.
pub(super) fn io_error(store: &Path, error: io::Error) -> TopicError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            TopicError::StoreFull(Arc::new(error))
        }
        // The file is another one than that of a database, or has been cut.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => TopicError::DamagedStore {
            store: name(store),
            cause: Arc::new(error),
        },
        _ => TopicError::unavailable(error),
    }
}

/// The same for a store that is being opened.
pub(super) fn open_error(store: &Path, error: TopicError) -> TopicError {
    use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    let TopicError::Unavailable(Some(cause)) = error else {
        return error;
    };
    let kind = cause.downcast_ref().map(io::Error::kind);
    let advice = match kind {
        Some(NotFound) => "only the file is made: make its folder",
        Some(IsADirectory) => "name a file in that folder",
        Some(PermissionDenied | ReadOnlyFilesystem) => {
            "let this user read and write the file and its folder"
        }
        _ => "look at the disk",
    };
    TopicError::NotOpened {
        store: name(store),
        cause,
        advice,
    }
}

/// The path, for an error.
pub(super) fn name(store: &Path) -> Box<str> {
    store.to_string_lossy().into()
}
