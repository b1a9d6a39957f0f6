//! Sinks tried apart from their workers: made, reached, sent one test event. Nothing is recorded.

use std::sync::Arc;

use trapline_schemas::{Action, Event, Field, Timestamp, ids};
use trapline_sink::config::Problem;
use trapline_sink::{Delivery, Fault, Outcome, Parcel, StreamSink};

use crate::app::build::common;
use crate::config::SinkSettings;
use crate::control::protocol::SinkReport;
use crate::telemetry;

/// The name that marks a test event wherever it is read.
const MARK: &str = "send-test";
/// Longest form of the test event that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 480;

/// Makes the sink, as a start would.
pub fn try_build(sink: &SinkSettings, observer: &str) -> Result<Arc<dyn StreamSink>, Fault> {
    sink.factory.build(&common(sink, observer))
}

/// What makes it impossible that the sink ever works; reaches nobody.
pub fn look(sink: &SinkSettings, observer: &str) -> Vec<Problem> {
    sink.factory.look(&sink.table, &common(sink, observer))
}

/// Makes the sink and reaches its destination, without sending an event.
///
/// Time: bounded by the sink's own deadlines.
pub async fn reach(sink: &SinkSettings, observer: &str) -> SinkReport {
    let made = match try_build(sink, observer) {
        Ok(made) => made,
        Err(fault) => return report(sink, false, fault.message),
    };
    let said = made.check().await;
    made.close().await;
    SinkReport {
        destination: made.destination(),
        ..report(sink, said.is_ok(), said.unwrap_or_else(|fault| fault.message))
    }
}

/// Makes the sink and sends one marked test event through it alone.
///
/// Time: bounded by the sink's own deadlines.
pub async fn try_send(sink: &SinkSettings, observer: &str, stamp: impl FnOnce(&mut Event)) -> SinkReport {
    let made = match try_build(sink, observer) {
        Ok(made) => made,
        Err(fault) => return report(sink, false, fault.message),
    };
    let mut event = test_event();
    stamp(&mut event);
    let parcel = Arc::new(Parcel::new(0, Arc::new(event)));
    let delivery = made.deliver(std::slice::from_ref(&parcel)).await;
    made.close().await;
    let owed = made.arrears().is_some_and(|arrears| arrears.borrow().owed > 0);
    let (ok, said) = match owed {
        true => (false, "the connection was lost before it was surely read".into()),
        false => verdict(&delivery, made.confirms(), made.word()),
    };
    SinkReport {
        unconfirmed: !made.confirms(),
        destination: made.destination(),
        sent: Some(shown(&parcel, sink)),
        ..report(sink, ok, said)
    }
}

/// A contact from a documentation address (RFC 5737), which no real peer has, marked as benign.
fn test_event() -> Event {
    let now = Timestamp::now();
    let mut event = Event::new(ids::fresh(now), now, Action::Connect);
    event.set(Field::SourceIp, std::net::IpAddr::from([192, 0, 2, 1]));
    event.set(Field::SourcePort, 40_000_u16);
    event.set(Field::DestinationIp, std::net::IpAddr::from([192, 0, 2, 2]));
    event.set(Field::DestinationPort, 22_u16);
    event.set(Field::NetworkTransport, "tcp");
    event.set(Field::SessionId, ids::fresh(now));
    event.set(Field::DecoyId, MARK);
    event.set(Field::TouchLevel, "contact");
    event.set(Field::EventRiskScore, 0.0);
    event.set(Field::BenignName, MARK);
    event.set(
        Field::BenignReason,
        "test event of `trapline send-test`: no decoy was touched",
    );
    event
}

/// How it went, in the destination's own words where it has any.
fn verdict(delivery: &Delivery, confirms: bool, word: Option<String>) -> (bool, String) {
    let fault = delivery.fault.as_ref().map(|fault| fault.message.clone());
    match delivery.outcomes.first() {
        Some(Outcome::Delivered) if confirms => (true, word.unwrap_or_else(|| "accepted by the destination".into())),
        Some(Outcome::Delivered) => (true, "nobody confirms it, look for it at the destination".into()),
        Some(Outcome::Rejected(reason) | Outcome::Suspect(reason)) => (false, format!("refused: {reason}")),
        Some(Outcome::Retry) | None => (false, fault.unwrap_or_else(|| "no answer".into())),
    }
}

/// What was sent: the event's form, or that people are told of it in words.
fn shown(parcel: &Parcel, sink: &SinkSettings) -> String {
    let id = parcel.event.id;
    let bytes = match sink.notices {
        Some(_) => return format!("a notice that says it is a test, of event {id}"),
        None => parcel.rendered(sink.format),
    };
    telemetry::safe(&String::from_utf8_lossy(bytes), SHOWN_CHARS_MAX).into()
}

fn report(sink: &SinkSettings, ok: bool, said: String) -> SinkReport {
    SinkReport {
        name: sink.name.clone(),
        kind: sink.kind.name.to_owned(),
        ok,
        destination: None,
        sent: None,
        said,
        unconfirmed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_confirms_is_not_called_accepted() {
        let (ok, said) = verdict(&Delivery::all(1), false, None);
        assert!(ok && said.contains("nobody confirms"), "{said}");
        let (ok, said) = verdict(&Delivery::all(1), true, None);
        assert!(ok && said.contains("accepted"), "{said}");
        let (_, said) = verdict(&Delivery::all(1), true, Some("250 2.0.0 queued".into()));
        assert_eq!(said, "250 2.0.0 queued");
    }
}
