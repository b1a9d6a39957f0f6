//! A hit becomes an event.
//!
//! In: [`Hit`]s of decoys, what they [`Missed`], and [`HostEvent`]s of trapline itself, over bounded channels. Out:
//! encoded bodies, in the order of arrival, to the journal. One task; nothing on its way asks the network or the disk.
//!
//! Invariants:
//! 1. Identity is bound here and once: observer, site, boot, incident, zone, owner, MAC, lease, shared address, community
//!    id, level of touch, risk.
//! 2. No secret leaves in a form that the policy does not allow: masked bytes are `*`, and where anything was masked
//!    the payload's hash is keyed.
//! 3. One source makes at most `limits.events_per_source_per_minute` events; what is beyond is counted, and told by
//!    one event per source and minute. What the kernel dropped is told by one per decoy and minute. Counts are exact; a
//!    kill costs at most what was counted in its last second (`counts`).
//! 4. Memory is bounded: two generations of sources, two days of incidents. A full table folds and remembers less; it
//!    loses no hit.
//! 5. What must outlive a restart is in the journal's state, in the same commit as the hit that it came from.
//!
//! It does not know who reads the journal.

pub mod benign;
mod counts;
mod hosts;
mod incidents;
pub mod key;
pub mod leases;
mod maker;
mod missed;
pub mod neighbours;
mod sheet;
mod sources;
mod tally;
mod task;
#[cfg(test)]
mod tests;
pub mod zones;

use std::sync::Arc;

use smol_str::SmolStr;
use tokio::sync::{mpsc, oneshot};
use trapline_schemas::ids::SiteKey;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

use crate::fresh::Fresh;
use crate::roles::{Hit, Missed};

pub use benign::Benign;
pub use counts::FOLDS;
pub use hosts::Hosts;
pub use incidents::STATE;
pub use tally::Counted;
pub use task::{Append, Task, start};
pub use zones::{Networks, Zones};

/// Hits that may wait for the recorder; beyond, sessions wait.
pub const HITS_MAX: usize = 8192;

/// Who this host is, as every event says it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `observer.name`.
    pub name: SmolStr,
    /// `observer.hostname`.
    pub hostname: SmolStr,
    /// `honeyport.site`.
    pub site: Option<SmolStr>,
    /// `organization.id`.
    pub organization: Option<SmolStr>,
    /// This run of trapline: `honeyport.boot.id`.
    pub boot: Uuid,
    /// Hides secrets and names incidents.
    pub key: SiteKey,
}

impl Identity {
    /// Writes who this host is into an event, and when it was made. Also for events that others make.
    pub fn stamp(&self, event: &mut Event) {
        self.stamp_time(event);
        self.stamp_place(event);
        self.stamp_observer(event);
    }

    fn stamp_time(&self, event: &mut Event) {
        event.set(Field::EventCreated, Timestamp::now().max(event.at));
        event.set(Field::BootId, self.boot);
    }

    fn stamp_place(&self, event: &mut Event) {
        event.set_some(Field::Site, self.site.clone());
    }

    fn stamp_observer(&self, event: &mut Event) {
        event.set(Field::ObserverHostname, self.hostname.clone());
        event.set(Field::ObserverName, self.name.clone());
        event.set(Field::ObserverVersion, env!("CARGO_PKG_VERSION"));
        event.set_some(Field::OrganizationId, self.organization.clone());
    }
}

/// What events are made by, and a reload may change.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which sources are inside.
    pub zones: Zones,
    /// Who answers for which sources.
    pub owners: Networks<SmolStr>,
    /// Addresses that many share.
    pub shared: Networks<()>,
    /// Which sources are known to mean no harm.
    pub benign: Arc<Benign>,
    /// Events of one source within a minute before it is folded.
    pub events_per_source_per_minute: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            zones: Zones::default(),
            owners: Networks::default(),
            shared: Networks::default(),
            benign: Arc::default(),
            events_per_source_per_minute: 10_000,
        }
    }
}

