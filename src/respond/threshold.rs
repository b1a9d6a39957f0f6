//! How often something was so, of each source, within a span of time.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use trapline_schemas::{Event, Field, Timestamp, Value};

use super::settings::ThresholdSpec;

/// Most sources that are counted at once, for one rule. Beyond it those who were quiet longest are forgotten.
const SOURCES_MAX: usize = 65_536;

/// Counts for one rule. Time is that of the events, so a replay comes to the same.
#[derive(Debug)]
pub struct Threshold {
    spec: ThresholdSpec,
    sources: HashMap<IpAddr, VecDeque<Seen>>,
}

/// Something that was so: when last, and a hash of what.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    what: u64,
}

impl Threshold {
    /// Counts nothing yet.
    pub fn new(spec: ThresholdSpec) -> Self {
        Self {
            spec,
            sources: HashMap::new(),
        }
    }

    /// Counts an event; whether there are enough within the time.
    pub fn reached(&mut self, source: IpAddr, event: &Event) -> bool {
        let Some(what) = self.what(event) else { return false };
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            self.make_room(event.at);
        }
        let (count, start) = (self.spec.count, self.start(event.at));
        let seen = self.sources.entry(source).or_default();
        seen.retain(|seen| seen.at > start && seen.what != what);
        seen.push_back(Seen { at: event.at, what });
        while seen.len() > count {
            seen.pop_front();
        }
        seen.len() >= count
    }

    /// What is to differ: a hash of the field's value, or the event's own id where events are counted.
    fn what(&self, event: &Event) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        match self.spec.distinct {
            None => event.id.hash(&mut hasher),
            Some(field) => hash(event.get(field)?, field, &mut hasher),
        }
        Some(hasher.finish())
    }

    fn start(&self, at: Timestamp) -> Timestamp {
        let within = i64::try_from(self.spec.within.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(at.micros().saturating_sub(within))
    }

    /// Forgets sources that count no more, and if all still do, the half that was quiet longest.
    fn make_room(&mut self, now: Timestamp) {
        let start = self.start(now);
        let last = |seen: &VecDeque<Seen>| seen.back().map_or(Timestamp::default(), |seen| seen.at);
        self.sources.retain(|_, seen| last(seen) > start);
        if self.sources.len() < SOURCES_MAX {
            return;
        }
        let mut times: Vec<_> = self.sources.values().map(last).collect();
        let half = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(half);
        let median = *median;
        self.sources.retain(|_, seen| last(seen) > median);
    }
}

fn hash(value: &Value, field: Field, hasher: &mut DefaultHasher) {
    match value {
        Value::Text(text) => text.hash(hasher),
        Value::Int(number) => number.hash(hasher),
        Value::Float(number) => number.to_bits().hash(hasher),
        Value::Bool(yes) => yes.hash(hasher),
        Value::Ip(address) => address.hash(hasher),
        Value::Time(at) => at.hash(hasher),
        Value::Id(id) => id.hash(hasher),
        Value::Bytes(bytes) => bytes.hash(hasher),
        Value::Texts(texts) => texts.hash(hasher),
        Value::Ips(addresses) => addresses.hash(hasher),
        Value::Ints(numbers) => numbers.hash(hasher),
    }
    field.name().hash(hasher);
}
