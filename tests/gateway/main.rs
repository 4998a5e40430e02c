//! A server in front of a Meteor app. The app is the example `fixture`, whose transcripts are a real
//! Meteor's, or one that misbehaves on command.

#[path = "../common/mod.rs"]
mod common;

mod app;
mod http;
mod passing;
mod world;
