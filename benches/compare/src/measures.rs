//! What is measured: each measure has one case, or one for each point of a curve.

use std::time::Duration;

use updraft_load::{Feed, Pace, Request};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    Quick,
}

/// A measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A fixed rate that no server finds difficult.
    Rate,
    /// As fast as the server can.
    Saturated,
    /// As fast as the server can, each subscriber on a channel of its own.
    Own,
    /// A fixed rate, each message alone and for one subscriber.
    Isolated,
    /// Subscribers that get no messages.
    Idle,
    /// A fixed rate of deliveries, to more and more subscribers.
    Clients,
    /// A fixed rate of deliveries, on more and more channels.
    Channels,
    /// Larger and larger messages.
    Size,
    /// Clients that come back at once, each of which has missed some messages.
    Storm,
    /// More threads.
    Shards,
    /// A fixed rate, while some of the subscribers do not read.
    Slow,
    /// Method calls.
    Calls,
    /// Subscriptions to nothing, begun and ended.
    Subscriptions,
    /// Subscriptions to a channel of each client's own, begun and ended.
    Follows,
    /// Logins with a resume token.
    Logins,
    /// A document that changes for all subscribers.
    Documents,
}

/// All measures.
pub(crate) const MEASURES: [Measure; 16] = [
    Measure::Rate,
    Measure::Saturated,
    Measure::Own,
    Measure::Isolated,
    Measure::Idle,
    Measure::Clients,
    Measure::Channels,
    Measure::Size,
    Measure::Shards,
    Measure::Slow,
    Measure::Storm,
    Measure::Calls,
    Measure::Subscriptions,
    Measure::Follows,
    Measure::Logins,
    Measure::Documents,
];

/// The measures that share a table; on the command line they are `costs`.
pub(crate) const COSTS: [Measure; 5] = [
    Measure::Calls,
    Measure::Subscriptions,
    Measure::Follows,
    Measure::Logins,
    Measure::Documents,
];

/// One case to measure, with each server that takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) measure: Measure,
    /// The point on the measure's curve, if it has one.
    pub(crate) point: usize,
    pub(crate) clients: usize,
    pub(crate) channels: usize,
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// Threads of Updraft that own connections; with more than one the server may use both
    /// processors.
    pub(crate) shards: usize,
    /// Clients that do not read.
    pub(crate) silent: usize,
    /// A publication to use instead of the server's own.
    pub(crate) publication: Option<&'static str>,
    /// A feed to use instead of the server's own.
    pub(crate) feed: Option<Feed>,
    /// Users of Updraft's accounts; zero switches accounts off.
    pub(crate) users: usize,
}

/// Deliveries a second where the rate is fixed.
const RATE: f64 = 20_000.0;

