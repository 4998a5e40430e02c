//! The way to a Meteor server. Clients connect here; what is not registered here is answered by
//! Meteor, over one connection for each session.
//!
//! This folder knows which Meteor servers there are and which of them live ([`Upstreams`]), and
//! opens connections to them ([`Gateway::open`]). What is read and written on such a connection is
//! the shard's, and what it means is the session's (`protocol/src/session/gateway`). Other HTTP
//! requests are passed as they come ([`Gateway::pass`]).

mod address;
mod handshake;
mod headers;
mod http;
mod meteor;
mod opened;
mod opening;
mod settings;
mod upstreams;

pub(crate) use headers::ClientHeaders;
pub use http::PassedHttpSettings;
pub(crate) use http::Requester;
pub use meteor::Meteor;
pub(crate) use opened::{Opened, UpstreamEnd};
pub(crate) use opening::{Gateway, Opening, Surroundings, Unavailable};
pub use settings::GatewaySettings;
