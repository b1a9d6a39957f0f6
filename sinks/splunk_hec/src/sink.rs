//! Sending a batch and judging each event of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use trapline_sink::config::Common;
use trapline_sink::http::{Answer, HttpClient, exchange};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
use trapline_sink::tls::Tls;
use trapline_sink::{Parcel, Said};
use uuid::Uuid;

use crate::ack::{Channel, Patience};
use crate::answer::{Verdict, acknowledged, judge};
use crate::config::Settings;
use crate::request::{Envelope, Place, Wrapped};

/// The channel header; sent always, needed where acknowledgement is on.
const CHANNEL: &str = "x-splunk-request-channel";
/// As much of an answer is looked at for its words.
const SAID_BYTES: usize = 1024;
/// How often one batch may be told to take a new channel before that is a fault.
const CHANNELS_PER_BATCH: usize = 2;

/// A collector.
#[derive(Debug)]
pub(crate) struct SplunkHec {
    client: HttpClient,
    settings: Settings,
    envelope: Envelope,
    authorization: HeaderValue,
    channel: Channel,
    /// Off for good once the collector says that the token has no acknowledgement.
    acknowledge: AtomicBool,
    said: Said,
}

impl SplunkHec {
    /// Makes the client. Errors: [`FaultKind::Local`] for a token that no header can carry or unusable TLS settings.
    pub(crate) fn new(settings: Settings, tls: Option<Tls>, common: &Common) -> Result<Self, Fault> {
        let sourcetype = settings
            .sourcetype
            .clone()
            .unwrap_or_else(|| format!("trapline:{}", common.format.name()));
        let envelope = Envelope::new(
            common.format,
            settings.event_bytes_max,
            &common.observer,
            &settings.source,
            &sourcetype,
            settings.index.as_deref(),
        );
        Ok(Self {
            client: HttpClient::new(
                settings.endpoint.clone(),
                tls,
                settings.timeout,
                common.resolver.clone(),
            )?,
            authorization: authorization(settings.token.expose_secret())?,
            acknowledge: AtomicBool::new(settings.acknowledge),
            channel: Channel::new(),
            said: Said::default(),
            envelope,
            settings,
        })
    }

    fn acknowledges(&self) -> bool {
        self.acknowledge.load(Ordering::Relaxed)
    }

    fn stop_acknowledging(&self) {
        if self.acknowledge.swap(false, Ordering::Relaxed) {
            tracing::warn!("the collector's token has indexer acknowledgement off, so `200` counts as delivered");
        }
    }

