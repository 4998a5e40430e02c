//! What a process says of itself to those who look at a group.

use serde::{Deserialize, Serialize};
use updraft_protocol::ejson::{self, JsonLimits};

/// The value of the register, as EJSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeatInfo {
    pub(crate) members: Vec<MemberInfo>,
    /// Slots that can read no further and have nothing to hand out.
    pub(crate) stalled: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberInfo {
    pub(crate) name: String,
    pub(crate) in_flight: u64,
}

impl SeatInfo {
    pub(crate) fn encode(&self) -> String {
        let value = ejson::to_value(self).unwrap_or_default();
        ejson::to_ejson(&value)
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let value = ejson::parse(text, &JsonLimits::new(64, usize::MAX)).ok()?;
        ejson::from_value(value).ok()
    }
}
