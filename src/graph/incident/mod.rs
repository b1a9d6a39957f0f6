//! Incidents, followed to their end for one sink that wants to know. Pure; the window task keeps its cursor.
//!
//! In: the entries that reach the sink, what goes before it included, and decisions ([`Incidents::see`]); the clock when
//! nothing is left to read ([`Incidents::tick`]). Out: one `incident-closed` for each incident of which the sink was
//! told, once its source has been quiet for so long and nothing is done about it any more. It goes to that sink alone,
//! for it is an output of this node.
//!
//! Invariants:
//! 1. The id of an event is made of node, incident and the first that was seen of it: the same however often it is made.
//!    Who comes again after it opens the incident anew, under the same incident id, and it closes again.
//! 2. `honeyport.finding.hits` counts each event of the incident once. Of one that the sink was not told of, what lies
//!    [`AGAIN_MAX`] entries back is forgotten.
//! 3. What is done about a source is nothing that the source did: it opens no incident of which the sink is not told, and
//!    makes none last, but by the time that a decision keeps it open (`response-decided`: decided, approved, extended), up
//!    to that or to the decision's end.
//! 4. Quiet is a matter of the events' own time and the clock's; nothing closes before every entry has been read. A clock
//!    that was ahead and went back is believed both times: what it closed stays closed, what it opened ends in time.
//! 5. At most [`OPEN_MAX`] incidents are open. When full, the one that was quiet for longest goes: without a word if the
//!    sink was told nothing of it, else closed early, which its event says.
//! 6. Rows and the entries from [`Incidents::reads_from`] on make memory again: nothing is closed twice or forgotten,
//!    whenever the process is killed. A row is written for what the sink was told of, at most once in [`SAVE_EVERY`] or
//!    [`SAVE_ENTRIES`]; all else is read again.
//!
//! Layout of state: `follow/SINK` is `{"v":1,"next":…,"from":…}`; `follow/SINK/INCIDENT` is an incident (`open`), or
//! `{"v":1,"closed":OFFSET}` while entries before OFFSET may be read again.

mod closed;
mod open;
mod rows;
mod shelf;

#[cfg(test)]
mod tests;

use std::time::Duration;

use trapline_schemas::derive::state::State;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use trapline_sink::config::duration_text;
use uuid::Uuid;

use self::closed::Closed;
use self::open::{Facts, Open, span};
use self::shelf::Shelf;
use super::inputs::Class;
use crate::journal::Offset;

/// Most incidents open at once.
pub const OPEN_MAX: usize = 50_000;
/// Most entries that a restart reads again: about a second of work.
pub const AGAIN_MAX: Offset = 131_072;
/// What changed about incidents that the sink was told of is saved after so many entries, microseconds,
pub const SAVE_ENTRIES: Offset = 16_384;
/// or so long.
pub const SAVE_EVERY: i64 = 60_000_000;
/// How far an event's time may be ahead of the clock.
const AHEAD_MAX: i64 = 60_000_000;

/// How the names of these nodes begin; no name in a configuration has the sign.
const BEFORE: &str = "follow/";

/// The node that follows incidents for a sink.
pub fn node_for(sink: &str) -> String {
    format!("{BEFORE}{sink}")
}

/// The sink that a node of this name follows incidents for, if it is such a node.
pub fn sink_of(node: &str) -> Option<&str> {
    node.strip_prefix(BEFORE)
}

/// When an incident is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowSpec {
    /// After how long without an event of it.
    pub close_after: Duration,
    /// How long after a start nothing closes: what an earlier run left for digests comes first.
    pub settle: Duration,
}

impl FollowSpec {
    /// Over after so long.
    pub const fn after(close_after: Duration) -> Self {
        Self {
            close_after,
            settle: Duration::ZERO,
        }
    }
}

/// What an entry is to a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// The sink's inputs let it through: it counts.
    pub counts: bool,
    /// It comes to the sink itself: the sink is told.
    pub tells: bool,
}

