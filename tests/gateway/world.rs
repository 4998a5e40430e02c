//! A fixture, and servers in front of it.

use std::time::Duration;

use updraft::{Builder, Meteor, Server};
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::example::Example;

use crate::app::{App, AppEnd};
use crate::common::Running;

/// The app whose transcripts are a real Meteor's.
pub(crate) fn fixture() -> Example {
    Example::start("fixture", &[])
}

/// A server in front of an app at this port, with what `register` adds. Sessions end with their
/// connections.
pub(crate) fn in_front_of(port: u16, register: impl FnOnce(Builder) -> Builder) -> Running {
    Running::start(front(at(port), register))
}

/// As [`in_front_of`], and clients may come back.
pub(crate) fn resumable(port: u16, register: impl FnOnce(Builder) -> Builder) -> Running {
    Running::start_resumable(front(at(port), register))
}

/// A server in front of this app that is to be started.
pub(crate) fn front(app: Meteor, register: impl FnOnce(Builder) -> Builder) -> Builder {
    register(
        Server::builder()
            .meteor(app)
            .configure(|settings| settings.gateway.close_spread = Duration::from_millis(50)),
    )
}

/// An app at this port of this machine.
pub(crate) fn at(port: u16) -> Meteor {
    Meteor::at(url(port))
}

pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A client, and the app's end of its session.
pub(crate) fn both(server: &Running, app: &App) -> (Client, AppEnd) {
    let mut client = Client::connect(server.url());
    client.send_text(CONNECT);
    let end = app.accept();
    let connected = client.expect_any_text();
    assert!(
        connected.starts_with(r#"{"msg":"connected""#),
        "{connected}"
    );
    (client, end)
}

/// The server as it is, without anything registered.
pub(crate) fn bare(builder: Builder) -> Builder {
    builder
}
