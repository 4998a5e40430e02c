//! The relay: its publications pass on channels of Redis unchanged, and are declared on the command
//! line or in a file.

mod file;
mod pattern;
mod settings;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use updraft::prelude::*;
use updraft::{ErrorKind, HealthChecks, Meteor, Object, TrustedProxies};

use super::with_option;
use settings::{RelaySettings, Secret};

#[derive(Debug, Args)]
pub(crate) struct RelayOptions {
    /// A file with the other options, as TOML. What is said on the command line or by a variable
    /// counts instead of what the file says.
    #[arg(long, env = "UPDRAFT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: RelaySettings,
}

impl RelayOptions {
    /// With what the file says.
    fn complete(self) -> anyhow::Result<RelaySettings> {
        let Some(path) = self.config else {
            return Ok(self.settings);
        };
        Ok(self.settings.or(file::read(&path)?))
    }
}

pub(crate) async fn run(options: RelayOptions) -> anyhow::Result<()> {
    let told = options.complete()?;
    told.check()?;
    match updraft::raise_file_limit() {
        Ok(files) => tracing::debug!(files, "Each connection is one of so many files."),
        Err(error) => tracing::warn!(%error, "The limit of open files could not be raised."),
    }
    let drain = Duration::from_secs(told.drain.unwrap_or(DRAIN).into());
    let mut server = Server::builder();
    // Who only passes on needs none.
    if !told.relays.is_empty() {
        let url = told.redis.as_ref().map_or(REDIS, Secret::reveal);
        let redis = Redis::connect(url).await;
        server = server.bus(redis.map_err(|error| with_option(error, "--redis"))?);
    }
    let mut meteors = told.meteors.into_iter();
    if let Some(first) = meteors.next() {
        let mut app = meteors.fold(Meteor::at(first).http(true), Meteor::and_at);
        if let Some(key) = told.cookie_key {
            app = app.cookie_key(key.reveal());
        }
        server = server.meteor(app);
    }
    server = server.configure(|settings| {
        settings.trusted_proxies = TrustedProxies::Hops(told.trusted_proxies.unwrap_or(0));
        settings.origins.allow_any = told.origins.iter().any(|origin| origin == ANY);
        settings.origins.allowed = told.origins;
        settings.origins.allowed.retain(|origin| origin != ANY);
        settings.drain.spread = drain;
        settings.drain.within = drain.saturating_add(AFTER_SPREAD);
    });
    #[cfg(feature = "tls")]
    if let (Some(certificates), Some(key)) = (told.tls_cert, told.tls_key) {
        let tls = updraft::Tls::from_pem_files(certificates, key)?;
        server = server.tls(tls);
    }
    if told.health_checks == Some(true) {
        server = server.health_checks(HealthChecks::new());
    }
    for relay in told.relays {
        let name = relay.publication.clone();
        server = server.vent(&name, move |vent: Vent, parameter: Option<Object>| {
            let channel = relay.channel(&parameter.unwrap_or_default());
            async move { vent.relay(channel?).await }
        });
    }
    let bound = server.bind(told.listen.as_deref().unwrap_or(LISTEN)).await;
    let bound = bound.map_err(|error| match error.kind() {
        ErrorKind::Address => with_option(error, "--listen"),
        _ => anyhow::Error::from(error),
    })?;
    Ok(bound.serve().await?)
}

const LISTEN: &str = "127.0.0.1:3000";
const REDIS: &str = "redis://127.0.0.1";
/// Seconds.
const DRAIN: u32 = 10;

/// In place of an origin: all of them.
const ANY: &str = "any";

/// How much longer the relay may take to end than the time over which closes are spread.
const AFTER_SPREAD: Duration = Duration::from_secs(15);
