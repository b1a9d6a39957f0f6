//! Sending a batch and judging each event of it.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::oneshot;
use trapline_sink::config::Common;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, StreamSink};
use trapline_sink::{Measure, Parcel};

use crate::check;
use crate::client::{self, Producer};
use crate::config::Settings;
use crate::context::{Context, Report};
use crate::fault::{self, Verdict, judge};
use crate::ledger::Ledger;
use crate::record::Form;
use crate::stats::Counts;

/// Most that one request carries for a partition; what a topic takes by default is a little more.
const BATCH_BYTES: usize = 900_000;
/// Least that a request is made to carry.
const BATCH_BYTES_MIN: usize = 16 * 1024;
/// What a delivery may take beyond `delivery_timeout`: the producer looks each second for what is overdue.
const GRACE: Duration = Duration::from_secs(5);

/// A cluster of brokers.
pub(crate) struct Kafka {
    settings: Settings,
    form: Form,
    client_id: String,
    /// Halved when a topic takes no request as large as we make them.
    batch_bytes: AtomicUsize,
    current: Mutex<Option<Arc<Session>>>,
    /// Offset of the record that was confirmed last; below 0 before the first.
    confirmed: AtomicI64,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// A sink that connects when it has something to send.
    pub(crate) fn new(settings: Settings, common: &Common) -> Self {
        Self {
            form: Form::new(&settings, common),
            client_id: client_id(&common.observer),
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
            current: Mutex::new(None),
            confirmed: AtomicI64::new(-1),
            settings,
        }
    }

    /// The producer in use, or a new one. Errors: [`FaultKind::Config`] if none can be made.
    async fn session(&self) -> Result<Arc<Session>, Fault> {
        if let Some(session) = self.lock().clone() {
            return Ok(session);
        }
        let session = Arc::new(self.open().await?);
        Ok(self.lock().get_or_insert(session).clone())
    }

    async fn open(&self) -> Result<Session, Fault> {
        let (settings, id) = (self.settings.clone(), self.client_id.clone());
        let batch_bytes = self.batch_bytes.load(Ordering::Relaxed);
        let made = tokio::task::spawn_blocking(move || client::producer(&settings, &id, batch_bytes)).await;
        let producer = made.map_err(|_| broken())??;
        Ok(Session {
            producer: Some(producer),
        })
    }

