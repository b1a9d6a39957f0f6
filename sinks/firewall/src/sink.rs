//! What all firewalls have in common: who is spared, what may be changed at all, and what became of a change that failed.
//!
//! In: [`SetSink`]'s questions. Out: the few acts of a [`Backend`].
//!
//! Invariants: 1. no target that is spared reaches a backend, whoever asks. 2. While nothing may be changed, a backend is
//! asked for what stands and no more. 3. Acts come one after the other. 4. After a fault nothing is believed: what stands is
//! read, and each change judged by that.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::Mutex;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Change, Put, SetCommon, SetLimits, SetSink, Spared, Standing, Target};
use trapline_sink::{Fault, FaultKind};

/// What is to be made so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Edits {
    /// To stand no more.
    pub take: Vec<Target>,
    /// To stand, each until then.
    pub put: Vec<(Target, Timestamp)>,
}

impl Edits {
    fn is_empty(&self) -> bool {
        self.take.is_empty() && self.put.is_empty()
    }
}

/// A firewall, reached by programs.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    /// How much it takes.
    fn limits(&self) -> SetLimits;

    /// Makes, or makes again, what entries need to have an effect; the entries stay as they are.
    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// All that stands and is ours. Changes nothing unless it `mends`: then what stands in our place and cannot be ours
    /// goes.
    async fn list(&self, mends: bool) -> Result<Vec<Standing>, Fault>;

    /// Makes changes. After an error some of them may have been made.
    async fn edit(&self, edits: &Edits) -> Result<(), Fault>;

    /// Reaches the firewall, changes nothing, says in a few words what answered.
    async fn look(&self) -> Result<String, Fault>;

    /// Why there is nothing to do about a target on this host, if so.
    fn nowhere(&self, _target: Target) -> Option<String> {
        None
    }

    /// What an operator should know.
    fn notes(&self) -> Vec<String>;

    /// Where it acts.
    fn destination(&self) -> String;
}

/// A set sink over a firewall that programs reach.
pub(crate) struct Guarded<B> {
    backend: B,
    observes: bool,
    spared: RwLock<Arc<Spared>>,
    /// Held while a program may be changing something.
    turn: Mutex<()>,
}

impl<B: Backend> Guarded<B> {
    pub fn new(backend: B, common: &SetCommon) -> Arc<Self> {
        Arc::new(Self {
            backend,
            observes: common.observes,
            spared: RwLock::new(Arc::new(Spared::new([]))),
            turn: Mutex::new(()),
        })
    }

    /// What becomes of a change before the firewall is asked; `None`: it is to be made.
    fn settled_before(&self, change: &Change, now: Timestamp) -> Option<Put> {
        let Change::Put(member) = change else { return None };
        let spared = self.spared.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = spared.why(member.target) {
            return Some(Put::Refused(format!("`{}` is never shut out: {why}", member.target)));
        }
        let is_over = member.until <= now;
        is_over
            .then_some(Put::DONE)
            .or_else(|| self.backend.nowhere(member.target).map(Put::Nowhere))
    }

    /// Makes the edits; what the firewall lacks for them is made once more if that is why they failed.
    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        let Err(fault) = self.backend.edit(edits).await else {
            return Ok(());
        };
        if matches!(fault.kind, FaultKind::Auth | FaultKind::Unreachable) {
            return Err(fault);
        }
        self.backend.ready().await?;
        self.backend.edit(edits).await
    }

    /// Which changes stand, where that can be read.
    async fn judged(&self, changes: &[Change]) -> Vec<Put> {
        let Ok(stands) = self.backend.list(false).await else {
            return vec![Put::Retry; changes.len()];
        };
        let stands: HashMap<Target, Option<Timestamp>> = stands.iter().map(|s| (s.target, s.until)).collect();
        let slack = self.backend.limits().slack.as_micros();
        let is_made = |change: &Change| match (change, stands.get(&change.target())) {
            (Change::Take(_), there) => there.is_none(),
            (Change::Put(_), None) => false,
            (Change::Put(_), Some(None)) => true,
            (Change::Put(member), Some(Some(until))) => {
                u128::from(until.micros().abs_diff(member.until.micros())) <= slack
            }
        };
        let put = |change| if is_made(change) { Put::DONE } else { Put::Retry };
        changes.iter().map(put).collect()
    }
}

fn edits<'c>(changes: impl Iterator<Item = &'c Change>) -> Edits {
    let mut edits = Edits::default();
    for change in changes {
        match change {
            Change::Put(member) => edits.put.push((member.target, member.until)),
            Change::Take(standing) => edits.take.push(standing.target),
        }
    }
    edits
}

#[async_trait]
impl<B: Backend> SetSink for Guarded<B> {
    fn limits(&self) -> SetLimits {
        self.backend.limits()
    }

    fn spare(&self, spared: Arc<Spared>) {
        *self.spared.write().unwrap_or_else(PoisonError::into_inner) = spared;
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        let _turn = self.turn.lock().await;
        if !self.observes {
            self.backend.ready().await?;
        }
        self.backend.list(!self.observes).await
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        if self.observes {
            return Applied::retry(changes.len(), observing());
        }
        // First the turn, then the look at whom to spare: nothing comes between that look and the act.
        let _turn = self.turn.lock().await;
        let now = Timestamp::now();
        let before: Vec<_> = changes.iter().map(|change| self.settled_before(change, now)).collect();
        let open = || {
            changes
                .iter()
                .zip(&before)
                .filter(|(_, put)| put.is_none())
                .map(|(change, _)| change)
        };
        let edits = edits(open());
        let result = if edits.is_empty() {
            Ok(())
        } else {
            self.edit(&edits).await
        };
        let after = match &result {
            Ok(()) => vec![Put::DONE; changes.len()],
            Err(_) => self.judged(changes).await,
        };
        let outcomes: Vec<_> = before.into_iter().zip(after).map(|(b, a)| b.unwrap_or(a)).collect();
        Applied {
            fault: result.err().filter(|_| outcomes.contains(&Put::Retry)),
            outcomes,
            retry_after: None,
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        self.backend.look().await
    }

    fn notes(&self) -> Vec<String> {
        self.backend.notes()
    }

    fn destination(&self) -> Option<String> {
        Some(self.backend.destination())
    }
}

fn observing() -> Fault {
    Fault {
        kind: FaultKind::Config,
        message: "nothing is changed while `mode = \"observe\"`".to_owned(),
    }
}
