//! Sending a batch and judging each event of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use trapline_schemas::{Event, Timestamp};
use trapline_sink::config::Common;
use trapline_sink::http::{HttpClient, exchange_within};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
use trapline_sink::stubborn::Stubborn;
use trapline_sink::tls::Tls;
use trapline_sink::{Parcel, Said};
use uuid::Uuid;

use crate::answer::{FILTER, Item, Verdict, bytes_max, judge};
use crate::check;
use crate::config::{Op, Require, Settings};
use crate::doubt::{Control, TRIES_OF_EVENT, is_at_stake, is_breakdown, is_open, weigh};
use crate::request::{Form, body};

/// A cluster.
#[derive(Debug)]
pub(crate) struct Elasticsearch {
    pub(crate) client: HttpClient,
    pub(crate) settings: Settings,
    form: Form,
    /// How long the cluster waits for a shard: less than we wait for the cluster, or it could not say that it did.
    patience: String,
    authorization: Option<HeaderValue>,
    /// Events that the cluster put into a failure store.
    stored_as_failures: AtomicU64,
    /// Events that an ingest pipeline left out.
    left_out: AtomicU64,
    /// Events that the cluster breaks down over.
    stubborn: Stubborn,
    said: Said,
}

impl Elasticsearch {
    /// Makes the client. Errors: [`FaultKind::Local`] for a secret that no header can carry or unusable TLS settings.
    pub(crate) fn new(settings: Settings, tls: Option<Tls>, common: &Common) -> Result<Self, Fault> {
        let unfit = |_| Fault {
            kind: FaultKind::Local,
            message: "the credentials hold bytes that no header can carry".to_owned(),
        };
        let endpoint = settings.endpoint.clone();
        Ok(Self {
            client: HttpClient::new(endpoint, tls, settings.timeout, common.resolver.clone())?,
            form: Form {
                format: common.format,
                index: settings.index.clone(),
                op: settings.op,
            },
            patience: format!("{}ms", (settings.timeout * 2 / 3).as_millis()),
            authorization: settings.auth.header().map_err(unfit)?,
            stored_as_failures: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            stubborn: Stubborn::default(),
            said: Said::default(),
            settings,
        })
    }

    /// A request with who we are.
    pub(crate) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let request = self.client.request_with(method, path, query);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    fn bulk(&self, lines: Vec<u8>) -> RequestBuilder {
        let request = self
            .request(Method::POST, &self.form.path(), &self.query())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(body(lines, self.settings.gzip));
        match self.settings.gzip {
            true => request.header(CONTENT_ENCODING, "gzip"),
            false => request,
        }
    }

    /// Looks into a verdict that leaves open whose fault it is, by a document that no event has a part in. Items are looked
    /// into by index: one that takes documents says nothing of another.
    async fn weighed(&self, verdict: Verdict, batch: &[Arc<Parcel>]) -> Verdict {
        let mut items = match verdict {
            Verdict::Items(items) => items,
            whole => return self.weighed_part(whole, batch.first(), batch.len(), None).await.0,
        };
        let mut unknown = None;
        for places in self.parts(&items, batch) {
            let part = places.iter().filter_map(|at| items.get(*at).cloned()).collect();
            let first = places.first().and_then(|at| batch.get(*at));
            let part = self.weighed_part(Verdict::Items(part), first, batch.len(), unknown);
            let (part, fault) = part.await;
            unknown = fault;
            put_back(&mut items, &places, part);
        }
        Verdict::Items(items)
    }

    /// The places of the events of each index, where anything of the batch is at stake.
    fn parts(&self, items: &[Item], batch: &[Arc<Parcel>]) -> Vec<Vec<usize>> {
        let mut parts: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        if items.iter().any(is_at_stake) {
            for (at, parcel) in batch.iter().enumerate() {
                parts.entry(self.form.index.of(&parcel.event)).or_default().push(at);
            }
        }
        parts.into_values().collect()
    }

    /// The verdict on events of one index, weighed if it is open. In and out: why there was no answer to an earlier control
    /// of the batch, if so; then no other is sent.
    async fn weighed_part(
        &self,
        verdict: Verdict,
        first: Option<&Arc<Parcel>>,
        events: usize,
        unknown: Option<Fault>,
    ) -> (Verdict, Option<Fault>) {
        let Some(event) = first.map(|parcel| &parcel.event).filter(|_| is_open(&verdict)) else {
            return (verdict, unknown);
        };
        let asked = match unknown {
            Some(fault) => Err(fault),
            None => self.ask(event).await,
        };
        let unanswered = asked.as_ref().err().cloned();
        let control = asked.unwrap_or_else(Control::Unknown);
        let counts = control == Control::Taken && is_breakdown(&verdict);
        // To split costs nothing; an event alone has some tries.
        let is_row = counts && (events > 1 || self.stubborn.is_at_fault(event.id, TRIES_OF_EVENT));
        (weigh(verdict, &control, is_row), unanswered)
    }

