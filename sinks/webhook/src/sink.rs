//! Requests, one by one or several at once, and what became of each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder};
use trapline_sink::Parcel;
use trapline_sink::config::{ExposeSecret, Secret};
use trapline_sink::http::{Answer, HttpClient, exchange};
use trapline_sink::said::Said;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, Outcome, StreamSink};
use trapline_template::Condition;
use uuid::Uuid;

use crate::answer::{Verdict, judge, reachable};
use crate::payload::{Message, Payload, Writer};
use crate::signer::{Signer, unix_now};

/// Events of a batch that go one by one, for each request that may be under way: a crash doubles no more.
const EVENTS_EACH: usize = 16;
/// Most of them in a batch.
const EVENTS_MAX: usize = 256;
/// So long the requests of a batch may take that go one after the other: whoever delivers gives up on an answer after ten
/// minutes, and then all that was sent goes again.
const BATCH_TIME_MAX: Duration = Duration::from_secs(540);
/// Events of a request that holds several.
const EVENTS_TOGETHER: usize = 100;
/// Bytes of such a request.
const BYTES_TOGETHER: usize = 1 << 20;

/// The way to a receiver.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: HttpClient,
    pub(crate) method: Method,
    pub(crate) path: Secret,
    pub(crate) query: Option<Secret>,
    pub(crate) headers: HeaderMap,
    pub(crate) signer: Option<Signer>,
    pub(crate) gzip: bool,
    pub(crate) success: Option<Arc<Condition>>,
    /// The status of the last request that was taken: the words of an answer may repeat a secret.
    pub(crate) said: Said,
}

/// What an attempt came to.
#[derive(Debug)]
struct Attempt {
    verdict: Verdict,
    retry_after: Option<Duration>,
}

impl Line {
    fn request(&self, method: Method) -> RequestBuilder {
        let query = self.query.as_ref().map(|query| query.expose_secret());
        let request = self.client.request_to(method, self.path.expose_secret(), query);
        request.headers(self.headers.clone())
    }

    /// Sends a message. Time: the client's deadline. Cancel: safe; counts as not sent.
    async fn send(&self, message: Message) -> Attempt {
        match exchange(self.signed(message)).await {
            Ok(answer) => self.judged(&answer),
            Err(fault) => Attempt {
                verdict: Verdict::Fault(fault),
                retry_after: None,
            },
        }
    }

    fn judged(&self, answer: &Answer) -> Attempt {
        let verdict = judge(answer, self.success.as_deref());
        if matches!(verdict, Verdict::Accepted) {
            self.said.keep(&format!("http status {}", answer.status), &[]);
        }
        Attempt {
            verdict,
            // No time at all would have it asked without end.
            retry_after: answer.retry_after.filter(|pause| !pause.is_zero()),
        }
    }

    /// The request of this very moment.
    fn signed(&self, message: Message) -> RequestBuilder {
        let timestamp = unix_now();
        let mut request = self.request(self.method.clone());
        if let Some(signer) = &self.signer {
            let signature = signer.sign(&message.id, timestamp, &message.body);
            request = request.header("webhook-signature", signature);
        }
        if self.gzip {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        request
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp)
            .body(message.body)
    }
}

/// A receiver of events.
#[derive(Debug)]
pub(crate) struct Webhook {
    line: Line,
    writer: Writer,
    payload: Payload,
    in_flight: usize,
    /// Events that go one after the other in a batch.
    events_each: usize,
}

impl Webhook {
    /// In: `timeout`, the longest that a request takes.
    pub(crate) fn new(line: Line, writer: Writer, payload: Payload, in_flight: usize, timeout: Duration) -> Self {
        let fit = BATCH_TIME_MAX.as_millis() / timeout.as_millis().max(1);
        Self {
            line,
            writer,
            payload,
            in_flight,
            events_each: usize::try_from(fit).map_or(EVENTS_EACH, |fit| fit.clamp(1, EVENTS_EACH)),
        }
    }

