//! The binary: a relay without code, and commands for topics and groups. What each does is in `command`.

mod command;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::command::group::{self, GroupOptions};
use crate::command::relay::{self, RelayOptions};
use crate::command::topic::{self, TopicOptions};

/// Events are kept until their receivers have confirmed them, and freed in the order in which they
/// came. This allocator makes that cheap (`docs/how-fast.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publishes channels of Redis to Meteor and DDP clients.
///
/// Every client may subscribe. Channels that are not for everybody need a server of your own, whose
/// publications ask for `user_id()`.
///
/// RUST_LOG says what is logged to standard error, for example debug, or warn,updraft::server=info.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Options {
    #[command(flatten)]
    relay: RelayOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Topic(TopicOptions),
    Group(GroupOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    updraft::log_panics();
    match options.command {
        None => {
            log_to_stderr(Targets::new().with_default(LevelFilter::INFO));
            match relay::run(options.relay).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    // Printed and not logged: the level of the log may leave it out.
                    eprintln!("error: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Some(command) => {
            // A command says itself what becomes of its connections.
            let quiet = Targets::new().with_default(LevelFilter::WARN);
            log_to_stderr(quiet.with_target("updraft_bus", LevelFilter::ERROR));
            match command {
                Command::Topic(options) => topic::run(options).await,
                Command::Group(options) => group::run(options).await,
            }
        }
    }
}

/// Logs what `RUST_LOG` names, or these targets if it names nothing; in colours on a terminal only.
fn log_to_stderr(default: Targets) {
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let parsed = (!wanted.is_empty()).then(|| wanted.parse::<Targets>());
    let mistake = parsed.as_ref().and_then(|parsed| parsed.as_ref().err());
    let mistake = mistake.map(ToString::to_string);
    let targets = parsed.and_then(Result::ok);
    let targets = targets.unwrap_or(default);
    let is_plain = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(!is_plain && io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!(%mistake, "RUST_LOG is not used; its form is info, or updraft=debug,info.");
    }
}
