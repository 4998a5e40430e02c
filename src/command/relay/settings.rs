//! What the relay is told: on the command line, by variables of the environment, and in a file.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::str::FromStr;
use std::{convert, fmt};

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde::{Deserialize, Deserializer};

use super::pattern::{self, Relay};

/// All of it. A file has the same names without their dashes; what it does not say is as nobody had
/// said it.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RelaySettings {
    /// Where to listen; by default 127.0.0.1:3000.
    #[arg(long, env = "UPDRAFT_LISTEN", value_name = "HOST:PORT")]
    pub(super) listen: Option<String>,
    /// Where the messages come from; by default redis://127.0.0.1. A URL with a password belongs
    /// into the file or the variable: the list of processes shows options to everybody.
    #[arg(
        long,
        env = "UPDRAFT_REDIS",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) redis: Option<Secret>,
    /// Lets pages of this origin connect, for example https://app.example.com or
    /// https://*.example.com. May be given several times. Pages of the relay's own origin may
    /// connect in any case and, if it listens on a loopback address, pages of this machine. With
    /// any, pages of all origins may, as with Meteor itself.
    #[arg(
        long = "allow-origin",
        env = "UPDRAFT_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    #[serde(rename = "allow-origin")]
    pub(super) origins: Vec<String>,
    /// How many proxies in front of the relay append to X-Forwarded-For; by default 0.
    #[arg(long, env = "UPDRAFT_TRUSTED_PROXIES", value_name = "COUNT")]
    pub(super) trusted_proxies: Option<usize>,
    /// Answers load balancers: at /healthz with 200, at /readyz with 200 or, while no new clients
    /// should be sent, with 503.
    #[arg(
        long,
        env = "UPDRAFT_HEALTH_CHECKS",
        value_parser = FalseyValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub(super) health_checks: Option<bool>,
    /// Over how many seconds clients are closed when the relay is told to end, if there are many;
    /// by default 10. The relay ends at most 15 seconds after that.
    #[arg(long, env = "UPDRAFT_DRAIN", value_name = "SECONDS")]
    pub(super) drain: Option<u32>,
    /// Speaks TLS, and nothing else on its port, with the certificate in this file, behind which
    /// are the certificates between it and its authority. The file may be replaced while the relay
    /// runs, which the relay notices within 10 s, or at SIGHUP.
    #[cfg(feature = "tls")]
    #[arg(long, env = "UPDRAFT_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's private key.
    #[cfg(feature = "tls")]
    #[arg(long, env = "UPDRAFT_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Stands in front of the Meteor app at this address, for example http://127.0.0.1:4000: what
    /// is not relayed here is passed on to the app, its pages and other requests among it. May be
    /// given several times, for the processes of one app.
    #[arg(
        long = "meteor",
        env = "UPDRAFT_METEOR",
        value_name = "URL",
        value_delimiter = ','
    )]
    #[serde(rename = "meteor")]
    pub(super) meteors: Vec<String>,
    /// The key of the cookie that keeps a browser at one of several processes of the app; by default
    /// drawn at random. Several relays in front of one app need the same: 16 bytes or more. It is a
    /// secret, and belongs into the file or the variable.
    #[arg(
        long,
        env = "UPDRAFT_COOKIE_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(super) cookie_key: Option<Secret>,
    /// A publication and its channel, for example threadMessage=threads::{threadId}::new_message.
    /// {x} stands for member x of the subscription's parameter. May be given several times.
    #[arg(
        long = "relay",
        value_name = "NAME=CHANNEL",
        required_unless_present_any = ["meteors", "config"]
    )]
    #[serde(rename = "relay", deserialize_with = "pattern::table")]
    pub(super) relays: Vec<Relay>,
}

impl RelaySettings {
    /// These options, and for what they do not say those of the other. Lists are not joined.
    pub(super) fn or(self, other: Self) -> Self {
        fn list<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
            if first.is_empty() { second } else { first }
        }
        Self {
            listen: self.listen.or(other.listen),
            redis: self.redis.or(other.redis),
            origins: list(self.origins, other.origins),
            trusted_proxies: self.trusted_proxies.or(other.trusted_proxies),
            health_checks: self.health_checks.or(other.health_checks),
            drain: self.drain.or(other.drain),
            #[cfg(feature = "tls")]
            tls_cert: self.tls_cert.or(other.tls_cert),
            #[cfg(feature = "tls")]
            tls_key: self.tls_key.or(other.tls_key),
            meteors: list(self.meteors, other.meteors),
            cookie_key: self.cookie_key.or(other.cookie_key),
            relays: list(self.relays, other.relays),
        }
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.relays.is_empty() && self.meteors.is_empty() {
            bail!(
                "there is nothing to do; --relay NAME=CHANNEL names a publication, --meteor URL an \
                 app to stand in front of, and --config FILE a file with both; --help says more"
            );
        }
        if self.cookie_key.is_some() && self.meteors.is_empty() {
            bail!("cookie-key is of no use without an app; --meteor says where it is");
        }
        #[cfg(feature = "tls")]
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            bail!("TLS needs both a certificate and its key; --tls-cert and --tls-key name them");
        }
        Ok(())
    }
}

/// A text that nothing prints.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl FromStr for Secret {
    type Err = convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        // The parser's own error would repeat what it has found.
        let text = String::deserialize(text);
        let error = |_| serde::de::Error::custom("it must be a text, in quotation marks");
        text.map(Self).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_096_secrets_are_not_printed() {
        let options = RelaySettings {
            redis: Some(Secret("redis://:hunter2@localhost".to_owned())),
            cookie_key: Some(Secret("hunter2".to_owned())),
            ..RelaySettings::default()
        };
        let printed = format!("{options:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("[hidden]"), "{printed}");
    }
}
