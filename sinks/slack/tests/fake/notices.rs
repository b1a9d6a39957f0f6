//! Events for tests, as notices are made of them.

use std::sync::Arc;

use trapline_schemas::Event;
use trapline_sink::Parcel;
use trapline_sink::conformance::samples;
pub use trapline_sink::conformance::samples::touch as event;

/// An event as a parcel.
pub fn parcel(event: Event) -> Arc<Parcel> {
    Arc::new(Parcel::new(1, Arc::new(event)))
}

/// One event of an incident as a batch.
pub fn one(incident: u128, level: &str) -> Vec<Arc<Parcel>> {
    samples::one(event(incident, level))
}
