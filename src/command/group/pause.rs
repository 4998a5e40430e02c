//! `pause` and `resume`.

use clap::Args;
use updraft::ejson;

use super::group_name;
use crate::command::end::{EXIT_CODES, Ended, Exit};
use crate::command::output::Output;
use crate::command::store::{OpenStore, StoreOptions};

/// Lets a group hand out nothing more, in no process.
///
/// What members have can be answered. Prints {"group":…,"paused":true}.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct PauseOptions {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// Lets a group go on.
///
/// Prints {"group":…,"paused":false}.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ResumeOptions {
    /// The group.
    #[arg(value_parser = group_name)]
    group: String,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

pub(super) async fn pause(options: &PauseOptions, store: &OpenStore) -> Result<Exit, Ended> {
    store.group(&options.group).await?.pause().await?;
    print(&options.group, true)
}

pub(super) async fn resume(options: &ResumeOptions, store: &OpenStore) -> Result<Exit, Ended> {
    store.group(&options.group).await?.resume().await?;
    print(&options.group, false)
}

fn print(group: &str, is_paused: bool) -> Result<Exit, Ended> {
    let mut output = Output::new();
    output.line(&ejson::to_json(
        &ejson!({ "group": group, "paused": is_paused }),
    ))?;
    output.flush()?;
    Ok(Exit::Done)
}
