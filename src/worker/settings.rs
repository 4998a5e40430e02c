//! The settings of clients that work for groups.

use crate::base::error::{Error, Result};

/// Settings of clients that work for groups, see [`Builder::worker`](crate::Builder::worker).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// How many records a client has at once that does not say how many it wants: 16 by default. A
    /// group's own limit for each member holds too.
    pub credit: usize,
    /// The most that a client can want: 1,000 by default. One that wants more is refused with 400.
    pub most_credit: usize,
}

impl WorkerSettings {
    pub(crate) fn check(&self) -> Result<()> {
        let Self {
            credit,
            most_credit,
        } = self;
        if !(1..=*most_credit).contains(credit) {
            return Err(Error::configuration(format!(
                "workers.credit must be 1 to workers.most_credit, which is {most_credit}, and not \
                 {credit}"
            )));
        }
        Ok(())
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            credit: 16,
            most_credit: 1000,
        }
    }
}
