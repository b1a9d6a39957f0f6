//! A hit becomes an event.
//!
//! In: [`Hit`]s of decoys, what they [`Missed`], and [`HostEvent`]s of trapline itself, over bounded channels. Out:
//! encoded bodies, in the order of arrival, to the journal. One task; nothing on its way asks the network or the disk.
//!
//! Invariants:
//! 1. Identity is bound here and once: observer, site, boot, incident, zone, community id, level of touch, risk.
//! 2. No secret leaves in a form that the policy does not allow: masked bytes are `*`, and where anything was masked
//!    the payload's hash is keyed.
//! 3. One source makes at most `limits.events_per_source_per_minute` events; what is beyond is counted, and told by
//!    one event per source and minute. What the kernel dropped is told by one per decoy and minute. Counts are exact.
//! 4. Memory is bounded: two generations of sources, two days of incidents. A full table folds and remembers less; it
//!    loses no hit.
//! 5. What must outlive a restart is in the journal's state, in the same commit as the hit that it came from.
//!
//! It does not know who reads the journal.

pub mod benign;
mod incidents;
pub mod key;
mod maker;
mod missed;
mod sheet;
mod sources;
mod task;
#[cfg(test)]
mod tests;
pub mod zones;

use std::sync::Arc;

use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use trapline_schemas::ids::SiteKey;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

use crate::fresh::Fresh;
use crate::roles::{Hit, Missed};

pub use benign::Benign;
pub use incidents::STATE;
pub use task::{Append, Task, start};
pub use zones::Zones;

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

/// What the recorder is told at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this host is.
    pub identity: Arc<Identity>,
    /// Which sources are inside.
    pub zones: Zones,
    /// Which sources are known to mean no harm.
    pub benign: Arc<Benign>,
    /// Events of one source within a minute before it is folded.
    pub events_per_source_per_minute: u32,
    /// What an earlier run left in the journal's state under [`STATE`].
    pub state: Vec<(String, Vec<u8>)>,
}

/// Something that trapline tells about itself: lifecycle, findings of its own health.
#[derive(Debug, Clone)]
pub struct HostEvent {
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
    benign: watch::Sender<Arc<Benign>>,
    fresh: Arc<Fresh>,
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

    /// From the next hits on these are known to mean no harm; whether anything changed by that.
    pub fn set_benign(&self, benign: Benign) -> bool {
        let changed = **self.benign.borrow() != benign;
        if changed {
            self.benign.send_replace(Arc::new(benign));
        }
        changed
    }

    /// Waits until no hit is taken any more: the task was stopped, or broke down. Cancel: safe.
    pub async fn ended(&self) {
        self.hits.closed().await;
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
