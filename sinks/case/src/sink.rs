//! The sink: batches to the desk, and its memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, Outcome, StreamSink};
use trapline_sink::{Memo, Parcel};

use crate::desk::Desk;
use crate::stop::Stop;

#[async_trait]
impl StreamSink for Desk {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            // A notice is some requests of its own, and what they taught is kept before the next one goes.
            events: 1,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let mut delivery = Delivery::all(0);
        for parcel in batch {
            match self.tell(&parcel.event).await {
                Ok(()) => delivery.outcomes.push(Outcome::Delivered),
                Err(Stop::Refused(reason)) => delivery.outcomes.push(Outcome::Rejected(reason)),
                Err(Stop::Locked(fault)) => {
                    delivery.fault = Some(fault);
                    break;
                }
                Err(Stop::Later { fault, retry_after }) => {
                    delivery.fault = Some(fault);
                    delivery.retry_after = retry_after;
                    break;
                }
            }
        }
        delivery.outcomes.resize(batch.len(), Outcome::Retry);
        delivery
    }

    async fn check(&self) -> Result<String, Fault> {
        Desk::check(self).await
    }

    fn destination(&self) -> Option<String> {
        Some(self.place.clone())
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        Desk::notes(self)
    }

    fn recall(&self, rows: Vec<Memo>) {
        self.known().recall(rows);
    }

    fn memos(&self) -> Vec<Memo> {
        self.known().memos()
    }
}
