//! The keys of one window.

use std::collections::HashMap;

use trapline_schemas::Event;

use super::Verdict;
use super::bucket::Bucket;
use super::key::OTHERS;
use super::policy::WindowSpec;

/// One window, open.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) buckets: HashMap<String, Bucket>,
    /// What its buckets take up together of the keys that are told one by one.
    slots: u64,
}

impl Span {
    /// A bucket that the journal kept.
    pub(super) fn restore(&mut self, key: &str, bucket: Bucket) {
        self.slots += bucket.slots;
        self.buckets.insert(key.to_owned(), bucket);
    }

    /// Counts an event of a key; `keys` is how many there are in all windows, `is_full` whether a new one finds no room.
    pub(super) fn see(
        &mut self,
        (node, spec): (&str, &WindowSpec),
        (key, event): (String, &Event),
        (keys, is_full): (&mut usize, bool),
        room: &mut usize,
    ) -> Verdict {
        let key = match self.buckets.contains_key(&key) || !is_full {
            true => key,
            false => OTHERS.to_owned(),
        };
        let left = match key == OTHERS {
            true => 0,
            false => spec.policy.keys().saturating_sub(self.slots),
        };
        let bucket = self.buckets.entry(key).or_insert_with_key(|key| {
            *keys += 1;
            let key = Some(key.as_str()).filter(|_| !is_full);
            Bucket::new(spec.draft(node, event, key), event)
        });
        let before = bucket.slots;
        let verdict = bucket.count(event, spec.policy, left, room);
        self.slots += bucket.slots - before;
        verdict
    }
}
