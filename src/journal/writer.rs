//! The writer: the one thread that writes.
//!
//! In: jobs from the queue, in order. Out: groups in the file, then the tail, the head, and the acknowledgements, in
//! this order. What the disk refuses stays in memory (`recover`), in order, until it is written or shed.

mod recover;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{Access, access};
use trapline_schemas::Timestamp;

use super::chain::Tip;
use super::handle::Shared;
use super::lock::Lock;
use super::queue::{GROUP_BYTES_MAX, GROUP_EVENTS_MAX, GroupRule, Job, Taken};
use super::salvage::Salvage;
use super::settings::{Fact, Health, HealthLevel, JournalSettings};
use super::sqlite::{Cursors, Store, Written, is_busy, save_state};
use super::start::Started;
use super::trim::{Bounds, Trimmer};
use super::unkept::{self, Unkept};
use super::untold;
use super::{Entry, JournalError, Offset};

/// The writer's state; [`Writer::run`] is its life.
#[derive(Debug)]
pub(super) struct Writer {
    settings: JournalSettings,
    shared: Arc<Shared>,
    lock: Lock,
    /// `None` while the disk fails.
    store: Option<Store>,
    /// Jobs not yet durable, oldest first: between groups empty, unless the disk fails.
    held: VecDeque<Job>,
    held_events: usize,
    held_bytes: usize,
    /// When the first and the last of the events held came, while there are any.
    held_at: (Timestamp, Timestamp),
    unkept: Option<Unkept>,
    /// The tip that was acknowledged last.
    tip: Tip,
    /// A group that failed and may have reached the disk all the same.
    doubtful: Option<Doubtful>,
    /// The journal's own entries to append with the next group.
    facts: Vec<Fact>,
    cursors: Cursors,
    trimmer: Trimmer,
    salvage: Option<Salvage>,
    rule: GroupRule,
    shed: u64,
    tick_at: Instant,
    disk_look_at: Instant,
    suspect_at: Option<Instant>,
    /// A read met damage, and the file was not opened anew since.
    suspected: bool,
    /// The failure that was logged last, and when: one that comes back each second is one line a minute.
    said: Option<(String, Instant)>,
    /// When the file was opened anew, until it is said that the disk works again.
    reopened_at: Option<Instant>,
    /// A sync failed, and the log has not been carried into the file by fresh writes since.
    sync_failed: bool,
}

/// The jobs of a failed group, by count from the front of those held, and the tip they would have made.
#[derive(Debug, Clone, Copy)]
struct Doubtful {
    jobs: usize,
    /// How many of the writer's facts were in it, from the front.
    facts: usize,
    attempted: Tip,
}

