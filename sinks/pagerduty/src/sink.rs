//! One event after the other, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use trapline_notice::Voice;
use trapline_sink::Parcel;
use trapline_sink::config::{ExposeSecret, Secret};
use trapline_sink::http::{Answer, HttpClient, exchange};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, Outcome, StreamSink};

use crate::answer::{self, Verdict};
use crate::message::{BODY_MAX, Form, Shape};

/// Where events go below the endpoint.
const PATH: &str = "v2/enqueue";

/// A service of PagerDuty.
#[derive(Debug)]
pub(crate) struct PagerDuty {
    pub(crate) client: HttpClient,
    pub(crate) routing_key: Secret,
    pub(crate) voice: Voice,
    pub(crate) shape: Shape,
    /// Events that went without details, because PagerDuty refused the whole.
    pub(crate) shortened: AtomicU64,
}

/// Why no more of a batch is sent now.
struct Stop {
    fault: Fault,
    retry_after: Option<Duration>,
}

impl PagerDuty {
    /// Sends an event: as a whole, and if that is refused without its details.
    async fn tell(&self, parcel: &Parcel) -> Result<Outcome, Stop> {
        let notice = self.voice.compose(&parcel.event);
        for form in [Form::Full, Form::Short] {
            let body = self.shape.body(parcel, &notice, form);
            if form == Form::Full && body.to_string().len() > BODY_MAX {
                continue;
            }
            let answer = self.send(body).await?;
            match answer::of_event(&answer) {
                Verdict::Accepted => {
                    self.took(parcel, form);
                    return Ok(Outcome::Delivered);
                }
                Verdict::Refused(reason) if form == Form::Short => return Ok(Outcome::Rejected(reason)),
                Verdict::Refused(_) => {}
                Verdict::Fault(fault) => {
                    let retry_after = answer.retry_after;
                    return Err(Stop { fault, retry_after });
                }
            }
        }
        Ok(Outcome::Retry)
    }

    fn took(&self, parcel: &Parcel, form: Form) {
        if form == Form::Short {
            self.shortened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(event.id = %parcel.event.id, "pagerduty refused an event as it was, so it went without details");
        }
    }

    async fn send(&self, mut body: Value) -> Result<Answer, Stop> {
        body["routing_key"] = self.routing_key.expose_secret().into();
        let request = self.client.request(Method::POST, PATH);
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        exchange(request).await.map_err(|fault| Stop {
            fault,
            retry_after: None,
        })
    }
}

#[async_trait]
impl StreamSink for PagerDuty {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            // Each is a request of its own, and a resolve must not overtake its trigger.
            events: 1,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let mut delivery = Delivery::all(0);
        for parcel in batch {
            match self.tell(parcel).await {
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

    /// Asks with an event that is none, which PagerDuty refuses after a look at the key's form.
    async fn check(&self) -> Result<String, Fault> {
        let answer = self.send(Value::Object(serde_json::Map::new())).await;
        answer::of_question(&answer.map_err(|stop| stop.fault)?)?;
        Ok("pagerduty answers; whether a service has this key only an event shows".to_owned())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        match self.shortened.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{count} events went without details: pagerduty refused them as they were"
            )),
        }
        notes
    }
}
