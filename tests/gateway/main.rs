//! A server in front of a Meteor app. The app is the example `fixture`, whose transcripts are a real
//! Meteor's, or one that misbehaves on command.

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "only its publications are on this side")]
#[path = "../../examples/fixture/live.rs"]
mod live;
#[allow(dead_code, reason = "not all of them")]
#[path = "../../examples/fixture/publications.rs"]
mod publications;

mod app;
mod bodies;
mod ends;
mod faults;
mod http;
mod opening;
mod page;
mod passing;
mod refusals;
mod resumption;
mod slow;
mod split;
mod users;
mod web;
mod world;
