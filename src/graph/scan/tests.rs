//! Scans, watched.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use trapline_schemas::{Value, ids};
use uuid::Uuid;

use super::*;

const SECOND: i64 = 1_000_000;
const T0: i64 = 1_700_000_040 * SECOND;

fn spec() -> ScanSpec {
    ScanSpec {
        ports: 3,
        addresses: 3,
        within: Duration::from_secs(60),
        close_after: Duration::from_secs(300),
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(T0 + secs * SECOND)
}

fn contact(secs: i64, source: &str, local: &str, port: i64) -> Event {
    let mut event = Event::new(Uuid::nil(), at(secs), Action::Connect);
    event.set(Field::SourceIp, source.parse::<IpAddr>().unwrap());
    event.set(Field::SourceZoneInside, true);
    event.set(Field::DestinationIp, local.parse::<IpAddr>().unwrap());
    event.set(Field::DestinationPort, port);
    event.set(Field::DecoyId, format!("decoy-{port}"));
    event.set(Field::IncidentId, Uuid::from_u128(7));
    event
}

fn fresh() -> Scans {
    Scans::restore(&spec(), Vec::new()).0
}

/// Shows it an event as the next entry.
fn see(scans: &mut Scans, event: &Event) {
    let counted = scans.sources.values().map(Source::counted).max();
    scans.see(counted.unwrap_or(1), event);
}

fn touch(scans: &mut Scans, secs: i64, port: i64) {
    see(scans, &contact(secs, "10.0.0.7", "10.0.0.1", port));
}

/// Status and hits of each finding.
fn told(events: &[Event]) -> Vec<(String, i64)> {
    let one = |event: &Event| {
        (
            event.text(Field::FindingStatus).unwrap().to_string(),
            event.int(Field::FindingHits).unwrap(),
        )
    };
    events.iter().map(one).collect()
}

#[test]
fn several_ports_are_a_vertical_scan_from_the_contact_on_that_made_it_one_until_it_is_quiet() {
    let mut scans = fresh();
    touch(&mut scans, 0, 21);
    touch(&mut scans, 1, 22);
    touch(&mut scans, 2, 22);
    assert!(scans.close(9).is_empty());
    touch(&mut scans, 3, 23);
    let new = scans.close(9);
    assert_eq!(told(&new), [("new".to_owned(), 4)]);
    assert_eq!(new[0].at, at(3), "at once");
    assert_eq!(new[0].text(Field::ScanKind).unwrap(), "vertical");
    assert_eq!(new[0].get(Field::ScanPorts), Some(&Value::Ints(vec![21, 22, 23])));
    assert_eq!(new[0].int(Field::ScanDecoyCount), Some(3));
    assert_eq!(new[0].get(Field::EventRiskScore), Some(&Value::Float(80.0)));
    assert_eq!(new[0].uuid(Field::IncidentId), Some(Uuid::from_u128(7)));
    let finding = ids::derived(NODE, "10.0.0.7", at(0));
    assert_eq!(new[0].uuid(Field::FindingId), Some(finding));
    touch(&mut scans, 10, 80);
    assert!(scans.close(9).is_empty(), "an update waits");
    assert_eq!(scans.due(), Some(at(63)));
    scans.tick(at(63));
    let updated = scans.close(9);
    assert_eq!(told(&updated), [("updated".to_owned(), 5)]);
    touch(&mut scans, 100, 80);
    scans.tick(at(399));
    assert!(scans.close(9).is_empty(), "nothing new was touched, and it is not over");
    scans.tick(at(400));
    let closed = scans.close(9);
    assert_eq!(told(&closed), [("closed".to_owned(), 6)]);
    assert_eq!(closed[0].at, at(400));
    assert_eq!(closed[0].uuid(Field::FindingId), Some(finding), "one id over its life");
    let ids: HashSet<_> = [&new, &updated, &closed].map(|events| events[0].id).into();
    assert_eq!(ids.len(), 3, "each event has its own");
    assert_eq!(scans.due(), None);
}

#[test]
fn one_port_at_several_addresses_is_a_horizontal_scan() {
    let mut scans = fresh();
    for last in 1..4 {
        see(&mut scans, &contact(last, "10.0.0.7", &format!("10.0.0.{last}"), 445));
    }
    let new = scans.close(9);
    assert_eq!(new[0].text(Field::ScanKind).unwrap(), "horizontal");
    assert_eq!(new[0].int(Field::ScanPortCount), Some(1));
}

#[test]
fn contacts_far_apart_and_other_events_make_no_scan() {
    let mut scans = fresh();
    for (n, port) in [21, 22, 23, 80].into_iter().enumerate() {
        touch(&mut scans, n as i64 * 61, port);
    }
    for port in [1, 2, 3, 4] {
        let mut login = contact(200, "10.0.0.8", "10.0.0.1", port);
        login.action = Action::Credential;
        see(&mut scans, &login);
    }
    scans.tick(at(10_000));
    assert!(scans.close(9).is_empty());
    assert_eq!(scans.places, 0, "and they are forgotten");
}

#[test]
fn sources_and_places_are_bounded_and_what_is_not_watched_is_counted() {
    let mut scans = fresh();
    for n in 0..SOURCES_MAX + 10 {
        let source = IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]).to_string();
        see(&mut scans, &contact(1, &source, "10.0.0.1", 22));
    }
    assert_eq!((scans.sources.len(), scans.take_unwatched()), (SOURCES_MAX, 10));
    see(&mut scans, &contact(100, "192.0.2.1", "10.0.0.1", 22));
    assert_eq!(
        (scans.sources.len(), scans.take_unwatched()),
        (1, 0),
        "those before are over"
    );
    for port in 0..2000 {
        touch(&mut scans, 101, port);
    }
    let last = scans.close(9);
    assert_eq!(last[0].int(Field::FindingHits), Some(3));
    scans.tick(at(401));
    assert_eq!(
        told(&scans.close(9)),
        [("closed".to_owned(), 2000)],
        "the count has no bound"
    );
}