    /// Makes the next delivery take a new producer.
    fn forget(&self, session: &Arc<Session>) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|there| Arc::ptr_eq(there, session)) {
            *current = None;
        }
    }

    /// The last statistics of the producer in use.
    fn counts(&self) -> Option<Counts> {
        self.lock().as_ref().and_then(|session| session.context().counts())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all events together, then those that were too large there, each by itself.
    async fn send(&self, session: &Session, batch: &[Arc<Parcel>], ledger: &mut Ledger) {
        let all: Vec<usize> = (0..batch.len()).collect();
        let large = self
            .round(session, batch, &all, self.settings.event_bytes_max, ledger)
            .await;
        for at in large {
            if ledger.fault.is_some() {
                return;
            }
            self.send_alone(session, batch, at, ledger).await;
        }
    }

    /// Sends an event that was too large: whole, if it was not alone before, then in halves of its size.
    async fn send_alone(&self, session: &Session, batch: &[Arc<Parcel>], at: usize, ledger: &mut Ledger) {
        let bytes = |max| {
            batch
                .get(at)
                .and_then(|parcel| self.form.value(parcel, max))
                .map_or(0, |value| value.len())
        };
        let whole = bytes(self.settings.event_bytes_max);
        let mut max = if batch.len() > 1 { whole } else { whole / 2 };
        // Bounded: each turn halves it, and nothing fits into nothing.
        while !self.round(session, batch, &[at], max, ledger).await.is_empty() {
            max = bytes(max) / 2;
        }
        if max == whole && ledger.is_delivered(at) {
            self.make_smaller_requests(ledger);
        }
    }

    /// The event was not too large, so the request was.
    fn make_smaller_requests(&self, ledger: &mut Ledger) {
        if ledger.renew {
            return;
        }
        let half = (self.batch_bytes.load(Ordering::Relaxed) / 2).max(BATCH_BYTES_MIN);
        self.batch_bytes.store(half, Ordering::Relaxed);
        tracing::info!(
            kafka.batch_bytes = half,
            "the topic takes smaller requests than we made"
        );
        ledger.renew = true;
    }

    /// Sends some events of a batch, each in at most `max` bytes, and marks what became of them. Gives those that were
    /// too large for the topic. Time: see the crate's invariant 4.
    async fn round(
        &self,
        session: &Session,
        batch: &[Arc<Parcel>],
        places: &[usize],
        max: usize,
        ledger: &mut Ledger,
    ) -> Vec<usize> {
        session.context().begin();
        let mut large = Vec::new();
        let mut waits = Vec::with_capacity(places.len());
        for (at, parcel) in places.iter().filter_map(|at| Some((*at, batch.get(*at)?))) {
            match self.enqueue(session, parcel, max) {
                Ok(wait) => waits.push((at, parcel, wait)),
                Err(Verdict::TooLarge) => large.push(at),
                Err(verdict) => ledger.mark(at, verdict),
            }
        }
        let given_up = self.settle(session, waits, &mut large, ledger).await;
        ledger.fault = ledger.fault.take().or(given_up);
        large
    }

    /// Waits for the reports. Gives the reason if it gave up waiting; what has no report then is sent again.
    async fn settle(
        &self,
        session: &Session,
        waits: Vec<(usize, &Arc<Parcel>, oneshot::Receiver<Report>)>,
        large: &mut Vec<usize>,
        ledger: &mut Ledger,
    ) -> Option<Fault> {
        let mut hopeless = pin!(self.hopeless(session.context()));
        let mut given_up = None;
        for (at, parcel, mut wait) in waits {
            let report = match given_up {
                Some(_) => wait.try_recv().ok(),
                None => tokio::select! {
                    biased;
                    report = &mut wait => report.ok(),
                    fault = &mut hopeless => {
                        given_up = Some(fault);
                        wait.try_recv().ok()
                    }
                },
            };
            match report.map(|report| self.judge(session, parcel, report)) {
                Some(Verdict::TooLarge) => large.push(at),
                Some(verdict) => ledger.mark(at, verdict),
                None => {}
            }
        }
        given_up
    }

    /// Waits until a delivery is to be given up. Cancel: safe.
    async fn hopeless(&self, context: &Context) -> Fault {
        tokio::select! {
            fault = context.hopeless(self.settings.timeout) => fault,
            () = tokio::time::sleep(self.settings.delivery_timeout + GRACE) => {
                context.hindrance().unwrap_or_else(fault::overdue)
            }
        }
    }

    /// Puts an event into the producer's queue; its report comes later.
    fn enqueue(
        &self,
        session: &Session,
        parcel: &Arc<Parcel>,
        max: usize,
    ) -> Result<oneshot::Receiver<Report>, Verdict> {
        let event = &parcel.event;
        let Some(value) = self.form.value(parcel, max) else {
            return Err(Verdict::Unfit(self.unfit(max)));
        };
        let (topic, key) = (self.form.topic(event), self.form.key(event));
        let (report, wait) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(&topic, Box::new(report))
            .payload(value.as_ref())
            .headers(self.form.headers(event))
            .timestamp(event.at.millis().max(0));
        record.key = key.as_deref();
        match client::enqueue(session.producer(), record) {
            Ok(()) => Ok(wait),
            Err(code) => Err(self.judge(session, parcel, Err(code))),
        }
    }

    fn judge(&self, session: &Session, parcel: &Parcel, report: Report) -> Verdict {
        match report {
            Ok(offset) if offset >= 0 => {
                self.confirmed.store(offset, Ordering::Relaxed);
                Verdict::Delivered
            }
            // A double that a broker dropped so late that it has forgotten where the first one is.
            Ok(_) => Verdict::Fault(fault::unplaced()),
            Err(code) => {
                if code == RDKafkaErrorCode::MessageTimedOut {
                    // What stands behind it must not overtake it.
                    client::purge(session.producer());
                }
                let topic = self.form.topic(&parcel.event);
                judge(code, &topic, session.fatal(), session.context().hindrance())
            }
        }
    }

    fn unfit(&self, max: usize) -> String {
        let bound = self.settings.event_bytes_max;
        match max < bound {
            true => format!("the topic takes no record of {max} bytes, and the event cannot be made smaller"),
            false => format!("does not fit `event_bytes_max` = {bound} even with every long field left out"),
        }
    }
}

