//! The sink: its settings, the producer in use, and what it tells of itself.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use trapline_sink::config::Common;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, StreamSink};
use trapline_sink::{Measure, Parcel};

use crate::check;
use crate::client::{self, Producer};
use crate::config::Settings;
use crate::context::Context;
use crate::ledger::Ledger;
use crate::record::Form;
use crate::stats::Counts;

/// Most that one request carries for a partition; what a topic takes by default is a little more.
const BATCH_BYTES: usize = 900_000;
/// Least that a request is made to carry.
const BATCH_BYTES_MIN: usize = 16 * 1024;

/// A cluster of brokers.
pub(crate) struct Kafka {
    pub(crate) settings: Settings,
    pub(crate) form: Form,
    client_id: String,
    /// Halved when a topic takes no request as large as we make them.
    batch_bytes: AtomicUsize,
    /// Size of the smallest event that a topic refused as too large.
    pub(crate) refused_bytes: AtomicUsize,
    current: Mutex<Option<Arc<Session>>>,
    /// Offset of the record that was confirmed last; below 0 before the first.
    pub(crate) confirmed: AtomicI64,
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
            refused_bytes: AtomicUsize::new(usize::MAX),
            current: Mutex::new(None),
            confirmed: AtomicI64::new(-1),
            settings,
        }
    }

    /// The producer in use, or a new one. Errors: [`FaultKind::Config`] if none can be made.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Fault> {
        if let Some(session) = self.lock().clone() {
            return Ok(session);
        }
        let session = Arc::new(self.open().await?);
        Ok(self.lock().get_or_insert(session).clone())
    }

    async fn open(&self) -> Result<Session, Fault> {
        let (settings, id) = (self.settings.clone(), self.client_id.clone());
        let batch_bytes = self.batch_bytes();
        let made = tokio::task::spawn_blocking(move || client::producer(&settings, &id, batch_bytes)).await;
        let producer = made.map_err(|_| broken())??;
        Ok(Session {
            producer: Some(producer),
        })
    }

    /// Makes whoever sends next take a new producer.
    fn forget(&self, session: &Arc<Session>) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|there| Arc::ptr_eq(there, session)) {
            *current = None;
        }
    }

    /// Makes the next requests half as large, by a new producer. Gives whether that is possible: there is a least.
    pub(crate) fn make_smaller_requests(&self) -> bool {
        let bytes = self.batch_bytes();
        let half = (bytes / 2).max(BATCH_BYTES_MIN);
        self.batch_bytes.store(half, Ordering::Relaxed);
        self.lock().take();
        if half < bytes {
            tracing::info!(
                kafka.batch_bytes = half,
                "the topic takes smaller requests than we made"
            );
        }
        half < bytes
    }

    /// Most that a request carries now for a partition.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    /// The last statistics of the producer in use.
    fn counts(&self) -> Option<Counts> {
        self.lock().as_ref().and_then(|session| session.context().counts())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut ledger = Ledger::new(batch.len());
        self.send(batch, &mut ledger).await;
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
        let batch_bytes = self.batch_bytes();
        let smaller = (batch_bytes < BATCH_BYTES).then(|| format!("the topic takes requests of {batch_bytes} bytes"));
        let refused = self.refused_bytes.load(Ordering::Relaxed);
        let cut = (refused < usize::MAX).then(|| too_large(refused));
        let counts = self.counts().map(|counts| counts.note());
        clear.into_iter().chain(smaller).chain(cut).chain(counts).collect()
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
    pub(crate) fn producer(&self) -> &Producer {
        self.producer.as_ref().expect("it is taken by the drop alone")
    }

    pub(crate) fn context(&self) -> &Context {
        self.producer().client().context()
    }

    pub(crate) fn fatal(&self) -> Option<RDKafkaErrorCode> {
        self.producer().client().fatal_error().map(|(code, _)| code)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.producer.take().into_iter().for_each(client::retire);
    }
}

/// Parts from a producer after a fault, and when nobody waits for a delivery any more.
pub(crate) struct Farewell<'a> {
    pub(crate) sink: &'a Kafka,
    pub(crate) session: &'a Arc<Session>,
    pub(crate) is_due: bool,
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

/// What `status` says once events had to be made smaller.
fn too_large(bytes: usize) -> String {
    format!(
        "a topic refused events of {bytes} bytes, and trying takes time: raise its `max.message.bytes`, or set \
         `event_bytes_max` below {bytes}"
    )
}

fn broken() -> Fault {
    Fault {
        kind: FaultKind::Broken,
        message: "the making of a Kafka producer broke down".to_owned(),
    }
}
