//! Incidents, followed.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use trapline_schemas::Action;
use trapline_schemas::derive::state::State;

use super::rows::row_key;
use super::*;

const SECOND: i64 = 1_000_000;
const T0: i64 = 1_700_000_040 * SECOND;
const QUIET: i64 = 100;

const COUNTS: Way = Way {
    counts: true,
    tells: false,
};
const TELLS: Way = Way {
    counts: false,
    tells: true,
};
const BOTH: Way = Way {
    counts: true,
    tells: true,
};

fn spec() -> FollowSpec {
    FollowSpec::after(Duration::from_secs(QUIET.unsigned_abs()))
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(T0 + secs * SECOND)
}

fn id(incident: u32) -> Uuid {
    Uuid::from_u128(u128::from(incident) + 1)
}

fn touch(secs: i64, incident: u32, level: &str) -> Event {
    let mut event = Event::new(Uuid::nil(), at(secs), Action::Connect);
    event.set(Field::IncidentId, id(incident));
    event.set(
        Field::SourceIp,
        std::net::IpAddr::from((0x0a00_0000 + incident).to_be_bytes()),
    );
    event.set(Field::SourceZone, "inside");
    event.set(Field::ObserverName, "lure-1");
    event.set(Field::TouchLevel, level);
    event
}

/// A watch, with the journal it would have.
struct Node {
    incidents: Incidents,
    rows: BTreeMap<String, Vec<u8>>,
    entries: Vec<(Offset, Event, Way)>,
    head: Offset,
    cursor: Offset,
    told: Vec<Event>,
    /// Rows written, but that of the node as a whole.
    written: usize,
}

impl Node {
    fn new() -> Self {
        Self {
            incidents: Incidents::restore("follow/pager", &spec(), Vec::new()).0,
            rows: BTreeMap::new(),
            entries: Vec::new(),
            head: 1,
            cursor: 1,
            told: Vec::new(),
            written: 0,
        }
    }

    fn see(&mut self, event: Event, way: Way) {
        self.incidents.see(self.head, &event, way);
        self.entries.push((self.head, event, way));
        self.head += 1;
    }

