//! Health events of sinks: failed, works again. Made here, bound to the observer and appended by the recorder.

use std::time::Duration;

use async_trait::async_trait;
use trapline_schemas::{Action, Event, Field, Timestamp, ids};
use trapline_sink::FaultKind;

/// Where health events go: the recorder binds the observer's identity and appends.
#[async_trait]
pub trait Recorder: Send + Sync + 'static {
    /// Records an event of trapline about itself.
    ///
    /// Cancel: safe. May wait for room in the journal's queue, not for the disk. What cannot be recorded is the
    /// recorder's to log.
    async fn record(&self, event: Event);
}

/// `sink-failed`: once a row of failures.
pub(super) fn sink_failed(sink: &str, kind: Option<FaultKind>, message: &str, at: Timestamp) -> Event {
    let mut event = Event::new(ids::fresh(at), at, Action::SinkFailed);
    event.set(Field::SinkName, sink);
    event.set(Field::ErrorType, kind_name(kind));
    event.set(Field::ErrorMessage, message);
    event
}

/// `sink-failed` of a sink that answers and refuses: once a row of dead letters.
pub(super) fn sink_refuses(sink: &str, reason: &str, at: Timestamp) -> Event {
    let mut event = Event::new(ids::fresh(at), at, Action::SinkFailed);
    event.set(Field::SinkName, sink);
    event.set(Field::ErrorType, "refused");
    event.set(Field::ErrorMessage, format!("events become dead letters: {reason}"));
    event
}

/// `sink-recovered`: only after a `sink-failed`.
pub(super) fn sink_recovered(sink: &str, lasted: Duration, attempts: u32, at: Timestamp) -> Event {
    let failed = format!("works again after {} s and {attempts} failed tries", lasted.as_secs());
    recovered(sink, lasted, failed, at)
}

/// `sink-recovered` of a sink that refused.
pub(super) fn sink_takes_again(sink: &str, lasted: Duration, dead: u64, at: Timestamp) -> Event {
    let refused = format!(
        "takes events again after {} s and {dead} refused ones",
        lasted.as_secs()
    );
    recovered(sink, lasted, refused, at)
}

fn recovered(sink: &str, lasted: Duration, reason: String, at: Timestamp) -> Event {
    let mut event = Event::new(ids::fresh(at), at, Action::SinkRecovered);
    event.set(Field::SinkName, sink);
    event.set(
        Field::EventDuration,
        i64::try_from(lasted.as_nanos()).unwrap_or(i64::MAX),
    );
    event.set(Field::EventReason, reason);
    event
}

/// One word for a kind of fault.
pub(super) const fn kind_name(kind: Option<FaultKind>) -> &'static str {
    match kind {
        Some(FaultKind::Unreachable) => "unreachable",
        Some(FaultKind::Busy) => "busy",
        Some(FaultKind::Server) => "server",
        Some(FaultKind::Tls) => "tls",
        Some(FaultKind::Auth) => "auth",
        Some(FaultKind::Config) => "config",
        Some(FaultKind::Local) => "local",
        Some(FaultKind::Broken) => "broken",
        None => "unknown",
    }
}
