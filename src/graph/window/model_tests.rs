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
            by: match policy {
                Policy::Notices(_) => Vec::new(),
                _ => vec![Field::SourceIp],
            },
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

/// What a source does, as far as notices go by it.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Contact,
    Intent,
    Proof,
    End,
    Benign,
    Head,
    /// A digest of so many.
    Sum(i64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => Just(Deed::Contact),
        3 => Just(Deed::Intent),
        2 => Just(Deed::Proof),
        1 => Just(Deed::End),
        1 => Just(Deed::Benign),
        1 => Just(Deed::Head),
        1 => (1..9_i64).prop_map(Deed::Sum),
    ]
}

impl Deed {
    fn event(self, number: usize, source: u8, at: i64) -> Event {
        let mut event = event(number, source, at);
        let (action, level) = match self {
            Self::Contact => (Action::Connect, "contact"),
            Self::Intent => (Action::Handshake, "intent"),
            Self::Proof | Self::Benign => (Action::Credential, "proof"),
            Self::End => (Action::SessionEnd, "proof"),
            Self::Head => (Action::ChainHead, "contact"),
            Self::Sum(_) => (Action::Digest, "intent"),
        };
        event.action = action;
        event.set(Field::TouchLevel, level);
        if let Self::Sum(hits) = self {
            event.set(Field::FindingHits, hits);
        }
        event.set_some(Field::BenignName, matches!(self, Self::Benign).then_some("printer"));
        event
    }

    fn weight(self) -> i64 {
        match self {
            Self::Benign | Self::Head => 0,
            Self::Sum(hits) => hits,
            _ => 1,
        }
    }
}

/// What a key of a window comes to, by hand.
#[derive(Debug, Default, Clone)]
struct Tally {
    told: usize,
    slots: u64,
    level: usize,
    passed: i64,
    held: i64,
}

/// All windows by hand: what went on, and digests as window, key, hits and passes.
#[derive(Debug, Default)]
struct ByHand {
    windows: BTreeMap<i64, BTreeMap<String, Tally>>,
    passed: Vec<Uuid>,
    digests: Vec<(i64, String, i64, i64)>,
}

impl ByHand {
    fn see(&mut self, rules: NoticeRules, deed: Deed, (number, source, at): (usize, u8, i64)) {
        if deed.weight() == 0 {
            return;
        }
        let window = self.windows.entry(at.div_euclid(WINDOW * SECOND)).or_default();
        let used: u64 = window.values().map(|tally| tally.slots).sum();
        let tally = window.entry(format!("192.0.2.{source}")).or_default();
        let (grave, level) = match deed {
            Deed::Intent => (1, 2),
            Deed::Proof => (2, 3),
            Deed::End => (0, 3),
            Deed::Sum(_) => (0, 2),
            _ => (0, 1),
        };
        tally.level = tally.level.max(level);
        let is_sum = matches!(deed, Deed::Sum(_));
        let is_news = rules.first == First::AtOnce && grave > tally.told;
        let takes = is_sum || tally.told == 0;
        let kept = if is_sum || grave == 1 { rules.keys / 4 } else { 0 };
        let is_free = used + kept < rules.keys;
        if (is_sum || is_news) && (!takes || is_free) {
            tally.slots += u64::from(takes);
            tally.told = tally.told.max(grave);
            tally.passed += 1;
            self.passed.push(Uuid::from_u128(number as u128));
        } else {
            tally.held += deed.weight();
        }
    }

    fn finish(&mut self, rules: NoticeRules) {
        for (at, keys) in std::mem::take(&mut self.windows) {
            let mut free = rules.keys.saturating_sub(keys.values().map(|tally| tally.slots).sum());
            let mut keys: Vec<_> = keys.into_iter().filter(|(_, tally)| tally.held > 0).collect();
            keys.sort_by_key(|(_, tally)| (-(tally.level as i64), -tally.held));
            let mut others = None;
            for (key, tally) in keys {
                if tally.slots > 0 || free > 0 {
                    free = free.saturating_sub(u64::from(tally.slots == 0));
                    self.digests.push((at, key, tally.held, tally.passed));
                } else {
                    *others.get_or_insert(0) += tally.held;
                }
            }
            self.digests
                .extend(others.map(|held| (at, "(others)".to_owned(), held, 0)));
        }
        self.digests.sort();
        self.passed.sort();
    }
}

