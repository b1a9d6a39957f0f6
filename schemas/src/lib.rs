//! What an event is: the field catalogue, the canonical event, and its renderings.
//!
//! No I/O, no async. The only place that knows ECS and OCSF.

pub mod codec;
pub mod derive;
pub mod event;
pub mod fields;
pub mod ids;
pub mod json;
pub mod render;
mod scan;
pub mod schema;
pub mod text;
pub mod value;

pub use event::{Action, ENFORCEMENT, Event};
pub use fields::{CATALOGUE, Field, Kind, Origin, Row};
pub use render::Format;
pub use value::{Timestamp, Value};
