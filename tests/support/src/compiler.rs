//! What the compiler says of programs that use the library wrongly. They are compiled against the
//! library as cargo has built it for all tests, so nothing else is built for them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use crate::process::cargo;

/// Where cargo has put the library.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(library);

/// Compiles a program that uses nothing but the library: what the compiler says, or nothing if it
/// has no objection.
///
/// # Panics
/// When the library cannot be built, or there is no compiler.
pub fn objections(program: &str) -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let dependencies = LIBRARY.parent().expect("the library is in a folder");
    let mut compiler = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata=-"])
        // Or it would write long types into files.
        .arg("--verbose")
        .arg("--extern")
        .arg(format!("updraft={}", LIBRARY.display()))
        .arg(format!("-Ldependency={}", dependencies.display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a compiler");
    let mut input = compiler.stdin.take().expect("its input is a pipe");
    input.write_all(program.as_bytes()).expect("it reads");
    drop(input);
    let output = compiler.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(text)
}

fn library() -> PathBuf {
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--workspace", "--all-features", "--lib"])
        .arg("--message-format=json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "the library cannot be built");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let mut artifacts = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let library =
        artifacts.find(|it| it["target"]["name"] == "updraft" && it["target"]["doc"] == true);
    let library = library.expect("the library is among what cargo builds");
    let files = library["filenames"].as_array().into_iter().flatten();
    let mut paths = files.filter_map(|file| file.as_str().map(Path::new));
    let metadata = paths.find(|path| path.extension().is_some_and(|it| it == "rmeta"));
    metadata.expect("it has metadata").to_owned()
}