/// What happens to the watch.
#[derive(Debug, Clone)]
enum Step {
    See(u8, i64, i64),
    Commit,
    Crash,
    Tick(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_u8, 0..5_i64, 0..40_i64).prop_map(|(source, port, secs)| Step::See(source, port, secs)),
        2 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => (0..400_i64).prop_map(Step::Tick),
    ]
}

/// The watch with the journal that it would have.
struct Node {
    scans: Scans,
    rows: BTreeMap<String, Vec<u8>>,
    /// All entries, from offset 1 on.
    log: Vec<Event>,
    saved: Offset,
    told: Vec<Event>,
    /// Contacts that were read again.
    again: usize,
}

impl Node {
    fn new() -> Self {
        Self {
            scans: fresh(),
            rows: BTreeMap::new(),
            log: Vec::new(),
            saved: 1,
            told: Vec::new(),
            again: 0,
        }
    }

    fn see(&mut self, event: Event) {
        self.scans.see(self.next(), &event);
        self.log.push(event);
    }

    fn next(&self) -> Offset {
        self.log.len() as Offset + 1
    }

    fn commit(&mut self) {
        self.told.extend(self.scans.close(2));
        for (key, row) in self.scans.changes(self.next()) {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.saved = self.next();
    }

    /// As the task does: what has no row is read again.
    fn crash(&mut self) {
        let (scans, dropped) = Scans::restore(&spec(), self.rows.clone().into_iter().collect());
        assert_eq!(dropped, 0);
        self.scans = scans;
        let from = self.scans.reads_from().unwrap_or(self.saved).min(self.saved);
        let entries = self.log.iter().zip(1..).filter(|(_, offset)| *offset >= from);
        for (event, offset) in entries {
            self.scans.see(offset, event);
            self.again += usize::from(offset < self.saved);
        }
    }
}

proptest! {
    /// With crashes the findings are those of a run without.
    #[test]
    fn a_crash_changes_no_finding(steps in prop::collection::vec(step(), 0..80)) {
        let run = |crashes: bool| {
            let mut node = Node::new();
            let mut now = 0;
            for step in &steps {
                match step {
                    Step::See(source, port, secs) => {
                        now += secs;
                        node.see(contact(now, &format!("192.0.2.{source}"), "10.0.0.1", *port));
                    }
                    Step::Commit => node.commit(),
                    Step::Crash if crashes => node.crash(),
                    Step::Crash => {}
                    Step::Tick(secs) => {
                        now += secs;
                        node.scans.tick(at(now));
                        node.commit();
                    }
                }
            }
            node.scans.tick(at(now + 10_000));
            while node.scans.due().is_some() {
                node.commit();
            }
            node.commit();
            node
        };
        let (calm, crashed) = (run(false), run(true));
        prop_assert_eq!(&calm.told, &crashed.told);
        prop_assert!(crashed.rows.keys().all(|key| *key == prefix()), "nothing is left behind");
        let ids: HashSet<_> = calm.told.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), calm.told.len(), "no id comes twice");
        let mut lives: HashMap<_, Vec<String>> = HashMap::new();
        for event in &calm.told {
            lives.entry(event.uuid(Field::FindingId)).or_default().push(event.text(Field::FindingStatus).unwrap().to_string());
        }
        for life in lives.values() {
            prop_assert_eq!(life.first().map(String::as_str), Some("new"));
            prop_assert_eq!(life.last().map(String::as_str), Some("closed"));
        }
    }

    #[test]
    fn any_bytes_in_a_state_row_are_dropped_or_read(row in prop::collection::vec(any::<u8>(), 0..200), json in "[ -~]{0,80}") {
        for row in [row, format!("{json}\n{json}").into_bytes()] {
            let rows = vec![(format!("{}/10.0.0.1", prefix()), row.clone()), (prefix(), row)];
            let (mut scans, dropped) = Scans::restore(&spec(), rows);
            scans.tick(at(0));
            prop_assert!(dropped <= 2 && scans.close(9).len() <= 1);
        }
    }
}

