//! The relay: its publications pass on channels of Redis unchanged, and are declared on the command
//! line.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;
use updraft::prelude::*;
use updraft::{Channel, ErrorKind, HealthChecks, Meteor, Object, TrustedProxies};

use super::with_option;

#[derive(Debug, Args)]
pub(crate) struct RelayOptions {
    /// Where to listen.
    #[arg(long, env = "UPDRAFT_LISTEN", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Where the messages come from.
    #[arg(
        long,
        env = "UPDRAFT_REDIS",
        hide_env_values = true,
        default_value = "redis://127.0.0.1"
    )]
    redis: String,
    /// Lets pages of this origin connect, for example https://app.example.com or
    /// https://*.example.com. May be given several times. Pages of the relay's own origin may
    /// connect in any case and, if it listens on a loopback address, pages of this machine. With
    /// any, pages of all origins may, as with Meteor itself.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// How many proxies in front of the relay append to X-Forwarded-For.
    #[arg(long, env = "UPDRAFT_TRUSTED_PROXIES", default_value_t = 0)]
    trusted_proxies: usize,
    /// Answers load balancers: at /healthz with 200, at /readyz with 200 or, while no new clients
    /// should be sent, with 503.
    #[arg(long, env = "UPDRAFT_HEALTH_CHECKS", value_parser = FalseyValueParser::new())]
    health_checks: bool,
    /// Over how many seconds clients are closed when the relay is told to end, if there are many.
    /// The relay ends at most 15 seconds after that.
    #[arg(
        long,
        env = "UPDRAFT_DRAIN",
        value_name = "SECONDS",
        default_value_t = 10
    )]
    drain: u32,
    /// Speaks TLS, and nothing else on its port, with the certificate in this file, behind which
    /// are the certificates between it and its authority. The file may be replaced while the relay
    /// runs, which the relay notices within 10 s, or at SIGHUP.
    #[cfg(feature = "tls")]
    #[arg(
        long,
        env = "UPDRAFT_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key.
    #[cfg(feature = "tls")]
    #[arg(
        long,
        env = "UPDRAFT_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// Stands in front of the Meteor app at this address, for example http://127.0.0.1:4000: what
    /// is not relayed here is passed on to the app, its pages and other requests among it. May be
    /// given several times, for the processes of one app.
    #[arg(
        long = "meteor",
        env = "UPDRAFT_METEOR",
        value_name = "URL",
        value_delimiter = ','
    )]
    meteors: Vec<String>,
    /// A publication and its channel, for example threadMessage=threads::{threadId}::new_message.
    /// {x} stands for member x of the subscription's parameter. May be given several times.
    #[arg(
        long = "relay",
        value_name = "NAME=CHANNEL",
        required_unless_present = "meteors",
        value_parser = relay
    )]
    relays: Vec<Relay>,
}

/// One publication of the command line.
#[derive(Clone, Debug)]
struct Relay {
    publication: String,
    channel: Vec<Part>,
}

/// A part of a channel's name, between `::`.
#[derive(Clone, Debug)]
enum Part {
    Fixed(String),
    /// A member of the subscription's parameter.
    Member(String),
}

fn relay(text: &str) -> anyhow::Result<Relay> {
    let Some((publication, channel)) = text.split_once('=') else {
        bail!("not of the form NAME=CHANNEL");
    };
    if publication.is_empty() {
        bail!("the publication has no name");
    }
    // It would be the name of one channel, while the operator probably means a pattern.
    if channel.contains(|c: char| c.is_whitespace() || r"*?[]^\".contains(c)) {
        bail!(
            "a channel's name has no white space, and is no pattern; where a part of it differs, \
             {{x}} stands for member x of the subscription's parameter"
        );
    }
    let part = |part: &str| {
        let member = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'));
        match member {
            Some("") => bail!("{{}} names no member"),
            Some(member) => Ok(Part::Member(member.to_owned())),
            None if part.is_empty() => bail!("a part of the channel's name is empty"),
            None if part.contains(['{', '}']) => bail!("{{x}} must be a part of its own: {part:?}"),
            None => Ok(Part::Fixed(part.to_owned())),
        }
    };
    let channel = channel
        .split("::")
        .map(part)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let relay = Relay {
        publication: publication.to_owned(),
        channel,
    };
    // Any member will do to check the fixed parts.
    let named = relay.name(|_| Ok("x".to_owned()))?;
    Channel::trusted(named)?;
    Ok(relay)
}