fn rules() -> impl Strategy<Value = NoticeRules> {
    (1..6_u64, any::<bool>()).prop_map(|(keys, at_once)| NoticeRules {
        first: if at_once { First::AtOnce } else { First::Never },
        keys,
        benign: false,
    })
}

/// Window, key, hits and passes of each digest.
fn listed(told: &[Event]) -> Vec<(i64, String, i64, i64)> {
    let one = |event: &Event| {
        (
            event.at.micros().div_euclid(WINDOW * SECOND) - 1,
            event.text(Field::TransformKey).unwrap().to_string(),
            event.int(Field::FindingHits).unwrap(),
            event.int(Field::DigestPassed).unwrap(),
        )
    };
    let mut listed: Vec<_> = told.iter().map(one).collect();
    listed.sort();
    listed
}

proptest! {
    /// Whatever the process is killed between, a person is told the same: that of a table made by hand.
    #[test]
    fn notices_are_a_table_made_by_hand_whenever_it_crashes(
        rules in rules(),
        steps in prop::collection::vec((deed(), 0..6_u8, 0..3000_i64, 0..8_u8), 0..150),
    ) {
        let mut node = Node::new(Policy::Notices(rules));
        let (mut hand, mut now) = (ByHand::default(), T0);
        for (number, (deed, source, millis, then)) in steps.into_iter().enumerate() {
            now += millis * 1000;
            node.see(deed.event(number, source, now));
            hand.see(rules, deed, (number, source, now));
            match then {
                0..3 => node.commit(),
                3 => node.crash(),
                _ => {}
            }
        }
        node.finish(now + 100 * SECOND);
        hand.finish(rules);
        node.passed.sort();
        prop_assert_eq!(&node.passed, &hand.passed);
        prop_assert_eq!(listed(&node.told), hand.digests);
        let ids: HashSet<_> = node.told.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), node.told.len(), "no id comes twice");
        prop_assert!(node.rows.len() <= 1, "closed windows leave nothing behind");
    }

    /// Also with late events, a clock that runs ahead and windows that change their length.
    #[test]
    fn none_is_lost_to_the_count_of_notices(
        rules in rules(),
        steps in prop::collection::vec((deed(), 0..6_u8, -800..4000_i64, 0..10_u8), 0..120),
    ) {
        let mut node = Node::new(Policy::Notices(rules));
        let (mut now, mut mark, mut all) = (T0, 0, 0);
        let mut weights = HashMap::new();
        for (number, (deed, source, millis, then)) in steps.into_iter().enumerate() {
            now = (now + millis * 1000).max(T0);
            let event = deed.event(number, source, now);
            weights.insert(event.id, deed.weight());
            all += deed.weight();
            node.see(event);
            match then {
                0..3 => node.commit(),
                3 => node.crash(),
                4 => {
                    mark = mark.max(now + 7 * SECOND);
                    node.windows.tick(Timestamp::from_micros(mark));
                    node.commit();
                }
                5 => {
                    let other = if node.spec.window.as_secs() == 10 { 7 } else { 10 };
                    node.spec.window = Duration::from_secs(other);
                    node.crash();
                }
                _ => {}
            }
        }
        node.finish(now.max(mark) + 100 * SECOND);
        let held: i64 = node.told.iter().filter_map(|event| event.int(Field::FindingHits)).sum();
        let passed: i64 = node.passed.iter().map(|id| weights[id]).sum();
        prop_assert_eq!(held + passed, all);
        let ids: HashSet<_> = node.told.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), node.told.len(), "no id comes twice");
        let passes: HashSet<_> = node.passed.iter().collect();
        prop_assert_eq!(passes.len(), node.passed.len(), "no pass comes twice");
        for told in &node.told {
            let Some(trapline_schemas::Value::Texts(actions)) = told.get(Field::DigestActions) else {
                panic!("counts by action");
            };
            let counts = actions.iter().filter_map(|text| text.rsplit_once('=')?.1.parse::<i64>().ok());
            prop_assert_eq!(Some(counts.sum()), told.int(Field::FindingHits));
        }
    }
}
