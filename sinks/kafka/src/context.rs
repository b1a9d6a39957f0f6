//! What librdkafka calls back: reports, errors, log lines, statistics.
//!
//! In: callbacks on the producer's own thread. Out: reports to whoever waits for them, what was last wrong with the
//! brokers, and whether all of them are lost.
//! Invariants: 1. no callback blocks. 2. What brokers and OpenSSL say is escaped and bounded before it goes anywhere.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Message as _, Statistics};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use trapline_sink::{Fault, FaultKind};

use crate::fault::{self, bounded};
use crate::stats::Counts;

/// The facility of librdkafka's log lines about a fatal error.
const STOPPED: &str = "FATAL";

/// What became of a record: its offset, or why it has none.
pub(crate) type Report = Result<i64, RDKafkaErrorCode>;

/// What one producer knows of its brokers.
#[derive(Debug, Default)]
pub(crate) struct Context {
    state: watch::Sender<State>,
    counts: Mutex<Option<Counts>>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when no broker can be reached.
    lost: Option<Instant>,
    /// What was last wrong with a broker.
    trouble: Option<Fault>,
}

impl Context {
    /// What was last wrong with a broker, until a record gets through.
    pub(crate) fn trouble(&self) -> Option<Fault> {
        self.state.borrow().trouble.clone()
    }

    /// What stops every record: brokers that refuse us, or that are all lost. One broker of several that is gone is not
    /// why a topic does not confirm.
    pub(crate) fn hindrance(&self) -> Option<Fault> {
        let state = self.state.borrow();
        let is_lost = state.lost.is_some();
        state.trouble.clone().filter(|fault| is_lost || is_refusal(fault))
    }

    /// The last statistics.
    pub(crate) fn counts(&self) -> Option<Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A delivery begins: brokers that were lost before have their time again.
    pub(crate) fn begin(&self) {
        self.state
            .send_modify(|state| state.lost = state.lost.map(|_| Instant::now()));
    }

    /// Waits until there is no hope: all brokers refuse us, or were lost `patience` ago. Cancel: safe.
    pub(crate) async fn hopeless(&self, patience: Duration) -> Fault {
        let mut changes = self.state.subscribe();
        loop {
            let (lost, trouble) = {
                let state = changes.borrow_and_update();
                (state.lost, state.trouble.clone())
            };
            let Some(since) = lost else {
                // The sender is ours, so this never fails.
                let _ = changes.changed().await;
                continue;
            };
            if let Some(fault) = trouble.clone().filter(is_refusal) {
                return fault;
            }
            tokio::select! {
                () = tokio::time::sleep_until(since + patience) => return trouble.unwrap_or_else(fault::all_lost),
                _ = changes.changed() => {}
            }
        }
    }

    /// A record got through.
    fn well(&self) {
        self.state.send_if_modified(|state| {
            let was_ill = state.lost.is_some() || state.trouble.is_some();
            *state = State::default();
            was_ill
        });
    }

    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.state.send_modify(|state| {
                state.lost.get_or_insert_with(Instant::now);
            });
        } else if let Some(fault) = fault::of_broker(code, reason) {
            self.state.send_modify(|state| {
                // Among brokers, or addresses of one, that are gone, the one that refuses us is what to act on.
                if is_refusal(&fault) || !state.trouble.as_ref().is_some_and(is_refusal) {
                    state.trouble = Some(fault);
                }
            });
        }
    }
}

fn is_refusal(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Auth | FaultKind::Tls)
}

impl ClientContext for Context {
    /// Only in detail: what matters of it is a fault of the sink, told once. That a producer stopped is no more than a
    /// refusal that we judge by its code, and a new one takes over.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let (facility, message) = (bounded(facility), bounded(message));
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical if facility != STOPPED => {
                tracing::warn!(kafka.facility = %facility, "librdkafka: {message}");
            }
            _ => tracing::debug!(kafka.facility = %facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(Counts::new(&statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        tracing::debug!(kafka.error = ?code, "librdkafka: {}", bounded(reason));
        self.note(code, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waits: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => {
                self.well();
                Ok(message.offset())
            }
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        // Nobody waits any more for a delivery that was given up.
        let _ = waits.send(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn lost_brokers_have_their_time_and_no_more() {
        let context = Context::default();
        context.note(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b:1/1: Connect failed: refused",
        );
        let started = Instant::now();
        assert!(
            tokio::time::timeout(3 * PATIENCE, context.hopeless(PATIENCE))
                .await
                .is_err()
        );
        context.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let fault = context.hopeless(PATIENCE).await;
        assert_eq!((fault.kind, started.elapsed()), (FaultKind::Unreachable, 4 * PATIENCE));
        context.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        context.hopeless(PATIENCE).await;
        assert_eq!(started.elapsed(), 4 * PATIENCE, "a repeat does not begin anew");
        context.begin();
        context.hopeless(PATIENCE).await;
        assert_eq!(started.elapsed(), 5 * PATIENCE, "the next delivery does");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_by_all_there_is_nothing_to_wait_for() {
        let context = Context::default();
        context.note(RDKafkaErrorCode::Authentication, "b:1/1: SASL authentication error: no");
        assert!(
            tokio::time::timeout(PATIENCE, context.hopeless(PATIENCE))
                .await
                .is_err(),
            "another broker may do"
        );
        context.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let started = Instant::now();
        assert_eq!(context.hopeless(PATIENCE).await.kind, FaultKind::Auth);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_hidden_by_brokers_that_are_gone() {
        let context = Context::default();
        context.note(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b:1/1: Connect failed: refused",
        );
        context.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let started = Instant::now();
        let later = async {
            tokio::time::sleep(PATIENCE / 2).await;
            context.note(RDKafkaErrorCode::SSL, "certificate verify failed");
            context.note(
                RDKafkaErrorCode::BrokerTransportFailure,
                "b:2/2: Connect failed: refused",
            );
        };
        let (fault, ()) = tokio::join!(context.hopeless(PATIENCE), later);
        assert_eq!((fault.kind, started.elapsed()), (FaultKind::Tls, PATIENCE / 2));
    }

    #[test]
    fn one_broker_of_several_that_is_gone_hinders_nothing() {
        let context = Context::default();
        context.note(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b:1/1: Connect failed: refused",
        );
        assert!(context.trouble().is_some() && context.hindrance().is_none());
        context.note(RDKafkaErrorCode::AllBrokersDown, "3/3 brokers are down");
        assert_eq!(
            context.hindrance().map(|fault| fault.kind),
            Some(FaultKind::Unreachable)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_gets_through_ends_the_trouble() {
        let context = Context::default();
        context.note(RDKafkaErrorCode::BrokerTransportFailure, "b:1/1: Disconnected");
        context.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        context.well();
        assert_eq!(context.trouble(), None);
        assert!(
            tokio::time::timeout(3 * PATIENCE, context.hopeless(PATIENCE))
                .await
                .is_err()
        );
    }
}
