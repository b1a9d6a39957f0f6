//! Set sinks: a destination that is to *equal* what is decided, and to be as it was when the time is up.
//!
//! A set sink is never told what to do in order; it is told what is wanted. Whoever drives it reads what
//! [`stands`](SetSink::stands), [`compare`]s it with the wanted [`Member`]s and hands over the difference
//! ([`apply`](SetSink::apply)): at start, when a decision is made or ends, every so often, and when the destination says
//! that somebody else changed it ([`told`](SetSink::told)). A wiped firewall, a zone restored from a backup, a day's
//! outage and an answer that was lost are then one case.
//!
//! Invariants that every set sink keeps:
//! 1. It reads and changes only what is its own: entries in a container that is its own (a table, a zone, a set), or that
//!    carry its mark. What others wrote is neither listed nor changed.
//! 2. [`apply`](SetSink::apply) is idempotent: putting what stands refreshes its end, taking what is gone succeeds.
//! 3. Nothing of a peer reaches it but an address: a [`Target`] is made of a parsed one, never of text.
//! 4. What is on the list of [`spare`](SetSink::spare) it refuses, whoever asks.
//! 5. If its destination can end an entry by itself, each entry has an end there.

mod arming;
mod compare;
mod embedded;
mod kind;
mod spared;
mod target;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use trapline_schemas::Timestamp;
use uuid::Uuid;

use crate::measure::Measure;
use crate::stream::{Fault, FaultKind};

pub use arming::{Arming, Door};
pub use compare::{Wanted, compare};
pub use kind::{Scope, SetCommon, SetFactory, SetType, Verb};
pub use spared::{Spared, Why};
pub use target::{NotATarget, PREFIX_MIN_V4, PREFIX_MIN_V6, Target};

/// What stands for an address that is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grounds {
    /// A decoy of this host has finished a TCP handshake with it.
    Handshake,
    /// A person said so.
    Person,
    /// A hub said so.
    Hub,
    /// It was acted on before a restart, and its time is not over.
    Restored,
}

/// One address or network that is to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whom.
    pub target: Target,
    /// Whether it is in a zone that is inside: for destinations that do another thing to those (an inside host asks the
    /// own resolvers, an outside one is what names point to).
    pub inside: bool,
    /// When it began.
    pub since: Timestamp,
    /// When it ends: there is nothing without an end.
    pub until: Timestamp,
    /// The decision that lasts longest, of those that want it.
    pub decision: Uuid,
    /// How grave the cause was, 0 to 100: where there is no room for all, the gravest come first.
    pub gravity: u8,
    /// The rule that decided, or who did: printable ASCII without quotes, at most [`REASON_CHARS_MAX`].
    pub reason: Arc<str>,
    /// What stands for it.
    pub grounds: Grounds,
    /// What the sink called it when it was first put in (see [`Put::handle`]), such as the id of a device.
    pub handle: Option<Arc<str>>,
}

/// Longest [`Member::reason`], characters.
pub const REASON_CHARS_MAX: usize = 100;

/// What stands at a destination, of what is the sink's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whom it is about.
    pub target: Target,
    /// When the destination ends it by itself; `None` if it does not.
    pub until: Option<Timestamp>,
    /// The decision it carries, where the mark has room for one.
    pub decision: Option<Uuid>,
    /// What the destination calls it, if that takes finding out.
    pub handle: Option<Arc<str>>,
}

/// One change to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Let it stand, with this end; it may stand already, with another.
    Put(Member),
    /// Let it stand no more; it may be gone already.
    Take(Standing),
}

impl Change {
    /// Whom it is about.
    pub const fn target(&self) -> Target {
        match self {
            Self::Put(member) => member.target,
            Self::Take(standing) => standing.target,
        }
    }
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The destination has made it, or it was so already.
    Done {
        /// What the destination calls the entry, if it is needed to take it back: kept with the decision, and given back
        /// as [`Member::handle`] and [`Standing::handle`].
        handle: Option<Arc<str>>,
    },
    /// There is nothing there to act on (a host that no agent runs on): a normal answer, asked again now and then.
    Nowhere(String),
    /// Not made; try again.
    Retry,
    /// Refused for good, with the reason: not tried again before the decision or the configuration changes.
    Refused(String),
}

