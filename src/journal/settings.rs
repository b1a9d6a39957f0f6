//! What the journal is told at the start, and what it tells.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trapline_schemas::Timestamp;

use super::{Cause, Offset};

/// How sure an acknowledgement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Synced before it is acknowledged: survives power loss on a disk that honours syncs.
    #[default]
    Full,
    /// Written, synced at checkpoints: survives any kill; power loss may take the last moments.
    Normal,
}

/// Settings of a journal.
#[derive(Clone)]
pub struct JournalSettings {
    /// The file, usually `STATE/journal.db`; its folder is the state folder and is made (0700) if absent.
    pub path: PathBuf,
    /// How sure an acknowledgement is.
    pub durability: Durability,
    /// Age at which entries go; zero keeps them for ever.
    pub retain: Duration,
    /// Bytes of live data above which the oldest entries go; zero is without bound.
    pub retain_bytes: u64,
    /// Consumers whose cursor holds the age trim back. One without a saved cursor holds everything back: save its
    /// starting cursor at once.
    pub consumers: Vec<String>,
    /// Consumers that do so as well, but take nothing out of the house: a full disk takes only what stands elsewhere.
    pub watchers: Vec<String>,
    /// Consumers that come and go: one holds the age trim back as well for as long as it has a cursor.
    pub guests: Vec<String>,
    /// Makes the bodies of the journal's own entries.
    pub facts: FactBody,
    /// Is told how far a file of an older trapline has come on its way up, before [`super::Journal::open`] returns.
    pub upgrading: fn(&Upgrading),
}

impl JournalSettings {
    /// The defaults of the configuration, for the journal at `path`: full durability, 30 days, 10 GiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Full,
            retain: Duration::from_secs(30 * 24 * 3600),
            retain_bytes: 10 << 30,
            consumers: Vec::new(),
            watchers: Vec::new(),
            guests: Vec::new(),
            facts: FactBody::none(),
            upgrading: |_| {},
        }
    }
}

/// How far a file of an older trapline has come on its way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrading {
    /// Schema version that the file has.
    pub from: i64,
    /// Schema version that it is to have.
    pub to: i64,
    /// What is being done.
    pub step: UpgradeStep,
    /// So much of it is done.
    pub done: u64,
    /// So much there is.
    pub of: u64,
}

/// A part of the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeStep {
    /// The copy of the file as it is.
    Backup,
    /// The next migration.
    Migration,
}

impl fmt::Display for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            UpgradeStep::Backup => "backup",
            UpgradeStep::Migration => "migration",
        };
        let percent = (self.done.saturating_mul(100)).checked_div(self.of).unwrap_or(0);
        write!(f, "version {} to {}, {what} {percent} %", self.from, self.to)
    }
}

impl fmt::Debug for JournalSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalSettings")
            .field("path", &self.path)
            .field("durability", &self.durability)
            .field("retain", &self.retain)
            .field("retain_bytes", &self.retain_bytes)
            .finish_non_exhaustive()
    }
}

/// What happened to the journal itself and must stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A consumer found entries gone before it had read them, or could not read them.
    Lost {
        /// Who misses them.
        consumer: String,
        /// First offset missed.
        first: Offset,
        /// Last offset missed.
        last: Offset,
        /// How many entries.
        count: u64,
        /// Why.
        cause: Cause,
    },
    /// The disk was full: entries that every enabled consumer had read made room before their time.
    Pruned {
        /// First offset taken.
        first: Offset,
        /// Last offset taken.
        last: Offset,
        /// How many entries.
        count: u64,
        /// When the first and the last of them were appended; unknown after a restart in between.
        at: Option<(Timestamp, Timestamp)>,
    },
    /// While the disk failed, memory ran full: these hits were dropped, oldest first.
    Shed {
        /// How many.
        count: u64,
        /// When the first was dropped.
        first: Timestamp,
        /// When the last was dropped.
        last: Timestamp,
    },
    /// The run before ended while the disk failed: these hits, in memory or dropped from it, are nowhere; with them what
    /// this run dropped while the disk went on failing.
    Unkept {
        /// How many.
        count: u64,
        /// When the first came.
        first: Timestamp,
        /// When the last came or was dropped.
        last: Timestamp,
    },
    /// There were more dead letters than are kept: the oldest were dropped.
    DeadLettersDropped {
        /// How many.
        count: u64,
    },
    /// The file was damaged: a new one was begun with what could be read.
    Salvaged(Salvaged),
    /// Entries that a salvage has not found.
    Missing(Missing),
    /// At the start the file ended before what an earlier run had given, or there was none.
    CutShort(CutShort),
    /// The file was gone or older than what had been acknowledged: a new one goes on from memory.
    Replaced {
        /// Entries that are in neither the file nor memory.
        lost: u64,
        /// Entries written again from memory.
        rewritten: u64,
    },
}