/// The incidents that are open.
#[derive(Debug)]
pub struct Incidents {
    node: String,
    quiet: i64,
    /// Those of which the sink was told.
    told: Shelf,
    /// Those of which it was not.
    untold: Shelf,
    closed: Closed,
    /// The ends to tell.
    closing: Vec<Event>,
    /// Names of rows that cannot be read.
    unreadable: Vec<String>,
    /// What incidents that came one after the other have in common.
    facts: Facts,
    /// Everything before this was read by an earlier run, and nothing closes before it is read again.
    resume: Offset,
    is_resumed: bool,
    /// Where a restart reads on from, as of the last commit.
    from: Option<Offset>,
    now: i64,
    /// How long nothing closes after the clock was first asked, and when that was.
    settle: i64,
    begun: Option<i64>,
    /// Latest time of an event.
    latest: i64,
}

impl Incidents {
    /// The entry to begin with, where that is not the one after the cursor.
    pub fn reads_from(&self) -> Option<Offset> {
        self.from
    }

    /// Takes in an entry. One that an earlier run has counted means nothing here.
    pub fn see(&mut self, offset: Offset, event: &Event, way: Way) {
        self.is_resumed |= offset >= self.resume;
        // Nothing that the source did, so it neither opens an incident nor keeps it open.
        if event.action == Action::NoticeReleased {
            return;
        }
        let Some(id) = event.uuid(Field::IncidentId) else {
            return;
        };
        let is_closed = !self.is_resumed && self.closed.covers(id, offset);
        let is_counted = self.told.get(id).is_some_and(|open| offset < open.counted);
        if is_closed || is_counted {
            return;
        }
        if way.counts || way.tells {
            self.count(offset, (id, event), way);
        }
        // What is only proposed or observed keeps nothing open, however long.
        let is_dry = event.get(Field::ResponseDryRun) == Some(&Value::Bool(true));
        if event.action == Action::Decided && !is_dry {
            let decision = event.uuid(Field::ResponseId).unwrap_or_default();
            match (State::of(event), event.get(Field::ResponseExpires)) {
                (Some(State::Decided | State::Approved | State::Extended), Some(Value::Time(until))) => {
                    self.hold(offset, id, (decision, *until));
                }
                (Some(State::Ended), _) => self.let_go(offset, id, (decision, event.at)),
                _ => {}
            }
        }
    }

    /// Something is done about an incident until then: it does not end before.
    fn hold(&mut self, offset: Offset, id: Uuid, (decision, until): (Uuid, Timestamp)) {
        let now = self.now;
        for shelf in [&mut self.told, &mut self.untold] {
            shelf.change(offset, now, id, |open| open.hold(decision, until.micros()));
        }
    }

    /// A decision about an incident ended, perhaps before its time: it keeps the incident open no longer than that.
    fn let_go(&mut self, offset: Offset, id: Uuid, (decision, at): (Uuid, Timestamp)) {
        let (now, quiet) = (self.now, self.quiet);
        for shelf in [&mut self.told, &mut self.untold] {
            let Some(until) = shelf.get(id).and_then(|open| open.hold_of(decision)) else {
                continue;
            };
            shelf.change(offset, now, id, |open| open.hold(decision, until.min(at.micros())));
            shelf.note_sooner(id, quiet);
        }
    }

    fn count(&mut self, offset: Offset, (id, event): (Uuid, &Event), way: Way) {
        let (first, last) = span(event);
        self.latest = self.latest.max(last);
        self.end_if_over(id, first);
        let is_known = self.told.get(id).is_some() || self.untold.get(id).is_some();
        let is_decision = Class::of(event.action) == Class::Decisions;
        // Nothing that the source did: it begins nothing, unless the sink was told of it and waits for an end.
        if !is_known && is_decision && !way.tells {
            return;
        }
        if !is_known {
            self.make_room(last);
            self.untold.put(id, Open::new(event, &mut self.facts), self.quiet);
        }
        let weighs = way.counts || !is_known;
        if way.tells
            && let Some(open) = self.untold.take(id)
        {
            self.told.put(id, open, self.quiet);
        }
        let now = self.now;
        for shelf in [&mut self.told, &mut self.untold] {
            shelf.change(offset, now, id, |open| open.count(offset, event, weighs));
        }
    }

