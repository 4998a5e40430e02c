//! The fuzz targets of `fuzz/`: builds them with coverage, seeds them from the transcripts and runs
//! them for a while.
//!
//! This works with the stable toolchain. cargo-fuzz would add an address sanitizer, which finds
//! nothing in code without `unsafe`, and takes half a minute to install. The folder still works
//! with cargo-fuzz by hand.

mod seeds;

use std::fs::{self, File};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::workspace::{cargo, root, run as run_command, target};

/// The binaries of `fuzz/Cargo.toml`.
const TARGETS: [&str; 6] = [
    "message",
    "ejson",
    "websocket",
    "positions",
    "records",
    "session",
];

/// The compiler flags that libFuzzer needs, as cargo-fuzz sets them.
const RUSTFLAGS: &str = "--cfg=fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Longer inputs take more time than they are worth.
const LONGEST_INPUT: usize = 2048;

/// Seconds that one input may take, and megabytes that a target may use.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// Enough to notice what a change has broken; `cargo xtask soak` finds rarer faults.
pub(crate) const SHORT_RUN: Duration = Duration::from_secs(10);

/// Lints the targets and runs each for a time, as many at once as there are processors.
///
/// # Errors
///
/// The targets that failed; their output and the failing inputs are shown.
pub(crate) fn run(time: Duration) -> Result<(), String> {
    let host = host()?;
    run_command(build("clippy", &host).args(["--", "-D", "warnings"]))?;
    run_command(&mut build("build", &host))?;
    let seeds = folder("seeds");
    seeds::write(&seeds).map_err(|error| format!("{}: {error}", seeds.display()))?;
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut failed = Vec::new();
    for targets in TARGETS.chunks(at_once) {
        failed.extend(run_together(targets, &host, time));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join(", "))
    }
}

/// Runs these targets together. Returns those that failed.
fn run_together(targets: &[&str], host: &str, time: Duration) -> Vec<String> {
    thread::scope(|scope| {
        let runs: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(move || run_target(target, host, time)))
            .collect();
        let outcomes = runs.into_iter().zip(targets).map(|(run, target)| {
            let outcome = run.join().unwrap_or_else(|_| Err("it panicked".into()));
            outcome.err().map(|reason| format!("{target}: {reason}"))
        });
        outcomes.flatten().collect()
    })
}

fn run_target(name: &str, host: &str, time: Duration) -> Result<(), String> {
    let program = folder(host).join("release").join(name);
    let log = folder("logs").join(name);
    let findings = folder("findings");
    let corpus = folder("corpus").join(name);
    let dictionary = root().join("fuzz/words.dict");
    let error = |error| format!("{name}: {error}");
    for folder in [&folder("logs"), &findings, &corpus] {
        fs::create_dir_all(folder).map_err(error)?;
    }
    let mut command = Command::new(&program);
    command
        .args(LIMITS)
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-dict={}", dictionary.display()))
        .arg(format!("-artifact_prefix={}/{name}-", findings.display()));
    // New inputs go into the first folder.
    command.arg(corpus).arg(folder("seeds").join(name));
    let committed = root().join("fuzz/corpus").join(name);
    if committed.exists() {
        command.arg(committed);
    }
    let file = File::create(&log).map_err(error)?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(file).status().map_err(error)?;
    let said = String::from_utf8_lossy(&fs::read(&log).map_err(error)?).into_owned();
    if status.success() {
        println!("{name}: {}", summary(&said));
        return Ok(());
    }
    let news = said.lines().filter(|line| !line.starts_with('#'));
    println!("{}", news.collect::<Vec<_>>().join("\n"));
    println!(
        "again with: {} {}/{name}-…",
        program.display(),
        findings.display()
    );
    Err(status.to_string())
}

/// libFuzzer's last line: `#1290482 DONE cov: 2080 ft: 7680 …`.
fn summary(log: &str) -> String {
    let mut lines = log.lines().filter(|line| line.contains("DONE"));
    let words: Vec<&str> = lines.next_back().unwrap_or("").split_whitespace().collect();
    match words.as_slice() {
        [runs, _, "cov:", coverage, ..] => {
            let runs = runs.trim_start_matches('#');
            format!("{runs} inputs, {coverage} places of the code reached")
        }
        _ => "ended without a summary".into(),
    }
}

fn build(task: &str, host: &str) -> Command {
    let mut command = cargo(&[task, "--release", "--bins", "--target", host]);
    // With an explicit target, build scripts and macros are not instrumented: they could not be
    // linked.
    command
        .env("RUSTFLAGS", RUSTFLAGS)
        .arg("--target-dir")
        .arg(target().join("fuzz"))
        .arg("--manifest-path")
        .arg(root().join("fuzz/Cargo.toml"));
    command
}

/// The compiler's name for this machine.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let host = lines.find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not say its host".into())
}

fn folder(name: &str) -> PathBuf {
    target().join("fuzz").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_summed_up() {
        let log = "INFO: seed\n#5\tNEW    cov: 1\n#1290482\tDONE   cov: 2080 ft: 7680 corp: 1504/213Kb\nDone";
        let expected = "1290482 inputs, 2080 places of the code reached";
        assert_eq!(summary(log), expected);
        assert_eq!(summary(""), "ended without a summary");
    }
}
