//! When the disk fails: hold, shed, open anew, and write what was not confirmed.
//!
//! A failed sync is final: the kernel may have thrown the pages away and call the next sync a success. So the handle is
//! never used again; the file is opened anew, its log carried into it by fresh writes, and what memory knows to be
//! acknowledged is compared with what is there.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::ffi;
use trapline_schemas::Timestamp;

use super::{Doubtful, Writer, acknowledge};
use crate::journal::chain::Tip;
use crate::journal::lock::Lock;
use crate::journal::queue::Job;
use crate::journal::salvage::Salvage;
use crate::journal::settings::{Fact, HealthLevel, Salvaged};
use crate::journal::sqlite::{Store, WriteFault, is_busy, is_full};
use crate::journal::unkept::Debt;
use crate::journal::{JournalError, start};

impl Writer {
    /// A group with so many jobs and facts was refused: it stays held.
    pub(super) fn failed(&mut self, jobs: usize, facts: usize, fault: WriteFault) {
        self.doubtful = Some(Doubtful {
            jobs,
            facts,
            attempted: fault.attempted,
        });
        if is_full(&fault.error) && self.shared.delivers() {
            let wanted = self.held.iter().take(jobs).map(Job::bytes).sum();
            self.trimmer.make_room(wanted);
        }
        self.fail_by(&fault.error);
    }

    /// Gives the file up after what SQLite said.
    pub(super) fn fail_by(&mut self, error: &rusqlite::Error) {
        self.sync_failed |= is_failed_sync(error);
        self.fail(error.to_string());
    }

    /// Gives the file up until the next attempt.
    pub(super) fn fail(&mut self, reason: String) {
        if let Some(store) = self.store.take() {
            store.abandon();
            self.say_failing(&reason);
        }
        self.shared.readers.renew();
        self.tick_at = Instant::now() + RETRY;
        self.set_health(HealthLevel::Failing, &reason);
    }

    /// Says a failure once; the same again, as of a disk that stays full, once a minute.
    fn say_failing(&mut self, reason: &str) {
        self.reopened_at = None;
        let now = Instant::now();
        let is_known = |(said, at): &(String, Instant)| said == reason && now.duration_since(*at) < SAY_EVERY;
        if self.said.as_ref().is_some_and(is_known) {
            return;
        }
        self.said = Some((reason.to_owned(), now));
        tracing::error!(error.message = %reason, "the journal's disk fails, events are held in memory: {reason}");
    }

    /// Says that the disk works again, once it has for a while.
    pub(super) fn say_recovered(&mut self, now: Instant) {
        if self.reopened_at.is_some_and(|at| now.duration_since(at) >= SOUND_AFTER) {
            (self.reopened_at, self.said) = (None, None);
            tracing::info!("the journal's disk works again");
        }
    }

    /// Opens the file anew and goes on where memory says.
    pub(super) fn try_again(&mut self) {
        match self.reopen() {
            Ok(()) => self.resume(),
            Err(error) => self.set_health(HealthLevel::Failing, &error.to_string()),
        }
    }

    /// Nobody reads meanwhile: what comes to stand in the file's place may not be whole yet.
    fn reopen(&mut self) -> Result<(), JournalError> {
        start::make_folder(&self.settings.path)?;
        if !self.lock.is_in_place() {
            self.lock = Lock::take(&self.settings.path)?;
            self.shared.set_held_lock(self.lock.held());
        }
        let before = self.shared.unread_below.swap(self.tip.next, Ordering::AcqRel);
        let reopened = self.reopen_unread();
        let below = self.salvage.as_ref().map_or(0, Salvage::below);
        let below = if reopened.is_ok() { below } else { below.max(before) };
        self.shared.unread_below.store(below, Ordering::Release);
        reopened
    }

    fn reopen_unread(&mut self) -> Result<(), JournalError> {
        let opened = start::open(&self.settings, Duration::ZERO, self.suspected)?;
        self.suspected = false;
        let mut store = opened.store;
        self.shared.readers.renew();
        self.salvage = opened.salvage;
        self.facts
            .extend(opened.salvaged.map(Salvaged::facts).into_iter().flatten());
        if let Err(error) = self.catch_up(&mut store) {
            store.abandon();
            return Err(error);
        }
        self.store = Some(store);
        Ok(())
    }

    /// Brings the file opened anew to where memory is.
    fn catch_up(&mut self, store: &mut Store) -> Result<(), JournalError> {
        match store.settle() {
            // The log cannot be carried over, but nothing says that it is not on the disk.
            Err(error) if (is_full(&error) || is_busy(&error)) && !self.sync_failed => {}
            Err(error) => {
                self.sync_failed |= is_failed_sync(&error);
                return Err(error.into());
            }
            Ok(()) => {}
        }
        self.sync_failed = false;
        self.reconcile(store)?;
        self.shared.note_skipped(store);
        self.trimmer.load(store)?;
        self.cursors = store.cursors()?;
        Ok(())
    }

