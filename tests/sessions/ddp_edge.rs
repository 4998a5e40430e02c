//! What handlers and clients may do to a server over a real socket, and what it costs the others:
//! nothing. Each test ends with the gauges back at zero.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long a bus holds others up"
)]

mod handlers;
mod messages;

use updraft::prelude::*;
use updraft_test_support::client::Client;

/// How long nothing may come, in milliseconds.
pub(crate) const SILENCE: u64 = 150;

pub(crate) const INTERNAL: &str = r#"{"isClientSafe":true,"error":500,"reason":"Internal server error","message":"Internal server error [500]","errorType":"Meteor.Error"}"#;

pub(crate) fn sub(id: &str, name: &str, params: &str) -> String {
    format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":[{params}]}}"#)
}

pub(crate) fn unsub(id: &str) -> String {
    format!(r#"{{"msg":"unsub","id":"{id}"}}"#)
}

pub(crate) fn call(id: &str, name: &str, params: &str) -> String {
    format!(r#"{{"msg":"method","id":"{id}","method":"{name}","params":[{params}]}}"#)
}

pub(crate) fn ready(id: &str) -> String {
    format!(r#"{{"msg":"ready","subs":["{id}"]}}"#)
}

pub(crate) fn nosub(id: &str) -> String {
    format!(r#"{{"msg":"nosub","id":"{id}"}}"#)
}

pub(crate) fn nosub_with(id: &str, error: &str) -> String {
    format!(r#"{{"msg":"nosub","id":"{id}","error":{error}}}"#)
}

/// The two answers of a call.
pub(crate) fn expect_result(client: &mut Client, id: &str, rest: &str) {
    client.expect_text(&format!(r#"{{"msg":"updated","methods":["{id}"]}}"#));
    client.expect_text(&format!(r#"{{"msg":"result","id":"{id}"{rest}}}"#));
}

pub(crate) async fn nothing(_: Call) -> Result<()> {
    Ok(())
}
