//! The queue before the writer, and the rule that makes groups.
//!
//! Bounded: [`ROOM_KIB`] of bodies wait at most, an entry counting as a KiB at least; then callers wait. The rule is pure, the clock
//! is handed in. Wake-ups are system calls, so the writer is woken only when what it waits for is there.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::{Commit, JournalError, Offset};

/// One commit on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub commit: Commit,
    /// Who waits for it to be durable.
    pub done: Option<oneshot::Sender<Result<Offset, JournalError>>>,
}

impl Job {
    /// Entries it appends.
    pub fn events(&self) -> usize {
        self.commit.append.len()
    }

    /// Bytes of its bodies.
    pub fn bytes(&self) -> usize {
        let entries = self.commit.append.iter().map(bytes::Bytes::len);
        let state = self
            .commit
            .state
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let letters = self.commit.dead_letters.iter().map(|letter| letter.body.len());
        entries.chain(state).chain(letters).sum()
    }

    fn kib(&self) -> u32 {
        let kib = self.events().max(1).max(self.bytes().div_ceil(1024));
        u32::try_from(kib).map_or(ROOM_KIB, |kib| kib.min(ROOM_KIB))
    }
}

/// When the next group is due.
///
/// An idle writer commits at once. If the last group held more than one entry the next waits until
/// [`GROUP_EVENTS`] are queued or [`GROUP_WAIT`] has passed since the last ended: others are clearly on their way, and
/// a sync costs ten times what a wait does. A commit without entries waits for one to ride with, [`RIDE_WAIT`] at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupRule {
    last_events: usize,
    last_ended: Instant,
}

/// What the writer does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// Not before this instant, unless more is queued.
    At(Instant),
    /// When something is queued.
    Never,
}

impl GroupRule {
    pub fn new(now: Instant) -> Self {
        Self {
            last_events: 0,
            last_ended: now,
        }
    }

    /// Notes a finished group.
    pub fn ended(&mut self, events: usize, now: Instant) {
        if events > 0 {
            *self = Self {
                last_events: events,
                last_ended: now,
            };
        }
    }

    /// Says when a group of `events` is due; `riding` is since when commits without entries have waited.
    pub fn due(&self, events: usize, riding: Option<Instant>, now: Instant) -> Due {
        let at = match (events, riding) {
            (0, None) => return Due::Never,
            (0, Some(since)) => since + RIDE_WAIT,
            (GROUP_EVENTS.., _) => return Due::Now,
            _ if self.last_events <= 1 => return Due::Now,
            _ => self.last_ended + GROUP_WAIT,
        };
        if now >= at { Due::Now } else { Due::At(at) }
    }
}

/// What the writer got.
#[derive(Debug)]
pub(super) enum Taken {
    Group(Vec<Job>),
    /// Nothing was due before the deadline.
    Tick,
    /// Closed, and nothing is left.
    Closed,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Semaphore,
}