    /// Carries some more over; at the end the readers are let on and the numbers told.
    pub(super) fn go_on_with_salvage(&mut self) {
        let (Some(store), Some(salvage)) = (&mut self.store, &mut self.salvage) else {
            return;
        };
        match salvage.step(store, SALVAGE_SLICE) {
            Ok(false) => self.set_health(
                HealthLevel::Degraded,
                "entries of a damaged journal are being carried over",
            ),
            Ok(true) => {
                self.facts.extend(salvage.numbers().clone().facts());
                self.salvage = None;
                self.shared.note_skipped(store);
                self.shared.unread_below.store(0, Ordering::Release);
                self.shared.head.send_modify(|_| {});
                self.set_health(HealthLevel::Ok, "");
            }
            Err(error) => self.fail_by(&error),
        }
    }

    /// Compares the file with what was acknowledged. From then on no fact can be on the disk already.
    fn reconcile(&mut self, store: &mut Store) -> Result<(), JournalError> {
        self.settle_doubt(store)?;
        self.join_shed();
        Ok(())
    }

    fn settle_doubt(&mut self, store: &mut Store) -> Result<(), JournalError> {
        let doubtful = self.doubtful.take();
        if store.tip.next < self.tip.next {
            return self.rewrite(store);
        }
        if let Some(doubtful) = doubtful.filter(|doubtful| doubtful.attempted == store.tip) {
            self.confirm(doubtful, store.tip);
        }
        self.advance(store.tip);
        Ok(())
    }

    /// The failed group had reached the disk after all.
    fn confirm(&mut self, doubtful: Doubtful, tip: Tip) {
        if tip == self.tip {
            // Nothing was appended, so nothing shows whether it was written; writing it again changes nothing.
            return;
        }
        let mut first = self.tip.next;
        // The tail would have a hole.
        self.shared.tail.trim(tip.next);
        for job in self.held.drain(..doubtful.jobs).collect::<Vec<_>>() {
            let next = first + job.events() as u64;
            self.held_events -= job.events();
            self.held_bytes -= job.bytes();
            acknowledge(job, Ok(first));
            first = next;
        }
        // What came to be told since was not in the group.
        self.facts.drain(..doubtful.facts.min(self.facts.len()));
    }

    /// The file is older than what was acknowledged, or new: writes again what memory still has.
    fn rewrite(&mut self, store: &mut Store) -> Result<(), JournalError> {
        let missing = self.tip.next - store.tip.next;
        let entries: Vec<_> = self
            .shared
            .tail
            .all()
            .into_iter()
            .filter(|entry| entry.offset >= store.tip.next)
            .collect();
        store.restore(&entries, self.tip.next, &self.cursors)?;
        let rewritten = entries.len() as u64;
        self.facts.push(Fact::Replaced {
            lost: missing - rewritten,
            rewritten,
        });
        self.tip = store.tip;
        self.shared.set_tip(store.tip);
        Ok(())
    }

    fn resume(&mut self) {
        self.reopened_at = Some(Instant::now());
        self.flush();
        if !self.facts.is_empty() {
            self.write(0);
        }
        if self.store.is_some() {
            self.set_health(HealthLevel::Ok, "");
        }
    }

    /// While the disk fails, drops the oldest jobs beyond the bounds of memory: hits are counted, waiting callers are
    /// told. The group that may be on the disk already is kept: dropped, it could be both there and counted as lost.
    pub(super) fn shed_overflow(&mut self) {
        let kept = self.doubtful.map_or(0, |doubtful| doubtful.jobs);
        while self.store.is_none() && self.is_overfull() {
            let Some(job) = self.held.remove(kept) else {
                return;
            };
            self.held_events -= job.events();
            self.held_bytes -= job.bytes();
            if job.done.is_none() {
                self.count_shed(job.events() as u64);
            }
            acknowledge(job, Err(JournalError::Shed));
        }
    }

    /// Notes what would be missing if the run ended now; says whether it stands there.
    pub(super) fn note_unkept(&mut self) -> bool {
        let debt = self.debt();
        let Some(unkept) = &mut self.unkept else { return false };
        let noted = unkept.note(debt);
        if let Err(error) = &noted {
            tracing::debug!(%error, "what the disk did not take cannot be noted for the next run");
        }
        noted.is_ok()
    }

    /// What no entry holds or tells of.
    fn debt(&self) -> Option<Debt> {
        let never = (Timestamp::from_micros(i64::MAX), Timestamp::from_micros(i64::MIN));
        let (first, last) = if self.held_events > 0 { self.held_at } else { never };
        let mut debt = Debt {
            held: self.held_events as u64,
            dropped: 0,
            first,
            last,
            next: self.tip.next,
        };
        self.facts.iter().for_each(|fact| debt.add(fact));
        (debt.held + debt.dropped > 0).then_some(debt)
    }

