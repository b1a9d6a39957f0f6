//! The events of one key and window, counted.
//!
//! Layout: a line `1 PASSED HELD FIRST LAST`, in a digest `2 PASSED HELD FIRST LAST` and a line of JSON (its
//! [`Tally`]); then the body of the draft of its derived event. A newer line makes the row unreadable for an older
//! version, which drops and counts it; an older one is read for ever.

use trapline_schemas::{Action, Event, Field, codec};

use super::Verdict;
use super::digest::Tally;
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
            tally,
            draft,
            saved: false,
        }
    }

    /// Counts an event; `room` is how many items the lists of all digests still take.
    pub(super) fn count(&mut self, event: &Event, policy: Policy, room: &mut usize) -> Verdict {
        self.saved = false;
        let verdict = match self.passed < policy.passes() {
            true => Verdict::Pass,
            false => Verdict::Hold,
        };
        if verdict == Verdict::Hold || self.tally.is_some() {
            self.stretch(event.at.micros());
        }
        if let Some(tally) = &mut self.tally {
            tally.add(&mut self.draft, event, verdict, room);
        } else if policy == Policy::Dedupe && self.passed == 0 {
            self.draft.set(Field::DigestSample, event.id);
        }
        match verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Hold => self.held += 1,
        }
        verdict
    }

    fn stretch(&mut self, time: i64) {
        let counted = match self.tally {
            Some(_) => self.passed + self.held,
            None => self.held,
        };
        let is_first = counted == 0;
        self.first = if is_first { time } else { self.first.min(time) };
        self.last = if is_first { time } else { self.last.max(time) };
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
            ..
        } = self;
        let version = if self.tally.is_some() { 2 } else { 1 };
        let mut row = format!("{version} {passed} {held} {first} {last}\n").into_bytes();
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
            "2" => {
                let (tally, draft) = self::line(rest)?;
                (Some(Tally::decode(tally)?), draft)
            }
            _ => return None,
        };
        let mut numbers = numbers.split(' ');
        Some(Self {
            passed: numbers.next()?.parse().ok()?,
            held: numbers.next()?.parse().ok()?,
            first: numbers.next()?.parse().ok()?,
            last: numbers.next()?.parse().ok()?,
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