    /// A commit as the task makes it, whether or not it would wait.
    fn commit(&mut self) {
        self.told.extend(self.incidents.close(3));
        for (key, row) in self.incidents.changes(self.head) {
            self.written += usize::from(row.is_some() && key != "follow/pager");
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.cursor = self.head;
    }

    fn tick(&mut self, secs: i64) {
        self.incidents.tick(at(secs));
        self.commit();
    }

    /// Begins anew from the rows, and reads again what is still there.
    fn crash(&mut self) {
        let rows = self.rows.clone().into_iter().collect();
        let (incidents, dropped) = Incidents::restore("follow/pager", &spec(), rows);
        assert_eq!(dropped, 0);
        self.incidents = incidents;
        let from = self
            .incidents
            .reads_from()
            .map_or(self.cursor, |from| from.min(self.cursor));
        for (offset, event, way) in self.entries.iter().filter(|(offset, ..)| *offset >= from) {
            self.incidents.see(*offset, event, *way);
            if *offset < self.cursor {
                assert!(self.incidents.close(9).is_empty(), "nothing closes before all is read");
                assert!(self.incidents.changes(*offset).is_empty());
            }
        }
    }

    fn finish(&mut self, secs: i64) {
        self.tick(secs);
        while self.incidents.due().is_some() {
            self.commit();
        }
        self.commit();
    }
}

#[test]
fn an_incident_closes_once_after_its_quiet_with_what_is_known_of_it() {
    let mut node = Node::new();
    let mut first = touch(0, 1, "contact");
    first.set(Field::IncidentPrevious, id(9));
    node.see(first, COUNTS);
    node.see(touch(5, 1, "proof"), COUNTS);
    node.see(touch(5, 1, "proof"), TELLS);
    node.see(touch(20, 1, "contact"), COUNTS);
    node.tick(119);
    assert!(node.told.is_empty(), "not a second early");
    assert_eq!(node.incidents.due().unwrap().max(at(120)), at(120));
    node.tick(120);
    node.tick(500);
    let [closed] = &node.told[..] else {
        panic!("{:?}", node.told)
    };
    assert_eq!((closed.action, closed.at), (Action::IncidentClosed, at(120)));
    assert_eq!(
        closed.int(Field::FindingHits),
        Some(3),
        "the telling is no event of its own"
    );
    assert_eq!(closed.get(Field::EventStart), Some(&Value::Time(at(0))));
    assert_eq!(closed.get(Field::EventEnd), Some(&Value::Time(at(20))));
    assert_eq!(closed.text(Field::TouchLevel).unwrap(), "proof");
    assert_eq!(closed.uuid(Field::IncidentId), Some(id(1)));
    assert_eq!(closed.uuid(Field::IncidentPrevious), Some(id(9)));
    assert_eq!(closed.ip(Field::SourceIp).unwrap().to_string(), "10.0.0.1");
    assert_eq!(closed.text(Field::SourceZone).unwrap(), "inside");
    assert_eq!(closed.text(Field::EventReason).unwrap(), "quiet for 1m40s");
    assert_eq!(closed.text(Field::TransformName).unwrap(), "follow/pager");
    assert!(!closed.action.is_touch());
    node.commit();
    assert_eq!(
        node.rows.keys().collect::<Vec<_>>(),
        ["follow/pager"],
        "nothing is left behind"
    );
}

#[test]
fn of_an_incident_that_the_sink_was_not_told_of_it_is_told_no_end() {
    let mut node = Node::new();
    node.see(touch(0, 1, "contact"), COUNTS);
    node.see(touch(1, 2, "contact"), Way::default());
    node.finish(1000);
    assert!(node.told.is_empty());
    assert_eq!(node.written, 0);
}

#[test]
fn who_comes_again_after_the_end_opens_the_incident_anew_and_it_closes_again() {
    let mut node = Node::new();
    for secs in [0, 100, 150] {
        node.see(touch(secs, 1, "proof"), BOTH);
    }
    node.finish(1000);
    let ends: Vec<_> = node.told.iter().map(|closed| closed.at).collect();
    assert_eq!(
        ends,
        [at(100), at(250)],
        "also where the clock was not asked in between"
    );
    assert_ne!(node.told[0].id, node.told[1].id);
    let hits: Vec<_> = node.told.iter().map(|closed| closed.int(Field::FindingHits)).collect();
    assert_eq!(hits, [Some(1), Some(2)]);
}

#[test]
fn a_digest_is_as_many_events_as_it_says_and_lasts_as_long() {
    let mut node = Node::new();
    let mut digest = touch(900, 1, "proof");
    digest.action = Action::Digest;
    digest.set(Field::FindingHits, 412_i64);
    digest.set(Field::EventStart, at(10));
    digest.set(Field::EventEnd, at(880));
    node.see(digest, TELLS);
    node.finish(2000);
    assert_eq!(node.told[0].at, at(980));
    assert_eq!(node.told[0].int(Field::FindingHits), Some(412));
    assert_eq!(node.told[0].get(Field::EventStart), Some(&Value::Time(at(10))));
}

/// What was decided about an incident, to last until `until`.
fn decided(secs: i64, decision: u128, state: State, until: i64) -> Event {
    let mut event = touch(secs, 1, "");
    event.action = Action::Decided;
    event.remove(Field::TouchLevel);
    event.set(Field::ResponseId, Uuid::from_u128(decision));
    event.set(Field::ResponseState, state.name());
    event.set(Field::ResponseExpires, at(until));
    event
}

#[test]
fn an_incident_does_not_end_before_the_last_decision_about_it() {
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    node.see(decided(1, 7, State::Decided, 3000), Way::default());
    node.see(decided(2, 8, State::Approved, 2000), Way::default());
    node.see(decided(3, 8, State::Extended, 5000), Way::default());
    node.tick(4999);
    node.crash();
    node.tick(4999);
    assert!(node.told.is_empty());
    node.finish(5000);
    assert_eq!(node.told[0].at, at(5000));
}

#[test]
fn a_decision_that_ends_before_its_time_lets_go_and_another_one_holds_on() {
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    node.see(decided(1, 7, State::Decided, 5000), Way::default());
    node.see(decided(2, 8, State::Decided, 900), Way::default());
    node.see(decided(600, 7, State::Ended, 5000), Way::default());
    node.tick(899);
    node.crash();
    node.tick(899);
    assert!(node.told.is_empty());
    node.see(decided(899, 8, State::Ended, 900), Way::default());
    node.finish(900);
    assert_eq!(node.told.len(), 1);
    assert_eq!(node.told[0].at, at(899));
}

#[test]
fn what_was_not_decided_holds_nothing() {
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    for state in [State::Observed, State::Proposed, State::Rejected, State::Refused] {
        node.see(decided(1, 7, state, 5000), Way::default());
    }
    let mut open = decided(1, 7, State::Extended, 5000);
    open.set(Field::ResponseDryRun, true);
    node.see(open, Way::default());
    let mut block = decided(1, 7, State::Enforced, 5000);
    block.action = Action::Block;
    node.see(block, Way::default());
    node.finish(5000);
    assert_eq!(node.told[0].at, at(100));
}

#[test]
fn what_is_done_about_a_source_opens_nothing_and_makes_nothing_last() {
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    node.see(decided(90, 7, State::Observed, 5000), COUNTS);
    node.tick(101);
    assert_eq!(node.told[0].at, at(100));
    node.see(decided(200, 7, State::Ended, 5000), COUNTS);
    node.finish(1000);
    assert_eq!(node.told.len(), 1, "nobody came again");
}

#[test]
fn a_sink_that_was_told_of_a_decision_alone_is_told_of_the_end_as_well() {
    let mut node = Node::new();
    node.see(decided(10, 7, State::Decided, 500), BOTH);
    node.finish(1000);
    assert_eq!(node.told[0].at, at(500));
}

#[test]
fn when_too_many_are_open_the_quietest_goes_and_says_so_if_the_sink_was_told_of_it() {
    let mut node = Node::new();
    let most = u32::try_from(OPEN_MAX).unwrap();
    node.tick(0);
    for incident in 0..most {
        let way = if incident == 7 { COUNTS } else { BOTH };
        node.see(touch(i64::from(incident) / 1000, incident, "contact"), way);
    }
    node.see(touch(50, 0, "contact"), BOTH);
    node.see(touch(51, most, "contact"), BOTH);
    assert!(
        node.incidents.close(9).is_empty(),
        "the one that it was not told of goes first"
    );
    node.see(touch(61, most + 1, "contact"), BOTH);
    let early = node.incidents.close(9);
    assert_eq!(early.len(), 1);
    assert_eq!(early[0].uuid(Field::IncidentId), Some(id(1)), "0 came again");
    let reason = early[0].text(Field::EventReason).unwrap();
    assert_eq!(reason, "closed early, quiet for 1m1s: 50000 incidents are open");
    assert_eq!(node.incidents.told.len() + node.incidents.untold.len(), OPEN_MAX);
}

#[test]
fn a_clock_that_was_years_ahead_keeps_no_incident_open_for_years() {
    let mut node = Node::new();
    let year = 31_000_000;
    node.tick(0);
    node.see(touch(year, 1, "proof"), BOTH);
    node.tick(year);
    node.crash();
    node.tick(30);
    assert_eq!(node.incidents.due().unwrap().min(at(130)), at(130));
    node.tick(130);
    assert_eq!(node.told.len(), 1);
    // And one that only ran ahead closes what is open, once.
    node.see(touch(140, 2, "proof"), BOTH);
    node.tick(year);
    node.tick(150);
    node.finish(2 * year);
    assert_eq!(node.told.len(), 2);
}

#[test]
fn what_the_sink_was_told_of_is_saved_within_a_minute_so_that_a_trim_takes_none_of_it() {
    let mut node = Node::new();
    node.tick(0);
    node.see(touch(1, 1, "proof"), BOTH);
    node.see(touch(1, 2, "contact"), COUNTS);
    node.tick(1);
    assert!(node.incidents.is_patient());
    assert_eq!(node.incidents.due(), Some(at(60)), "it asks for it by itself");
    node.tick(60);
    assert!(node.rows.contains_key(&row_key("follow/pager", id(1))));
    assert_eq!(node.written, 1, "what nobody was told of is read again, or forgotten");
    node.entries.clear();
    node.crash();
    node.finish(1000);
    assert_eq!(node.told.len(), 1);
    assert_eq!(node.told[0].at, at(101));
}

#[test]
fn a_busy_hour_writes_a_row_a_minute_for_each_incident_and_not_one_for_each_event() {
    let mut node = Node::new();
    let (seconds, rate) = (600, 50);
    for n in 0..seconds * rate {
        let way = if n % 10 < 3 { BOTH } else { COUNTS };
        node.see(touch(n / rate, u32::try_from(n % 10).unwrap(), "intent"), way);
        if n % 256 == 0 {
            node.incidents.tick(at(n / rate));
            if !node.incidents.is_patient() {
                node.commit();
            }
        }
    }
    assert!(
        (27..=33).contains(&node.written),
        "{} rows of three incidents",
        node.written
    );
}

#[test]
fn after_a_start_nothing_closes_before_digests_that_were_due_have_come() {
    let spec = FollowSpec {
        settle: Duration::from_secs(5),
        ..spec()
    };
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    node.tick(60);
    let rows = node.rows.clone().into_iter().collect();
    node.incidents = Incidents::restore("follow/pager", &spec, rows).0;
    node.tick(500);
    assert!(node.told.is_empty());
    assert_eq!(node.incidents.due(), Some(at(505)));
    node.tick(505);
    assert_eq!(node.told[0].at, at(100));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    See(u32, i64, Way),
    /// Entries that are none of the watch's.
    Skip(Offset),
    Commit,
    Tick(i64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let way = prop::sample::select(vec![COUNTS, COUNTS, TELLS, BOTH]);
    prop_oneof![
        8 => (0..5_u32, 0..40_i64, way).prop_map(|(incident, secs, way)| Step::See(incident, secs, way)),
        1 => (1..30_000_u64).prop_map(Step::Skip),
        3 => Just(Step::Commit),
        2 => (0..130_i64).prop_map(Step::Tick),
        2 => Just(Step::Crash),
    ]
}

/// An incident by hand: first, last, hits, told, and where it began.
type Known = (i64, i64, i64, bool, Offset);

/// What is open, and what closed: incident, first, last, hits.
#[derive(Debug, Default)]
struct ByHand {
    open: BTreeMap<u32, Known>,
    closed: Vec<(Uuid, i64, i64, i64)>,
}

impl ByHand {
    fn see(&mut self, incident: u32, secs: i64, way: Way, offset: Offset) {
        self.end(incident, secs);
        let known = self.open.entry(incident).or_insert((secs, secs, 0, false, offset));
        if way.counts || known.2 == 0 {
            known.2 += 1;
            known.1 = secs;
        }
        known.3 |= way.tells;
    }

    fn end(&mut self, incident: u32, secs: i64) {
        if let Some((first, last, hits, told, _)) = self.open.get(&incident).copied()
            && last + QUIET <= secs
        {
            self.open.remove(&incident);
            if told {
                self.closed.push((id(incident), first, last, hits));
            }
        }
    }

    fn tick(&mut self, secs: i64) {
        (0..5).for_each(|incident| self.end(incident, secs));
    }

    fn forget(&mut self, before: Offset) {
        self.open.retain(|_, (.., told, began)| *told || *began >= before);
    }
}

fn listed(told: &[Event]) -> Vec<(Uuid, i64, i64, i64)> {
    let secs = |event: &Event, field| match event.get(field) {
        Some(Value::Time(time)) => (time.micros() - T0) / SECOND,
        other => panic!("{other:?}"),
    };
    let one = |event: &Event| {
        (
            event.uuid(Field::IncidentId).unwrap(),
            secs(event, Field::EventStart),
            secs(event, Field::EventEnd),
            event.int(Field::FindingHits).unwrap(),
        )
    };
    let mut listed: Vec<_> = told.iter().map(one).collect();
    listed.sort_unstable();
    listed
}

proptest! {
    #[test]
    fn it_is_a_table_made_by_hand_whenever_it_crashes(steps in prop::collection::vec(step(), 0..150)) {
        let (mut node, mut hand, mut now) = (Node::new(), ByHand::default(), 0);
        for step in steps {
            match step {
                Step::See(incident, secs, way) => {
                    now += secs;
                    hand.see(incident, now, way, node.head);
                    node.see(touch(now, incident, "intent"), way);
                }
                Step::Skip(entries) => node.head += entries,
                Step::Tick(secs) => {
                    now += secs;
                    hand.tick(now);
                    node.tick(now);
                    hand.forget(node.head.saturating_sub(AGAIN_MAX));
                    // More may be due than one commit takes.
                    while node.incidents.due().is_some_and(|due| due <= at(now)) {
                        node.commit();
                    }
                }
                Step::Commit => {
                    node.commit();
                    if node.incidents.is_resumed {
                        hand.forget(node.head.saturating_sub(AGAIN_MAX));
                    }
                }
                Step::Crash => {
                    node.crash();
                    // Entries that are none of the watch's do not tell it that it has caught up; the clock does.
                    node.incidents.is_resumed = true;
                }
            }
        }
        hand.tick(now + 1000);
        node.finish(now + 1000);
        hand.closed.sort_unstable();
        prop_assert_eq!(listed(&node.told), hand.closed);
        let ids: HashSet<_> = node.told.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), node.told.len(), "no id comes twice");
        prop_assert!(node.rows.len() <= 1, "{:?}", node.rows.keys());
    }