    fn is_overfull(&self) -> bool {
        self.held_events.max(self.held.len()) > HELD_EVENTS_MAX || self.held_bytes > HELD_BYTES_MAX
    }

    fn count_shed(&mut self, events: u64) {
        self.shed += events;
        // A fact that may be on the disk already says what it said.
        let told = self.doubtful.map_or(0, |doubtful| doubtful.facts);
        let now = Timestamp::now();
        let shed = Fact::Shed {
            count: events,
            first: now,
            last: now,
        };
        let open = self.facts.get_mut(told..).unwrap_or_default();
        if events > 0 && !open.iter_mut().any(|fact| fact.take_in(&shed)) {
            self.facts.push(shed);
        }
    }

    /// Makes one fact of all that says how much one outage cost.
    fn join_shed(&mut self) {
        let mut joined: Vec<Fact> = Vec::with_capacity(self.facts.len());
        for fact in self.facts.drain(..) {
            if !joined.iter_mut().any(|before| before.take_in(&fact)) {
                joined.push(fact);
            }
        }
        self.facts = joined;
    }
}

fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two lines about the same failure.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long the disk must work before it is said that it does.
const SOUND_AFTER: Duration = Duration::from_secs(5);
/// Time that a salvage takes from the groups at a time.
const SALVAGE_SLICE: Duration = Duration::from_millis(20);
/// Bounds of what is held.
const HELD_EVENTS_MAX: usize = 10_000;
const HELD_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::handle::Shared;
    use crate::journal::settings::JournalSettings;

    fn counts(writer: &Writer) -> Vec<u64> {
        let count = |fact: &Fact| match fact {
            Fact::Shed { count, .. } => *count,
            _ => 0,
        };
        writer.facts.iter().map(count).collect()
    }

    #[test]
    fn the_same_failure_each_second_is_said_once_and_the_recovery_when_it_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings::at(folder.path().join("journal.db"));
        let started = start::start(&settings).unwrap();
        let shared = Arc::new(Shared::new(&settings, &started));
        let mut writer = Writer::new(settings, shared, started);
        let said = |writer: &Writer| writer.said.clone().map(|(reason, _)| reason);
        writer.fail("full".into());
        let first = writer.said.clone();
        writer.try_again();
        writer.fail("full".into());
        assert_eq!(writer.said, first, "not said again");
        writer.try_again();
        writer.fail("broken".into());
        assert_eq!(said(&writer).as_deref(), Some("broken"));
        writer.try_again();
        let now = Instant::now();
        writer.say_recovered(now);
        assert!(writer.said.is_some(), "it may fail again at once");
        writer.say_recovered(now + SOUND_AFTER);
        assert_eq!((said(&writer), writer.reopened_at), (None, None));
    }

    #[test]
    fn what_was_shed_after_a_group_that_failed_is_told_though_the_group_was_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings::at(folder.path().join("journal.db"));
        let started = start::start(&settings).unwrap();
        let shared = Arc::new(Shared::new(&settings, &started));
        let mut writer = Writer::new(settings, shared, started);
        writer.count_shed(3);
        let attempted = Tip {
            next: writer.tip.next + 1,
            ..writer.tip
        };
        let doubtful = Doubtful {
            jobs: 0,
            facts: 1,
            attempted,
        };
        writer.doubtful = Some(doubtful);
        writer.count_shed(5);
        assert_eq!(
            counts(&writer),
            [3, 5],
            "the first may be on the disk, so it stays as it is"
        );
        writer.confirm(doubtful, attempted);
        assert_eq!(counts(&writer), [5]);
    }

    #[test]
    fn what_is_shed_between_failed_attempts_is_one_fact_also_behind_what_the_last_run_left() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings::at(folder.path().join("journal.db"));
        let started = start::start(&settings).unwrap();
        let shared = Arc::new(Shared::new(&settings, &started));
        let mut writer = Writer::new(settings, shared, started);
        let mut store = writer.store.take().unwrap();
        let failed = |writer: &mut Writer| {
            let attempted = Tip {
                next: writer.tip.next + 1,
                ..writer.tip
            };
            writer.doubtful = Some(Doubtful {
                jobs: 0,
                facts: writer.facts.len(),
                attempted,
            });
        };
        for shed in [3, 5, 7] {
            failed(&mut writer);
            writer.count_shed(shed);
            writer.reconcile(&mut store).unwrap();
        }
        assert_eq!(counts(&writer), [15]);
        let (first, last) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        writer.facts = vec![Fact::Unkept { count: 9, first, last }];
        failed(&mut writer);
        writer.count_shed(4);
        writer.reconcile(&mut store).unwrap();
        assert!(
            matches!(writer.facts[..], [Fact::Unkept { count: 13, first: begin, last: end }] if begin == first && end > last),
            "{:?}",
            writer.facts
        );
    }
}
