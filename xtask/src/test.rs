//! `cargo xtask test`: all checks and all tests, each as a step, in one profile and with one set of
//! flags. All steps run, even after a failed one; the last line has the totals of all test
//! programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::results::{Results, Skipped};
use crate::steps::Steps;
use crate::workspace::{cargo, clients, run as run_command};
use crate::{clients as other_clients, coverage, fuzz, layers, tools, trees};

/// Runs everything. Returns whether all of it passed.
pub(crate) fn run() -> bool {
    let missing = tools::missing();
    if !missing.is_empty() {
        eprintln!("these Debian packages are missing: {}", missing.join(" "));
        return false;
    }
    let mut steps = Steps::default();
    let mut results = Results::default();
    steps.run("format", || {
        run_command(&mut cargo(&["fmt", "--all", "--check"]))?;
        let siderite = ["fmt", "--check", "--manifest-path", other_clients::SIDERITE];
        run_command(&mut cargo(&siderite))?;
        // It is built by the bench that needs it.
        let jetstream = [
            "fmt",
            "--check",
            "--manifest-path",
            "benches/jetstream/Cargo.toml",
        ];
        run_command(&mut cargo(&jetstream))?;
        let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
        run_command(&mut cargo(&fuzz))
    });
    steps.run("layers", layers::run);
    steps.run("clippy", || {
        clippy(&["--workspace", "--all-features", "--all-targets"])
    });
    // Cheap, because all steps share their dependencies: see tests/dependencies.
    steps.run("without features", || {
        clippy(&["--workspace", "--no-default-features"])
    });
    // The benches need the server and Redis, so they are left out here.
    steps.run("without the server", || {
        let packages = [
            "-p",
            "updraft",
            "-p",
            "updraft-bus",
            "-p",
            "updraft-topics",
            "-p",
            "updraft-dependencies",
        ];
        clippy(&[&packages[..], &["--no-default-features"]].concat())
    });
    steps.run("emitting alone", trees::bus);
    steps.run("topics alone", trees::topics);
    steps.run("the library alone", trees::library);
    steps.run("npm clients", other_clients::npm);
    steps.run("Python clients", other_clients::pip);
    steps.run("Rust clients", other_clients::crates);
    steps.run("MongoDB", other_clients::mongo);
    // Tests of the workspace run the package too: in the page of an example, and against the server.
    steps.run("building the npm package", other_clients::build_package);
    steps.run("tests", || tests(&mut results));
    steps.run("the npm package", || package_tests(&mut results));
    steps.run("fuzzing", || fuzz::run(fuzz::SHORT_RUN));
    steps.run("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
        run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.run("coverage", || coverage::show(&results));
    println!();
    for Skipped { name, reason } in &results.skipped {
        println!("skipped: {name}: {reason}");
    }
    if !steps.failed().is_empty() {
        println!("failed steps: {}", steps.failed().join(", "));
    }
    println!("{}", totals(&results));
    steps.failed().is_empty()
}

fn clippy(of_what: &[&str]) -> Result<(), String> {
    let mut clippy = cargo(&["clippy"]);
    clippy.args(of_what);
    run_command(clippy.args(["--", "-D", "warnings"]))
}

/// Runs all tests of the workspace.
fn tests(results: &mut Results) -> Result<(), String> {
    let mut command = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    command.env("UPDRAFT_CLIENTS", clients());
    run_tests(&mut command, results)?;
    if results.passed == 0 {
        return Err("no test ran".into());
    }
    check_reasons(&results.skipped)
}

/// Runs the tests of the npm package, which say how they went as Rust's do.
fn package_tests(results: &mut Results) -> Result<(), String> {
    let mut command = Command::new("npm");
    command.args(["test", "--silent"]);
    run_tests(command.current_dir(other_clients::package()), results)?;
    check_reasons(&results.skipped)
}

/// Runs tests, shows their output while it is read, and keeps the results of all so far.
fn run_tests(command: &mut Command, results: &mut Results) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let error = |error| format!("{name}: {error}");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(error)?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(error)?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            results.read(&line);
        }
    }
    let status = child.wait().map_err(error)?;
    results
        .save()
        .map_err(|error| format!("the results are not kept: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

/// Fails if a test was skipped without a reason.
fn check_reasons(skipped: &[Skipped]) -> Result<(), String> {
    let silent = skipped.iter().filter(|skipped| skipped.reason.is_empty());
    let silent: Vec<&str> = silent.map(|skipped| skipped.name.as_str()).collect();
    if silent.is_empty() {
        return Ok(());
    }
    Err(format!("skipped without a reason: {}", silent.join(", ")))
}

fn totals(results: &Results) -> String {
    let mut totals = format!("{} passed, {} failed", results.passed, results.failed);
    if results.ignored > 0 {
        totals += &format!(", {} skipped", results.ignored);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{cargo, root};

    #[test]
    fn found_412_a_test_that_is_skipped_says_why() {
        let skipped = |reason: &str| Skipped {
            name: "later".into(),
            reason: reason.into(),
        };
        assert!(check_reasons(&[]).is_ok());
        assert!(check_reasons(&[skipped("needs a cluster")]).is_ok());
        let wrong = check_reasons(&[skipped("needs a cluster"), skipped("")]);
        assert_eq!(wrong, Err("skipped without a reason: later".into()));
    }

    /// The step `clippy` refuses a public type that cannot grow, unless it says why, in every
    /// package.
    #[test]
    fn found_313_public_types_are_non_exhaustive_or_say_why() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        for lint in ["exhaustive_enums", "exhaustive_structs"] {
            assert!(
                manifest.contains(&format!("\n{lint} = \"warn\"\n")),
                "{lint}"
            );
        }
        let found = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        let manifests = found.split("\"manifest_path\":\"").skip(1);
        let manifests: Vec<&str> = manifests.filter_map(|it| it.split('"').next()).collect();
        assert!(manifests.len() > 5, "{manifests:?}");
        for path in manifests {
            let manifest = std::fs::read_to_string(path).unwrap();
            assert!(manifest.contains("[lints]\nworkspace = true"), "{path}");
        }
    }
}
