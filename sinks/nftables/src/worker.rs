//! What the thread does: first what cannot wait, then what is asked, then it rests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use rustix::io::Errno;
use tokio::sync::oneshot;
use trapline_schemas::Timestamp;
use trapline_sink::Fault;
use trapline_sink::set::{Applied, Arming, Change, Put, Spared, Target};

use crate::arm::{self, BEAT};
use crate::change::{ACTS_MAX, Act, left};
use crate::kernel::{Kernel, Outcome};
use crate::lane::{Job, Shared, Urgent};
use crate::lay::Tenure;
use crate::look::Odd;
use crate::{nets, pace};

/// The thread's own.
pub(crate) struct Worker {
    pub(crate) kernel: Kernel,
    pub(crate) urgent: Receiver<Urgent>,
    pub(crate) asked: Receiver<Job>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) arming: Option<Arming>,
    pub(crate) beaten: Instant,
    /// How many changes others had made when the doors were last laid down.
    pub(crate) changes: u64,
    pub(crate) on_spared: Box<dyn Fn() + Send>,
}

impl Worker {
    pub(crate) fn run(mut self) {
        let why = pace::get_ahead();
        self.shared.note(|notes| notes.pace = why);
        while !self.shared.is_over.load(Ordering::Acquire) {
            self.do_urgent();
            match self.asked.try_recv() {
                Ok(Job::Close(answer)) => return self.close(answer),
                Ok(job) => self.do_job(job),
                Err(_) => self.rest(),
            }
        }
    }

    /// Sleeps until something comes, or until the doors have to be put again.
    fn rest(&mut self) {
        let Some(arming) = &self.arming else {
            return std::thread::park();
        };
        let since = self.beaten.elapsed();
        if since < BEAT {
            return std::thread::park_timeout(BEAT - since);
        }
        self.beaten = Instant::now();
        if arm::beat(&mut self.kernel, arming).is_err() {
            self.kernel.doubt();
            self.told_again();
        }
    }

    /// Lays down what is missing, and says so if that cannot be.
    fn told_again(&mut self) {
        if let Err(fault) = self.ready() {
            tracing::warn!(error.message = %fault.message, "the nftables table is not as it must be");
        }
    }

