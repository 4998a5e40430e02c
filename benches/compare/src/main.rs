//! Compares Updraft with its alternatives and with the cost of the kernel alone, in one run on one
//! machine. Rounds are interleaved, medians are shown, raw lines are kept in the target directory.
//! `cargo xtask bench` runs this; with `gateway` it is what a gateway costs ([`gateway`]).

#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long things take"
)]

mod gateway;
mod machine;
mod measures;
mod options;
mod page;
mod process;
mod results;
mod runner;
mod servers;
mod tables;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use machine::Machine;
use measures::{Case, Scale};
use options::{Options, USAGE};
use results::{Line, Results};
use runner::Runner;
use updraft_load::{quiet, workspace};
use workspace::target;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["gateway", options @ ..] => gateway::run(options),
        options if options.contains(&"--help") => {
            print!("{USAGE}");
            Ok(())
        }
        options => Options::parse(options).and_then(|options| measure_and_show(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn measure_and_show(options: &Options) -> Result<(), String> {
    let results = match &options.from {
        Some(file) => Results::load(file)?,
        None => measure(options)?,
    };
    for (_, table) in tables::all(&results) {
        println!("\n{table}");
    }
    if options.docs {
        page::write(&results)?;
    }
    let failed = results.failed();
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("these runs failed:\n{}", failed.join("\n")))
}

/// Runs everything, round by round.
fn measure(options: &Options) -> Result<Results, String> {
    let cases = options.cases();
    let mut runner = Runner::prepare(options)?;
    let mut results = Results::new(Machine::inspect(runner.missing()));
    let file = raw_file()?;
    for round in 0..options.rounds {
        for case in &cases {
            for server in runner.available(case) {
                let quiet = options.scale == Scale::Quick || quiet::wait();
                let outcome = runner.run(server, case);
                let line = Line::new(case, server.key, round, quiet, outcome);
                println!("{}", line.summary());
                results.add(line);
                results.save(&file)?;
            }
        }
    }
    println!("\nraw figures: {}", file.display());
    for missing in &results.machine.missing {
        println!("not compared: {missing}");
    }
    let busy = results.busy();
    if busy > 0 {
        println!("{busy} runs began while the machine was busy with something else: repeat them");
    }
    Ok(results)
}

/// The file for raw figures; a run does not overwrite an earlier one.
fn raw_file() -> Result<PathBuf, String> {
    let folder = target().join("bench");
    let error = |error| format!("{}: {error}", folder.display());
    let runs = fs::read_dir(&folder).map_err(error)?;
    let runs = runs.filter_map(Result::ok).filter(|run| {
        run.path()
            .extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    Ok(folder.join(format!("run-{}.jsonl", runs.count() + 1)))
}
