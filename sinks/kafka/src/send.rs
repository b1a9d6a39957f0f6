//! Sending a batch in its order, and judging each event of it.
//!
//! In: a batch. Out: a verdict for each event of it, in a [`Ledger`].
//! Invariant: no event of a partition gets there before those in front of it have their verdict. A refused request stops
//! the producer (`enable.gapless.guarantee`), so what stands behind it comes back and goes again after it, by a new one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::BaseRecord;
use tokio::sync::oneshot;
use trapline_sink::Parcel;
use trapline_sink::stream::Fault;

use crate::client;
use crate::context::{Context, Report};
use crate::fault::{self, Verdict, judge};
use crate::ledger::Ledger;
use crate::sink::{Farewell, Kafka, Session};

/// What a delivery may take beyond `delivery_timeout`: the producer looks each second for what is overdue.
const GRACE: Duration = Duration::from_secs(5);
/// How often what a stopped producer still has is taken back: requests under way return to its queue one by one.
const SWEEP: Duration = Duration::from_millis(20);

/// Records in the producer's queue, by their place in the batch.
type Waits<'a> = Vec<(usize, &'a Arc<Parcel>, oneshot::Receiver<Report>)>;

impl Kafka {
    /// Sends a batch, in smaller requests and smaller events where the topic takes no larger ones. Ends: each turn but
    /// the last makes requests smaller, of which there is a least, or settles an event.
    pub(crate) async fn send(&self, batch: &[Arc<Parcel>], ledger: &mut Ledger) {
        while ledger.goes_on() {
            let open = ledger.open();
            let large = self.round(batch, &open, self.settings.event_bytes_max, ledger).await;
            if large.is_empty() {
                return;
            }
            let is_event = open.len() == 1 || large.iter().any(|at| self.fills_a_request(batch, *at));
            if is_event || !self.make_smaller_requests() {
                self.send_each(batch, &large, ledger).await;
            }
        }
    }

    /// Whether an event is as large as a request may be: then smaller requests are no help.
    fn fills_a_request(&self, batch: &[Arc<Parcel>], at: usize) -> bool {
        self.bytes(batch, at, self.settings.event_bytes_max) >= self.batch_bytes()
    }

    /// Size of an event that is to fit into `max` bytes; 0 if it cannot.
    fn bytes(&self, batch: &[Arc<Parcel>], at: usize, max: usize) -> usize {
        let value = batch.get(at).and_then(|parcel| self.form.value(parcel, max));
        value.map_or(0, |value| value.len())
    }

    async fn send_each(&self, batch: &[Arc<Parcel>], large: &[usize], ledger: &mut Ledger) {
        for at in large {
            if !ledger.goes_on() {
                return;
            }
            self.send_alone(batch, *at, ledger).await;
        }
    }

    /// Sends an event that was too large: whole, if it was not alone before, then in halves of its size.
    async fn send_alone(&self, batch: &[Arc<Parcel>], at: usize, ledger: &mut Ledger) {
        let whole = self.bytes(batch, at, self.settings.event_bytes_max);
        let mut max = if batch.len() > 1 { whole } else { whole / 2 };
        // Bounded: each turn halves it, and nothing fits into nothing.
        while !self.round(batch, &[at], max, ledger).await.is_empty() {
            max = self.bytes(batch, at, max) / 2;
        }
        if max < whole {
            self.refused_bytes.fetch_min(whole, Ordering::Relaxed);
        }
    }

    /// Sends some events of a batch, each in at most `max` bytes, and marks what became of them. Gives those that were
    /// too large for the topic. Time: see the crate's invariant 4.
    async fn round(&self, batch: &[Arc<Parcel>], places: &[usize], max: usize, ledger: &mut Ledger) -> Vec<usize> {
        let session = match self.session().await {
            Ok(session) => session,
            Err(fault) => {
                ledger.meet(fault);
                return Vec::new();
            }
        };
        let mut farewell = Farewell {
            sink: self,
            session: &session,
            is_due: true,
        };
        session.context().begin();
        let mut large = Vec::new();
        let waits = self.enqueue_all(&session, batch, places, max, &mut large, ledger);
        if let Some(fault) = self.settle(&session, waits, &mut large, ledger).await {
            ledger.meet(fault);
        }
        farewell.is_due = ledger.fault.is_some() || session.fatal().is_some();
        large
    }

    /// Puts events into the producer's queue, up to the first that it does not take.
    fn enqueue_all<'a>(
        &self,
        session: &Session,
        batch: &'a [Arc<Parcel>],
        places: &[usize],
        max: usize,
        large: &mut Vec<usize>,
        ledger: &mut Ledger,
    ) -> Waits<'a> {
        let mut waits = Vec::with_capacity(places.len());
        for (at, parcel) in places.iter().filter_map(|at| Some((*at, batch.get(*at)?))) {
            let Some(value) = self.form.value(parcel, max) else {
                ledger.mark(at, Verdict::Unfit(self.unfit(max)));
                continue;
            };
            match self.enqueue(session, parcel, &value) {
                Ok(wait) => waits.push((at, parcel, wait)),
                Err(verdict) => {
                    put(at, verdict, large, ledger);
                    break;
                }
            }
        }
        waits
    }

    /// Waits for the reports. Gives the reason if it gave up waiting; what has no report then is sent again.
    async fn settle(
        &self,
        session: &Session,
        waits: Waits<'_>,
        large: &mut Vec<usize>,
        ledger: &mut Ledger,
    ) -> Option<Fault> {
        let mut hopeless = pin!(self.hopeless(session.context()));
        let mut sweep = pin!(sweep(session));
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
                    () = &mut sweep => None,
                },
            };
            if let Some(report) = report {
                put(at, self.judge(session, parcel, report), large, ledger);
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
        value: &[u8],
    ) -> Result<oneshot::Receiver<Report>, Verdict> {
        let event = &parcel.event;
        let (topic, key) = (self.form.topic(event), self.form.key(event));
        let (report, wait) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(&topic, Box::new(report))
            .payload(value)
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

/// Marks a verdict, or notes that the event is to go again in another way.
fn put(at: usize, verdict: Verdict, large: &mut Vec<usize>, ledger: &mut Ledger) {
    match verdict {
        Verdict::TooLarge => large.push(at),
        verdict => ledger.mark(at, verdict),
    }
}

/// Takes back what a stopped producer has in its queue, again and again: it sends it no more, and would keep it for
/// `delivery_timeout`. Never ends. Cancel: safe.
async fn sweep(session: &Session) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if session.fatal().is_some() {
            client::purge_queue(session.producer());
        }
    }
}
