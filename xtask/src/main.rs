//! The tasks of this workspace, run as `cargo xtask TASK`.
//! `test` is exactly what continuous integration runs.

#![allow(
    clippy::disallowed_methods,
    reason = "tasks measure how long they take"
)]

mod clients;
mod conformance;
mod coverage;
mod facts;
mod fuzz;
mod layers;
mod ranges;
mod results;
mod soak;
mod steps;
mod test;
mod tools;
mod trees;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask TASK

Tasks:
  test                           all checks and all tests, as continuous integration runs them
  layers                         whether folders and files import as ARCHITECTURE.md (Layers) says
  fuzz                           the fuzz targets alone, as `test` runs them
  soak [--minutes N]             each fuzz target and each soak test for so long (10 minutes)
  conformance URL [--case NAME]  replay the transcripts against any DDP server that offers the fixture
                                 (URL: HOST:PORT, or the whole address of its WebSocket)
  bench [OPTION]...              compares Updraft with other servers and with the kernel (`bench --help` lists the options)
  bench gateway [OPTION]...      what it costs to stand in front of a Meteor app (`bench gateway --help` lists the options)
  bench topics [OPTION]...       compares topics with the stores that they stand on (`bench topics --help` lists the options)
  bench groups [OPTION]...       the part of these that is about groups of workers
  bench topics-mongo [OPTION]... compares topics in MongoDB with bare insertions and with a counter document
  coverage                       which facts the last run of `test` has covered
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let succeeded = match arguments.as_slice() {
        ["test"] => test::run(),
        ["layers"] => layers::run()
            .inspect_err(|reason| eprintln!("{reason}"))
            .is_ok(),
        ["fuzz"] => fuzz::run(fuzz::SHORT_RUN).is_ok(),
        ["soak"] => soak::run(None),
        ["soak", "--minutes", minutes] => soak::run(Some(minutes)),
        ["conformance", url] => conformance::run(url, None),
        ["conformance", url, "--case", name] | ["conformance", "--case", name, url] => {
            conformance::run(url, Some(name))
        }
        ["coverage"] => coverage::run(),
        ["bench", "topics", options @ ..] => bench_topics(options),
        ["bench", "groups", options @ ..] => {
            bench_topics(&[&["--only", "groups,peers,order,times,idle"], options].concat())
        }
        ["bench", "topics-mongo", options @ ..] => bench_mongo(options),
        ["bench", options @ ..] => bench(options),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            true
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the comparison, a program beside the benches that builds what it measures.
fn bench(options: &[&str]) -> bool {
    let program = ["run", "--quiet", "-p", "updraft-compare", "--"];
    workspace::run(workspace::cargo(&program).args(options)).is_ok()
}

/// Runs the bench of topics, which measures within its own process and is therefore optimised.
fn bench_topics(options: &[&str]) -> bool {
    let program = ["run", "--quiet", "--release", "-p", "updraft-bench-topics"];
    workspace::run(workspace::cargo(&program).arg("--").args(options)).is_ok()
}

/// Runs the comparison of topics in MongoDB.
fn bench_mongo(options: &[&str]) -> bool {
    let built = clients::mongo().inspect_err(|reason| eprintln!("{reason}"));
    let program = [
        "run",
        "--quiet",
        "--release",
        "-p",
        "updraft-bench-topics-mongo",
        "--",
    ];
    let mut program = workspace::cargo(&program);
    program.env("UPDRAFT_CLIENTS", workspace::clients());
    built.is_ok() && workspace::run(program.args(options)).is_ok()
}
