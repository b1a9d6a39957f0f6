//! The machine against a naive model, with a crash after any event.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use trapline_schemas::{Action, Event, Field, Timestamp};
use uuid::Uuid;

use super::*;

const SECOND: i64 = 1_000_000;
const T0: i64 = 1_700_000_040 * SECOND;
const WINDOW: i64 = 10;

/// What happens to a node.
#[derive(Debug, Clone)]
enum Step {
    /// An event of a source, so many milliseconds after the one before (or before it).
    See(u8, i64),
    /// What is due is told and kept.
    Commit,
    /// Memory is lost; events since the last commit are read again.
    Crash,
    /// The clock says so many seconds more.
    Tick(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, -800..4000_i64).prop_map(|(source, millis)| Step::See(source, millis)),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => (0..15_i64).prop_map(Step::Tick),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        (1..4_u64).prop_map(|limit| Policy::Throttle { limit }),
        Just(Policy::Dedupe),
        Just(Policy::Aggregate { first: First::AtOnce }),
        Just(Policy::Aggregate { first: First::Never }),
    ]
}

fn event(number: usize, source: u8, at: i64) -> Event {
    let mut event = Event::new(
        Uuid::from_u128(number as u128),
        Timestamp::from_micros(at),
        Action::Connect,
    );
    event.set(Field::SourceIp, IpAddr::from([192, 0, 2, source]));
    event.set(Field::UserName, format!("user{}", number % 3));
    event
}

/// A node with the journal that it would have.
struct Node {
    spec: WindowSpec,
    windows: Windows,
    rows: BTreeMap<String, Vec<u8>>,
    /// Events seen since the last commit, and those that went on among them.
    pending: Vec<Event>,
    passing: Vec<Uuid>,
    passed: Vec<Uuid>,
    told: Vec<Event>,
}

impl Node {
    fn new(policy: Policy) -> Self {
        let spec = WindowSpec {
            by: vec![Field::SourceIp],
            window: Duration::from_secs(WINDOW.unsigned_abs()),
            policy,
        };
        Self {
            windows: Windows::restore("node", &spec, Vec::new()).0,
            spec,
            rows: BTreeMap::new(),
            pending: Vec::new(),
            passing: Vec::new(),
            passed: Vec::new(),
            told: Vec::new(),
        }
    }

    fn see(&mut self, event: Event) {
        if self.windows.see(&event) == Verdict::Pass {
            self.passing.push(event.id);
        }
        self.pending.push(event);
    }

    fn commit(&mut self) {
        self.told.extend(self.windows.close(2));
        for (key, row) in self.windows.changes() {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.passed.append(&mut self.passing);
        self.pending.clear();
    }

    fn crash(&mut self) {
        let rows = self.rows.clone().into_iter().collect();
        let (windows, dropped) = Windows::restore("node", &self.spec, rows);
        assert_eq!(dropped, 0);
        self.windows = windows;
        self.passing.clear();
        for event in std::mem::take(&mut self.pending) {
            self.see(event);
        }
    }

    fn finish(&mut self, at: i64) {
        self.windows.tick(Timestamp::from_micros(at));
        while self.windows.due().is_some() {
            self.commit();
        }
        self.commit();
    }
}

proptest! {
    #[test]
    fn every_event_counts_once_whenever_it_crashes(policy in policy(), steps in prop::collection::vec(step(), 0..120)) {
        let mut node = Node::new(policy);
        let (mut now, mut mark) = (T0, 0);
        let mut sources: HashMap<String, i64> = HashMap::new();
        let mut seen = 0;
        for step in steps {
            match step {
                Step::See(source, millis) => {
                    now = (now + millis * 1000).max(T0);
                    node.see(event(seen, source, now));
                    seen += 1;
                    *sources.entry(format!("192.0.2.{source}")).or_default() += 1;
                }
                Step::Commit => node.commit(),
                Step::Crash => node.crash(),
                Step::Tick(secs) => {
                    mark = mark.max(now + secs * SECOND);
                    // The task looks at the clock only right before it commits.
                    node.windows.tick(Timestamp::from_micros(mark));
                    node.commit();
                }
            }
        }
        node.finish(now.max(mark) + 100 * SECOND);
        let held: i64 = node.told.iter().filter_map(|event| event.int(Field::FindingHits)).sum();
        prop_assert_eq!(node.passed.len() as i64 + held, seen as i64);
        let ids: HashSet<_> = node.told.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), node.told.len(), "no id comes twice");
        let passes: HashSet<_> = node.passed.iter().collect();
        prop_assert_eq!(passes.len(), node.passed.len(), "no pass comes twice");
        prop_assert_eq!(node.rows.len(), 1.min(seen.max(node.rows.len())), "closed windows leave nothing behind");
        for told in &node.told {
            let key = told.text(Field::TransformKey).unwrap().as_str();
            *sources.get_mut(key).unwrap() -= told.int(Field::FindingHits).unwrap();
        }
        let left: i64 = sources.values().sum();
        prop_assert_eq!(left, node.passed.len() as i64, "what is not told of went on as itself");
    }

    /// In order and without a crash the machine is a table by source and window.
    #[test]
    fn in_order_it_is_a_table_by_source_and_window(policy in policy(), gaps in prop::collection::vec((0..4_u8, 0..9000_i64), 0..80)) {
        let mut node = Node::new(policy);
        let mut table: BTreeMap<(i64, u8), u64> = BTreeMap::new();
        let mut now = T0;
        for (number, (source, millis)) in gaps.into_iter().enumerate() {
            now += millis * 1000;
            node.see(event(number, source, now));
            *table.entry((now.div_euclid(WINDOW * SECOND), source)).or_default() += 1;
        }
        node.finish(now + 100 * SECOND);
        let passes = policy.passes();
        let expected: u64 = table.values().map(|count| (*count).min(passes)).sum();
        prop_assert_eq!(node.passed.len() as u64, expected);
        let mut held: Vec<_> = table.values().filter_map(|count| count.checked_sub(passes)).filter(|held| *held > 0).collect();
        let mut told: Vec<_> = node.told.iter().filter_map(|event| event.int(Field::FindingHits)).map(i64::unsigned_abs).collect();
        held.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(held, told);
    }

    /// A state row is read by a later run whatever became of it on the disk.
    #[test]
    fn any_bytes_in_a_state_row_are_dropped_or_read(row in prop::collection::vec(any::<u8>(), 0..200), version in 1..4_u8) {
        let mut bytes = format!("{version} 1 2 3 4\n").into_bytes();
        bytes.extend(&row);
        for row in [row, bytes] {
            let spec = Node::new(Policy::Dedupe).spec;
            let (mut windows, dropped) = Windows::restore("node", &spec, vec![(format!("window/node/0/{T0}/x"), row)]);
            windows.tick(Timestamp::from_micros(T0 + 100 * SECOND));
            prop_assert!(windows.close(9).len() + dropped <= 1);
        }
    }
}