impl Put {
    /// Made, and nothing to remember.
    pub const DONE: Self = Self::Done { handle: None };

    /// What the destination calls the entry.
    pub fn handle(&self) -> Option<&Arc<str>> {
        match self {
            Self::Done { handle } => handle.as_ref(),
            _ => None,
        }
    }
}

/// The answer to a batch of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One per change, in the order of the batch.
    pub outcomes: Vec<Put>,
    /// The destination's own word on when to try again, capped at 1 h.
    pub retry_after: Option<Duration>,
    /// Why anything is to be tried again.
    pub fault: Option<Fault>,
}

impl Applied {
    /// All made, nothing to remember.
    pub fn all(count: usize) -> Self {
        Self {
            outcomes: vec![Put::DONE; count],
            retry_after: None,
            fault: None,
        }
    }

    /// None made, all to be tried again.
    pub fn retry(count: usize, fault: Fault) -> Self {
        Self {
            outcomes: vec![Put::Retry; count],
            retry_after: None,
            fault: Some(fault),
        }
    }
}

/// How much a set sink takes, and how exact its destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// Changes in a batch, 1 or more.
    pub changes: usize,
    /// Entries that the destination has room for; of more, the gravest stand.
    pub members: usize,
    /// By how much an end may differ without being put again.
    pub slack: Duration,
}

/// A way into the kernel that waits for nobody: for acts that must come before a peer's next packet.
pub trait FastLane: Send + Sync {
    /// Puts a member in. Does not block and does not fail: what it cannot do now is found when the set is compared.
    fn put(&self, member: &Member);
}

/// A destination that equals what is decided. Made by its crate's [`SetFactory`].
#[async_trait]
pub trait SetSink: Send + Sync + 'static {
    /// How much it takes.
    fn limits(&self) -> SetLimits;

    /// What must never be acted on, from now on; told before anything is put in, and again when it changes.
    fn spare(&self, spared: Arc<Spared>);

    /// All that stands and is the sink's own, in no order, each target once. An entry of its own that it cannot read is
    /// not skipped but removed or told as a fault.
    ///
    /// Time: bounded by the sink's own deadlines. Cancel: safe.
    async fn stands(&self) -> Result<Vec<Standing>, Fault>;

    /// Makes changes; in: 1..=`limits().changes`, at most one a target.
    ///
    /// Time: bounded by the sink's own deadlines. Cancel: safe; what was under way is found when the set is compared.
    async fn apply(&self, changes: &[Change]) -> Applied;

    /// Called when all that was wanted stands: for destinations that are written as a whole.
    async fn settled(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Reaches the destination without changing anything; says in a few words what answered (`check --connect`).
    async fn check(&self) -> Result<String, Fault>;

    /// Counts up when somebody else changed the destination, so that it is compared at once.
    fn told(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// The way for acts that cannot wait.
    fn fast_lane(&self) -> Option<Arc<dyn FastLane>> {
        None
    }

    /// Whether the destination's kernel can act by itself, see [`arm`](Self::arm).
    fn can_arm(&self) -> bool {
        false
    }

    /// Lets the kernel act by itself on whoever finishes a handshake with a door, with no program in the way; `None`
    /// disarms. What was armed before is replaced; whom the kernel has acted on stays until its end. Idempotent, and
    /// repeated when the destination was wiped.
    async fn arm(&self, arming: Option<&Arming>) -> Result<(), Fault> {
        match arming {
            None => Ok(()),
            Some(_) => Err(Fault {
                kind: FaultKind::Config,
                message: "this firewall cannot act in the kernel by itself".to_owned(),
            }),
        }
    }

    /// Whom the kernel has acted on by itself; not among what [`stands`](Self::stands). A change that takes such a target
    /// takes it from here as well.
    async fn armed(&self) -> Result<Vec<Standing>, Fault> {
        Ok(Vec::new())
    }

    /// What an operator should know in `status`.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Figures of its own for `/metrics`; asked from any task, waits for nothing.
    fn measures(&self) -> Vec<Measure> {
        Vec::new()
    }

    /// Where it acts, as an operator knows the place. Without secrets.
    fn destination(&self) -> Option<String> {
        None
    }

    /// Closes; what stands goes on standing until its end, where the destination can end it by itself.
    async fn close(&self) {}
}
