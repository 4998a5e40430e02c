//! From messages of the bus to events of one client: mapping functions and their results.

mod event;
mod mapper;

pub use event::{Event, IntoEvent, IntoGapEvent, MessageEvent};
pub(crate) use mapper::{AsyncMapper, MapEach, Mapper, OnGap, OneShared, Queued, SharedMapper};
