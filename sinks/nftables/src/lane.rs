//! The thread that changes the table, and the two ways to it: one that waits for nobody, and one that is answered.
//!
//! Invariants: 1. what cannot wait goes first: it waits for one transaction at most; 2. both ways are bounded; what does
//! not fit the first is counted and found when the set is compared, what does not fit the second is told so; 3. whatever
//! comes by either, the list of those never acted on is asked last, here; 4. a table that somebody took away is laid down
//! again, once for each time it is missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::Thread;
use std::time::Instant;

use tokio::sync::oneshot;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Arming, Change, FastLane, Member, Spared, Target};
use trapline_sink::{Fault, FaultKind};

use crate::fault::local;
use crate::kernel::Kernel;
use crate::look::Odd;
use crate::worker::Worker;

/// Most members that wait for the thread.
const FAST_MAX: usize = 1024;
/// Most requests that wait for it.
const JOBS_MAX: usize = 32;
/// Room for the thread's stack.
const STACK_BYTES: usize = 256 << 10;

/// What is asked of the thread.
pub(crate) enum Job {
    /// See to it that the table is as it must be.
    Ready(oneshot::Sender<Result<(), Fault>>),
    /// Make changes.
    Apply(Vec<Change>, oneshot::Sender<Applied>),
    /// Let the kernel act by itself, or no more.
    Arm(Option<Arming>, oneshot::Sender<Result<(), Fault>>),
    /// The list of those never acted on has changed.
    Spared,
    /// Take out whom it names now.
    Take(Vec<Target>),
    /// Remove elements that stand for no target.
    Purge(Vec<Odd>),
    /// Disarm, and leave nothing if nobody is shut out; then end.
    Close(oneshot::Sender<()>),
}

/// What threads and the sink share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) spared: RwLock<Arc<Spared>>,
    /// What an operator should know, by whom it is said.
    pub(crate) notes: Mutex<Notes>,
    /// Members that did not fit the fast way, or were refused there.
    pub(crate) missed: AtomicU64,
    /// Changes to the table that others made.
    pub(crate) changes: AtomicU64,
    pub(crate) is_over: AtomicBool,
}

/// What an operator should know.
#[derive(Debug, Default, Clone)]
pub(crate) struct Notes {
    pub(crate) pace: Option<String>,
    pub(crate) tenure: Option<String>,
    pub(crate) watch: Option<String>,
    pub(crate) armed: Option<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            // What is no single host is spared before anybody says so.
            spared: RwLock::new(Arc::new(Spared::new([]))),
            notes: Mutex::default(),
            missed: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }
}

impl Shared {
    pub(crate) fn spared(&self) -> Arc<Spared> {
        Arc::clone(&self.spared.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The ways to the thread.
#[derive(Debug)]
pub(crate) struct Lane {
    fast: SyncSender<Urgent>,
    jobs: SyncSender<Job>,
    thread: Thread,
    shared: Arc<Shared>,
}

/// A member that cannot wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Urgent {
    pub(crate) target: Target,
    pub(crate) until: Timestamp,
}

impl FastLane for Lane {
    fn put(&self, member: &Member) {
        let (target, until) = (member.target, member.until);
        if self.fast.try_send(Urgent { target, until }).is_err() {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.thread.unpark();
    }
}

impl Lane {
    /// Starts the thread. Errors: the system has no room for one.
    pub(crate) fn start(kernel: Kernel, shared: Arc<Shared>, on_spared: Box<dyn Fn() + Send>) -> std::io::Result<Self> {
        let (fast, urgent) = sync_channel(FAST_MAX);
        let (jobs, asked) = sync_channel(JOBS_MAX);
        let worker = Worker {
            kernel,
            urgent,
            asked,
            shared: Arc::clone(&shared),
            arming: None,
            beaten: Instant::now(),
            changes: 0,
            on_spared,
        };
        let thread = std::thread::Builder::new()
            .name("trapline-nft".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run())?;
        Ok(Self {
            fast,
            jobs,
            thread: thread.thread().clone(),
            shared,
        })
    }

    /// Asks without an answer; waits for room if `waits`.
    pub(crate) fn tell(&self, job: Job, waits: bool) {
        let sent = match waits {
            true => self.jobs.send(job).is_ok(),
            false => self.jobs.try_send(job).is_ok(),
        };
        self.thread.unpark();
        if !sent {
            tracing::debug!("the thread of the nftables table was not told: it is busy, or over");
        }
    }

    /// Asks, and waits for the answer. Cancel: safe, what was asked for is done.
    pub(crate) async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Fault> {
        let (sender, answer) = oneshot::channel();
        match self.jobs.try_send(job(sender)) {
            Ok(()) => self.thread.unpark(),
            Err(TrySendError::Full(_)) => return Err(busy()),
            Err(TrySendError::Disconnected(_)) => return Err(over()),
        }
        answer.await.map_err(|_| over())
    }

    /// Has the thread end when it has done what it is at.
    pub(crate) fn end(&self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn busy() -> Fault {
    Fault {
        kind: FaultKind::Busy,
        message: format!("{JOBS_MAX} requests wait for the nftables table already"),
    }
}

fn over() -> Fault {
    local("the nftables table is closed".to_owned())
}