#[async_trait]
impl StreamSink for Kafka {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 1000,
            bytes: 4 << 20,
            linger: Duration::from_millis(100),
            // One after the other: a batch that comes again must not be overtaken by the next one of its source.
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return Delivery::retry(batch.len(), fault),
        };
        let mut farewell = Farewell {
            sink: self,
            session: &session,
            is_due: true,
        };
        let mut ledger = Ledger::new(batch.len());
        self.send(&session, batch, &mut ledger).await;
        farewell.is_due = ledger.fault.is_some() || ledger.renew;
        ledger.into_delivery()
    }

    async fn check(&self) -> Result<String, Fault> {
        let (session, settings) = (self.open().await?, self.settings.clone());
        let asked = tokio::task::spawn_blocking(move || check::ask(session.producer(), &settings)).await;
        asked.map_err(|_| broken())?
    }

    fn notes(&self) -> Vec<String> {
        let clear = self
            .settings
            .tls
            .is_none()
            .then(|| clear(self.settings.sasl.is_some()).to_owned());
        let batch_bytes = self.batch_bytes.load(Ordering::Relaxed);
        let smaller = (batch_bytes < BATCH_BYTES).then(|| format!("the topic takes requests of {batch_bytes} bytes"));
        let counts = self.counts().map(|counts| counts.note());
        clear.into_iter().chain(smaller).chain(counts).collect()
    }

    fn destination(&self) -> Option<String> {
        let brokers: Vec<_> = self.settings.brokers.iter().map(ToString::to_string).collect();
        Some(format!("topic `{}` at {}", self.settings.topic, brokers.join(", ")))
    }

    fn word(&self) -> Option<String> {
        let offset = self.confirmed.load(Ordering::Relaxed);
        (offset >= 0).then(|| format!("confirmed by the brokers, offset {offset}"))
    }

    fn measures(&self) -> Vec<Measure> {
        self.counts().map_or_else(Vec::new, |counts| counts.measures())
    }

    async fn close(&self) {
        self.lock().take();
    }
}

/// A producer, which ends on a thread of its own.
pub(crate) struct Session {
    /// There until it is dropped.
    producer: Option<Producer>,
}

impl Session {
    fn producer(&self) -> &Producer {
        self.producer.as_ref().expect("it is taken by the drop alone")
    }

    fn context(&self) -> &Context {
        self.producer().client().context()
    }

    fn fatal(&self) -> Option<RDKafkaErrorCode> {
        self.producer().client().fatal_error().map(|(code, _)| code)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.producer.take().into_iter().for_each(client::retire);
    }
}

/// Parts from a producer after a fault, and when nobody waits for a delivery any more.
struct Farewell<'a> {
    sink: &'a Kafka,
    session: &'a Arc<Session>,
    is_due: bool,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if self.is_due {
            client::purge(self.session.producer());
            self.sink.forget(self.session);
        }
    }
}

/// How the brokers know us, in their logs and quotas.
fn client_id(observer: &str) -> String {
    let plain = |sign: char| {
        if sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_' | '-') {
            sign
        } else {
            '-'
        }
    };
    let name: String = observer.chars().take(64).map(plain).collect();
    format!("trapline-{name}")
}

/// What `status` says without TLS.
const fn clear(has_sasl: bool) -> &'static str {
    match has_sasl {
        true => "tls is off: events and credentials travel in clear",
        false => "tls is off: events travel in clear",
    }
}

fn broken() -> Fault {
    Fault {
        kind: FaultKind::Broken,
        message: "the making of a Kafka producer broke down".to_owned(),
    }
}
