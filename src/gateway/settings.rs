//! Settings of a server in front of a Meteor app.

use std::time::Duration;

use super::PassedHttpSettings;

/// What passes between clients and the Meteor server behind this one, and how long each may take.
/// It applies if there is a [`Meteor`](crate::Meteor).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GatewaySettings {
    /// Bytes of a message that is passed on, in either direction: 64 MiB by default, as in Meteor.
    /// A longer one of a client closes its connection with 1009, one of Meteor with 1011. What this
    /// server answers itself may have [`ClientLimits::message`](crate::config::ClientLimits)
    /// bytes.
    pub message: usize,
    /// Bytes that may wait for a client before nothing more is read for it from Meteor: 1 MiB by
    /// default. Reading goes on when half of them are taken.
    pub backlog: usize,
    /// How long Meteor may take no byte of what a client has sent: 10 s by default. Then it is gone
    /// for this client. Meanwhile nothing is read from the client.
    pub output_timeout: Duration,
    /// How long Meteor may be silent before it is pinged: 15 s by default. Zero switches pings off.
    pub heartbeat_interval: Duration,
    /// How long Meteor may stay silent once it was pinged: 15 s by default. Then it is gone for this
    /// client.
    pub heartbeat_timeout: Duration,
    /// When Meteor is gone, its clients are closed with 1012 at random times within this time: 5 s
    /// by default.
    pub close_spread: Duration,
    /// How long subscriptions and calls of this server wait for the result of a login before them:
    /// 30 s by default.
    pub login_patience: Duration,
    /// How long the result of a login waits until the subscriptions of this server have run again
    /// for the new user: 2 s by default.
    pub change_patience: Duration,
    /// How long Meteor may take to accept a connection and to answer its `connect`: 10 s by default.
    pub connect_timeout: Duration,
    /// How many connections may be opened at the same time: 64 by default. Other clients wait, in
    /// their order.
    pub connects: usize,
    /// How many connections are opened within a second: 200 by default.
    pub connects_per_second: u32,
    /// How long a client may wait for a connection to Meteor: 90 s by default. Then it is closed
    /// with 1013.
    pub queue_timeout: Duration,
    /// When no server has accepted a connection for this time, clients that have waited as long are
    /// closed with 1013: 10 s by default. Each client that cannot be served waits for this time: a
    /// client of Meteor whose connection was open comes back at once.
    pub away_timeout: Duration,
    /// How long a server is left out that has refused a connection: 5 s by default. Then one client
    /// is sent there, and the others when it was accepted.
    pub left_out: Duration,
    /// Requests that are passed to the app.
    pub http: PassedHttpSettings,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            message: 64 * 1024 * 1024,
            backlog: 1024 * 1024,
            output_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(15),
            close_spread: Duration::from_secs(5),
            login_patience: Duration::from_secs(30),
            change_patience: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(10),
            connects: 64,
            connects_per_second: 200,
            queue_timeout: Duration::from_secs(90),
            away_timeout: Duration::from_secs(10),
            left_out: Duration::from_secs(5),
            http: PassedHttpSettings::default(),
        }
    }
}
