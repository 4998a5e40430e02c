//! What figures depend on besides the program: the machine, and the versions of what is compared.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use crate::workspace::root;

/// The machine of a run; the first of its raw lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    date: String,
    /// The commit that was measured.
    commit: String,
    /// The version texts of the programs.
    versions: Vec<String>,
    /// Servers that were not compared, each with the reason.
    pub(crate) missing: Vec<String>,
}

impl Machine {
    pub(crate) fn inspect(missing: Vec<String>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(':').nth(1));
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions = [
            ["redis-server", "--version"],
            ["node", "--version"],
            ["nats-server", "--version"],
            ["mosquitto", "-h"],
            ["rustc", "--version"],
        ];
        let version = |[program, option]: &[&str; 2]| {
            let line = first_line(Command::new(program).arg(option))?;
            let words: Vec<&str> = line
                .split(' ')
                .filter(|word| !word.contains('=') || word.starts_with("v="))
                .collect();
            Some(match *program {
                "node" => format!("Node {line}"),
                "redis-server" => words.join(" ").replace("v=", ""),
                _ => line,
            })
        };
        Self {
            processor: model.unwrap_or("unknown").trim().to_owned(),
            processors: available_parallelism().map_or(0, usize::from),
            kernel: format!("Linux {}", release.trim()),
            date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default(),
            commit: first_line(
                Command::new("git")
                    .args(["rev-parse", "--short", "HEAD"])
                    .current_dir(root()),
            )
            .unwrap_or_default(),
            versions: versions.iter().filter_map(version).collect(),
            missing,
        }
    }

    /// The machine as a list.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "- {} × {}, {}, loopback only\n- {}\n- measured on {} at {}\n",
            self.processors,
            self.processor,
            self.kernel,
            self.versions.join("; "),
            self.date,
            self.commit,
        );
        for missing in &self.missing {
            text += &format!("- not compared: {missing}\n");
        }
        text
    }
}

/// The first line that a program prints, if the program exists.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
