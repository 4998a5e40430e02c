//! `cargo xtask soak`: runs that take too long for every change. Each fuzz target, then the tests
//! whose names begin with `soak_`, which `cargo test` leaves out.

use std::time::Duration;

use crate::steps::Steps;
use crate::workspace::{cargo, clients, run as run_command};
use crate::{clients as other_clients, fuzz};

/// How many minutes each fuzz target and each test lasts by default.
const MINUTES: &str = "10";

/// Runs each fuzz target and each test for this many minutes. Returns whether all passed.
pub(crate) fn run(minutes: Option<&str>) -> bool {
    let Some(time) = duration(minutes.unwrap_or(MINUTES)) else {
        eprintln!("--minutes takes a positive number");
        return false;
    };
    let mut steps = Steps::default();
    steps.run("fuzzing", || fuzz::run(time));
    // One of the tests has a page.
    steps.run("npm clients", other_clients::npm);
    steps.run("building the npm package", other_clients::build_package);
    steps.run("soak tests", || {
        let arguments = [
            "test",
            "--workspace",
            "--all-features",
            "--release",
            "--no-fail-fast",
        ];
        let mut tests = cargo(&arguments);
        // One at a time: they measure what is left when they end.
        tests.args([
            "--",
            "--ignored",
            "--test-threads=1",
            "--nocapture",
            "soak_",
        ]);
        tests.env("UPDRAFT_CLIENTS", clients());
        tests.env("UPDRAFT_SOAK_SECONDS", time.as_secs().to_string());
        run_command(&mut tests)
    });
    if !steps.failed().is_empty() {
        println!("\nfailed steps: {}", steps.failed().join(", "));
    }
    steps.failed().is_empty()
}

fn duration(minutes: &str) -> Option<Duration> {
    let minutes = minutes.parse::<u64>().ok().filter(|minutes| *minutes > 0)?;
    minutes.checked_mul(60).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_a_positive_number() {
        assert_eq!(duration("2"), Some(Duration::from_secs(120)));
        for bad in ["", "0", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
