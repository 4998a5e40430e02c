//! The clients of other ecosystems that tests drive, installed from `tests/clients` into the target directory.
//! Nothing is installed while the manifests are those of the last installation.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::workspace::{cargo, clients, root, run};

const NPM_FLAGS: [&str; 3] = ["--no-audit", "--no-fund", "--ignore-scripts"];

/// The manifest of the client that is a crate, from the root of the workspace.
pub(crate) const SIDERITE: &str = "tests/clients/siderite/Cargo.toml";

/// Installs what `tests/clients/package.json` and its lock file name.
pub(crate) fn npm() -> Result<(), String> {
    let files = ["package.json", "package-lock.json"];
    install("npm", &files, &clients(), |folder| {
        let locked = folder.join("package-lock.json").exists();
        let command = if locked { "ci" } else { "install" };
        let mut npm = Command::new("npm");
        run(npm.arg(command).args(NPM_FLAGS).current_dir(folder))
    })
}

/// Installs what `tests/clients/requirements.txt` names, for use with `PYTHONPATH`.
pub(crate) fn pip() -> Result<(), String> {
    let folder = clients().join("python");
    install("pip", &["requirements.txt"], &folder, |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--root-user-action=ignore"])
            .args(["--upgrade", "--target", "."])
            .args(["--requirement", "requirements.txt"]);
        run(pip.current_dir(folder))
    })
}

/// Builds the client that is a crate. It is a workspace of its own, whose dependencies are not the server's.
pub(crate) fn crates() -> Result<(), String> {
    let folder = clients().join("siderite");
    let mut build = cargo(&["build", "--quiet", "--locked"]);
    build.arg("--manifest-path").arg(SIDERITE);
    run(build.arg("--target-dir").arg(folder))
}

/// Copies the manifests, the first of which must exist, into a folder and installs them there.
fn install(
    installer: &str,
    manifests: &[&str],
    folder: &Path,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let source = root().join("tests/clients");
    let texts: Vec<(&str, String)> = manifests
        .iter()
        .map_while(|name| Some((*name, fs::read_to_string(source.join(name)).ok()?)))
        .collect();
    let Some((_, first)) = texts.first() else {
        println!("nothing to install");
        return Ok(());
    };
    let others = texts.iter().skip(1).map(|(_, text)| text.as_str());
    let stamp: String = [first.as_str()].into_iter().chain(others).collect();
    let stamp_file = folder.join(format!(".installed-by-{installer}"));
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        println!("already installed");
        return Ok(());
    }
    let prepared = prepare(folder, &stamp_file, &texts);
    prepared.map_err(|error| format!("{}: {error}", folder.display()))?;
    install(folder)?;
    fs::write(&stamp_file, stamp).map_err(|error| format!("{}: {error}", stamp_file.display()))
}

fn prepare(folder: &Path, stamp_file: &Path, texts: &[(&str, String)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // An installation that fails half way is not taken for a finished one, nor an old lock file for a new one.
    for old in [stamp_file, &folder.join("package-lock.json")] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    for (name, text) in texts {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
