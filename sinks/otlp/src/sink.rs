//! Sending a batch and judging each record of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, TE};
use reqwest::{Method, RequestBuilder};
use trapline_schemas::Timestamp;
use trapline_sink::config::Common;
use trapline_sink::http::{Broken, HttpClient, exchange_whole};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
use trapline_sink::stubborn::{Stubborn, TRIES};
use trapline_sink::tls::Tls;
use trapline_sink::{Parcel, Said};
use uuid::Uuid;

use crate::answer::{IS_IT_GRPC, IS_IT_HTTP, Judgement, Verdict, of_grpc, of_http, with};
use crate::config::{Protocol, Settings};
use crate::doubt::{is_open, is_row, weigh};
use crate::grpc;
use crate::proto::{Resource, Scope};
use crate::record::Maker;
use crate::request::{Encoding, Envelope, Load};

/// So long after it began a delivery sends nothing more, and what is left comes again: it answers before anybody gives it up.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// A receiver.
#[derive(Debug)]
pub(crate) struct Otlp {
    client: HttpClient,
    protocol: Protocol,
    headers: HeaderMap,
    /// For gRPC, which tells the receiver how long it is waited for.
    timeout: Duration,
    request_bytes_max: usize,
    maker: Maker,
    envelope: Envelope,
    /// Whether the peer has ever answered in the protocol.
    answers: AtomicBool,
    /// Requests of which only a part was taken; what was taken of them is there twice.
    partial: AtomicU64,
    /// What the receiver last said although it took everything.
    warning: Mutex<String>,
    /// Events that the receiver fails over.
    stubborn: Stubborn,
    said: Said,
}

impl Otlp {
    /// Makes the client. Errors: [`FaultKind::Local`] and [`FaultKind::Config`] for unusable settings.
    pub(crate) fn new(settings: Settings, tls: Option<Tls>, common: &Common) -> Result<Self, Fault> {
        let host = rustix::system::uname();
        let resource = settings.attributes(&common.observer, &host.nodename().to_string_lossy());
        let (endpoint, resolver) = (settings.endpoint, common.resolver.clone());
        let client = match settings.protocol {
            Protocol::Grpc => HttpClient::over_http2(endpoint, tls, settings.timeout, resolver)?,
            _ => HttpClient::new(endpoint, tls, settings.timeout, resolver)?,
        };
        let envelope = Envelope {
            encoding: match settings.protocol {
                Protocol::HttpJson => Encoding::Json,
                _ => Encoding::Protobuf,
            },
            gzip: settings.gzip,
            bytes_max: settings.request_bytes_max,
            resource: Resource { attributes: resource },
            scope: Scope {
                name: "trapline".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        Ok(Self {
            client,
            protocol: settings.protocol,
            headers: settings.headers,
            timeout: settings.timeout,
            request_bytes_max: settings.request_bytes_max,
            maker: Maker {
                format: common.format,
                bytes_max: settings.event_bytes_max,
            },
            envelope,
            answers: AtomicBool::new(false),
            partial: AtomicU64::new(0),
            warning: Mutex::default(),
            stubborn: Stubborn::default(),
            said: Said::default(),
        })
    }

    /// Sends records and says what became of them.
    async fn export(&self, load: Load) -> Judgement {
        let count = load.len();
        let answer = exchange_whole(self.request(self.envelope.body(load))).await;
        self.answers.fetch_or(answer.is_ok(), Ordering::Relaxed);
        match answer {
            Ok(whole) if self.protocol == Protocol::Grpc => of_grpc(&whole, count, &self.headers),
            Ok(whole) => of_http(&whole, count, &self.headers),
            Err(broken) => Judgement {
                verdict: self.explained(broken),
                pause: None,
            },
        }
    }

    /// Looks into a verdict that leaves open whose fault it is, by a record that no event has a part in.
    async fn weighed(&self, judgement: Judgement, id: Uuid, ledger: &Ledger) -> Judgement {
        let events = ledger.outcomes.len();
        if !is_open(&judgement.verdict, events, ledger.is_taken()) {
            return judgement;
        }
        let control = self.export(Load::control(Maker::control(id, Timestamp::now()))).await;
        let is_taken = matches!(control.verdict, Verdict::Accepted(_));
        let is_at_fault = || self.stubborn.is_at_fault(id, TRIES);
        let is_row = is_taken && is_row(&judgement.verdict, events, is_at_fault);
        let verdict = weigh(judgement.verdict, control.verdict, is_row);
        let pause = judgement.pause.max(control.pause);
        Judgement { verdict, pause }
    }

    fn request(&self, body: Bytes) -> RequestBuilder {
        let (path, kind) = match self.protocol {
            Protocol::Grpc => (grpc::EXPORT, grpc::CONTENT_TYPE),
            Protocol::HttpProtobuf => ("v1/logs", "application/x-protobuf"),
            Protocol::HttpJson => ("v1/logs", "application/json"),
        };
        let request = self.client.request(Method::POST, path).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, kind);
        if self.protocol == Protocol::Grpc {
            return self.call(request, &body);
        }
        let request = request.header(ACCEPT, kind).body(body);
        match self.envelope.gzip {
            true => request.header(CONTENT_ENCODING, "gzip"),
            false => request,
        }
    }

    /// What gRPC has beside HTTP. `te` says that trailers are understood, and its servers refuse a call without.
    fn call(&self, request: RequestBuilder, message: &[u8]) -> RequestBuilder {
        let gzip = self.envelope.gzip;
        request
            .header(TE, "trailers")
            .header("grpc-timeout", grpc::timeout(self.timeout))
            .header("grpc-encoding", if gzip { "gzip" } else { "identity" })
            .header("grpc-accept-encoding", "identity")
            .body(grpc::framed(message, gzip))
    }

    /// The fault with what to look at. A server of the other HTTP may cut the connection before its answer is read, so that
    /// nothing tells it from one that breaks down, unless it has ever answered. An answer that cannot be read may be one
    /// that repeats what it refuses.
    fn explained(&self, broken: Broken) -> Verdict {
        let hint = match self.protocol {
            Protocol::Grpc => IS_IT_HTTP,
            _ => IS_IT_GRPC,
        };
        let unread = |kind, message| Verdict::Doubtful(Fault { kind, message });
        let answers = self.answers.load(Ordering::Relaxed);
        match broken {
            _ if broken.is_too_long || broken.is_foreign && answers => unread(
                FaultKind::Server,
                "the receiver gave an answer that cannot be read, or is too long".to_owned(),
            ),
            _ if broken.is_foreign => unread(
                FaultKind::Config,
                format!("the peer does not understand the request; {hint}"),
            ),
            _ if broken.is_cut && !answers => Verdict::Cut(with(broken.fault, &format!("; {hint}"))),
            _ if broken.is_cut => Verdict::Cut(broken.fault),
            _ => Verdict::Fault(broken.fault),
        }
    }

    /// Books a judgement; `false` if what comes behind it is not to be sent now.
    fn settle(&self, places: &[usize], judgement: Judgement, ledger: &mut Ledger) -> bool {
        match judgement.verdict {
            Verdict::Accepted(words) => {
                self.said.keep(&format!("the receiver took all{words}"), &[]);
                self.remember(words);
                ledger.mark(places, &Outcome::Delivered);
            }
            Verdict::Refused(reason) => ledger.mark(places, &Outcome::Rejected(reason)),
            Verdict::Suspect(reason) | Verdict::Partial(reason) => ledger.mark(places, &Outcome::Suspect(reason)),
            Verdict::Doubtful(fault) | Verdict::Cut(fault) | Verdict::Fault(fault) => {
                ledger.fault = Some(fault);
                ledger.retry_after = judgement.pause.filter(|pause| !pause.is_zero());
                return false;
            }
        }
        true
    }

    fn remember(&self, words: String) {
        let mut warning = self.warning.lock().unwrap_or_else(PoisonError::into_inner);
        if !words.is_empty() && *warning != words {
            tracing::warn!(%words, "the receiver took the records and warns");
            *warning = words;
        }
    }
}

#[async_trait]
impl StreamSink for Otlp {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 500,
            // What stands in a body; attributes come on top, and what is too large together goes in several requests.
            bytes: self.request_bytes_max,
            linger: Duration::from_millis(200),
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let packed = self.envelope.pack(self.maker, batch);
        let mut ledger = Ledger::new(batch.len());
        let unfit = format!(
            "does not fit `event_bytes_max` = {} or `request_bytes_max` = {} even with every long field left out",
            self.maker.bytes_max, self.request_bytes_max
        );
        ledger.mark(&packed.unfit, &Outcome::Rejected(unfit));
        let (mut left, begun) = (VecDeque::from(packed.loads), Instant::now());
        while let Some(load) = left.pop_front().filter(|_| begun.elapsed() < DELIVERY_MAX) {
            let places = load.places.clone();
            let judgement = self.export(load).await;
            let first = places.first().and_then(|place| batch.get(*place));
            let id = first.map(|parcel| parcel.event.id).unwrap_or_default();
            let judgement = self.weighed(judgement, id, &ledger).await;
            if matches!(judgement.verdict, Verdict::Partial(_)) {
                self.partial.fetch_add(1, Ordering::Relaxed);
                let apart = self.envelope.pack_apart(self.maker, batch, &places);
                apart.into_iter().rev().for_each(|load| left.push_front(load));
            } else if !self.settle(&places, judgement, &mut ledger) {
                break;
            }
        }
        ledger.into_delivery()
    }