    /// An event that comes after the end of an incident begins it anew, whether or not the clock was asked in between.
    fn end_if_over(&mut self, id: Uuid, at: i64) {
        let over = |shelf: &Shelf| Some(shelf.get(id)?.due(self.quiet)).filter(|due| *due <= at);
        if over(&self.untold).is_some() {
            self.untold.take(id);
        } else if let Some(due) = over(&self.told).filter(|_| self.is_resumed) {
            self.end(id, due, None);
        }
    }

    fn make_room(&mut self, at: i64) {
        // What is read again was there before, with what has been let go since.
        while self.is_resumed && self.told.len() + self.untold.len() >= OPEN_MAX {
            if let Some((_, id)) = self.untold.quietest(self.quiet) {
                self.untold.take(id);
            } else if let Some((due, id)) = self.told.quietest(self.quiet) {
                self.end(id, at.min(due), Some(at));
            } else {
                return;
            }
        }
    }

    /// Closes an incident of which the sink was told; `early`: at that time, to make room.
    fn end(&mut self, id: Uuid, at: i64, early: Option<i64>) {
        let Some(open) = self.told.take(id) else { return };
        let quiet = |micros: i64| duration_text(Duration::from_secs((micros / 1_000_000).max(0).unsigned_abs()));
        let reason = match early {
            None => format!("quiet for {}", quiet(self.quiet)),
            Some(now) => format!(
                "closed early, quiet for {}: {OPEN_MAX} incidents are open",
                quiet(now - open.last)
            ),
        };
        self.closing
            .push(open.closed(&self.node, id, at.max(open.last), &reason));
        self.closed.add(id, &open);
    }

    /// Takes note of the clock; only when every entry before the journal's head has been seen.
    pub fn tick(&mut self, now: Timestamp) {
        self.is_resumed = true;
        self.now = now.micros();
        self.begun = self.begun.map(|begun| begun.min(self.now)).or(Some(self.now));
        if self.latest > self.now.saturating_add(AHEAD_MAX) {
            for shelf in [&mut self.told, &mut self.untold] {
                shelf.bring_back_to(self.now, self.quiet);
            }
            self.latest = self.now;
        }
    }

    /// When there is something to do, if nothing comes before.
    pub fn due(&self) -> Option<Timestamp> {
        let settled = self.begun.map_or(0, |begun| begun.saturating_add(self.settle));
        let over = self.told.earliest().map(|over| over.max(settled));
        let save = self.told.unsaved_since().map(|since| since.saturating_add(SAVE_EVERY));
        over.into_iter().chain(save).min().map(Timestamp::from_micros)
    }

    /// Whether nothing has to be saved for its own sake.
    pub fn is_patient(&self) -> bool {
        let since = self.told.unsaved_since();
        since.is_none_or(|since| self.now < since.saturating_add(SAVE_EVERY))
    }

    /// The incidents that closed; of those that are due because of the time at most `max`, the others come with the next
    /// call.
    pub fn close(&mut self, max: usize) -> Vec<Event> {
        let is_settled = self
            .begun
            .is_some_and(|begun| self.now >= begun.saturating_add(self.settle));
        while is_settled
            && self.closing.len() < max
            && let Some((due, id)) = self.told.quietest(self.quiet)
            && due <= self.now
        {
            self.end(id, due, None);
        }
        while is_settled
            && let Some((due, id)) = self.untold.quietest(self.quiet)
            && due <= self.now
        {
            self.untold.take(id);
        }
        std::mem::take(&mut self.closing)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
