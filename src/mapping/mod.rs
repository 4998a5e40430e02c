//! From messages of the bus, and records of topics, to events of one client: mapping functions and their results.

mod event;
mod mapper;
mod record;

pub use event::{Event, IntoEvent, IntoGapEvent, MessageEvent};
pub(crate) use mapper::{
    AsyncMapper, MapEach, MapRecord, Mapper, OnGap, OnLost, OneShared, Queued, RecordMapper,
    SharedMapper,
};
pub(crate) use record::{insert_details, insert_payload};
