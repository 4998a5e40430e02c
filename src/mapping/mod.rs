//! From messages of the bus to events of one client: what a mapping function is, and what it makes.

mod event;
mod mapper;

pub use event::{Event, IntoEvent, IntoGapEvent, MessageEvent};
pub(crate) use mapper::{AsyncMapper, MapEach, Mapper, OnGap, OneShared, Queued, SharedMapper};