#[derive(Debug)]
struct Waiting {
    jobs: VecDeque<Job>,
    events: usize,
    riding: Option<Instant>,
    /// Entries that must be queued before the sleeping writer is worth waking; `usize::MAX` while it works.
    wake_at: usize,
    closed: bool,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                events: 0,
                riding: None,
                wake_at: usize::MAX,
                closed: false,
            }),
            wake: Condvar::new(),
            room: Semaphore::new(ROOM_KIB as usize),
        }
    }

    /// Queues a job, waiting for room.
    ///
    /// Cancel: safe; a job whose future is dropped before it returned is not queued.
    pub async fn push(&self, job: Job) -> Result<(), JournalError> {
        let room = self
            .room
            .acquire_many(job.kib())
            .await
            .map_err(|_| JournalError::Closed)?;
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(JournalError::Closed);
        }
        room.forget();
        waiting.events += job.events();
        if job.events() == 0 && waiting.riding.is_none() {
            waiting.riding = Some(Instant::now());
        }
        waiting.jobs.push_back(job);
        let wake = waiting.events >= waiting.wake_at;
        if wake {
            waiting.wake_at = usize::MAX;
        }
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Refuses further jobs; those queued are still given out.
    pub fn close(&self) {
        self.room.close();
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for a group by `rule`, at most until `deadline`.
    pub fn take(&self, rule: &GroupRule, deadline: Instant) -> Taken {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let due = rule.due(waiting.events, waiting.riding, now);
            if due == Due::Now || (waiting.closed && !waiting.jobs.is_empty()) {
                return Taken::Group(self.cut(&mut waiting));
            }
            if waiting.closed {
                return Taken::Closed;
            }
            if now >= deadline {
                return Taken::Tick;
            }
            let until = if let Due::At(at) = due {
                at.min(deadline)
            } else {
                deadline
            };
            waiting.wake_at = match (waiting.events, due) {
                // A riding commit has its own timer; the first one to be queued must set it.
                (0, Due::Never) => 0,
                (0, _) => 1,
                _ => GROUP_EVENTS,
            };
            waiting = self
                .wake
                .wait_timeout(waiting, until.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            waiting.wake_at = usize::MAX;
        }
    }

    /// Takes whole jobs from the front up to the bounds of a group, one at least.
    fn cut(&self, waiting: &mut Waiting) -> Vec<Job> {
        let (mut events, mut bytes, mut kib) = (0, 0, 0);
        let mut group = Vec::new();
        while let Some(job) = waiting.jobs.front() {
            events += job.events();
            bytes += job.bytes();
            if !group.is_empty() && (events > GROUP_EVENTS_MAX || bytes > GROUP_BYTES_MAX) {
                break;
            }
            kib += job.kib() as usize;
            waiting.events -= job.events();
            group.extend(waiting.jobs.pop_front());
        }
        waiting.riding = waiting.jobs.iter().any(|job| job.events() == 0).then(Instant::now);
        self.room.add_permits(kib);
        group
    }

    /// A panic while the lock is held would be a bug of this file; the queue itself is then still whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries at which a group is worth its sync.
const GROUP_EVENTS: usize = 32;
/// Longest wait for a group to grow.
const GROUP_WAIT: Duration = Duration::from_millis(2);
/// Longest wait of cursors and state for an entry to ride with.
///
/// Short, because a consumer that drains a backlog waits for it once a batch, and a kill repeats what was not saved.
pub(super) const RIDE_WAIT: Duration = Duration::from_millis(20);
/// Largest group: larger ones gain nothing and delay the first of them.
pub(super) const GROUP_EVENTS_MAX: usize = 1024;
pub(super) const GROUP_BYTES_MAX: usize = 4 << 20;
/// Room of the queue: 16 MiB of bodies, 16,384 entries at most.
const ROOM_KIB: u32 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn job(events: usize) -> Job {
        let append = vec![Bytes::from_static(b"x"); events];
        Job {
            commit: Commit {
                append,
                ..Commit::default()
            },
            done: None,
        }
    }

    fn drain(queue: &Queue) -> Vec<Job> {
        queue.cut(&mut queue.lock())
    }

    fn rule_after(events: usize, now: Instant) -> GroupRule {
        let mut rule = GroupRule::new(now);
        rule.ended(events, now);
        rule
    }

    #[test]
    fn an_idle_writer_commits_a_lone_entry_at_once() {
        let now = Instant::now();
        assert_eq!(GroupRule::new(now).due(1, None, now), Due::Now);
        assert_eq!(rule_after(1, now).due(1, None, now), Due::Now);
    }

    #[test]
    fn after_a_group_of_several_the_next_waits_for_thirty_two_or_two_milliseconds() {
        let now = Instant::now();
        let rule = rule_after(2, now);
        assert_eq!(rule.due(1, None, now), Due::At(now + Duration::from_millis(2)));
        assert_eq!(rule.due(31, None, now), Due::At(now + Duration::from_millis(2)));
        assert_eq!(rule.due(32, None, now), Due::Now);
        assert_eq!(rule.due(1, None, now + Duration::from_millis(2)), Due::Now);
    }

    #[test]
    fn cursors_alone_wait_for_an_entry_but_not_for_long() {
        let now = Instant::now();
        let rule = rule_after(1, now);
        assert_eq!(rule.due(0, None, now), Due::Never);
        assert_eq!(rule.due(0, Some(now), now), Due::At(now + RIDE_WAIT));
        assert_eq!(rule.due(1, Some(now), now), Due::Now);
        assert_eq!(rule.due(0, Some(now), now + RIDE_WAIT), Due::Now);
    }

    #[test]
    fn a_group_of_cursors_alone_does_not_change_the_rule() {
        let now = Instant::now();
        let mut rule = rule_after(40, now);
        rule.ended(0, now + Duration::from_millis(1));
        assert_eq!(rule.due(1, None, now), Due::At(now + GROUP_WAIT));
    }

    #[tokio::test]
    async fn a_group_is_cut_at_its_bound_and_holds_whole_commits() {
        let queue = Queue::new();
        for events in [600, 400, 100, 3000] {
            queue.push(job(events)).await.unwrap();
        }
        let sizes = |jobs: Vec<Job>| jobs.iter().map(Job::events).collect::<Vec<_>>();
        assert_eq!(sizes(drain(&queue)), [600, 400]);
        assert_eq!(sizes(drain(&queue)), [100]);
        assert_eq!(sizes(drain(&queue)), [3000], "one commit is never split");
        assert!(drain(&queue).is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_makes_callers_wait_and_a_taken_group_lets_them_on() {
        let queue = Queue::new();
        queue.push(job(ROOM_KIB as usize)).await.unwrap();
        let mut second = std::pin::pin!(queue.push(job(1)));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert_eq!(drain(&queue).len(), 1);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_it_holds_and_refuses_more() {
        let queue = Queue::new();
        queue.push(job(1)).await.unwrap();
        queue.close();
        assert!(matches!(queue.push(job(1)).await, Err(JournalError::Closed)));
        let now = Instant::now();
        assert!(matches!(queue.take(&rule_after(9, now), now), Taken::Group(group) if group.len() == 1));
        assert!(matches!(queue.take(&GroupRule::new(now), now), Taken::Closed));
    }
}
