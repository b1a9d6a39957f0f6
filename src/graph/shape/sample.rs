//! `sample`: one event in so many, chosen by what it is and not by when it is asked.

use trapline_schemas::{Event, Field};

use super::Shaped;
use crate::graph::condition::Condition;
use crate::graph::window::key_of;

/// The settings of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSpec {
    /// One in so many goes on, 1 or more.
    pub one_in: u64,
    /// The fields by whose values it is chosen, so that what belongs together stays together; none: by event.
    pub by: Vec<Field>,
    /// What goes on in any case.
    pub keep: Option<String>,
}

/// A sample at work.
#[derive(Debug)]
pub struct Sample {
    node: String,
    spec: SampleSpec,
    keep: Option<Condition>,
}

impl Sample {
    /// A sample; `keep` is the compiled condition of `spec`.
    pub fn new(node: &str, spec: &SampleSpec, keep: Option<Condition>) -> Self {
        Self {
            node: node.to_owned(),
            spec: spec.clone(),
            keep,
        }
    }

    /// The condition under which an event goes on in any case.
    pub fn keep(&self) -> Option<&Condition> {
        self.keep.as_ref()
    }

    pub(super) fn shape(&self, event: &Event) -> Shaped {
        if self.spec.one_in <= 1 || self.keep.as_ref().is_some_and(|keep| keep.holds(event)) {
            return Shaped::Same;
        }
        if !self.draw(event).is_multiple_of(self.spec.one_in) {
            return Shaped::Dropped;
        }
        let mut chosen = event.clone();
        let before = event.int(Field::SampleOneIn).unwrap_or(1).max(1);
        let one_in = i64::try_from(self.spec.one_in).unwrap_or(i64::MAX);
        chosen.set(Field::SampleOneIn, before.saturating_mul(one_in));
        Shaped::Changed(Box::new(chosen))
    }

    /// The event's number in the lottery. The node's name takes part: one sample behind another chooses anew.
    fn draw(&self, event: &Event) -> u64 {
        let seed = fnv(0xcbf2_9ce4_8422_2325, self.node.as_bytes());
        let hash = match &self.spec.by[..] {
            [] => fnv(seed, event.id.as_bytes()),
            by => fnv(seed, key_of(by, event).as_bytes()),
        };
        mixed(hash)
    }
}

/// FNV-1a, going on from `hash`.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(hash, step)
}

/// The finish of SplitMix64: each bit of the result hangs on all of the hash.
const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
