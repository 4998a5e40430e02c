//! The programs of other ecosystems that tests drive, installed from `tests` into the target
//! directory. Nothing is installed if the manifests have not changed since the last installation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::tools::is_installed;
use crate::workspace::{cargo, clients, root, run};

const NPM_FLAGS: [&str; 3] = ["--no-audit", "--no-fund", "--ignore-scripts"];

/// The manifest of the client that is a crate, from the root of the workspace.
pub(crate) const SIDERITE: &str = "tests/clients/siderite/Cargo.toml";

/// The folder with the manifests of npm and pip.
fn source() -> PathBuf {
    root().join("tests/clients")
}

/// Installs the packages of `tests/clients/package.json` and its lock file.
pub(crate) fn npm() -> Result<(), String> {
    let files = ["package.json", "package-lock.json"];
    install("npm", &source(), &files, &clients(), |folder| {
        let locked = folder.join("package-lock.json").exists();
        let command = if locked { "ci" } else { "install" };
        let mut npm = Command::new("npm");
        run(npm.arg(command).args(NPM_FLAGS).current_dir(folder))
    })
}

/// The folder of the npm package that this workspace publishes.
pub(crate) fn package() -> PathBuf {
    root().join("client")
}

/// Installs what the npm package needs, in its own folder, and builds it.
pub(crate) fn build_package() -> Result<(), String> {
    let folder = package();
    let read =
        |name| fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let stamp = read("package.json")? + &read("package-lock.json")?;
    // `npm ci` begins by deleting what is installed, and this file with it.
    let stamp_file = folder.join("node_modules/.installed-by-xtask");
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        println!("already installed");
    } else {
        let mut npm = Command::new("npm");
        run(npm.arg("ci").args(NPM_FLAGS).current_dir(&folder))?;
        fs::write(&stamp_file, stamp)
            .map_err(|error| format!("{}: {error}", stamp_file.display()))?;
    }
    let mut npm = Command::new("npm");
    run(npm.args(["run", "--silent", "build"]).current_dir(&folder))
}

/// Installs the packages of `tests/clients/requirements.txt`, for use with `PYTHONPATH`.
pub(crate) fn pip() -> Result<(), String> {
    let folder = clients().join("python");
    install("pip", &source(), &["requirements.txt"], &folder, |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--root-user-action=ignore"])
            .args(["--upgrade", "--target", "."])
            .args(["--requirement", "requirements.txt"]);
        run(pip.current_dir(folder))
    })
}

/// Builds the client that is a crate. It is a workspace of its own, whose dependencies differ from
/// the server's.
pub(crate) fn crates() -> Result<(), String> {
    let folder = clients().join("siderite");
    let mut build = cargo(&["build", "--quiet", "--locked"]);
    build.arg("--manifest-path").arg(SIDERITE);
    run(build.arg("--target-dir").arg(folder))
}

/// Builds the MongoDB-compatible server of `tests/support/mongo`, if it is needed and Go is
/// installed. Without it, tests with a MongoDB are skipped, and the output says so.
pub(crate) fn mongo() -> Result<(), String> {
    if env::var_os("MONGO_URL").is_some() || is_installed("mongod") {
        println!("not needed");
        return Ok(());
    }
    let Some(go) = go() else {
        println!(
            "there is neither MONGO_URL nor mongod nor Go: TESTS WITH A MONGODB WILL BE SKIPPED"
        );
        return Ok(());
    };
    let files = ["main.go", "go.mod", "go.sum"];
    let source = root().join("tests/support/mongo");
    install("go", &source, &files, &clients().join("mongo"), |folder| {
        let mut build = Command::new(&go);
        // PostgreSQL is the backend that is not used, and this program is not debugged.
        build
            .args(["build", "-o", "server", "-trimpath", "-mod=readonly"])
            .args(["-tags=ferretdb_no_postgresql", "-ldflags=-s -w"]);
        run(build.current_dir(folder))
    })
}

/// Go, which is often installed outside the path.
fn go() -> Option<PathBuf> {
    if is_installed("go") {
        return Some("go".into());
    }
    Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file())
}

/// Copies the manifests, the first of which must exist, into a folder and installs them there.
fn install(
    installer: &str,
    source: &Path,
    manifests: &[&str],
    folder: &Path,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
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
    // A failed installation must not count as finished, nor an old lock file as a new one.
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
