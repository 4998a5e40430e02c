//! A server in front of a Meteor app. The app is the example `fixture`, whose transcripts are a real
//! Meteor's, or one that misbehaves on command.

#[path = "../common/mod.rs"]
mod common;

mod app;
mod ends;
mod faults;
mod http;
mod opening;
mod passing;
mod resumption;
mod users;
mod web;
mod world;
