//! All open sessions: how many there are, of whom, which one is idle longest, and how much memory they hold.
//!
//! In: a seat asked for at accept. Out: the seat, given back when it is dropped; sessions ended from outside.
//!
//! Invariants: 1. a seat is counted from accept until everything of its session is reported. 2. The longest idle
//! session is ended by shutting its socket, which wakes whatever it waits for; no task is killed, so nothing it would
//! still report is lost. 3. No lock is held over an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use crate::decoy::stream::Stream;
use crate::roles::{Attendance, Contact};

/// A session's socket, reachable from outside of its task.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) stream: Stream,
    pub(crate) contact: Arc<Contact>,
    touched: AtomicU64,
    ended: OnceLock<&'static str>,
}

impl Live {
    pub(crate) fn new(stream: Stream, contact: Arc<Contact>) -> Self {
        Self {
            stream,
            contact,
            touched: AtomicU64::new(now_ms()),
            ended: OnceLock::new(),
        }
    }

    /// Notes that the peer was heard.
    pub(crate) fn touched(&self) {
        self.touched.store(now_ms(), Ordering::Relaxed);
    }

    /// Ends the session from outside: its next read or write fails, and says why.
    pub(crate) fn end(&self, why: &'static str) {
        let _ = self.ended.set(why);
        self.stream.shut(Shutdown::Both);
    }

    /// Why it was ended from outside, if it was.
    pub(crate) fn why_ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }
}

/// Milliseconds of the monotonic clock since the first call.
fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// All open sessions.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    seats: Mutex<Seats>,
    attendance: Arc<Attendance>,
}

#[derive(Debug, Default)]
struct Seats {
    rows: Vec<Option<Weak<Live>>>,
    free: Vec<usize>,
    sources: HashMap<IpAddr, usize>,
}

impl Seats {
    fn taken(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// The row taken, and whether the house is full with it.
    fn sit(&mut self, live: &Arc<Live>, sessions: usize, per_source: usize) -> Result<(usize, bool), Full> {
        let taken = self.taken();
        if taken >= sessions + OVER {
            return Err(Full::House);
        }
        let of_source = self.sources.entry(live.contact.peer.ip()).or_default();
        if *of_source >= per_source.max(1) {
            return Err(Full::Source);
        }
        *of_source += 1;
        Ok((self.put(Arc::downgrade(live)), taken >= sessions))
    }

    fn put(&mut self, live: Weak<Live>) -> usize {
        match self.free.pop() {
            Some(row) => {
                if let Some(seat) = self.rows.get_mut(row) {
                    *seat = Some(live);
                }
                row
            }
            None => {
                self.rows.push(Some(live));
                self.rows.len() - 1
            }
        }
    }
}

/// Sessions beyond the limit that may still be leaving.
const OVER: usize = 16;

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The source has all it may have.
    Source,
    /// All decoys together have more than they may have, and those that were ended are not gone yet.
    House,
}

/// A counted session; given back on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    row: usize,
    source: IpAddr,
}

impl Crowd {
    /// Takes a seat for a contact. At `sessions` the longest idle are ended to make room; until they are gone the
    /// house may hold [`OVER`] more.
    pub(crate) fn sit(self: &Arc<Self>, live: &Arc<Live>, sessions: usize, per_source: usize) -> Result<Seat, Full> {
        let seat = self.seated(live, sessions, per_source);
        if matches!(seat, Ok((_, true)) | Err(Full::House)) {
            self.end_longest_idle((sessions / 100).clamp(1, OVER), "too many sessions");
        }
        seat.map(|(row, _)| Seat {
            crowd: Arc::clone(self),
            row,
            source: live.contact.peer.ip(),
        })
    }

    fn seated(&self, live: &Arc<Live>, sessions: usize, per_source: usize) -> Result<(usize, bool), Full> {
        let mut seats = self.lock();
        let seat = seats.sit(live, sessions, per_source);
        let counted = match seat {
            Ok(_) => &self.attendance.begun,
            Err(Full::Source) => &self.attendance.refused_of_source,
            Err(Full::House) => &self.attendance.refused_as_full,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        self.note(&seats);
        seat
    }

    /// Shows how many are open; under the lock, so that the last word is the last count.
    fn note(&self, seats: &Seats) {
        self.attendance.open.store(seats.taken() as u64, Ordering::Relaxed);
    }

    /// How full it is, for whoever looks on.
    pub(crate) fn attendance(&self) -> Arc<Attendance> {
        Arc::clone(&self.attendance)
    }

    /// How many sessions are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().taken()
    }

    /// Ends the `count` sessions that were silent longest; returns how many that were.
    pub(crate) fn end_longest_idle(&self, count: usize, why: &'static str) -> usize {
        let mut open = self.live();
        open.retain(|live| live.why_ended().is_none());
        let count = count.min(open.len());
        if count > 0 {
            open.select_nth_unstable_by_key(count - 1, |live| live.touched.load(Ordering::Relaxed));
        }
        open.iter().take(count).for_each(|live| live.end(why));
        self.attendance.ended.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// Ends every session that `which` names.
    pub(crate) fn end_where(&self, why: &'static str, which: impl Fn(&Contact) -> bool) {
        let live = self.live();
        let named = live.iter().filter(|live| which(&live.contact));
        named.for_each(|live| live.end(why));
    }

    /// Every session; the lock is let go before any of them is touched, because dropping the last handle of a socket
    /// may give a seat back.
    fn live(&self) -> Vec<Arc<Live>> {
        let seats = self.lock();
        seats.rows.iter().flatten().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.crowd.lock();
        if let Some(row) = seats.rows.get_mut(self.row) {
            *row = None;
        }
        seats.free.push(self.row);
        self.crowd.note(&seats);
        if let Entry::Occupied(mut count) = seats.sources.entry(self.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Bytes that all sessions together may hold for what peers sent.
#[derive(Debug)]
pub(crate) struct Memory {
    held: AtomicUsize,
    max: usize,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            max,
        })
    }

    /// An empty share of the budget.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        Hold {
            memory: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// One session's share of the budget; given back on drop.
#[derive(Debug)]
pub struct Hold {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Hold {
    /// Takes more; `false`, and nothing taken, if the budget has not that much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let max = self.memory.max;
        let grown = self
            .memory
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= max)
            });
        if grown.is_ok() {
            self.bytes += bytes;
        }
        grown.is_ok()
    }

    /// Gives some back, at most what was taken.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.memory.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