/// What the recorder is told at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this host is.
    pub identity: Arc<Identity>,
    /// What events are made by.
    pub rules: Rules,
    /// What is known of hosts around.
    pub hosts: Arc<Hosts>,
    /// What an earlier run left in the journal's state under [`STATE`] and [`FOLDS`].
    pub state: Vec<(String, Vec<u8>)>,
}

/// Something that trapline tells about itself: lifecycle, findings of its own health.
#[derive(Debug, Clone)]
pub struct HostEvent {
    /// Its id, where somebody must know it before.
    pub id: Option<Uuid>,
    /// What happened.
    pub action: Action,
    /// When.
    pub at: Timestamp,
    /// What there is to say, text already clean.
    pub facts: Vec<(Field, Value)>,
}

impl HostEvent {
    /// An event of now.
    pub fn new(action: Action, facts: Vec<(Field, Value)>) -> Self {
        Self {
            id: None,
            action,
            at: Timestamp::now(),
            facts,
        }
    }
}

/// Handle to the recorder; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    hits: mpsc::Sender<Hit>,
    missed: mpsc::Sender<Missed>,
    host: mpsc::Sender<HostEvent>,
    orders: mpsc::Sender<Order>,
    fresh: Arc<Fresh>,
    tally: Arc<tally::Tally>,
}

/// What the recorder is asked to do.
#[derive(Debug)]
enum Order {
    /// Go on by other rules.
    Settle(Box<Rules>),
    /// Say that all that came before was handed to the journal.
    Pulse(oneshot::Sender<()>),
    /// Say that all that was decided was handed to the journal.
    Decided(oneshot::Sender<()>),
}

impl Recorder {
    /// Where decoys report.
    pub fn hits(&self) -> mpsc::Sender<Hit> {
        self.hits.clone()
    }

    /// Where decoys report what the kernel dropped.
    pub fn missed(&self) -> mpsc::Sender<Missed> {
        self.missed.clone()
    }

    /// What was recorded a moment ago, for delivery.
    pub fn fresh(&self) -> Arc<Fresh> {
        Arc::clone(&self.fresh)
    }

    /// What was counted since the start.
    pub fn counted(&self) -> Counted {
        self.tally.counted()
    }

    /// Waits until no hit is taken any more: the task was stopped, or broke down. Cancel: safe.
    pub async fn ended(&self) {
        self.hits.closed().await;
    }

    /// Goes on by other rules. Events made before keep what they were given.
    pub async fn settle(&self, rules: Rules) {
        if self.orders.send(Order::Settle(Box::new(rules))).await.is_err() {
            tracing::warn!("other rules came after the recorder had stopped");
        }
    }

    /// Waits until the recorder has taken note of this call: it is alive, and neither stuck nor gone. Cancel: safe.
    pub async fn pulse(&self) {
        let (taken, noted) = oneshot::channel();
        if self.orders.send(Order::Pulse(taken)).await.is_err() || noted.await.is_err() {
            // A recorder that is gone answers nobody, ever.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until what was decided at the desk was handed to the journal; at once if the recorder has stopped. Cancel: safe.
    pub async fn decided(&self) {
        let (taken, handed_over) = oneshot::channel();
        if self.orders.send(Order::Decided(taken)).await.is_ok() {
            // Dropped: the recorder has stopped, and hands over what there is at its end.
            let _ = handed_over.await;
        }
    }

    /// Records an event about trapline itself. Waits for room; a stopped recorder drops it, which is logged.
    pub async fn host(&self, event: HostEvent) {
        if let Err(refused) = self.host.send(event).await {
            let action = refused.0.action.name();
            tracing::warn!(event.action = action, "event came after the recorder had stopped");
        }
    }
}

/// The events of hits, as the recorder would make them: for tests of services.
#[cfg(test)]
pub(crate) fn make(settings: Settings, hits: Vec<Hit>) -> Vec<Event> {
    let mut maker = maker::Maker::new(settings);
    hits.into_iter().filter_map(|hit| maker.event(hit)).collect()
}