    fn post(&self, path: &str, channel: Uuid) -> RequestBuilder {
        self.client
            .request(Method::POST, &format!("services/collector/{path}"))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CHANNEL, channel.to_string())
            .header(CONTENT_TYPE, "application/json")
    }

    /// Sends events until each has a verdict. Bounded: every turn of the loop settles an event or uses up a channel.
    async fn send(&self, wrapped: &Wrapped, ledger: &mut Ledger) {
        let mut rest = &wrapped.events[..];
        let mut channels = CHANNELS_PER_BATCH;
        while !rest.is_empty() {
            let channel = self.channel.current();
            let body = wrapped.body(rest, self.settings.gzip);
            match self.offer_and_wait(body, rest.len(), channel, ledger).await {
                Verdict::Accepted { .. } => return ledger.mark(rest, &Outcome::Delivered),
                Verdict::Invalid { event, reason } => rest = self.pass_over(rest, event, reason, ledger),
                Verdict::Suspect(reason) => return ledger.mark(rest, &Outcome::Suspect(reason)),
                Verdict::NoAcknowledgement if self.acknowledges() => self.stop_acknowledging(),
                Verdict::NewChannel if channels > 0 => {
                    channels -= 1;
                    self.channel.leave(channel);
                }
                Verdict::NewChannel | Verdict::NoAcknowledgement | Verdict::NoAckPage => {
                    return ledger.fail(rest, refused_channel());
                }
                Verdict::Fault(fault) => return ledger.fail(rest, fault),
            }
        }
    }

    /// Offers events and waits until they are kept: accepted then means delivered.
    async fn offer_and_wait(&self, body: Bytes, events: usize, channel: Uuid, ledger: &mut Ledger) -> Verdict {
        match self.offer(body, events, channel, ledger).await {
            Verdict::Accepted { ack_id } => match self.kept(ack_id, channel).await {
                Ok(()) => Verdict::Accepted { ack_id },
                Err(verdict) => verdict,
            },
            verdict => verdict,
        }
    }

    async fn offer(&self, body: Bytes, events: usize, channel: Uuid, ledger: &mut Ledger) -> Verdict {
        let mut request = self.post("event", channel).body(body);
        if self.settings.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        match exchange(request).await {
            Ok(answer) => {
                ledger.retry_after = answer.retry_after;
                self.heard(&answer);
                judge(&answer, events)
            }
            Err(fault) => {
                self.channel.leave(channel);
                Verdict::Fault(fault)
            }
        }
    }

    fn heard(&self, answer: &Answer) {
        let body = String::from_utf8_lossy(answer.body.get(..SAID_BYTES).unwrap_or(&answer.body));
        let words = format!("http status {}: {body}", answer.status);
        self.said.keep(&words, &[self.settings.token.expose_secret()]);
    }

    /// An event is refused by number. Those before it were read; whether they are kept is known only without
    /// acknowledgement, so with it they are sent again under the same ids.
    fn pass_over<'a>(&self, events: &'a [Place], invalid: usize, reason: String, ledger: &mut Ledger) -> &'a [Place] {
        let (before, from) = events.split_at(invalid.min(events.len()));
        let read = if self.acknowledges() {
            Outcome::Retry
        } else {
            Outcome::Delivered
        };
        ledger.mark(before, &read);
        let (refused, rest) = from.split_at(1.min(from.len()));
        ledger.mark(refused, &Outcome::Rejected(reason));
        rest
    }

    /// The collector took the events: kept, or kept once an indexer has them. Errors: why they must be sent again.
    async fn kept(&self, ack_id: Option<u64>, channel: Uuid) -> Result<(), Verdict> {
        match ack_id {
            _ if !self.acknowledges() => Ok(()),
            Some(ack_id) => self.indexed(ack_id, channel).await,
            None => self.unnumbered(channel).await.map_err(Verdict::Fault),
        }
    }

    /// A success without a number to ask for. One such answer proves nothing, so the collector is asked whether the
    /// token has acknowledgement at all: only its own word turns it off, or that it has no page for the question.
    async fn unnumbered(&self, channel: Uuid) -> Result<(), Fault> {
        match self.ask(0, channel).await {
            Err(Verdict::NoAcknowledgement | Verdict::NoAckPage) => self.stop_acknowledging(),
            _ => {
                let message = "the collector took events without an acknowledgement number".to_owned();
                return Err(Fault {
                    kind: FaultKind::Server,
                    message,
                });
            }
        }
        Ok(())
    }

    /// Waits until an indexer has what `ack_id` stands for.
    ///
    /// Errors: why the events must be sent again. A collector that is busy is asked again; one that lost the connection
    /// or the channel has forgotten the number, so waiting on would be in vain.
    async fn indexed(&self, ack_id: u64, channel: Uuid) -> Result<(), Verdict> {
        let mut patience = Patience::new(self.settings.acknowledge_interval, self.settings.acknowledge_timeout);
        while patience.next().await {
            match self.ask(ack_id, channel).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Verdict::NoAcknowledgement) => {
                    self.stop_acknowledging();
                    return Ok(());
                }
                Err(Verdict::Fault(fault)) if matches!(fault.kind, FaultKind::Busy | FaultKind::Server) => {}
                Err(verdict) => return Err(self.forgotten(channel, verdict)),
            }
        }
        self.channel.leave(channel);
        Err(Verdict::Fault(Fault {
            kind: FaultKind::Server,
            message: "no indexer acknowledged the events in time".to_owned(),
        }))
    }

    async fn ask(&self, ack_id: u64, channel: Uuid) -> Result<bool, Verdict> {
        let question = format!("{{\"acks\":[{ack_id}]}}");
        let answer = exchange(self.post("ack", channel).body(question))
            .await
            .map_err(Verdict::Fault)?;
        acknowledged(&answer, ack_id)
    }

    /// The collector has forgotten the number; [`Verdict::NewChannel`] stays what it is.
    fn forgotten(&self, channel: Uuid, verdict: Verdict) -> Verdict {
        self.channel.leave(channel);
        match verdict {
            Verdict::NoAckPage => Verdict::Fault(Fault {
                kind: FaultKind::Config,
                message: "the collector gave an acknowledgement number and has no page to ask for it".to_owned(),
            }),
            Verdict::Fault(_) | Verdict::NewChannel => verdict,
            _ => Verdict::Fault(refused_channel()),
        }
    }
}