    /// A request without records, which receivers answer as any other.
    async fn check(&self) -> Result<String, Fault> {
        match self.export(Load::default()).await.verdict {
            Verdict::Accepted(words) => Ok(format!("the receiver answers{words}")),
            Verdict::Fault(fault) | Verdict::Cut(fault) | Verdict::Doubtful(fault) => Err(fault),
            Verdict::Refused(why) | Verdict::Suspect(why) | Verdict::Partial(why) => Err(Fault {
                kind: FaultKind::Server,
                message: format!("{why}, of a request without records"),
            }),
        }
    }

    fn destination(&self) -> Option<String> {
        Some(self.client.origin().to_owned())
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        let partial = self.partial.load(Ordering::Relaxed);
        if partial > 0 {
            let why = "to find what was refused, the rest was sent again under the same `event.id`";
            notes.push(format!("{partial} requests were taken in part: {why}"));
        }
        let warning = self.warning.lock().unwrap_or_else(PoisonError::into_inner);
        if !warning.is_empty() {
            notes.push(format!("the receiver warned{warning}"));
        }
        notes
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

    fn mark(&mut self, places: &[usize], outcome: &Outcome) {
        for place in places {
            if let Some(slot) = self.outcomes.get_mut(*place) {
                slot.clone_from(outcome);
            }
        }
    }

    /// Whether the receiver took anything of it.
    fn is_taken(&self) -> bool {
        self.outcomes.contains(&Outcome::Delivered)
    }

    fn into_delivery(self) -> Delivery {
        Delivery {
            outcomes: self.outcomes,
            retry_after: self.retry_after,
            fault: self.fault,
        }
    }
}
