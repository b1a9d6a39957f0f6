//! What a closed session has still to report.

use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::{Action, Field, Timestamp, Value};

use super::{Session, SessionError};
use crate::decoy::Shared;
use crate::decoy::crowd::Seat;
use crate::roles::{Capture, Contact, Hit, Touch};

impl Session {
    pub(super) fn farewell(&mut self, outcome: &Result<(), SessionError>, lasted: Duration) -> Farewell {
        let masked = self.contact.spec.secrets.masked();
        let mut identity = if self.handshaken { Vec::new() } else { self.identity() };
        let mut facts = Vec::with_capacity(6);
        facts.push((Field::SourceBytes, count(self.received())));
        facts.push((Field::DestinationBytes, count(self.sent)));
        facts.push((Field::EventDuration, nanos(lasted)));
        facts.push((Field::EventReason, reason(outcome)));
        if self.credentials > 0 {
            facts.push((Field::SessionCredentials, self.credentials.into()));
        }
        if self.queries > 0 {
            facts.push((Field::SessionQueries, self.queries.into()));
        }
        facts.extend(self.tls_facts());
        facts.append(&mut self.carried);
        self.mask_facts(&mut identity);
        self.mask_facts(&mut facts);
        // Nothing is left of a hello of TLS that nothing followed on.
        let inbound = self.inbound.take().filter(|inbound| inbound.seen() > 0);
        let capture = inbound.map(|inbound| {
            self.raise(Touch::Intent);
            Box::new(inbound.into_capture(masked))
        });
        Farewell {
            shared: Arc::clone(&self.shared),
            contact: Arc::clone(&self.contact),
            touch: self.touch,
            identity,
            capture,
            facts,
            _seat: self.seat.take(),
        }
    }
}

/// What a closed session has still to report. Its socket is gone, so it may wait for room as long as it takes.
pub(super) struct Farewell {
    shared: Arc<Shared>,
    contact: Arc<Contact>,
    touch: Touch,
    /// Of a peer that was not introduced yet.
    identity: Vec<(Field, Value)>,
    capture: Option<Box<Capture>>,
    facts: Vec<(Field, Value)>,
    /// Sessions that wait for room are still counted, so that there is a bound on them.
    _seat: Option<Seat>,
}

impl Farewell {
    pub(super) async fn report(mut self) {
        if !self.identity.is_empty() {
            let facts = std::mem::take(&mut self.identity);
            let hit = self.hit(Action::Handshake, facts, None);
            let _ = self.shared.hits.send(hit).await;
        }
        if let Some(capture) = self.capture.take() {
            let hit = self.hit(Action::Payload, Vec::new(), Some(capture));
            let _ = self.shared.hits.send(hit).await;
        }
        let facts = std::mem::take(&mut self.facts);
        let hit = self.hit(Action::SessionEnd, facts, None);
        let _ = self.shared.hits.send(hit).await;
    }

    fn hit(&self, action: Action, facts: Vec<(Field, Value)>, capture: Option<Box<Capture>>) -> Hit {
        Hit {
            action,
            at: Timestamp::now(),
            contact: Arc::clone(&self.contact),
            touch: self.touch,
            facts,
            secret: None,
            capture,
        }
    }
}

fn count(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn nanos(duration: Duration) -> Value {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).into()
}

/// Why a session ended, as `event.reason`.
fn reason(outcome: &Result<(), SessionError>) -> Value {
    match outcome {
        Ok(()) => Value::from("the decoy closed"),
        Err(SessionError::Io(error)) => Value::from(format!("socket failed: {:?}", error.kind())),
        Err(error) => Value::from(error.to_string()),
    }
}
