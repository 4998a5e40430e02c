//! The load generator of the benches, and the limit to which its results are compared. A job
//! arrives as one line of JSON, a [`Job`], and is answered with another, a [`Report`].

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "of this workspace only: whoever matches one must know all of it"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a load generator measures real time"
)]

mod clients;
mod clock;
mod fan_out;
mod frame;
mod histogram;
mod job;
pub mod limit;
pub mod markdown;
mod process;
mod protocol;
mod publisher;
pub mod quiet;
pub mod relay;
mod report;
mod request;
mod stamp;
pub mod transfer;
pub mod upstream;
pub mod workspace;

pub use fan_out::run;
pub use job::{Feed, Job, Limit, Pace, Protocol, Request};
pub use report::{Latency, Report, Usage};
pub use transfer::Transfer;
