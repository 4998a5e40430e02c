//! `updraft-load fan-out JOB` measures a server, `updraft-load limit JOB` the kernel, and
//! `updraft-load transfer JOB` HTTP; each prints one line of JSON. `upstream PORT`, `source PORT` and
//! `relay PORT ADDRESS` are servers to measure with. Use it through `cargo xtask bench`.

use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;

type Outcome<T> = Result<T, String>;

const USAGE: &str = "usage: updraft-load fan-out JOB | limit JOB | transfer JOB | upstream PORT | \
                     source PORT | relay PORT ADDRESS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["fan-out", job] => answer(job, |job| updraft_load::run(&job)),
        ["limit", job] => answer(job, |job| updraft_load::limit::run(&job)),
        ["transfer", job] => answer(job, |job| updraft_load::transfer::run(&job)),
        ["upstream", port] => serve(port, updraft_load::upstream::run),
        ["source", port] => serve(port, updraft_load::transfer::serve),
        ["relay", port, to] => match to.parse() {
            Ok(to) => serve(port, |port| updraft_load::relay::run(port, to)),
            Err(_) => Err("no address".into()),
        },
        ["drain", address, connections] => drain(address, connections),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn answer<J: DeserializeOwned, R: Serialize>(
    job: &str,
    run: impl FnOnce(J) -> std::io::Result<R>,
) -> Outcome<()> {
    let job = serde_json::from_str(job).map_err(|error| format!("the job: {error}"))?;
    let report = run(job).map_err(|error| error.to_string())?;
    let report = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    println!("{report}");
    Ok(())
}

fn serve(port: &str, run: impl FnOnce(u16) -> std::io::Result<()>) -> Outcome<()> {
    let port = port.parse().map_err(|_| "no port")?;
    run(port).map_err(|error| error.to_string())
}

/// The other half of `limit`, which starts it.
fn drain(address: &str, connections: &str) -> Outcome<()> {
    let address = address.parse().map_err(|_| "no address")?;
    let connections = connections.parse().map_err(|_| "no number")?;
    updraft_load::limit::drain(address, connections).map_err(|error| error.to_string())
}