    /// A request for each event, up to `in_flight` of them under way. After a fault no further one begins.
    async fn one_by_one(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let stopped = AtomicBool::new(false);
        let each: Vec<_> = batch.iter().map(|parcel| self.one(parcel, &stopped)).collect();
        let mut sent = futures_util::stream::iter(each).buffered(self.in_flight);
        let mut delivery = Delivery::all(0);
        while let Some(told) = sent.next().await {
            delivery.outcomes.push(match told {
                Told::Outcome(outcome) => outcome,
                Told::Unsent => Outcome::Retry,
                Told::Fault(fault, retry_after) => {
                    delivery.fault.get_or_insert(fault);
                    delivery.retry_after = delivery.retry_after.max(retry_after);
                    Outcome::Retry
                }
            });
        }
        delivery
    }

    async fn one(&self, parcel: &Parcel, stopped: &AtomicBool) -> Told {
        if stopped.load(Ordering::Relaxed) {
            return Told::Unsent;
        }
        let json = match self.writer.write(parcel) {
            Ok(json) => json,
            Err(reason) => return Told::Outcome(Outcome::Rejected(reason)),
        };
        let attempt = self.line.send(Message::of_one(parcel, json, self.line.gzip)).await;
        match attempt.verdict {
            Verdict::Accepted => Told::Outcome(Outcome::Delivered),
            Verdict::Refused(reason) => Told::Outcome(Outcome::Rejected(reason)),
            Verdict::Fault(fault) => {
                stopped.store(true, Ordering::Relaxed);
                Told::Fault(fault, attempt.retry_after)
            }
        }
    }

    /// One request for all; an event that cannot be written is refused alone.
    async fn together(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let written: Vec<_> = batch.iter().map(|parcel| self.writer.write(parcel)).collect();
        let events: Vec<(Uuid, Bytes)> = batch
            .iter()
            .zip(&written)
            .filter_map(|(parcel, json)| Some((parcel.event.id, json.as_ref().ok()?.clone())))
            .collect();
        let (outcome, fault, retry_after) = match events.as_slice() {
            [] => (Outcome::Delivered, None, None),
            events => self.all(Message::of_many(events, self.payload, self.line.gzip)).await,
        };
        let of = |json: Result<Bytes, String>| json.map_or_else(Outcome::Rejected, |_| outcome.clone());
        Delivery {
            outcomes: written.into_iter().map(of).collect(),
            retry_after,
            fault,
        }
    }

    async fn all(&self, message: Message) -> (Outcome, Option<Fault>, Option<Duration>) {
        let attempt = self.line.send(message).await;
        match attempt.verdict {
            Verdict::Accepted => (Outcome::Delivered, None, None),
            Verdict::Refused(reason) => (Outcome::Suspect(reason), None, None),
            Verdict::Fault(fault) => (Outcome::Retry, Some(fault), attempt.retry_after),
        }
    }
}

/// What is told of one event.
enum Told {
    Outcome(Outcome),
    Fault(Fault, Option<Duration>),
    /// Another one met a fault before.
    Unsent,
}

#[async_trait]
impl StreamSink for Webhook {
    fn limits(&self) -> BatchLimits {
        match self.payload {
            Payload::Event => BatchLimits {
                events: (self.events_each * self.in_flight).min(EVENTS_MAX),
                bytes: 4 << 20,
                linger: Duration::ZERO,
                in_flight: 1,
            },
            Payload::Array | Payload::Lines => BatchLimits {
                events: EVENTS_TOGETHER,
                bytes: BYTES_TOGETHER,
                linger: Duration::from_millis(200),
                in_flight: self.in_flight,
            },
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        match self.payload {
            Payload::Event => self.one_by_one(batch).await,
            Payload::Array | Payload::Lines => self.together(batch).await,
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        reachable(&exchange(self.line.request(Method::HEAD)).await?)
    }

    fn destination(&self) -> Option<String> {
        Some(self.line.client.origin().to_owned())
    }

    fn word(&self) -> Option<String> {
        self.line.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.line.client.notes();
        if self.line.signer.is_none() {
            notes.push("without `secret` nothing is signed: the receiver cannot tell who sends".to_owned());
        }
        if self.in_flight > 1 {
            notes.push(format!(
                "{} requests at once: events may arrive in another order",
                self.in_flight
            ));
        }
        notes
    }
}