    /// Puts in all members that wait and cannot, in one transaction for as many as it may have.
    fn do_urgent(&mut self) {
        loop {
            let members: Vec<_> = self.urgent.try_iter().take(ACTS_MAX).collect();
            if members.is_empty() {
                return;
            }
            let (spared, now) = (self.shared.spared(), Timestamp::now());
            let acts: Vec<_> = members
                .iter()
                .filter(|it| spared.why(it.target).is_none())
                .filter_map(|it| Some(Act::Put(self.kernel.plan.place(it.target), left(it.until, now)?)))
                .collect();
            let outcomes = self.make(&acts).unwrap_or_default();
            let made = outcomes
                .iter()
                .filter(|outcome| !matches!(outcome, Outcome::Failed(_)))
                .count();
            let missed = u64::try_from(acts.len().saturating_sub(made)).unwrap_or(0);
            self.shared.missed.fetch_add(missed, Ordering::Relaxed);
        }
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::Ready(answer) => {
                self.kernel.doubt();
                tell(answer, self.ready());
            }
            Job::Apply(changes, answer) => tell(answer, self.apply(&changes)),
            Job::Arm(arming, answer) => tell(answer, self.arm(arming)),
            Job::Spared => self.spare(),
            Job::Take(targets) => self.take(&targets),
            Job::Purge(odd) => self.purge(&odd),
            Job::Close(answer) => tell(answer, ()),
        }
    }

    /// Sees to the table, and to the doors in it.
    fn ready(&mut self) -> Result<(), Fault> {
        self.kernel.ready_once()?;
        let tenure = match self.kernel.tenure() {
            Some(Tenure::Plain) => Some(PLAIN.to_owned()),
            _ => None,
        };
        self.shared.note(|notes| notes.tenure = tenure);
        match self.arming.clone() {
            Some(arming) if !self.kernel.has_armed || self.changes != self.changes() => self.lay_doors(Some(&arming)),
            _ => Ok(()),
        }
    }

    fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Acquire)
    }

    /// Makes changes; if the table is gone, lays it down and makes them again.
    fn make(&mut self, acts: &[Act]) -> Result<Vec<Outcome>, Fault> {
        self.ready()?;
        match self.kernel.make(acts) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                self.kernel.doubt();
                self.ready()?;
                self.kernel.make(acts)
            }
            other => other,
        }
        .map_err(|error| {
            self.kernel.doubt();
            self.kernel.blame("changes were not made", &error)
        })
    }

    fn apply(&mut self, changes: &[Change]) -> Applied {
        let mut applied = Applied::all(0);
        for part in changes.chunks(ACTS_MAX) {
            self.do_urgent();
            match self.apply_part(part) {
                Ok(outcomes) => {
                    let fault = outcomes.iter().find_map(|(_, error)| *error);
                    let fault = fault.map(|error| self.kernel.blame("some changes were not made", &error.into()));
                    applied.fault = applied.fault.take().or(fault);
                    applied.outcomes.extend(outcomes.into_iter().map(|(put, _)| put));
                }
                Err(fault) => {
                    // What is done is done; the rest is asked for again.
                    applied.outcomes.resize(changes.len(), Put::Retry);
                    applied.fault = Some(fault);
                    break;
                }
            }
        }
        applied
    }

    fn apply_part(&mut self, part: &[Change]) -> Result<Vec<(Put, Option<Errno>)>, Fault> {
        let (spared, now) = (self.shared.spared(), Timestamp::now());
        let mut puts = vec![(Put::DONE, None); part.len()];
        let (mut acts, mut places) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len()));
        for (change, put) in part.iter().zip(&mut puts) {
            match self.act(change, &spared, now) {
                Ok(Some(act)) => {
                    acts.push(act);
                    places.push(put);
                }
                Ok(None) => {}
                Err(refused) => *put = (refused, None),
            }
        }
        let outcomes = self.make(&acts)?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            *place = put(outcome);
        }
        Ok(puts)
    }

    /// The act that a change is; none if its time is over. Errors: it is refused.
    fn act(&self, change: &Change, spared: &Spared, now: Timestamp) -> Result<Option<Act>, Put> {
        let target = change.target();
        let place = self.kernel.plan.place(target);
        let Change::Put(member) = change else {
            return Ok(Some(Act::Take(place)));
        };
        match spared.why(target) {
            Some(why) => Err(Put::Refused(format!("never acted on: {target} is or meets {why}"))),
            None => Ok(left(member.until, now).map(|left| Act::Put(place, left))),
        }
    }

    fn arm(&mut self, arming: Option<Arming>) -> Result<(), Fault> {
        if let Some(arming) = &arming {
            arm::check(arming)?;
            self.kernel.doubt();
        }
        self.arming = None;
        match arming.is_some() || self.kernel.is_there() {
            true => self.ready()?,
            false => return Ok(()),
        }
        self.lay_doors(arming.as_ref())?;
        self.arming = arming;
        Ok(())
    }

    fn lay_doors(&mut self, arming: Option<&Arming>) -> Result<(), Fault> {
        let spared = self.shared.spared();
        (self.beaten, self.changes) = (Instant::now(), self.changes());
        arm::arm(&mut self.kernel, arming, &spared)
            .map_err(|error| self.kernel.blame("the kernel was not armed", &error))
    }

    fn spare(&mut self) {
        if let Some(arming) = self.arming.clone()
            && let Err(fault) = self.lay_doors(Some(&arming))
        {
            tracing::warn!(error.message = %fault.message, "the kernel was not told whom to spare");
            self.kernel.doubt();
        }
        (self.on_spared)();
    }

    fn take(&mut self, targets: &[Target]) {
        let acts: Vec<_> = targets
            .iter()
            .map(|target| Act::Take(self.kernel.plan.place(*target)))
            .collect();
        for part in acts.chunks(ACTS_MAX) {
            self.do_urgent();
            if let Err(fault) = self.make(part) {
                tracing::warn!(error.message = %fault.message, "whom nothing may shut out is still shut out");
            }
        }
    }

    fn purge(&mut self, odd: &[Odd]) {
        if let Err(error) = nets::purge(&mut self.kernel, odd) {
            tracing::warn!(error.message = %error, "elements that stand for no address were not removed");
        }
    }

    /// The answer is given when the socket is closed, and the table anybody's.
    fn close(mut self, answer: oneshot::Sender<()>) {
        if let Err(fault) = self.arm(None) {
            tracing::warn!(error.message = %fault.message, "the kernel was not disarmed");
        }
        if let Err(error) = self.kernel.raze_if_empty() {
            tracing::debug!(error.message = %error, "an empty nftables table stays");
        }
        self.shared.is_over.store(true, Ordering::Release);
        drop(self);
        tell(answer, ());
    }
}

/// Why a table is anybody's.
const PLAIN: &str = "the nftables table is not owned by this process, by its settings or for want of Linux 6.9: others can \
                     change and flush it, which is repaired";

fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    // Whoever asked may have gone.
    let _ = answer.send(value);
}

/// What the engine is told, and the error if it is to try again.
fn put(outcome: Outcome) -> (Put, Option<Errno>) {
    match outcome {
        Outcome::Done => (Put::DONE, None),
        Outcome::Covered(wider) => (Put::Nowhere(format!("{wider} stands and covers it")), None),
        Outcome::Failed(Errno::INVAL) => (Put::Refused("the kernel takes no such element".to_owned()), None),
        Outcome::Failed(error) => (Put::Retry, Some(error)),
    }
}