impl Writer {
    pub fn new(settings: JournalSettings, shared: Arc<Shared>, started: Started) -> Self {
        let now = Instant::now();
        let bounds = Bounds::of(&settings);
        Self {
            settings,
            shared,
            lock: started.lock,
            tip: started.store.tip,
            store: Some(started.store),
            held: VecDeque::new(),
            held_events: 0,
            held_bytes: 0,
            held_at: Default::default(),
            unkept: started.unkept,
            doubtful: None,
            facts: started.report.facts().into_iter().chain(started.owed).collect(),
            cursors: Cursors::new(),
            trimmer: Trimmer::new(bounds),
            salvage: started.salvage,
            rule: GroupRule::new(now),
            shed: 0,
            tick_at: now,
            disk_look_at: now,
            suspect_at: None,
            suspected: false,
            said: None,
            reopened_at: None,
            sync_failed: false,
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        self.load();
        loop {
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
            match self.shared.queue.take(&self.rule, self.tick_at) {
                Taken::Group(jobs) => self.accept(jobs),
                Taken::Tick => {}
                Taken::Closed => break,
            }
            self.flush();
            if Instant::now() >= self.tick_at {
                self.tick();
            }
        }
        self.end();
    }

    fn accept(&mut self, jobs: Vec<Job>) {
        let now = Timestamp::now();
        let first = if self.held_events == 0 { now } else { self.held_at.0 };
        self.held_at = (first, now);
        for job in jobs {
            self.held_events += job.events();
            self.held_bytes += job.bytes();
            self.held.push_back(job);
        }
        self.shed_overflow();
    }

    /// Writes what is held, group by group, as far as the disk takes it.
    fn flush(&mut self) {
        while self.store.is_some() && !self.held.is_empty() {
            let jobs = self.group_len();
            self.write(jobs);
        }
    }

    /// Writes the first `jobs` held as one group; with none, what the trim and the facts have to write.
    ///
    /// The facts ride with the last group held: a disk that takes some groups and fails again has told nothing yet, so
    /// that one outage is one fact.
    fn write(&mut self, jobs: usize) {
        let due = self.facts_due(jobs);
        let Some(store) = &mut self.store else { return };
        let events = self.held.iter().take(jobs).map(Job::events).sum::<usize>();
        let (trimmer, settings) = (&mut self.trimmer, &self.settings);
        let facts = self.facts.get(..due).unwrap_or_default();
        let consumers = self.shared.consumers(&self.cursors);
        let cursors = &self.cursors;
        let rows = trim_rows(events);
        let (mut own, mut told) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        let owed = self
            .unkept
            .as_ref()
            .and_then(Unkept::noted)
            .filter(|_| !facts.is_empty());
        let group = self.held.iter().take(jobs).map(|job| &job.commit);
        let written = store.write(
            group.clone(),
            |tx, draft| {
                for loss in group.flat_map(|commit| &commit.losses) {
                    trimmer.note(tx, draft.anchor.next, cursors, loss)?;
                }
                told = trimmer.slice(tx, draft, cursors, &consumers, rows)?;
                told.extend(facts.iter().cloned());
                facts.iter().try_for_each(|fact| untold::told(tx, fact))?;
                if let Some(debt) = owed {
                    save_state(tx, unkept::KEY, Some(debt.line().as_bytes()))?;
                }
                own = told.iter().filter_map(|fact| settings.facts.body(fact)).collect();
                draft.append(tx, &own)
            },
            Timestamp::now(),
        );
        match written {
            Ok(written) => {
                self.shared.committed(events + own.len(), begun.elapsed());
                self.tell(&told);
                self.facts.drain(..due);
                self.written(jobs, events, &written, own);
            }
            Err(fault) => {
                self.shared.refused();
                self.failed(jobs, due, fault);
            }
        }
    }

    /// How many facts a group of `jobs` has with it, from the front: all or none.
    fn facts_due(&self, jobs: usize) -> usize {
        if jobs >= self.held.len() { self.facts.len() } else { 0 }
    }

    fn written(&mut self, jobs: usize, events: usize, written: &Written, own: Vec<Bytes>) {
        let Some(store) = &self.store else { return };
        let (tip, oldest) = (store.tip, store.anchor.next);
        let done: Vec<Job> = self.held.drain(..jobs).collect();
        let bodies = done.iter().flat_map(|job| job.commit.append.iter().cloned()).chain(own);
        let entries = (written.from..).zip(bodies).map(|(offset, body)| Entry {
            offset,
            appended_at: written.at,
            body,
        });
        self.shared.tail.extend(entries);
        self.shared.tail.trim(oldest);
        self.advance(tip);
        for (job, first) in done.into_iter().zip(&written.firsts) {
            self.held_events -= job.events();
            self.held_bytes -= job.bytes();
            self.note_cursors(&job);
            acknowledge(job, Ok(*first));
        }
        self.rule.ended(events, Instant::now());
        self.after_group();
    }

    /// Says what happened, once it stands in the journal.
    fn tell(&mut self, told: &[Fact]) {
        self.trimmer.confirm(told);
        for fact in told {
            tracing::warn!("{fact}");
        }
        if !told.is_empty() {
            self.shared.tell(told);
        }
    }

    fn note_cursors(&mut self, job: &Job) {
        self.cursors.extend(job.commit.cursors.iter().cloned());
        for gone in &job.commit.cursors_gone {
            self.cursors.remove(gone);
        }
    }

    /// Announces a new tip.
    fn advance(&mut self, tip: Tip) {
        if tip != self.tip {
            self.tip = tip;
            self.shared.set_tip(tip);
            self.shared.head.send_replace(tip.next);
        }
    }

    /// What a busy writer must not put off until it is idle.
    fn after_group(&mut self) {
        let Some(store) = &mut self.store else { return };
        let mut result = Ok(());
        if store.wants_checkpoint(false) {
            result = store.checkpoint();
        }
        if self.trimmer.wants_look(store) {
            let paused = self.salvage.is_some();
            let consumers = self.shared.consumers(&self.cursors);
            result = result.and_then(|()| look(&mut self.trimmer, paused, store, &self.cursors, &consumers));
        }
        self.heed(result);
    }

    /// Each second, or sooner while there is something to trim.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.store.is_none() {
            self.try_again();
        } else {
            self.keep_house(now);
        }
        self.note_unkept();
        let is_busy = self.store.is_some() && (self.trimmer.is_busy(now) || self.salvage.is_some());
        self.tick_at = Instant::now() + if is_busy { TICK_BUSY } else { TICK };
    }

    fn keep_house(&mut self, now: Instant) {
        let Some(store) = &mut self.store else { return };
        if !store.is_in_place() || !self.lock.is_in_place() {
            self.fail("the file or its lock was removed or replaced by others".into());
            return self.try_again();
        }
        if self.is_suspect(now) {
            self.fail("a read found the file damaged".into());
            return self.try_again();
        }
        self.say_recovered(now);
        self.go_on_with_salvage();
        let Some(store) = &mut self.store else { return };
        let (paused, consumers) = (self.salvage.is_some(), self.shared.consumers(&self.cursors));
        self.trimmer.set_bounds(self.shared.bounds());
        let mut result = look(&mut self.trimmer, paused, store, &self.cursors, &consumers);
        if store.wants_checkpoint(true) {
            result = result.and_then(|()| store.checkpoint());
        }
        self.heed(result);
        if self.trimmer.is_busy(now) || !self.facts.is_empty() {
            self.write(0);
        }
        self.look_at_disk(now);
    }

    /// Whether a read met damage since the file was looked at last; at most once a minute, as the look may find nothing.
    fn is_suspect(&mut self, now: Instant) -> bool {
        let due = self.suspect_at.is_none_or(|at| now.duration_since(at) >= SUSPECT_EVERY);
        let suspect = due && self.shared.readers.suspect.swap(false, Ordering::AcqRel);
        if suspect {
            (self.suspect_at, self.suspected) = (Some(now), true);
        }
        suspect
    }

    /// Says that the file was shut or that the disk is nearly full, while there is time to act.
    fn look_at_disk(&mut self, now: Instant) {
        if now < self.disk_look_at || self.store.is_none() || self.salvage.is_some() {
            return;
        }
        self.disk_look_at = now + DISK_LOOK;
        if let Err(errno) = access(&self.settings.path, Access::READ_OK | Access::WRITE_OK) {
            let reason = format!("the journal's file was shut ({errno}): it is still open here, a restart would fail");
            self.warn(&reason);
            return;
        }
        let Ok(disk) = rustix::fs::statvfs(self.settings.path.parent().unwrap_or(&self.settings.path)) else {
            return;
        };
        let used = percent_used(disk.f_blocks, disk.f_bfree, disk.f_bavail);
        if used >= DISK_ALARM_PERCENT {
            self.warn(&format!(
                "the disk of the journal is {used} % full: make room before events are dropped"
            ));
        } else {
            self.set_health(HealthLevel::Ok, "");
        }
    }

    /// Says what a person should look at while all still works.
    fn warn(&self, reason: &str) {
        if self.shared.health.borrow().level == HealthLevel::Ok {
            tracing::warn!("{reason}");
        }
        self.set_health(HealthLevel::Degraded, reason);
    }

    fn heed(&mut self, result: rusqlite::Result<()>) {
        match result {
            Err(error) if is_busy(&error) => {
                tracing::debug!(error = %error, "a reader delays the journal's checkpoint")
            }
            Err(error) => self.fail_by(&error),
            Ok(()) => {}
        }
    }

    fn set_health(&self, level: HealthLevel, reason: &str) {
        let (held, shed) = (self.held_events as u64, self.shed);
        self.shared.health.send_if_modified(|health| {
            let changed = health.level != level || &*health.reason != reason;
            let moved = (health.held, health.shed) != (held, shed);
            if health.level != level {
                health.since = Timestamp::now();
            }
            if changed {
                health.reason = reason.into();
            }
            *health = Health {
                level,
                held,
                shed,
                ..health.clone()
            };
            changed || moved
        });
    }

    /// How many of the jobs held make one group.
    fn group_len(&self) -> usize {
        let (mut events, mut bytes) = (0, 0);
        let fits = |job: &&Job| {
            events += job.events();
            bytes += job.bytes();
            events <= GROUP_EVENTS_MAX && bytes <= GROUP_BYTES_MAX
        };
        self.held.iter().take_while(fits).count().max(1)
    }

    /// Reads what the writer keeps in memory of a file just opened.
    fn load(&mut self) {
        if let Some(store) = &self.store {
            let loaded = self.trimmer.load(store).and_then(|()| store.cursors());
            match loaded {
                Ok(cursors) => self.cursors = cursors,
                Err(error) => self.heed(Err(error)),
            }
        }
    }

    /// The end: one more attempt if the disk fails, then the log into the file.
    fn end(mut self) {
        if self.store.is_none() {
            self.try_again();
            self.flush();
        }
        if !self.facts.is_empty() {
            self.write(0);
        }
        let noted = self.note_unkept();
        if self.held_events > 0 {
            let (held, path) = (self.held_events, self.settings.path.display());
            let then = if noted {
                "the next start tells of them"
            } else {
                "and nothing could be noted for the next start to tell of"
            };
            tracing::error!(
                journal.held = held,
                "journal {path} ends with {held} events that the disk did not take, {then}"
            );
        }
        // The log is read again at the next start: nothing is lost if a reader is in the way.
        if let Some(Err(error)) = self.store.as_mut().map(Store::settle) {
            tracing::debug!(error = %error, "the journal's log stays beside it");
        }
    }
}

