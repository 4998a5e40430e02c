//! `updraft group`: groups of workers for somebody at a terminal, and for scripts.

mod consume;
mod dead;
mod info;
mod pause;
mod watch;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use updraft::topics::TopicName;

use self::consume::ConsumeOptions;
use self::dead::{DropOptions, LettersOptions, ReplayOptions};
use self::info::{InfoOptions, ListOptions};
use self::pause::{PauseOptions, ResumeOptions};
use super::end::{EXIT_CODES, Ended, Exit, exit_code};
use super::store::{Access, StoreOptions};

/// Looks after groups of workers, and takes part in them.
///
/// Standard output has what was asked for, in a form for programs; everything else is on standard
/// error.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct GroupOptions {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    List(ListOptions),
    Info(InfoOptions),
    Consume(ConsumeOptions),
    Dead(DeadOptions),
    Pause(PauseOptions),
    Resume(ResumeOptions),
}

/// Lists, replays or drops what a group has set aside.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
struct DeadOptions {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    List(LettersOptions),
    Replay(ReplayOptions),
    Drop(DropOptions),
}

/// Does what one command line asks for.
pub(crate) async fn run(options: GroupOptions) -> ExitCode {
    exit_code(run_command(options.command).await)
}

async fn run_command(command: GroupCommand) -> Result<Exit, Ended> {
    let store = command.store().open(Access::Existing).await?;
    let outcome = match &command {
        GroupCommand::List(options) => info::list(options, &store).await,
        GroupCommand::Info(options) => info::info(options, &store).await,
        GroupCommand::Consume(options) => consume::run(options, &store).await,
        GroupCommand::Dead(options) => match &options.command {
            DeadCommand::List(options) => dead::list(options, &store).await,
            DeadCommand::Replay(options) => dead::replay(options, &store).await,
            DeadCommand::Drop(options) => dead::drop(options, &store).await,
        },
        GroupCommand::Pause(options) => pause::pause(options, &store).await,
        GroupCommand::Resume(options) => pause::resume(options, &store).await,
    };
    store.close().await;
    outcome
}

impl GroupCommand {
    fn store(&self) -> &StoreOptions {
        match self {
            Self::List(options) => &options.store,
            Self::Info(options) => &options.store,
            Self::Consume(options) => &options.store,
            Self::Dead(options) => match &options.command {
                DeadCommand::List(options) => &options.store,
                DeadCommand::Replay(options) => &options.which.store,
                DeadCommand::Drop(options) => &options.which.store,
            },
            Self::Pause(options) => &options.store,
            Self::Resume(options) => &options.store,
        }
    }
}

/// The name of a group, of which the same is asked as of that of a topic.
fn group_name(text: &str) -> anyhow::Result<String> {
    if TopicName::new(text).is_err() {
        bail!("it is 1 to 255 bytes without control characters, and does not begin with `_`");
    }
    Ok(text.to_owned())
}
