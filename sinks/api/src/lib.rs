//! What a sink is.
//!
//! A *stream* sink wants every event at least once. It gets batches of [`Parcel`]s and answers with one [`Outcome`]
//! per event; reading, retrying, splitting, dead letters and the cursor are the delivery worker's business, so a sink
//! knows neither journal nor queue. One that sends a message per event, and judges each answer, is a
//! [`courier::Courier`], for which the loop, the pace and the second try in short are written.
//!
//! A *set* sink ([`set::SetSink`]) is a destination that is to equal what is decided: it is read, compared and mended, and
//! what was done is undone when its time is up.

pub mod base_url;
pub mod codes;
pub mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod courier;
pub mod dial;
pub mod http;
pub mod kernel;
pub mod measure;
pub mod memory;
pub mod oauth;
pub mod pace;
pub mod parcel;
pub mod pattern;
pub mod published;
pub mod said;
pub mod secret_url;
pub mod set;
pub mod stream;
pub mod stubborn;
pub mod task;
pub mod tls;

pub use measure::{Measure, MeasureKind};
pub use memory::Memo;
pub use parcel::Parcel;
pub use said::Said;
pub use stream::{Arrears, BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
