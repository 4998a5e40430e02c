//! A folder for the files of a run. By default it is beside the program, since the folder for
//! temporary files is often no disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::options::Options;

/// A folder that is removed with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(options: &Options, name: &str) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let beside = program.parent().unwrap_or_else(|| Path::new("."));
        let folder = options.folder.as_deref().unwrap_or(beside);
        let folder = folder.join(format!("bench-topics-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
    }
}