impl Relay {
    /// The channel for a subscription with this parameter.
    fn channel(&self, parameter: &Object) -> Result<Channel> {
        let name = self.name(|member| {
            let part = match parameter.get(member) {
                Some(Value::String(text)) => text.to_string(),
                Some(number @ Value::Number(_)) => ejson::to_json(number),
                None => return Err(mismatch(member, "is missing")),
                Some(_) => return Err(mismatch(member, "is no text and no number")),
            };
            // The client sent it, so it may be one part of the name and no more.
            let part = channel![part].map_err(|error| mismatch(member, &error.to_string()))?;
            Ok(part.to_string())
        })?;
        // The operator wrote the rest.
        Ok(Channel::trusted(name)?)
    }

    fn name(&self, member: impl Fn(&str) -> Result<String>) -> Result<String> {
        let parts = self.channel.iter().map(|part| match part {
            Part::Fixed(text) => Ok(text.clone()),
            Part::Member(name) => member(name),
        });
        Ok(parts.collect::<Result<Vec<_>>>()?.join("::"))
    }
}

/// The error for a member of a client's parameter that does not fit.
fn mismatch(member: &str, why: &str) -> Error {
    Error::match_failed().because(format!("{member}: {why}"))
}

pub(crate) async fn run(options: RelayOptions) -> anyhow::Result<()> {
    match updraft::raise_file_limit() {
        Ok(files) => tracing::debug!(files, "Each connection is one of so many files."),
        Err(error) => tracing::warn!(%error, "The limit of open files could not be raised."),
    }
    let drain = Duration::from_secs(options.drain.into());
    let mut server = Server::builder();
    // Who only passes on needs none.
    if !options.relays.is_empty() {
        let redis = Redis::connect(&options.redis).await;
        server = server.bus(redis.map_err(|error| with_option(error, "--redis"))?);
    }
    let mut meteors = options.meteors.into_iter();
    if let Some(first) = meteors.next() {
        let app = Meteor::at(first).http(true);
        server = server.meteor(meteors.fold(app, Meteor::and_at));
    }
    server = server.configure(|settings| {
        settings.trusted_proxies = TrustedProxies::Hops(options.trusted_proxies);
        settings.origins.allow_any = options.origins.iter().any(|origin| origin == ANY);
        settings.origins.allowed = options.origins;
        settings.origins.allowed.retain(|origin| origin != ANY);
        settings.drain.spread = drain;
        settings.drain.within = drain.saturating_add(AFTER_SPREAD);
    });
    #[cfg(feature = "tls")]
    if let (Some(certificates), Some(key)) = (options.tls_cert, options.tls_key) {
        let tls = updraft::Tls::from_pem_files(certificates, key)?;
        server = server.tls(tls);
    }
    if options.health_checks {
        server = server.health_checks(HealthChecks::new());
    }
    for relay in options.relays {
        let name = relay.publication.clone();
        server = server.vent(&name, move |vent: Vent, parameter: Option<Object>| {
            let channel = relay.channel(&parameter.unwrap_or_default());
            async move { vent.relay(channel?).await }
        });
    }
    let bound = server.bind(&options.listen).await;
    let bound = bound.map_err(|error| match error.kind() {
        ErrorKind::Address => with_option(error, "--listen"),
        _ => anyhow::Error::from(error),
    })?;
    Ok(bound.serve().await?)
}

/// In place of an origin: all of them.
const ANY: &str = "any";

/// How much longer the relay may take to end than the time over which closes are spread.
const AFTER_SPREAD: Duration = Duration::from_secs(15);
