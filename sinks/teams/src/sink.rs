//! One message after the other, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use trapline_notice::Voice;
use trapline_schemas::Event;
use trapline_sink::Parcel;
use trapline_sink::config::{ExposeSecret, Secret};
use trapline_sink::http::{HttpClient, exchange};
use trapline_sink::pace::Pace;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};

use crate::answer::{Verdict, judge};
use crate::card::{Form, message};

/// The pause after a 429 that names none.
const PAUSE: Duration = Duration::from_secs(2);

/// The way to a workflow; all of it but the host is its credential.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: HttpClient,
    pub(crate) path: Secret,
    pub(crate) query: Option<Secret>,
}

impl Line {
    /// Posts a message. Time: the client's deadline. Cancel: safe; counts as not posted.
    async fn post(&self, message: &serde_json::Value) -> (Verdict, Option<Duration>) {
        let query = self.query.as_ref().map(|query| query.expose_secret());
        let request = self.client.request_to(Method::POST, self.path.expose_secret(), query);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string());
        match exchange(request).await {
            Ok(answer) => (judge(&answer), answer.retry_after),
            Err(fault) => (Verdict::Fault(fault), None),
        }
    }
}

/// A channel or a chat behind a workflow.
#[derive(Debug)]
pub(crate) struct Teams {
    line: Line,
    voice: Voice,
    pace: Pace,
    /// Notices that went as a short card, because the whole was refused.
    shortened: AtomicU64,
}

/// Why no more of a batch is sent now.
struct Stop {
    fault: Fault,
    retry_after: Option<Duration>,
}

impl Teams {
    pub(crate) fn new(line: Line, voice: Voice, interval: Duration) -> Self {
        Self {
            line,
            voice,
            pace: Pace::new(interval),
            shortened: AtomicU64::new(0),
        }
    }

    /// Posts the notice of an event, in full, and short if that is refused.
    async fn tell(&self, event: &Event) -> Result<Outcome, Stop> {
        let notice = self.voice.compose(event);
        let mut refused = None;
        for form in [Form::Full, Form::Short] {
            match self.post(&message(&notice, event.at, form)).await? {
                Verdict::Accepted => {
                    self.posted(event, form);
                    return Ok(Outcome::Delivered);
                }
                Verdict::Refused { reason, known } => refused = Some((reason, known)),
                Verdict::Fault(_) => {}
            }
        }
        match refused {
            Some((reason, true)) => Ok(Outcome::Rejected(reason)),
            // What even a short card meets, under a code that is new, is hardly about the card.
            unknown => Err(Stop {
                fault: Fault {
                    kind: FaultKind::Config,
                    message: unknown.map_or_else(String::new, |(reason, _)| reason),
                },
                retry_after: None,
            }),
        }
    }

    /// What the workflow says of a message. Errors: a fault, which is not about the message.
    async fn post(&self, message: &serde_json::Value) -> Result<Verdict, Stop> {
        self.pace.turn().await.map_err(|left| Stop {
            fault: Fault {
                kind: FaultKind::Busy,
                message: "the workflow asked for a pause, which is not over".to_owned(),
            },
            retry_after: Some(left),
        })?;
        match self.line.post(message).await {
            (Verdict::Fault(fault), retry_after) => Err(self.stop(fault, retry_after)),
            (verdict, _) => Ok(verdict),
        }
    }

    /// A pause that was asked for is kept, whoever comes with the next event.
    fn stop(&self, fault: Fault, retry_after: Option<Duration>) -> Stop {
        let asked = (fault.kind == FaultKind::Busy).then(|| retry_after.unwrap_or(PAUSE));
        if let Some(pause) = asked.or(retry_after) {
            self.pace.close_for(pause);
        }
        Stop { fault, retry_after }
    }

    fn posted(&self, event: &Event, form: Form) {
        if form == Form::Short {
            self.shortened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(event.id = %event.id, "teams refused a notice as it was, so it went as a short card");
        }
    }
}

#[async_trait]
impl StreamSink for Teams {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            // A message is a request of its own, so a crash or a failure doubles none that was taken before it.
            events: 1,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let mut delivery = Delivery::all(0);
        for parcel in batch {
            match self.tell(&parcel.event).await {
                Ok(outcome) => delivery.outcomes.push(outcome),
                Err(stop) => {
                    delivery.fault = Some(stop.fault);
                    delivery.retry_after = stop.retry_after;
                    break;
                }
            }
        }
        delivery.outcomes.resize(batch.len(), Outcome::Retry);
        delivery
    }

    async fn check(&self) -> Result<String, Fault> {
        let status = exchange(self.line.client.request(Method::HEAD, "")).await?.status;
        Ok(format!(
            "the host answers (http status {status}); whether the workflow takes messages shows a first one"
        ))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.line.client.notes();
        notes.push("a workflow names no message, so incidents have no threads".to_owned());
        notes.push("delivered means that the workflow has begun; its run history tells whether it posted".to_owned());
        match self.shortened.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{count} notices went as a short card: teams refused them as they were"
            )),
        }
        notes
    }
}
