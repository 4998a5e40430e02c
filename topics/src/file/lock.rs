//! Who has a store open. The lock is the operating system's, on a file beside the store, so that it
//! ends with its process however that ends. The text in the file only tells who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::TopicError;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of the store at this path.
    ///
    /// # Errors
    ///
    /// [`TopicError::StoreInUse`], or the file cannot be opened.
    pub(super) fn take(store: &Path) -> Result<Self, TopicError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path(store))
            .map_err(super::disk::io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TopicError::StoreInUse {
                    process: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(super::disk::io_error(error)),
        }
        // The text is information: a full disk must not keep a store from being opened.
        let text = format!("{} {}\n", process::id(), host());
        drop(write(&mut file, &text));
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file stays: whoever is waiting to lock it must not be left with a file that has lost
        // its name.
        drop(self.0.set_len(0));
        // A process that is being started may have the file open too, for a moment.
        drop(self.0.unlock());
    }
}

/// The file beside the store.
fn path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

/// The process that holds the lock, if it has written its id yet.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The name of this machine, where it can be read.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.or_else(|_| fs::read_to_string("/etc/hostname"));
    let name = name.unwrap_or_default();
    match name.trim() {
        "" => "unknown-host".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn topic_089_a_second_holder_is_told_the_process_of_the_first() {
        let folder = Folder::new();
        let store = folder.path("store");
        let lock = Lock::take(&store).unwrap();
        let text = fs::read_to_string(path(&store)).unwrap();
        assert_eq!(text, format!("{} {}\n", process::id(), host()));
        let error = Lock::take(&store).unwrap_err();
        assert!(matches!(
            error,
            TopicError::StoreInUse { process: Some(id) } if id == process::id()
        ));
        drop(lock);
        assert_eq!(fs::read_to_string(path(&store)).unwrap(), "");
        drop(Lock::take(&store).unwrap());
    }

    #[test]
    fn topic_089_the_text_of_a_process_that_was_killed_locks_nothing() {
        let folder = Folder::new();
        let store = folder.path("store");
        for text in ["1 elsewhere\n", "", "\u{fffd}", &"9".repeat(5000)] {
            fs::write(path(&store), text).unwrap();
            drop(Lock::take(&store).unwrap());
        }
    }
}