#[async_trait]
impl StreamSink for SplunkHec {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 500,
            bytes: 800 * 1024,
            linger: Duration::from_millis(200),
            // An acknowledgement takes seconds, in which others go; a mere answer does not, so a crash doubles one batch.
            in_flight: if self.acknowledges() { 4 } else { 1 },
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let wrapped = Wrapped::new(&self.envelope, batch);
        let mut ledger = Ledger::new(batch.len());
        ledger.mark_unfit(&wrapped.unfit, self.settings.event_bytes_max);
        self.send(&wrapped, &mut ledger).await;
        ledger.into_delivery()
    }

    async fn check(&self) -> Result<String, Fault> {
        let request = self
            .client
            .request(Method::GET, "services/collector/health")
            .header(AUTHORIZATION, self.authorization.clone());
        health(&exchange(request).await?)
    }

    fn destination(&self) -> Option<String> {
        let index = self.settings.index.as_ref().map(|index| format!(", index `{index}`"));
        Some(format!("{}{}", self.client.origin(), index.unwrap_or_default()))
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        if self.settings.acknowledge && !self.acknowledges() {
            notes.push("the token has indexer acknowledgement off: `200` counts as delivered".to_owned());
        } else if !self.settings.acknowledge {
            notes.push("without indexer acknowledgement: `200` counts as delivered".to_owned());
        }
        notes
    }
}

/// What the health page says: 200 is healthy, 503 names full queues (codes 18 to 20).
fn health(answer: &Answer) -> Result<String, Fault> {
    match answer.status {
        200 => Ok("the collector is healthy".to_owned()),
        503 => Err(Fault {
            kind: FaultKind::Busy,
            message: "the collector's queues are full".to_owned(),
        }),
        _ => Err(answer.fault("the collector's health page")),
    }
}

fn authorization(token: &str) -> Result<HeaderValue, Fault> {
    let unusable = |_| Fault {
        kind: FaultKind::Local,
        message: "the token holds bytes that no header can carry".to_owned(),
    };
    let mut value = HeaderValue::from_str(&format!("Splunk {token}")).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

fn refused_channel() -> Fault {
    Fault {
        kind: FaultKind::Config,
        message: "the collector takes no channel".to_owned(),
    }
}

/// The verdicts of one batch, by place.
#[derive(Debug)]
struct Ledger {
    outcomes: Vec<Outcome>,
    retry_after: Option<Duration>,
    fault: Option<Fault>,
}

impl Ledger {
    /// Nothing is delivered until it is marked so.
    fn new(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Retry; count],
            retry_after: None,
            fault: None,
        }
    }

    fn mark(&mut self, events: &[Place], outcome: &Outcome) {
        for place in events {
            if let Some(slot) = self.outcomes.get_mut(place.in_batch) {
                slot.clone_from(outcome);
            }
        }
    }

    fn mark_unfit(&mut self, places: &[usize], max: usize) {
        for place in places {
            if let Some(slot) = self.outcomes.get_mut(*place) {
                *slot = Outcome::Rejected(format!(
                    "does not fit `event_bytes_max` = {max} even with every long field left out"
                ));
            }
        }
    }

    fn fail(&mut self, events: &[Place], fault: Fault) {
        self.mark(events, &Outcome::Retry);
        self.fault = Some(fault);
    }

    fn into_delivery(self) -> Delivery {
        Delivery {
            outcomes: self.outcomes,
            retry_after: self.retry_after,
            fault: self.fault,
        }
    }
}
