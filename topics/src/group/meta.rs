//! What a group is: its options, where it began, and whether it is paused. All processes read it.

use serde::{Deserialize, Serialize};
use updraft_protocol::ejson::{self, JsonLimits};

use super::keys::{GROUPS, GroupName};
use super::options::Options;
use crate::clock::now;
use crate::nearest::nearest;
use crate::{Position, Register, Registers, Swap, Swapped, TopicError, Version};

/// Names that are looked at to find the nearest one.
const NAMES: usize = 1000;

/// The value of the register, as EJSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) options: Options,
    /// Where it began in each of its topics.
    pub(crate) starts: Vec<Position>,
    /// How many offsets behind each start had no record then.
    pub(crate) holes: Vec<u64>,
    pub(crate) paused: bool,
    /// When it was last known to have members, in milliseconds since 1970.
    pub(crate) active: u64,
}

impl Meta {
    pub(crate) fn new(options: Options, starts: Vec<Position>, holes: Vec<u64>) -> Self {
        Self {
            options,
            starts,
            holes,
            paused: false,
            active: now(),
        }
    }

    pub(crate) fn decode(register: &Register) -> Option<Self> {
        let text = std::str::from_utf8(&register.value).ok()?;
        let value = ejson::parse(text, &JsonLimits::new(64, usize::MAX)).ok()?;
        ejson::from_value(value).ok()
    }

    fn encode(&self) -> Result<String, TopicError> {
        let value = ejson::to_value(self).map_err(TopicError::unavailable)?;
        Ok(ejson::to_ejson(&value))
    }

    /// What is kept of a group; `None` if there is none of this name.
    pub(crate) async fn read(
        registers: &dyn Registers,
        name: &GroupName,
    ) -> Result<Option<(Version, Self)>, TopicError> {
        let found = registers.get(&[name.meta()]).await?;
        let Some(register) = found.into_iter().next().flatten() else {
            return Ok(None);
        };
        match Self::decode(&register) {
            Some(meta) => Ok(Some((register.version, meta))),
            None => Err(TopicError::unavailable(std::io::Error::from(
                std::io::ErrorKind::InvalidData,
            ))),
        }
    }

    /// Keeps a new group; false if there is one already.
    pub(crate) async fn create(
        &self,
        registers: &dyn Registers,
        name: &GroupName,
    ) -> Result<bool, TopicError> {
        let topics = self.options.topics.iter();
        let listed = topics.map(|topic| name.listed_for(topic));
        let listed = listed.chain([name.listed()]);
        let listed = listed.map(|key| Swap::write(key, None, ""));
        // That one is listed already is no harm.
        for swap in listed.collect::<Result<Vec<_>, _>>()? {
            registers.swap(vec![swap]).await?;
        }
        self.swap(registers, name, None).await
    }

    /// Whether this was written over what had the expected version.
    pub(crate) async fn swap(
        &self,
        registers: &dyn Registers,
        name: &GroupName,
        expected: Option<Version>,
    ) -> Result<bool, TopicError> {
        let swap = Swap::write(name.meta(), expected, self.encode()?)?;
        let swapped = registers.swap(vec![swap]).await?;
        Ok(matches!(swapped.first(), Some(Swapped::Written(_))))
    }
}

/// The error for a group that is not there: it names the nearest one.
pub(crate) async fn unknown(registers: &dyn Registers, name: &GroupName) -> TopicError {
    let names = match registers.scan(GROUPS, "", None, NAMES).await {
        Ok(names) => names,
        Err(error) => return error,
    };
    let nearest = nearest(name.as_str(), names.iter().map(|(key, _)| key.name()));
    TopicError::UnknownGroup {
        nearest: nearest.map(Into::into),
    }
}
