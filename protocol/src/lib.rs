#![doc = include_str!("../README.md")]
pub mod ejson;
pub mod message;
pub mod random;
pub mod session;
pub mod sockjs;
pub mod vent;
pub mod view;