impl Fact {
    /// Takes in what a later fact says the same outage cost: what was shed joins what was shed before it, in this run
    /// or the one that ended on the failing disk. Says whether it did.
    pub(super) fn take_in(&mut self, later: &Self) -> bool {
        let Self::Shed { count, first, last } = later else {
            return false;
        };
        let (Self::Shed {
            count: all,
            first: begin,
            last: end,
        }
        | Self::Unkept {
            count: all,
            first: begin,
            last: end,
        }) = self
        else {
            return false;
        };
        (*all, *begin, *end) = (all.saturating_add(*count), (*begin).min(*first), (*end).max(*last));
        true
    }

    /// The same kind about the same consumer, both together; `None` if they are about different things.
    fn and(&self, later: &Self) -> Option<Self> {
        let mut both = later.clone();
        match (&mut both, self) {
            (
                Self::Lost {
                    consumer,
                    first,
                    count,
                    cause,
                    ..
                },
                Self::Lost {
                    consumer: same,
                    first: before,
                    count: more,
                    cause: reason,
                    ..
                },
            ) if consumer == same && cause == reason => (*first, *count) = (*before.min(first), *count + more),
            (
                Self::Pruned { first, count, at, .. },
                Self::Pruned {
                    first: before,
                    count: more,
                    at: then,
                    ..
                },
            ) => {
                (*first, *count) = (*before.min(first), *count + more);
                *at = at.zip(*then).map(|((_, last), (first, _))| (first, last));
            }
            (
                Self::Shed { count, first, .. },
                Self::Shed {
                    count: more,
                    first: before,
                    ..
                },
            ) => (*first, *count) = (*before, *count + more),
            (
                Self::Unkept { count, first, .. },
                Self::Unkept {
                    count: more,
                    first: before,
                    ..
                },
            ) => (*first, *count) = (*before, *count + more),
            (Self::DeadLettersDropped { count }, Self::DeadLettersDropped { count: more }) => *count += more,
            // Told at its begin and at its end, with all numbers.
            (Self::Salvaged(now), Self::Salvaged(before)) if now.kept_as == before.kept_as => {}
            // Shown from the start on, told with the first group.
            (Self::CutShort(_) | Self::Missing(_), before) if *before == *later => {}
            (
                Self::Replaced { lost, rewritten },
                Self::Replaced {
                    lost: more,
                    rewritten: again,
                },
            ) => (*lost, *rewritten) = (*lost + more, *rewritten + again),
            _ => return None,
        }
        Some(both)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost {
                consumer,
                first,
                last,
                count,
                cause,
            } => {
                write!(f, "{count} entries, offsets {first} to {last}, ")?;
                match cause {
                    Cause::Trimmed => write!(f, "were trimmed by size before {consumer} had them"),
                    Cause::Gone => write!(f, "are gone from the file, untrimmed, before {consumer} had them"),
                    Cause::Unreadable => write!(f, "are unreadable, {consumer} passes over them"),
                }
            }
            Self::Pruned { first, last, count, at } => {
                write!(
                    f,
                    "the disk was full: {count} entries that every sink had, offsets {first} to {last}"
                )?;
                if let Some((oldest, newest)) = at {
                    write!(f, ", of {} to {}", time(*oldest), time(*newest))?;
                }
                f.write_str(", were removed before their time to make room")
            }
            Self::Shed { count, first, last } => write!(
                f,
                "the disk failed and memory was full: {count} events between {} and {} were dropped",
                time(*first),
                time(*last)
            ),
            Self::Unkept { count, first, last } => write!(
                f,
                "trapline ended while the disk failed: {count} events between {} and {} were lost",
                time(*first),
                time(*last)
            ),
            Self::DeadLettersDropped { count } => {
                write!(f, "{count} dead letters beyond what is kept were dropped, oldest first")
            }
            Self::Salvaged(salvaged) => salvaged.fmt(f),
            Self::Missing(missing) => missing.fmt(f),
            Self::CutShort(cut) => cut.fmt(f),
            Self::Replaced { lost, rewritten } => write!(
                f,
                "the journal file was gone: {rewritten} entries were written again from memory, {lost} are lost"
            ),
        }
    }
}

fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    format!("{at:.0}")
}

/// What the journal told of itself since the start, the same kind of thing together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What happened, with the numbers of all times.
    pub fact: Fact,
    /// When it was told first.
    pub first: Timestamp,
    /// When it was told last.
    pub last: Timestamp,
}

impl Told {
    /// Adds a fact to what was told.
    pub(super) fn add(all: &mut Vec<Self>, fact: &Fact, at: Timestamp) {
        for told in all.iter_mut() {
            if let Some(both) = told.fact.and(fact) {
                (told.fact, told.last) = (both, at);
                return;
            }
        }
        if all.len() < TOLD_MAX {
            all.push(Self {
                fact: fact.clone(),
                first: at,
                last: at,
            });
        }
    }
}

/// Kinds of facts, and consumers by name: far above what a configuration holds.
const TOLD_MAX: usize = 1024;

