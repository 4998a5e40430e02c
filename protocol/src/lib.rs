//! DDP as Meteor speaks it.

pub mod ejson;
pub mod message;
pub mod random;
pub mod session;
pub mod vent;
pub mod view;