    /// Sends a control to the index of an event. Errors: there was no answer.
    async fn ask(&self, event: &Event) -> Result<Control, Fault> {
        let own = Uuid::new_v4();
        let lines = self.form.control(own, event, Timestamp::now());
        let answer = exchange_within(self.bulk(lines), bytes_max(1)).await?;
        Ok(Control::of(judge(&answer, self.settings.op, &[own])))
    }

    fn query(&self) -> Vec<(&'static str, &str)> {
        let mut query = vec![("filter_path", FILTER), ("timeout", self.patience.as_str())];
        query.extend(self.settings.pipeline.as_deref().map(|name| ("pipeline", name)));
        match self.settings.require {
            Require::Nothing => {}
            Require::Alias => query.push(("require_alias", "true")),
            Require::DataStream => query.push(("require_data_stream", "true")),
        }
        query
    }

    fn delivery(&self, items: Vec<Item>) -> Delivery {
        let mut delivery = Delivery::all(0);
        for item in items {
            let outcome = match item {
                Item::Delivered => Outcome::Delivered,
                Item::InFailureStore => self.note_failure(),
                Item::LeftOut => {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                    Outcome::Delivered
                }
                Item::Rejected(reason) => Outcome::Rejected(reason),
                Item::Suspect(reason) => Outcome::Suspect(reason),
                Item::Retry(fault) | Item::Failed(fault) => {
                    keep_graver(&mut delivery.fault, fault);
                    Outcome::Retry
                }
            };
            delivery.outcomes.push(outcome);
        }
        delivery
    }

    fn note_failure(&self) -> Outcome {
        if self.stored_as_failures.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "the cluster puts events into the failure store of the data stream: they do not fit its mapping"
            );
        }
        Outcome::Delivered
    }
}

/// Puts what some items mean in their places.
fn put_back(items: &mut [Item], places: &[usize], part: Verdict) {
    let Verdict::Items(part) = part else { return };
    for (at, item) in places.iter().zip(part) {
        if let Some(slot) = items.get_mut(*at) {
            *slot = item;
        }
    }
}

/// Keeps the fault that an operator must know of first.
fn keep_graver(kept: &mut Option<Fault>, fault: Fault) {
    let rank = |fault: &Fault| match fault.kind {
        FaultKind::Auth | FaultKind::Config => 0,
        FaultKind::Server => 1,
        _ => 2,
    };
    if kept.as_ref().is_none_or(|kept| rank(&fault) < rank(kept)) {
        *kept = Some(fault);
    }
}

#[async_trait]
impl StreamSink for Elasticsearch {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 500,
            bytes: 1 << 20,
            linger: Duration::from_millis(200),
            // A repeat changes nothing at the cluster, so nothing is lost by two at a time.
            in_flight: 2,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let sent: Vec<Uuid> = batch.iter().map(|parcel| parcel.event.id).collect();
        let answer = match exchange_within(self.bulk(self.form.lines(batch)), bytes_max(batch.len())).await {
            Ok(answer) => answer,
            Err(fault) => return Delivery::retry(batch.len(), fault),
        };
        let verdict = judge(&answer, self.settings.op, &sent);
        let mut delivery = match self.weighed(verdict, batch).await {
            Verdict::Items(items) => self.delivery(items),
            Verdict::Suspect(reason) => Delivery::suspect(batch.len(), &reason),
            Verdict::Doubtful(fault) | Verdict::Fault(fault) => Delivery::retry(batch.len(), fault),
        };
        // A pause is for what is sent again; some proxies name one with every answer.
        delivery.retry_after = answer.retry_after.filter(|_| delivery.fault.is_some());
        let taken = delivery
            .outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Delivered);
        let words = format!(
            "http status {}, {} of {} events taken",
            answer.status,
            taken.count(),
            batch.len()
        );
        self.said.keep(&words, &[]);
        delivery
    }

    async fn check(&self) -> Result<String, Fault> {
        check::check(self).await
    }

    fn destination(&self) -> Option<String> {
        Some(format!("{}, index `{}`", self.client.origin(), self.settings.index))
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        if self.settings.op == Op::Index {
            notes.push("op is `index`: an event that comes again is written over".to_owned());
        }
        match self.stored_as_failures.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{count} events are in the failure store: they did not fit the mapping"
            )),
        }
        match self.left_out.load(Ordering::Relaxed) {
            0 => {}
            1 => notes.push("1 event was left out by an ingest pipeline of the cluster".to_owned()),
            count => notes.push(format!(
                "{count} events were left out by an ingest pipeline of the cluster"
            )),
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_faults_the_one_that_a_person_must_mend_is_told() {
        let mut kept = None;
        let mut told = Vec::new();
        let kinds = [
            FaultKind::Busy,
            FaultKind::Server,
            FaultKind::Busy,
            FaultKind::Config,
            FaultKind::Auth,
            FaultKind::Server,
        ];
        for kind in kinds {
            let message = String::new();
            keep_graver(&mut kept, Fault { kind, message });
            told.extend(kept.as_ref().map(|fault| fault.kind));
        }
        use FaultKind::{Busy, Config, Server};
        assert_eq!(told, [Busy, Server, Server, Config, Config, Config]);
    }
}