#[test]
fn a_source_that_came_once_has_no_row_and_is_known_after_a_crash() {
    let mut node = Node::new();
    node.see(contact(0, "10.0.0.7", "10.0.0.1", 21));
    node.see(contact(1, "10.0.0.7", "10.0.0.1", 22));
    node.commit();
    assert!(node.rows.keys().all(|key| *key == prefix()), "{:?}", node.rows.keys());
    node.crash();
    assert_eq!(node.again, 2);
    node.see(contact(2, "10.0.0.7", "10.0.0.1", 23));
    node.commit();
    assert_eq!(told(&node.told), [("new".to_owned(), 3)]);
    node.crash();
    node.commit();
    assert_eq!(node.told.len(), 1, "what was told of has a row, and is not told again");
}

#[test]
fn what_is_older_than_what_is_read_again_has_a_row() {
    let mut node = Node::new();
    node.see(contact(0, "10.0.0.7", "10.0.0.1", 21));
    node.see(contact(50, "10.0.0.7", "10.0.0.1", 22));
    node.see(contact(90, "10.0.0.8", "10.0.0.1", 22));
    node.commit();
    assert_eq!(node.rows.len(), 2, "{:?}", node.rows.keys());
    node.crash();
    node.see(contact(55, "10.0.0.7", "10.0.0.1", 23));
    node.commit();
    assert_eq!(told(&node.told), [("new".to_owned(), 3)]);
}

#[test]
fn a_flood_is_not_read_again_whole() {
    let mut node = Node::new();
    for n in 0..140_000 {
        let source = IpAddr::from([10, 0, (n / 250 % 4) as u8, (n % 250) as u8]).to_string();
        node.see(contact(1, &source, "10.0.0.1", 22));
        if n % 10_000 == 0 {
            node.commit();
        }
    }
    node.commit();
    node.crash();
    assert!((100_000..=131_072).contains(&node.again), "{}", node.again);
    node.see(contact(2, "10.0.0.7", "10.0.0.1", 23));
    node.see(contact(2, "10.0.0.7", "10.0.0.1", 24));
    node.commit();
    assert_eq!(
        told(&node.told),
        [("new".to_owned(), 142)],
        "each of its contacts counts once"
    );
}

/// What a scan of three ports is known as, when each contact is known up to these levels.
fn known_as(walks: [Option<bool>; 3]) -> Option<String> {
    let mut scans = fresh();
    for (secs, walk) in (0..).zip(walks) {
        let mut event = contact(secs, "10.0.0.7", "10.0.0.1", 21 + secs);
        if let Some(walk) = walk {
            event.set(Field::BenignName, "somebody");
            event.set(Field::BenignWalk, walk);
            event.set(Field::EventRiskScore, 0.0);
        }
        see(&mut scans, &event);
    }
    let told = scans.close(1);
    let (name, risk) = (told[0].text(Field::BenignName), told[0].get(Field::EventRiskScore));
    assert_eq!(name.is_some(), risk == Some(&Value::Float(0.0)), "{risk:?}");
    name.map(ToString::to_string)
}

#[test]
fn a_scan_is_known_as_benign_if_each_contact_is_by_what_explains_more_than_a_contact() {
    let (knock, walk) = (Some(false), Some(true));
    assert_eq!(known_as([walk; 3]).as_deref(), Some("somebody"));
    assert_eq!(known_as([knock; 3]), None, "one knock is explained, three are a walk");
    assert_eq!(known_as([None, walk, walk]), None);
    assert_eq!(known_as([walk, walk, None]), None);
}
