//! Who has a store open. The lock is the operating system's, on a file beside the store, so that it
//! ends with its process however that ends. The text in the file only tells who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::TopicError;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock(File);

impl StoreLock {
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
            .map_err(|error| super::disk::io_error(store, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (process, host) = holder(&mut file);
                return Err(TopicError::StoreInUse {
                    store: super::disk::name(store),
                    process,
                    host,
                });
            }
            Err(TryLockError::Error(error)) => return Err(super::disk::io_error(store, error)),
        }
        // The text is information: a full disk must not keep a store from being opened.
        let text = format!("{} {}\n", process::id(), host());
        drop(write(&mut file, &text));
        Ok(Self(file))
    }
}

impl Drop for StoreLock {
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

/// The process that holds the lock, and its machine, if it has written them yet.
fn holder(file: &mut File) -> (Option<u32>, Option<Box<str>>) {
    let mut text = String::new();
    if file.take(1024).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let mut words = text.split_whitespace();
    let process = words.next().and_then(|id| id.parse().ok());
    let host = words.next().filter(|_| process.is_some());
    (process, host.map(Into::into))
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
    use updraft_test_support::folder::Folder;

    use super::*;

    #[test]
    fn topic_089_a_second_holder_is_told_the_process_and_the_machine_of_the_first() {
        let folder = Folder::new("topics");
        let store = folder.file("store");
        let lock = StoreLock::take(&store).unwrap();
        let text = fs::read_to_string(path(&store)).unwrap();
        assert_eq!(text, format!("{} {}\n", process::id(), host()));
        let error = StoreLock::take(&store).unwrap_err();
        let expected = format!(
            "the store {} is in use by process {} on {}; stop that process, or use another store",
            store.display(),
            process::id(),
            host()
        );
        assert_eq!(error.to_string(), expected);
        drop(lock);
        assert_eq!(fs::read_to_string(path(&store)).unwrap(), "");
        drop(StoreLock::take(&store).unwrap());
    }

    #[test]
    fn topic_089_a_holder_that_has_not_said_who_it_is_is_another_process() {
        let folder = Folder::new("topics");
        let store = folder.file("store");
        let _lock = StoreLock::take(&store).unwrap();
        for text in ["", "\u{fffd}", "no-number elsewhere\n"] {
            fs::write(path(&store), text).unwrap();
            let error = StoreLock::take(&store).unwrap_err().to_string();
            assert!(error.contains("in use by another process;"), "{error}");
        }
    }

    #[test]
    fn topic_089_the_text_of_a_process_that_was_killed_locks_nothing() {
        let folder = Folder::new("topics");
        let store = folder.file("store");
        for text in ["1 elsewhere\n", "", "\u{fffd}", &"9".repeat(5000)] {
            fs::write(path(&store), text).unwrap();
            drop(StoreLock::take(&store).unwrap());
        }
    }
}