impl Drop for Writer {
    /// Whatever ends the writer, callers must not wait for it.
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.readers.close();
        self.store = None;
        self.shared.set_held_lock(None);
        self.lock.free();
        self.shared.ended.send_replace(true);
    }
}

/// How many rows the trim takes with so many events.
fn trim_rows(events: usize) -> usize {
    match events {
        0 => TRIM_ROWS,
        _ => (2 * events).clamp(TRIM_ROWS_RIDING, TRIM_ROWS),
    }
}

/// How full a disk is, as df says it: blocks kept back for root are neither used nor available.
fn percent_used(blocks: u64, free: u64, available: u64) -> u64 {
    let used = blocks.saturating_sub(free);
    (100 * used).div_ceil((used + available).max(1))
}

/// Looks at the bounds, unless rows are still being carried to the front.
fn look(
    trimmer: &mut Trimmer,
    paused: bool,
    store: &Store,
    cursors: &Cursors,
    consumers: &[String],
) -> rusqlite::Result<()> {
    if paused {
        trimmer.pause();
        return Ok(());
    }
    trimmer.look(store, cursors, consumers, Timestamp::now())
}

fn acknowledge(job: Job, result: Result<Offset, JournalError>) {
    if let Some(done) = job.done {
        // The caller may have stopped waiting.
        let _ = done.send(result);
    }
}

/// Time between two looks at the house.
const TICK: Duration = Duration::from_secs(1);
/// The same while there is something to trim, or to carry over.
const TICK_BUSY: Duration = Duration::from_millis(5);
/// Least time between two looks because of what a read met.
const SUSPECT_EVERY: Duration = Duration::from_secs(60);
const DISK_LOOK: Duration = Duration::from_secs(2);
const DISK_ALARM_PERCENT: u64 = 90;
/// Rows of a slice of the trim that stands alone, and the least of one that rides with a group.
const TRIM_ROWS: usize = 512;
const TRIM_ROWS_RIDING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_as_full_as_df_says() {
        // 252 GiB, of which 67 are used, and 26 of those free may be used by others than root.
        assert_eq!(percent_used(252, 185, 26), 73);
        assert_eq!(percent_used(100, 10, 5), 95);
        assert_eq!(percent_used(100, 100, 95), 0);
        assert_eq!(percent_used(100, 5, 0), 100);
        assert_eq!(percent_used(0, 0, 0), 0);
    }
}
