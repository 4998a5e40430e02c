//! A fixture, and servers in front of it.

use std::time::Duration;

use updraft::{Builder, Meteor, Server};
use updraft_test_support::example::Example;

use crate::common::Running;

/// The app: it accepts clients that come back, as the gateway does.
pub(crate) fn fixture() -> Example {
    Example::start("fixture", &[])
}

/// A server in front of an app at this port, with what `register` adds.
pub(crate) fn in_front_of(port: u16, register: impl FnOnce(Builder) -> Builder) -> Running {
    Running::start(front(port, register))
}

fn front(port: u16, register: impl FnOnce(Builder) -> Builder) -> Builder {
    let builder = Server::builder()
        .meteor(Meteor::at(format!("http://127.0.0.1:{port}")))
        .configure(|settings| settings.gateway.close_spread = Duration::from_millis(100));
    register(builder)
}
