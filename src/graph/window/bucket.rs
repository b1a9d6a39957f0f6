//! The events of one key and window, counted.
//!
//! Layout: a line `1 PASSED HELD FIRST LAST`, in a digest `2 PASSED HELD FIRST LAST` and a line of JSON (its
//! [`Tally`]), in notices of which something was told `3 PASSED HELD FIRST LAST TOLD SLOTS` and that; then the body of the draft of its derived
//! event. A newer line makes the row unreadable for an older
//! version, which drops and counts it; an older one is read for ever.

use std::net::IpAddr;

use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec};

use super::Verdict;
use super::digest::Tally;
use super::notices::{self, Claim};
use super::policy::Policy;

/// Counts of one key and window.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Events that went on as themselves.
    pub(super) passed: u64,
    /// Events that the derived event stands for.
    pub(super) held: u64,
    /// Earliest and latest time, microseconds: of all events in a digest, else of those held back.
    pub(super) first: i64,
    pub(super) last: i64,
    /// In notices, the gravest that was told at once; 0: nothing.
    pub(super) told: u8,
    /// In notices, how many of the window's keys that are told one by one it takes up.
    pub(super) slots: u64,
    /// What is known of them besides, in a digest.
    pub(super) tally: Option<Tally>,
    pub(super) draft: Event,
    /// Whether the journal has it as it stands.
    pub(super) saved: bool,
}

impl Bucket {
    pub(super) fn new(mut draft: Event, first: &Event) -> Self {
        let tally = (draft.action == Action::Digest).then(|| Tally::begin(&mut draft, first));
        Self {
            passed: 0,
            held: 0,
            first: 0,
            last: 0,
            told: 0,
            slots: 0,
            tally,
            draft,
            saved: false,
        }
    }

    /// Counts an event; `room` is how many items the lists of all digests still take, `left` how many more keys of the
    /// window are told one by one.
    pub(super) fn count(&mut self, event: &Event, policy: Policy, left: u64, room: &mut usize) -> Verdict {
        self.saved = false;
        let claim = policy.claim(event);
        let verdict = match claim {
            Some(claim) => self.grant(claim, left > claim.kept_of(policy.keys())),
            None if self.passed < policy.passes() => Verdict::Pass,
            None => Verdict::Hold,
        };
        if verdict == Verdict::Hold || self.tally.is_some() {
            self.stretch(span(event, claim.is_some() && notices::is_sum(event)));
        }
        if let Some(tally) = &mut self.tally {
            tally.add(&mut self.draft, event, room);
            match (verdict, claim) {
                (Verdict::Pass, _) => {}
                (Verdict::Hold, None) => tally.count(event.action_name(), 1),
                (Verdict::Hold, Some(_)) => tally.count_sum(event, room),
            }
        } else if policy == Policy::Dedupe && self.passed == 0 {
            self.draft.set(Field::DigestSample, event.id);
        }
        match verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Hold if claim.is_some() => self.held = self.held.saturating_add(notices::weight(event)),
            Verdict::Hold => self.held += 1,
        }
        verdict
    }

    /// Whether an event of notices goes on at once.
    fn grant(&mut self, claim: Claim, is_free: bool) -> Verdict {
        let (grave, takes) = match claim {
            Claim::Sum => (self.told, true),
            Claim::Grave(grave) if grave > self.told => (grave, self.told == 0),
            Claim::Grave(_) | Claim::Digest | Claim::Silent => return Verdict::Hold,
        };
        if takes && !is_free {
            return Verdict::Hold;
        }
        self.told = grave;
        self.slots += u64::from(takes);
        Verdict::Pass
    }

    fn stretch(&mut self, (first, last): (i64, i64)) {
        let counted = match self.tally {
            Some(_) => self.passed + self.held,
            None => self.held,
        };
        let is_first = counted == 0;
        self.first = if is_first { first } else { self.first.min(first) };
        self.last = if is_first { last } else { self.last.max(last) };
    }

    /// Takes in what another key of the same window counted.
    pub(super) fn absorb(&mut self, other: Self) {
        self.passed += other.passed;
        self.held = self.held.saturating_add(other.held);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        if let (Some(tally), Some(theirs)) = (&mut self.tally, other.tally) {
            tally.absorb(&mut self.draft, theirs, &other.draft);
        }
    }

    /// The highest level of touch, from 1; 0: none.
    pub(super) fn level(&self) -> usize {
        self.tally.as_ref().map_or(0, |tally| tally.level)
    }

    /// The sources it knows of.
    pub(super) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        let listed = self.tally.iter().flat_map(|tally| tally.sources.iter().copied());
        // Where lists were full, its draft still says whose key it is.
        listed.chain(self.draft.ip(Field::SourceIp))
    }

    /// Items in its lists.
    pub(super) fn items(&self) -> usize {
        self.tally.as_ref().map_or(0, Tally::items)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Self {
            passed,
            held,
            first,
            last,
            told,
            slots,
            ..
        } = self;
        let counts = format!("{passed} {held} {first} {last}");
        let line = match (&self.tally, slots) {
            (None, _) => format!("1 {counts}\n"),
            (Some(_), 0) => format!("2 {counts}\n"),
            (Some(_), _) => format!("3 {counts} {told} {slots}\n"),
        };
        let mut row = line.into_bytes();
        if let Some(tally) = &self.tally {
            row.extend(tally.encode());
            row.push(b'\n');
        }
        codec::encode_into(&self.draft, &mut row);
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (line, rest) = line(row)?;
        let line = std::str::from_utf8(line).ok()?;
        let (version, numbers) = line.split_once(' ')?;
        let (tally, draft) = match version {
            "1" => (None, rest),
            "2" | "3" => {
                let (tally, draft) = self::line(rest)?;
                (Some(Tally::decode(tally)?), draft)
            }
            _ => return None,
        };
        let mut numbers = numbers.split(' ');
        let has_slots = version == "3";
        Some(Self {
            passed: numbers.next()?.parse().ok()?,
            held: numbers.next()?.parse().ok()?,
            first: numbers.next()?.parse().ok()?,
            last: numbers.next()?.parse().ok()?,
            told: if has_slots { numbers.next()?.parse().ok()? } else { 0 },
            slots: if has_slots { numbers.next()?.parse().ok()? } else { 0 },
            tally,
            draft: codec::decode(draft).ok()?,
            saved: true,
        })
    }
}

/// The first line, and what follows it.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// From when to when an event is; of a sum, from when to when what it counts was.
fn span(event: &Event, is_sum: bool) -> (i64, i64) {
    let at = event.at.micros();
    let time = |field| match event.get(field) {
        Some(Value::Time(time)) if is_sum => Timestamp::micros(*time).min(at),
        _ => at,
    };
    (time(Field::EventStart), time(Field::EventEnd))
}