/// The numbers of a salvage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Where the damaged file is kept.
    pub kept_as: PathBuf,
    /// What was wrong with it, in SQLite's words.
    pub reason: String,
    /// Entries carried over so far, each with a valid sum.
    pub entries: u64,
    /// Rows whose sum did not hold.
    pub refused: u64,
    /// Entries that the damaged file had held and the new one has not, as far as they were counted.
    pub missing: Missing,
    /// Cursors, state values and dead letters carried over.
    pub small: u64,
    /// Whether entries are still being carried over in the background.
    pub running: bool,
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the journal was damaged ({}): {} entries {}, {} rows did not hold, the damaged file is kept as {}",
            self.reason,
            self.entries,
            if self.running {
                "are carried over so far"
            } else {
                "were carried over"
            },
            self.refused,
            self.kept_as.display()
        )
    }
}

impl Salvaged {
    /// One that has carried nothing over yet.
    pub(super) fn begun(kept_as: PathBuf, reason: String) -> Self {
        Self {
            kept_as,
            reason,
            running: true,
            ..Self::default()
        }
    }

    /// What of it must stand in the journal.
    pub(super) fn facts(self) -> Vec<Fact> {
        let is_counted = !self.running && (self.missing.count > 0 || self.missing.unsure);
        let missing = is_counted.then(|| Fact::Missing(self.missing.clone()));
        std::iter::once(Fact::Salvaged(self)).chain(missing).collect()
    }
}

/// Entries that a damaged file had held and that nothing of it gives back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// How many.
    pub count: u64,
    /// The first offset, if there are any.
    pub first: Offset,
    /// The last offset, if there are any.
    pub last: Offset,
    /// Whether nothing says how far the file went: newer ones may be missing as well.
    pub unsure: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, last, .. } = self;
        f.write_str("the journal was damaged: ")?;
        if *count > 0 {
            write!(f, "{count} entries, offsets {first} to {last}, are lost")?;
            if count.saturating_add(*first) <= *last {
                f.write_str(", others between them were carried over")?;
            }
        }
        match (self.unsure, count) {
            (false, _) => Ok(()),
            (true, 0) => f.write_str("how many of its newest entries are lost is not known"),
            (true, _) => f.write_str("; how many newer ones are is not known"),
        }
    }
}

/// Entries of an earlier run that the file has no more, by its own count or by what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// Whether there was no file at all.
    pub gone: bool,
    /// The first offset that is missing, as far as is known.
    pub first: Offset,
    /// The offset after the last that the file or its index knew of, where the journal goes on.
    pub next: Offset,
}

impl CutShort {
    /// How many offsets are missing.
    pub fn count(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.gone {
            "the journal file of an earlier run was gone"
        } else {
            "the journal file was cut short"
        };
        let (count, first, next) = (self.count(), self.first, self.next);
        if count == 0 {
            return write!(
                f,
                "{what}: a new one begins at {next}, how many entries are gone is not known"
            );
        }
        let last = next.saturating_sub(1);
        write!(
            f,
            "{what}: {count} entries that had been written, {first} to {last}, are gone, it goes on at {next}"
        )
    }
}

/// Makes an entry's body from a [`Fact`]; `None` appends nothing.
#[derive(Clone)]
pub struct FactBody(Option<Arc<MakeBody>>);

type MakeBody = dyn Fn(&Fact) -> Option<Bytes> + Send + Sync;

impl FactBody {
    /// Bodies made by `make`; it is called on the writer's thread and must not block.
    pub fn new(make: impl Fn(&Fact) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    /// No bodies: facts are logged alone.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether facts become entries at all.
    pub(super) fn are_told(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn body(&self, fact: &Fact) -> Option<Bytes> {
        self.0.as_ref()?(fact)
    }
}

impl fmt::Debug for FactBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactBody")
    }
}

/// How well the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthLevel {
    /// All is well.
    Ok,
    /// It works, and a person should look: the disk is nearly full, a salvage goes on.
    Degraded,
    /// Nothing becomes durable; events are held in memory.
    Failing,
}

/// What `status` says of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How well.
    pub level: HealthLevel,
    /// Why; empty if well.
    pub reason: Arc<str>,
    /// Since when it has been at this level.
    pub since: Timestamp,
    /// Events held in memory because the disk fails.
    pub held: u64,
    /// Hits dropped since the start because memory was full.
    pub shed: u64,
}

impl JournalReport {
    /// What of it must stand in the journal.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let salvaged = self.salvaged.clone().map(Salvaged::facts);
        let cut_short = self.cut_short.clone().map(Fact::CutShort);
        salvaged.into_iter().flatten().chain(cut_short).collect()
    }
}

/// What was found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalReport {
    /// Whether the file was made anew.
    pub created: bool,
    /// Pid of a crashed predecessor whose lock was taken over.
    pub took_over: Option<u32>,
    /// The oldest offset there (the head, if empty).
    pub oldest: Offset,
    /// The next offset to be given.
    pub head: Offset,
    /// Whether the quick check went over the whole file; on a large file it stops at its time bound.
    pub checked_whole: bool,
    /// What a salvage did, if one was needed.
    pub salvaged: Option<Salvaged>,
    /// What an earlier run had written and is there no more.
    pub cut_short: Option<CutShort>,
    /// How long the start took.
    pub took: Duration,
}
