//! `updraft topic`: durable topics for somebody at a terminal, and for scripts.

mod change;
mod info;
mod lines;
mod path;
mod progress;
mod publish;
mod read;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::change::{CompactOptions, DeleteOptions, TrimOptions};
use self::info::{InfoOptions, ListOptions};
use self::publish::PublishOptions;
use self::read::{FollowOptions, ReadOptions};
use super::end::{EXIT_CODES, Ended, Exit, exit_code};
use super::store::{Access, StoreOptions};

/// Reads, writes and looks after durable topics.
///
/// Standard output has what was asked for, in a form for programs; everything else is on standard
/// error.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct TopicOptions {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    List(ListOptions),
    Info(InfoOptions),
    Publish(PublishOptions),
    Read(ReadOptions),
    Follow(FollowOptions),
    Trim(TrimOptions),
    Compact(CompactOptions),
    Delete(DeleteOptions),
}

/// Does what one command line asks for.
pub(crate) async fn run(options: TopicOptions) -> ExitCode {
    exit_code(run_command(options.command).await)
}

async fn run_command(command: TopicCommand) -> Result<Exit, Ended> {
    let (options, access) = command.store();
    let store = options.open(access).await?;
    let outcome = match &command {
        TopicCommand::List(options) => info::list(options, &store).await,
        TopicCommand::Info(options) => info::info(options, &store).await,
        TopicCommand::Publish(options) => publish::run(options, &store).await,
        TopicCommand::Read(options) => read::read(options, &store).await,
        TopicCommand::Follow(options) => read::follow(options, &store).await,
        TopicCommand::Trim(options) => change::trim(options, &store).await,
        TopicCommand::Compact(options) => change::compact(options, &store).await,
        TopicCommand::Delete(options) => change::delete(options, &store).await,
    };
    store.close().await;
    outcome
}

impl TopicCommand {
    fn store(&self) -> (&StoreOptions, Access) {
        match self {
            Self::List(options) => (&options.store, Access::Existing),
            Self::Info(options) => (&options.store, Access::Existing),
            Self::Publish(options) => (&options.store, options.access()),
            Self::Read(options) => (&options.what.store, Access::Existing),
            Self::Follow(options) => (&options.what.store, Access::Existing),
            Self::Trim(options) => (&options.store, Access::Existing),
            Self::Compact(options) => (&options.store, Access::Existing),
            Self::Delete(options) => (&options.store, Access::Existing),
        }
    }
}
