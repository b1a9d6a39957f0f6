//! What a damaged file had held, and what of it is missing in the new one.

use crate::journal::Offset;
use crate::journal::index::Seen;
use crate::journal::settings::Missing;
use crate::journal::skipped::Skipped;

/// The offsets that the damaged file had held, as far as can be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The first of them; `None` if nothing says how far the trim had come.
    pub first: Option<Offset>,
    /// The offset after the last.
    pub next: Offset,
    /// Whether something says how far it went.
    pub sure: bool,
}

/// What speaks of the end of a file whose newest row is in doubt.
#[derive(Debug)]
pub(super) struct Clues {
    /// The offset after the newest row found.
    pub found: Offset,
    /// The offset given last, as the file says.
    pub given: Option<Offset>,
    /// What the index had seen.
    pub seen: Seen,
}

impl Extent {
    /// A file that begins at `anchor`, if that can be read. No clue counts beyond `resumed`, where the new file goes on:
    /// what the index had seen from there on is told by the start.
    pub fn of(anchor: Option<Offset>, resumed: Offset, clues: &Clues) -> Self {
        let (oldest, seen) = match clues.seen {
            Seen::Until { oldest, next } => (oldest, Some(next)),
            Seen::Never | Seen::Unknown => (None, None),
        };
        let given = clues
            .given
            .map(|given| given.saturating_add(1))
            .filter(|next| *next <= resumed);
        let known = seen.max(given);
        Self {
            first: anchor.or(oldest),
            next: known.unwrap_or(0).max(clues.found).min(resumed),
            sure: known.is_some(),
        }
    }

    /// A salvage that an earlier run began: what was skipped before `resumed` says how far the file went.
    pub fn again(anchor: Offset, resumed: Offset, skipped: &Skipped, sure: bool) -> Self {
        Self {
            first: Some(anchor),
            next: skipped.before(resumed).unwrap_or(resumed),
            sure,
        }
    }

    /// Where entries are missing before `place`, given the offset after the one before it, 0 if there is none.
    pub fn hole(&self, behind: Offset, place: Offset) -> Option<(Offset, Offset)> {
        let from = if behind == 0 {
            self.first.unwrap_or(place)
        } else {
            behind
        };
        (from < place).then(|| (from, place - 1))
    }
}

impl Missing {
    /// Adds a hole beyond those before.
    pub(super) fn add(&mut self, (first, last): (Offset, Offset)) {
        if self.count == 0 {
            self.first = first;
        }
        self.last = last;
        self.count += last - first + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_clue_says_how_far_a_file_went_and_without_one_nobody_is_sure() {
        let of = |given, seen| {
            let clues = Clues { found: 50, given, seen };
            let extent = Extent::of(Some(1), 1000, &clues);
            (extent.next, extent.sure)
        };
        let until = |next| Seen::Until { oldest: None, next };
        assert_eq!(of(None, Seen::Unknown), (50, false));
        assert_eq!(of(None, until(80)), (80, true));
        assert_eq!(of(Some(89), until(80)), (90, true));
        assert_eq!(of(Some(9), until(20)), (50, true), "what was found was there");
        assert_eq!(
            of(Some(u64::MAX), Seen::Never),
            (50, false),
            "beyond what the file could hold"
        );
        assert_eq!(of(None, until(2000)), (1000, true), "the start tells the rest");
    }

    #[test]
    fn nothing_is_missing_before_the_first_row_where_nobody_knows_how_far_the_trim_came() {
        let mut extent = Extent {
            first: None,
            next: 90,
            sure: true,
        };
        assert_eq!(
            (extent.hole(0, 7), extent.hole(5, 7), extent.hole(7, 7)),
            (None, Some((5, 6)), None)
        );
        extent.first = Some(3);
        assert_eq!(extent.hole(0, 7), Some((3, 6)));
    }
}