    /// A state row is read by a later run whatever became of it on the disk.
    #[test]
    fn any_bytes_in_a_state_row_are_dropped_or_read(row in prop::collection::vec(any::<u8>(), 0..200), damage in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let open = Open::new(&touch(0, 1, "proof"), &mut Facts::default());
        let mut damaged = open.encode(id(1));
        let place = damage.index(damaged.len());
        damaged[place] = byte;
        for row in [row, damaged] {
            for key in ["follow/pager", "follow/pager/x", &row_key("follow/pager", id(1))] {
                let (mut incidents, dropped) = Incidents::restore("follow/pager", &spec(), vec![(key.to_owned(), row.clone())]);
                incidents.tick(at(i64::from(i32::MAX)));
                prop_assert!(incidents.close(9).len() + dropped <= 1);
                let gone = incidents.changes(1).into_iter().filter(|(_, row)| row.is_none()).count();
                prop_assert!(gone <= 1);
            }
        }
    }
}

#[test]
fn a_row_of_an_earlier_version_holds_for_as_long_as_it_said() {
    let mut node = Node::new();
    node.see(touch(0, 1, "proof"), BOTH);
    node.see(decided(1, 7, State::Decided, 5000), Way::default());
    node.tick(60);
    let name = row_key("follow/pager", id(1));
    let row = String::from_utf8(node.rows[&name].clone()).unwrap();
    let (facts, source) = row.split_once('\n').unwrap();
    let mut facts: serde_json::Value = serde_json::from_str(facts).unwrap();
    assert!(facts.as_object_mut().unwrap().remove("holds").is_some());
    node.rows.insert(name, format!("{facts}\n{source}").into_bytes());
    node.entries.clear();
    node.crash();
    node.tick(4999);
    assert!(node.told.is_empty());
    node.finish(5000);
    assert_eq!(node.told[0].at, at(5000));
}