impl Measure {
    /// Its name on the command line, in raw figures and in the page.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Saturated => "sat",
            Self::Own => "own",
            Self::Isolated => "isolated",
            Self::Idle => "idle",
            Self::Clients => "clients",
            Self::Channels => "channels",
            Self::Size => "size",
            Self::Storm => "storm",
            Self::Shards => "shards",
            Self::Slow => "slow",
            Self::Calls => "calls",
            Self::Subscriptions => "subs",
            Self::Follows => "follows",
            Self::Logins => "logins",
            Self::Documents => "documents",
        }
    }

    /// The servers that take part, by key.
    pub(crate) fn servers(self) -> &'static [&'static str] {
        match self {
            Self::Rate => &[
                "limit-1",
                "updraft",
                "updraft-rebuilt",
                "updraft-relay",
                "updraft-topic",
                "updraft-sockjs",
                "ws",
                "socketio",
                "sockjs",
                "nats",
                "mosquitto",
            ],
            Self::Saturated => &[
                "limit-1",
                "limit-16",
                "updraft",
                "updraft-rebuilt",
                "updraft-relay",
                "updraft-topic",
                "updraft-sockjs",
                "ws",
                "socketio",
                "sockjs",
                "nats",
                "mosquitto",
            ],
            Self::Idle => &[
                "updraft",
                "updraft-topic",
                "updraft-sockjs",
                "ws",
                "socketio",
                "sockjs",
                "nats",
                "mosquitto",
            ],
            Self::Own | Self::Isolated | Self::Slow => &[
                "updraft",
                "updraft-sockjs",
                "ws",
                "socketio",
                "sockjs",
                "nats",
                "mosquitto",
            ],
            Self::Clients => &["limit-1", "updraft", "ws", "sockjs"],
            Self::Channels | Self::Size => &["updraft", "ws", "sockjs"],
            Self::Shards | Self::Logins => &["updraft"],
            Self::Storm => &["updraft-missed"],
            Self::Calls | Self::Subscriptions | Self::Follows => {
                &["updraft", "updraft-sockjs", "sockjs"]
            }
            Self::Documents => &["updraft", "sockjs"],
        }
    }

    /// What is measured, point by point.
    pub(crate) fn cases(self, scale: Scale) -> Vec<Case> {
        let quick = scale == Scale::Quick;
        let common = self.common(scale);
        let points =
            |full: &[usize], few: &[usize]| if quick { few.to_vec() } else { full.to_vec() };
        let cases =
            |points: Vec<usize>, of: &dyn Fn(usize) -> Case| points.into_iter().map(of).collect();
        match self {
            Self::Rate
            | Self::Saturated
            | Self::Own
            | Self::Isolated
            | Self::Idle
            | Self::Calls
            | Self::Subscriptions
            | Self::Follows
            | Self::Logins
            | Self::Documents => vec![common],
            Self::Clients => cases(
                points(&[100, 1_000, 5_000, 18_000], &[100, 500]),
                &|point| Case {
                    point,
                    clients: point,
                    pace: Pace::Rate(RATE / point as f64),
                    // At 18,000 subscribers there is about one message a second.
                    time: if quick {
                        common.time
                    } else {
                        Duration::from_secs(10)
                    },
                    ..common
                },
            ),
            Self::Channels => {
                let clients = if quick { 500 } else { 10_000 };
                cases(points(&[1, 10, 100, 1_000, 10_000], &[1, 500]), &|point| {
                    Case {
                        point,
                        clients,
                        channels: point,
                        pace: Pace::Rate(RATE * point as f64 / clients as f64),
                        time: if quick {
                            common.time
                        } else {
                            Duration::from_secs(10)
                        },
                        ..common
                    }
                })
            }
            Self::Size => cases(
                points(&[50, 150, 1_024, 8_192, 65_536], &[50, 65_536]),
                &|point| Case {
                    point,
                    // Few, so that the largest message still fits through the loopback interface.
                    clients: 100,
                    size: point,
                    pace: Pace::Rate(20.0),
                    ..common
                },
            ),
            Self::Storm => cases(vec![1, 10, 100], &|point| Case {
                point,
                pace: Pace::Missed(point as u64),
                ..common
            }),
            Self::Shards => cases(vec![1, 2], &|point| Case {
                point,
                shards: point,
                ..common
            }),
            // None, and one of a hundred.
            Self::Slow => cases(vec![0, common.clients / 100], &|point| Case {
                point,
                silent: point,
                // Large enough that a client that does not read is soon noticed.
                size: 4_096,
                ..common
            }),
        }
    }

    fn common(self, scale: Scale) -> Case {
        let quick = scale == Scale::Quick;
        let clients = match (self, quick) {
            (Self::Idle | Self::Documents | Self::Storm, false) => 10_000,
            (Self::Calls | Self::Subscriptions | Self::Follows | Self::Logins, _) => 100,
            (_, false) => 1_000,
            (_, true) => 200,
        };
        let each_its_own = matches!(self, Self::Own | Self::Isolated | Self::Follows);
        let time = match (self, quick) {
            // Longer than two heartbeat intervals.
            (Self::Idle, false) => 40_000,
            (_, false) => 6_000,
            (_, true) => 800,
        };
        Case {
            measure: self,
            point: 0,
            clients,
            channels: if each_its_own { clients } else { 1 },
            size: 150,
            pace: match self {
                Self::Saturated => Pace::Window(16 * clients as u64),
                Self::Own => Pace::Window(2_000),
                Self::Isolated => Pace::Rate(5_000.0),
                Self::Idle => Pace::Idle,
                Self::Calls => Pace::Requests(Request::Call),
                Self::Subscriptions | Self::Follows => Pace::Requests(Request::Subscription),
                Self::Logins => Pace::Requests(Request::Login),
                Self::Documents => Pace::Window(4 * clients as u64),
                _ => Pace::Rate(RATE / clients as f64),
            },
            warm_up: Duration::from_millis(if quick { 200 } else { 1_000 }),
            time: Duration::from_millis(time),
            shards: 1,
            silent: 0,
            publication: match self {
                Self::Subscriptions => Some("nothing"),
                Self::Documents => Some("document"),
                _ => None,
            },
            feed: (self == Self::Documents).then_some(Feed::Method),
            users: if self == Self::Logins { clients } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::SERVERS;

    #[test]
    fn each_channel_has_as_many_subscribers_as_the_others() {
        for case in MEASURES
            .iter()
            .flat_map(|measure| measure.cases(Scale::Full))
        {
            assert_eq!(case.clients % case.channels, 0, "{case:?}");
        }
    }

    #[test]
    fn the_servers_of_a_measure_exist() {
        for key in MEASURES.iter().flat_map(|measure| measure.servers()) {
            assert!(SERVERS.iter().any(|server| server.key == *key), "{key}");
        }
    }
}
