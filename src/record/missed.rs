//! What the kernel dropped before a decoy could read it: counted by decoy, told once a minute.
//!
//! Bounded: one count per decoy of the configuration.

use trapline_schemas::Timestamp;

use super::sources::minute;
use crate::roles::Missed;

/// Counts that are not told yet, one per decoy.
#[derive(Debug, Default)]
pub(super) struct Misses(Vec<Missed>);

impl Misses {
    /// Adds to the count of a decoy; several of its sockets make one count.
    pub(super) fn add(&mut self, missed: Missed) {
        let same = |count: &&mut Missed| count.spec.name == missed.spec.name;
        let Some(count) = self.0.iter_mut().find(same) else {
            return self.0.push(missed);
        };
        count.datagrams += missed.datagrams;
        count.first = count.first.min(missed.first);
        count.last = count.last.max(missed.last);
    }

    /// Whether any count is waiting to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every count, still open.
    pub(super) fn open(&self) -> impl Iterator<Item = &Missed> {
        self.0.iter()
    }

    /// Counts that began in minutes before that of `now`.
    pub(super) fn before(&mut self, now: Timestamp) -> Vec<Missed> {
        let this_minute = minute(now);
        let over = |count: &mut Missed| minute(count.first) != this_minute;
        logged(self.0.extract_if(.., over).collect())
    }

    /// Every count there is.
    pub(super) fn all(&mut self) -> Vec<Missed> {
        logged(std::mem::take(&mut self.0))
    }
}

/// Says in the log what the journal is about to be told.
fn logged(counts: Vec<Missed>) -> Vec<Missed> {
    for count in &counts {
        tracing::warn!(
            decoy.name = %count.spec.name,
            datagrams.dropped = count.datagrams,
            "the kernel dropped datagrams because they came faster than they were read"
        );
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decoy::testing::spec;

    #[test]
    fn a_decoy_is_told_of_once_a_minute_however_often_it_missed_something() {
        let spec = Arc::new(spec("service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n"));
        let at = |second: i64| Timestamp::from_micros((1_772_600_400 + second) * 1_000_000);
        let (mut misses, mut told) = (Misses::default(), Vec::new());
        for second in 0..180 {
            told.extend(misses.before(at(second)));
            misses.add(Missed {
                spec: Arc::clone(&spec),
                datagrams: 2,
                first: at(second),
                last: at(second),
            });
        }
        let counts: Vec<_> = told.iter().map(|count| (count.datagrams, count.last)).collect();
        assert_eq!(counts, [(120, at(59)), (120, at(119))]);
        assert_eq!(misses.all().iter().map(|count| count.datagrams).sum::<u64>(), 120);
        assert!(misses.is_empty());
    }
}
