//! A delivery worker reduced to what the suite needs: send again, split, put aside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::parcel::Parcel;
use crate::stream::{Delivery, Outcome, StreamSink};

/// Most deliveries of one run: far above what any case needs, so that a sink that never finishes is found.
const STEPS_MAX: usize = 500;
/// Pause after a delivery that got nothing through.
const PAUSE: Duration = Duration::from_millis(10);

/// Sends parcels through a sink until each is delivered or a dead letter.
pub struct Driver {
    sink: Arc<dyn StreamSink>,
    left: VecDeque<Vec<Arc<Parcel>>>,
    delivered: Vec<Uuid>,
    dead: Vec<(Uuid, String)>,
    steps: usize,
}

impl Driver {
    /// A driver with these parcels as its first batch.
    pub fn new(sink: Arc<dyn StreamSink>, parcels: Vec<Arc<Parcel>>) -> Self {
        Self {
            sink,
            left: VecDeque::from([parcels]),
            delivered: Vec::new(),
            dead: Vec::new(),
            steps: 0,
        }
    }

    /// Adds a batch behind the others.
    pub fn push(&mut self, parcels: Vec<Arc<Parcel>>) {
        self.left.push_back(parcels);
    }

    /// Whether nothing is left to send.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Ids called delivered.
    pub fn delivered(&self) -> &[Uuid] {
        &self.delivered
    }

    /// Ids refused for good, each with its reason.
    pub fn dead(&self) -> &[(Uuid, String)] {
        &self.dead
    }

    /// One delivery of the first batch. Errors: the sink does not come back, miscounts, or never gets through.
    pub async fn step(&mut self, patience: Duration) -> Result<Delivery, String> {
        let Some(batch) = self.left.pop_front() else {
            return Ok(Delivery::all(0));
        };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("not done after {STEPS_MAX} deliveries"));
        }
        let delivery = timeout(patience, self.sink.deliver(&batch))
            .await
            .map_err(|_| format!("deliver did not come back within {} s", patience.as_secs()))?;
        if delivery.outcomes.len() != batch.len() {
            return Err(format!(
                "{} outcomes for {} events",
                delivery.outcomes.len(),
                batch.len()
            ));
        }
        let delivered = self.delivered.len();
        self.sort(&batch, &delivery);
        if self.delivered.len() == delivered && !self.left.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(delivery)
    }

    fn sort(&mut self, batch: &[Arc<Parcel>], delivery: &Delivery) {
        let (mut again, mut suspects) = (Vec::new(), Vec::new());
        for (parcel, outcome) in batch.iter().zip(&delivery.outcomes) {
            match outcome {
                Outcome::Delivered => self.delivered.push(parcel.event.id),
                Outcome::Retry => again.push(parcel.clone()),
                Outcome::Rejected(reason) => self.dead.push((parcel.event.id, reason.clone())),
                Outcome::Suspect(reason) if batch.len() == 1 => self.dead.push((parcel.event.id, reason.clone())),
                Outcome::Suspect(_) => suspects.push(parcel.clone()),
            }
        }
        let second = suspects.split_off(suspects.len() / 2);
        for part in [second, suspects, again] {
            if !part.is_empty() {
                self.left.push_front(part);
            }
        }
    }
}
