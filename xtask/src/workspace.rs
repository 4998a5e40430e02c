//! The folders of the workspace, and calls of cargo. All tasks work in the root of the workspace,
//! wherever they were started.

use std::env;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let default = || root().join("target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(default, |target| {
        absolute(&target).unwrap_or_else(|_| target.into())
    })
}

/// The folder into which the programs of other ecosystems are installed.
pub(crate) fn clients() -> PathBuf {
    target().join("clients")
}

/// A call of the cargo that called this program, as if it came from a shell: build scripts that
/// look at what cargo tells this program of its own package would otherwise run again, and
/// everything behind them with them.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).file_name();
    let name = name.unwrap_or_default().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(error) => Err(format!("{name} does not start: {error}")),
    }
}
