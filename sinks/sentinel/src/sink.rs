//! Sending a batch and judging each request of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use trapline_schemas::{Format, Timestamp};
use trapline_sink::http::{Answer, HttpClient, exchange};
use trapline_sink::oauth::{NoToken, Token, Tokens};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, Outcome, StreamSink};
use trapline_sink::stubborn::{Stubborn, TRIES};
use trapline_sink::{Parcel, Said};
use uuid::Uuid;

use crate::answer::{Verdict, judge, weigh};
use crate::record::{Bodies, EVENT_BYTES_MAX, control, gzip};

const API_VERSION: (&str, &str) = ("api-version", "2023-01-01");

/// A stream of a data collection rule.
#[derive(Debug)]
pub(crate) struct Sentinel {
    client: HttpClient,
    tokens: Tokens,
    path: String,
    format: Format,
    gzip: bool,
    /// Events that the service breaks down over.
    stubborn: Stubborn,
    said: Said,
}

/// What became of a request, and how long the service wants to be left alone.
struct Told {
    verdict: Verdict,
    retry_after: Option<Duration>,
}

impl From<NoToken> for Told {
    fn from(none: NoToken) -> Self {
        Self {
            verdict: Verdict::Fault(none.fault),
            retry_after: none.retry_after,
        }
    }
}

impl Sentinel {
    pub(crate) fn new(client: HttpClient, tokens: Tokens, path: &str, format: Format, gzip: bool) -> Self {
        Self {
            client,
            tokens,
            path: path.to_owned(),
            format,
            gzip,
            stubborn: Stubborn::default(),
            said: Said::default(),
        }
    }

    /// Sends an array of records. A token that is refused is renewed once.
    async fn send(&self, body: &[u8]) -> Told {
        match self.try_once(body).await {
            Ok((told, token)) if matches!(told.verdict, Verdict::Unauthorized(_)) => {
                self.tokens.refused(&token);
                self.try_once(body).await.map_or_else(Told::from, |(told, _)| told)
            }
            Ok((told, _)) => told,
            Err(none) => none.into(),
        }
    }

    /// Looks into a refusal that can be about events or about the settings. A lone event that is refused, and records that
    /// the service breaks down over, are held against a record of ours.
    async fn weighed(&self, told: Told, first: Option<&Arc<Parcel>>, is_lone: bool) -> Told {
        let id = first.map(|parcel| parcel.event.id).unwrap_or_default();
        if !matches!(
            (&told.verdict, is_lone),
            (Verdict::Suspect(_), true) | (Verdict::Doubtful(_), _)
        ) {
            return told;
        }
        let asked = self.send(&control(id, Timestamp::now())).await;
        let is_taken = asked.verdict == Verdict::Accepted;
        // To split costs nothing; an event alone has some tries.
        let is_open = is_taken && matches!(told.verdict, Verdict::Doubtful(_));
        let is_row = is_open && (!is_lone || self.stubborn.is_at_fault(id, TRIES));
        let verdict = weigh(told.verdict, asked.verdict, is_row);
        Told {
            verdict,
            retry_after: asked.retry_after.max(told.retry_after),
        }
    }

    async fn try_once(&self, body: &[u8]) -> Result<(Told, Token), NoToken> {
        let token = self.tokens.get().await?;
        let told = match self.post(body, &token).await {
            Ok(answer) => {
                self.said.keep(&format!("http status {}", answer.status), &[]);
                Told {
                    verdict: judge(&answer),
                    retry_after: answer.retry_after,
                }
            }
            Err(fault) => Told {
                verdict: Verdict::Fault(fault),
                retry_after: None,
            },
        };
        Ok((told, token))
    }

    async fn post(&self, body: &[u8], token: &Token) -> Result<Answer, Fault> {
        let request = self
            .client
            .request_with(Method::POST, &self.path, &[API_VERSION])
            .header(AUTHORIZATION, token.header.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-ms-client-request-id", Uuid::new_v4().to_string());
        let request = match self.gzip {
            true => request.header(CONTENT_ENCODING, "gzip").body(gzip(body)),
            false => request.body(body.to_vec()),
        };
        exchange(request).await
    }
}

#[async_trait]
impl StreamSink for Sentinel {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 500,
            bytes: 640 * 1024,
            linger: Duration::from_millis(200),
            // The service has no ids, so a crash doubles one batch.
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let packed = Bodies::new(batch, self.format);
        let mut delivery = Delivery {
            outcomes: vec![Outcome::Retry; batch.len()],
            retry_after: None,
            fault: None,
        };
        let unfit = format!("does not fit {EVENT_BYTES_MAX} bytes even with every long field left out");
        mark(&mut delivery, &packed.unfit, &Outcome::Rejected(unfit));
        for (body, places) in &packed.bodies {
            let told = self.send(body).await;
            let first = places.first().and_then(|place| batch.get(*place));
            let told = self.weighed(told, first, batch.len() == 1).await;
            match told.verdict {
                Verdict::Accepted => mark(&mut delivery, places, &Outcome::Delivered),
                Verdict::Suspect(reason) => mark(&mut delivery, places, &Outcome::Suspect(reason)),
                Verdict::Unauthorized(fault) | Verdict::Doubtful(fault) | Verdict::Fault(fault) => {
                    delivery.fault = Some(fault);
                    delivery.retry_after = told.retry_after;
                    break;
                }
            }
        }
        delivery
    }

    /// Sends an array without a record: the service looks at token, rule and stream before it looks at records.
    async fn check(&self) -> Result<String, Fault> {
        match self.send(b"[]").await.verdict {
            Verdict::Accepted => Ok("the ingestion endpoint takes our token for the rule and the stream".to_owned()),
            // It may be the empty list, or what is set: the first event will tell.
            Verdict::Suspect(why) => Ok(format!("{why}, of an empty list; our token is taken")),
            Verdict::Unauthorized(fault) | Verdict::Doubtful(fault) | Verdict::Fault(fault) => Err(fault),
        }
    }

    fn destination(&self) -> Option<String> {
        Some(format!(
            "{}/{}",
            self.client.origin(),
            self.path.trim_start_matches('/')
        ))
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        notes.extend(self.tokens.notes());
        notes.push("the service has no ids: what was not answered comes twice under one EventOriginalUid".to_owned());
        notes
    }
}

fn mark(delivery: &mut Delivery, places: &[usize], outcome: &Outcome) {
    for place in places {
        if let Some(slot) = delivery.outcomes.get_mut(*place) {
            slot.clone_from(outcome);
        }
    }
}
